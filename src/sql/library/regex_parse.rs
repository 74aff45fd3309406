//! The shape of Postgres's regular expressions: what is repeated, captured, referred to and looked at.

use std::{rc::Rc, sync::Arc};

use super::{
    regex_lex::{
        ADVANCED_ONLY, Assertion, BACK_REFERENCE, COUNT, ELEMENT, IGNORE_CASE, LINE_ANCHORS, LINE_STOPS, Lexer,
        OPERAND, Options, PARENTHESES, RANGE, TOO_COMPLEX, Token, invalid,
    },
    regex_set::{Set, class, collating_element, lower, upper, with_cases},
};
use crate::error::Result;

/// How deep groups may nest.
const DEPTH_MAX: usize = 200;
/// How many quantifiers, groups and references there may be.
const PARTS_MAX: usize = 1000;
/// The largest count in a bound.
const COUNT_MAX: u32 = 255;

/// The branches of `a|b`.
pub(super) type Branches = Vec<Vec<Item>>;

/// What stands beside each other in a branch.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Assert(Assertion),
    Look(Rc<Look>),
    Atom { atom: Atom, repeat: Repeat },
}

/// Something that takes characters.
#[derive(Clone, Debug)]
pub(super) enum Atom {
    Set(Arc<Set>),
    Group { capture: Option<usize>, inside: Rc<Branches> },
    BackReference(usize),
}

/// What must, or must not, stand before or behind a place.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) ahead: bool,
    pub(super) negative: bool,
    pub(super) inside: Rc<Branches>,
}

/// How often, without end where there is no most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Repeat {
    pub(super) least: u32,
    pub(super) most: Option<u32>,
    /// As much or as little as possible, where the quantifier says so.
    pub(super) is_greedy: Option<bool>,
}

impl Repeat {
    pub(super) const ONCE: Self = Self { least: 1, most: Some(1), is_greedy: None };

    pub(super) fn is_once(self) -> bool {
        self.least == 1 && self.most == Some(1)
    }
}

pub(super) struct Parsed {
    pub(super) branches: Rc<Branches>,
    /// What the capturing groups hold, from the first on.
    pub(super) groups: Vec<Rc<Branches>>,
    /// With those of the pattern's start.
    pub(super) options: Options,
}

pub(super) fn parse(pattern: &str, options: Options) -> Result<Parsed> {
    let lexer = Lexer::new(pattern, options)?;
    let mut parser = Parser { lexer, groups: Vec::new(), depth: 0, parts: 0, is_looking: false };
    let branches = Rc::new(parser.branches(Token::End)?);
    let groups = parser.groups.into_iter().map(Option::unwrap_or_default).collect();
    Ok(Parsed { branches, groups, options: parser.lexer.options })
}

struct Parser {
    lexer: Lexer,
    /// What is in each capturing group; nothing while it is open.
    groups: Vec<Option<Rc<Branches>>>,
    depth: usize,
    parts: usize,
    /// Nothing captures inside of a look around.
    is_looking: bool,
}

