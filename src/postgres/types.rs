//! How each PostgreSQL type travels, and what it becomes in Arrow.
//!
//! Owns: the type map, and what a user may choose for values that Arrow cannot hold. Must not know: bytes on the wire,
//! which `decode` reads; or tables.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, Fields, TimeUnit};

/// How the values of a column travel from PostgreSQL to Arrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `boolean` → Boolean.
    Bool,
    /// `smallint` → Int16.
    Int2,
    /// `integer` → Int32.
    Int4,
    /// `bigint` → Int64.
    Int8,
    /// `real` → Float32.
    Float4,
    /// `double precision` → Float64.
    Float8,
    /// `numeric` → Decimal128 up to 38 digits, Decimal256 up to 76.
    Numeric {
        /// Digits in all, 1 to 76.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// `text`, `varchar`, `name`, `json`, enums → Utf8.
    Text,
    /// Text of `char(n)`, without the spaces at its end, which mean nothing.
    Trimmed,
    /// `jsonb` → Utf8.
    Jsonb,
    /// `bytea` → Binary.
    Bytea,
    /// `date` → Date32.
    Date,
    /// `time` → Time64 in µs.
    Time,
    /// `timestamp` → Timestamp in µs without time zone.
    Timestamp,
    /// `timestamptz` → Timestamp in µs, UTC.
    Timestamptz,
    /// `uuid` → Utf8, lower-case with hyphens.
    Uuid,
    /// `interval` → Struct of months (Int32), days (Int32), microseconds (Int64): Parquet has no such type.
    Interval,
    /// `oid` → Int64.
    Oid,
    /// Anything else, cast to text in the SELECT → Utf8.
    AsText,
    /// Anything, cast to text in the SELECT; its keyed BLAKE3 as 64 hexadecimal digits → Utf8.
    HashedText,
}

impl Kind {
    /// The Arrow type that the decoder yields.
    #[must_use]
    pub fn arrow_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 | Self::Oid => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            // DataFusion 55 computes wrongly with the smaller decimals.
            Self::Numeric { precision, scale } if precision <= DECIMAL128_MAX_PRECISION => {
                DataType::Decimal128(precision, scale.cast_signed())
            }
            Self::Numeric { precision, scale } => DataType::Decimal256(precision, scale.cast_signed()),
            Self::Text | Self::Trimmed | Self::Jsonb | Self::Uuid | Self::AsText | Self::HashedText => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Interval => DataType::Struct(interval_fields()),
        }
    }

    /// What stands in the SELECT for a column whose name is quoted already.
    #[must_use]
    pub fn select_expression(self, quoted_column: &str) -> String {
        match self {
            Self::Trimmed | Self::AsText | Self::HashedText => format!("{quoted_column}::pg_catalog.text"),
            _ => quoted_column.to_owned(),
        }
    }

    /// Whether PostgreSQL knows values of this kind that Arrow cannot hold, so that [`OutOfRange`] matters.
    #[must_use]
    pub fn can_be_out_of_range(self) -> bool {
        matches!(
            self,
            Self::Numeric { .. } | Self::Date | Self::Time | Self::Timestamp | Self::Timestamptz | Self::Interval
        )
    }
}

/// The children of an interval, none of them nullable.
pub(super) fn interval_fields() -> Fields {
    Fields::from(vec![
        Field::new("months", DataType::Int32, false),
        Field::new("days", DataType::Int32, false),
        Field::new("microseconds", DataType::Int64, false),
    ])
}

/// What becomes of a value that PostgreSQL holds and Arrow does not: NaN and infinite numerics, infinite dates,
/// timestamps and intervals, years outside −262143 to 262142, the time 24:00:00.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutOfRange {
    /// The export fails and names the value, the row and this setting.
    #[default]
    Error,
    /// It becomes NULL, counted.
    Null,
    /// It becomes the nearest value that Arrow holds, counted. NaN is near nothing and becomes NULL.
    Clamp,
    /// The whole column travels as its text, so nothing is out of range.
    Text,
}

impl OutOfRange {
    /// Whether a column without NULLs may get some.
    #[must_use]
    pub fn can_make_null(self, kind: Kind) -> bool {
        match self {
            Self::Null => kind.can_be_out_of_range(),
            Self::Clamp => matches!(kind, Kind::Numeric { .. }),
            Self::Error | Self::Text => false,
        }
    }
}

/// The type of a column once domains are resolved to what they are made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseType {
    /// The schema of the type, `pg_catalog` for those that PostgreSQL brings.
    pub schema: String,
    /// `pg_type.typname`, for example `int4` or `_text`.
    pub name: String,
    /// `pg_type.typtype`: `b`ase, `c`omposite, `e`num, `r`ange, `m`ultirange, `p`seudo.
    pub class: char,
    /// The type modifier that applies (of the column, or of the innermost domain that has one); −1 for none.
    pub modifier: i32,
}

/// What [`plan_column`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlannedKind {
    /// The kind is certain.
    Known {
        /// How it travels.
        kind: Kind,
        /// What the fidelity report should say about it, if anything.
        note: Option<String>,
    },
    /// A numeric without precision and scale, which its values must tell ([`super::measure`]).
    Unmeasured,
}

