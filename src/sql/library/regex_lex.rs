//! The tokens of Postgres's regular expressions: advanced and extended ones and plain strings, with the options that a pattern
//! begins with.
//!
//! What a character means depends on where it stands (in a bound, in brackets), and the first error that is met is the one
//! reported: tokens are read one ahead of their use, as Postgres does, so that both are the same.

use crate::{
    error::{Error, Result},
    sql::function::fault,
};

/// How a pattern is to be read: bits.
pub(super) type Options = u8;

pub(super) const EXTENDED: Options = 1;
/// With the escapes, the lazy quantifiers and the rest that extended ones have not.
pub(super) const ADVANCED: Options = EXTENDED | ADVANCED_ONLY;
pub(super) const IGNORE_CASE: Options = 8;
pub(super) const ADVANCED_ONLY: Options = 2;
/// All characters are plain.
pub(super) const QUOTE: Options = 4;
/// White space and comments do not count.
pub(super) const EXPANDED: Options = 16;
/// `.` and `[^x]` do not match a newline.
pub(super) const LINE_STOPS: Options = 32;
/// `^` and `$` match at newlines, too.
pub(super) const LINE_ANCHORS: Options = 64;
pub(super) const LINES: Options = LINE_STOPS | LINE_ANCHORS;

/// What one letter makes of the options; None where there is no such option.
pub(super) fn with_option(options: Options, letter: char) -> Option<Options> {
    Some(match letter {
        'b' => options & !(ADVANCED | QUOTE),
        'c' => options & !IGNORE_CASE,
        'e' => (options | EXTENDED) & !(ADVANCED_ONLY | QUOTE),
        'i' => options | IGNORE_CASE,
        'm' | 'n' => options | LINES,
        'p' => (options | LINE_STOPS) & !LINE_ANCHORS,
        'q' => (options | QUOTE) & !ADVANCED,
        's' => options & !LINES,
        't' => options & !EXPANDED,
        'w' => (options | LINE_ANCHORS) & !LINE_STOPS,
        'x' => options | EXPANDED,
        _ => return None,
    })
}

/// A pattern that is none.
pub(super) fn invalid(reason: &str) -> Error {
    fault("2201B", format!("invalid regular expression: {reason}"))
}

pub(super) const BACK_REFERENCE: &str = "invalid backreference number";
pub(super) const BRACES: &str = "braces {} not balanced";
pub(super) const BRACKETS: &str = "brackets [] not balanced";
pub(super) const COUNT: &str = "invalid repetition count(s)";
pub(super) const ELEMENT: &str = "invalid collating element";
pub(super) const ESCAPE: &str = r"invalid escape \ sequence";
pub(super) const OPERAND: &str = "quantifier operand invalid";
pub(super) const OPTION: &str = "invalid embedded option";
pub(super) const PARENTHESES: &str = "parentheses () not balanced";
pub(super) const RANGE: &str = "invalid character range";
pub(super) const TOO_COMPLEX: &str = "regular expression is too complex";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token {
    Start,
    End,
    Plain(u32),
    Any,
    Or,
    /// Whether it captures.
    Open(bool),
    Close,
    /// `*`, `+` and `?`: the least and the most, and whether it is greedy.
    Repeat(u32, Option<u32>, bool),
    OpenBound,
    Digit(u32),
    Comma,
    /// Whether the bound is greedy.
    CloseBound(bool),
    /// Whether it takes what it lists, or the rest.
    OpenBracket(bool),
    CloseBracket,
    /// `-` where it may make a range.
    Dash,
    /// `[.`, `[=` or `[:`.
    OpenElement(char),
    CloseElement,
    /// `\d` and its like: the class, and whether it is its complement.
    Class(&'static str, bool),
    Assert(Assertion),
    Look {
        ahead: bool,
        negative: bool,
    },
    BackReference(usize),
}

/// A place between two characters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Assertion {
    LineStart,
    LineEnd,
    TextStart,
    TextEnd,
    WordStart,
    WordEnd,
    WordBoundary,
    NoWordBoundary,
}

