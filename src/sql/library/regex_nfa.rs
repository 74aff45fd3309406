//! The automaton of a stretch of a regular expression: where it can end, given where it starts.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use super::{
    regex_lex::{Assertion, TOO_COMPLEX, invalid},
    regex_parse::{Atom, Branches, Item, Look, Repeat},
    regex_set::Set,
};
use crate::{error::Result, sql::function::fault};

/// How large an automaton may become.
const STATES_MAX: usize = 100_000;
/// How much one match may cost, so that no statement hangs.
const STEPS_MAX: usize = 50_000_000;

/// States by number; the first is the start.
pub(super) struct Nfa {
    states: Vec<State>,
    start: usize,
}

enum State {
    /// Takes one character.
    Set(Arc<Set>, usize),
    /// Goes on in both.
    Split(usize, usize),
    Assert(Assertion, usize),
    Look(Rc<Look>, usize),
    /// The end.
    Accept,
}

impl Nfa {
    /// `groups` are what back references stand for: here anything that the group could be.
    pub(super) fn new(items: &[Item], groups: &[Rc<Branches>]) -> Result<Self> {
        let mut builder = Builder { states: vec![State::Accept], groups, is_free: false };
        let start = builder.branch(items, 0)?;
        Ok(Self { states: builder.states, start })
    }
}

struct Builder<'a> {
    states: Vec<State>,
    groups: &'a [Rc<Branches>],
    /// Without the conditions on what is around.
    is_free: bool,
}

impl Builder<'_> {
    fn push(&mut self, state: State) -> Result<usize> {
        if self.states.len() >= STATES_MAX {
            return Err(invalid(TOO_COMPLEX));
        }
        self.states.push(state);
        Ok(self.states.len() - 1)
    }

    // Each is built from its end: the state that follows is known.
    fn branch(&mut self, items: &[Item], mut next: usize) -> Result<usize> {
        for item in items.iter().rev() {
            next = match item {
                Item::Assert(_) | Item::Look(_) if self.is_free => next,
                Item::Assert(assertion) => self.push(State::Assert(*assertion, next))?,
                Item::Look(look) => self.push(State::Look(Rc::clone(look), next))?,
                Item::Atom { atom, repeat } => self.repeated(atom, *repeat, next)?,
            };
        }
        Ok(next)
    }

    fn repeated(&mut self, atom: &Atom, repeat: Repeat, mut next: usize) -> Result<usize> {
        if let Some(most) = repeat.most {
            let end = next;
            for _ in repeat.least..most {
                let body = self.atom(atom, next)?;
                next = self.push(State::Split(body, end))?;
            }
        } else {
            let again = self.push(State::Split(next, next))?;
            let body = self.atom(atom, again)?;
            if let Some(state) = self.states.get_mut(again) {
                *state = State::Split(body, next);
            }
            next = again;
        }
        for _ in 0..repeat.least {
            next = self.atom(atom, next)?;
        }
        Ok(next)
    }

    fn atom(&mut self, atom: &Atom, next: usize) -> Result<usize> {
        match atom {
            Atom::Set(set) => self.push(State::Set(Arc::clone(set), next)),
            Atom::Group { inside, .. } => self.branches(inside, next),
            Atom::BackReference(number) => {
                let Some(group) = self.groups.get(number - 1).map(Rc::clone) else { return Ok(next) };
                let was_free = std::mem::replace(&mut self.is_free, true);
                let start = self.branches(&group, next)?;
                self.is_free = was_free;
                Ok(start)
            }
        }
    }

    fn branches(&mut self, branches: &Branches, next: usize) -> Result<usize> {
        let mut start = None;
        for branch in branches.iter().rev() {
            let this = self.branch(branch, next)?;
            start = Some(match start {
                Some(other) => self.push(State::Split(this, other))?,
                None => this,
            });
        }
        Ok(start.unwrap_or(next))
    }
}

/// The states that a run is in, each once.
#[derive(Default)]
struct Active {
    /// In no order that counts.
    states: Vec<usize>,
    /// The round in which each state was last added.
    seen: Vec<usize>,
    round: usize,
}

/// A text that automata run on.
pub(super) struct Tape<'t> {
    pub(super) text: &'t [char],
    word: Arc<Set>,
    steps: usize,
    /// Of each look around, by its address: what it said of the places that it was asked.
    ahead: HashMap<(*const Look, usize), bool>,
    /// The same of looks behind, which are asked of all places at once.
    behind: HashMap<*const Look, Rc<Vec<bool>>>,
    looks: HashMap<*const Look, Rc<Nfa>>,
}

impl<'t> Tape<'t> {
    pub(super) fn new(text: &'t [char], word: Arc<Set>) -> Self {
        let (ahead, behind, looks) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { text, word, steps: 0, ahead, behind, looks }
    }

    /// Whether the automaton takes exactly what is between the two places.
    pub(super) fn takes(&mut self, nfa: &Nfa, start: usize, end: usize) -> Result<bool> {
        let mut is_end = false;
        self.run(nfa, start, end, false, &mut |at| {
            is_end = at == end;
            true
        })?;
        Ok(is_end)
    }

