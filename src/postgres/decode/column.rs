//! One column on its way into Arrow.
//!
//! Owns: the builder for each [`Kind`], and what a field's bytes must look like. Must not know: tuples, feeds, error
//! texts.
//!
//! Source: the `…send` functions of PostgreSQL's types; all integers are big-endian.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, Float32Builder,
        Float64Builder, Int16Builder, Int32Builder, Int64Builder, NullBufferBuilder, StringBuilder, StructArray,
        Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::i256,
    error::ArrowError,
};

use super::{
    numeric::{Misfit, Numeric, power_of_ten},
    temporal::{self, Beyond},
};
use crate::postgres::types::{Kind, OutOfRange, interval_fields};

/// Why a field was not decoded.
#[derive(Debug)]
pub(super) enum Fault {
    /// The type has another length.
    Length { expected: usize },
    /// The bytes are not of the type.
    Malformed(&'static str),
    /// Text that is not UTF-8.
    NotUtf8,
    /// The value as PostgreSQL writes it, which Arrow cannot hold.
    Beyond(String),
    /// A numeric with more digits than the column has.
    Digits,
    /// NULL in a column that has none.
    Null,
    /// Arrow's 32-bit offsets end at 2 GiB.
    Full,
}

/// What became of a column's values, since the decoder was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnCounts {
    /// NULL in the source.
    pub nulls: u64,
    /// Out of range and made NULL.
    pub nulled: u64,
    /// Out of range and made the nearest value.
    pub clamped: u64,
}

pub(super) struct Column {
    builder: Builder,
    is_nullable: bool,
    out_of_range: OutOfRange,
    pub(super) counts: ColumnCounts,
}

enum Builder {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal128 { builder: Decimal128Builder, precision: u8, scale: u8 },
    Decimal256 { builder: Box<Decimal256Builder>, limit: i256, scale: u8 },
    Text(StringBuilder),
    Jsonb(StringBuilder),
    Bytea(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Uuid(StringBuilder),
    Interval(Box<IntervalBuilder>),
    Oid(Int64Builder),
    Hashed { builder: StringBuilder, key: Box<[u8; 32]> },
}

#[derive(Default)]
struct IntervalBuilder {
    months: Int32Builder,
    days: Int32Builder,
    microseconds: Int64Builder,
    nulls: Option<NullBufferBuilder>,
}

impl IntervalBuilder {
    fn append(&mut self, value: Option<temporal::Interval>) {
        let (months, days, microseconds) = value.unwrap_or_default();
        self.months.append_value(months);
        self.days.append_value(days);
        self.microseconds.append_value(microseconds);
        self.nulls.get_or_insert_with(|| NullBufferBuilder::new(1024)).append(value.is_some());
    }

    fn finish(&mut self) -> Result<StructArray, ArrowError> {
        let children: Vec<ArrayRef> =
            vec![Arc::new(self.months.finish()), Arc::new(self.days.finish()), Arc::new(self.microseconds.finish())];
        let nulls = self.nulls.take().and_then(|mut nulls| nulls.finish());
        StructArray::try_new(interval_fields(), children, nulls)
    }
}

impl Column {
    /// `key` is what hashed columns need; none of them is decoded without.
    pub(super) fn new(kind: Kind, is_nullable: bool, out_of_range: OutOfRange, key: Option<[u8; 32]>) -> Option<Self> {
        let builder = match kind {
            Kind::Bool => Builder::Bool(BooleanBuilder::new()),
            Kind::Int2 => Builder::Int2(Int16Builder::new()),
            Kind::Int4 => Builder::Int4(Int32Builder::new()),
            Kind::Int8 => Builder::Int8(Int64Builder::new()),
            Kind::Float4 => Builder::Float4(Float32Builder::new()),
            Kind::Float8 => Builder::Float8(Float64Builder::new()),
            Kind::Numeric { precision, scale } if precision <= 38 => Builder::Decimal128 {
                builder: Decimal128Builder::new().with_data_type(kind.arrow_type()),
                precision,
                scale,
            },
            Kind::Numeric { precision, scale } => Builder::Decimal256 {
                builder: Box::new(Decimal256Builder::new().with_data_type(kind.arrow_type())),
                limit: power_of_ten(precision),
                scale,
            },
            Kind::Text | Kind::Trimmed | Kind::AsText => Builder::Text(StringBuilder::new()),
            Kind::Jsonb => Builder::Jsonb(StringBuilder::new()),
            Kind::Bytea => Builder::Bytea(BinaryBuilder::new()),
            Kind::Date => Builder::Date(Date32Builder::new()),
            Kind::Time => Builder::Time(Time64MicrosecondBuilder::new()),
            Kind::Timestamp | Kind::Timestamptz => {
                Builder::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(kind.arrow_type()))
            }
            Kind::Uuid => Builder::Uuid(StringBuilder::new()),
            Kind::Interval => Builder::Interval(Box::default()),
            Kind::Oid => Builder::Oid(Int64Builder::new()),
            Kind::HashedText => Builder::Hashed { builder: StringBuilder::new(), key: Box::new(key?) },
        };
        Some(Self { builder, is_nullable, out_of_range, counts: ColumnCounts::default() })
    }

