//! The functions and operators on regular expressions.

use std::{ops::Range, rc::Rc};

use super::{
    array_text::written,
    like::similar_to_escape,
    regex::{Match, Regex, Subject},
    regex_lex::{ADVANCED, IGNORE_CASE, Options, QUOTE, with_option},
};
use crate::{
    error::{Error, Result},
    sql::function::{Call, Entry, Value, fault, rows},
};

/// How large a result may become.
const BYTES_MAX: usize = 16 << 20;

type Arguments<'a, 'v> = &'a [Value<'v>];

/// All of them.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("~ (text, text) -> bool", |call, a| is_match(call, a, ADVANCED).map(Value::Bool)),
    rows("!~ (text, text) -> bool", |call, a| is_match(call, a, ADVANCED).map(|found| Value::Bool(!found))),
    rows("~* (text, text) -> bool", |call, a| is_match(call, a, ADVANCED | IGNORE_CASE).map(Value::Bool)),
    rows("!~* (text, text) -> bool", |call, a| {
        is_match(call, a, ADVANCED | IGNORE_CASE).map(|found| Value::Bool(!found))
    }),
    rows("regexp_like(text, text) -> bool", |call, a| regexp_like(call, a, "")),
    rows("regexp_like(text, text, text) -> bool", |call, a| regexp_like(call, a, a[2].text()?)),
    rows("substring(text, text) -> text", |call, a| substring(call, a[0].text()?, a[1].text()?)),
    rows("substring(text, text, text) -> text", |call, a| {
        substring(call, a[0].text()?, &similar_to_escape(a[1].text()?, a[2].text()?)?)
    }),
    rows("regexp_match(text, text) -> text[]", |call, a| regexp_match(call, a, "")),
    rows("regexp_match(text, text, text) -> text[]", |call, a| regexp_match(call, a, a[2].text()?)),
    rows("pilaster_regexp_matches(text, text) -> text[]", |call, a| regexp_matches(call, a, "")),
    rows("pilaster_regexp_matches(text, text, text) -> text[]", |call, a| regexp_matches(call, a, a[2].text()?)),
    rows("regexp_split_to_array(text, text) -> text[]", |call, a| split(call, a, "", "regexp_split_to_array")),
    rows("regexp_split_to_array(text, text, text) -> text[]", |call, a| {
        split(call, a, a[2].text()?, "regexp_split_to_array")
    }),
    rows("pilaster_regexp_split_to_table(text, text) -> text[]", |call, a| split(call, a, "", "regexp_split_to_table")),
    rows("pilaster_regexp_split_to_table(text, text, text) -> text[]", |call, a| {
        split(call, a, a[2].text()?, "regexp_split_to_table")
    }),
    rows("regexp_count(text, text) -> int4", |call, a| regexp_count(call, a, 1, "")),
    rows("regexp_count(text, text, int4) -> int4", |call, a| regexp_count(call, a, a[2].int()?, "")),
    rows("regexp_count(text, text, int4, text) -> int4", |call, a| regexp_count(call, a, a[2].int()?, a[3].text()?)),
    rows("regexp_instr(text, text) -> int4", regexp_instr),
    rows("regexp_instr(text, text, int4) -> int4", regexp_instr),
    rows("regexp_instr(text, text, int4, int4) -> int4", regexp_instr),
    rows("regexp_instr(text, text, int4, int4, int4) -> int4", regexp_instr),
    rows("regexp_instr(text, text, int4, int4, int4, text) -> int4", regexp_instr),
    rows("regexp_instr(text, text, int4, int4, int4, text, int4) -> int4", regexp_instr),
    rows("regexp_substr(text, text) -> text", regexp_substr),
    rows("regexp_substr(text, text, int4) -> text", regexp_substr),
    rows("regexp_substr(text, text, int4, int4) -> text", regexp_substr),
    rows("regexp_substr(text, text, int4, int4, text) -> text", regexp_substr),
    rows("regexp_substr(text, text, int4, int4, text, int4) -> text", regexp_substr),
    rows("regexp_replace(text, text, text) -> text", |call, a| replace(call, a, "", 1, None)),
    rows("regexp_replace(text, text, text, text) -> text", replace_by_flags),
    rows("regexp_replace(text, text, text, int4) -> text", |call, a| replace(call, a, "", a[3].int()?, None)),
    rows("regexp_replace(text, text, text, int4, int4) -> text", |call, a| {
        replace(call, a, "", a[3].int()?, Some(a[4].int()?))
    }),
    rows("regexp_replace(text, text, text, int4, int4, text) -> text", |call, a| {
        replace(call, a, a[5].text()?, a[3].int()?, Some(a[4].int()?))
    }),
];

