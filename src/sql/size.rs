//! How much the values of an array are, whatever memory holds them: many rows may share one long text.
//!
//! Owns: the count, and the bound on what is made of one batch of rows, which no pool of memory counts.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray},
    buffer::OffsetBuffer,
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
        DataType::List(_) => views + logical_bytes(own_elements(array.as_list()).values()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(logical_bytes).sum(),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_buffer_memory_size()),
    }
}

/// The lists with the elements of these rows alone, where others had some of the same array.
#[must_use]
pub fn own_elements(lists: &ListArray) -> ListArray {
    let DataType::List(item) = lists.data_type() else { return lists.clone() };
    let place = |row: usize| usize::try_from(lists.value_offsets()[row]).unwrap_or(0);
    let elements = lists.values().slice(place(0), place(lists.len()) - place(0));
    let offsets = OffsetBuffer::from_lengths(lists.offsets().lengths());
    ListArray::new(Arc::clone(item), offsets, elements, lists.nulls().cloned())
}

/// The text with spaces up to this many characters, as a `char(n)` is shown.
#[must_use]
pub fn padded_to(text: &str, length: usize) -> String {
    let missing = length.saturating_sub(text.chars().count());
    let mut padded = String::with_capacity(text.len() + missing);
    padded.push_str(text);
    padded.extend(std::iter::repeat_n(' ', missing));
    padded
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
    use arrow::{
        array::{Int64Array, StringViewArray, UInt32Array},
        compute::take,
        datatypes::Field,
    };

    use super::*;

    #[test]
    fn texts_are_padded_by_characters_however_many() {
        assert_eq!(padded_to("größe", 7), "größe  ");
        assert_eq!(padded_to("größe", 3), "größe");
        assert_eq!(padded_to("a", 70_000).len(), 70_000);
    }

    #[test]
    fn what_is_shared_counts_each_time() {
        let check = |array: ArrayRef, expect: usize| assert_eq!(logical_bytes(&array), expect, "{array:?}");
        let long = "x".repeat(1_000);
        let one = StringViewArray::from(vec![long.as_str()]);
        let many: ArrayRef = take(&one, &UInt32Array::from(vec![0; 50]), None).unwrap();
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
