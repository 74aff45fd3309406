//! What of the grammar of `SELECT` there is not, or is otherwise.

use super::{
    Difference, Effect, NOTHING, Theme,
    sign::{Sign, Tokens},
};

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        key: "table-sample",
        theme: Theme::Statements,
        construct: "`TABLESAMPLE`",
        postgres: "reads some of a table's rows",
        engine: "reads all of them",
        mend: "choose rows by a condition, such as `id % 100 = 0`",
        effect: Effect::Different,
        seen_by: &[Sign::Words(&["tablesample bernoulli", "tablesample system"])],
    },
    unsupported(
        "frame-exclusion",
        "`EXCLUDE CURRENT ROW`, `GROUP`, `TIES` in a window's frame",
        "leaves these rows out of the frame",
        "does not know it",
        "take the row's own value away again, as in `sum(x) OVER w - x`",
        &[Sign::Words(&["exclude current row", "exclude group", "exclude ties", "exclude no others"])],
    ),
    unsupported(
        "rows-with-ties",
        "`FETCH FIRST n ROWS WITH TIES`",
        "gives the rows that are equal to the last one, too",
        "does not know it",
        "number the rows in a subquery by `rank() OVER (ORDER BY …)`, and keep those up to n",
        &[Sign::Words(&["with ties"])],
    ),
    unsupported(
        "search-and-cycle",
        "`SEARCH` and `CYCLE` of a recursive `WITH`",
        "order the rows, and stop at rows that come again",
        "does not know them",
        "carry the path along as text: order by it, and stop where it has the row already",
        &[Sign::Words(&["search depth first by", "search breadth first by"]), Sign::At(is_cycle)],
    ),
    unsupported(
        "rows-from",
        "`ROWS FROM (f(…), g(…))`",
        "puts the rows of several functions side by side",
        "does not know it",
        "number the rows of each by `WITH ORDINALITY`, and join them by the number",
        &[Sign::Words(&["rows from ("])],
    ),
    unsupported(
        "operator-syntax",
        "`OPERATOR(pg_catalog.+)`",
        "names an operator's schema",
        "does not know it",
        "write the operator alone",
        &[Sign::Words(&["operator ("])],
    ),
    unsupported(
        "locking",
        "`FOR UPDATE`, `FOR SHARE`",
        "locks the rows",
        "refuses it: nothing changes, and nobody is kept out",
        "leave it away",
        &[Sign::Words(&["for update", "for no key update", "for share", "for key share"])],
    ),
    unsupported(
        "system-columns",
        "`ctid`, `tableoid`, `xmin` and the other columns that every table has",
        "tell where and when a row was written",
        "are not in a snapshot",
        "use the table's key",
        &[Sign::At(is_system_column)],
    ),
    unsupported(
        "catalogue",
        "tables of `pg_catalog` and `information_schema`",
        "tell about the database",
        "are not in a snapshot",
        "ask PostgreSQL",
        &[Sign::At(is_catalogue)],
    ),
    unsupported(
        "server-functions",
        "functions about the server and the session, such as `version()` and `current_user`",
        "tell about where the statement runs",
        "do not exist, but for `pg_typeof`",
        "ask PostgreSQL",
        &[
            Sign::Words(&["current_user", "session_user", "current_role", "current_catalog", "current_schema"]),
            Sign::Call(&[
                "col_description",
                "current_database",
                "current_query",
                "current_setting",
                "format_type",
                "obj_description",
                "pg_backend_pid",
                "pg_collation_for",
                "pg_database_size",
                "pg_relation_size",
                "pg_size_bytes",
                "pg_size_pretty",
                "pg_table_size",
                "pg_total_relation_size",
                "to_regclass",
                "version",
            ]),
        ],
    ),
    unsupported(
        "ranks-of-several",
        "`rank(a, b) WITHIN GROUP (ORDER BY x, y)` and the other hypothetical ranks, with several values",
        "tells where the row would stand",
        "takes one value",
        "count the rows before it, as in `count(*) FILTER (WHERE (x, y) < (a, b)) + 1`",
        &[Sign::At(is_rank_of_several)],
    ),
    unsupported(
        "own-functions",
        "functions, operators, aggregates and types that the database or an extension defines",
        "can be used",
        "do not exist; columns of such types travel as text, and enums are known",
        "write their SQL into the query, or keep what they give in a column",
        NOTHING,
    ),
    unsupported(
        "views",
        "views",
        "can be read",
        "are not in a snapshot; materialized views are",
        "write the view's query as a `WITH`, or make it a materialized view",
        NOTHING,
    ),
    unsupported(
        "statement-limits",
        "statements of more than 1000 levels of nesting, or longer than `engine.statement_bytes_max`",
        "are answered while there is memory",
        "are refused as `statement_too_large`",
        "put long lists into a parameter, as in `id = ANY($ids)`",
        NOTHING,
    ),
];

const fn unsupported(
    key: &'static str,
    construct: &'static str,
    postgres: &'static str,
    engine: &'static str,
    mend: &'static str,
    seen_by: &'static [Sign],
) -> Difference {
    Difference {
        key,
        theme: Theme::Statements,
        construct,
        postgres,
        engine,
        mend,
        effect: Effect::Unsupported,
        seen_by,
    }
}

/// `CYCLE column, column SET …`
fn is_cycle(tokens: &Tokens, index: usize) -> bool {
    let mut here = index + 1;
    while tokens.name(here).is_some() && tokens.symbol(here + 1) == Some(",") {
        here += 2;
    }
    tokens.word(index) == Some("cycle") && tokens.name(here).is_some() && tokens.word(here + 1) == Some("set")
}

fn is_system_column(tokens: &Tokens, index: usize) -> bool {
    let is_column = matches!(tokens.name(index), Some("ctid" | "tableoid" | "xmin" | "xmax" | "cmin" | "cmax"));
    let is_named = index > 0 && tokens.word(index - 1) == Some("as");
    is_column && !is_named && tokens.symbol(index + 1) != Some("(")
}

/// A table of the catalogue behind `FROM`, `JOIN` or a comma.
fn is_catalogue(tokens: &Tokens, index: usize) -> bool {
    let Some(before) = index.checked_sub(1) else { return false };
    let is_read = matches!(tokens.word(before), Some("from" | "join")) || tokens.symbol(before) == Some(",");
    let Some(name) = tokens.name(index).filter(|_| is_read) else { return false };
    let behind = tokens.symbol(index + 1);
    match name {
        "pg_catalog" | "information_schema" => behind == Some(".") && tokens.symbol(index + 3) != Some("("),
        name => {
            name.starts_with("pg_") && tokens.symbol(before) != Some(",") && behind != Some("(") && behind != Some(".")
        }
    }
}

fn is_rank_of_several(tokens: &Tokens, index: usize) -> bool {
    if !matches!(tokens.name(index), Some("rank" | "dense_rank" | "percent_rank" | "cume_dist")) {
        return false;
    }
    let Some(open) = tokens.call(index) else { return false };
    let is_within_group = tokens.close_of(open).is_some_and(|close| tokens.reads(close + 1, "within group"));
    is_within_group && tokens.arguments(open).len() > 1
}
