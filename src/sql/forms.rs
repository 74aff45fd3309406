//! Special forms of Postgres's grammar, put in terms of functions of the library.

mod binding;
mod calls;
mod chains;
mod equals;
mod groups;
mod hypothetical;
mod joins;
mod make;
mod members;
mod own;
mod patterns;
mod rows;
mod sorts;
mod subqueries;
mod tables;
mod windows;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, CastKind, CharacterLength, DataType, DateTimeField, Distinct,
    ExactNumberInfo, Expr, Fetch, Function, GroupByExpr, Ident, Interval, LimitClause, OrderByKind, Query, Select,
    SelectItem, SetExpr, SetOperator, SetQuantifier, Subscript, TableFactor, TimezoneInfo, TrimWhereField, TypedString,
    UnaryOperator, Value, Values, WindowFrameBound, WindowType,
};

use self::make::{cast, function, int4, number, query_of, take, text};
use crate::error::{Code, Error, Result};

pub(super) use chains::refuse_chains;
pub(super) use groups::TYPED;
pub(super) use subqueries::INNER;

use super::{collation::COLLATE, elements::ARRAY, function::Kind, labels::folded, literal, type_names};

/// To be called before what is inside the expression has been visited: a subquery that is compared with as a whole is not one value.
pub(super) fn prepare(expression: &mut Expr) {
    if let Some(made) = subqueries::compared_as_whole(expression) {
        *expression = made;
    }
    binding::settle(expression);
}

/// What is inside the expression has been visited.
pub(super) fn rewrite(expression: &mut Expr) {
    literal::typed(expression);
    let made =
        patterns::rewrite(expression).or_else(|| rows::rewrite(expression)).or_else(|| equals::rewrite(expression));
    if let Some(made) = made.or_else(|| members::of_one_row(expression)) {
        *expression = made;
        return;
    }
    match expression {
        Expr::Function(function) => {
            bare_frame(function);
            if let Some(made) = calls::rewrite(function) {
                *expression = made;
            }
        }
        // The engine's planner does not see the columns of an outer query in a list.
        Expr::Array(array) if !array.elem.is_empty() => {
            *expression = function(ARRAY, std::mem::take(&mut array.elem));
        }
        Expr::Extract { field, expr, .. } => {
            let field = field.to_string();
            let field = field.trim_matches(['"', '\'']).to_lowercase();
            *expression = function("extract", vec![text(&field), take(expr)]);
        }
        Expr::Cast { expr, data_type, array: false, kind: CastKind::Cast | CastKind::DoubleColon, .. } if !matches!(**expr, Expr::Value(ref value) if is_typed_number(&value.value)) => {
            if let Some(made) = cast_to(expr, data_type) {
                *expression = made;
            }
        }
        Expr::TypedString(TypedString { data_type, value, .. }) => {
            if let Some(text) = value.clone().into_string()
                && let Some(made) = cast_to(&mut self::text(&text), data_type)
            {
                *expression = made;
            }
        }
        Expr::Collate { expr, collation } => {
            let name =
                collation.0.last().and_then(|part| part.as_ident()).map_or_else(String::new, |name| name.value.clone());
            *expression = function(COLLATE, vec![take(expr), text(&name)]);
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            *expression = function("timezone", vec![take(time_zone), take(timestamp)]);
        }
        Expr::Subquery(query) => subqueries::scalar(query),
        Expr::AnyOp { left, compare_op, right, .. } => {
            if let Some(made) = with_elements("any", left, compare_op, right) {
                *expression = made;
            }
        }
        Expr::AllOp { left, compare_op, right } => {
            if let Some(made) = with_elements("all", left, compare_op, right) {
                *expression = made;
            }
        }
        Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => {
            if let (Expr::Tuple(first), Expr::Tuple(second)) = (&mut **left, &mut **right) {
                let mut bounds = std::mem::take(first);
                bounds.append(second);
                *expression = function("overlaps", bounds);
            }
        }
        // The sign binds tighter.
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } if is_power(expr) => {
            let mut base = &mut **expr;
            while let Expr::BinaryOp { left, op: BinaryOperator::PGExp, .. } = base {
                base = left;
            }
            *base = function("-", vec![take(base)]);
            *expression = take(expr);
        }
        Expr::UnaryOp { op, expr } => {
            let name = match op {
                UnaryOperator::Minus => "-",
                UnaryOperator::Plus => "+",
                UnaryOperator::BitwiseNot => "~",
                UnaryOperator::PGAbs => "@",
                UnaryOperator::PGSquareRoot => "|/",
                UnaryOperator::PGCubeRoot => "||/",
                _ => return,
            };
            *expression = function(name, vec![take(expr)]);
        }
        Expr::Interval(interval) => {
            let value = take(&mut interval.value);
            *expression = match interval_modifier(interval) {
                None => function("::interval", vec![value]),
                Some(modifier) => function("pilaster_interval_of", vec![value, int4(modifier)]),
            };
        }
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let from = substring_from.take().map_or_else(|| int4(1), |from| *from);
            let rest = substring_for.take().map(|length| *length);
            let arguments = [Some(take(expr)), Some(from), rest].into_iter().flatten().collect();
            *expression = function("substring", arguments);
        }
        Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                Some(TrimWhereField::Both) | None => "btrim",
            };
            let what = trim_what.take().map(|what| *what).or_else(|| trim_characters.take()?.pop());
            let arguments = [Some(take(expr)), what].into_iter().flatten().collect();
            *expression = function(name, arguments);
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let length = overlay_for.take().map(|length| *length);
            let arguments = [Some(take(expr)), Some(take(overlay_what)), Some(take(overlay_from)), length];
            *expression = function("overlay", arguments.into_iter().flatten().collect());
        }
        Expr::Position { expr, r#in } => *expression = function("strpos", vec![take(r#in), take(expr)]),
        Expr::CompoundFieldAccess { root, access_chain } => {
            if let Some(made) = subscripts(root, access_chain) {
                *expression = made;
            }
        }
        Expr::Value(value) => {
            if let Value::UnicodeStringLiteral(text) = &mut value.value {
                value.value = Value::SingleQuotedString(std::mem::take(text));
            }
        }
        _ => {}
    }
}

