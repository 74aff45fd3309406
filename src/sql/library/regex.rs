//! Postgres's regular expressions, with the matches that Postgres gives: of those that start first the longest, or the shortest
//! where the expression prefers that, and groups filled by the same rules.

use std::{cell::OnceCell, ops::Range, rc::Rc};

use super::{
    regex_fast::{is_exact, translate},
    regex_lex::{IGNORE_CASE, Options},
    regex_nfa::{Nfa, Tape},
    regex_parse::{Branches, Parsed, Repeat, parse},
    regex_plan::{Plan, REFERS, SHORTER, Step, plan},
    regex_set::{class, lower},
};
use crate::error::Result;

/// A compiled regular expression.
pub(super) struct Regex {
    plan: Plan,
    /// What the capturing groups hold.
    groups: Vec<Rc<Branches>>,
    ignores_case: bool,
    fast: Option<regex::Regex>,
    /// Whether the fast one finds the same ends and groups.
    is_fast_exact: bool,
}

/// Where a match and its groups are, in bytes.
pub(super) type Match = Vec<Option<Range<usize>>>;

/// A text to be searched.
pub(super) struct Subject<'t> {
    pub(super) text: &'t str,
    characters: OnceCell<(Vec<char>, Vec<usize>)>,
}

impl<'t> Subject<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, characters: OnceCell::new() }
    }

    /// Its characters, and where each of them and the end is.
    fn characters(&self) -> &(Vec<char>, Vec<usize>) {
        self.characters.get_or_init(|| {
            let ends = std::iter::once(self.text.len());
            (self.text.chars().collect(), self.text.char_indices().map(|(offset, _)| offset).chain(ends).collect())
        })
    }
}

impl Regex {
    pub(super) fn new(pattern: &str, options: Options) -> Result<Self> {
        let Parsed { branches, groups, options } = parse(pattern, options)?;
        let regex = Self {
            plan: plan(&branches),
            groups,
            ignores_case: options & IGNORE_CASE != 0,
            fast: translate(&branches),
            is_fast_exact: is_exact(&branches),
        };
        // An automaton that would be too large is an error of the pattern, not of the first text.
        regex.nfa(&regex.plan)?;
        Ok(regex)
    }

    /// How many groups capture.
    pub(super) fn group_count(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn is_match(&self, text: &str) -> Result<bool> {
        if let Some(fast) = &self.fast {
            return Ok(fast.is_match(text));
        }
        let subject = Subject::new(text);
        if self.plan.flags & REFERS != 0 {
            return Ok(self.find(&subject, 0)?.is_some());
        }
        let nfa = self.nfa(&self.plan)?;
        Tape::new(&subject.characters().0, class("word").unwrap_or_default())
            .first_end(&nfa, 0)
            .map(|end| end.is_some())
    }

    /// The first match that starts at byte `from` or behind it.
    pub(super) fn find(&self, subject: &Subject<'_>, from: usize) -> Result<Option<Match>> {
        if from > subject.text.len() {
            return Ok(None);
        }
        let mut first = None;
        if let Some(fast) = &self.fast {
            if self.is_fast_exact {
                let captures = fast.captures_at(subject.text, from);
                return Ok(captures.map(|found| found.iter().map(|group| group.map(|group| group.range())).collect()));
            }
            first = Some(match fast.find_at(subject.text, from) {
                Some(found) => found.start(),
                None => return Ok(None),
            });
        }
        let (characters, offsets) = subject.characters();
        let start = offsets.partition_point(|offset| *offset < first.unwrap_or(from));
        let tape = Tape::new(characters, class("word").unwrap_or_default());
        let mut search = Search { regex: self, tape, groups: vec![None; self.groups.len() + 1] };
        if !search.find(start)? {
            return Ok(None);
        }
        let in_bytes = |place: usize| offsets.get(place).copied().unwrap_or(subject.text.len());
        let ranges = search.groups.iter().map(|group| group.map(|(start, end)| in_bytes(start)..in_bytes(end)));
        Ok(Some(ranges.collect()))
    }

    fn nfa(&self, plan: &Plan) -> Result<Rc<Nfa>> {
        if let Some(nfa) = plan.nfa.get() {
            return Ok(Rc::clone(nfa));
        }
        let nfa = Rc::new(Nfa::new(&plan.items, &self.groups)?);
        Ok(Rc::clone(plan.nfa.get_or_init(|| nfa)))
    }
}

/// One search of one text. All places are counted in characters.
struct Search<'r, 't> {
    regex: &'r Regex,
    tape: Tape<'t>,
    /// The whole match and what is captured so far.
    groups: Vec<Option<(usize, usize)>>,
}

impl Search<'_, '_> {
    fn find(&mut self, mut from: usize) -> Result<bool> {
        let plan = &self.regex.plan;
        let length = self.tape.text.len();
        let nfa = self.regex.nfa(plan)?;
        // Without groups nothing is to be filled.
        let is_trivial = self.groups.len() == 1 && plan.flags & REFERS == 0;
        while let Some(close) = self.tape.first_end(&nfa, from)? {
            for start in from..=close {
                let ends = self.tape.ends(&nfa, start, length)?;
                for end in in_order(ends, plan.flags & SHORTER != 0) {
                    if is_trivial || self.dissect(plan, start, end)? {
                        if let Some(whole) = self.groups.first_mut() {
                            *whole = Some((start, end));
                        }
                        return Ok(true);
                    }
                }
            }
            // Only a back reference can have failed; Postgres does not go on to the very end then.
            from = close + 1;
            if from >= length {
                break;
            }
        }
        Ok(false)
    }

