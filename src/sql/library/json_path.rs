//! The language of `jsonpath`: `lax $.items[*] ? (@.price > 10).name`.

use super::{
    json_path_lex::{Lexer, Placed, Token, wrong},
    json_text::too_deep,
    json_value::{Json, number},
    regex::Regex,
    regex_lex::{ADVANCED, IGNORE_CASE, LINE_ANCHORS, LINE_STOPS, QUOTE},
};
use crate::{
    error::{Error, Result},
    sql::function::fault,
};

/// How deep expressions may nest.
const DEPTH_MAX: usize = 32;

/// How many tokens a path may have.
const TOKENS_MAX: usize = 4_000;

/// A path that has been read.
pub(super) struct Path {
    /// Whether what is missing is an error.
    pub(super) is_strict: bool,
    pub(super) steps: Steps,
}

/// A first item, then what is taken from it.
pub(super) type Steps = Vec<Step>;

pub(super) enum Step {
    /// `$`
    Root,
    /// `@`
    Current,
    /// The last place of an array, in its subscript.
    Last,
    Literal(Json<'static>),
    Variable(String),
    /// A truth value as an item.
    Predicate(Box<Predicate>),
    Arithmetic(Arithmetic, Steps, Steps),
    /// Plus or minus before a number.
    Sign {
        is_minus: bool,
        operand: Steps,
    },
    /// `[*]`
    Elements,
    /// `.*`
    Members,
    /// `.key`
    Key(String),
    /// `.**{first to last}`; `last` is [`u32::MAX`] without an end.
    Descendants {
        first: u32,
        last: u32,
    },
    /// `[first to last, …]`
    Places(Vec<(Steps, Option<Steps>)>),
    /// `? (…)`
    Filter(Box<Predicate>),
    Method(Method),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Arithmetic {
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Type,
    Size,
    Abs,
    Floor,
    Ceiling,
    Double,
    Keyvalue,
    Datetime,
}

impl Method {
    const ALL: [(&'static str, Self); 8] = [
        ("type", Self::Type),
        ("size", Self::Size),
        ("abs", Self::Abs),
        ("floor", Self::Floor),
        ("ceiling", Self::Ceiling),
        ("double", Self::Double),
        ("keyvalue", Self::Keyvalue),
        ("datetime", Self::Datetime),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
    }
}

pub(super) enum Predicate {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    IsUnknown(Box<Self>),
    Exists(Steps),
    Compare(Comparison, Steps, Steps),
    StartsWith(Steps, Steps),
    Matches(Steps, Regex),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Reads a path.
pub(super) fn parse(text: &str) -> Result<Path> {
    let mut lexer = Lexer::new(text);
    let ahead = lexer.next()?;
    let mut parser = Parser { lexer, ahead, tokens: 0, depth: 0, filters: 0, subscripts: 0, misplaced: None };
    let is_strict = parser.takes_word("strict")?;
    let has_mode = is_strict || parser.takes_word("lax")?;
    if parser.ahead.token == Token::End && !has_mode {
        return Err(fault("22P02", format!("invalid input syntax for type jsonpath: \"{text}\"")));
    }
    let steps = match parser.any()? {
        Node::Steps(steps) => steps,
        Node::Predicate(predicate) => vec![Step::Predicate(Box::new(predicate))],
    };
    match (&parser.ahead.token, parser.misplaced) {
        (Token::End, None) => Ok(Path { is_strict, steps }),
        (Token::End, Some(misplaced)) => Err(fault("42601", misplaced)),
        _ => Err(wrong("syntax error", &parser.ahead.near)),
    }
}

/// What stands between operators: an item, or a truth value, which is an item only in some places.
enum Node {
    Steps(Steps),
    Predicate(Predicate),
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    ahead: Placed,
    tokens: usize,
    depth: usize,
    /// Around here, where `@` and `last` have a meaning.
    filters: usize,
    subscripts: usize,
    /// Only said where the whole is well-formed.
    misplaced: Option<&'static str>,
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<Placed> {
        self.tokens += 1;
        if self.tokens > TOKENS_MAX {
            return Err(fault("54000", "jsonpath is too long"));
        }
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.ahead, next))
    }

    fn takes(&mut self, symbol: &str) -> Result<bool> {
        let is_it = matches!(self.ahead.token, Token::Symbol(ahead) if ahead == symbol);
        if is_it {
            self.advance()?;
        }
        Ok(is_it)
    }

    fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.takes(symbol)? { Ok(()) } else { Err(self.syntax()) }
    }

    fn is_word(&self, keyword: &str) -> bool {
        matches!(&self.ahead.token, Token::Word(word) if is_keyword(word, keyword))
    }

    fn takes_word(&mut self, keyword: &str) -> Result<bool> {
        let is_it = self.is_word(keyword);
        if is_it {
            self.advance()?;
        }
        Ok(is_it)
    }

    fn syntax(&self) -> Error {
        wrong("syntax error", &self.ahead.near)
    }

    fn steps_of(&self, node: Node) -> Result<Steps> {
        match node {
            Node::Steps(steps) => Ok(steps),
            Node::Predicate(_) => Err(self.syntax()),
        }
    }

    fn predicate_of(&self, node: Node) -> Result<Predicate> {
        match node {
            Node::Predicate(predicate) => Ok(predicate),
            Node::Steps(_) => Err(self.syntax()),
        }
    }

    /// An item or a truth value.
    fn any(&mut self) -> Result<Node> {
        self.deeper()?;
        let mut node = self.and()?;
        while matches!(node, Node::Predicate(_)) && self.takes("||")? {
            let left = self.predicate_of(node)?;
            let right = self.and()?;
            node = Node::Predicate(Predicate::Or(Box::new(left), Box::new(self.predicate_of(right)?)));
        }
        self.depth -= 1;
        Ok(node)
    }

    /// An item, where no truth value may stand.
    fn item(&mut self) -> Result<Steps> {
        self.deeper()?;
        let node = self.sum()?;
        self.depth -= 1;
        self.steps_of(node)
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(too_deep()) } else { Ok(()) }
    }

