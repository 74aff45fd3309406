//! A regular expression in the syntax of the `regex` crate, which is many times faster where it can do the work: it knows whether
//! there is a match and where the first one starts, but not always where Postgres says that it ends.

use std::fmt::Write as _;

use regex::Regex;

use super::{
    regex_lex::Assertion,
    regex_parse::{Atom, Branches, Item, Repeat},
    regex_set::Set,
};

/// Code points between these two are no characters.
const SURROGATES: (u32, u32) = (0xD800, 0xDFFF);

/// The same expression, if it has nothing that the crate has not.
pub(super) fn translate(branches: &Branches) -> Option<Regex> {
    let mut text = String::new();
    write_branches(branches, &mut text)?;
    Regex::new(&text).ok()
}

/// Whether there is but one way to match what starts at a place, but for the count of one quantifier: then the crate's match is
/// Postgres's, groups included.
pub(super) fn is_exact(branches: &Branches) -> bool {
    counted(branches).is_some_and(|variable| variable <= 1)
}

/// How many quantifiers want something; None where there is more to choose.
fn counted(branches: &Branches) -> Option<usize> {
    let [items] = branches.as_slice() else { return None };
    let mut count = 0;
    for item in items {
        let Item::Atom { atom, repeat } = item else { continue };
        count += match atom {
            Atom::Group { inside, .. } if repeat.is_once() => counted(inside)?,
            // What the repetitions capture is a matter of its own.
            Atom::Group { .. } => return None,
            _ => 0,
        };
        count += usize::from(repeat.most != Some(repeat.least) || repeat.is_greedy.is_some());
    }
    Some(count)
}

fn write_branches(branches: &Branches, text: &mut String) -> Option<()> {
    for (index, items) in branches.iter().enumerate() {
        if index > 0 {
            text.push('|');
        }
        for item in items {
            write_item(item, text)?;
        }
    }
    Some(())
}

fn write_item(item: &Item, text: &mut String) -> Option<()> {
    let (atom, repeat) = match item {
        Item::Assert(assertion) => {
            text.push_str(match assertion {
                Assertion::LineStart => "(?m:^)",
                Assertion::LineEnd => "(?m:$)",
                Assertion::TextStart => r"\A",
                Assertion::TextEnd => r"\z",
                _ => return None,
            });
            return Some(());
        }
        Item::Look(_) => return None,
        Item::Atom { atom, repeat } => (atom, *repeat),
    };
    match atom {
        Atom::Set(set) => write_set(set, text),
        Atom::BackReference(_) => return None,
        Atom::Group { capture, inside } => {
            text.push_str(if capture.is_some() { "(" } else { "(?:" });
            write_branches(inside, text)?;
            text.push(')');
        }
    }
    write_repeat(repeat, text);
    Some(())
}

fn write_repeat(repeat: Repeat, text: &mut String) {
    if repeat.is_once() {
        return;
    }
    let Repeat { least, most, is_greedy } = repeat;
    // Writing to a string cannot fail.
    let _ = match most {
        Some(most) => write!(text, "{{{least},{most}}}"),
        None => write!(text, "{{{least},}}"),
    };
    if is_greedy == Some(false) {
        text.push('?');
    }
}

fn write_set(set: &Set, text: &mut String) {
    if let [(low, high)] = set.ranges()
        && low == high
    {
        let _ = write!(text, r"\x{{{low:X}}}");
        return;
    }
    let mut parts = String::new();
    for (low, high) in set.ranges() {
        for (low, high) in [(*low, (*high).min(SURROGATES.0 - 1)), ((*low).max(SURROGATES.1 + 1), *high)] {
            if low <= high {
                let _ = write!(parts, r"\x{{{low:X}}}-\x{{{high:X}}}");
            }
        }
    }
    if parts.is_empty() {
        parts.push_str(r"^\x{0}-\x{10FFFF}");
    }
    let _ = write!(text, "[{parts}]");
}
