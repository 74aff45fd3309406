//! How a statement shows a difference: by its tokens, so that what does not parse shows it, too, and each place is exact.

use std::ops::Range;

use datafusion::sql::sqlparser::{
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

/// `timestamp ( 3 ) with time zone`, the longest.
const WORDS_OF_TYPE: usize = 7;

/// What a statement has in it.
#[derive(Clone, Copy, Debug)]
pub(in crate::sql) enum Sign {
    /// A call of one of these functions.
    Call(&'static [&'static str]),
    /// A cast to one of these types, or a literal of it. Each spelling, without modifiers.
    Type(&'static [&'static str]),
    /// One of these operators.
    Operator(&'static [&'static str]),
    /// Words of the grammar and symbols, one after the other.
    Words(&'static [&'static str]),
    /// What takes more than a list to say, of the token at a place.
    At(fn(&Tokens, usize) -> bool),
}

impl Sign {
    /// Whether it begins at the token `index`.
    pub(super) fn is_at(&self, tokens: &Tokens, index: usize) -> bool {
        match self {
            Self::Call(names) => {
                tokens.name(index).is_some_and(|name| names.contains(&name)) && tokens.call(index).is_some()
            }
            Self::Type(spellings) => spellings.iter().any(|spelling| tokens.is_type(index, spelling)),
            Self::Operator(symbols) => tokens.symbol(index).is_some_and(|symbol| symbols.contains(&symbol)),
            Self::Words(phrases) => phrases.iter().any(|phrase| tokens.reads(index, phrase)),
            Self::At(is_so) => is_so(tokens, index),
        }
    }

    pub(super) fn functions(&self) -> &'static [&'static str] {
        match self {
            Self::Call(names) => names,
            Self::Type(_) | Self::Operator(_) | Self::Words(_) | Self::At(_) => &[],
        }
    }
}

/// The tokens of a statement without white space and comments.
pub(in crate::sql) struct Tokens {
    pieces: Vec<Piece>,
    /// How many characters stand before each line.
    before_line: Vec<usize>,
}

struct Piece {
    token: TokenWithSpan,
    /// A word as Postgres folds it, anything else as it is spelled.
    spelling: String,
}

