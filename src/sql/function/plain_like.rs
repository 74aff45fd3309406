//! `LIKE` with a pattern that the engine's own reads as Postgres does.
//!
//! Owns: which patterns those are. The engine finds them over whole columns, and looks for what they begin with in the statistics of files.

use arrow::datatypes::FieldRef;
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{Expr, Like},
};

use super::kind::Kind;

/// With more of them, Postgres may run out of stack, and the engine's expression for it out of room.
const WILDCARDS_MAX: usize = 100;
/// Longer patterns are no plain ones.
const BYTES_MAX: usize = 4 << 10;

/// The call of `name` as the engine's `LIKE`; none where Postgres may see it otherwise: a pattern that is computed or has an escape, and
/// text that is padded.
pub(super) fn plain_like(name: &str, kinds: &[Kind], arguments: &[Expr], fields: &[FieldRef]) -> Result<Option<Expr>> {
    let negated = match name {
        "~~" => false,
        "!~~" => true,
        _ => return Ok(None),
    };
    let ([Kind::Text | Kind::Varchar, _], [text, Expr::Literal(ScalarValue::Utf8(Some(pattern)), _)], [field, _]) =
        (kinds, arguments, fields)
    else {
        return Ok(None);
    };
    let is_long = pattern.len() > BYTES_MAX || pattern.matches(['%', '_']).count() > WILDCARDS_MAX;
    if is_long || pattern.contains('\\') {
        return Ok(None);
    }
    let pattern = Expr::Literal(ScalarValue::from(pattern.as_str()).cast_to(field.data_type())?, None);
    Ok(Some(Expr::Like(Like::new(negated, Box::new(text.clone()), Box::new(pattern), None, false))))
}
