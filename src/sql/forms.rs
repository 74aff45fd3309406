//! Special forms and functions of Postgres, put in terms of those that the engine has.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, CharacterLength, DataType, DateTimeField, ExactNumberInfo, Expr, Fetch, Function,
    FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, LimitClause, ObjectName, OrderByKind, Query,
    Select, Value, WindowFrameBound, WindowType,
};

use super::{aggregates::MEAN, literal, rounding::ROUND, temporal::TIMEZONE};

/// What is inside the expression has been visited.
pub(super) fn rewrite(expression: &mut Expr) {
    literal::typed(expression);
    match expression {
        Expr::Function(function) => {
            bare_frame(function);
            if let Some(made) = call(function) {
                *expression = made;
            }
        }
        Expr::Extract { field, expr, .. } => {
            if let Some(data_type) = extracted(field) {
                let part = function("date_part", vec![text(&field.to_string().to_lowercase()), take(expr)]);
                *expression = cast(part, data_type);
            }
        }
        Expr::Cast { expr, data_type, array: false, .. } if is_integer(data_type) && !is_literal(expr) => {
            **expr = function(ROUND, vec![take(expr)]);
        }
        // The engine sorts and compares by bytes, which is what this asks for.
        Expr::Collate { expr, collation } if collation.0.last().is_some_and(|name| name.to_string() == "\"C\"") => {
            *expression = take(expr);
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            *expression = function(TIMEZONE, vec![take(time_zone), take(timestamp)]);
        }
        Expr::BinaryOp { left, op: op @ (BinaryOperator::HashArrow | BinaryOperator::HashLongArrow), right } => {
            if let Some(keys) = path(right) {
                *expression = walk(take(left), keys, *op == BinaryOperator::HashLongArrow);
            }
        }
        Expr::Cast { expr, data_type, array: false, .. } => {
            // These casts cut; what is too long is no error.
            if let Some(length) = length_max(data_type) {
                let text = cast(take(expr), DataType::Text);
                **expr = function("left", vec![text, number(length)]);
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

/// Positions in `GROUP BY` and `DISTINCT ON` are not values.
pub(super) fn settle_select(select: &mut Select) {
    if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
        expressions.iter_mut().for_each(literal::bare);
    }
}

/// Nor are positions in `ORDER BY`; `FETCH FIRST n ROWS` is `LIMIT n`.
pub(super) fn settle_query(query: &mut Query) {
    if let Some(order) = &mut query.order_by
        && let OrderByKind::Expressions(expressions) = &mut order.kind
    {
        expressions.iter_mut().for_each(|ordered| literal::bare(&mut ordered.expr));
    }
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
}

/// How many rows a frame reaches is part of the frame.
fn bare_frame(function: &mut Function) {
    let Some(WindowType::WindowSpec(window)) = &mut function.over else { return };
    let Some(frame) = &mut window.window_frame else { return };
    for bound in std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
        if let WindowFrameBound::Preceding(Some(rows)) | WindowFrameBound::Following(Some(rows)) = bound {
            literal::bare(rows);
        }
    }
}

fn call(function: &mut Function) -> Option<Expr> {
    let name = match function.name.0.as_slice() {
        [name] => name.as_ident()?,
        _ => return None,
    };
    let known = match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    };
    match known.as_str() {
        // The engine's own average is a float for integers, and cut for decimals.
        "avg" => {
            let named = |name: &str| {
                let mut part = function.clone();
                part.name = object(name);
                Expr::Function(part)
            };
            Some(self::function(MEAN, vec![named("sum"), named("count")]))
        }
        "mod" => {
            let [divisor, dividend] = arguments(function)?;
            Some(Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(Expr::Nested(Box::new(dividend))),
                op: BinaryOperator::Modulo,
                right: Box::new(Expr::Nested(Box::new(divisor))),
            })))
        }
        "date_part" => {
            let part = Expr::Function(function.clone());
            Some(cast(part, DataType::DoublePrecision))
        }
        "every" => renamed(function, "bool_and"),
        "variance" => renamed(function, "var_samp"),
        _ => None,
    }
}

fn renamed(function: &mut Function, name: &str) -> Option<Expr> {
    function.name = object(name);
    None
}

