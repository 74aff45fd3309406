//! Calls that mean others.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, TimezoneInfo, Value,
};

use super::{
    super::{
        aggregates::{MEAN, WIDE_SUM},
        elements::ARRAY,
        literal,
    },
    equals, hypothetical,
    make::{cast, function, int4, object, take, text},
    subqueries, tables,
};

/// Aggregates of Postgres that become others here.
pub(super) const AGGREGATES: &[&str] = &[
    "avg",
    "every",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "mode",
    "percentile_disc",
    "variance",
];

/// The arguments of functions that may be called by their names, in order, with what stands for one that is not given.
const NAMED: &[(&str, &[&str])] = &[
    ("make_interval", &["years", "months", "weeks", "days", "hours", "mins", "secs"]),
    ("make_date", &["year", "month", "day"]),
    ("make_time", &["hour", "min", "sec"]),
    ("make_timestamp", &["year", "month", "mday", "hour", "min", "sec"]),
    ("make_timestamptz", &["year", "month", "mday", "hour", "min", "sec", "timezone"]),
];

/// What the call is to be instead; none where it stays, changed or not.
pub(super) fn rewrite(call: &mut Function) -> Option<Expr> {
    let name = match call.name.0.as_slice() {
        [name] => name.as_ident()?,
        // What is in Postgres's own schema has no name of its own here.
        [schema, name] if schema.as_ident().is_some_and(|schema| schema.value == "pg_catalog") => name.as_ident()?,
        _ => return None,
    };
    let known = match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    };
    if call.name.0.len() > 1 {
        call.name = object(&known);
    }
    if let Some((_, names)) = NAMED.iter().find(|(function, _)| *function == known) {
        by_place(call, names);
    }
    if let FunctionArguments::List(list) = &call.args
        && call.over.is_none()
        && let Some(arguments) = list.args.iter().map(expression_of).collect::<Option<Vec<_>>>()
        && let Some(rows) = tables::rows_of(&known, arguments)
    {
        return Some(rows);
    }
    match known.as_str() {
        // The engine's own average is a float for integers, and cut for decimals.
        "avg" => {
            let named = |name: &str| {
                let mut part = call.clone();
                part.name = object(name);
                Expr::Function(part)
            };
            Some(function(MEAN, vec![named(WIDE_SUM), named("count")]))
        }
        // How many digits there are is part of the result's type, so that the number must be seen.
        "round" | "trunc" => {
            if let FunctionArguments::List(list) = &mut call.args
                && let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(places))] = list.args.as_mut_slice()
            {
                literal::bare(places);
            }
            None
        }
        "age" => {
            let FunctionArguments::List(list) = &mut call.args else { return None };
            if list.args.len() == 1 {
                let today = cast(function("current_date", Vec::new()), DataType::Timestamp(None, TimezoneInfo::None));
                list.args.insert(0, FunctionArg::Unnamed(FunctionArgExpr::Expr(today)));
            }
            None
        }
        // The instant of the data, whatever part of a transaction is asked for.
        "now" | "current_timestamp" | "transaction_timestamp" | "statement_timestamp" | "clock_timestamp" => {
            Some(function("::timestamptz", vec![function("now", Vec::new())]))
        }
        "localtimestamp" => Some(function("::timestamp", vec![function("now", Vec::new())])),
        "date" | "text" | "int2" | "int4" | "int8" | "float4" | "float8" | "numeric" | "timestamp" | "timestamptz"
        | "uuid" | "json" | "jsonb" | "bool" | "bytea" => {
            let FunctionArguments::List(list) = &call.args else { return None };
            let [value] = list.args.as_slice() else { return None };
            Some(function(&format!("::{known}"), vec![expression_of(value)?]))
        }
        "array" => {
            let FunctionArguments::Subquery(query) = &mut call.args else { return None };
            subqueries::array_of(query)
        }
        // A number of rows, whatever is written for each.
        "count" if !is_distinct(call) => {
            let FunctionArguments::List(list) = &mut call.args else { return None };
            let [FunctionArg::Unnamed(value)] = list.args.as_mut_slice() else { return None };
            let is_there = |value: &Expr| matches!(value, Expr::Value(value) if !matches!(value.value, Value::Null | Value::Placeholder(_)));
            let is_constant = match &*value {
                FunctionArgExpr::Expr(Expr::Cast { expr, .. }) => is_there(expr),
                FunctionArgExpr::Expr(value) => is_there(value),
                _ => false,
            };
            if is_constant {
                *value = FunctionArgExpr::Wildcard;
            }
            None
        }
        // What is distinct is so before it is JSON.
        "json_agg" | "jsonb_agg" if is_distinct(call) => {
            call.name = object("array_agg");
            let made = function("to_jsonb", vec![Expr::Function(call.clone())]);
            Some(if known == "json_agg" { function("::json", vec![made]) } else { made })
        }
        // Of pairs, which are not taken apart here.
        "json_object_agg" | "jsonb_object_agg" if is_distinct(call) => None,
        // A condition has no window of its own that moves.
        "bool_and" | "every" | "bool_or" if call.over.is_some() => {
            let FunctionArguments::List(list) = &mut call.args else { return None };
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] = list.args.as_mut_slice() else { return None };
            *value = function("::int4", vec![take(value)]);
            call.name = object(if known == "bool_or" { "max" } else { "min" });
            Some(Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(Expr::Function(call.clone())),
                op: BinaryOperator::Eq,
                right: Box::new(int4(1)),
            })))
        }
        "json_agg" | "jsonb_agg" => {
            let of = if known == "json_agg" { "json" } else { "jsonb" };
            call.name = object("array_agg");
            as_json(call, of)?;
            let array = function(&format!("::{of}[]"), vec![Expr::Function(call.clone())]);
            Some(function(&format!("pilaster_{known}"), vec![array]))
        }
        "json_object_agg" | "jsonb_object_agg" => {
            let FunctionArguments::List(list) = &call.args else { return None };
            let each = |place: usize| {
                let mut part = call.clone();
                part.name = object("array_agg");
                if let FunctionArguments::List(own) = &mut part.args {
                    own.args = vec![list.args.get(place)?.clone()];
                }
                if place == 0 {
                    return Some(Expr::Function(part));
                }
                let of = if known == "json_object_agg" { "json" } else { "jsonb" };
                as_json(&mut part, of)?;
                Some(function(&format!("::{of}[]"), vec![Expr::Function(part)]))
            };
            Some(function(&format!("pilaster_{known}"), vec![each(0)?, each(1)?]))
        }
        "mode" | "percentile_disc" | "percentile_cont" => ordered_set(call, &known),
        "rank" | "dense_rank" | "percent_rank" | "cume_dist" if !call.within_group.is_empty() => {
            hypothetical::rewrite(call, &known)
        }
        // What is distinct, or set apart by more than one separator, is collected in its order, and joined then.
        "string_agg" => {
            let FunctionArguments::List(list) = &call.args else { return None };
            let [value, separator] = list.args.as_slice() else { return None };
            let (value, separator) = (expression_of(value)?, expression_of(separator)?);
            let is_distinct = is_distinct(call);
            if !is_distinct && matches!(separator, Expr::Value(_)) {
                return None;
            }
            if let FunctionArguments::List(list) = &mut call.args {
                list.args.pop();
            }
            call.name = object("array_agg");
            filtered(call, Expr::IsNotNull(Box::new(value)));
            if !is_distinct {
                // Each value has a separator of its own.
                let mut separators = call.clone();
                if let FunctionArguments::List(list) = &mut separators.args {
                    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(separator))];
                }
                let lists = vec![Expr::Function(call.clone()), Expr::Function(separators)];
                return Some(function("pilaster_string_agg", lists));
            }
            let separator = function("coalesce", vec![separator, text("")]);
            Some(function("array_to_string", vec![Expr::Function(call.clone()), separator]))
        }
        "nullif" => {
            let FunctionArguments::List(list) = &call.args else { return None };
            let [value, other] = list.args.as_slice() else { return None };
            let (value, other) = (expression_of(value)?, expression_of(other)?);
            Some(equals::null_if(&value, &other))
        }
        "every" => renamed(call, "bool_and"),
        "variance" => renamed(call, "var_samp"),
        _ => None,
    }
}