impl Parser {
    fn branches(&mut self, stopper: Token) -> Result<Branches> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(invalid(TOO_COMPLEX));
        }
        let mut branches = vec![self.branch(stopper)?];
        while self.lexer.token == Token::Or {
            self.lexer.advance()?;
            branches.push(self.branch(stopper)?);
        }
        if self.lexer.token != stopper {
            return Err(invalid(PARENTHESES));
        }
        self.depth -= 1;
        Ok(branches)
    }

    fn branch(&mut self, stopper: Token) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        while self.lexer.token != stopper && !matches!(self.lexer.token, Token::Or | Token::End) {
            items.push(self.item()?);
        }
        Ok(items)
    }

    fn item(&mut self) -> Result<Item> {
        let atom = match self.lexer.token {
            Token::Assert(assertion) => {
                self.lexer.advance()?;
                let anchors = self.lexer.has(LINE_ANCHORS);
                return Ok(Item::Assert(match assertion {
                    Assertion::LineStart if !anchors => Assertion::TextStart,
                    Assertion::LineEnd if !anchors => Assertion::TextEnd,
                    assertion => assertion,
                }));
            }
            Token::Look { ahead, negative } => return self.look(ahead, negative),
            Token::Repeat(..) | Token::OpenBound => return Err(invalid(OPERAND)),
            Token::Close if self.lexer.has(ADVANCED_ONLY) => return Err(invalid(PARENTHESES)),
            Token::Close => self.one(u32::from(')'))?,
            Token::Plain(code) => self.one(code)?,
            Token::Any => {
                self.lexer.advance()?;
                let none: &[_] = if self.lexer.has(LINE_STOPS) { &[(10, 10)] } else { &[] };
                Atom::Set(Arc::new(Set::new(none.to_vec()).complement()))
            }
            Token::Class(name, is_complement) => {
                let set = self.named(name)?;
                self.lexer.advance()?;
                Atom::Set(if is_complement { Arc::new(set.complement()) } else { set })
            }
            Token::OpenBracket(is_positive) => self.bracket(is_positive)?,
            Token::Open(captures) => self.group(captures && !self.is_looking)?,
            Token::BackReference(number) => {
                let is_closed = number > 0 && self.groups.get(number - 1).is_some_and(Option::is_some);
                if self.is_looking || !is_closed {
                    return Err(invalid(BACK_REFERENCE));
                }
                self.lexer.advance()?;
                Atom::BackReference(number)
            }
            _ => return Err(invalid("\"cannot happen\" -- you found a bug")),
        };
        let repeat = self.repeat()?;
        if !matches!(atom, Atom::Set(_)) || repeat != Repeat::ONCE {
            self.parts += 1;
            if self.parts > PARTS_MAX {
                return Err(invalid(TOO_COMPLEX));
            }
        }
        Ok(Item::Atom { atom, repeat })
    }

    fn one(&mut self, code: u32) -> Result<Atom> {
        self.lexer.advance()?;
        let mut ranges = Vec::new();
        self.add(code, &mut ranges);
        Ok(Atom::Set(Arc::new(Set::new(ranges))))
    }

    /// A character, or its two cases: neither may be itself.
    fn add(&self, code: u32, ranges: &mut Vec<(u32, u32)>) {
        match char::from_u32(code).filter(|_| self.lexer.has(IGNORE_CASE)) {
            Some(character) => {
                let cases = [lower(character), upper(character)];
                ranges.extend(cases.map(|case| (u32::from(case), u32::from(case))));
            }
            None => ranges.push((code, code)),
        }
    }

    /// A class; both cases of letters are the same where case does not count.
    fn named(&self, name: &str) -> Result<Arc<Set>> {
        named(if self.lexer.has(IGNORE_CASE) && matches!(name, "lower" | "upper") { "alpha" } else { name })
    }

    fn look(&mut self, ahead: bool, negative: bool) -> Result<Item> {
        self.lexer.advance()?;
        let was_looking = std::mem::replace(&mut self.is_looking, true);
        let inside = Rc::new(self.branches(Token::Close)?);
        self.is_looking = was_looking;
        self.lexer.advance()?;
        Ok(Item::Look(Rc::new(Look { ahead, negative, inside })))
    }

    fn group(&mut self, captures: bool) -> Result<Atom> {
        let mut capture = None;
        if captures {
            self.lexer.captures += 1;
            capture = Some(self.lexer.captures);
            self.groups.push(None);
        }
        self.lexer.advance()?;
        let inside = Rc::new(self.branches(Token::Close)?);
        self.lexer.advance()?;
        if let Some(group) = capture.and_then(|number| self.groups.get_mut(number - 1)) {
            *group = Some(Rc::clone(&inside));
        }
        Ok(Atom::Group { capture, inside })
    }

    fn repeat(&mut self) -> Result<Repeat> {
        let repeat = match self.lexer.token {
            Token::Repeat(least, most, is_greedy) => Repeat { least, most, is_greedy: Some(is_greedy) },
            Token::OpenBound => {
                self.lexer.advance()?;
                self.bound()?
            }
            _ => return Ok(Repeat::ONCE),
        };
        self.lexer.advance()?;
        Ok(repeat)
    }

    /// Up to its closing brace.
    fn bound(&mut self) -> Result<Repeat> {
        let least = self.count()?;
        let mut most = Some(least);
        let mut is_exact = true;
        if self.lexer.token == Token::Comma {
            self.lexer.advance()?;
            most = if matches!(self.lexer.token, Token::Digit(_)) { Some(self.count()?) } else { None };
            is_exact = false;
        }
        if most.is_some_and(|most| least > most) {
            return Err(invalid(COUNT));
        }
        match self.lexer.token {
            Token::CloseBound(is_greedy) => {
                Ok(Repeat { least, most, is_greedy: if is_exact { None } else { Some(is_greedy) } })
            }
            _ => Err(invalid(COUNT)),
        }
    }

    fn count(&mut self) -> Result<u32> {
        let mut count = 0;
        while let Token::Digit(digit) = self.lexer.token {
            if count >= COUNT_MAX {
                return Err(invalid(COUNT));
            }
            count = count * 10 + digit;
            self.lexer.advance()?;
        }
        if count > COUNT_MAX { Err(invalid(COUNT)) } else { Ok(count) }
    }

    fn bracket(&mut self, is_positive: bool) -> Result<Atom> {
        self.lexer.advance()?;
        let mut ranges = Vec::new();
        while self.lexer.token != Token::CloseBracket {
            self.bracket_part(&mut ranges)?;
        }
        self.lexer.advance()?;
        if !is_positive && self.lexer.has(LINE_STOPS) {
            ranges.push((10, 10));
        }
        let set = Set::new(ranges);
        Ok(Atom::Set(Arc::new(if is_positive { set } else { set.complement() })))
    }

    fn bracket_part(&mut self, ranges: &mut Vec<(u32, u32)>) -> Result<()> {
        let low = match self.lexer.token {
            Token::Plain(code) => {
                self.lexer.advance()?;
                code
            }
            Token::Class(name, is_complement) => {
                self.lexer.advance()?;
                let set = self.named(name)?;
                let set = if is_complement { set.complement() } else { set.as_ref().clone() };
                ranges.extend_from_slice(set.ranges());
                return Ok(());
            }
            Token::OpenElement(':') => {
                let name = self.element()?;
                ranges.extend_from_slice(self.named(&name)?.ranges());
                return Ok(());
            }
            Token::OpenElement('=') => {
                let name = self.element()?;
                let code = collating_element(&name).ok_or_else(|| invalid(ELEMENT))?;
                self.add(code, ranges);
                return Ok(());
            }
            Token::OpenElement(_) => {
                let name = self.element()?;
                collating_element(&name).ok_or_else(|| invalid(ELEMENT))?
            }
            _ => return Err(invalid(RANGE)),
        };
        if self.lexer.token != Token::Dash {
            self.add(low, ranges);
            return Ok(());
        }
        self.lexer.advance()?;
        let high = match self.lexer.token {
            Token::Plain(code) => {
                self.lexer.advance()?;
                code
            }
            Token::Dash => {
                self.lexer.advance()?;
                u32::from('-')
            }
            Token::OpenElement('.') => {
                let name = self.element()?;
                collating_element(&name).ok_or_else(|| invalid(ELEMENT))?
            }
            _ => return Err(invalid(RANGE)),
        };
        if low > high {
            return Err(invalid(RANGE));
        }
        if self.lexer.has(IGNORE_CASE) {
            with_cases(low, high.min(0x10_FFFF), ranges);
        } else {
            ranges.push((low, high));
        }
        Ok(())
    }

    /// The name in `[.name.]` and its like, which it reads to behind the end.
    fn element(&mut self) -> Result<String> {
        let mut name = String::new();
        self.lexer.advance()?;
        while let Token::Plain(code) = self.lexer.token {
            name.extend(char::from_u32(code));
            self.lexer.advance()?;
        }
        self.lexer.advance()?;
        Ok(name)
    }
}

fn named(name: &str) -> Result<Arc<Set>> {
    class(name).ok_or_else(|| invalid("invalid character class"))
}
