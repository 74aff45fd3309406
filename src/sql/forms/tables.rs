//! Functions in `FROM` and set-returning functions elsewhere, as arrays that are unnested.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, Value, Visit, Visitor,
};

use super::make::{function, int4, query_of, take};
use crate::sql::labels::{folded, told_apart};

/// Set-returning functions, and the function of the library that gives their rows as an array.
const SETS: &[(&str, &str)] = &[
    ("unnest", "pilaster_unnest"),
    ("generate_series", "pilaster_series"),
    ("generate_subscripts", "pilaster_subscripts"),
    ("json_array_elements", "pilaster_json_array_elements"),
    ("json_array_elements_text", "pilaster_json_array_elements_text"),
    ("jsonb_array_elements", "pilaster_jsonb_array_elements"),
    ("jsonb_array_elements_text", "pilaster_jsonb_array_elements_text"),
    ("json_object_keys", "pilaster_json_object_keys"),
    ("jsonb_object_keys", "pilaster_jsonb_object_keys"),
    ("jsonb_path_query", "pilaster_jsonb_path_query"),
    ("regexp_matches", "pilaster_regexp_matches"),
    ("regexp_split_to_table", "pilaster_regexp_split_to_table"),
    ("string_to_table", "string_to_array"),
];
/// Those of pairs: the functions of their keys and of their values.
const PAIRS: &[(&str, &str, &str)] = &[
    ("json_each", "pilaster_json_each_keys", "pilaster_json_each_values"),
    ("json_each_text", "pilaster_json_each_keys", "pilaster_json_each_values_text"),
    ("jsonb_each", "pilaster_jsonb_each_keys", "pilaster_jsonb_each_values"),
    ("jsonb_each_text", "pilaster_jsonb_each_text_keys", "pilaster_jsonb_each_values_text"),
];

/// The rows of a set-returning function in an expression.
pub(super) fn rows_of(name: &str, arguments: Vec<Expr>) -> Option<Expr> {
    let (_, array) = SETS.iter().find(|(known, _)| *known == name)?;
    let rows = function("unnest", vec![function(array, arguments)]);
    Some(named(name, rows))
}

/// The elements of an array, by the type that they have in it.
fn named(name: &str, rows: Expr) -> Expr {
    let said = match name {
        // An array of arrays is not: each of its elements comes as its text.
        "regexp_matches" => "::text[]",
        "json_array_elements" | "json_each" => "pilaster_said_json",
        "jsonb_array_elements" | "jsonb_each" | "jsonb_path_query" => "pilaster_said_jsonb",
        _ => return rows,
    };
    function(said, vec![rows])
}

/// A function in `FROM` as a subquery.
pub(super) fn rewrite(factor: &mut TableFactor) {
    let (name, arguments, ordinality, alias) = match factor {
        TableFactor::Table { name, args: Some(args), with_ordinality, alias, .. } => {
            (last(name), plain(&mut args.args), *with_ordinality, alias)
        }
        TableFactor::Function { name, args, with_ordinality, alias, .. } => {
            (last(name), plain(args), *with_ordinality, alias)
        }
        TableFactor::UNNEST { array_exprs, with_ordinality, alias, .. } => {
            ("unnest".to_owned(), Some(std::mem::take(array_exprs)), *with_ordinality, alias)
        }
        TableFactor::Derived { subquery, alias: Some(alias), .. } if !alias.columns.is_empty() => {
            if let SetExpr::Select(select) = &*subquery.body {
                alias.columns = full(&alias.columns, &select.projection);
            }
            return;
        }
        _ => return,
    };
    let Some(arguments) = arguments else { return };
    let alias = alias.take();
    let mut items = Vec::new();
    let mut push = |name: String, value: Expr| {
        items.push(SelectItem::ExprWithAlias { expr: value, alias: Ident::with_quote('"', name) });
    };
    let shown = alias.as_ref().map_or_else(|| name.clone(), |alias| folded(&alias.name));
    let lateral = arguments.iter().any(asks_columns);
    // How many rows there are.
    let mut longest = Vec::new();
    if name == "unnest" && arguments.len() > 1 {
        for (times, array) in arguments.into_iter().enumerate() {
            let array = function("pilaster_unnest", vec![array]);
            longest.push(function("cardinality", vec![array.clone()]));
            let name = if times == 0 { "unnest".to_owned() } else { told_apart("unnest", times) };
            push(name, function("unnest", vec![array]));
        }
    } else if let Some((_, keys, values)) = PAIRS.iter().find(|(known, ..)| *known == name) {
        let keys = function(keys, arguments.clone());
        longest.push(function("cardinality", vec![keys.clone()]));
        push("key".to_owned(), function("unnest", vec![keys]));
        push("value".to_owned(), named(&name, function("unnest", vec![function(values, arguments)])));
    } else if let Some((_, array)) = SETS.iter().find(|(known, _)| *known == name) {
        let array = function(array, arguments);
        longest.push(function("cardinality", vec![array.clone()]));
        let rows = named(&name, function("unnest", vec![array]));
        // A function of one column gives that its alias.
        let column = if name.ends_with("_elements") || name.ends_with("_elements_text") { "value" } else { &shown };
        push(column.to_owned(), rows);
    } else {
        push(shown.clone(), function(&name, arguments));
    }
    if ordinality && !longest.is_empty() {
        let last = function("::int8", vec![function("greatest", longest)]);
        let first = function("::int8", vec![int4(1)]);
        push("ordinality".to_owned(), function("unnest", vec![function("pilaster_series", vec![first, last])]));
    }
    let alias = alias.unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::with_quote('"', name),
        columns: Vec::new(),
        at: None,
    });
    let columns = full(&alias.columns, &items);
    let alias = Some(TableAlias { columns, ..alias });
    *factor = TableFactor::Derived { lateral, subquery: Box::new(query_of(items)), alias, sample: None };
}