/// Windows and merged columns are written out. To be called before what is inside has been visited.
pub(super) fn settle_names(select: &mut Select) -> Result<()> {
    joins::settle(select)?;
    windows::settle(select)
}

/// Merged columns in the order of a query are written out. To be called before what is inside has been visited.
pub(super) fn settle_order(query: &mut Query) -> Result<()> {
    joins::settle_order(query)
}

/// Functions in `FROM` become subqueries. To be called when what is inside has been visited.
pub(super) fn settle_table(factor: &mut TableFactor) {
    match tables::counted(factor) {
        Some(made) => *factor = made,
        None => tables::rewrite(factor),
    }
}

/// Positions in `GROUP BY` and `DISTINCT ON` are not values.
pub(super) fn settle_select(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } = item {
            members::settle_values(expression);
        }
    }
    if let Some(Distinct::On(expressions)) = &mut select.distinct {
        for expression in expressions {
            literal::bare(expression);
            if let Some(item) = item_at(&select.projection, expression) {
                *expression = item;
            }
        }
    }
    if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
        expressions.iter_mut().for_each(literal::bare);
    }
    for condition in select.selection.iter_mut().chain(&mut select.having) {
        members::settle_condition(condition, true);
    }
    groups::settle(select);
}

/// The item of the list that a position means.
fn item_at(items: &[SelectItem], position: &Expr) -> Option<Expr> {
    let Expr::Value(value) = position else { return None };
    let Value::Number(digits, _) = &value.value else { return None };
    let place = digits.parse::<usize>().ok()?.checked_sub(1)?;
    match items.get(place)? {
        SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
            Some(expression.clone())
        }
        _ => None,
    }
}

