//! A column of one batch, made ready for being written row by row.
//!
//! Owns: [`Column`], which resolves an Arrow array's type once, so that writing a value is one jump and no allocation.
//! Must not know: the formats. How a value is spelled is in `text` and `json`.

use std::ops::Range;

use arrow::{
    array::{
        Array, ArrowPrimitiveType, AsArray, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray,
        LargeBinaryArray, LargeStringArray, PrimitiveArray, RecordBatch, RunArray, StringArray, StringViewArray,
        UnionArray, new_empty_array,
    },
    buffer::NullBuffer,
    datatypes::{
        DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
        DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Field,
        Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTime,
        IntervalDayTimeType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType,
        RunEndIndexType, Schema, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
        TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
        UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
    },
};

use super::{
    Numbers,
    json::Member,
    names::{declared_type, element_type, list_item},
    time::Zone,
};
use crate::error::{Error, Result};

/// A column, or what is nested in one.
pub(super) struct Column<'a> {
    nulls: Option<NullBuffer>,
    pub(super) values: Values<'a>,
    /// Whether JSON needs quotes around the scalar's text.
    pub(super) quoted: bool,
}

pub(super) enum Values<'a> {
    Null,
    Bool(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float16(&'a PrimitiveArray<Float16Type>),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    /// Unscaled values and their scale; so are the other decimals.
    Decimal32(&'a [i32], i8),
    Decimal64(&'a [i64], i8),
    Decimal128(&'a [i128], i8),
    Decimal256(&'a [i256], i8),
    Text(Texts<'a>, TextKind),
    Bytes(Blobs<'a>, BytesKind),
    /// Days since 1970-01-01.
    Date32(&'a [i32]),
    /// Milliseconds since 1970-01-01.
    Date64(&'a [i64]),
    Time32(&'a [i32], TimeUnit),
    Time64(&'a [i64], TimeUnit),
    Timestamp(&'a [i64], TimeUnit, Zone),
    Months(&'a [i32]),
    DayTime(&'a [IntervalDayTime]),
    MonthDayNano(&'a [IntervalMonthDayNano]),
    Duration(&'a [i64], TimeUnit),
    List(Ranges<'a>, Box<Column<'a>>),
    Struct(Vec<Member<'a>>),
    /// Where the entries of each row are, their keys and their values.
    Map(Ranges<'a>, Box<Column<'a>>, Box<Column<'a>>),
    /// Dictionaries and runs: for each row, where its value is.
    Indexed(Vec<usize>, Box<Column<'a>>),
    /// The alternatives with their type ids.
    Union(&'a UnionArray, Vec<(i8, Column<'a>)>),
}

#[derive(Clone, Copy)]
pub(super) enum Texts<'a> {
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl<'a> Texts<'a> {
    #[inline]
    pub(super) fn value(self, row: usize) -> &'a str {
        match self {
            Self::Small(array) => array.value(row),
            Self::Large(array) => array.value(row),
            Self::View(array) => array.value(row),
        }
    }
}

/// What the text means in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TextKind {
    Plain,
    /// A JSON document: json, jsonb.
    Json,
    /// A number that travels as text, because no Arrow type holds its column.
    Number,
}

#[derive(Clone, Copy)]
pub(super) enum Blobs<'a> {
    Small(&'a BinaryArray),
    Large(&'a LargeBinaryArray),
    View(&'a BinaryViewArray),
    Fixed(&'a FixedSizeBinaryArray),
}

impl<'a> Blobs<'a> {
    #[inline]
    pub(super) fn value(self, row: usize) -> &'a [u8] {
        match self {
            Self::Small(array) => array.value(row),
            Self::Large(array) => array.value(row),
            Self::View(array) => array.value(row),
            Self::Fixed(array) => array.value(row),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BytesKind {
    Bytea,
    Uuid,
}

/// Where the items of each list are.
#[derive(Clone, Copy)]
pub(super) enum Ranges<'a> {
    Small(&'a [i32]),
    Large(&'a [i64]),
    Fixed(usize),
    SmallView(&'a [i32], &'a [i32]),
    LargeView(&'a [i64], &'a [i64]),
}

impl Ranges<'_> {
    #[inline]
    pub(super) fn of(self, row: usize) -> Range<usize> {
        let sized = |start: usize, length: usize| start..start + length;
        // Arrow checks when it builds an array that offsets and sizes are within the items.
        match self {
            Self::Small(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Self::Large(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Self::Fixed(length) => sized(row * length, length),
            Self::SmallView(offsets, sizes) => sized(offsets[row] as usize, sizes[row] as usize),
            Self::LargeView(offsets, sizes) => sized(offsets[row] as usize, sizes[row] as usize),
        }
    }
}

/// All columns of a batch, which must have the schema's types.
///
/// # Errors
/// `internal` when it does not; `invalid_value` for a time zone that does not exist.
pub(super) fn columns<'a>(schema: &Schema, batch: &'a RecordBatch, numbers: Numbers) -> Result<Vec<Column<'a>>> {
    check_batch(schema, batch)?;
    let fields = schema.fields().iter();
    fields.zip(batch.columns()).map(|(field, array)| Column::new(field, array.as_ref(), numbers)).collect()
}

/// Fails when the batch has not the types of the schema; names and nullability are the schema's to say.
pub(super) fn check_batch(schema: &Schema, batch: &RecordBatch) -> Result<()> {
    let types = schema.fields().iter().map(|field| field.data_type());
    if types.eq(batch.columns().iter().map(|array| array.data_type())) {
        return Ok(());
    }
    Err(Error::internal("a batch of the result has other columns than its schema").with_cause(format!(
        "schema {:?}, batch {:?}",
        schema.fields(),
        batch.schema_ref().fields()
    )))
}

/// Fails when a column of this schema could not be written, so that it is known before the first byte leaves.
pub(super) fn check_schema(schema: &Schema) -> Result<()> {
    for field in schema.fields() {
        let empty = new_empty_array(field.data_type());
        Column::new(field, empty.as_ref(), Numbers::Native)
            .map_err(|error| error.context(format_args!("column \"{}\"", field.name())))?;
    }
    Ok(())
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array) -> &[T::Native] {
    array.as_primitive::<T>().values()
}

fn timestamps(array: &dyn Array, unit: TimeUnit) -> &[i64] {
    match unit {
        TimeUnit::Second => primitive::<TimestampSecondType>(array),
        TimeUnit::Millisecond => primitive::<TimestampMillisecondType>(array),
        TimeUnit::Microsecond => primitive::<TimestampMicrosecondType>(array),
        TimeUnit::Nanosecond => primitive::<TimestampNanosecondType>(array),
    }
}

fn durations(array: &dyn Array, unit: TimeUnit) -> &[i64] {
    match unit {
        TimeUnit::Second => primitive::<DurationSecondType>(array),
        TimeUnit::Millisecond => primitive::<DurationMillisecondType>(array),
        TimeUnit::Microsecond => primitive::<DurationMicrosecondType>(array),
        TimeUnit::Nanosecond => primitive::<DurationNanosecondType>(array),
    }
}

impl<'a> Column<'a> {
    fn new(field: &Field, array: &'a dyn Array, numbers: Numbers) -> Result<Self> {
        Self::of_type(declared_type(field), array, numbers)
    }

    /// `declared` is the Postgres type of the values, if it is known.
    fn of_type(declared: Option<&str>, array: &'a dyn Array, numbers: Numbers) -> Result<Self> {
        let wide_quoted = numbers == Numbers::String;
        let text_kind = match declared {
            Some("json" | "jsonb") => TextKind::Json,
            Some("int8" | "numeric") if wide_quoted => TextKind::Plain,
            Some("int2" | "int4" | "int8" | "float4" | "float8" | "numeric") => TextKind::Number,
            _ => TextKind::Plain,
        };
        let bytes_kind = if declared == Some("uuid") { BytesKind::Uuid } else { BytesKind::Bytea };
        let items = |item: &Field, values| {
            // A dimension more is no other type in Postgres.
            let inherited =
                if list_item(item.data_type()).is_some() { declared } else { declared.and_then(element_type) };
            Self::of_type(declared_type(item).or(inherited), values, numbers).map(Box::new)
        };
        let (values, quoted) = match array.data_type() {
            DataType::Null => (Values::Null, false),
            DataType::Boolean => (Values::Bool(array.as_boolean()), false),
            DataType::Int8 => (Values::Int8(primitive::<Int8Type>(array)), false),
            DataType::Int16 => (Values::Int16(primitive::<Int16Type>(array)), false),
            DataType::Int32 => (Values::Int32(primitive::<Int32Type>(array)), false),
            DataType::Int64 => (Values::Int64(primitive::<Int64Type>(array)), wide_quoted),
            DataType::UInt8 => (Values::UInt8(primitive::<UInt8Type>(array)), false),
            DataType::UInt16 => (Values::UInt16(primitive::<UInt16Type>(array)), false),
            DataType::UInt32 => (Values::UInt32(primitive::<UInt32Type>(array)), wide_quoted),
            DataType::UInt64 => (Values::UInt64(primitive::<UInt64Type>(array)), wide_quoted),
            DataType::Float16 => (Values::Float16(array.as_primitive()), false),
            DataType::Float32 => (Values::Float32(primitive::<Float32Type>(array)), false),
            DataType::Float64 => (Values::Float64(primitive::<Float64Type>(array)), false),
            DataType::Decimal32(_, scale) => {
                (Values::Decimal32(primitive::<Decimal32Type>(array), *scale), wide_quoted)
            }
            DataType::Decimal64(_, scale) => {
                (Values::Decimal64(primitive::<Decimal64Type>(array), *scale), wide_quoted)
            }
            DataType::Decimal128(_, scale) => {
                (Values::Decimal128(primitive::<Decimal128Type>(array), *scale), wide_quoted)
            }
            DataType::Decimal256(_, scale) => {
                (Values::Decimal256(primitive::<Decimal256Type>(array), *scale), wide_quoted)
            }
            DataType::Utf8 => (Values::Text(Texts::Small(array.as_string()), text_kind), true),
            DataType::LargeUtf8 => (Values::Text(Texts::Large(array.as_string()), text_kind), true),
            DataType::Utf8View => (Values::Text(Texts::View(array.as_string_view()), text_kind), true),
            DataType::Binary => (Values::Bytes(Blobs::Small(array.as_binary()), bytes_kind), true),
            DataType::LargeBinary => (Values::Bytes(Blobs::Large(array.as_binary()), bytes_kind), true),
            DataType::BinaryView => (Values::Bytes(Blobs::View(array.as_binary_view()), bytes_kind), true),
            DataType::FixedSizeBinary(_) => {
                (Values::Bytes(Blobs::Fixed(array.as_fixed_size_binary()), bytes_kind), true)
            }
            DataType::Date32 => (Values::Date32(primitive::<Date32Type>(array)), true),
            DataType::Date64 => (Values::Date64(primitive::<Date64Type>(array)), true),
            DataType::Time32(TimeUnit::Second) => {
                (Values::Time32(primitive::<Time32SecondType>(array), TimeUnit::Second), true)
            }
            DataType::Time32(unit) => (Values::Time32(primitive::<Time32MillisecondType>(array), *unit), true),
            DataType::Time64(TimeUnit::Nanosecond) => {
                (Values::Time64(primitive::<Time64NanosecondType>(array), TimeUnit::Nanosecond), true)
            }
            DataType::Time64(unit) => (Values::Time64(primitive::<Time64MicrosecondType>(array), *unit), true),
            DataType::Timestamp(unit, zone) => {
                let zone = zone.as_deref().map_or(Ok(Zone::Local), Zone::parse)?;
                (Values::Timestamp(timestamps(array, *unit), *unit, zone), true)
            }
            DataType::Interval(IntervalUnit::YearMonth) => {
                (Values::Months(primitive::<IntervalYearMonthType>(array)), true)
            }
            DataType::Interval(IntervalUnit::DayTime) => {
                (Values::DayTime(primitive::<IntervalDayTimeType>(array)), true)
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                (Values::MonthDayNano(primitive::<IntervalMonthDayNanoType>(array)), true)
            }
            DataType::Duration(unit) => (Values::Duration(durations(array, *unit), *unit), true),
            DataType::List(item) => {
                let list = array.as_list::<i32>();
                (Values::List(Ranges::Small(list.value_offsets()), items(item, list.values().as_ref())?), false)
            }
            DataType::LargeList(item) => {
                let list = array.as_list::<i64>();
                (Values::List(Ranges::Large(list.value_offsets()), items(item, list.values().as_ref())?), false)
            }
            DataType::FixedSizeList(item, length) => {
                let list = array.as_fixed_size_list();
                let length = usize::try_from(*length).expect("Arrow refuses a negative length");
                (Values::List(Ranges::Fixed(length), items(item, list.values().as_ref())?), false)
            }
            DataType::ListView(item) => {
                let list = array.as_list_view::<i32>();
                let ranges = Ranges::SmallView(list.value_offsets(), list.value_sizes());
                (Values::List(ranges, items(item, list.values().as_ref())?), false)
            }
            DataType::LargeListView(item) => {
                let list = array.as_list_view::<i64>();
                let ranges = Ranges::LargeView(list.value_offsets(), list.value_sizes());
                (Values::List(ranges, items(item, list.values().as_ref())?), false)
            }
            DataType::Struct(fields) => {
                let columns = fields
                    .iter()
                    .zip(array.as_struct().columns())
                    .map(|(field, array)| Self::new(field, array.as_ref(), numbers))
                    .collect::<Result<Vec<_>>>()?;
                (Values::Struct(Member::all(fields, columns)), false)
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let (key, value) = map.entries_fields();
                let key = Box::new(Self::new(key, map.keys().as_ref(), Numbers::Native)?);
                let value = Box::new(Self::new(value, map.values().as_ref(), numbers)?);
                (Values::Map(Ranges::Small(map.value_offsets()), key, value), false)
            }
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                let values = Self::of_type(declared, dictionary.values().as_ref(), numbers)?;
                // Arrow's method panics on a dictionary without values, whose rows are all null.
                let keys = if dictionary.values().is_empty() { vec![] } else { dictionary.normalized_keys() };
                (Values::Indexed(keys, Box::new(values)), false)
            }
            DataType::RunEndEncoded(ends, item) => {
                let indexes = match ends.data_type() {
                    DataType::Int16 => physical_indexes(array.as_run::<Int16Type>())?,
                    DataType::Int32 => physical_indexes(array.as_run::<Int32Type>())?,
                    _ => physical_indexes(array.as_run::<Int64Type>())?,
                };
                let declared = declared.or_else(|| declared_type(item));
                let values = Self::of_type(declared, array.as_any_ree().values().as_ref(), numbers)?;
                (Values::Indexed(indexes, Box::new(values)), false)
            }
            DataType::Union(fields, _) => {
                let union = array.as_union();
                let alternatives = fields
                    .iter()
                    .map(|(id, field)| Ok((id, Self::new(field, union.child(id).as_ref(), numbers)?)))
                    .collect::<Result<_>>()?;
                (Values::Union(union, alternatives), false)
            }
        };
        let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        Ok(Self { nulls, values, quoted })
    }

    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Whether the values are arrays in Postgres's sense, which are not quoted inside another array.
    pub(super) fn is_list(&self) -> bool {
        match &self.values {
            Values::List(..) => true,
            Values::Indexed(_, values) => values.is_list(),
            _ => false,
        }
    }
}

fn physical_indexes<R: RunEndIndexType>(array: &RunArray<R>) -> Result<Vec<usize>> {
    let rows: Vec<i64> = (0..array.len() as i64).collect();
    array
        .get_physical_indices(&rows)
        .map_err(|cause| Error::internal("the result has a column whose runs are broken").with_cause(cause))
}
