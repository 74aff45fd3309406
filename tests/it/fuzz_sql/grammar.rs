//! What expressions are made of, as data: a line is the type of the result and a template.
//!
//! `{int4}` is an expression of that type and `{a}` of the type that the line is read for, one after the other; `{=1}`
//! is the first expression once more; `{2..9}` is a number and `{year|month}` one of these words. A `!` behind the type
//! says that results may differ by noise: quotients, which have more digits here than there, and what depends on the
//! order in which floats are added. Types behind a `-` are those that `{a}` does not stand for.

use super::Kind;

/// What a hole of a template is filled with.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(String),
    Of(Kind),
    Again(usize),
    Number(i64, i64),
    Word(Vec<String>),
    /// A window: `total`, `rows`, `frame`, `order` or `any`.
    Window(&'static str),
}

/// One way to make an expression.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) kind: Kind,
    pub(super) is_noisy: bool,
    pub(super) parts: Vec<Part>,
}

/// The lines of a table.
pub(super) fn read(table: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (head, template) = line.split_once(' ').unwrap();
        let mut words = head.split('-');
        let result = words.next().unwrap();
        let without: Vec<&str> = words.collect();
        let (name, is_noisy) = result.strip_suffix('!').map_or((result, false), |name| (name, true));
        if name == "a" || template.contains("{a}") {
            for kind in Kind::ALL.iter().copied().filter(|kind| !without.contains(&kind.name())) {
                let kind_of = |name: &str| if name == "a" { Some(kind) } else { Kind::named(name) };
                forms.push(Form { kind: kind_of(name).unwrap(), is_noisy, parts: parts(template, kind_of) });
            }
        } else {
            forms.push(Form { kind: Kind::named(name).unwrap(), is_noisy, parts: parts(template, Kind::named) });
        }
    }
    forms
}

fn parts(template: &str, kind_of: impl Fn(&str) -> Option<Kind>) -> Vec<Part> {
    let mut parts = Vec::new();
    for (index, piece) in template.split(['{', '}']).enumerate() {
        if index % 2 == 0 {
            parts.push(Part::Text(piece.to_owned()));
            continue;
        }
        let window = ["total", "rows", "frame", "order", "any"].into_iter().find(|window| *window == piece);
        let range = piece.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
        let again = piece.strip_prefix('=').and_then(|number| number.parse::<usize>().ok());
        parts.push(match (kind_of(piece), again, window, range) {
            (Some(kind), ..) => Part::Of(kind),
            (_, Some(number), ..) => Part::Again(number - 1),
            (_, _, Some(window), _) => Part::Window(window),
            (_, _, _, Some((from, to))) => Part::Number(from, to),
            _ => Part::Word(piece.split('|').map(str::to_owned).collect()),
        });
    }
    parts
}

