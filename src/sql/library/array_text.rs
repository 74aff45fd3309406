//! Arrays as text: `{1,NULL,"a b"}`, read and written by Postgres's grammar.

use std::{iter::Peekable, str::Chars};

use crate::{
    error::{Error, Result},
    sql::function::{Value, fault},
};

use super::arrays::{DIMENSIONS_MAX, too_many_dimensions, unsupported};

/// An array as Postgres writes it; `spell` writes an element.
pub(super) fn written(array: &[Value<'_>], spell: impl Fn(&Value<'_>) -> Result<String>) -> Result<Value<'static>> {
    let mut text = String::from("{");
    for (index, element) in array.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match element {
            Value::Null => text.push_str("NULL"),
            element => push_element(&mut text, &spell(element)?),
        }
    }
    text.push('}');
    Ok(Value::owned(text))
}

fn push_element(text: &mut String, element: &str) {
    let is_special = |letter: char| matches!(letter, '"' | '\\' | '{' | '}' | ',') || is_space(letter);
    if !element.is_empty() && !element.eq_ignore_ascii_case("NULL") && !element.contains(is_special) {
        text.push_str(element);
        return;
    }
    text.push('"');
    for letter in element.chars() {
        if matches!(letter, '"' | '\\') {
            text.push('\\');
        }
        text.push(letter);
    }
    text.push('"');
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t'..='\r')
}

/// The elements of an array's text; `parse` reads one.
pub(super) fn parsed(text: &str, parse: impl Fn(&str) -> Result<Value<'static>>) -> Result<Value<'static>> {
    let malformed = |detail: String| malformed(text, detail);
    let mut letters = text.chars().peekable();
    let said = dimensions(&mut letters, malformed)?;
    let is_open = letters.peek() == Some(&'{');
    if !is_open && said.is_empty() {
        return Err(malformed("Array value must start with \"{\" or dimension information.".to_owned()));
    }
    if !is_open {
        return Err(malformed("Array contents must start with \"{\".".to_owned()));
    }
    let braces: String = letters.collect();
    let reader = Reader::default().read_all(&braces)?;
    let found = reader.dimensions();
    let sizes = said.iter().map(|(_, size)| *size);
    if !said.is_empty() && !sizes.eq(found.iter().copied()) {
        return Err(malformed("Specified array dimensions do not match array contents.".to_owned()));
    }
    if found.len() > 1 {
        return Err(unsupported("arrays of several dimensions"));
    }
    if let Some((lower, _)) = said.iter().find(|(lower, size)| lower + size > i64::from(i32::MAX)) {
        return Err(fault("54000", format!("array lower bound is too large: {lower}")));
    }
    if said.first().is_some_and(|(lower, _)| *lower != 1) {
        return Err(unsupported("arrays that do not start at 1"));
    }
    let element = |element: &Option<String>| element.as_deref().map_or(Ok(Value::Null), &parse);
    Ok(Value::List(reader.elements.iter().map(element).collect::<Result<_>>()?))
}

fn malformed(text: &str, detail: String) -> Error {
    fault("22P02", format!("malformed array literal: \"{text}\"")).with_detail(detail)
}

/// `[1:3]=` before the braces: lower bounds and sizes.
fn dimensions(letters: &mut Peekable<Chars<'_>>, malformed: impl Fn(String) -> Error) -> Result<Vec<(i64, i64)>> {
    let mut said = Vec::new();
    loop {
        while letters.next_if(|letter| is_space(*letter)).is_some() {}
        if letters.next_if_eq(&'[').is_none() {
            break;
        }
        if said.len() == DIMENSIONS_MAX {
            return Err(too_many_dimensions(DIMENSIONS_MAX + 1));
        }
        let Some(mut upper) = bound(letters) else {
            return Err(malformed("\"[\" must introduce explicitly-specified array dimensions.".to_owned()));
        };
        let mut lower = 1;
        if letters.next_if_eq(&':').is_some() {
            lower = upper;
            upper = bound(letters).ok_or_else(|| malformed("Missing array dimension value.".to_owned()))?;
        }
        if letters.next_if_eq(&']').is_none() {
            return Err(malformed("Missing \"]\" after array dimensions.".to_owned()));
        }
        if upper < lower {
            return Err(fault("2202E", "upper bound cannot be less than lower bound"));
        }
        said.push((lower, upper - lower + 1));
    }
    if !said.is_empty() {
        if letters.next_if_eq(&'=').is_none() {
            return Err(malformed("Missing \"=\" after array dimensions.".to_owned()));
        }
        while letters.next_if(|letter| is_space(*letter)).is_some() {}
    }
    Ok(said)
}

/// A number as C's `atoi` reads it from these letters: what comes after a second sign does not count.
fn bound(letters: &mut Peekable<Chars<'_>>) -> Option<i64> {
    let mut text = String::new();
    while let Some(letter) = letters.next_if(|letter| letter.is_ascii_digit() || matches!(letter, '-' | '+')) {
        text.push(letter);
    }
    let end = text.char_indices().skip(1).find(|(_, letter)| !letter.is_ascii_digit()).map(|(index, _)| index);
    let number = text.get(..end.unwrap_or(text.len()))?;
    (!text.is_empty()).then(|| number.parse().unwrap_or(0).clamp(i64::from(i32::MIN), i64::from(i32::MAX)))
}

/// Where in the braces a reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Outside,
    LevelStarted,
    ElementStarted,
    Quoted,
    QuotedCompleted,
    ElementDelimited,
    LevelCompleted,
    LevelDelimited,
    Closed,
}

