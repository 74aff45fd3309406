//! Sets of characters: what one place of a regular expression matches, with Postgres's classes and its idea of upper and lower
//! case, which maps single characters to single characters.

use std::sync::{Arc, LazyLock};

use regex_syntax::hir::{Class, Hir, HirKind};

/// The last code point.
const LAST: u32 = 0x10_FFFF;

/// Characters, as sorted ranges that do not touch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Set {
    ranges: Vec<(u32, u32)>,
    /// The same for the first 128, one bit each.
    ascii: u128,
}

impl Set {
    /// From ranges in any order.
    pub(super) fn new(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.retain(|(low, _)| *low <= LAST);
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high.min(LAST)),
                _ => merged.push((low, high.min(LAST))),
            }
        }
        let is_in = |code: &u32| merged.iter().any(|(low, high)| low <= code && code <= high);
        let ascii = (0..128).filter(is_in).fold(0, |bits, code| bits | 1 << code);
        Self { ranges: merged, ascii }
    }

    /// Every other character.
    pub(super) fn complement(&self) -> Self {
        let mut next = 0;
        let mut ranges = Vec::new();
        for (low, high) in &self.ranges {
            if next < *low {
                ranges.push((next, low - 1));
            }
            next = high + 1;
        }
        if next <= LAST {
            ranges.push((next, LAST));
        }
        Self::new(ranges)
    }

    /// Sorted, apart from each other.
    pub(super) fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// Whether the character is one of them.
    pub(super) fn contains(&self, character: char) -> bool {
        let code = u32::from(character);
        if code < 128 {
            return self.ascii >> code & 1 == 1;
        }
        let after = self.ranges.partition_point(|(low, _)| *low <= code);
        after > 0 && self.ranges.get(after - 1).is_some_and(|(_, high)| code <= *high)
    }
}

/// The classes by their names in brackets, under a collation of ICU: by Unicode's general categories.
const CLASSES: &[(&str, &str)] = &[
    ("alnum", r"[\p{L}\p{Nd}]"),
    ("alpha", r"\p{L}"),
    ("ascii", r"[\x{0}-\x{7F}]"),
    ("blank", r"[\x{9}\x{20}]"),
    ("cntrl", r"[\x{0}-\x{1F}\x{7F}-\x{9F}]"),
    ("digit", r"\p{Nd}"),
    ("graph", r"[^\p{Z}\p{Cc}\p{Cf}\p{Cn}]"),
    ("lower", r"\p{Ll}"),
    ("print", r"[^\p{Cc}\p{Cf}\p{Cn}\p{Co}]"),
    ("punct", r"\p{P}"),
    ("space", r"[\p{Z}\x{9}-\x{D}\x{1C}-\x{1F}\x{85}]"),
    ("upper", r"\p{Lu}"),
    ("word", r"[\p{L}\p{Nd}_]"),
    ("xdigit", "[0-9A-Fa-f]"),
];

/// A class by its name.
pub(super) fn class(name: &str) -> Option<Arc<Set>> {
    static SETS: LazyLock<Vec<Arc<Set>>> =
        LazyLock::new(|| CLASSES.iter().map(|(_, class)| Arc::new(category(class))).collect());
    let index = CLASSES.iter().position(|(known, _)| *known == name)?;
    SETS.get(index).map(Arc::clone)
}

/// What a class of the engine's syntax holds.
fn category(class: &str) -> Set {
    match regex_syntax::parse(class).map(Hir::into_kind) {
        Ok(HirKind::Class(Class::Unicode(class))) => {
            let ranges = class.iter().map(|range| (u32::from(range.start()), u32::from(range.end())));
            Set::new(ranges.collect())
        }
        _ => Set::default(),
    }
}

/// The lower case of a character that stays one character.
pub(super) fn lower(character: char) -> char {
    // The only letter whose lower case is two has what is wanted in front: I with a dot.
    character.to_lowercase().next().unwrap_or(character)
}

/// The upper case of a character that stays one character.
pub(super) fn upper(character: char) -> char {
    let mut mapped = character.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(upper), None) => upper,
        _ => iota_below(character),
    }
}

/// Greek letters with an iota below become several in upper case; their one-character counterpart is the title case.
fn iota_below(character: char) -> char {
    let code = u32::from(character);
    let mapped = match code {
        0x1F80..=0x1FAF if code & 8 == 0 => code + 8,
        0x1FB3 | 0x1FC3 | 0x1FF3 => code + 9,
        _ => code,
    };
    char::from_u32(mapped).unwrap_or(character)
}

