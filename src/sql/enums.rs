//! Enums: texts of a closed list, in the list's order.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int32Array},
    compute::cast,
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue, exec_err},
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};

use super::{PG_TYPE_KEY, function::fault};

/// An enum type: its name and its labels, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnumType {
    /// `pg_type.typname`.
    pub name: String,
    /// In the type's order.
    pub labels: Arc<[String]>,
}

/// What a function of an enum gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Gives {
    /// The value itself, once it is known to be one: the cast.
    Value,
    /// Its place in the list, which is what it is ordered by.
    Rank,
}

/// `x::name`.
pub(super) fn enum_cast(of: &EnumType) -> ScalarUDF {
    function(of, Gives::Value, format!("::{}", of.name))
}

/// Where a value stands in the type's order.
pub(super) fn rank(of: &EnumType) -> Arc<ScalarUDF> {
    Arc::new(function(of, Gives::Rank, format!("pilaster_rank_{}", of.name)))
}

fn function(of: &EnumType, gives: Gives, name: String) -> ScalarUDF {
    ScalarUDF::from(OfEnum { of: of.clone(), gives, name, signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfEnum {
    of: EnumType,
    gives: Gives,
    name: String,
    signature: Signature,
}

impl ScalarUDFImpl for OfEnum {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, _: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![DataType::Utf8View])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.gives {
            Gives::Value => DataType::Utf8View,
            Gives::Rank => DataType::Int32,
        })
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = Field::new("", self.return_type(&[])?, true);
        Ok(Arc::new(match self.gives {
            Gives::Value => field.with_metadata(HashMap::from([(PG_TYPE_KEY.to_owned(), self.of.name.clone())])),
            Gives::Rank => field,
        }))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = arguments.args.as_slice() else { return exec_err!("a value is of one enum") };
        let is_scalar = matches!(value, ColumnarValue::Scalar(_));
        let array = value.clone().into_array(if is_scalar { 1 } else { arguments.number_rows })?;
        let texts = cast(&array, &DataType::Utf8View)?;
        let places: HashMap<&str, i32> = self.of.labels.iter().map(String::as_str).zip(0..).collect();
        let place = |text: &str| {
            places.get(text).copied().ok_or_else(|| {
                let message = format!("invalid input value for enum {}: \"{text}\"", self.of.name);
                let hint = format!("its values are {}", self.of.labels.join(", "));
                DataFusionError::External(Box::new(fault("22P02", message).with_hint(hint)))
            })
        };
        let ranks: Int32Array =
            texts.as_string_view().iter().map(|text| text.map(place).transpose()).collect::<Result<_>>()?;
        let made: ArrayRef = match self.gives {
            Gives::Value => texts,
            Gives::Rank => Arc::new(ranks),
        };
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&made, 0)?));
        }
        Ok(ColumnarValue::Array(made))
    }
}
