//! Postgres's types, as far as the engine has values of them.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};

use crate::sql::{CHAR_LENGTH_KEY, PG_TYPE_KEY};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $long:literal, $category:literal;)*) => {
        /// A type of Postgres, or one of the pseudo-types that signatures name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(in crate::sql) enum Kind {
            $($(#[$doc])* $variant,)*
            /// An array whose elements are of the type.
            Array(Element),
        }

        impl Kind {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As the catalogue has it: `int4`.
            pub(in crate::sql) fn name(self) -> String {
                match self { $(Self::$variant => $name.to_owned(),)* Self::Array(element) => format!("{}[]", element.kind().name()) }
            }

            /// As messages have it: `integer`.
            pub(in crate::sql) fn long_name(self) -> String {
                match self { $(Self::$variant => $long.to_owned(),)* Self::Array(element) => format!("{}[]", element.kind().long_name()) }
            }

            /// `pg_type.typcategory`.
            pub(in crate::sql) const fn category(self) -> char {
                match self { $(Self::$variant => $category,)* Self::Array(_) => 'A' }
            }
        }

        /// What an array may hold.
        #[expect(clippy::enum_variant_names, reason = "anyelement is what Postgres calls a type")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(in crate::sql) enum Element { $($(#[$doc])* $variant,)* }

        impl Element {
            /// The type itself.
            pub(in crate::sql) const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$variant,)* }
            }

            /// None for arrays: those of Postgres do not nest.
            pub(in crate::sql) const fn of(kind: Kind) -> Option<Self> {
                match kind { $(Kind::$variant => Some(Self::$variant),)* Kind::Array(_) => None }
            }
        }
    };
}

kinds! {
    /// A literal that nothing has given a type yet, and NULL.
    Unknown = "unknown", "unknown", 'X';
    /// `boolean`
    Bool = "bool", "boolean", 'B';
    /// `smallint`
    Int2 = "int2", "smallint", 'N';
    /// `integer`
    Int4 = "int4", "integer", 'N';
    /// `bigint`
    Int8 = "int8", "bigint", 'N';
    /// `real`
    Float4 = "float4", "real", 'N';
    /// `double precision`
    Float8 = "float8", "double precision", 'N';
    /// `numeric`
    Numeric = "numeric", "numeric", 'N';
    /// `text`
    Text = "text", "text", 'S';
    /// `varchar`
    Varchar = "varchar", "character varying", 'S';
    /// `char(n)`
    Bpchar = "bpchar", "character", 'S';
    /// `name`
    Name = "name", "name", 'S';
    /// `bytea`
    Bytea = "bytea", "bytea", 'U';
    /// `date`
    Date = "date", "date", 'D';
    /// `time`
    Time = "time", "time without time zone", 'D';
    /// `timestamp`
    Timestamp = "timestamp", "timestamp without time zone", 'D';
    /// `timestamptz`
    Timestamptz = "timestamptz", "timestamp with time zone", 'D';
    /// `interval`
    Interval = "interval", "interval", 'T';
    /// `uuid`
    Uuid = "uuid", "uuid", 'U';
    /// `json`
    Json = "json", "json", 'U';
    /// `jsonb`
    Jsonb = "jsonb", "jsonb", 'U';
    /// Any enum; which one is in the column's metadata.
    Enum = "enum", "enum", 'E';
    /// `regtype`, what `pg_typeof` gives.
    Regtype = "regtype", "regtype", 'N';
    /// Something that the engine has and Postgres has not, such as a struct.
    Other = "record", "record", 'P';
    /// Pseudo-type: whatever.
    Any = "any", "any", 'P';
    /// Pseudo-type: whatever, the same wherever it stands.
    AnyElement = "anyelement", "anyelement", 'P';
    /// Pseudo-type: an array of it.
    AnyArray = "anyarray", "anyarray", 'P';
    /// Pseudo-type: whatever all of them can become.
    AnyCompatible = "anycompatible", "anycompatible", 'P';
    /// Pseudo-type: an array of that.
    AnyCompatibleArray = "anycompatiblearray", "anycompatiblearray", 'P';
    /// Pseudo-type: an enum.
    AnyEnum = "anyenum", "anyenum", 'P';
}

