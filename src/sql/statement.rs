//! One read-only statement, parsed, with its named parameters.

use std::sync::Arc;

use datafusion::sql::sqlparser::{
    ast::Statement,
    dialect::PostgreSqlDialect,
    parser::{Parser, ParserError},
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError},
};

use super::{differences::hint_for_statement, forms, shape, tokens::spelled_out};
use crate::error::{Code, Error, Result};

/// How deep expressions and queries may nest before the parser refuses.
const NESTING_MAX: usize = 100;
/// A statement of fewer tokens is never deep enough to need a stack of its own.
const SHORT_TOKENS: usize = 500;
/// What walking one level of a parsed statement takes, at most. Virtual, not resident.
const STACK_BYTES_PER_TOKEN: usize = 16 << 10;

/// Bounds on a statement, checked before it is parsed.
#[derive(Clone, Copy, Debug)]
pub struct StatementLimits {
    /// Of its text.
    pub bytes_max: usize,
    /// Of its tokens, not counting white space and comments.
    pub tokens_max: usize,
}

/// A single `SELECT` (or `WITH`, `VALUES`, `TABLE`) as text and as parsed. Whatever writes or sets does not become one.
#[derive(Clone, Debug)]
pub struct ReadOnlySql {
    text: String,
    /// Shared: a copy of a deep tree takes more stack than a thread that serves sockets has.
    statement: Arc<Statement>,
    names: Vec<String>,
    placeholders: Vec<Placeholder>,
}

/// One place in the text where a parameter stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// The parameter's name, without the `$`.
    pub name: String,
    /// Byte offsets in the text, from the `$` to behind the name.
    pub range: std::ops::Range<usize>,
}

impl ReadOnlySql {
    /// Parses `text` in Postgres's dialect.
    pub fn parse(text: &str, limits: StatementLimits) -> Result<Self> {
        if text.len() > limits.bytes_max {
            return Err(too_large(format!("the statement has {} bytes, {} are allowed", text.len(), limits.bytes_max)));
        }
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
            .tokenize_with_location()
            .map_err(|error| from_tokenizer(text, error))?;
        let count = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).count();
        if count > limits.tokens_max {
            return Err(too_large(format!("the statement has {count} tokens, {} are allowed", limits.tokens_max)));
        }
        let placeholders = placeholders(text, &tokens)?;
        let mut names: Vec<String> = Vec::new();
        for placeholder in &placeholders {
            if !names.contains(&placeholder.name) {
                names.push(placeholder.name.clone());
            }
        }

        let parse = || parse_one(text, tokens, &names);
        // Whoever sends a statement of thousands of terms must not end the process: it is walked, and where it is refused
        // dropped, on a stack that is deep enough.
        let statement = match count {
            0..=SHORT_TOKENS => parse(),
            count => stacker::grow(count * STACK_BYTES_PER_TOKEN, parse),
        }?;
        Ok(Self { text: text.to_owned(), statement: Arc::new(statement), names, placeholders })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Parsed, each parameter as `$1`, `$2`, … in the order of [`Self::names`].
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// What `look` makes of the statement as it was written, before names, special forms and windows were settled. Parsed anew, on a stack that is
    /// deep enough for whatever was parsed once.
    pub(super) fn as_written<T>(&self, look: impl FnOnce(&Statement) -> T) -> Option<T> {
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, &self.text).tokenize_with_location().ok()?;
        let depth = tokens.len().max(SHORT_TOKENS) * STACK_BYTES_PER_TOKEN;
        stacker::grow(depth, || {
            let parser = Parser::new(&PostgreSqlDialect {}).with_recursion_limit(NESTING_MAX);
            let statement = parser.with_tokens_with_locations(spelled_out(tokens)).parse_statements().ok()?.pop()?;
            Some(look(&statement))
        })
    }

    /// The distinct parameters, in the order of their first use.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Every use of a parameter, in the order of the text.
    #[must_use]
    pub fn placeholders(&self) -> &[Placeholder] {
        &self.placeholders
    }

    /// The text with each parameter replaced by what `replace` makes of its name and its number from 1; all else is untouched.
    pub fn render(&self, mut replace: impl FnMut(&str, usize) -> String) -> String {
        let mut rendered = String::with_capacity(self.text.len());
        let mut from = 0;
        for placeholder in &self.placeholders {
            let number = self.names.iter().position(|name| *name == placeholder.name).map_or(0, |index| index + 1);
            rendered.push_str(&self.text[from..placeholder.range.start]);
            rendered.push_str(&replace(&placeholder.name, number));
            from = placeholder.range.end;
        }
        rendered.push_str(&self.text[from..]);
        rendered
    }
}

