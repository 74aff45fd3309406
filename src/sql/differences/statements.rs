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
        engine: "refuses it: 0A000",
        mend: "choose rows by a condition, such as `id % 100 = 0`",
        effect: Effect::Unsupported,
        seen_by: &[Sign::Words(&["tablesample bernoulli", "tablesample system"])],
    },
    Difference {
        key: "foreign-grammar",
        theme: Theme::Statements,
        construct: "`TRY_CAST`, `QUALIFY`, `SEMI JOIN`, `IGNORE NULLS`, `==`, `tinyint` and other words of other databases",
        postgres: "refuses them",
        engine: "knows some of them",
        mend: "write what PostgreSQL has, if the query is to run there, too",
        effect: Effect::Different,
        seen_by: &[
            Sign::Words(&[
                "anti join",
                "ignore nulls",
                "qualify rank",
                "qualify row_number",
                "respect nulls",
                "safe_cast (",
                "semi join",
                "try_cast (",
                "union all by name",
                "union by name",
            ]),
            Sign::Operator(&["==", "<=>"]),
            Sign::Type(&["datetime", "string", "tinyint"]),
        ],
    },
    Difference {
        key: "refusals",
        theme: Theme::Statements,
        construct: "statements that PostgreSQL refuses, such as one that uses a name of its list in `HAVING` or in an expression of \
                    `ORDER BY`, has a subquery without an alias in `FROM`, or compares an enum with a label that it has not",
        postgres: "is an error",
        engine: "answers some of them, in the sense that is meant, and gives some errors another SQLSTATE",
        mend: "try the query on PostgreSQL, if it is to run there, too",
        effect: Effect::Different,
        seen_by: NOTHING,
    },
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
        "grouping-forms",
        "`GROUP BY DISTINCT`, `GROUP BY ()`, `ROLLUP ((a, b))`, and `ROLLUP` or `CUBE` in `GROUPING SETS`",
        "has them all",
        "has `ROLLUP (a, b)`, `CUBE (a, b)` and `GROUPING SETS ((a, b), (a), ())`",
        "write all sets out, as in `GROUPING SETS ((a, b), ())`",
        &[
            Sign::Words(&["group by distinct", "group by all rollup", "group by all cube", "group by ( )"]),
            Sign::At(is_nested_grouping),
        ],
    ),
    unsupported(
        "rows-as-values",
        "a row as a value: `ROW(a, b)`, `(x).field`, or a table's name for its row",
        "can be shown, counted and taken apart",
        "there are none; `(a, b)` can be compared",
        "name the columns",
        &[Sign::Call(&["row"]), Sign::Words(&[") ."]), Sign::At(is_cast_row)],
    ),
    unsupported(
        "computed-limits",
        "`LIMIT (SELECT …)`, `OFFSET (SELECT …)`, `FETCH FIRST (n + 1) ROWS`",
        "counts as many rows as it says",
        "takes numbers and parameters, and sums of them",
        "number the rows by `row_number()`, and compare that",
        &[Sign::Words(&["limit ( select", "offset ( select", "fetch first (", "fetch next ("])],
    ),
    unsupported(
        "symmetric-between",
        "`BETWEEN SYMMETRIC`",
        "takes the bounds in either order",
        "does not know it",
        "`BETWEEN least(a, b) AND greatest(a, b)`",
        &[Sign::Words(&["between symmetric", "between asymmetric"])],
    ),
    unsupported(
        "short-null-tests",
        "`x ISNULL`",
        "is `x IS NULL`",
        "does not know it",
        "`x IS NULL`",
        &[Sign::At(|tokens, index| tokens.reads(index, "isnull") && tokens.symbol(index + 1) != Some("("))],
    ),
    unsupported(
        "literals-as-conditions",
        "a literal in quotes as a condition: `NOT 'no'`, `WHERE 'on'`",
        "is read as a `boolean`",
        "is refused: 42601",
        "`true` or `false`",
        &[Sign::At(is_literal_condition)],
    ),
    unsupported(
        "order-by-operator",
        "`ORDER BY x USING <`",
        "sorts by an operator",
        "does not know it",
        "`ORDER BY x`, or `ORDER BY x DESC`",
        &[Sign::Words(&["using <", "using >"])],
    ),
    unsupported(
        "continued-strings",
        "a string literal that goes on in the next line, `'a' ⏎ 'b'`",
        "is one literal",
        "does not know it",
        "`'a' || 'b'`",
        &[Sign::At(|tokens, index| tokens.literal(index).is_some() && tokens.literal(index + 1).is_some())],
    ),
    unsupported(
        "variadic-arrays",
        "`f(VARIADIC array)`",
        "takes the elements for arguments",
        "does not know it",
        "`array_to_string(x, '')` for `concat`, `cardinality(array_remove(x, NULL))` for `num_nonnulls`",
        &[Sign::Words(&["variadic"])],
    ),
    unsupported(
        "only-this-table",
        "`FROM ONLY t`",
        "leaves out the tables that inherit from it",
        "does not know it",
        "`FROM t`",
        &[Sign::Words(&["from only", "join only"])],
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
        "outer-references",
        "subqueries that ask for a row two levels further out, and some others that cannot be made joins",
        "runs them for each row",
        "is an error that names the column",
        "join the outer table in the subquery, or make the subquery a `WITH` and join that",
        NOTHING,
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

pub(super) const fn unsupported(
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

/// A literal behind `NOT` or `WHERE`, with nothing behind it that compares it.
fn is_literal_condition(tokens: &Tokens, index: usize) -> bool {
    let behind = index + 2;
    let is_alone =
        matches!(tokens.word(behind), Some("and" | "or" | "group" | "order" | "limit" | "then" | "as" | "from"))
            || matches!(tokens.symbol(behind), Some(")" | ","))
            || behind >= tokens.count();
    matches!(tokens.word(index), Some("not" | "where")) && tokens.literal(index + 1).is_some() && is_alone
}

/// `t::text` where `t.id` shows that `t` is a table.
fn is_cast_row(tokens: &Tokens, index: usize) -> bool {
    tokens.symbol(index + 1) == Some("::") && is_table(tokens, index)
}

/// Whether a name that stands alone is one that has columns elsewhere.
pub(super) fn is_table(tokens: &Tokens, index: usize) -> bool {
    let has_column = |place: usize| tokens.name(place) == tokens.name(index) && tokens.symbol(place + 1) == Some(".");
    let is_behind = index > 0 && matches!(tokens.symbol(index - 1), Some("." | "::"));
    tokens.name(index).is_some() && !is_behind && !has_column(index) && (0..tokens.count()).any(has_column)
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

/// `ROLLUP` or `CUBE` within `GROUPING SETS`, or over lists of columns.
fn is_nested_grouping(tokens: &Tokens, index: usize) -> bool {
    if !matches!(tokens.word(index), Some("rollup" | "cube")) || tokens.symbol(index + 1) != Some("(") {
        return false;
    }
    let sets = tokens.open_before(index).and_then(|open| open.checked_sub(2));
    let is_list = |argument: &std::ops::Range<usize>| {
        tokens.symbol(argument.start) == Some("(") && tokens.arguments(argument.start).len() > 1
    };
    sets.is_some_and(|sets| tokens.reads(sets, "grouping sets")) || tokens.arguments(index + 1).iter().any(is_list)
}