#[derive(Clone, Copy, PartialEq)]
enum Context {
    Main,
    Literal,
    Bound,
    Bracket,
    /// Until this character and `]`.
    Element(char),
}

pub(super) struct Lexer {
    characters: Vec<char>,
    at: usize,
    context: Context,
    pub(super) options: Options,
    pub(super) token: Token,
    /// How many groups capture so far.
    pub(super) captures: usize,
}

impl Lexer {
    /// With the options at the pattern's start taken in, and the first token read.
    pub(super) fn new(pattern: &str, options: Options) -> Result<Self> {
        if options & QUOTE != 0 && options & (ADVANCED | EXPANDED | LINES) != 0 {
            return Err(invalid("invalid argument to regex function"));
        }
        let characters = pattern.chars().collect();
        let (context, token) = (Context::Main, Token::Start);
        let mut lexer = Self { characters, at: 0, context, options, token, captures: 0 };
        if options & QUOTE == 0 {
            lexer.prefixes()?;
        }
        if lexer.options & QUOTE != 0 {
            lexer.context = Context::Literal;
        } else if lexer.options & EXTENDED == 0 {
            return Err(fault("0A000", "basic regular expressions (option \"b\") are not supported"));
        }
        lexer.advance()?;
        Ok(lexer)
    }