    /// Where the automaton can end if it starts at `start`, in rising order, none behind `limit`.
    pub(super) fn ends(&mut self, nfa: &Nfa, start: usize, limit: usize) -> Result<Vec<usize>> {
        let mut ends = Vec::new();
        self.run(nfa, start, limit, false, &mut |at| {
            ends.push(at);
            true
        })?;
        Ok(ends)
    }

    /// Where the first match ends that starts at `start` or behind it.
    pub(super) fn first_end(&mut self, nfa: &Nfa, start: usize) -> Result<Option<usize>> {
        let mut first = None;
        self.run(nfa, start, self.text.len(), true, &mut |at| {
            first = Some(at);
            false
        })?;
        Ok(first)
    }

    /// Runs until `found` of an end says no. If `floats`, it may start at any place.
    fn run(
        &mut self,
        nfa: &Nfa,
        start: usize,
        limit: usize,
        floats: bool,
        found: &mut dyn FnMut(usize) -> bool,
    ) -> Result<()> {
        let (mut now, mut then) = (Active::default(), Active::default());
        let mut stack = Vec::new();
        for active in [&mut now, &mut then] {
            active.seen.resize(nfa.states.len(), 0);
        }
        now.round = 1;
        self.add(nfa, nfa.start, start, &mut now, &mut stack)?;
        for at in start..=limit {
            if now.states.iter().any(|state| matches!(nfa.states.get(*state), Some(State::Accept))) && !found(at) {
                return Ok(());
            }
            let Some(character) = self.text.get(at).filter(|_| at < limit && (floats || !now.states.is_empty())) else {
                return Ok(());
            };
            then.states.clear();
            then.round = at + 2;
            for state in &now.states {
                if let Some(State::Set(set, next)) = nfa.states.get(*state)
                    && set.contains(*character)
                {
                    self.add(nfa, *next, at + 1, &mut then, &mut stack)?;
                }
            }
            if floats {
                self.add(nfa, nfa.start, at + 1, &mut then, &mut stack)?;
            }
            std::mem::swap(&mut now, &mut then);
        }
        Ok(())
    }

    /// Adds a state, and those that it reaches without a character.
    fn add(&mut self, nfa: &Nfa, state: usize, at: usize, active: &mut Active, stack: &mut Vec<usize>) -> Result<()> {
        stack.push(state);
        while let Some(state) = stack.pop() {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(fault("54001", "regular expression failed: regular expression is too complex"));
            }
            let Some(seen) = active.seen.get_mut(state).filter(|seen| **seen != active.round) else { continue };
            *seen = active.round;
            match nfa.states.get(state) {
                Some(State::Split(left, right)) => stack.extend([*right, *left]),
                Some(State::Assert(assertion, next)) if self.holds(*assertion, at) => stack.push(*next),
                Some(State::Look(look, next)) if self.looks(look, at)? => stack.push(*next),
                Some(State::Set(..) | State::Accept) => active.states.push(state),
                Some(State::Assert(..) | State::Look(..)) | None => (),
            }
        }
        Ok(())
    }

    fn holds(&self, assertion: Assertion, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.text.get(before)).copied();
        let behind = self.text.get(at).copied();
        let is_word = |character: Option<char>| character.is_some_and(|character| self.word.contains(character));
        match assertion {
            Assertion::TextStart => before.is_none(),
            Assertion::TextEnd => behind.is_none(),
            Assertion::LineStart => before.is_none_or(|before| before == '\n'),
            Assertion::LineEnd => behind.is_none_or(|behind| behind == '\n'),
            Assertion::WordStart => !is_word(before) && is_word(behind),
            Assertion::WordEnd => is_word(before) && !is_word(behind),
            Assertion::WordBoundary => is_word(before) != is_word(behind),
            Assertion::NoWordBoundary => is_word(before) == is_word(behind),
        }
    }

    fn looks(&mut self, look: &Rc<Look>, at: usize) -> Result<bool> {
        let key = Rc::as_ptr(look);
        let known = self.looks.get(&key).map(Rc::clone);
        let nfa = if let Some(nfa) = known {
            nfa
        } else {
            let group = Atom::Group { capture: None, inside: Rc::clone(&look.inside) };
            let nfa = Rc::new(Nfa::new(&[Item::Atom { atom: group, repeat: Repeat::ONCE }], &[])?);
            self.looks.insert(key, Rc::clone(&nfa));
            nfa
        };
        if look.ahead {
            if let Some(known) = self.ahead.get(&(key, at)) {
                return Ok(*known);
            }
            let mut is_there = false;
            self.run(&nfa, at, self.text.len(), false, &mut |_| {
                is_there = true;
                false
            })?;
            self.ahead.insert((key, at), is_there != look.negative);
            return Ok(is_there != look.negative);
        }
        if !self.behind.contains_key(&key) {
            let mut places = vec![look.negative; self.text.len() + 1];
            self.run(&nfa, 0, self.text.len(), true, &mut |end| {
                if let Some(place) = places.get_mut(end) {
                    *place = !look.negative;
                }
                true
            })?;
            self.behind.insert(key, Rc::new(places));
        }
        Ok(self.behind.get(&key).and_then(|places| places.get(at)).copied().unwrap_or_default())
    }
}