/// Nor are positions in `ORDER BY`; `FETCH FIRST n ROWS` is `LIMIT n`.
pub(super) fn settle_query(query: &mut Query, is_outermost: bool) -> Result<()> {
    if let SetExpr::Values(values) = &mut *query.body {
        settle_values(values);
        if let Some(united) = united(values)? {
            *query.body = united;
        }
    }
    if let Some(order) = &mut query.order_by
        && let OrderByKind::Expressions(expressions) = &mut order.kind
    {
        for ordered in expressions {
            literal::bare(&mut ordered.expr);
            members::settle_values(&mut ordered.expr);
        }
    }
    groups::settle_order(query);
    if let Some(Fetch { with_ties: false, percent: false, quantity }) = &mut query.fetch {
        let rows = quantity.take().unwrap_or_else(|| Expr::Value(Value::Number("1".to_owned(), false).into()));
        query.fetch = None;
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
            none @ None => {
                *none = Some(LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() });
            }
            Some(_) => {}
        }
    }
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            limit.iter_mut().for_each(literal::bare);
            offset.iter_mut().for_each(|offset| literal::bare(&mut offset.value));
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => [offset, limit].into_iter().for_each(literal::bare),
        None => {}
    }
    sorts::settle(query, is_outermost);
    Ok(())
}

/// `VALUES` with what has a type only among others, as a union: the engine takes a column's type before it has settled that.
fn united(values: &mut Values) -> Result<Option<SetExpr>> {
    if !values.rows.iter().flat_map(|row| row.iter()).any(|value| own::any(value, is_choice)) {
        return Ok(None);
    }
    if values.rows.len() > UNITED_MAX {
        let message = format!(
            "VALUES chooses by CASE, COALESCE, GREATEST, LEAST or a subquery, and has more than {UNITED_MAX} rows"
        );
        return Err(Error::new(Code::StatementTooLarge, message)
            .with_sqlstate("54001")
            .with_hint("long lists belong in a parameter, as in unnest($values)"));
    }
    let rows = values.rows.iter_mut().map(|row| {
        let items = row.iter_mut().enumerate().map(|(place, value)| SelectItem::ExprWithAlias {
            expr: take(value),
            alias: Ident::new(format!("column{}", place + 1)),
        });
        *query_of(items.collect()).body
    });
    Ok(union_of(rows.collect()))
}

/// No deeper than need be.
fn union_of(mut branches: Vec<SetExpr>) -> Option<SetExpr> {
    let half = branches.len() / 2;
    if half == 0 {
        return branches.pop();
    }
    let rest = branches.split_off(half);
    Some(SetExpr::SetOperation {
        op: SetOperator::Union,
        set_quantifier: SetQuantifier::All,
        left: Box::new(union_of(branches)?),
        right: Box::new(union_of(rest)?),
    })
}

/// Whether its type is the one that several values become.
fn is_choice(value: &Expr) -> bool {
    match value {
        Expr::Case { .. } | Expr::Subquery(_) => true,
        Expr::Function(call) => matches!(call.name.to_string().as_str(), "coalesce" | "greatest" | "least"),
        _ => false,
    }
}

/// In `VALUES (date '2024-01-01'), ('2024-02-01')` what has no type takes that of the others in its column.
fn settle_values(values: &mut Values) {
    let columns = values.rows.iter().map(|row| row.len()).max().unwrap_or(0);
    for column in 0..columns {
        let casts = values.rows.iter().filter_map(|row| match row.get(column) {
            Some(Expr::Function(call)) => Some(call.name.to_string()).filter(|name| name.starts_with("::")),
            _ => None,
        });
        // Whatever is beside a float becomes one.
        let (floats, others): (Vec<String>, Vec<String>) =
            casts.partition(|name| matches!(name.as_str(), "::float4" | "::float8"));
        let is_float = !floats.is_empty();
        let cast = floats.into_iter().max().or_else(|| others.into_iter().next());
        let Some(cast) = cast else { continue };
        for row in &mut values.rows {
            let Some(value) = row.get_mut(column) else { continue };
            let is_untyped = matches!(
                value,
                Expr::Value(literal) if matches!(literal.value, Value::SingleQuotedString(_) | Value::Null)
            );
            if is_untyped || is_float {
                *value = function(&cast, vec![take(value)]);
            }
        }
    }
}