impl Tokens {
    /// None for a text that has no tokens, such as one with an open quote.
    pub(super) fn of(text: &str) -> Option<Self> {
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().ok()?;
        let pieces = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).map(|token| {
            let spelling = match &token.token {
                Token::Word(word) if word.quote_style.is_some() => word.value.clone(),
                Token::Word(word) => word.value.to_lowercase(),
                other => other.to_string(),
            };
            Piece { token, spelling }
        });
        let before_line = text.split_inclusive('\n').scan(0, |before, line| {
            let here = *before;
            *before += line.chars().count();
            Some(here)
        });
        Some(Self { pieces: pieces.collect(), before_line: before_line.collect() })
    }

    pub(super) fn count(&self) -> usize {
        self.pieces.len()
    }

    /// Where a token begins, in characters from 1.
    pub(super) fn position(&self, index: usize) -> usize {
        let start = self.pieces[index].token.span.start;
        let line = usize::try_from(start.line).unwrap_or(0).saturating_sub(1);
        let column = usize::try_from(start.column).unwrap_or(1);
        self.before_line.get(line).copied().unwrap_or(0) + column
    }

    /// A word, quoted or not, as Postgres folds it.
    pub(super) fn name(&self, index: usize) -> Option<&str> {
        let piece = self.pieces.get(index)?;
        matches!(piece.token.token, Token::Word(_)).then_some(&piece.spelling)
    }

    /// A word that is not quoted, in small letters.
    pub(super) fn word(&self, index: usize) -> Option<&str> {
        let piece = self.pieces.get(index)?;
        matches!(&piece.token.token, Token::Word(word) if word.quote_style.is_none()).then_some(&piece.spelling)
    }

    /// What is neither a word nor a literal.
    pub(super) fn symbol(&self, index: usize) -> Option<&str> {
        let piece = self.pieces.get(index)?;
        let is_value = matches!(piece.token.token, Token::Word(_) | Token::Number(..) | Token::Placeholder(_));
        (!is_value && self.literal(index).is_none()).then_some(&piece.spelling)
    }

    /// The value of a string literal.
    pub(super) fn literal(&self, index: usize) -> Option<&str> {
        match &self.pieces.get(index)?.token.token {
            Token::SingleQuotedString(text)
            | Token::EscapedStringLiteral(text)
            | Token::UnicodeStringLiteral(text)
            | Token::NationalStringLiteral(text) => Some(text),
            Token::DollarQuotedString(text) => Some(&text.value),
            _ => None,
        }
    }

    /// A number as it is written.
    pub(super) fn number(&self, index: usize) -> Option<&str> {
        match &self.pieces.get(index)?.token.token {
            Token::Number(digits, _) => Some(digits),
            _ => None,
        }
    }

    /// A string literal of a type of one of these spellings: `'…'::type`, `CAST('…' AS type)`, or `type '…'`.
    pub(super) fn typed_literal(&self, index: usize, spellings: &[&str]) -> Option<&str> {
        let text = self.literal(index)?;
        let is_behind = |spelling: &str| {
            let first = index.saturating_sub(WORDS_OF_TYPE);
            (first..index).any(|start| self.end_of_type(start, spelling) == Some(index))
        };
        let is_typed = |spelling: &&str| self.is_type(index + 2, spelling) || is_behind(spelling);
        spellings.iter().any(is_typed).then_some(text)
    }

    /// Behind a name that may have a schema.
    pub(super) fn end_of_name(&self, index: usize) -> usize {
        if self.symbol(index + 1) == Some(".") { index + 3 } else { index + 1 }
    }

    /// Whether `B'101'` stands here.
    pub(super) fn is_bits(&self, index: usize) -> bool {
        self.pieces.get(index).is_some_and(|piece| matches!(piece.token.token, Token::SingleQuotedByteStringLiteral(_)))
    }

    /// Whether `X'1F'` stands here.
    pub(super) fn is_hexadecimal(&self, index: usize) -> bool {
        self.pieces.get(index).is_some_and(|piece| matches!(piece.token.token, Token::HexStringLiteral(_)))
    }

    /// Whether the words and symbols of `phrase` stand here.
    pub(super) fn reads(&self, index: usize, phrase: &str) -> bool {
        // A column may have the name of a word.
        let is_name = index > 0 && (self.symbol(index - 1) == Some(".") || self.word(index - 1) == Some("as"));
        let mut parts = phrase.split(' ').enumerate();
        !is_name
            && parts.all(|(place, part)| {
                let here = index + place;
                self.word(here).or_else(|| self.symbol(here)) == Some(part)
            })
    }

    /// Where the arguments of the function that is called here open.
    pub(super) fn call(&self, index: usize) -> Option<usize> {
        self.name(index)?;
        let open = index + 1;
        if self.symbol(open) != Some("(") {
            return None;
        }
        let mut first = index;
        if index >= 2 && self.symbol(index - 1) == Some(".") {
            if self.name(index - 2) != Some("pg_catalog") {
                return None;
            }
            first = index - 2;
        }
        let Some(before) = first.checked_sub(1) else { return Some(open) };
        let is_alias = match self.word(before) {
            Some("as" | "with" | "recursive") => true,
            Some(_) => !self.is_keyword(before),
            None => self.name(before).is_some() || self.symbol(before) == Some(")"),
        };
        (!is_alias && !self.is_common_table(open)).then_some(open)
    }

    fn is_keyword(&self, index: usize) -> bool {
        matches!(&self.pieces[index].token.token, Token::Word(word) if word.keyword != Keyword::NoKeyword)
    }

    /// `name (columns) AS (SELECT …)`
    fn is_common_table(&self, open: usize) -> bool {
        let Some(close) = self.close_of(open) else { return false };
        let query = ["as (", "as materialized (", "as not materialized ("];
        let Some(phrase) = query.iter().find(|phrase| self.reads(close + 1, phrase)) else { return false };
        matches!(self.word(close + 1 + phrase.split(' ').count()), Some("select" | "with" | "values" | "table"))
    }

    /// The parenthesis or bracket that closes the one at `open`.
    pub(super) fn close_of(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for index in open..self.count() {
            match self.symbol(index) {
                Some("(" | "[") => depth += 1,
                Some(")" | "]") if depth <= 1 => return Some(index),
                Some(")" | "]") => depth -= 1,
                _ => {}
            }
        }
        None
    }

    /// The tokens of each argument of the call whose parenthesis is at `open`.
    pub(super) fn arguments(&self, open: usize) -> Vec<Range<usize>> {
        let Some(close) = self.close_of(open) else { return Vec::new() };
        let (mut arguments, mut from, mut depth) = (Vec::new(), open + 1, 0_usize);
        for index in open + 1..close {
            match self.symbol(index) {
                Some("(" | "[") => depth += 1,
                Some(")" | "]") => depth = depth.saturating_sub(1),
                Some(",") if depth == 0 => {
                    arguments.push(from..index);
                    from = index + 1;
                }
                _ => {}
            }
        }
        if from < close {
            arguments.push(from..close);
        }
        arguments
    }

    /// Whether a type of this spelling is named here, in a cast or before a literal.
    pub(super) fn is_type(&self, index: usize, spelling: &str) -> bool {
        let end = self.end_of_type(index, spelling);
        end.is_some_and(|end| self.literal(end).is_some() || self.is_cast_target(index))
    }

    /// Behind the type and its modifiers, which stand behind its first word.
    fn end_of_type(&self, index: usize, spelling: &str) -> Option<usize> {
        let mut here = index;
        for word in spelling.split(' ') {
            if self.name(here) != Some(word) {
                return None;
            }
            here += 1;
            if self.symbol(here) == Some("(") {
                here = self.close_of(here)? + 1;
            }
        }
        Some(here)
    }

    /// Whether what stands here is what something is cast to.
    pub(super) fn is_cast_target(&self, index: usize) -> bool {
        let mut first = index;
        if index >= 2 && self.symbol(index - 1) == Some(".") && self.name(index - 2) == Some("pg_catalog") {
            first = index - 2;
        }
        let Some(before) = first.checked_sub(1) else { return false };
        if self.symbol(before) == Some("::") {
            return true;
        }
        // `CAST(x AS type)`
        let open = if self.word(before) == Some("as") { self.open_before(before) } else { None };
        open.is_some_and(|open| open > 0 && self.word(open - 1) == Some("cast"))
    }

    /// The nearest parenthesis that is still open at `index`.
    pub(super) fn open_before(&self, index: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for place in (0..index).rev() {
            match self.symbol(place) {
                Some(")") => depth += 1,
                Some("(") if depth == 0 => return Some(place),
                Some("(") => depth -= 1,
                _ => {}
            }
        }
        None
    }
}
