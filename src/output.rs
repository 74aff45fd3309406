//! Record batches become what a client reads: JSON, NDJSON, CSV, an Arrow stream, Parquet, or a table on a terminal.
//!
//! Owns: the formats and the spelling of every value in them. A value that came from Postgres leaves spelled as
//! Postgres spells it: as `to_json` does in JSON, as its output functions do in CSV and in the table.
//! Must not know: transport. What comes in is a schema and batches, what goes out is bytes and the text of a content
//! type.
//!
//! Map, in reading order:
//! - `format`: [`Format`], its names and media types, `Accept`;
//! - `stream`: [`StreamEncoder`] and [`encode`];
//! - `json`, `csv`, `columnar`, `table`: one per look of the output;
//! - `column`: an Arrow array with its type resolved, ready to be written row by row;
//! - `text`, `number`, `float`, `time`: how Postgres spells values;
//! - `names`: Postgres type names, and names that occur twice.
//!
//! | Arrow type | JSON | CSV and table |
//! |---|---|---|
//! | integers | `42`; int8 quoted with [`Numbers::String`] | `42` |
//! | decimals | `12.50`, all digits of the scale; quoted with [`Numbers::String`] | `12.50` |
//! | floats | shortest that reads back equal; `"NaN"`, `"Infinity"`, `"-Infinity"` | the same, unquoted |
//! | boolean | `true` | `t` |
//! | text | `"text"` | `text` |
//! | text whose Postgres type is json or jsonb | the JSON itself | its text |
//! | text whose Postgres type is a number | the number, or a string where JSON has no such number | its text |
//! | binary | `"\\xdeadbeef"` | `\xdeadbeef` |
//! | binary of 16 bytes whose Postgres type is uuid | `"a0eebc99-…"` | `a0eebc99-…` |
//! | date | `"2026-01-31"` | `2026-01-31` |
//! | time | `"12:34:56.789"` | `12:34:56.789` |
//! | timestamp | `"2026-01-31T12:34:56.789"` | `2026-01-31 12:34:56.789` |
//! | timestamp with a zone | `"2026-01-31T12:34:56.789+00:00"`, in that zone | `2026-01-31 12:34:56.789+00` |
//! | interval, duration | `"1 mon 2 days 03:04:05"` | `1 mon 2 days 03:04:05` |
//! | lists | `[1,null]` | `{1,NULL}` |
//! | struct | `{"a":1}` | `(1)` |
//! | map | `{"key":1}` | `{"key":1}` |
//! | dictionary, runs, union | the value | the value |
//!
//! In JSON, NDJSON and Parquet the second and later of columns with equal names get `_2`, `_3` …; CSV, Arrow and the
//! table keep the names that Postgres gives.

mod column;
mod columnar;
mod csv;
mod float;
mod format;
mod json;
mod names;
mod number;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod texts;
mod time;

pub use format::Format;
pub use names::postgres_type_name;
pub use stream::{StreamEncoder, encode};
pub use table::table;
pub use texts::texts;

/// What a client may choose besides the format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Options {
    /// How JSON and NDJSON spell wide numbers. Other formats have no such choice.
    pub numbers: Numbers,
}

/// How JSON spells numbers that JavaScript would round.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Numbers {
    /// As JSON numbers, all digits kept.
    #[default]
    Native,
    /// int8 and numeric as strings (`?numbers=string`).
    String,
}

impl Numbers {
    /// The choice of a name: `native` or `string`, whatever its case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [("native", Self::Native), ("string", Self::String)]
            .into_iter()
            .find_map(|(known, numbers)| known.eq_ignore_ascii_case(name).then_some(numbers))
    }
}
