//! Numbers: what of `numeric` does not fit, and how many digits are shown.

use super::{
    Difference, Effect, NOTHING, Theme,
    sign::{Sign, Tokens},
};

/// Digits that a number has at most.
const DIGITS_MAX: usize = 76;

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        key: "numeric-range",
        theme: Theme::Numbers,
        construct: "`numeric` of more than 76 digits, declared or there: `numeric(100, 2)`, `1e280`",
        postgres: "has 131072 digits before the point and 16383 behind it",
        engine: "has 76 in all: more before the point is an error, and more behind it is rounded",
        mend: "round on the way, or use `float8`: `1e280::float8`",
        effect: Effect::Unsupported,
        seen_by: &[Sign::At(is_long_number)],
    },
    Difference {
        key: "numeric-results",
        theme: Theme::Numbers,
        construct: "sums and products of `numeric` that have more than 38 digits, where neither side is declared with more",
        postgres: "have as many as they need",
        engine: "are the error 22003, as those of wider sides are above 76",
        mend: "`x::numeric(60, 2) * y`",
        effect: Effect::Unsupported,
        seen_by: NOTHING,
    },
    Difference {
        key: "sums-of-reals",
        theme: Theme::Numbers,
        construct: "`sum` of `real`",
        postgres: "rounds to a `real` after each value, so that the order of the rows shows in the sixth digit",
        engine: "adds them as `double precision`, and rounds once",
        mend: "nothing to mend: it is nearer; `sum(x::float8)` is equal",
        effect: Effect::Different,
        seen_by: NOTHING,
    },
    Difference {
        key: "random-values",
        theme: Theme::Numbers,
        construct: "`random()` in a `WITH` or a subquery that is used more than once",
        postgres: "is one value in each row of a `WITH`, and another in each subquery",
        engine: "may be another wherever the `WITH` is used, and the same in subqueries that read alike",
        mend: "a column of the table that is as good as random, such as a hash of its key",
        effect: Effect::Different,
        seen_by: &[Sign::Call(&["random"])],
    },
    Difference {
        key: "numeric-precisions",
        theme: Theme::Numbers,
        construct: "`numeric(2, 4)`, whose scale is above its precision",
        postgres: "keeps two digits, the last of which is the fourth behind the point, since PostgreSQL 15",
        engine: "refuses it: 42601",
        mend: "`numeric(4, 4)`",
        effect: Effect::Unsupported,
        seen_by: &[Sign::At(|tokens, index| {
            modifiers(tokens, index).is_some_and(|[precision, scale]| scale > precision)
        })],
    },
    Difference {
        key: "numeric-infinity",
        theme: Theme::Numbers,
        construct: "`NaN` and `Infinity` of `numeric`",
        postgres: "has them",
        engine: "has no such values",
        mend: "use `float8`, which has them",
        effect: Effect::Unsupported,
        seen_by: &[Sign::At(is_infinite_numeric)],
    },
    different(
        "numeric-scale",
        "how many digits behind the point a column of `numeric` without precision shows, a float that is cast to it, and the elements of an array, also as text, in JSON and to `scale` and `trim_scale`",
        "each value has its own: `2.5`",
        "all values of the column have the same: `2.500`",
        "`round(x, n)`, or declare the column as `numeric(p, s)`; the values are equal",
    ),
    Difference {
        seen_by: &[Sign::At(is_whole_by_exponent)],
        ..different(
            "numbers-by-exponent",
            "whole numbers with an exponent: `1e3`",
            "have no digits behind the point",
            "have one: `1000.0`",
            "`1000`, or `1e3::float8`",
        )
    },
    different(
        "quotient-digits",
        "how many digits behind the point a quotient, an average and a deviation of `numeric` have, and `exp`, `ln`, `power` and `sqrt`",
        "16 significant ones or more, by the values",
        "20 behind the point or more, by the types; they are equal at the smaller number of digits",
        "`round(x, n)`, or `x::numeric(p, s)`",
    ),
    different(
        "float-last-digit",
        "the last digit of sums, averages and functions of `float4` and `float8`",
        "depends on the order of the rows and on the machine",
        "may be another; what is compared is equal to 1e-9",
        "`round(x::numeric, n)`",
    ),
    Difference {
        key: "thresholds",
        theme: Theme::Numbers,
        construct: "`width_bucket(x, thresholds)` of texts and enums",
        postgres: "takes whatever can be sorted",
        engine: "takes numbers, dates and timestamps",
        mend: "a `CASE`",
        effect: Effect::Unsupported,
        seen_by: &[Sign::At(is_bucket_of_text)],
    },
];