/// Two arguments without more, the last first.
fn arguments(function: &mut Function) -> Option<[Expr; 2]> {
    let FunctionArguments::List(list) = &mut function.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(_)), FunctionArg::Unnamed(FunctionArgExpr::Expr(_))] => {}
        _ => return None,
    }
    let mut pop = || match list.args.pop() {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expression))) => Some(expression),
        _ => None,
    };
    Some([pop()?, pop()?])
}

/// What `extract` gives is a numeric, of a scale by the field; none for fields that the engine counts otherwise.
fn extracted(field: &DateTimeField) -> Option<DataType> {
    Some(match field {
        DateTimeField::Year
        | DateTimeField::Month
        | DateTimeField::Week(None)
        | DateTimeField::Day
        | DateTimeField::Dow
        | DateTimeField::Doy
        | DateTimeField::Hour
        | DateTimeField::Minute
        | DateTimeField::Quarter
        | DateTimeField::Isodow
        | DateTimeField::Isoyear => numeric(10, 0),
        DateTimeField::Epoch => numeric(20, 6),
        _ => return None,
    })
}

/// The keys of a JSON path that is a plain literal: `'{user,plan}'`.
fn path(expression: &Expr) -> Option<Vec<String>> {
    let Expr::Value(value) = expression else { return None };
    let Value::SingleQuotedString(text) = &value.value else { return None };
    let keys = text.strip_prefix('{')?.strip_suffix('}')?;
    let is_plain = |key: &str| !key.is_empty() && !key.contains(['"', '\\', '{', '}']) && key.trim() == key;
    let keys: Vec<String> = keys.split(',').map(str::to_owned).collect();
    keys.iter().all(|key| is_plain(key)).then_some(keys)
}

/// `x #>> '{a,0,b}'` is `x -> 'a' -> 0 ->> 'b'`.
fn walk(mut document: Expr, keys: Vec<String>, as_text: bool) -> Expr {
    let last = keys.len() - 1;
    for (index, key) in keys.into_iter().enumerate() {
        let op = if index == last && as_text { BinaryOperator::LongArrow } else { BinaryOperator::Arrow };
        let key = match key.parse::<u64>() {
            Ok(place) => number(place),
            Err(_) => text(&key),
        };
        document = Expr::BinaryOp { left: Box::new(document), op, right: Box::new(key) };
    }
    document
}

/// How many characters a value of the type has at most; `char` alone is one.
fn length_max(data_type: &DataType) -> Option<u64> {
    match data_type {
        DataType::Varchar(Some(length)) | DataType::CharacterVarying(Some(length)) => length_of(length),
        DataType::Char(Some(length)) | DataType::Character(Some(length)) => length_of(length),
        DataType::Char(None) | DataType::Character(None) => Some(1),
        _ => None,
    }
}

fn length_of(length: &CharacterLength) -> Option<u64> {
    match length {
        CharacterLength::IntegerLength { length, .. } => Some(*length),
        CharacterLength::Max => None,
    }
}

fn number(value: u64) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}

fn is_integer(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int2(_)
            | DataType::SmallInt(_)
            | DataType::Int(_)
            | DataType::Int4(_)
            | DataType::Integer(_)
            | DataType::Int8(_)
            | DataType::BigInt(_)
    )
}

fn is_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Value(_) => true,
        Expr::UnaryOp { expr, .. } => is_literal(expr),
        _ => false,
    }
}

fn numeric(precision: u64, scale: i64) -> DataType {
    DataType::Numeric(ExactNumberInfo::PrecisionAndScale(precision, scale))
}

fn cast(expression: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(expression), data_type, array: false, format: None }
}

fn function(name: &str, arguments: Vec<Expr>) -> Expr {
    use datafusion::sql::sqlparser::ast::FunctionArgumentList;
    let args = arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
    Expr::Function(Function {
        name: object(name),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn object(name: &str) -> ObjectName {
    ObjectName::from(vec![Ident::new(name)])
}

fn text(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

fn take(expression: &mut Expr) -> Expr {
    std::mem::replace(expression, Expr::Value(Value::Null.into()))
}