/// `text` as a string literal that Postgres reads whatever `standard_conforming_strings` says.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

fn placeholders(text: &str, tokens: &[TokenWithSpan]) -> Result<Vec<Placeholder>> {
    let mut found = Vec::new();
    // Tokens come in order, so that one walk over the text finds all of them.
    let mut letters = text.char_indices();
    let mut here = Location::new(1, 1);
    for token in tokens {
        let Token::Placeholder(written) = &token.token else { continue };
        let start = loop {
            let offset = letters.offset();
            if (here.line, here.column) >= (token.span.start.line, token.span.start.column) {
                break offset;
            }
            match letters.next() {
                Some((_, '\n')) => here = Location::new(here.line + 1, 1),
                Some(_) => here.column += 1,
                None => break offset,
            }
        };
        let name = written.trim_start_matches(['$', ':', '?', '@']);
        if !written.starts_with('$') || name.is_empty() {
            return Err(Error::new(Code::InvalidSql, format!("{written:?} is not a parameter"))
                .with_position(position_of(text, start))
                .with_hint("write parameters as $name"));
        }
        found.push(Placeholder { name: name.to_owned(), range: start..start + written.len() });
    }
    Ok(found)
}

fn parse_one(text: &str, tokens: Vec<TokenWithSpan>, names: &[String]) -> Result<Statement> {
    let mut statements = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(NESTING_MAX)
        .with_tokens_with_locations(spelled_out(tokens))
        .parse_statements()
        .map_err(|error| from_parser(text, &error))?;
    let hint = "send one SELECT; the engine answers from a snapshot and changes nothing";
    let mut statement = match (statements.pop(), statements.is_empty()) {
        (None, _) => return Err(Error::new(Code::InvalidSql, "the statement is empty").with_hint(hint)),
        (Some(_), false) => {
            return Err(Error::new(Code::InvalidSql, "there is more than one statement").with_hint(hint));
        }
        (Some(statement), true) => statement,
    };
    if !matches!(statement, Statement::Query(_)) {
        let verb: String = text.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
        return Err(Error::new(Code::UnsupportedSql, format!("{} is not allowed here", verb.to_uppercase()))
            .with_sqlstate("0A000")
            .with_hint(hint));
    }
    forms::refuse_chains(&statement)?;
    shape::settle(&mut statement, names)?;
    Ok(statement)
}

fn too_large(message: String) -> Error {
    Error::new(Code::StatementTooLarge, message).with_hint(
        "long lists belong in a parameter, as in WHERE id = ANY($ids); the limits are engine.statement_*_max",
    )
}

fn from_tokenizer(text: &str, error: TokenizerError) -> Error {
    let start = offset_of(text, &line_starts(text), error.location);
    Error::new(Code::InvalidSql, lower_first(&error.message))
        .with_sqlstate("42601")
        .with_position(position_of(text, start))
}

fn from_parser(text: &str, error: &ParserError) -> Error {
    match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            let (message, location) = split_location(message);
            let error = Error::new(Code::InvalidSql, lower_first(message)).with_sqlstate("42601");
            let error = match location {
                Some(location) => error.with_position(position_of(text, offset_of(text, &line_starts(text), location))),
                None => error,
            };
            match hint_for_statement(text, error.position()) {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        }
        ParserError::RecursionLimitExceeded => {
            Error::new(Code::StatementTooLarge, format!("the statement nests more than {NESTING_MAX} levels deep"))
                .with_sqlstate("54001")
        }
    }
}

/// The parser appends ` at Line: 1, Column: 8` to its messages.
fn split_location(message: &str) -> (&str, Option<Location>) {
    let split = || {
        let (head, tail) = message.rsplit_once(" at Line: ")?;
        let (line, column) = tail.split_once(", Column: ")?;
        Some((head, Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?)))
    };
    split().map_or((message, None), |(head, location)| (head, Some(location)))
}

fn lower_first(message: &str) -> String {
    let mut letters = message.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect()
}

/// The tokenizer counts lines and columns from 1, columns in characters.
fn offset_of(text: &str, lines: &[usize], location: Location) -> usize {
    let line = usize::try_from(location.line).unwrap_or(0).saturating_sub(1);
    let column = usize::try_from(location.column).unwrap_or(0).saturating_sub(1);
    let Some(&start) = lines.get(line) else { return text.len() };
    text[start..].char_indices().nth(column).map_or(text.len(), |(index, _)| start + index)
}

