//! How much the values of an array are, whatever memory holds them: many rows may share one long text.
//!
//! Owns: the count, and the bound on what is made of one batch of rows, which no pool of memory counts.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::DataType,
};
use datafusion::common::{DataFusionError, Result};

use super::function::too_much;

/// Of what a function makes of one batch of rows.
pub(super) const BATCH_BYTES_MAX: usize = 256 << 20;
/// What a text takes beside its bytes.
const VIEW_BYTES: usize = 16;

/// The bytes of the values, each as often as it is there.
#[must_use]
pub fn logical_bytes(array: &ArrayRef) -> usize {
    let views = array.len() * VIEW_BYTES;
    match array.data_type() {
        DataType::Utf8View => views + array.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => views + array.as_binary_view().total_buffer_bytes_used(),
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let (from, to) = (lists.value_offsets()[0], lists.value_offsets()[lists.len()]);
            let place = |offset: i32| usize::try_from(offset).unwrap_or(0);
            views + logical_bytes(&lists.values().slice(place(from), place(to) - place(from)))
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(logical_bytes).sum(),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_buffer_memory_size()),
    }
}

/// Fails where a function that makes about as much as it is given would make too much.
pub(super) fn bound(array: &ArrayRef, what: &str) -> Result<()> {
    match logical_bytes(array) > BATCH_BYTES_MAX {
        true => Err(DataFusionError::External(Box::new(too_much(what, BATCH_BYTES_MAX, "some rows")))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Int64Array, ListArray, StringViewArray},
        buffer::OffsetBuffer,
        datatypes::Field,
    };

    use super::*;

    #[test]
    fn what_is_shared_counts_each_time() {
        let check = |array: ArrayRef, expect: usize| assert_eq!(logical_bytes(&array), expect, "{array:?}");
        let long = "x".repeat(1_000);
        let one = StringViewArray::from(vec![long.as_str()]);
        let many: ArrayRef = arrow::compute::take(&one, &arrow::array::UInt32Array::from(vec![0; 50]), None).unwrap();
        assert!(many.get_buffer_memory_size() < 50 * 1_000, "it is shared");
        check(Arc::clone(&many), 50 * 1_016);
        check(many.slice(10, 5), 5 * 1_016);
        check(Arc::new(Int64Array::from(vec![1, 2, 3])), 24);
        let item = Arc::new(Field::new_list_field(DataType::Utf8View, true));
        let lists = ListArray::new(item, OffsetBuffer::from_lengths([40, 0, 10]), many, None);
        let lists: ArrayRef = Arc::new(lists);
        check(Arc::clone(&lists), 3 * 16 + 50 * 1_016);
        check(lists.slice(1, 2), 2 * 16 + 10 * 1_016);
    }
}
