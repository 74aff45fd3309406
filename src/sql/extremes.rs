//! `greatest` and `least` of values that are ordered by keys.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Datum},
    compute::{
        cast, is_not_null, is_null,
        kernels::{
            boolean::{and, or},
            cmp::{gt, lt},
            zip::zip,
        },
        prep_null_mask_filter,
    },
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, plan_err},
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};

/// A function of keys and values, `k1, v1, k2, v2, …`: the value with the greatest key, or with the least. What is NULL does not count.
pub(super) fn extreme(is_greatest: bool) -> ScalarUDF {
    ScalarUDF::from(Extreme { is_greatest, signature: Signature::variadic_any(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    is_greatest: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Extreme {
    fn name(&self) -> &'static str {
        if self.is_greatest { "pilaster_greatest_of" } else { "pilaster_least_of" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!("the type depends on the arguments' fields")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let values = || arguments.arg_fields.iter().skip(1).step_by(2);
        // A literal, which is of this type alone, takes the others'.
        let known = values().find(|field| !matches!(field.data_type(), DataType::Utf8 | DataType::Null));
        Ok(match known {
            Some(field) => Arc::new(field.as_ref().clone().with_nullable(true)),
            None => Arc::new(Field::new(self.name(), DataType::Utf8View, true)),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = arguments.return_field.data_type();
        let is_scalar = arguments.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { arguments.number_rows };
        let arrays = arguments.args.into_iter().map(|value| value.into_array(rows)).collect::<Result<Vec<_>>>()?;
        let mut best: Option<(ArrayRef, ArrayRef)> = None;
        for pair in arrays.chunks(2) {
            let [key, value] = pair else { return exec_err!("keys and values come in pairs") };
            let value = cast(value, to)?;
            best = Some(match best {
                None => (Arc::clone(key), value),
                Some((best_key, best_value)) => {
                    let wins = self.wins(key, &best_key)?;
                    (zip(&wins, key, &best_key)?, zip(&wins, &value, &best_value)?)
                }
            });
        }
        let Some((_, value)) = best else { return exec_err!("there is no value") };
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?)
        } else {
            ColumnarValue::Array(value)
        })
    }
}

impl Extreme {
    /// Where the key is better than the best so far.
    fn wins(&self, key: &ArrayRef, best: &ArrayRef) -> Result<BooleanArray> {
        let (key_side, best_side): (&dyn Datum, &dyn Datum) = (key, best);
        let is_better = if self.is_greatest { gt(key_side, best_side)? } else { lt(key_side, best_side)? };
        let is_first = and(&is_null(best)?, &is_not_null(key)?)?;
        let is_better = if is_better.null_count() > 0 { prep_null_mask_filter(&is_better) } else { is_better };
        Ok(or(&is_better, &is_first)?)
    }
}
