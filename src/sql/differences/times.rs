//! Dates, times, intervals and time zones.

use super::{
    Difference, Effect, NOTHING, Theme,
    sign::{Sign, Tokens},
};

const INFINITIES: [&str; 3] = ["infinity", "-infinity", "+infinity"];

pub(super) const DIFFERENCES: &[Difference] = &[
    unsupported(
        "infinite-times",
        "`infinity` of dates and timestamps",
        "is after all others",
        "has no such values",
        "NULL, or a day that is far away",
        &[
            Sign::At(|tokens, index| is_moment(tokens, index, &INFINITIES)),
            Sign::At(is_infinite_by_union),
            Sign::At(is_made_infinite),
        ],
    ),
    unsupported(
        "moving-literals",
        "the literals `'now'`, `'today'`, `'tomorrow'`, `'yesterday'`",
        "are the instant at which the statement is read",
        "refuses them",
        "`now()`, `current_date`, `current_date + 1`",
        &[Sign::At(|tokens, index| is_moment(tokens, index, &["now", "today", "tomorrow", "yesterday"]))],
    ),
    unsupported(
        "local-clocks",
        "`localtime`, `timeofday()`",
        "tell the time without its zone",
        "do not exist",
        "`now()::timestamp`, `now()::time`",
        &[Sign::Words(&["localtime"]), Sign::Call(&["timeofday"])],
    ),
    Difference {
        seen_by: &[Sign::Words(&["current_time"])],
        ..different("current-time", "`current_time`", "is a `time with time zone`", "is a `time`", "`now()::time`")
    },
    unsupported(
        "sums-of-times",
        "`sum` and `avg` of a `time`",
        "are an interval",
        "do not exist",
        "`sum(t::interval)`",
        NOTHING,
    ),
    unsupported(
        "percentiles-of-intervals",
        "`percentile_cont` of intervals",
        "is an interval",
        "does not exist; `percentile_disc` does",
        "`percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM x)) * interval '1 second'`",
        NOTHING,
    ),
    different(
        "snapshot-clock",
        "`now()`, `current_timestamp`, `current_date`, `clock_timestamp()` and what is made of them",
        "are the instant of the transaction, or of the call",
        "are the instant of the snapshot, so that an answer is the same until the data is another",
        "nothing is to be done: it is what PostgreSQL would have said at that instant",
    ),
    different(
        "time-zone-data",
        "time zones before 1970",
        "has the rules of the data that it was built with",
        "has those of the IANA database 2025b, in which about 100 zones share the history of a greater one before 1970",
        "an offset, such as `interval '1 hour'`, as the zone",
    ),
    Difference {
        effect: Effect::Unsupported,
        ..different(
            "far-timestamps",
            "timestamps after 294247-01-10, and intervals of more than 292 years of hours",
            "reach to the year 294276, and to 178000000 years",
            "are the error 22008",
            "dates reach as far as PostgreSQL's",
        )
    },
];

const fn unsupported(
    key: &'static str,
    construct: &'static str,
    postgres: &'static str,
    engine: &'static str,
    mend: &'static str,
    seen_by: &'static [Sign],
) -> Difference {
    Difference { key, theme: Theme::Times, construct, postgres, engine, mend, effect: Effect::Unsupported, seen_by }
}

const fn different(
    key: &'static str,
    construct: &'static str,
    postgres: &'static str,
    engine: &'static str,
    mend: &'static str,
) -> Difference {
    Difference { effect: Effect::Different, ..unsupported(key, construct, postgres, engine, mend, NOTHING) }
}

/// One of these words as a date or a timestamp.
fn is_moment(tokens: &Tokens, index: usize, words: &[&str]) -> bool {
    const TYPES: [&str; 5] =
        ["date", "timestamp", "timestamptz", "timestamp with time zone", "timestamp without time zone"];
    let text = tokens.typed_literal(index, &TYPES);
    text.is_some_and(|text| words.contains(&text.trim().to_lowercase().as_str()))
}

fn is_infinite(text: &str) -> bool {
    INFINITIES.contains(&text.trim().to_lowercase().as_str())
}

/// `UNION SELECT 'infinity'`
fn is_infinite_by_union(tokens: &Tokens, index: usize) -> bool {
    let ways = ["union select", "union all select"];
    let Some(way) = ways.iter().find(|way| tokens.reads(index, way)) else { return false };
    let item = index + way.split(' ').count();
    tokens.literal(item).is_some_and(is_infinite) && tokens.symbol(item + 1) != Some("::")
}

/// `to_timestamp('infinity'::float8)`
fn is_made_infinite(tokens: &Tokens, index: usize) -> bool {
    tokens.name(index) == Some("to_timestamp")
        && tokens.call(index).is_some_and(|open| tokens.literal(open + 1).is_some_and(is_infinite))
}