/// The ranges, and the other case of each character in them.
pub(super) fn with_cases(low: u32, high: u32, into: &mut Vec<(u32, u32)>) {
    into.push((low, high));
    for character in (low..=high).filter_map(char::from_u32) {
        for other in [lower(character), upper(character)] {
            let code = u32::from(other);
            if code < low || high < code {
                into.push((code, code));
            }
        }
    }
}

#[rustfmt::skip]
const COLLATING: &[(&str, u32)] = &[
    ("NUL", 0), ("SOH", 1), ("STX", 2), ("ETX", 3), ("EOT", 4), ("ENQ", 5), ("ACK", 6), ("BEL", 7), ("alert", 7), ("BS", 8),
    ("backspace", 8), ("HT", 9), ("tab", 9), ("LF", 10), ("newline", 10), ("VT", 11), ("vertical-tab", 11), ("FF", 12),
    ("form-feed", 12), ("CR", 13), ("carriage-return", 13), ("SO", 14), ("SI", 15), ("DLE", 16), ("DC1", 17), ("DC2", 18),
    ("DC3", 19), ("DC4", 20), ("NAK", 21), ("SYN", 22), ("ETB", 23), ("CAN", 24), ("EM", 25), ("SUB", 26), ("ESC", 27),
    ("IS4", 28), ("FS", 28), ("IS3", 29), ("GS", 29), ("IS2", 30), ("RS", 30), ("IS1", 31), ("US", 31), ("space", 32),
    ("exclamation-mark", 33), ("quotation-mark", 34), ("number-sign", 35), ("dollar-sign", 36), ("percent-sign", 37),
    ("ampersand", 38), ("apostrophe", 39), ("left-parenthesis", 40), ("right-parenthesis", 41), ("asterisk", 42),
    ("plus-sign", 43), ("comma", 44), ("hyphen", 45), ("hyphen-minus", 45), ("period", 46), ("full-stop", 46),
    ("slash", 47), ("solidus", 47), ("zero", 48), ("one", 49), ("two", 50), ("three", 51), ("four", 52), ("five", 53),
    ("six", 54), ("seven", 55), ("eight", 56), ("nine", 57), ("colon", 58), ("semicolon", 59), ("less-than-sign", 60),
    ("equals-sign", 61), ("greater-than-sign", 62), ("question-mark", 63), ("commercial-at", 64),
    ("left-square-bracket", 91), ("backslash", 92), ("reverse-solidus", 92), ("right-square-bracket", 93),
    ("circumflex", 94), ("circumflex-accent", 94), ("underscore", 95), ("low-line", 95), ("grave-accent", 96),
    ("left-brace", 123), ("left-curly-bracket", 123), ("vertical-line", 124), ("right-brace", 125),
    ("right-curly-bracket", 125), ("tilde", 126), ("DEL", 127),
];

/// The character that `[.name.]` means: itself, or by its POSIX name.
pub(super) fn collating_element(name: &str) -> Option<u32> {
    let mut characters = name.chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) => Some(u32::from(only)),
        _ => COLLATING.iter().find(|(known, _)| *known == name).map(|(_, code)| *code),
    }
}

#[cfg(test)]
mod tests {
    use super::{Set, class, collating_element, lower, upper};

    #[test]
    fn sets() {
        let check = |set: &Set, has: &str, lacks: &str| {
            assert!(has.chars().all(|c| set.contains(c)), "{has}");
            assert!(!lacks.chars().any(|c| set.contains(c)), "{lacks}");
        };
        let some = Set::new(vec![(97, 99), (98, 101), (102, 102), (0xE9, 0xE9)]);
        check(&some, "abcdefé", "gAèÿ");
        check(&some.complement(), "gAèÿ😀", "abcdefé");
        check(&class("punct").unwrap(), "-,!_«", "a$+ ");
        check(&class("space").unwrap(), " \t\n\u{a0}\u{2003}", "a\u{200b}");
        assert!(class("nope").is_none());
        assert!(super::CLASSES.iter().all(|(name, _)| *class(name).unwrap() != Set::default()));
        assert_eq!(
            (collating_element("hyphen"), collating_element("é"), collating_element("xx")),
            (Some(45), Some(0xE9), None)
        );
        assert_eq!((lower('İ'), upper('ß'), upper('ᾳ'), upper('é')), ('i', 'ß', 'ᾼ', 'É'));
    }
}