    /// Bytes that the buffered values take, without their NULL bitmap.
    pub(super) fn buffered_bytes(&self, rows: usize) -> usize {
        match &self.builder {
            Builder::Bool(_) => rows / 8,
            Builder::Int2(_) => rows * 2,
            Builder::Int4(_) | Builder::Float4(_) | Builder::Date(_) => rows * 4,
            Builder::Int8(_) | Builder::Float8(_) | Builder::Oid(_) | Builder::Time(_) | Builder::Timestamp(_) => {
                rows * 8
            }
            Builder::Decimal128 { .. } | Builder::Interval(_) => rows * 16,
            Builder::Decimal256 { .. } => rows * 32,
            Builder::Text(builder)
            | Builder::Jsonb(builder)
            | Builder::Uuid(builder)
            | Builder::Hashed { builder, .. } => builder.values_slice().len() + rows * 4,
            Builder::Bytea(builder) => builder.values_slice().len() + rows * 4,
        }
    }

    pub(super) fn append_null(&mut self) -> Result<(), Fault> {
        if !self.is_nullable {
            return Err(Fault::Null);
        }
        self.counts.nulls += 1;
        match &mut self.builder {
            Builder::Bool(builder) => builder.append_null(),
            Builder::Int2(builder) => builder.append_null(),
            Builder::Int4(builder) => builder.append_null(),
            Builder::Int8(builder) | Builder::Oid(builder) => builder.append_null(),
            Builder::Float4(builder) => builder.append_null(),
            Builder::Float8(builder) => builder.append_null(),
            Builder::Decimal128 { builder, .. } => builder.append_null(),
            Builder::Decimal256 { builder, .. } => builder.append_null(),
            Builder::Text(builder)
            | Builder::Jsonb(builder)
            | Builder::Uuid(builder)
            | Builder::Hashed { builder, .. } => builder.append_null(),
            Builder::Bytea(builder) => builder.append_null(),
            Builder::Date(builder) => builder.append_null(),
            Builder::Time(builder) => builder.append_null(),
            Builder::Timestamp(builder) => builder.append_null(),
            Builder::Interval(builder) => builder.append(None),
        }
        Ok(())
    }

    #[inline]
    pub(super) fn append(&mut self, body: &[u8]) -> Result<(), Fault> {
        let mut policy = Policy { out_of_range: self.out_of_range, counts: &mut self.counts };
        match &mut self.builder {
            Builder::Bool(builder) => match body {
                [0] => builder.append_value(false),
                [1] => builder.append_value(true),
                [_] => return Err(Fault::Malformed("boolean")),
                _ => return Err(Fault::Length { expected: 1 }),
            },
            Builder::Int2(builder) => builder.append_value(i16::from_be_bytes(fixed(body)?)),
            Builder::Int4(builder) => builder.append_value(i32::from_be_bytes(fixed(body)?)),
            Builder::Int8(builder) => builder.append_value(i64::from_be_bytes(fixed(body)?)),
            // Whatever its sign, NaN is one value, which is greater than all others.
            Builder::Float4(builder) => {
                let value = f32::from_be_bytes(fixed(body)?);
                builder.append_value(if value.is_nan() { f32::NAN } else { value });
            }
            Builder::Float8(builder) => {
                let value = f64::from_be_bytes(fixed(body)?);
                builder.append_value(if value.is_nan() { f64::NAN } else { value });
            }
            Builder::Oid(builder) => builder.append_value(i64::from(u32::from_be_bytes(fixed(body)?))),
            Builder::Text(builder) => append_text(builder, body)?,
            Builder::Jsonb(builder) => match body.split_first() {
                Some((1, text)) => append_text(builder, text)?,
                _ => return Err(Fault::Malformed("jsonb of version 1")),
            },
            Builder::Bytea(builder) => {
                require_room(builder.values_slice().len(), body.len())?;
                builder.append_value(body);
            }
            Builder::Uuid(builder) => {
                let uuid = uuid::Uuid::from_bytes(fixed(body)?);
                let mut buffer = uuid::Uuid::encode_buffer();
                require_room(builder.values_slice().len(), buffer.len())?;
                builder.append_value(uuid.hyphenated().encode_lower(&mut buffer));
            }
            Builder::Hashed { builder, key } => {
                require_room(builder.values_slice().len(), 64)?;
                builder.append_value(blake3::keyed_hash(key, body).to_hex().as_str());
            }
            Builder::Date(builder) => match temporal::date(i32::from_be_bytes(fixed(body)?)) {
                Ok(days) => builder.append_value(days),
                Err(beyond) => builder.append_option(policy.nearest(beyond)?),
            },
            Builder::Timestamp(builder) => match temporal::timestamp(i64::from_be_bytes(fixed(body)?)) {
                Ok(micros) => builder.append_value(micros),
                Err(beyond) => builder.append_option(policy.nearest(beyond)?),
            },
            Builder::Time(builder) => match temporal::time(i64::from_be_bytes(fixed(body)?)) {
                Some(Ok(micros)) => builder.append_value(micros),
                Some(Err(beyond)) => builder.append_option(policy.nearest(beyond)?),
                None => return Err(Fault::Malformed("time of day")),
            },
            Builder::Interval(builder) => {
                let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = fixed(body)?;
                let micros = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
                let days = i32::from_be_bytes([i, j, k, l]);
                let months = i32::from_be_bytes([m, n, o, p]);
                match temporal::interval((months, days, micros)) {
                    Ok(finite) => builder.append(Some(finite)),
                    Err(beyond) => builder.append(policy.nearest(beyond)?),
                }
            }
            Builder::Decimal128 { builder, precision, scale } => match finite(body)? {
                Numeric::Finite(digits) => builder.append_value(digits.to_i128(*precision, *scale).map_err(misfit)?),
                special => {
                    let largest = power_of_ten(*precision).as_i128() - 1;
                    builder.append_option(policy.special(&special, largest, -largest)?);
                }
            },
            Builder::Decimal256 { builder, limit, scale } => match finite(body)? {
                Numeric::Finite(digits) => builder.append_value(digits.to_i256(*limit, *scale).map_err(misfit)?),
                special => {
                    let largest = limit.wrapping_sub(i256::ONE);
                    builder.append_option(policy.special(&special, largest, largest.wrapping_neg())?);
                }
            },
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match &mut self.builder {
            Builder::Bool(builder) => Arc::new(builder.finish()),
            Builder::Int2(builder) => Arc::new(builder.finish()),
            Builder::Int4(builder) => Arc::new(builder.finish()),
            Builder::Int8(builder) | Builder::Oid(builder) => Arc::new(builder.finish()),
            Builder::Float4(builder) => Arc::new(builder.finish()),
            Builder::Float8(builder) => Arc::new(builder.finish()),
            Builder::Decimal128 { builder, .. } => Arc::new(builder.finish()),
            Builder::Decimal256 { builder, .. } => Arc::new(builder.finish()),
            Builder::Text(builder)
            | Builder::Jsonb(builder)
            | Builder::Uuid(builder)
            | Builder::Hashed { builder, .. } => Arc::new(builder.finish()),
            Builder::Bytea(builder) => Arc::new(builder.finish()),
            Builder::Date(builder) => Arc::new(builder.finish()),
            Builder::Time(builder) => Arc::new(builder.finish()),
            Builder::Timestamp(builder) => Arc::new(builder.finish()),
            Builder::Interval(builder) => Arc::new(builder.finish()?),
        })
    }
}

