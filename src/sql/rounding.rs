//! Numbers on their way to integers: Postgres rounds, numerics half away from zero and floats half to even; the engine's cast cuts.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::{DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, i256},
};
use datafusion::{
    common::{Result, exec_err},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        simplify::{ExprSimplifyResult, SimplifyContext},
    },
};

/// What a cast to an integer type does first. A name of ours, which Postgres does not have.
pub(super) const ROUND: &str = "pilaster_round";

pub(super) fn round() -> ScalarUDF {
    ScalarUDF::from(Round { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Round {
    signature: Signature,
}

fn is_rounded(data_type: &DataType) -> bool {
    data_type.is_floating() || matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..))
}

impl ScalarUDFImpl for Round {
    fn name(&self) -> &'static str {
        ROUND
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [data_type] => Ok(data_type.clone()),
            _ => exec_err!("one value is rounded at a time"),
        }
    }

    /// What is whole already stays what it is, so that the cast around it is seen by the optimiser.
    fn simplify(&self, mut arguments: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match arguments.pop() {
            Some(argument) if !is_rounded(&info.get_data_type(&argument)?) => {
                Ok(ExprSimplifyResult::Simplified(argument))
            }
            Some(argument) => Ok(ExprSimplifyResult::Original(vec![argument])),
            None => exec_err!("one value is rounded at a time"),
        }
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = arguments.args.pop() else { return exec_err!("one value is rounded at a time") };
        if !is_rounded(&value.data_type()) {
            return Ok(value);
        }
        let is_scalar = matches!(value, ColumnarValue::Scalar(_));
        let values = value.into_array(if is_scalar { 1 } else { arguments.number_rows })?;
        let rounded: ArrayRef = match values.data_type() {
            DataType::Float32 => {
                Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round_ties_even))
            }
            DataType::Float64 => {
                Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even))
            }
            DataType::Decimal128(precision, scale) if *scale > 0 => {
                let unit = 10_i128.pow(u32::from(scale.unsigned_abs()));
                let whole = |value: i128| {
                    let rest = value % unit;
                    let down = value - rest;
                    if rest.abs() * 2 >= unit { down + unit * rest.signum() } else { down }
                };
                let array = values.as_primitive::<Decimal128Type>().unary::<_, Decimal128Type>(whole);
                Arc::new(array.with_precision_and_scale(*precision, *scale)?)
            }
            DataType::Decimal256(precision, scale) if *scale > 0 => {
                let unit = i256::from_i128(10).wrapping_pow(u32::from(scale.unsigned_abs()));
                let whole = |value: i256| {
                    let rest = value.wrapping_rem(unit);
                    let down = value.wrapping_sub(rest);
                    let half = rest.wrapping_abs().wrapping_mul(i256::from_i128(2)) >= unit;
                    match (half, rest.is_negative()) {
                        (true, true) => down.wrapping_sub(unit),
                        (true, false) => down.wrapping_add(unit),
                        (false, _) => down,
                    }
                };
                let array = values.as_primitive::<Decimal256Type>().unary::<_, Decimal256Type>(whole);
                Arc::new(array.with_precision_and_scale(*precision, *scale)?)
            }
            _ => values,
        };
        if is_scalar {
            return Ok(ColumnarValue::Scalar(datafusion::scalar::ScalarValue::try_from_array(&rounded, 0)?));
        }
        Ok(ColumnarValue::Array(rounded))
    }
}