/// An expression with other options than its operator's.
struct WithOptions(Rc<Regex>);

fn compiled(call: &Call<'_>, pattern: &str, options: Options) -> Result<Rc<Regex>> {
    let make = |pattern: &str| Regex::new(pattern, options);
    if options == ADVANCED {
        return call.prepared(pattern, make);
    }
    let key = format!("{options} {pattern}");
    let with_options = call.prepared(&key, |_| Ok(WithOptions(Rc::new(make(pattern)?))))?;
    Ok(Rc::clone(&with_options.0))
}

/// The options that the letters of a flags argument say, and whether all matches are wanted.
fn flagged(flags: &str) -> Result<(Options, bool)> {
    let mut options = ADVANCED;
    let mut is_global = false;
    for letter in flags.chars() {
        match letter {
            'g' => is_global = true,
            // As a flag, and only there, it gives basic expressions.
            'e' => options &= !(ADVANCED | QUOTE),
            _ => options = with_option(options, letter).ok_or_else(|| no_option(letter))?,
        }
    }
    Ok((options, is_global))
}

fn no_option(letter: char) -> Error {
    fault("22023", format!("invalid regular expression option: \"{letter}\""))
}

/// The options of a function that does not take `g`.
fn not_global(flags: &str, function: &str) -> Result<Options> {
    match flagged(flags)? {
        (_, true) => Err(fault("22023", format!("{function}() does not support the \"global\" option"))),
        (options, false) => Ok(options),
    }
}

fn is_match(call: &Call<'_>, a: Arguments<'_, '_>, options: Options) -> Result<bool> {
    compiled(call, a[1].text()?, options)?.is_match(a[0].text()?)
}

fn regexp_like(call: &Call<'_>, a: Arguments<'_, '_>, flags: &str) -> Result<Value<'static>> {
    is_match(call, a, not_global(flags, "regexp_like")?).map(Value::Bool)
}

fn substring(call: &Call<'_>, text: &str, pattern: &str) -> Result<Value<'static>> {
    let regex = compiled(call, pattern, ADVANCED)?;
    let found = regex.find(&Subject::new(text), 0)?;
    Ok(found.map_or(Value::Null, |found| group(text, &found, usize::from(regex.group_count() > 0))))
}

/// What a group holds.
fn group(text: &str, found: &Match, number: usize) -> Value<'static> {
    let range = found.get(number).cloned().flatten();
    range.and_then(|range| text.get(range)).map_or(Value::Null, Value::owned)
}

/// What the groups of a match hold, or the match where there are none.
fn groups(text: &str, found: &Match) -> Vec<Value<'static>> {
    let first = usize::from(found.len() > 1);
    (first..found.len()).map(|number| group(text, found, number)).collect()
}

