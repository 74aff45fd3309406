//! The order of arrays: element by element, NULL after all others, the shorter one first where it is the beginning of the other.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, StringViewBuilder},
    compute::SortOptions,
    datatypes::DataType,
    row::{RowConverter, SortField},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use super::{collation::spell, size};

/// Letters that order as the array does. Its elements order as they are: texts of a collation are to be keys already.
pub(super) fn array_key() -> ScalarUDF {
    ScalarUDF::from(ArrayKey { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayKey {
    signature: Signature,
}

impl ScalarUDFImpl for ArrayKey {
    fn name(&self) -> &'static str {
        "pilaster_array_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = arguments.args.as_slice() else { return exec_err!("a key is of one array") };
        let is_scalar = matches!(value, ColumnarValue::Scalar(_));
        let lists = value.clone().into_array(if is_scalar { 1 } else { arguments.number_rows })?;
        if lists.as_list_opt::<i32>().is_none() {
            return exec_err!("a key is of an array");
        }
        size::bound(&lists, "the order of arrays")?;
        let options = SortOptions { descending: false, nulls_first: false };
        let field = SortField::new_with_options(lists.data_type().clone(), options);
        let rows = RowConverter::new(vec![field])?.convert_columns(&[Arc::clone(&lists)])?;
        let mut keys = StringViewBuilder::with_capacity(lists.len());
        let mut spelled = String::new();
        for (place, row) in rows.iter().enumerate() {
            if lists.is_null(place) {
                keys.append_null();
                continue;
            }
            spelled.clear();
            spell(row.as_ref(), &mut spelled);
            keys.append_value(&spelled);
        }
        let keys = keys.finish();
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&keys, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(keys)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, ListArray},
        datatypes::{Field, Int32Type},
    };
    use datafusion::config::ConfigOptions;

    use super::*;

    #[test]
    fn keys_order_as_arrays_do() {
        let lists: [&[Option<i32>]; 8] = [
            &[],
            &[Some(-1)],
            &[Some(1)],
            &[Some(1), Some(1)],
            &[Some(1), None],
            &[Some(2)],
            &[None],
            &[None, Some(0)],
        ];
        let array: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
            lists.iter().map(|list| Some(list.iter().copied())),
        ));
        let field = Arc::new(Field::new("", array.data_type().clone(), true));
        let made = array_key().invoke_with_args(ScalarFunctionArgs {
            number_rows: array.len(),
            args: vec![ColumnarValue::Array(array)],
            arg_fields: vec![field],
            return_field: Arc::new(Field::new("", DataType::Utf8View, true)),
            config_options: Arc::new(ConfigOptions::default()),
        });
        let keys = made.unwrap().into_array(lists.len()).unwrap();
        let keys: Vec<&str> = keys.as_string_view().iter().flatten().collect();
        assert_eq!(keys.len(), lists.len());
        assert!(keys.is_sorted_by(|left, right| left < right), "{keys:?}");
    }
}