/// Decides how a column travels.
#[must_use]
pub fn plan_column(base: &BaseType, out_of_range: OutOfRange) -> PlannedKind {
    let known = |kind: Kind| PlannedKind::Known { kind, note: None };
    let planned = match (base.schema.as_str(), base.name.as_str(), base.class) {
        (_, _, 'e') => known(Kind::Text),
        ("pg_catalog", name, 'b') => match name {
            "bool" => known(Kind::Bool),
            "int2" => known(Kind::Int2),
            "int4" => known(Kind::Int4),
            "int8" => known(Kind::Int8),
            "float4" => known(Kind::Float4),
            "float8" => known(Kind::Float8),
            "numeric" => numeric(base.modifier),
            "text" | "varchar" | "name" | "json" => known(Kind::Text),
            "bpchar" => known(Kind::Trimmed),
            // Their binary forms are not their texts: a raw byte, and an XML declaration that depends on the client.
            "char" | "xml" => known(Kind::AsText),
            "jsonb" => known(Kind::Jsonb),
            "bytea" => known(Kind::Bytea),
            "date" => known(Kind::Date),
            "time" => known(Kind::Time),
            "timestamp" => known(Kind::Timestamp),
            "timestamptz" => known(Kind::Timestamptz),
            "uuid" => known(Kind::Uuid),
            "interval" => known(Kind::Interval),
            "oid" => known(Kind::Oid),
            _ => as_text(format!("type {name} travels as its text")),
        },
        // An extension's type, whose text is all that there is to it.
        (_, "citext", 'b') => known(Kind::AsText),
        (schema, name, _) => as_text(format!("type {schema}.{name} travels as its text")),
    };
    let may_be_out_of_range = match &planned {
        PlannedKind::Unmeasured => true,
        PlannedKind::Known { kind, .. } => kind.can_be_out_of_range(),
    };
    if out_of_range == OutOfRange::Text && may_be_out_of_range {
        return as_text(format!("type {} travels as its text, because out_of_range = \"text\"", base.name));
    }
    planned
}

fn as_text(note: String) -> PlannedKind {
    PlannedKind::Known { kind: Kind::AsText, note: Some(note) }
}

/// A numeric by its type modifier. Since PostgreSQL 15 the scale may be negative or larger than the precision, which
/// Arrow does not know: the precision is widened, so that every value of the type fits.
///
/// Source: `make_numeric_typmod` in PostgreSQL's `numeric.c`.
fn numeric(modifier: i32) -> PlannedKind {
    if modifier < 4 {
        return PlannedKind::Unmeasured;
    }
    let packed = modifier - 4;
    let precision = (packed >> 16) & 0xffff;
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    let width = if scale < 0 { (precision - scale, 0) } else { (precision.max(scale), scale) };
    match (u8::try_from(width.0), u8::try_from(width.1)) {
        (Ok(precision), Ok(scale)) if (1..=DECIMAL256_MAX_PRECISION).contains(&precision) => {
            PlannedKind::Known { kind: Kind::Numeric { precision, scale }, note: None }
        }
        _ => as_text(format!("numeric({precision},{scale}) has more than 76 digits and travels as its text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &str, name: &str, class: char, modifier: i32, expect: &str) {
        let base = BaseType { schema: schema.to_owned(), name: name.to_owned(), class, modifier };
        let actual = match plan_column(&base, OutOfRange::Error) {
            PlannedKind::Known { kind, note } => format!("{}{}", kind.arrow_type(), note.map_or("", |_| " noted")),
            PlannedKind::Unmeasured => "unmeasured".to_owned(),
        };
        assert_eq!(actual, expect, "{schema}.{name} {modifier}");
    }

    fn modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn the_type_map() {
        check("pg_catalog", "numeric", 'b', -1, "unmeasured");
        check("pg_catalog", "numeric", 'b', modifier(10, 2), "Decimal128(10, 2)");
        check("pg_catalog", "numeric", 'b', modifier(1, 0), "Decimal128(1, 0)");
        check("pg_catalog", "numeric", 'b', modifier(38, 38), "Decimal128(38, 38)");
        check("pg_catalog", "numeric", 'b', modifier(39, 0), "Decimal256(39, 0)");
        check("pg_catalog", "numeric", 'b', modifier(76, 30), "Decimal256(76, 30)");
        check("pg_catalog", "numeric", 'b', modifier(77, 0), "Utf8 noted");
        check("pg_catalog", "numeric", 'b', modifier(1000, 1000), "Utf8 noted");
        check("pg_catalog", "numeric", 'b', modifier(3, 5), "Decimal128(5, 5)");
        check("pg_catalog", "numeric", 'b', modifier(3, -2), "Decimal128(5, 0)");
        check("pg_catalog", "numeric", 'b', modifier(3, -1000), "Utf8 noted");
        check("pg_catalog", "int4", 'b', -1, "Int32");
        check("public", "int4", 'b', -1, "Utf8 noted");
        check("public", "mood", 'e', -1, "Utf8");
        check("public", "citext", 'b', -1, "Utf8");
        check("pg_catalog", "char", 'b', -1, "Utf8");
        check("pg_catalog", "_int4", 'b', -1, "Utf8 noted");
        check("pg_catalog", "int4range", 'r', -1, "Utf8 noted");
        check("pg_catalog", "timestamptz", 'b', -1, "Timestamp(µs, \"UTC\")");
    }

    #[test]
    fn the_text_policy_changes_only_what_can_be_out_of_range() {
        let base = |name: &str| BaseType { schema: "pg_catalog".into(), name: name.into(), class: 'b', modifier: -1 };
        for name in ["numeric", "date", "time", "timestamp", "timestamptz", "interval"] {
            let planned = plan_column(&base(name), OutOfRange::Text);
            assert!(matches!(planned, PlannedKind::Known { kind: Kind::AsText, note: Some(_) }), "{name}");
        }
        let planned = plan_column(&base("int4"), OutOfRange::Text);
        assert_eq!(planned, PlannedKind::Known { kind: Kind::Int4, note: None });
    }
}
