//! `ntile`, which gives an `integer` and takes the number of buckets from the first row of a partition.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int32Array, new_null_array},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Int64Type},
};
use datafusion::{
    common::{DataFusionError, Result},
    logical_expr::{
        PartitionEvaluator, Signature, TypeSignature, Volatility, WindowUDF, WindowUDFImpl,
        function::{PartitionEvaluatorArgs, WindowUDFFieldArgs},
    },
};

use super::function::fault;

pub(super) fn ntile() -> WindowUDF {
    let types = [DataType::Int32, DataType::Int16, DataType::Int64].map(|of| TypeSignature::Exact(vec![of]));
    WindowUDF::from(Ntile { signature: Signature::one_of(types.into(), Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Ntile {
    signature: Signature,
}

impl WindowUDFImpl for Ntile {
    fn name(&self) -> &'static str {
        "ntile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Buckets))
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), DataType::Int32, true)))
    }
}

#[derive(Debug)]
struct Buckets;

impl PartitionEvaluator for Buckets {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let Some(value) = values.first().filter(|value| !value.is_empty()) else {
            return Ok(new_null_array(&DataType::Int32, rows));
        };
        let buckets = cast(&value.slice(0, 1), &DataType::Int64)?;
        let buckets = buckets.as_primitive::<Int64Type>();
        if buckets.is_null(0) {
            return Ok(new_null_array(&DataType::Int32, rows));
        }
        let Some(buckets) = usize::try_from(buckets.value(0)).ok().filter(|buckets| *buckets > 0) else {
            let error = fault("22014", "argument of ntile must be greater than zero");
            return Err(DataFusionError::External(Box::new(error)));
        };
        let (size, larger) = (rows / buckets, rows % buckets);
        let numbers = (0..rows).map(|row| {
            let in_larger = larger * (size + 1);
            let bucket = if row < in_larger { row / (size + 1) } else { larger + (row - in_larger) / size };
            i32::try_from(bucket + 1).unwrap_or(i32::MAX)
        });
        Ok(Arc::new(Int32Array::from_iter_values(numbers)))
    }
}