/// What a letter does that does not belong where it is.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Unexpected(char),
    Element,
    End,
    Ragged,
    Dimensions(usize),
}

impl Fault {
    fn into_error(self, text: &str) -> Error {
        let detail = match self {
            Self::Unexpected(letter) => format!("Unexpected \"{letter}\" character."),
            Self::Element => "Unexpected array element.".to_owned(),
            Self::End => "Unexpected end of input.".to_owned(),
            Self::Ragged => "Multidimensional arrays must have sub-arrays with matching dimensions.".to_owned(),
            Self::Dimensions(number) => return too_many_dimensions(number),
        };
        malformed(text, detail)
    }
}

/// Reads what is in the braces, as `ArrayCount` does.
#[derive(Debug, Default)]
struct Reader {
    state: State,
    elements: Vec<Option<String>>,
    element: String,
    /// How much of the element is not white space at its end.
    kept: usize,
    /// Whether it has quotes or escapes, so that it is not NULL.
    is_said: bool,
    /// Elements of the open braces, outermost first.
    open: Vec<i64>,
    /// Elements that braces at this depth have, once one of them has been closed.
    sizes: [Option<i64>; DIMENSIONS_MAX],
    depth: usize,
}

impl Reader {
    /// The sizes of the dimensions, outermost first; none where there are no elements.
    fn dimensions(&self) -> Vec<i64> {
        let count = if self.elements.is_empty() { 0 } else { self.depth };
        self.sizes.iter().take(count).map(|size| size.unwrap_or_default()).collect()
    }

    /// Faults are told of the braces, without what stands before them.
    fn read_all(mut self, text: &str) -> Result<Self> {
        let mut letters = text.chars().peekable();
        while self.state != State::Closed {
            let letter = letters.next();
            self.read(letter, &mut letters).map_err(|fault| fault.into_error(text))?;
        }
        if letters.any(|letter| !is_space(letter)) {
            return Err(malformed(text, "Junk after closing right brace.".to_owned()));
        }
        Ok(self)
    }

    fn read(&mut self, letter: Option<char>, rest: &mut Peekable<Chars<'_>>) -> Result<(), Fault> {
        match (letter.ok_or(Fault::End)?, self.state) {
            ('\\', _) => self.escape(rest.next()),
            ('"', State::Quoted) => {
                self.state = State::QuotedCompleted;
                Ok(())
            }
            (letter, State::Quoted) => {
                self.push(letter);
                Ok(())
            }
            ('"', State::LevelStarted | State::ElementDelimited) => {
                self.state = State::Quoted;
                self.is_said = true;
                Ok(())
            }
            ('"', _) => Err(Fault::Element),
            ('{', _) => self.open(),
            ('}', _) => self.close(),
            (',', _) => self.delimit(),
            (letter, state) if is_space(letter) => {
                if state == State::ElementStarted {
                    self.element.push(letter);
                }
                Ok(())
            }
            (letter, State::LevelStarted | State::ElementStarted | State::ElementDelimited) => {
                self.state = State::ElementStarted;
                self.push(letter);
                Ok(())
            }
            _ => Err(Fault::Element),
        }
    }