/// How many rows a frame reaches is part of the frame.
fn bare_frame(function: &mut Function) {
    let Some(WindowType::WindowSpec(window)) = &mut function.over else { return };
    let Some(frame) = &mut window.window_frame else { return };
    for bound in std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
        if let WindowFrameBound::Preceding(Some(rows)) | WindowFrameBound::Following(Some(rows)) = bound {
            literal::bare(rows);
            if let Expr::Function(call) = &mut **rows
                && call.name.to_string() == "::interval"
                && let Some(text) = calls::only_argument(call)
            {
                // The engine takes no call here.
                **rows = Expr::Interval(Interval {
                    value: Box::new(text),
                    leading_field: None,
                    leading_precision: None,
                    last_field: None,
                    fractional_seconds_precision: None,
                });
            }
        }
    }
}

/// The cast as a call of the library's function for it; none for types that the library does not know.
fn cast_to(expression: &mut Expr, data_type: &DataType) -> Option<Expr> {
    let name = match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            let element = match &**element {
                DataType::Custom(name, _) => folded(name.0.last()?.as_ident()?),
                element => type_names::internal(element).to_owned(),
            };
            format!("{element}[]")
        }
        // An enum, if the source has one of the name.
        DataType::Custom(name, modifiers) if modifiers.is_empty() => {
            let known = folded(name.0.last()?.as_ident()?);
            let known = if known == "jsonpath" { "text".to_owned() } else { known };
            return Some(function(&format!("::{known}"), vec![take(expression)]));
        }
        scalar => type_names::internal(scalar).to_owned(),
    };
    let is_known = name != "enum" && Kind::of_name(&name).is_some_and(|kind| kind.category() != 'P');
    if !is_known {
        return None;
    }
    let value = match name.as_str() {
        // A float may have more digits than a numeric that is written.
        "float4" | "float8" if matches!(&*expression, Expr::Value(_)) => match take(expression) {
            Expr::Value(value) => match value.value {
                Value::Number(digits, _) => text(&digits),
                other => Expr::Value(other.into()),
            },
            other => other,
        },
        // What is not text becomes that first.
        "varchar" | "bpchar" | "name" => function("::text", vec![take(expression)]),
        _ => take(expression),
    };
    let value = function(&format!("::{name}"), vec![value]);
    if let DataType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) =
        data_type
    {
        return Some(match &**element {
            DataType::Numeric(ExactNumberInfo::PrecisionAndScale(precision, scale)) => {
                let scale = int4(u64::try_from(*scale).ok()?);
                function("pilaster_numeric", vec![value, int4(*precision), scale])
            }
            DataType::Varchar(Some(length)) | DataType::CharacterVarying(Some(length)) => {
                function("pilaster_varchar", vec![value, number(length_of(length)?)])
            }
            DataType::Char(Some(length)) | DataType::Character(Some(length)) => {
                function("pilaster_bpchar", vec![value, number(length_of(length)?)])
            }
            DataType::Char(None) | DataType::Character(None) => function("pilaster_bpchar", vec![value, number(1)]),
            DataType::Timestamp(Some(digits), _) | DataType::Time(Some(digits), _) => {
                function("pilaster_rounded", vec![value, int4(*digits)])
            }
            _ => value,
        });
    }
    Some(match data_type {
        DataType::Varchar(Some(length)) | DataType::CharacterVarying(Some(length)) => {
            function("pilaster_varchar", vec![value, number(length_of(length)?)])
        }
        DataType::Char(Some(length)) | DataType::Character(Some(length)) => {
            function("pilaster_bpchar", vec![value, number(length_of(length)?)])
        }
        DataType::Char(None) | DataType::Character(None) => function("pilaster_bpchar", vec![value, number(1)]),
        DataType::Numeric(digits) | DataType::Decimal(digits) | DataType::Dec(digits) => match digits {
            ExactNumberInfo::None => value,
            // How many digits there are is part of the engine's type.
            _ => cast(value, data_type.clone()),
        },
        DataType::Timestamp(Some(digits), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            function("timestamp", vec![value, int4(*digits)])
        }
        DataType::Timestamp(Some(digits), _) => function("timestamptz", vec![value, int4(*digits)]),
        DataType::Time(Some(digits), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            function("time", vec![value, int4(*digits)])
        }
        DataType::Interval { fields: None, precision: Some(digits) } => {
            function("pilaster_interval_of", vec![function("::text", vec![value]), int4(ALL_FIELDS << 16 | digits)])
        }
        _ => value,
    })
}