/// Of the values of one row.
pub(super) const SCALARS: &str = "
    a coalesce({a}, {a})
    a nullif({a}, {a})
    a CASE WHEN {bool} THEN {a} ELSE {a} END
    a CASE WHEN {bool} THEN {a} WHEN {bool} THEN {a} END
    a CASE {int4} WHEN {0..5} THEN {a} WHEN {6..9} THEN {a} ELSE {a} END
    a-interval {greatest|least}({a}, {a})
    bool ({a} {=|<>|<|<=|>|>=} {a})
    bool ({a} IS {DISTINCT|NOT DISTINCT} FROM {a})
    bool ({a} IS {NULL|NOT NULL})
    bool ({a} {IN|NOT IN} ({a}, {a}))
    bool ({a} {BETWEEN|NOT BETWEEN} {a} AND {a})
    bool ({bool} {AND|OR} {bool})
    bool ({bool} {AND|OR} {bool})
    bool (NOT {bool})
    bool ({bool} IS {TRUE|FALSE|UNKNOWN|NOT TRUE|NOT UNKNOWN})
    bool ({text} {LIKE|NOT LIKE|ILIKE} '{%|a%|%e|%a%|_|%_e%|B%|a\\_%|}')
    bool ({varchar} {LIKE|NOT LIKE|ILIKE} '{%|a%|%e|%a%|_%|B%}')
    bool ({text} {~|~*|!~} '{^a|[a-c]+|e$|o.|^$|\\d}')
    bool starts_with({text}, {text})
    bool ({varchar} {=|<|>=} {text})
    bool ({int4} {=|<|>=} {int8})
    bool ({int4} {=|<|>=} {numeric})
    bool ({numeric} {<|>} {float8})
    bool ({int2} {<>|>} {int4})
    bool ({date} {<|>=} {timestamp})
    bool ({numeric} / nullif({numeric}, 0) > {numeric})
    bool ({date} {<|>=|=} '{2020..2024}-0{1..9}-1{0..9}')
    bool ({timestamp} {BETWEEN|NOT BETWEEN} '2024-03-10' AND {timestamp})
    bool ({timestamptz} {IN|NOT IN} ('2024-03-10 01:30', {timestamptz}))
    bool ({interval} {<|=} '36 hours')
    bool (coalesce({date}, '2024-03-10') {<|>=} {date})
    bool (coalesce({float8}, 0.5) {<|>=} {numeric})
    bool (({date} - {date}) {<|>=|=} {0..99})
    bool ({0..99} {<|>=|=} ({date} - DATE '2024-02-29'))
    bool {bool} {AND|OR} {bool} {AND|OR} {bool}
    bool NOT {bool} {AND|OR} {bool}
    bool {int4} {+|-} {int4} {=|<|>=} {int4} {AND|OR} {bool}
    bool {int4} IS {DISTINCT|NOT DISTINCT} FROM {int4} + {int4} {AND|OR} {bool}
    bool {int4} {BETWEEN|NOT BETWEEN} {int4} - {int4} AND {int4} {AND|OR} {bool}
    bool {int4} {IN|NOT IN} ({int4}, {int4}) {AND|OR} NOT {bool}
    bool {text} || {text} {LIKE|NOT LIKE|ILIKE} '%a%' {AND|OR} {bool}
    bool {bool} {AND|OR} {a} IS {NULL|NOT NULL}
    bool {date} - {date} {<|>=|=} {0..99}
    bool {numeric} - {numeric} * {int4} {<|>|<>} {float8}
    bool {bool} = {bool} IS {TRUE|NOT FALSE|NOT UNKNOWN}
    int2 ({int2} {+|-} {int2})
    int2 ({int4} % 100)::int2
    int2 ({int2} / {2..5}::int2)
    int4 ({int4} {+|-} {int4})
    int4 ({int4} * {2..9})
    int4 ({int2} {+|-} {int4})
    int4 ({int4} {/|%} nullif({int4}, 0))
    int4 mod({int4}, {2..7})
    int4 abs({int4})
    int4 (- {int4})
    int4 ({int4} {&|#} {int4})
    int4 (({int4} & 255) {<<|>>} {0..5})
    int4 ({int2})::int4
    int4 ({int8} % 1000)::int4
    int4 (round({numeric}) % 1000)::int4
    int4 ({bool})::int4
    int4 {length|char_length|octet_length|ascii}({text})
    int4 length({varchar})
    int4 position({text} IN {text})
    int4 strpos({text}, '{a|e| |}')
    int4 ({date} - {date})
    int4 gcd({int4}, {int4})
    int4 width_bucket({float8}, 0, 100, {1..9})
    int4 '{-99..99}'::int4
    int4 coalesce({int4}, '{0..99}')
    int4 CASE WHEN {bool} THEN {int4} ELSE '{0..99}' END
    int4 {int4} {+|-} {int4} {+|-} {int4}
    int4 {int4} {+|-} {int4} * {2..9}
    int4 - {int4} % {2..9} {+|-} {int4}
    int4 {int4} & {int4} {+|-} {0..9}
    int8 {int8} {+|-} {int4} {+|-} {int8}
    int8 ({int8} {+|-} {int8})
    int8 ({int4} {+|-} {int8})
    int8 ({int8} * {2..99})
    int8 ({int8} {/|%} nullif({int8}, 0))
    int8 abs({int8})
    int8 ({int4})::int8
    int8 ({int4}::int8 * {int4})
    int8 round({numeric})::int8
    int8 floor({float8})::int8
    numeric coalesce({numeric}, {int4}, '{0..9}.5')
    numeric greatest({numeric}, {0..9}.25)
    numeric {numeric} {+|-} {numeric} {+|-} {int4}
    numeric {numeric} {+|-} {numeric} * {int4}
    numeric - {numeric} % {2..9} {+|-} {numeric}
    numeric ({numeric} {+|-} {numeric})
    numeric ({numeric} * {numeric})
    numeric ({numeric} {+|-|*} {int4})
    numeric ({int8} {+|-} {numeric})
    numeric ({numeric} % nullif({numeric}, 0))
    numeric mod({numeric}, {2..7})
    numeric {round|trunc}({numeric}, {-2..4})
    numeric {round|trunc|ceil|floor|abs|sign}({numeric})
    numeric (- {numeric})
    numeric div({numeric}, nullif({numeric}, 0))
    numeric round({numeric} / nullif({numeric}, 0), {0..5})
    numeric round({int4} / nullif({numeric}, 0), {0..5})
    numeric round({float8}::numeric, {0..4})
    numeric {int4}::numeric
    numeric ({numeric})::numeric(30,{0..5})
    numeric '{-99..99}.{0..99}'::numeric
    numeric extract({year|month|day|dow|doy|quarter|week|isoyear|isodow|century|decade|epoch} FROM {date})
    numeric extract({year|month|hour|minute|second|epoch|milliseconds|week} FROM {timestamp})
    numeric extract({year|day|hour|second|epoch} FROM {timestamptz})
    numeric extract({year|month|day|hour|second|epoch} FROM {interval})
    numeric! ({numeric} / nullif({numeric}, 0))
    numeric! ({int4} / nullif({numeric}, 0))
    numeric! ({numeric} * 100 / nullif({int8}, 0))
    numeric! sqrt(abs({numeric}))
    numeric! ln(abs({numeric}) + 1)
    float8 coalesce({float8}, {0..9}.5)
    float8 CASE WHEN {bool} THEN {numeric} ELSE {float8} END
    float8 (- {float8})
    float8 {float8} {+|-} {float8} * {int4} {+|-} {float8}
    float8 ({float8} {+|-|*} {float8})
    float8 ({float8} / nullif({float8}, 0))
    float8 ({float8} * {int4})
    float8 ({numeric} {+|-} {float8})
    float8 {abs|round|trunc|ceil|floor|sign}({float8})
    float8 sqrt(abs({float8}))
    float8 ({int4})::float8
    float8 ({numeric})::float8
    float8 date_part('{year|month|day|epoch}', {timestamp})
    float8! exp({float8} / 1000)
    float8! power(abs({float8}), {0..2}.5)
    float8! ln(abs({float8}) + 1)
    float8! atan({float8})
    text {text} || {int4} {+|-} {int4} || {text}
    text {varchar} || {text} || {int4}
    text ({text} || {text})
    text ({text} || {int4})
    text ({varchar} || {text})
    text {lower|upper|initcap|reverse|trim|ltrim|rtrim|md5}({text})
    text {lower|upper}({varchar})
    text {left|right}({text}, {-2..4})
    text substr({text}, {-1..4}, {0..5})
    text substring({text} FROM {1..4})
    text substring({text} FROM '{[a-z]+|.$|a(.)}')
    text btrim({text}, '{a|e| x|}')
    text replace({text}, '{a|e| |an}', '{|X|--}')
    text translate({text}, '{abc|aeiou}', '{xy|AEIOU|}')
    text {lpad|rpad}({text}, {0..9}, '{*|ab| }')
    text repeat({text}, {0..3})
    text split_part({text}, '{a| |-}', {1..3})
    text overlay({text} PLACING '{#|xyz}' FROM {1..4} FOR {0..2})
    text regexp_replace({text}, '{[aeiou]|^.|\\s+}', '{|_|<\\&>}', '{|g|i}')
    text concat({text}, {int4}, {bool})
    text concat_ws('{-|, |}', {text}, {varchar}, {text})
    text format('%s:%s', {text}, {int4})
    text to_char({date}, '{YYYY-MM-DD|DD Mon YYYY|IYYY-IW|Day|FMMonth D|Q DDD}')
    text to_char({timestamp}, '{YYYY-MM-DD HH24:MI:SS|HH12:MI AM|US|FMDD.FMMM.YYYY}')
    text to_char({numeric}, '{FM999990.00|999,999.9|S0000|999}')
    text to_char({int4}, '{FM0000|999,999|S99999}')
    text-numeric ({a})::text
    varchar ({text})::varchar
    varchar ({text})::varchar({1..6})
    date {coalesce|greatest|least}({date}, '{2020..2024}-0{1..9}-1{0..9}')
    date CASE WHEN {bool} THEN {date} ELSE '2024-03-10' END
    date {date} {+|-} {0..40} {+|-} {0..400}
    date ({date} {+|-} {0..400})
    date ({date} + {int2})
    date ({timestamp})::date
    date ({timestamptz})::date
    date date_trunc('{month|year|week|quarter}', {timestamp})::date
    date make_date({1990..2030}, {1..12}, {1..28})
    date to_date('{2020..2024}-{1..12}-{1..28}', 'YYYY-MM-DD')
    timestamp {coalesce|greatest|least}({timestamp}, '{2020..2024}-0{1..9}-1{0..9} 12:30')
    timestamp {timestamp} {+|-} {interval} {+|-} {interval}
    timestamp ({timestamp} {+|-} {interval})
    timestamp ({date} {+|-} {interval})
    timestamp ({date})::timestamp
    timestamp date_trunc('{year|quarter|month|week|day|hour|minute|second}', {timestamp})
    timestamp ({timestamptz} AT TIME ZONE '{UTC|Europe/Berlin|America/New_York|Asia/Kolkata}')
    timestamptz {coalesce|greatest|least}({timestamptz}, '{2020..2024}-0{1..9}-1{0..9} 12:30')
    timestamptz ({timestamptz} {+|-} {interval})
    timestamptz ({timestamp} AT TIME ZONE '{UTC|Europe/Berlin|America/New_York|Asia/Kolkata}')
    timestamptz ({timestamp})::timestamptz
    timestamptz date_trunc('{year|month|week|day|hour}', {timestamptz})
    interval coalesce({interval}, '36 hours')
    interval ({interval} {+|-} {interval})
    interval (- {interval})
    interval ({timestamp} - {timestamp})
    interval ({timestamptz} - {timestamptz})
    interval age({timestamp}, {timestamp})
    interval ({interval} * {2..5})
    interval ({interval} / {2..4})
    interval {justify_days|justify_hours|justify_interval}({interval})
    interval make_interval(days => {0..40}, hours => {0..30})
";

/// Of the values of many rows.
pub(super) const AGGREGATES: &str = "
    int8 count(*)
    int8 count(*)
    int8 count({a})
    int8-interval count(DISTINCT {a})
    int8 sum({int4})
    int8 sum({int2})
    int8 sum(DISTINCT {int4})
    numeric sum({int8})
    numeric sum({numeric})
    numeric sum(DISTINCT {numeric})
    interval sum({interval})
    a-bool-interval {min|max}({a})
    bool {bool_and|bool_or|every}({bool})
    int4 {bit_and|bit_or}({int4})
    int4 percentile_disc({0.1|0.5|0.75|1}) WITHIN GROUP (ORDER BY {int4})
    date percentile_disc({0|0.5|0.9}) WITHIN GROUP (ORDER BY {date})
    text string_agg({text}, '{,|; |}' ORDER BY {=1})
    text string_agg(DISTINCT ({text} || ''), '-' ORDER BY ({=1} || ''))
    text array_to_string(array_agg({int4} ORDER BY {=1}), ',', '*')
    date (array_agg({date} ORDER BY {=1} DESC NULLS LAST))[1]
    numeric round(avg({numeric}), {0..4})
    numeric round(avg({int4}), {0..4})
    numeric! avg({int4})
    numeric! avg({int8})
    numeric! avg({numeric})
    numeric! {stddev_samp|stddev_pop|var_samp|var_pop|stddev|variance}({int4})
    numeric! {stddev_samp|var_pop}({numeric})
    float8! {sum|avg}({float8})
    numeric! round({stddev_samp|var_pop}({float8})::numeric, 2)
    float8! percentile_cont({0.25|0.5|0.9}) WITHIN GROUP (ORDER BY {float8})
";

/// Of the values of the rows around one.
pub(super) const WINDOWS: &str = "
    int8 row_number() OVER {total}
    int8 {rank|dense_rank}() OVER {order}
    int4 ntile({1..5}) OVER {total}
    a-text-varchar {lag|lead}({a}) OVER {total}
    a-text-varchar {lag|lead}({a}, {0..3}) OVER {total}
    int4 {lag|lead}({int4}, {1..2}, {0..9}) OVER {total}
    text {lag|lead}(({text} || ''), {1..2}) OVER {total}
    a-text-varchar {first_value|last_value}({a}) OVER {rows}
    text nth_value(({text} || ''), {1..3}) OVER {rows}
    int8 count(*) OVER {any}
    int8 count({a}) OVER {frame}
    int8 sum({int4}) OVER {frame}
    int8 sum({int4}) OVER {any}
    numeric sum({numeric}) OVER {frame}
    numeric sum({numeric}) OVER {order}
    a-bool-interval {min|max}({a}) OVER {any}
    a-bool-interval {min|max}({a}) OVER {frame}
    bool bool_or({bool}) OVER {order}
    numeric! avg({numeric}) OVER {frame}
    numeric! avg({int4}) OVER {any}
    float8! sum({float8}) OVER {any}
    float8! {percent_rank|cume_dist}() OVER {order}
";
