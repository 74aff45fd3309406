//! Numbers in a statement, with the types that Postgres reads them as: `int4` where they fit, then `int8`, then `numeric`.

use datafusion::sql::sqlparser::ast::{CastKind, DataType, ExactNumberInfo, Expr, UnaryOperator, Value};

/// Digits that a numeric literal may have.
const DIGITS_MAX: u64 = 76;

/// Makes a number's type explicit; `-1` is one number. To be called when what is inside has been visited.
pub(super) fn typed(expression: &mut Expr) {
    let (digits, is_negative) = match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => (digits.clone(), false),
            _ => return,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match &**expr {
            Expr::Value(_) | Expr::Cast { .. } => match number(expr) {
                Some(digits) => (digits.to_owned(), true),
                None => return,
            },
            _ => return,
        },
        _ => return,
    };
    if let Some(plain) = written_out(&digits) {
        // The engine would give it a scale below zero, which Postgres's numerics do not have.
        let number = Expr::Value(Value::Number(plain, false).into());
        *expression = match is_negative {
            true => Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number) },
            false => number,
        };
        return;
    }
    let Ok(magnitude) = digits.replace('_', "").parse::<i128>() else {
        // Digits with a point or an exponent are numerics to the planner as well; so are those beyond 128 bits.
        return;
    };
    let value = if is_negative { -magnitude } else { magnitude };
    let data_type = if i32::try_from(value).is_ok() {
        DataType::Int4(None)
    } else if i64::try_from(value).is_ok() {
        DataType::Int8(None)
    } else {
        DataType::Numeric(ExactNumberInfo::PrecisionAndScale((digits.len() as u64).min(DIGITS_MAX), 0))
    };
    let mut inner = std::mem::replace(expression, Expr::Value(Value::Null.into()));
    if let Expr::UnaryOp { expr, .. } = &mut inner {
        bare(expr);
    }
    *expression =
        Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(inner), data_type, array: false, format: None };
}

/// `1.5e3` as `1500`; none where there is no exponent, or too many digits.
fn written_out(digits: &str) -> Option<String> {
    let (mantissa, exponent) = digits.split_once(['e', 'E'])?;
    let exponent: i64 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let point = i64::try_from(whole.len()).ok()? + exponent;
    let all = format!("{whole}{fraction}");
    let length = i64::try_from(all.len()).ok()?;
    let limit = i64::try_from(DIGITS_MAX).ok()?;
    if point.max(length) - point.min(0) > limit {
        return None;
    }
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    Some(match usize::try_from(point) {
        Ok(point) if point < all.len() && point > 0 => format!("{}.{}", &all[..point], &all[point..]),
        Ok(point) if point > 0 => format!("{all}{}.0", zeros(i64::try_from(point).ok()? - length)),
        _ => format!("0.{}{all}", zeros(-point)),
    })
}

/// Takes the type away again, where a number is a position in a list or a count of rows.
pub(super) fn bare(expression: &mut Expr) {
    if number(expression).is_some()
        && let Expr::Cast { expr, .. } = expression
    {
        let inner = std::mem::replace(&mut **expr, Expr::Value(Value::Null.into()));
        *expression = inner;
    }
}

/// The digits of a number that has been typed.
fn number(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Cast { expr, .. } => match &**expr {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => Some(digits),
                _ => None,
            },
            _ => None,
        },
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => Some(digits),
            _ => None,
        },
        _ => None,
    }
}
