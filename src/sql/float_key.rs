//! The order of floats: Postgres takes `-0` and `0` for one value where it sorts, ranks and divides into partitions, and NaN for one that is
//! greater than all others. The engine goes by their signs.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::{DataType, Float32Type, Float64Type},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        sort_properties::{ExprProperties, SortProperties},
    },
};

/// Floats of which none is NaN with a sign.
pub(super) fn without_signed_nan(values: ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float64 => {
            let floats = values.as_primitive::<Float64Type>();
            if !floats.values().iter().any(|value| value.is_nan()) {
                return values;
            }
            Arc::new(floats.unary::<_, Float64Type>(|value| if value.is_nan() { f64::NAN } else { value }))
        }
        DataType::Float32 => {
            let floats = values.as_primitive::<Float32Type>();
            if !floats.values().iter().any(|value| value.is_nan()) {
                return values;
            }
            Arc::new(floats.unary::<_, Float32Type>(|value| if value.is_nan() { f32::NAN } else { value }))
        }
        _ => values,
    }
}

/// The float, with zeros of one sign.
pub(super) fn float_key() -> ScalarUDF {
    ScalarUDF::from(FloatKey { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatKey {
    signature: Signature,
}

impl ScalarUDFImpl for FloatKey {
    fn name(&self) -> &'static str {
        "pilaster_float_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [float @ (DataType::Float32 | DataType::Float64)] => Ok(float.clone()),
            _ => exec_err!("a key is of one float"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(match arguments.args.as_slice() {
            [ColumnarValue::Scalar(ScalarValue::Float64(value))] => {
                ColumnarValue::Scalar(ScalarValue::Float64(value.map(|value| value + 0.0)))
            }
            [ColumnarValue::Scalar(ScalarValue::Float32(value))] => {
                ColumnarValue::Scalar(ScalarValue::Float32(value.map(|value| value + 0.0)))
            }
            [ColumnarValue::Array(values)] => ColumnarValue::Array(match values.data_type() {
                DataType::Float64 => {
                    Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| value + 0.0))
                }
                DataType::Float32 => {
                    Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(|value| value + 0.0))
                }
                _ => return exec_err!("a key is of a float"),
            }),
            _ => return exec_err!("a key is of one float"),
        })
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        Ok(inputs.first().map_or(SortProperties::Unordered, |input| input.sort_properties))
    }
}