fn regexp_match(call: &Call<'_>, a: Arguments<'_, '_>, flags: &str) -> Result<Value<'static>> {
    let options = not_global(flags, "regexp_match").map_err(|error| match flagged(flags) {
        Ok(_) => error.with_hint("Use the regexp_matches function instead."),
        Err(error) => error,
    })?;
    let text = a[0].text()?;
    let found = compiled(call, a[1].text()?, options)?.find(&Subject::new(text), 0)?;
    Ok(found.map_or(Value::Null, |found| Value::List(groups(text, &found))))
}

/// All matches, or the first where `g` is not asked for: each the array of its groups, written as Postgres writes arrays, since
/// arrays do not nest.
fn regexp_matches(call: &Call<'_>, a: Arguments<'_, '_>, flags: &str) -> Result<Value<'static>> {
    let (options, is_global) = flagged(flags)?;
    let regex = compiled(call, a[1].text()?, options)?;
    let text = a[0].text()?;
    let mut rows = Vec::new();
    each_match(&regex, text, 0, |found| {
        rows.push(written(&groups(text, found), |group| Ok(group.text()?.to_owned()))?);
        Ok(is_global)
    })?;
    Ok(Value::List(rows))
}

/// Calls `take` with each match from a byte on, until it says no.
fn each_match(regex: &Regex, text: &str, mut from: usize, mut take: impl FnMut(&Match) -> Result<bool>) -> Result<()> {
    let subject = Subject::new(text);
    while let Some(found) = regex.find(&subject, from)? {
        let whole = whole(&found);
        if !take(&found)? {
            break;
        }
        from = if whole.is_empty() { behind(text, whole.end) } else { whole.end };
    }
    Ok(())
}

fn whole(found: &Match) -> Range<usize> {
    found.first().cloned().flatten().unwrap_or_default()
}

/// Where the character behind the one at `at` starts; past the text's end there is one more place.
fn behind(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.chars().next().map_or(1, char::len_utf8)
}

fn split(call: &Call<'_>, a: Arguments<'_, '_>, flags: &str, function: &str) -> Result<Value<'static>> {
    let regex = compiled(call, a[1].text()?, not_global(flags, function)?)?;
    let text = a[0].text()?;
    let mut parts = Vec::new();
    let (mut start, mut before) = (0, 0);
    each_match(&regex, text, 0, |found| {
        let found = whole(found);
        // Nothing at the ends and right behind a match does not split.
        if found.start < text.len() && found.end > before {
            parts.push(Value::owned(text.get(start..found.start).unwrap_or_default()));
            start = found.end;
        }
        before = found.end;
        Ok(true)
    })?;
    parts.push(Value::owned(text.get(start..).unwrap_or_default()));
    Ok(Value::List(parts))
}

fn parameter(name: &str, value: i64, least: i64) -> Result<i64> {
    if value < least {
        return Err(fault("22023", format!("invalid value for parameter \"{name}\": {value}")));
    }
    Ok(value)
}

/// The byte of a character by its number from 1; behind the text where it has not so many.
fn offset(text: &str, number: i64) -> usize {
    let index = usize::try_from(number - 1).unwrap_or_default();
    let mut offsets = text.char_indices().map(|(offset, _)| offset).chain([text.len()]);
    offsets.nth(index).unwrap_or(text.len() + 1)
}

fn regexp_count(call: &Call<'_>, a: Arguments<'_, '_>, start: i64, flags: &str) -> Result<Value<'static>> {
    let start = parameter("start", start, 1)?;
    let regex = compiled(call, a[1].text()?, not_global(flags, "regexp_count")?)?;
    let text = a[0].text()?;
    let mut count = 0;
    each_match(&regex, text, offset(text, start), |_| {
        count += 1;
        Ok(true)
    })?;
    Ok(Value::Int(count))
}

fn optional_int(a: Arguments<'_, '_>, index: usize, default: i64) -> Result<i64> {
    a.get(index).map_or(Ok(default), Value::int)
}

fn optional_text<'a>(a: Arguments<'a, '_>, index: usize) -> Result<&'a str> {
    a.get(index).map_or(Ok(""), Value::text)
}

/// The place of a match's group: of the `number`th match from a start on.
fn nth(
    call: &Call<'_>,
    a: Arguments<'_, '_>,
    (start, number, subexpression): (i64, i64, i64),
    options: Options,
) -> Result<Option<Range<usize>>> {
    let regex = compiled(call, a[1].text()?, options)?;
    let text = a[0].text()?;
    let wanted = usize::try_from(subexpression).unwrap_or(usize::MAX);
    let group = match regex.group_count() {
        // Without groups the match counts for the only one.
        0 if wanted == 1 => 0,
        count if wanted > count => return Ok(None),
        _ => wanted,
    };
    let mut left = number;
    let mut place = None;
    each_match(&regex, text, offset(text, start), |found| {
        left -= 1;
        if left == 0 {
            place = found.get(group).cloned().flatten();
        }
        Ok(left > 0)
    })?;
    Ok(place)
}

fn regexp_instr(call: &Call<'_>, a: Arguments<'_, '_>) -> Result<Value<'static>> {
    let start = parameter("start", optional_int(a, 2, 1)?, 1)?;
    let number = parameter("n", optional_int(a, 3, 1)?, 1)?;
    let end = optional_int(a, 4, 0)?;
    if end != 0 && end != 1 {
        return Err(fault("22023", format!("invalid value for parameter \"endoption\": {end}")));
    }
    let subexpression = parameter("subexpr", optional_int(a, 6, 0)?, 0)?;
    let options = not_global(optional_text(a, 5)?, "regexp_instr")?;
    let place = nth(call, a, (start, number, subexpression), options)?;
    let before = place.and_then(|place| a[0].text().ok()?.get(..if end == 1 { place.end } else { place.start }));
    let position = before.map_or(0, |before| before.chars().count() + 1);
    Ok(Value::Int(i64::try_from(position).unwrap_or(i64::MAX)))
}

fn regexp_substr(call: &Call<'_>, a: Arguments<'_, '_>) -> Result<Value<'static>> {
    let start = parameter("start", optional_int(a, 2, 1)?, 1)?;
    let number = parameter("n", optional_int(a, 3, 1)?, 1)?;
    let subexpression = parameter("subexpr", optional_int(a, 5, 0)?, 0)?;
    let options = not_global(optional_text(a, 4)?, "regexp_substr")?;
    let place = nth(call, a, (start, number, subexpression), options)?;
    Ok(place.and_then(|place| a[0].text().ok()?.get(place)).map_or(Value::Null, Value::owned))
}

fn replace_by_flags(call: &Call<'_>, a: Arguments<'_, '_>) -> Result<Value<'static>> {
    let flags = a[3].text()?;
    if let Some(digit) = flags.chars().next().filter(char::is_ascii_digit) {
        return Err(no_option(digit).with_hint(
            "If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly.",
        ));
    }
    replace(call, a, flags, 1, None)
}

/// Replaces the match of this number, all if it is 0, or what `g` says where there is no number.
fn replace(
    call: &Call<'_>,
    a: Arguments<'_, '_>,
    flags: &str,
    start: i64,
    number: Option<i64>,
) -> Result<Value<'static>> {
    let start = parameter("start", start, 1)?;
    let number = number.map(|number| parameter("n", number, 0)).transpose()?;
    let (options, is_global) = flagged(flags)?;
    let number = number.unwrap_or(i64::from(!is_global));
    let regex = compiled(call, a[1].text()?, options)?;
    let (text, replacement) = (a[0].text()?, a[2].text()?);
    let mut result = String::with_capacity(text.len());
    let (mut copied, mut count) = (0, 0);
    each_match(&regex, text, offset(text, start), |found| {
        count += 1;
        if number > 0 && count != number {
            return Ok(true);
        }
        let place = whole(found);
        result.push_str(text.get(copied..place.start).unwrap_or_default());
        copied = place.end;
        fill(replacement, text, found, &mut result);
        if result.len() > BYTES_MAX {
            return Err(fault("54000", "requested length too large"));
        }
        Ok(number == 0)
    })?;
    result.push_str(text.get(copied..).unwrap_or_default());
    Ok(Value::owned(result))
}

/// Adds a replacement, in which `\1` to `\9` are the groups and `\&` is the match.
fn fill(replacement: &str, text: &str, found: &Match, result: &mut String) {
    let mut rest = replacement;
    while let Some((before, behind)) = rest.split_once('\\') {
        result.push_str(before);
        let next = behind.chars().next();
        let number = match next {
            Some('&') => Some(0),
            Some(digit @ '1'..='9') => digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok()),
            _ => None,
        };
        if let Some(range) = number.and_then(|number| found.get(number).cloned().flatten()) {
            result.push_str(text.get(range).unwrap_or_default());
        }
        let is_known = number.is_some() || next == Some('\\');
        if number.is_none() {
            result.push('\\');
        }
        rest = behind.get(usize::from(is_known)..).unwrap_or_default();
    }
    result.push_str(rest);
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::{ENTRIES, Value};
    use crate::sql::function::{Body, Call};

    #[test]
    fn the_matches_of_postgres() {
        let check = |signature: &str, arguments: &[&str], expected: &str| {
            let entry = ENTRIES.iter().find(|entry| entry.signature.starts_with(signature)).unwrap();
            let Body::Rows(body) = entry.body else { panic!("{signature}") };
            let values: Vec<_> = arguments.iter().map(|text| Value::owned(*text)).collect();
            let found = match body(&Call::new(Tz::UTC, &[]), &values) {
                Ok(value) => format!("{value:?}"),
                Err(error) => format!("{} {error}", error.sqlstate().unwrap_or_default()),
            };
            assert!(found.contains(expected), "{signature} {arguments:?}: {found}");
        };
        check("substring(text, text)", &["foobar", "foo|foobar"], "\"foobar\"");
        check("substring(text, text)", &["banana", "(?:a.*?n).*"], "\"an\"");
        check("regexp_match(text, text)", &["banana", "(b.*?)(a.*)"], "[Text(\"b\"), Text(\"a\")]");
        check("regexp_match(text, text)", &["abcabcx", "(abc)*\\1(x)?"], "[Text(\"abc\"), Text(\"x\")]");
        check("~ (text", &["apple", "(.)\\1"], "true");
        check("~ (text", &["xay", "(?<=x)a(?=y)"], "true");
        check("~ (text", &["co-op", "\\yop\\M"], "true");
        check("regexp_replace(text, text, text, text)", &["banana", "a|an", "-", "g"], "b---");
        check("regexp_replace(text, text, text)", &["ab", "(.)(.)", "\\2\\1\\\\\\&\\x"], "\"ba\\\\ab\\\\x\"");
        check("regexp_split_to_array(text, text)", &["a1b", ""], "[Text(\"a\"), Text(\"1\"), Text(\"b\")]");
        check("~ (text", &["a", "a{2,1}"], "2201B invalid regular expression: invalid repetition count(s)");
        check("regexp_match(text, text, text)", &["a", "a", "g"], "22023 regexp_match() does not support");
    }
}