    fn push(&mut self, letter: char) {
        self.element.push(letter);
        self.kept = self.element.len();
    }

    fn escape(&mut self, escaped: Option<char>) -> Result<(), Fault> {
        match self.state {
            State::Quoted => {}
            State::LevelStarted | State::ElementStarted | State::ElementDelimited => self.state = State::ElementStarted,
            _ => return Err(Fault::Unexpected('\\')),
        }
        self.is_said = true;
        self.push(escaped.ok_or(Fault::End)?);
        Ok(())
    }

    fn open(&mut self) -> Result<(), Fault> {
        if !matches!(self.state, State::Outside | State::LevelStarted | State::LevelDelimited) {
            return Err(Fault::Unexpected('{'));
        }
        if self.open.len() == DIMENSIONS_MAX {
            return Err(Fault::Dimensions(DIMENSIONS_MAX + 1));
        }
        self.state = State::LevelStarted;
        self.open.push(0);
        self.depth = self.depth.max(self.open.len());
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        match self.state {
            State::ElementStarted | State::QuotedCompleted => self.complete(),
            State::LevelCompleted => {}
            State::LevelStarted if self.open.len() == 1 => {}
            _ => return Err(Fault::Unexpected('}')),
        }
        let size = self.open.pop().unwrap_or_default();
        let known = &mut self.sizes[self.open.len()];
        if known.is_some_and(|known| known != size) {
            return Err(Fault::Ragged);
        }
        *known = Some(size);
        self.state = State::LevelCompleted;
        match self.open.last_mut() {
            Some(outer) => *outer += 1,
            None => self.state = State::Closed,
        }
        Ok(())
    }

    fn delimit(&mut self) -> Result<(), Fault> {
        self.state = match self.state {
            State::ElementStarted | State::QuotedCompleted => {
                self.complete();
                State::ElementDelimited
            }
            State::LevelCompleted => State::LevelDelimited,
            _ => return Err(Fault::Unexpected(',')),
        };
        Ok(())
    }

    fn complete(&mut self) {
        let mut element = std::mem::take(&mut self.element);
        element.truncate(self.kept);
        let is_null = !self.is_said && element.eq_ignore_ascii_case("NULL");
        self.elements.push((!is_null).then_some(element));
        (self.kept, self.is_said) = (0, false);
        if let Some(innermost) = self.open.last_mut() {
            *innermost += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let read = parsed(text, |element| Ok(Value::owned(element)));
        match read.and_then(|array| written(array.list()?, |element| Ok(element.text()?.to_owned()))) {
            Ok(text) => text.text().unwrap().to_owned(),
            Err(error) => format!("{} {}", error.sqlstate().unwrap(), error.detail().unwrap_or(error.message())),
        }
    }

    #[test]
    fn literals_are_read_and_written() {
        let check = |text: &str, expect: &str| assert_eq!(read(text), expect, "{text}");
        check("{ a b , \" c \", \"NULL\", NULL, d\\,e, \"f\\\"g\"}", r#"{"a b"," c ","NULL",NULL,"d,e","f\"g"}"#);
        check(" [1:2] = {1, 2}", "{1,2}");
        check("[1:2]{1,2}", "22P02 Missing \"=\" after array dimensions.");
        check(" [1:2] ={1, 2} ", "{1,2}");
        check("[2:3]={1,2}", "0A000 arrays that do not start at 1 are not supported");
        check("[1:3]={1,2}", "22P02 Specified array dimensions do not match array contents.");
        check("{{1,2},{3,4}}", "0A000 arrays of several dimensions are not supported");
        check("{{1,2},{3}}", "22P02 Multidimensional arrays must have sub-arrays with matching dimensions.");
        check("{1,}", "22P02 Unexpected \"}\" character.");
        check("{1", "22P02 Unexpected end of input.");
        check("{} x", "22P02 Junk after closing right brace.");
        check("{\"a\"b}", "22P02 Unexpected array element.");
        check("{ }", "{}");
        check("{\\ }", "{\" \"}");
    }
}