    /// Where a part can end if it starts at `start`: first what it prefers.
    fn ends(&mut self, plan: &Plan, start: usize, limit: usize) -> Result<Vec<usize>> {
        let ends = if let Some(ends) = self.back_reference_ends(plan, start, limit) {
            ends
        } else {
            let nfa = self.regex.nfa(plan)?;
            self.tape.ends(&nfa, start, limit)?
        };
        Ok(in_order(ends, plan.flags & SHORTER != 0))
    }

    /// Whether a part can be what is between two places.
    fn takes(&mut self, plan: &Plan, start: usize, end: usize) -> Result<bool> {
        if let Some(ends) = self.back_reference_ends(plan, start, end) {
            return Ok(ends.contains(&end));
        }
        let nfa = self.regex.nfa(plan)?;
        self.tape.takes(&nfa, start, end)
    }

    /// The same of a back reference whose group is known.
    fn back_reference_ends(&self, plan: &Plan, start: usize, limit: usize) -> Option<Vec<usize>> {
        let Step::BackReference(number, repeat) = plan.step else { return None };
        let (from, to) = (*self.groups.get(number)?)?;
        let is_end = |end: &usize| self.refers(from..to, start..*end, repeat);
        Some(match to - from {
            0 => vec![start],
            length => (start..=limit).step_by(length).filter(is_end).collect(),
        })
    }

    /// Whether a stretch is a group's text so many times.
    fn refers(&self, group: Range<usize>, stretch: Range<usize>, repeat: Repeat) -> bool {
        if stretch.is_empty() || group.is_empty() {
            return stretch.is_empty() && (group.is_empty() || repeat.least == 0);
        }
        let count = stretch.len() / group.len();
        let is_allowed = |least: u32, most: Option<u32>| {
            usize::try_from(least).is_ok_and(|least| least <= count)
                && most.is_none_or(|most| usize::try_from(most).is_ok_and(|most| count <= most))
        };
        if !stretch.len().is_multiple_of(group.len()) || !is_allowed(repeat.least, repeat.most) {
            return false;
        }
        let of = |range: Range<usize>| self.tape.text.get(range).unwrap_or_default();
        let is_same =
            |one: &char, other: &char| one == other || (self.regex.ignores_case && lower(*one) == lower(*other));
        of(stretch).iter().zip(of(group).iter().cycle()).all(|(one, other)| is_same(one, other))
    }

    /// Fills the groups in a part that takes what is between two places; false if its back references do not fit.
    fn dissect(&mut self, plan: &Plan, start: usize, end: usize) -> Result<bool> {
        let fits = match &plan.step {
            Step::Plain => true,
            Step::Wrapped(inner) => self.dissect(inner, start, end)?,
            Step::BackReference(number, repeat) => match self.groups.get(*number).copied().flatten() {
                Some((from, to)) => self.refers(from..to, start..end, *repeat),
                None => false,
            },
            Step::Pair(left, right) => self.pair(left, right, start, end)?,
            Step::Either(plans) => self.either(plans, start, end)?,
            Step::Repeated(inner, repeat) if inner.flags & SHORTER != 0 => self.shortest(inner, *repeat, start, end)?,
            Step::Repeated(inner, repeat) => self.longest(inner, *repeat, start, end)?,
        };
        if let Some(group) = plan.capture.filter(|_| fits).and_then(|number| self.groups.get_mut(number)) {
            *group = Some((start, end));
        }
        Ok(fits)
    }

    fn pair(&mut self, left: &Plan, right: &Plan, start: usize, end: usize) -> Result<bool> {
        for middle in self.ends(left, start, end)? {
            if self.takes(right, middle, end)? && self.dissect(left, start, middle)? {
                if self.dissect(right, middle, end)? {
                    return Ok(true);
                }
                self.forget(left);
            }
        }
        Ok(false)
    }