/// An alias may name the first columns only.
fn full(named: &[TableAliasColumnDef], items: &[SelectItem]) -> Vec<TableAliasColumnDef> {
    if named.is_empty() {
        return Vec::new();
    }
    let rest = items.iter().skip(named.len()).map(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().cloned(),
        _ => None,
    });
    let rest = rest.map(|name| name.map(|name| TableAliasColumnDef { name, data_type: None }));
    // What stands behind `*` nobody knows yet.
    let rest = rest.collect::<Option<Vec<_>>>().unwrap_or_default();
    named.iter().cloned().chain(rest).collect()
}

fn plain(arguments: &mut Vec<FunctionArg>) -> Option<Vec<Expr>> {
    let is_plain = |argument: &FunctionArg| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(_)));
    if !arguments.iter().all(is_plain) {
        return None;
    }
    let expressions = arguments.drain(..).filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(mut expression)) => Some(take(&mut expression)),
        _ => None,
    });
    Some(expressions.collect())
}

fn last(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map_or_else(String::new, folded)
}

fn asks_columns(expression: &Expr) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }

        // What is inside has tables of its own; if it asks for others the engine says so.
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
    }
    Visit::visit(expression, &mut Finder).is_break()
}

/// `generate_series` of whole numbers that are written in the statement, which the engine makes as they are asked for: of its `int8`
/// what Postgres has. None for others.
pub(super) fn counted(factor: &mut TableFactor) -> Option<TableFactor> {
    let TableFactor::Table { name, args: Some(args), with_ordinality: false, alias, .. } = &mut *factor else {
        return None;
    };
    let mut is_wide = false;
    let mut is_number = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Cast { expr, data_type, .. })) => {
            is_wide |= !matches!(data_type, DataType::Int4(_));
            matches!(&**expr, Expr::Value(value) if matches!(&value.value, Value::Number(digits, _) if digits != "0"))
        }
        _ => false,
    };
    if last(name) != "generate_series" || !args.args.iter().all(&mut is_number) {
        return None;
    }
    let alias = alias.take().unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::with_quote('"', "generate_series"),
        columns: Vec::new(),
        at: None,
    });
    let shown = folded(&alias.name);
    let kind = if is_wide { "::int8" } else { "::int4" };
    let value = function(kind, vec![Expr::Identifier(Ident::with_quote('"', "value"))]);
    let mut query = query_of(vec![SelectItem::ExprWithAlias { expr: value, alias: Ident::with_quote('"', shown) }]);
    if let SetExpr::Select(select) = &mut *query.body {
        select.from = vec![TableWithJoins { relation: factor.clone(), joins: Vec::new() }];
    }
    Some(TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None })
}