fn is_distinct(call: &Function) -> bool {
    matches!(&call.args, FunctionArguments::List(list) if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
}

/// The aggregate's argument as JSON, since what type an element has is not known of an array.
fn as_json(call: &mut Function, of: &str) -> Option<()> {
    let FunctionArguments::List(list) = &mut call.args else { return None };
    let argument = list.args.first_mut()?;
    let value = expression_of(argument)?;
    *argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(function(&format!("to_{of}"), vec![value])));
    Some(())
}

/// The one argument of a call that has one.
pub(super) fn only_argument(call: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &call.args else { return None };
    match list.args.as_slice() {
        [argument] => expression_of(argument),
        _ => None,
    }
}

fn expression_of(argument: &FunctionArg) -> Option<Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
        _ => None,
    }
}

fn renamed(call: &mut Function, name: &str) -> Option<Expr> {
    call.name = object(name);
    None
}

/// `make_interval(days => 3)` by place.
fn by_place(call: &mut Function, names: &[&str]) {
    let FunctionArguments::List(list) = &mut call.args else { return };
    let name_of = |argument: &FunctionArg| match argument {
        FunctionArg::Named { name, .. } => Some(name.value.to_lowercase()),
        FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } => Some(name.value.to_lowercase()),
        _ => None,
    };
    let places: Vec<usize> = list
        .args
        .iter()
        .enumerate()
        .filter_map(|(place, argument)| match name_of(argument) {
            Some(name) => names.iter().position(|known| *known == name),
            None => Some(place),
        })
        .collect();
    if places.len() != list.args.len() || !list.args.iter().any(|argument| name_of(argument).is_some()) {
        return;
    }
    let last = places.iter().copied().max().unwrap_or(0);
    let mut ordered = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(int4(0))); last + 1];
    for (place, argument) in places.into_iter().zip(list.args.drain(..)) {
        let (FunctionArg::Unnamed(arg) | FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. }) =
            argument;
        ordered[place] = FunctionArg::Unnamed(arg);
    }
    list.args = ordered;
}