    fn prefixes(&mut self) -> Result<()> {
        if self.characters.len() >= 4 && self.characters.starts_with(&['*'; 3]) {
            match self.characters.get(3) {
                Some('?') => return Err(invalid("invalid regexp (reg version 0.8)")),
                Some('=') => {
                    self.options = (self.options | QUOTE) & !(ADVANCED | EXPANDED | LINES);
                    self.at = 4;
                    return Ok(());
                }
                Some(':') => {
                    self.options |= ADVANCED;
                    self.at = 4;
                }
                _ => return Err(invalid(OPERAND)),
            }
        }
        let begins = self.peek(0) == Some('(') && self.peek(1) == Some('?');
        if self.options & ADVANCED != ADVANCED
            || !begins
            || !self.peek(2).is_some_and(|next| next.is_ascii_alphabetic())
        {
            return Ok(());
        }
        self.at += 2;
        while let Some(letter) = self.peek(0).filter(char::is_ascii_alphabetic) {
            self.options = with_option(self.options, letter).ok_or_else(|| invalid(OPTION))?;
            self.at += 1;
        }
        if self.peek(0) != Some(')') {
            return Err(invalid(OPTION));
        }
        self.at += 1;
        if self.options & QUOTE != 0 {
            self.options &= !(EXPANDED | LINES);
        }
        Ok(())
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn take(&mut self) -> Option<char> {
        let next = self.peek(0)?;
        self.at += 1;
        Some(next)
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let is_there = self.peek(0) == Some(wanted);
        self.at += usize::from(is_there);
        is_there
    }

    pub(super) fn has(&self, option: Options) -> bool {
        self.options & option != 0
    }

    /// Reads the next token.
    pub(super) fn advance(&mut self) -> Result<()> {
        self.token = self.next()?;
        Ok(())
    }

    fn next(&mut self) -> Result<Token> {
        if self.has(EXPANDED) && matches!(self.context, Context::Main | Context::Bound) {
            self.skip();
        }
        let Some(next) = self.take() else {
            return match self.context {
                Context::Main | Context::Literal => Ok(Token::End),
                Context::Bound => Err(invalid(BRACES)),
                Context::Bracket | Context::Element(_) => Err(invalid(BRACKETS)),
            };
        };
        let context = self.context;
        match context {
            Context::Main => self.main(next),
            Context::Bound => self.bound(next),
            Context::Bracket => self.bracket(next),
            Context::Element(closing) if next == closing && self.take_if(']') => {
                self.context = Context::Bracket;
                Ok(Token::CloseElement)
            }
            Context::Literal | Context::Element(_) => Ok(Token::Plain(u32::from(next))),
        }
    }

    /// White space and comments of the expanded syntax.
    fn skip(&mut self) {
        loop {
            while self.peek(0).is_some_and(|next| next.is_ascii_whitespace() || next == '\u{b}') {
                self.at += 1;
            }
            if self.peek(0) != Some('#') {
                return;
            }
            while self.peek(0).is_some_and(|next| next != '\n') {
                self.at += 1;
            }
        }
    }

    fn main(&mut self, next: char) -> Result<Token> {
        Ok(match next {
            '|' => Token::Or,
            '*' => Token::Repeat(0, None, self.is_greedy()),
            '+' => Token::Repeat(1, None, self.is_greedy()),
            '?' => Token::Repeat(0, Some(1), self.is_greedy()),
            '{' => {
                if self.has(EXPANDED) {
                    self.skip();
                }
                if !self.peek(0).is_some_and(|next| next.is_ascii_digit()) {
                    return Ok(Token::Plain(u32::from(next)));
                }
                self.context = Context::Bound;
                Token::OpenBound
            }
            '(' if self.has(ADVANCED_ONLY) && self.take_if('?') => return self.special_group(),
            '(' => Token::Open(true),
            ')' => Token::Close,
            '[' => {
                for (word, assertion) in [("[:<:]]", Assertion::WordStart), ("[:>:]]", Assertion::WordEnd)] {
                    if word.chars().enumerate().all(|(ahead, wanted)| self.peek(ahead) == Some(wanted)) {
                        self.at += word.len();
                        return Ok(Token::Assert(assertion));
                    }
                }
                self.context = Context::Bracket;
                Token::OpenBracket(!self.take_if('^'))
            }
            '.' => Token::Any,
            '^' => Token::Assert(Assertion::LineStart),
            '$' => Token::Assert(Assertion::LineEnd),
            '\\' => match self.peek(0) {
                None => return Err(invalid(ESCAPE)),
                Some(next) if !self.has(ADVANCED_ONLY) => {
                    self.at += 1;
                    Token::Plain(u32::from(next))
                }
                Some(_) => return self.escape(),
            },
            _ => Token::Plain(u32::from(next)),
        })
    }

    fn is_greedy(&mut self) -> bool {
        !(self.has(ADVANCED_ONLY) && self.take_if('?'))
    }

    /// Behind `(?`.
    fn special_group(&mut self) -> Result<Token> {
        match self.take() {
            Some(':') => Ok(Token::Open(false)),
            Some('#') => {
                while self.take().is_some_and(|next| next != ')') {}
                self.next()
            }
            Some('=') => Ok(Token::Look { ahead: true, negative: false }),
            Some('!') => Ok(Token::Look { ahead: true, negative: true }),
            Some('<') => match self.take() {
                Some('=') => Ok(Token::Look { ahead: false, negative: false }),
                Some('!') => Ok(Token::Look { ahead: false, negative: true }),
                _ => Err(invalid(OPERAND)),
            },
            _ => Err(invalid(OPERAND)),
        }
    }

    fn bound(&mut self, next: char) -> Result<Token> {
        match next {
            ',' => Ok(Token::Comma),
            '}' => {
                self.context = Context::Main;
                Ok(Token::CloseBound(self.is_greedy()))
            }
            _ => next.to_digit(10).map(Token::Digit).ok_or_else(|| invalid(COUNT)),
        }
    }

    fn bracket(&mut self, next: char) -> Result<Token> {
        let is_first = matches!(self.token, Token::OpenBracket(_));
        match next {
            ']' if !is_first => {
                self.context = Context::Main;
                Ok(Token::CloseBracket)
            }
            '\\' if self.has(ADVANCED_ONLY) => {
                if self.peek(0).is_none() {
                    return Err(invalid(ESCAPE));
                }
                match self.escape()? {
                    token @ (Token::Plain(_) | Token::Class(..)) => Ok(token),
                    _ => Err(invalid(ESCAPE)),
                }
            }
            '-' if !is_first && self.peek(0) != Some(']') => Ok(Token::Dash),
            '[' => match self.peek(0) {
                None => Err(invalid(BRACKETS)),
                Some(kind @ ('.' | '=' | ':')) => {
                    self.at += 1;
                    self.context = Context::Element(kind);
                    Ok(Token::OpenElement(kind))
                }
                Some(_) => Ok(Token::Plain(u32::from(next))),
            },
            _ => Ok(Token::Plain(u32::from(next))),
        }
    }

    /// Behind the backslash, with something there.
    fn escape(&mut self) -> Result<Token> {
        let next = self.take().ok_or_else(|| invalid(ESCAPE))?;
        Ok(match next {
            'a' => Token::Plain(7),
            'A' => Token::Assert(Assertion::TextStart),
            'b' => Token::Plain(8),
            'B' => Token::Plain(u32::from('\\')),
            'c' => Token::Plain(self.take().map(|next| u32::from(next) & 0x1F).ok_or_else(|| invalid(ESCAPE))?),
            'd' => Token::Class("digit", false),
            'D' => Token::Class("digit", true),
            'e' => Token::Plain(0x1B),
            'f' => Token::Plain(0xC),
            'm' => Token::Assert(Assertion::WordStart),
            'M' => Token::Assert(Assertion::WordEnd),
            'n' => Token::Plain(0xA),
            'r' => Token::Plain(0xD),
            's' => Token::Class("space", false),
            'S' => Token::Class("space", true),
            't' => Token::Plain(9),
            'u' => Token::Plain(self.code(4, 4)?),
            'U' => Token::Plain(self.code(8, 8)?),
            'v' => Token::Plain(0xB),
            'w' => Token::Class("word", false),
            'W' => Token::Class("word", true),
            'x' => Token::Plain(self.code(1, 255)?),
            'y' => Token::Assert(Assertion::WordBoundary),
            'Y' => Token::Assert(Assertion::NoWordBoundary),
            'Z' => Token::Assert(Assertion::TextEnd),
            '0'..='9' => return self.number(next),
            next if next.is_ascii_alphanumeric() => return Err(invalid(ESCAPE)),
            next => Token::Plain(u32::from(next)),
        })
    }

    /// A back reference, or the number of a character in octal: several digits are the latter if there is no such group.
    fn number(&mut self, first: char) -> Result<Token> {
        let start = self.at;
        self.at -= 1;
        if first != '0' {
            let number = self.digits(10, 1, 255)?;
            let group = usize::try_from(number).unwrap_or(usize::MAX);
            if self.at == start || (number > 0 && group <= self.captures) {
                return Ok(Token::BackReference(group));
            }
            self.at = start - 1;
        }
        let code = self.digits(8, 1, 3)?;
        if code > 0xFF {
            self.at -= 1;
            return Ok(Token::Plain(code >> 3));
        }
        Ok(Token::Plain(code))
    }

    fn code(&mut self, least: usize, most: usize) -> Result<u32> {
        let code = self.digits(16, least, most)?;
        if code > 0x7FFF_FFFE { Err(invalid(ESCAPE)) } else { Ok(code) }
    }

    fn digits(&mut self, radix: u32, least: usize, most: usize) -> Result<u32> {
        let mut number: u32 = 0;
        for count in 0..most {
            let Some(digit) = self.peek(0).and_then(|next| next.to_digit(radix)) else {
                return if count < least { Err(invalid(ESCAPE)) } else { Ok(number) };
            };
            number = number.wrapping_mul(radix).wrapping_add(digit);
            self.at += 1;
        }
        Ok(number)
    }
}