/// All fields of an interval, where none is named.
const ALL_FIELDS: u64 = 0x7FFF;
/// Rows of `VALUES` that are made a union, at most.
const UNITED_MAX: usize = 1_000;

/// `interval '…' day to second(3)` as `pg_attribute.atttypmod` has it; none where no field is named.
fn interval_modifier(interval: &Interval) -> Option<u64> {
    // From the largest to the smallest, each with its bit.
    const FIELDS: [(&str, u64); 6] =
        [("YEAR", 2), ("MONTH", 1), ("DAY", 3), ("HOUR", 10), ("MINUTE", 11), ("SECOND", 12)];
    let place = |field: &DateTimeField| {
        let name = field.to_string().to_uppercase();
        FIELDS.iter().position(|(known, _)| name.trim_end_matches('S') == *known)
    };
    let first = place(interval.leading_field.as_ref()?)?;
    let last = match &interval.last_field {
        Some(field) => place(field)?,
        None => first,
    };
    let span = FIELDS.get(first..=last)?.iter().fold(0, |mask, (_, bit)| mask | 1 << bit);
    let digits = interval.fractional_seconds_precision.or(interval.leading_precision).unwrap_or(0xFFFF);
    Some(span << 16 | digits & 0xFFFF)
}

fn is_power(expression: &Expr) -> bool {
    matches!(expression, Expr::BinaryOp { op: BinaryOperator::PGExp, .. })
}

/// A whole number, which has been given its type by a cast around it.
fn is_typed_number(value: &Value) -> bool {
    matches!(value, Value::Number(digits, _) if digits.bytes().all(|digit| digit.is_ascii_digit()))
}

/// `x = ANY (array)`. A list in a parameter is the engine's, which looks it up.
fn with_elements(which: &str, left: &mut Expr, op: &BinaryOperator, right: &mut Expr) -> Option<Expr> {
    let is_parameter =
        |value: &Expr| matches!(value, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)));
    if matches!(right, Expr::Subquery(_)) || is_parameter(right) {
        return None;
    }
    let operator = subqueries::operator_name(op)?;
    Some(function(&format!("pilaster_{which}_{operator}"), vec![take(left), take(right)]))
}

/// `x[1]` and `x[2:3]`.
fn subscripts(root: &mut Expr, chain: &mut Vec<AccessExpr>) -> Option<Expr> {
    if !chain.iter().all(|access| matches!(access, AccessExpr::Subscript(_))) {
        return None;
    }
    let mut value = take(root);
    for access in chain.drain(..) {
        let AccessExpr::Subscript(subscript) = access else { continue };
        value = match subscript {
            Subscript::Index { index } => function("pilaster_array_get", vec![value, index]),
            Subscript::Slice { lower_bound, upper_bound, .. } => {
                let least = lower_bound.unwrap_or_else(|| int4(1));
                let most = upper_bound.unwrap_or_else(|| int4(i32::MAX.unsigned_abs().into()));
                function("pilaster_array_slice", vec![value, least, most])
            }
        };
    }
    Some(value)
}

fn length_of(length: &CharacterLength) -> Option<u64> {
    match length {
        CharacterLength::IntegerLength { length, .. } => Some(*length),
        CharacterLength::Max => None,
    }
}
