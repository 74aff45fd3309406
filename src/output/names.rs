//! What a column is called: its Postgres type name, and its name among its neighbours.
//!
//! Owns: the mapping from Arrow types to Postgres type names, and the rule for names that occur twice.
//! Must not know: how values are written.

use std::{borrow::Cow, collections::HashSet};

use arrow::datatypes::{DataType, Field, FieldRef};

use crate::sql::PG_TYPE_KEY;

const EXTENSION_KEY: &str = "ARROW:extension:name";

/// The Postgres type name of a column: the one in its metadata under [`PG_TYPE_KEY`], else the Arrow type's
/// counterpart.
///
/// Arrays are `int4[]` whatever their number of dimensions, as Postgres types do not hold it. What Postgres has no type
/// for gets the one that holds its values: `numeric` for unsigned 64-bit integers, `record` for structs, `json` for
/// maps and unions, `text` for columns of nulls only.
#[must_use]
pub fn postgres_type_name(field: &Field) -> Cow<'_, str> {
    match declared_type(field) {
        Some(name) if list_item(field.data_type()).is_some() => match name.strip_prefix('_') {
            Some(element) => Cow::Owned(format!("{element}[]")),
            None => Cow::Borrowed(name),
        },
        Some(name) => Cow::Borrowed(name),
        None => undeclared_name(field.data_type()),
    }
}

fn undeclared_name(data_type: &DataType) -> Cow<'_, str> {
    if let Some(item) = list_item(data_type) {
        let element = postgres_type_name(item);
        return if element.ends_with("[]") { element } else { Cow::Owned(format!("{element}[]")) };
    }
    Cow::Borrowed(match data_type {
        DataType::Dictionary(_, values) => return undeclared_name(values),
        DataType::RunEndEncoded(_, values) => return postgres_type_name(values),
        DataType::Boolean => "bool",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "int2",
        DataType::Int32 | DataType::UInt16 => "int4",
        DataType::Int64 | DataType::UInt32 => "int8",
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => "numeric",
        DataType::Float16 | DataType::Float32 => "float4",
        DataType::Float64 => "float8",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "bytea",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::Struct(_) => "record",
        DataType::Map(..) | DataType::Union(..) => "json",
        _ => "text",
    })
}

/// The Postgres type that the field itself declares, if any. Arrow's own extension types count too.
pub(super) fn declared_type(field: &Field) -> Option<&str> {
    let metadata = field.metadata();
    metadata.get(PG_TYPE_KEY).map(String::as_str).or_else(|| match metadata.get(EXTENSION_KEY)?.as_str() {
        "arrow.json" => Some("json"),
        "arrow.uuid" => Some("uuid"),
        _ => None,
    })
}

/// The element type in the name of an array type: `uuid` for `_uuid` and `uuid[]`.
pub(super) fn element_type(array_type: &str) -> Option<&str> {
    array_type.strip_prefix('_').or_else(|| array_type.strip_suffix("[]"))
}

/// The item's field, for every kind of list.
pub(super) fn list_item(data_type: &DataType) -> Option<&FieldRef> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// Names that are all different: the second and later of equal names get `_2`, `_3` …, skipping what another column is
/// called already. So `a, a, a_2` becomes `a, a_3, a_2`.
pub(super) fn unique_names<'a>(fields: impl IntoIterator<Item = &'a FieldRef>) -> Vec<Cow<'a, str>> {
    let fields: Vec<&FieldRef> = fields.into_iter().collect();
    let mut taken: HashSet<Cow<'a, str>> = fields.iter().map(|field| Cow::Borrowed(field.name().as_str())).collect();
    if taken.len() == fields.len() {
        return fields.into_iter().map(|field| Cow::Borrowed(field.name().as_str())).collect();
    }
    let mut seen = HashSet::new();
    fields
        .into_iter()
        .map(|field| {
            let name = field.name().as_str();
            if seen.insert(name) {
                return Cow::Borrowed(name);
            }
            let mut number = 2_usize;
            loop {
                let candidate: Cow<'_, str> = Cow::Owned(format!("{name}_{number}"));
                if taken.insert(candidate.clone()) {
                    return candidate;
                }
                number += 1;
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use arrow::datatypes::{IntervalUnit, TimeUnit};

    use super::*;

    #[test]
    fn types_have_postgres_names() {
        let item = |data_type| Arc::new(Field::new("item", data_type, true));
        let cases = [
            (DataType::Boolean, None, "bool"),
            (DataType::Int16, None, "int2"),
            (DataType::Int32, None, "int4"),
            (DataType::Int64, None, "int8"),
            (DataType::UInt64, None, "numeric"),
            (DataType::Float32, None, "float4"),
            (DataType::Float64, None, "float8"),
            (DataType::Decimal128(38, 2), None, "numeric"),
            (DataType::Utf8View, None, "text"),
            (DataType::Utf8View, Some("jsonb"), "jsonb"),
            (DataType::Utf8, Some("_mood"), "_mood"),
            (DataType::FixedSizeBinary(16), Some("uuid"), "uuid"),
            (DataType::BinaryView, None, "bytea"),
            (DataType::Date32, None, "date"),
            (DataType::Time64(TimeUnit::Microsecond), None, "time"),
            (DataType::Timestamp(TimeUnit::Microsecond, None), None, "timestamp"),
            (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), None, "timestamptz"),
            (DataType::Interval(IntervalUnit::MonthDayNano), None, "interval"),
            (DataType::Null, None, "text"),
            (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Int64)), None, "int8"),
            (DataType::List(item(DataType::Int32)), None, "int4[]"),
            (DataType::List(item(DataType::List(item(DataType::Int32)))), None, "int4[]"),
            (DataType::LargeList(item(DataType::Utf8)), Some("_uuid"), "uuid[]"),
            (DataType::LargeList(item(DataType::Utf8)), Some("uuid[]"), "uuid[]"),
        ];
        for (data_type, declared, expect) in cases {
            let metadata: HashMap<_, _> =
                declared.map(|name: &str| (PG_TYPE_KEY.into(), name.into())).into_iter().collect();
            let field = Field::new("c", data_type, true).with_metadata(metadata);
            assert_eq!(postgres_type_name(&field), expect, "{field:?}");
        }
    }

    #[test]
    fn equal_names_are_numbered() {
        let cases = [
            (vec!["a", "b"], vec!["a", "b"]),
            (vec!["a", "a", "a"], vec!["a", "a_2", "a_3"]),
            (vec!["a", "a", "a_2"], vec!["a", "a_3", "a_2"]),
            (vec!["a_2", "a", "a", "a_2"], vec!["a_2", "a", "a_3", "a_2_2"]),
            (vec!["", ""], vec!["", "_2"]),
        ];
        for (names, expect) in cases {
            let fields: Vec<FieldRef> =
                names.iter().map(|name| Field::new(*name, DataType::Null, true).into()).collect();
            assert_eq!(unique_names(&fields), expect, "{names:?}");
        }
    }
}
