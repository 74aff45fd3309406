//! Text: collations, patterns, padding.

use super::{
    Difference, Effect, NOTHING, Theme,
    sign::{Sign, Tokens},
};

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        key: "collation-of-letters",
        theme: Theme::Text,
        construct: "`COLLATE` in an operand of `ILIKE` and `~*`, or in `lower`, `upper` and `initcap`",
        postgres: "says which letters are the same: under `\"C\"` only those of ASCII have a case",
        engine: "the letters are those of the database's collation",
        mend: "leave it away where the text has no letters but those of ASCII",
        effect: Effect::Different,
        seen_by: &[Sign::At(is_collated)],
    },
    unsupported(
        "basic-patterns",
        "basic regular expressions: the flags `b` and `e`, and `(?b)`, `(?e)` in a pattern",
        "knows them",
        "refuses them",
        "write the pattern as an advanced one: `(…)` for `\\(…\\)`",
        &[Sign::At(has_basic_flag)],
    ),
    unsupported(
        "text-functions",
        "`to_ascii`, `parse_ident`, `convert`",
        "are there",
        "do not exist",
        "`translate`, `split_part`, and `convert_from` with `convert_to`",
        &[Sign::Call(&["to_ascii", "parse_ident", "convert"])],
    ),
    Difference {
        key: "hexadecimal-literals",
        theme: Theme::Text,
        construct: "`X'1F'`",
        postgres: "is the bit string `00011111`",
        engine: "is the `bytea` `\\x1f`",
        mend: "`'\\x1f'::bytea`",
        effect: Effect::Different,
        seen_by: &[Sign::At(Tokens::is_hexadecimal)],
    },
    unsupported(
        "normal-forms",
        "`normalize(x, NFD)`",
        "takes the form as a word",
        "takes it as text",
        "`normalize(x, 'NFD')` here, and `normalize(x)` for NFC on both",
        &[Sign::At(is_normal_form)],
    ),
    unsupported(
        "unicode-escapes",
        "`U&'!00e9' UESCAPE '!'`",
        "takes the letter for the backslash",
        "does not know it",
        "`U&'\\00e9'`",
        &[Sign::At(|tokens, index| tokens.word(index) == Some("uescape") && tokens.literal(index + 1).is_some())],
    ),
    unsupported(
        "trim-lists",
        "`trim(both from x, 'ab')`, also with `leading` and `trailing`",
        "is `btrim(x, 'ab')`",
        "does not know it",
        "`btrim(x, 'ab')`, `ltrim`, `rtrim`",
        &[Sign::At(is_trim_of_list)],
    ),
    unsupported(
        "substring-similar",
        "`substring(x SIMILAR y ESCAPE z)`",
        "is `substring(x FROM y FOR z)`",
        "does not know it",
        "`substring(x FROM y FOR z)`",
        &[Sign::At(is_substring_similar)],
    ),
    unsupported(
        "national-characters",
        "`national character(n)`, `nchar(n)`",
        "is `char(n)`",
        "does not exist",
        "`char(n)`",
        &[Sign::Type(&["national character", "national char", "nchar"])],
    ),
    unsupported(
        "bytea-positions",
        "`position(x IN y)` of `bytea`",
        "counts bytes",
        "does not exist",
        "`encode(y, 'hex') ~ '^(..)*be'` for whether it is there",
        &[Sign::At(is_position_of_bytes)],
    ),
    unsupported(
        "bytea-patterns",
        "`LIKE` of `bytea`",
        "compares bytes",
        "compares text: other bytes are the error 22000",
        "`encode(y, 'hex') ~ '^(..)*be'`",
        NOTHING,
    ),
    unsupported(
        "random-uuids",
        "`gen_random_uuid()`",
        "is another one each time",
        "does not exist",
        "`md5(random()::text)::uuid`",
        &[Sign::Call(&["gen_random_uuid"])],
    ),
    unsupported(
        "enum-functions",
        "`enum_first`, `enum_last`, `enum_range`",
        "give an enum's labels",
        "do not exist",
        "write the labels",
        &[Sign::Call(&["enum_first", "enum_last", "enum_range"])],
    ),
    different(
        "padding",
        "the spaces at the end of `char(n)` in what `COALESCE`, `CASE`, `greatest`, `least`, `UNION` and arrays give",
        "are there",
        "may be missing: a value is held without them, and padded where a column of its length is shown",
        "`rpad(x, n)`, or declare the column as `text`",
    ),
    different(
        "padded-comparisons",
        "`char(n)` compared with a literal or a `varchar` that ends with spaces",
        "takes the spaces away on both sides",
        "takes them away from the `char(n)` only",
        "leave the spaces away: `x = 'a'`",
    ),
    different(
        "libc-letters",
        "`lower`, `upper`, `initcap`, `ILIKE` and the classes of patterns in a database whose collation is one of the C library, `C` too",
        "does as the library: `ß` stays in `upper`, a word of `initcap` ends at each sign, and under the type `C` only ASCII has letters",
        "does as ICU: `ß` becomes `SS`, and `it's` is one word",
        "a collation of ICU for the database; ASCII without such signs is the same",
    ),
    different(
        "libc-collations",
        "a database whose collation is one of the C library other than `C`",
        "sorts as the system does, which is not the same on all systems",
        "sorts by ICU's locale of the same name",
        "`COLLATE \"C\"`, or a collation of ICU",
    ),
    Difference {
        effect: Effect::Unsupported,
        ..different(
            "own-collations",
            "collations that the database defines, and those that are not deterministic",
            "sorts by them",
            "does not know them: 42704",
            "a collation of PostgreSQL's own, such as `\"de-x-icu\"`",
        )
    },
    different(
        "unicode-version",
        "letters that Unicode has had for a few years only",
        "knows those of its ICU or C library",
        "knows those of its own tables, which may be newer or older",
        "nothing is to be done; it is about case, order and classes of rare letters",
    ),
    Difference {
        effect: Effect::Unsupported,
        ..different(
            "large-texts",
            "texts of more than 16 MiB, series of more than 10 million values, and patterns that take more than 50 million steps",
            "makes them, up to 1 GB",
            "is an error: 54000 or 54001",
            "a simpler pattern, or shorter texts",
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
    Difference { key, theme: Theme::Text, construct, postgres, engine, mend, effect: Effect::Unsupported, seen_by }
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

/// `COLLATE` within what is compared or changed without regard to case.
fn is_collated(tokens: &Tokens, index: usize) -> bool {
    if tokens.word(index) != Some("collate") {
        return false;
    }
    let end = tokens.end_of_name(index + 1);
    // The operand of an operator, with parentheses or without.
    let mut behind = end;
    while tokens.symbol(behind) == Some(")") {
        behind += 1;
    }
    let mut before = index.saturating_sub(2);
    while before > 0 && tokens.symbol(before) == Some("(") {
        before -= 1;
    }
    let ignores_case = |place: usize| {
        tokens.word(place) == Some("ilike") || matches!(tokens.symbol(place), Some("~*" | "!~*" | "~~*" | "!~~*"))
    };
    let is_operand = ignores_case(behind) || tokens.reads(behind, "not ilike") || ignores_case(before);
    // The argument of a function.
    let function = tokens.open_before(index).and_then(|open| open.checked_sub(1));
    let is_argument = function.is_some_and(|function| {
        matches!(tokens.name(function), Some("lower" | "upper" | "initcap")) && tokens.call(function).is_some()
    });
    is_operand || is_argument
}

/// The flags of a function of regular expressions, or those that a pattern begins with.
fn has_basic_flag(tokens: &Tokens, index: usize) -> bool {
    let is_flag = |letter| matches!(letter, 'b' | 'e');
    if let Some(pattern) = tokens.literal(index) {
        let flags = pattern.strip_prefix("(?").and_then(|rest| rest.split_once(')')).map_or("", |(flags, _)| flags);
        return flags.chars().all(|letter| letter.is_ascii_lowercase()) && flags.contains(is_flag);
    }
    if !tokens.name(index).is_some_and(|name| name.starts_with("regexp_")) {
        return false;
    }
    let arguments = tokens.call(index).map(|open| tokens.arguments(open)).unwrap_or_default();
    let before_flags = if tokens.name(index) == Some("regexp_replace") { 3 } else { 2 };
    arguments.iter().skip(before_flags).filter(|argument| argument.len() == 1).any(|argument| {
        tokens
            .literal(argument.start)
            .is_some_and(|flags| flags.chars().all(|letter| letter.is_ascii_lowercase()) && flags.contains(is_flag))
    })
}

fn is_normal_form(tokens: &Tokens, index: usize) -> bool {
    if tokens.name(index) != Some("normalize") {
        return false;
    }
    let arguments = tokens.call(index).map(|open| tokens.arguments(open)).unwrap_or_default();
    let form = arguments.get(1).and_then(|form| tokens.word(form.start));
    matches!(form, Some("nfc" | "nfd" | "nfkc" | "nfkd"))
}

/// `trim(both from x, y)`
fn is_trim_of_list(tokens: &Tokens, index: usize) -> bool {
    let Some(open) = tokens.call(index).filter(|_| tokens.name(index) == Some("trim")) else { return false };
    let is_from = matches!(tokens.word(open + 1), Some("both" | "leading" | "trailing" | "from"));
    is_from && tokens.arguments(open).len() > 1
}

fn is_substring_similar(tokens: &Tokens, index: usize) -> bool {
    let Some(open) = tokens.call(index).filter(|_| tokens.name(index) == Some("substring")) else { return false };
    let close = tokens.close_of(open).unwrap_or(open);
    (open..close).any(|place| tokens.word(place) == Some("similar") && tokens.open_before(place) == Some(open))
}

/// `position` with a literal of `bytea`.
fn is_position_of_bytes(tokens: &Tokens, index: usize) -> bool {
    let Some(open) = tokens.call(index).filter(|_| tokens.name(index) == Some("position")) else { return false };
    let close = tokens.close_of(open).unwrap_or(open);
    let is_own = |place: usize| tokens.open_before(place) == Some(open);
    (open..close).any(|place| is_own(place) && tokens.typed_literal(place, &["bytea"]).is_some())
}
