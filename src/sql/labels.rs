//! What Postgres calls the columns of a result that have no `AS`.
//!
//! The rules are those of `FigureColname` in Postgres's `parse_target.c`: a column's, a function's, or a type's name, some names
//! of special forms, and `?column?` for all else. A cast only names what has no better name inside.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, DataType, Expr, Ident, ObjectName, Query, Select, SelectItem,
    SetExpr, TrimWhereField, TypedString,
};

use super::type_names;

/// Names longer than this are cut, in bytes.
const NAME_BYTES_MAX: usize = 63;
const NAMELESS: &str = "?column?";
/// Sets a name that occurs again apart from the one before; never part of what is shown. See [`shown_name`].
const AGAIN: char = '\u{1f}';

/// Gives each item of the list a name, and each name once.
pub(super) fn label(select: &mut Select) {
    let mut seen: Vec<String> = Vec::new();
    for item in &mut select.projection {
        let (expression, name) = match item {
            SelectItem::UnnamedExpr(expression) => {
                let name = name_of(expression);
                (std::mem::replace(expression, Expr::Identifier(Ident::new(""))), name)
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let name = folded(alias);
                if !seen.contains(&name) {
                    seen.push(name);
                    continue;
                }
                (std::mem::replace(expr, Expr::Identifier(Ident::new(""))), name)
            }
            SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) | SelectItem::ExprWithAliases { .. } => {
                continue;
            }
        };
        let is_plain = matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        let times = seen.iter().filter(|before| **before == name).count();
        seen.push(name.clone());
        *item = match times {
            0 if is_plain => SelectItem::UnnamedExpr(expression),
            0 => SelectItem::ExprWithAlias { expr: expression, alias: Ident::with_quote('"', name) },
            times => {
                SelectItem::ExprWithAlias { expr: expression, alias: Ident::with_quote('"', told_apart(&name, times)) }
            }
        };
    }
}

/// Another column of the same name, of which there are `times` before it.
pub(super) fn told_apart(name: &str, times: usize) -> String {
    format!("{name}{AGAIN}{times}")
}

/// The name as a client sees it.
#[must_use]
pub fn shown_name(name: &str) -> &str {
    name.split(AGAIN).next().unwrap_or(name)
}

fn name_of(expression: &Expr) -> String {
    let mut name = figure(expression).map_or_else(|| NAMELESS.to_owned(), |figured| figured.name);
    if name.len() > NAME_BYTES_MAX {
        let end = (0..=NAME_BYTES_MAX).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        name.truncate(end);
    }
    name
}

struct Figured {
    name: String,
    /// Whether a cast around it leaves it be.
    is_strong: bool,
}

fn strong(name: impl Into<String>) -> Option<Figured> {
    Some(Figured { name: name.into(), is_strong: true })
}

fn weak(name: impl Into<String>) -> Option<Figured> {
    Some(Figured { name: name.into(), is_strong: false })
}

fn figure(expression: &Expr) -> Option<Figured> {
    match expression {
        Expr::Identifier(name) => strong(folded(name)),
        Expr::CompoundIdentifier(parts) => strong(folded(parts.last()?)),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(name)) => Some(folded(name)),
                _ => None,
            });
            field.map_or_else(|| figure(root), strong)
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Function(function) => strong(last(&function.name)),
        Expr::Cast { expr, data_type, .. } => match figure(expr) {
            Some(figured) if figured.is_strong => Some(figured),
            _ => weak(type_name(data_type)),
        },
        Expr::TypedString(TypedString { data_type, .. }) => weak(type_name(data_type)),
        Expr::Interval(_) => weak("interval"),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some(figured) if figured.is_strong => Some(figured),
            _ => weak("case"),
        },
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Subquery(query) => strong(first_name(query)?),
        Expr::Extract { .. } => strong("extract"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { shorthand, .. } => strong(if *shorthand { "substr" } else { "substring" }),
        Expr::BinaryOp { op: BinaryOperator::Overlaps, .. } => strong("overlaps"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        _ => None,
    }
}

/// What a subquery's only column is called.
fn first_name(query: &Query) -> Option<String> {
    let mut body = &*query.body;
    loop {
        match body {
            SetExpr::Select(select) => {
                return match select.projection.first()? {
                    SelectItem::UnnamedExpr(expression) => Some(name_of(expression)),
                    SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
                    _ => None,
                };
            }
            SetExpr::Query(query) => body = &query.body,
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Values(_) => return Some("column1".to_owned()),
            _ => return None,
        }
    }
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            type_name(element)
        }
        DataType::Custom(name, _) => last(name),
        other => type_names::internal(other).to_owned(),
    }
}

fn last(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map_or_else(String::new, folded)
}

/// As Postgres folds it: what is not quoted is in small letters.
pub(super) fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::{ReadOnlySql, StatementLimits, shown_name};

    #[test]
    fn columns_have_the_names_that_postgres_gives() {
        let limits = StatementLimits { bytes_max: 10_000, tokens_max: 1_000 };
        let check = |list: &str, expect: &[&str]| {
            let sql = ReadOnlySql::parse(&format!("SELECT {list}"), limits).unwrap();
            let datafusion::sql::sqlparser::ast::Statement::Query(query) = sql.statement() else { panic!("a query") };
            let datafusion::sql::sqlparser::ast::SetExpr::Select(select) = &*query.body else { panic!("a select") };
            let names: Vec<String> = select
                .projection
                .iter()
                .map(|item| match item {
                    super::SelectItem::ExprWithAlias { alias, .. } => shown_name(&alias.value).to_owned(),
                    super::SelectItem::UnnamedExpr(expression) => super::name_of(expression),
                    _ => "*".to_owned(),
                })
                .collect();
            assert_eq!(names, expect, "{list}");
        };
        check("1, 'a', NULL, 1 + 1, -1", &["?column?"; 5]);
        check("true, a, T.B, \"C\", a + 1", &["?column?", "a", "b", "C", "?column?"]);
        check("count(*), sum(a), pg_catalog.lower(a)", &["count", "sum", "lower"]);
        check("a::int, 1::int, '1'::text, count(*)::bigint", &["a", "int4", "text", "count"]);
        check("CASE WHEN a THEN b END, CASE WHEN a THEN 1 ELSE b END", &["case", "b"]);
        check("date '2024-01-01', interval '1 day', ARRAY[1]", &["date", "interval", "array"]);
        check("extract(year FROM a), trim(a), a AT TIME ZONE 'UTC'", &["extract", "btrim", "timezone"]);
        check("(SELECT max(x) FROM t), EXISTS (SELECT 1), a IN (1)", &["max", "exists", "?column?"]);
        check("a, a, count(*), count(*)", &["a", "a", "count", "count"]);
    }
}
