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
        construct: "`numeric` of more than 76 digits",
        postgres: "has 131072 digits before the point and 16383 behind it",
        engine: "has 76 in all: what is more before the point is the error 22003, and behind it is rounded",
        mend: "round on the way, or use `float8`",
        effect: Effect::Unsupported,
        seen_by: &[Sign::At(is_long_number)],
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
        "how many digits behind the point a column of `numeric` without precision shows, also as text, in JSON and to `scale` and `trim_scale`",
        "each value has its own: `2.5`",
        "all values of the column have the same: `2.500`",
        "`round(x, n)`, or declare the column as `numeric(p, s)`; the values are equal",
    ),
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

fn is_long_number(tokens: &Tokens, index: usize) -> bool {
    let digits = |number: &str| number.chars().filter(char::is_ascii_digit).count();
    tokens.number(index).is_some_and(|number| !number.contains(['e', 'E']) && digits(number) > DIGITS_MAX)
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