/// `percentile_disc(0.5) WITHIN GROUP (ORDER BY x)` as a function of all values of the group, in their order.
fn ordered_set(call: &mut Function, name: &str) -> Option<Expr> {
    let [order] = call.within_group.as_slice() else { return None };
    let FunctionArguments::List(list) = &mut call.args else { return None };
    // One fraction has an aggregate of its own, which keeps no array.
    let is_list = |fraction: &Expr| {
        let Expr::Function(call) = fraction else { return matches!(fraction, Expr::Array(_)) };
        let name = call.name.to_string();
        let name = name.trim_matches('"');
        name == ARRAY || name.ends_with("[]")
    };
    let is_array = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(fraction)) => is_list(fraction),
        _ => false,
    };
    if name == "percentile_cont" && !list.args.iter().any(is_array) {
        return None;
    }
    let fractions: Vec<Expr> = list
        .args
        .drain(..)
        .filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(fraction)) => Some(fraction),
            _ => None,
        })
        .map(|fraction| if is_list(&fraction) { function("::float8[]", vec![fraction]) } else { fraction })
        .collect();
    let mut value = order.expr.clone();
    if name == "percentile_cont" {
        value = function("::float8", vec![value]);
    }
    let order = order.clone();
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(value.clone()))];
    list.clauses = vec![FunctionArgumentClause::OrderBy(vec![order])];
    call.name = object("array_agg");
    call.within_group.clear();
    filtered(call, Expr::IsNotNull(Box::new(value)));
    let mut arguments = vec![Expr::Function(call.clone())];
    arguments.extend(fractions);
    Some(function(&format!("pilaster_{name}"), arguments))
}

/// Only rows for which the condition holds, too.
fn filtered(call: &mut Function, condition: Expr) {
    call.filter = Some(Box::new(match call.filter.take() {
        Some(filter) => {
            Expr::BinaryOp { left: Box::new(Expr::Nested(filter)), op: BinaryOperator::And, right: Box::new(condition) }
        }
        None => condition,
    }));
}
