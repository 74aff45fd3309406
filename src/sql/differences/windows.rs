//! Windows and their frames.

use super::{
    Difference, Effect, NOTHING, Theme,
    sign::{Sign, Tokens},
    statements::unsupported,
};

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        key: "frames-past-the-end",
        theme: Theme::Statements,
        construct: "a `RANGE` frame around a value so near the end of its type that the bound is beyond it",
        postgres: "ends the frame with the last value",
        engine: "takes the rows without a value in, too",
        mend: "order by a wider type: `ORDER BY x::bigint`",
        effect: Effect::Different,
        seen_by: NOTHING,
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
        "frame-offsets",
        "a frame whose offset is not a literal, such as `ROWS 1 + 1 PRECEDING` or `ROWS $n PRECEDING`, and one that ends before it begins",
        "works the offset out; such a frame has no rows",
        "refuses them: 42601",
        "write the number or the interval itself: `ROWS 2 PRECEDING`",
        &[Sign::At(is_odd_frame)],
    ),
    unsupported(
        "frames-of-times",
        "`RANGE` with an offset, ordered by a `time`",
        "takes an interval",
        "is an error",
        "order by `extract(epoch FROM t)`, with a number of seconds for the offset",
        NOTHING,
    ),
    unsupported(
        "offsets-by-row",
        "`lag` and `lead` with an offset or a default that each row has for itself: `lag(x, 1, y)`",
        "takes that of the row",
        "takes constants: 0A000",
        "`CASE WHEN row_number() OVER w = 1 THEN y ELSE lag(x) OVER w END`",
        &[Sign::At(is_offset_by_row)],
    ),
    unsupported(
        "ranks-of-several",
        "`rank(a, b) WITHIN GROUP (ORDER BY x, y)` and the other hypothetical ranks, with several values",
        "tells where the row would stand",
        "takes one value",
        "count the rows before it, as in `count(*) FILTER (WHERE (x, y) < (a, b)) + 1`",
        &[Sign::At(is_rank_of_several)],
    ),
];

/// An end of a frame: how far it is from the first row of all, and its offset where that is a number.
struct Bound<'a> {
    place: u8,
    offset: Option<&'a str>,
    /// Whether the engine can read the offset.
    is_literal: bool,
    /// Behind it.
    end: usize,
}

impl Bound<'_> {
    fn is_after(&self, other: &Self) -> bool {
        let offset = |bound: &Self| bound.offset.and_then(|digits| digits.parse::<f64>().ok());
        let is_farther = match (offset(self), offset(other)) {
            (Some(own), Some(others)) if self.place == PRECEDING => own < others,
            (Some(own), Some(others)) => own > others,
            _ => false,
        };
        self.place > other.place || (self.place == other.place && is_farther)
    }
}

const PRECEDING: u8 = 1;
const CURRENT: u8 = 2;
const FOLLOWING: u8 = 3;

/// `ROWS`, `RANGE` or `GROUPS` with bounds behind it.
fn is_odd_frame(tokens: &Tokens, index: usize) -> bool {
    let Some(unit @ ("rows" | "range" | "groups")) = tokens.word(index) else { return false };
    if tokens.word(index + 1) != Some("between") {
        return bound_at(tokens, index + 1, unit).is_some_and(|bound| !bound.is_literal);
    }
    let Some(start) = bound_at(tokens, index + 2, unit) else { return false };
    let end = if tokens.word(start.end) == Some("and") { bound_at(tokens, start.end + 1, unit) } else { None };
    end.is_some_and(|end| !start.is_literal || !end.is_literal || start.is_after(&end))
}

fn bound_at<'a>(tokens: &'a Tokens, start: usize, unit: &str) -> Option<Bound<'a>> {
    let whole = |place, end| Bound { place, offset: None, is_literal: true, end };
    if tokens.reads(start, "current row") {
        return Some(whole(CURRENT, start + 2));
    }
    let mut here = start;
    let place = loop {
        match (tokens.word(here), tokens.symbol(here)) {
            (Some("preceding"), _) => break PRECEDING,
            (Some("following"), _) => break FOLLOWING,
            (_, Some("(")) => here = tokens.close_of(here)?,
            (Some("and" | "over" | "from"), _) | (_, Some(")" | ";")) => return None,
            _ if here >= tokens.count() => return None,
            _ => {}
        }
        here += 1;
    };
    if tokens.word(start) == Some("unbounded") {
        return Some(whole(if place == PRECEDING { 0 } else { FOLLOWING + 1 }, here + 1));
    }
    let is_interval = unit == "range" && tokens.word(start) == Some("interval");
    let first = if is_interval { start + 1 } else { start };
    let is_literal = first + 1 == here && (tokens.number(first).is_some() || tokens.literal(first).is_some());
    Some(Bound { place, offset: tokens.number(start).filter(|_| is_literal), is_literal, end: here + 1 })
}

/// An argument behind the first that is a column, or begins with one, or is a subquery.
fn is_offset_by_row(tokens: &Tokens, index: usize) -> bool {
    if !matches!(tokens.name(index), Some("lag" | "lead")) {
        return false;
    }
    let arguments = tokens.call(index).map(|open| tokens.arguments(open)).unwrap_or_default();
    arguments.iter().skip(1).any(|argument| {
        let is_constant = matches!(tokens.word(argument.start), Some("null" | "true" | "false" | "current_date"));
        let end = tokens.end_of_name(argument.start);
        let is_whole = end == argument.end || matches!(tokens.symbol(end), Some("+" | "-" | "*" | "/" | "%" | "||"));
        let is_column = tokens.name(argument.start).is_some() && !is_constant && is_whole;
        is_column || tokens.reads(argument.start, "( select")
    })
}

fn is_rank_of_several(tokens: &Tokens, index: usize) -> bool {
    if !matches!(tokens.name(index), Some("rank" | "dense_rank" | "percent_rank" | "cume_dist")) {
        return false;
    }
    let Some(open) = tokens.call(index) else { return false };
    let is_within_group = tokens.close_of(open).is_some_and(|close| tokens.reads(close + 1, "within group"));
    is_within_group && tokens.arguments(open).len() > 1
}