/// Postgres counts characters from 1.
fn position_of(text: &str, offset: usize) -> usize {
    text[..offset].chars().count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StatementLimits = StatementLimits { bytes_max: 10_000, tokens_max: 1_000 };

    #[test]
    fn parameters_are_found_in_place() {
        let check = |text: &str, names: &[&str], rendered: &str| {
            let sql = ReadOnlySql::parse(text, LIMITS).unwrap();
            assert_eq!(sql.names(), names, "{text}");
            assert_eq!(sql.render(|_, number| format!("<{number}>")), rendered);
        };
        check("SELECT 1", &[], "SELECT 1");
        check("SELECT $a, $b, $a", &["a", "b"], "SELECT <1>, <2>, <1>");
        check("SELECT '$a', \"$a\", $b -- $c\n, $d", &["b", "d"], "SELECT '$a', \"$a\", <1> -- $c\n, <2>");
        check("SELECT 'é',\n  'ü' || $größe", &["größe"], "SELECT 'é',\n  'ü' || <1>");
        check("SELECT $from::date", &["from"], "SELECT <1>::date");
    }

    #[test]
    fn only_one_select_is_a_statement() {
        let check = |text: &str, code: Code, part: &str| {
            let error = ReadOnlySql::parse(text, LIMITS).unwrap_err();
            assert_eq!(error.code(), code, "{text}: {error}");
            assert!(error.message().contains(part), "{text}: {error}");
        };
        check("", Code::InvalidSql, "empty");
        check("SELECT 1; SELECT 2", Code::InvalidSql, "more than one");
        check("SELEC 1", Code::InvalidSql, "SELEC");
        check("SELECT 1 FROM t FOR UPDATE", Code::UnsupportedSql, "FOR UPDATE");
        check("SELECT 1 FROM (SELECT 1 FROM t FOR SHARE) u", Code::UnsupportedSql, "FOR SHARE");
        check("SELECT 'open", Code::InvalidSql, "unterminated");
        check(&"x".repeat(10_001), Code::StatementTooLarge, "bytes");
        check(&format!("SELECT 1{}", "+1".repeat(600)), Code::StatementTooLarge, "tokens");
        check(&format!("SELECT {}1{}", "(".repeat(300), ")".repeat(300)), Code::StatementTooLarge, "nests");
        for verb in [
            "DELETE FROM t",
            "SET x = 1",
            "COPY t TO 'f'",
            "CREATE TABLE t (a int)",
            "EXPLAIN SELECT 1",
            "DROP TABLE t",
        ] {
            check(verb, Code::UnsupportedSql, "is not allowed here");
        }
    }

    /// On the stack of a thread that serves sockets, which is what a test's is.
    #[test]
    fn long_chains_are_made_shallow_or_refused() {
        const WIDE: StatementLimits = StatementLimits { bytes_max: 10_000_000, tokens_max: 1_000_000 };
        let check = |text: String, expect: Option<&str>| {
            let what = text[..text.len().min(60)].to_owned();
            match (ReadOnlySql::parse(&text, WIDE), expect) {
                (Ok(sql), None) => drop(sql),
                (Err(error), Some(part)) => {
                    assert_eq!(error.code(), Code::StatementTooLarge, "{what}: {error}");
                    assert!(error.message().contains(part), "{what}: {error}");
                }
                (Ok(_), Some(_)) => panic!("{what}: taken"),
                (Err(error), None) => panic!("{what}: {error}"),
            }
        };
        for operator in ["OR", "AND"] {
            check(format!("SELECT 1 WHERE x = 1{}", format!(" {operator} x = $y").repeat(100_000)), None);
        }
        check(format!("SELECT 1{}", "+1".repeat(900)), None);
        for term in ["+1", "||'a'", "::int4", " IS NULL", "->'a'", " AT TIME ZONE 'UTC'"] {
            check(format!("SELECT 1{}", term.repeat(100_000)), Some("an expression nests"));
        }
        check(format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(900)), None);
        check(format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(100_000)), Some("UNION"));
        check(format!("SELECT 1 WHERE x IN (0{})", ", 1".repeat(100_000)), None);
    }

    #[test]
    fn errors_say_where() {
        let check = |text: &str, position: usize| {
            assert_eq!(ReadOnlySql::parse(text, LIMITS).unwrap_err().position(), Some(position), "{text}");
        };
        check("SELECT * FRO t x", 14);
        check("SELECT 'é' FROM t\nWHERE ?", 25);
    }

    #[test]
    fn literals_survive_quotes_and_backslashes() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal(r"a\'b"), r"E'a\\''b'");
    }
}
