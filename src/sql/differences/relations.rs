//! `WITH`, joins, and subqueries that are compared with rows.

use super::{
    Difference, Effect, NOTHING, Theme,
    sign::{Sign, Tokens},
    statements::unsupported,
};

pub(super) const DIFFERENCES: &[Difference] = &[
    unsupported(
        "names-of-with-again",
        "a `WITH` inside of another one, or in a subquery, that uses a name of the outer one again",
        "hides the outer one",
        "is refused: 42601",
        "another name",
        &[Sign::At(is_name_again)],
    ),
    unsupported(
        "forward-references",
        "a `WITH RECURSIVE` in which a query reads one that comes after it",
        "knows it already",
        "does not know it yet: 42P01",
        "write it before the one that reads it",
        &[Sign::At(is_forward_reference)],
    ),
    unsupported(
        "rows-against-subqueries",
        "`(a, b) < ANY (SELECT …)`, `(a, b) <= ALL (SELECT …)`",
        "compares rows",
        "is refused: 42601",
        "`EXISTS`, or for `ALL` the opposite: `NOT EXISTS (SELECT … WHERE (a, b) > (x, y))`",
        &[Sign::At(is_row_against_subquery)],
    ),
    unsupported(
        "outer-aggregates",
        "an aggregate of the outer query in a subquery: `(SELECT … WHERE x < sum(outer.y))`",
        "computes it in the outer query",
        "is refused: 42803",
        "compute it in a subquery in `FROM`, and join that",
        NOTHING,
    ),
    unsupported(
        "fewer-names",
        "an alias that names the first columns of a table only: `customers AS c (a, b)`",
        "leaves the other columns their names",
        "is refused: 42601",
        "name all of them, or select the columns in a subquery",
        NOTHING,
    ),
    unsupported(
        "all-of-outer-joins",
        "`SELECT *` of a `RIGHT` or `FULL JOIN … USING`, and `NATURAL` outer joins",
        "merges the columns that are joined by",
        "is refused: 0A000",
        "name the columns, and the merged one as `COALESCE(a.id, b.id)`",
        NOTHING,
    ),
    unsupported(
        "functions-as-values",
        "the alias of a function in `FROM` for its value: `FROM json_array_elements_text(x) AS tag`, `SELECT tag`",
        "is the value",
        "is no column: 42703",
        "`tag.value`, or name the column: `AS t (tag)`",
        NOTHING,
    ),
    unsupported(
        "names-of-arrays-twice",
        "`x[1]` beside another use of the array `x` in a list without names",
        "calls each column `x` or by its function",
        "may take `x` for ambiguous: 42702",
        "give the columns names by `AS`",
        NOTHING,
    ),
    Difference {
        key: "joined-columns-first",
        theme: Theme::Statements,
        construct: "`SELECT *` of a `JOIN … USING` or a `NATURAL JOIN`",
        postgres: "has the columns first that are joined by",
        engine: "has them where they are in the table on the left",
        mend: "name the columns",
        effect: Effect::Different,
        seen_by: &[Sign::At(is_star_of_join)],
    },
];

/// The name of a query of a `WITH` that begins at `index`.
fn is_query_of_with(tokens: &Tokens, index: usize) -> bool {
    let is_first = index > 0 && matches!(tokens.word(index - 1), Some("with" | "recursive"));
    let is_next = index > 1 && tokens.symbol(index - 1) == Some(",") && tokens.symbol(index - 2) == Some(")");
    let mut behind = index + 1;
    if tokens.symbol(behind) == Some("(") {
        behind = tokens.close_of(behind).map_or(behind, |close| close + 1);
    }
    let is_query = ["as (", "as materialized (", "as not materialized ("].iter().any(|way| tokens.reads(behind, way));
    tokens.name(index).is_some() && (is_first || is_next) && is_query
}

/// A query of a `WITH` in parentheses that an open `WITH` before it has the name of.
fn is_name_again(tokens: &Tokens, index: usize) -> bool {
    if !is_query_of_with(tokens, index) {
        return false;
    }
    let opens = |place: usize| tokens.open_before(place);
    (0..index).any(|before| {
        let is_outer = match (opens(before), opens(index)) {
            (None, Some(_)) => true,
            (Some(outer), Some(inner)) => outer < inner && tokens.close_of(outer).is_some_and(|close| close > index),
            (_, None) => false,
        };
        tokens.name(before) == tokens.name(index) && is_outer && is_query_of_with(tokens, before)
    })
}

/// A table behind `FROM` or `JOIN` that a later query of the same `WITH RECURSIVE` is.
fn is_forward_reference(tokens: &Tokens, index: usize) -> bool {
    let is_read = index > 0 && matches!(tokens.word(index - 1), Some("from" | "join"));
    let Some(own) = tokens.open_before(index).filter(|_| is_read && tokens.name(index).is_some()) else { return false };
    let is_recursive = (0..index).any(|place| tokens.reads(place, "with recursive"));
    let close = tokens.close_of(own).unwrap_or(index);
    let is_query = own > 0 && tokens.word(own - 1) == Some("as");
    is_recursive
        && is_query
        && (close..tokens.count()).any(|later| {
            let is_beside = tokens.open_before(later) == tokens.open_before(own);
            tokens.name(later) == tokens.name(index) && is_beside && is_query_of_with(tokens, later)
        })
}

/// `(a, b) < ANY (SELECT`, and every other comparison that is not `IN` or `NOT IN`.
fn is_row_against_subquery(tokens: &Tokens, index: usize) -> bool {
    let is_first = index.checked_sub(1).is_none_or(|before| {
        matches!(tokens.word(before), Some("where" | "and" | "or" | "not" | "on" | "when" | "having" | "select"))
            || matches!(tokens.symbol(before), Some("(" | ","))
    });
    let Some(close) = tokens.close_of(index).filter(|_| is_first && tokens.symbol(index) == Some("(")) else {
        return false;
    };
    let is_comparison = matches!(tokens.symbol(close + 1), Some("<" | "<=" | ">" | ">=" | "<>" | "!="));
    let is_compared = ["all ( select", "any ( select", "some ( select"].iter().any(|way| tokens.reads(close + 2, way));
    is_comparison && is_compared && tokens.arguments(index).len() > 1
}

fn is_star_of_join(tokens: &Tokens, index: usize) -> bool {
    let ways = ["using (", "natural join", "natural inner", "natural left", "natural right", "natural full"];
    let is_joined = |place: usize| ways.iter().any(|way| tokens.reads(place, way));
    tokens.reads(index, "select *") && (index..tokens.count()).any(is_joined)
}