    fn and(&mut self) -> Result<Node> {
        let mut node = self.comparison()?;
        while matches!(node, Node::Predicate(_)) && self.takes("&&")? {
            let left = self.predicate_of(node)?;
            let right = self.comparison()?;
            node = Node::Predicate(Predicate::And(Box::new(left), Box::new(self.predicate_of(right)?)));
        }
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node> {
        if self.takes("!")? {
            let operand = if self.takes_word("exists")? {
                self.exists()?
            } else {
                self.expect("(")?;
                let inner = self.any()?;
                let inner = self.predicate_of(inner)?;
                self.expect(")")?;
                inner
            };
            return Ok(Node::Predicate(Predicate::Not(Box::new(operand))));
        }
        let left = match self.sum()? {
            Node::Steps(steps) => steps,
            predicate @ Node::Predicate(_) => return Ok(predicate),
        };
        if self.takes_word("starts")? {
            return self.starts_with(left).map(Node::Predicate);
        }
        if self.takes_word("like_regex")? {
            let pattern = self.string()?;
            let flags = if self.takes_word("flag")? { self.string()? } else { String::new() };
            return Ok(Node::Predicate(Predicate::Matches(left, regex(&pattern, &flags)?)));
        }
        let comparison = match self.ahead.token {
            Token::Symbol("==") => Comparison::Equal,
            Token::Symbol("!=" | "<>") => Comparison::NotEqual,
            Token::Symbol("<") => Comparison::Less,
            Token::Symbol("<=") => Comparison::LessOrEqual,
            Token::Symbol(">") => Comparison::Greater,
            Token::Symbol(">=") => Comparison::GreaterOrEqual,
            _ => return Ok(Node::Steps(left)),
        };
        self.advance()?;
        let right = self.sum()?;
        Ok(Node::Predicate(Predicate::Compare(comparison, left, self.steps_of(right)?)))
    }

    /// Behind `starts`.
    fn starts_with(&mut self, whole: Steps) -> Result<Predicate> {
        if !self.takes_word("with")? {
            return Err(self.syntax());
        }
        let initial = match self.advance_if(|token| matches!(token, Token::String(_) | Token::Variable(_)))? {
            Token::Variable(name) => Step::Variable(name),
            Token::String(text) => Step::Literal(Json::String(text.into())),
            _ => return Err(self.syntax()),
        };
        Ok(Predicate::StartsWith(whole, vec![initial]))
    }

    /// The token if it is one of these, which is then taken.
    fn advance_if(&mut self, is_one: fn(&Token) -> bool) -> Result<Token> {
        match is_one(&self.ahead.token) {
            true => Ok(self.advance()?.token),
            false => Err(self.syntax()),
        }
    }

    fn string(&mut self) -> Result<String> {
        match self.advance_if(|token| matches!(token, Token::String(_)))? {
            Token::String(text) => Ok(text),
            _ => Err(self.syntax()),
        }
    }

    fn exists(&mut self) -> Result<Predicate> {
        self.expect("(")?;
        let inner = self.item()?;
        self.expect(")")?;
        Ok(Predicate::Exists(inner))
    }

    fn sum(&mut self) -> Result<Node> {
        let mut node = self.product()?;
        while let Node::Steps(left) = node {
            let operation = match self.ahead.token {
                Token::Symbol("+") => Arithmetic::Add,
                Token::Symbol("-") => Arithmetic::Subtract,
                _ => return Ok(Node::Steps(left)),
            };
            self.advance()?;
            let right = self.product()?;
            node = Node::Steps(vec![Step::Arithmetic(operation, left, self.steps_of(right)?)]);
        }
        Ok(node)
    }

    fn product(&mut self) -> Result<Node> {
        let mut node = self.signed()?;
        while let Node::Steps(left) = node {
            let operation = match self.ahead.token {
                Token::Symbol("*") => Arithmetic::Multiply,
                Token::Symbol("/") => Arithmetic::Divide,
                Token::Symbol("%") => Arithmetic::Modulo,
                _ => return Ok(Node::Steps(left)),
            };
            self.advance()?;
            let right = self.signed()?;
            node = Node::Steps(vec![Step::Arithmetic(operation, left, self.steps_of(right)?)]);
        }
        Ok(node)
    }

    fn signed(&mut self) -> Result<Node> {
        let is_minus = match self.ahead.token {
            Token::Symbol("-") => true,
            Token::Symbol("+") => false,
            _ => return self.accessed(),
        };
        self.advance()?;
        self.deeper()?;
        let operand = self.signed()?;
        self.depth -= 1;
        Ok(Node::Steps(vec![Step::Sign { is_minus, operand: self.steps_of(operand)? }]))
    }

    fn accessed(&mut self) -> Result<Node> {
        let mut steps = if self.takes("(")? {
            let inner = self.any()?;
            self.expect(")")?;
            match inner {
                Node::Steps(steps) => steps,
                Node::Predicate(predicate) => match self.ahead.token {
                    Token::Symbol("." | "[" | "?") => vec![Step::Predicate(Box::new(predicate))],
                    _ => return self.is_unknown(predicate).map(Node::Predicate),
                },
            }
        } else if self.takes_word("exists")? {
            return self.exists().map(Node::Predicate);
        } else {
            vec![self.primary()?]
        };
        loop {
            if self.takes(".")? {
                steps.push(self.member()?);
            } else if self.takes("[")? {
                steps.push(self.subscript()?);
            } else if self.takes("?")? {
                self.expect("(")?;
                self.filters += 1;
                let inner = self.any()?;
                let inner = self.predicate_of(inner)?;
                self.filters -= 1;
                self.expect(")")?;
                steps.push(Step::Filter(Box::new(inner)));
            } else {
                return Ok(Node::Steps(steps));
            }
        }
    }

    /// Behind a closing parenthesis.
    fn is_unknown(&mut self, predicate: Predicate) -> Result<Predicate> {
        if !self.takes_word("is")? {
            return Ok(predicate);
        }
        match self.takes_word("unknown")? {
            true => Ok(Predicate::IsUnknown(Box::new(predicate))),
            false => Err(self.syntax()),
        }
    }

    fn primary(&mut self) -> Result<Step> {
        let step = match &self.ahead.token {
            Token::Symbol("$") => Step::Root,
            Token::Symbol("@") => {
                if self.filters == 0 {
                    self.misplaced.get_or_insert("@ is not allowed in root expressions");
                }
                Step::Current
            }
            Token::String(text) => Step::Literal(Json::String(text.clone().into())),
            Token::Variable(name) => Step::Variable(name.clone()),
            Token::Integer(digits) => Step::Literal(literal_number(digits)?),
            Token::Number(written) => Step::Literal(literal_number(written)?),
            Token::Word(word) if is_keyword(word, "null") => Step::Literal(Json::Null),
            Token::Word(word) if is_keyword(word, "true") => Step::Literal(Json::Bool(true)),
            Token::Word(word) if is_keyword(word, "false") => Step::Literal(Json::Bool(false)),
            Token::Word(word) if is_keyword(word, "last") => {
                if self.subscripts == 0 {
                    self.misplaced.get_or_insert("LAST is allowed only in array subscripts");
                }
                Step::Last
            }
            _ => return Err(self.syntax()),
        };
        self.advance()?;
        Ok(step)
    }

    /// Behind a point.
    fn member(&mut self) -> Result<Step> {
        if self.takes("*")? {
            return Ok(Step::Members);
        }
        if self.takes("**")? {
            return self.descendants();
        }
        let key = match self.advance_if(|token| matches!(token, Token::String(_) | Token::Word(_)))? {
            Token::String(key) => return Ok(Step::Key(key)),
            Token::Word(key) => key,
            _ => return Err(self.syntax()),
        };
        let method = Method::ALL.into_iter().find(|(name, _)| is_keyword(&key, name)).map(|(_, method)| method);
        match method {
            Some(method) if self.takes("(")? => {
                if method == Method::Datetime && matches!(self.ahead.token, Token::String(_)) {
                    self.advance()?;
                }
                self.expect(")")?;
                Ok(Step::Method(method))
            }
            _ => Ok(Step::Key(key)),
        }
    }

    /// Behind `.**`.
    fn descendants(&mut self) -> Result<Step> {
        if !self.takes("{")? {
            return Ok(Step::Descendants { first: 0, last: u32::MAX });
        }
        let first = self.level()?;
        let last = if self.takes_word("to")? { self.level()? } else { first };
        self.expect("}")?;
        Ok(Step::Descendants { first, last })
    }

    fn level(&mut self) -> Result<u32> {
        if self.takes_word("last")? {
            return Ok(u32::MAX);
        }
        match self.advance_if(|token| matches!(token, Token::Integer(_)))? {
            Token::Integer(digits) => Ok(digits.parse().unwrap_or(u32::MAX)),
            _ => Err(self.syntax()),
        }
    }

    /// Behind an opening bracket.
    fn subscript(&mut self) -> Result<Step> {
        if self.takes("*")? {
            self.expect("]")?;
            return Ok(Step::Elements);
        }
        self.subscripts += 1;
        let mut places = Vec::new();
        loop {
            let first = self.item()?;
            let last = if self.takes_word("to")? { Some(self.item()?) } else { None };
            places.push((first, last));
            if !self.takes(",")? {
                break;
            }
        }
        self.subscripts -= 1;
        self.expect("]")?;
        Ok(Step::Places(places))
    }
}

/// Upper and lower case are one, but for the literals of JSON.
fn is_keyword(word: &str, keyword: &str) -> bool {
    match keyword {
        "null" | "true" | "false" => word == keyword,
        _ => word.eq_ignore_ascii_case(keyword),
    }
}

/// The expression of `like_regex`: a point does not match the end of a line unless a flag says so.
fn regex(pattern: &str, flags: &str) -> Result<Regex> {
    if let Some(unknown) = flags.chars().find(|flag| !"ismxq".contains(*flag)) {
        return Err(fault("42601", "invalid input syntax for type jsonpath")
            .with_detail(format!("Unrecognized flag character \"{unknown}\" in LIKE_REGEX predicate.")));
    }
    let mut options = if flags.contains('i') { IGNORE_CASE } else { 0 };
    if flags.contains('q') {
        return Regex::new(pattern, options | QUOTE);
    }
    options |= ADVANCED;
    options |= if flags.contains('s') { 0 } else { LINE_STOPS };
    options |= if flags.contains('m') { LINE_ANCHORS } else { 0 };
    if flags.contains('x') {
        return Err(fault("0A000", "XQuery \"x\" flag (expanded regular expressions) is not implemented"));
    }
    Regex::new(pattern, options)
}

/// `5.` and `.5` are numbers here.
fn literal_number(written: &str) -> Result<Json<'static>> {
    let (mantissa, exponent) = written.split_once(['e', 'E']).unwrap_or((written, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    let number = number(&format!("{whole}{point}{fraction}e{exponent}"))?.into_owned();
    Ok(Json::Number(number.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let check = |text: &str, expected: Result<usize, &str>| {
            let parsed = parse(text).map(|path| path.steps.len()).map_err(|error| error.message().to_owned());
            assert_eq!(parsed, expected.map_err(str::to_owned), "{text}");
        };
        check("lax $.a[1, 2 to last].\"b c\" ? (@.x > -1 && !exists(@.y)).size()", Ok(6));
        check("strict ($.a + 1) * 2 == $.**{1 to last}", Ok(1));
        check("($.a like_regex \"^x\" flag \"i\") is unknown", Ok(1));
        check("$.a[", Err("syntax error at end of jsonpath input"));
        check("@.a", Err("@ is not allowed in root expressions"));
        check("$[last] + last", Err("LAST is allowed only in array subscripts"));
        check("1a", Err("trailing junk after numeric literal at or near \"1a\" of jsonpath input"));
        check("$.a && $.b", Err("syntax error at or near \"&&\" of jsonpath input"));
        check("", Err("invalid input syntax for type jsonpath: \"\""));
    }
}