const fn different(
    key: &'static str,
    construct: &'static str,
    postgres: &'static str,
    engine: &'static str,
    mend: &'static str,
) -> Difference {
    let (theme, effect, seen_by) = (Theme::Numbers, Effect::Different, NOTHING);
    Difference { key, theme, construct, postgres, engine, mend, effect, seen_by }
}

/// More digits than there are, as they are written, by an exponent or in a declaration.
fn is_long_number(tokens: &Tokens, index: usize) -> bool {
    let is_wide = modifiers(tokens, index).is_some_and(|[precision, _]| precision > DIGITS_MAX);
    let Some(number) = tokens.number(index) else { return is_wide };
    let digits = number.chars().filter(char::is_ascii_digit).count();
    match exponent(number) {
        None => digits > DIGITS_MAX,
        // One that is cast to a float at once is read as one.
        Some(exponent) => {
            let is_far = usize::try_from(exponent.unsigned_abs()).is_ok_and(|exponent| exponent > DIGITS_MAX);
            is_far && tokens.symbol(index + 1) != Some("::")
        }
    }
}

fn exponent(number: &str) -> Option<i32> {
    number.split_once(['e', 'E']).and_then(|(_, exponent)| exponent.parse().ok())
}

fn is_whole_by_exponent(tokens: &Tokens, index: usize) -> bool {
    let Some(number) = tokens.number(index).filter(|_| tokens.symbol(index + 1) != Some("::")) else { return false };
    let mantissa = number.split(['e', 'E']).next().unwrap_or(number);
    let behind_point = mantissa.split_once('.').map_or(0, |(_, digits)| digits.len());
    exponent(number).is_some_and(|exponent| usize::try_from(exponent).is_ok_and(|exponent| exponent >= behind_point))
}

/// The precision and the scale of `numeric(p, s)`.
fn modifiers(tokens: &Tokens, index: usize) -> Option<[usize; 2]> {
    let open = index + 1;
    let is_numeric = matches!(tokens.name(index), Some("numeric" | "decimal" | "dec"));
    if !is_numeric || tokens.symbol(open) != Some("(") {
        return None;
    }
    let digits = |place: usize| tokens.number(place).and_then(|digits| digits.parse().ok());
    Some([digits(open + 1)?, if tokens.symbol(open + 2) == Some(",") { digits(open + 3)? } else { 0 }])
}

fn is_infinite_numeric(tokens: &Tokens, index: usize) -> bool {
    tokens.typed_literal(index, &["numeric", "decimal"]).is_some_and(|text| {
        let name = text.trim().trim_start_matches(['+', '-']).to_lowercase();
        matches!(name.as_str(), "nan" | "inf" | "infinity")
    })
}

/// Two arguments, the second of which is an array of string literals that nothing makes something else.
fn is_bucket_of_text(tokens: &Tokens, index: usize) -> bool {
    if tokens.name(index) != Some("width_bucket") {
        return false;
    }
    let arguments = tokens.call(index).map(|open| tokens.arguments(open)).unwrap_or_default();
    let [_, thresholds] = arguments.as_slice() else { return false };
    let (bracket, first) = (thresholds.start + 1, thresholds.start + 2);
    tokens.reads(thresholds.start, "array [")
        && tokens.literal(first).is_some()
        && tokens.symbol(first + 1) != Some("::")
        && tokens.close_of(bracket).is_some_and(|close| close + 1 == thresholds.end)
}