/// What to do with a value that Arrow cannot hold; it counts what it does.
struct Policy<'a> {
    out_of_range: OutOfRange,
    counts: &'a mut ColumnCounts,
}

impl Policy<'_> {
    #[cold]
    fn nearest<T>(&mut self, beyond: Beyond<T>) -> Result<Option<T>, Fault> {
        match self.out_of_range {
            // A column with the text policy is not selected as this type, so getting here means that nothing was
            // decided.
            OutOfRange::Error | OutOfRange::Text => Err(Fault::Beyond(beyond.text)),
            OutOfRange::Null => {
                self.counts.nulled += 1;
                Ok(None)
            }
            OutOfRange::Clamp => {
                self.counts.clamped += 1;
                Ok(Some(beyond.nearest))
            }
        }
    }

    #[cold]
    fn special<T>(&mut self, numeric: &Numeric<'_>, largest: T, smallest: T) -> Result<Option<T>, Fault> {
        let (nearest, text) = match numeric {
            Numeric::PositiveInfinity => (largest, "Infinity"),
            Numeric::NegativeInfinity => (smallest, "-Infinity"),
            Numeric::NaN | Numeric::Finite(_) => {
                if self.out_of_range != OutOfRange::Null && self.out_of_range != OutOfRange::Clamp {
                    return Err(Fault::Beyond("NaN".to_owned()));
                }
                self.counts.nulled += 1;
                return Ok(None);
            }
        };
        self.nearest(Beyond { nearest, text: text.to_owned() })
    }
}

#[inline]
fn fixed<const N: usize>(body: &[u8]) -> Result<[u8; N], Fault> {
    body.try_into().map_err(|_| Fault::Length { expected: N })
}

#[inline]
fn finite(body: &[u8]) -> Result<Numeric<'_>, Fault> {
    Numeric::parse(body).ok_or(Fault::Malformed("numeric"))
}

#[inline]
fn append_text(builder: &mut StringBuilder, body: &[u8]) -> Result<(), Fault> {
    let text = std::str::from_utf8(body).map_err(|_| Fault::NotUtf8)?;
    require_room(builder.values_slice().len(), text.len())?;
    builder.append_value(text);
    Ok(())
}

/// Arrow's builder panics where its offsets end.
#[inline]
fn require_room(buffered: usize, more: usize) -> Result<(), Fault> {
    if buffered + more <= i32::MAX as usize { Ok(()) } else { Err(Fault::Full) }
}

#[cold]
fn misfit(misfit: Misfit) -> Fault {
    match misfit {
        Misfit::Malformed => Fault::Malformed("numeric"),
        Misfit::Scale | Misfit::Precision => Fault::Digits,
    }
}