    fn either(&mut self, plans: &[Plan], start: usize, end: usize) -> Result<bool> {
        for plan in plans {
            if self.takes(plan, start, end)? && self.dissect(plan, start, end)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets what a part has captured.
    fn forget(&mut self, plan: &Plan) {
        if let Some(group) = plan.capture.and_then(|number| self.groups.get_mut(number)) {
            *group = None;
        }
        match &plan.step {
            Step::Plain | Step::BackReference(..) => (),
            Step::Wrapped(inner) | Step::Repeated(inner, _) => self.forget(inner),
            Step::Pair(left, right) => {
                self.forget(left);
                self.forget(right);
            }
            Step::Either(plans) => plans.iter().for_each(|plan| self.forget(plan)),
        }
    }

    /// Repeats a part, each time as long as can be. `ends` are where the repetitions end, behind the start of the first.
    fn longest(&mut self, plan: &Plan, repeat: Repeat, start: usize, end: usize) -> Result<bool> {
        let (least, most) = counts(repeat, end - start);
        let mut ends = vec![start];
        let mut limit = end;
        loop {
            let from = ends.last().copied().unwrap_or(start);
            let found = self.ends(plan, from, limit)?.into_iter().next();
            let mut is_stuck = found.is_none();
            if let Some(at) = found {
                let count = ends.len();
                ends.push(at);
                if at == end {
                    is_stuck = count < least || !self.verify(plan, &mut ends)?;
                    if !is_stuck {
                        return Ok(true);
                    }
                } else if count >= most {
                    ends.pop();
                    is_stuck = true;
                } else if at == from && (count >= least || least - count < end - at) {
                    is_stuck = true;
                }
            }
            limit = end;
            if is_stuck {
                // A shorter one in place of the last, or of the one before it.
                loop {
                    let count = ends.len() - 1;
                    if count == 0 {
                        return Ok(repeat.least == 0 && start == end);
                    }
                    let (Some(end_of_it), Some(before)) = (ends.pop(), ends.last().copied()) else { return Ok(false) };
                    let may_be_empty = count < least && least - count >= end - before;
                    if end_of_it > before && (end_of_it - 1 > before || may_be_empty) {
                        limit = end_of_it - 1;
                        break;
                    }
                }
            }
        }
    }

    /// Repeats a part, each time as short as can be.
    fn shortest(&mut self, plan: &Plan, repeat: Repeat, start: usize, end: usize) -> Result<bool> {
        if repeat.least == 0 && start == end {
            return Ok(true);
        }
        let (least, most) = counts(repeat, end - start);
        let mut ends = vec![start];
        let mut limit = start;
        loop {
            let from = ends.last().copied().unwrap_or(start);
            let count = ends.len();
            if limit == from && limit != end && (count >= least || least - count < end - limit) {
                limit += 1;
            }
            if count >= most {
                limit = end;
            }
            let found = self.ends(plan, from, end)?.into_iter().find(|at| *at >= limit);
            let is_stuck = match found {
                None => true,
                Some(at) => {
                    ends.push(at);
                    if at == end && count >= least && self.verify(plan, &mut ends)? {
                        return Ok(true);
                    }
                    at == end
                }
            };
            limit = ends.last().copied().unwrap_or(start);
            if is_stuck {
                loop {
                    let Some(end_of_it) = ends.pop() else { return Ok(false) };
                    if ends.is_empty() {
                        return Ok(false);
                    }
                    if end_of_it < end {
                        limit = end_of_it + 1;
                        break;
                    }
                }
            }
        }
    }

    /// Whether all repetitions hold what their back references want; those from the first that does not are dropped but it.
    fn verify(&mut self, plan: &Plan, ends: &mut Vec<usize>) -> Result<bool> {
        for (index, pair) in ends.windows(2).enumerate() {
            let &[from, to] = pair else { continue };
            self.forget(plan);
            if !self.dissect(plan, from, to)? {
                ends.truncate(index + 2);
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// How often a part may be repeated to take so many characters.
fn counts(repeat: Repeat, length: usize) -> (usize, usize) {
    let least = usize::try_from(repeat.least).unwrap_or(usize::MAX).max(1);
    let most = repeat.most.and_then(|most| usize::try_from(most).ok()).map_or(length, |most| most.min(length));
    (least, most.max(least))
}

fn in_order(mut ends: Vec<usize>, shortest_first: bool) -> Vec<usize> {
    if !shortest_first {
        ends.reverse();
    }
    ends
}