impl Kind {
    /// The type of a name in a signature.
    pub(in crate::sql) fn of_name(name: &str) -> Option<Self> {
        if let Some(element) = name.strip_suffix("[]") {
            return Element::of(Self::of_name(element)?).map(Self::Array);
        }
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The type of a column or an expression.
    pub(in crate::sql) fn of_field(field: &Field) -> Self {
        let said = field.metadata().get(PG_TYPE_KEY).map(String::as_str);
        match (field.data_type(), said) {
            (DataType::Utf8View | DataType::LargeUtf8 | DataType::Utf8, Some(name)) => {
                Self::ALL.iter().copied().find(|kind| kind.name() == name).unwrap_or(Self::Enum)
            }
            (DataType::Utf8View, None) if field.metadata().contains_key(CHAR_LENGTH_KEY) => Self::Bpchar,
            (DataType::Dictionary(..), _) => Self::Enum,
            (data_type, _) => Self::of_type(data_type),
        }
    }

    /// The type that an Arrow type has where nothing more is said.
    pub(in crate::sql) fn of_type(data_type: &DataType) -> Self {
        match data_type {
            // Only literals are of this type: the planner gives columns and casts the other.
            DataType::Null | DataType::Utf8 => Self::Unknown,
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::Int2,
            DataType::Int32 | DataType::UInt16 => Self::Int4,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Self::Int8,
            DataType::Float16 | DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
                Self::Numeric
            }
            DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Bytea
            }
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::Timestamptz,
            DataType::Interval(_) | DataType::Duration(_) => Self::Interval,
            DataType::Dictionary(..) => Self::Enum,
            DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
                let element = match Self::of_field(field) {
                    Self::Unknown => Self::Text,
                    kind => kind,
                };
                Element::of(element).map_or(Self::Other, Self::Array)
            }
            _ => Self::Other,
        }
    }

    /// Of a result: its Arrow type, and its name where that does not say it all. Numerics are `precision` and `scale`.
    pub(in crate::sql) fn field(self, zone: &Arc<str>, (precision, scale): (u8, i8)) -> FieldRef {
        let data_type = match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric if precision <= 38 => DataType::Decimal128(precision, scale),
            Self::Numeric => DataType::Decimal256(precision, scale),
            Self::Bytea => DataType::BinaryView,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(zone))),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Array(element) => {
                let item = element.kind().field(zone, (precision, scale));
                DataType::List(Arc::new(item.as_ref().clone().with_name("item")))
            }
            _ => DataType::Utf8View,
        };
        let field = Field::new("", data_type, true);
        // The engine takes a literal moment of the two timestamp types for the same one, and evaluates what is made of it once; the name
        // keeps them apart.
        let is_said = matches!(
            self,
            Self::Timestamptz
                | Self::Varchar
                | Self::Bpchar
                | Self::Name
                | Self::Uuid
                | Self::Json
                | Self::Jsonb
                | Self::Regtype
        );
        Arc::new(match is_said {
            true => field.with_metadata(HashMap::from([(PG_TYPE_KEY.to_owned(), self.name())])),
            false => field,
        })
    }

    /// `pg_type.typispreferred`.
    pub(in crate::sql) const fn is_preferred(self) -> bool {
        matches!(self, Self::Bool | Self::Float8 | Self::Text | Self::Timestamptz | Self::Interval)
    }

    /// Whether Postgres makes a value of this type one of `target` where nobody asks for it.
    pub(in crate::sql) fn becomes(self, target: Self) -> bool {
        use Kind::{
            Array, Bpchar, Date, Enum, Float4, Float8, Int2, Int4, Int8, Name, Numeric, Text, Time, Timestamp,
            Timestamptz, Unknown, Varchar,
        };
        if self == target || self == Unknown {
            return true;
        }
        match (self, target) {
            (Int2, Int4 | Int8 | Numeric | Float4 | Float8)
            | (Int4, Int8 | Numeric | Float4 | Float8)
            | (Int8, Numeric | Float4 | Float8)
            | (Numeric, Float4 | Float8)
            | (Float4, Float8)
            | (Varchar | Bpchar | Name, Text | Varchar | Bpchar)
            | (Text, Varchar | Bpchar)
            | (Date, Timestamp | Timestamptz)
            | (Timestamp, Timestamptz)
            | (Time, Kind::Interval) => true,
            (Enum, Kind::AnyEnum) => true,
            (Array(from), Array(to)) => from == to,
            _ => false,
        }
    }
}
