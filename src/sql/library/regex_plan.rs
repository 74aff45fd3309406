//! How Postgres takes a match of a regular expression apart: which part of it takes as much, or as little, as it can before the
//! next does.
//!
//! After Henry Spencer's engine: a stretch of the pattern in which nothing captures and all quantifiers want the same is one
//! [`Step::Plain`], of which only the ends matter; everything else is a tree of what is tried in which order.

use std::{cell::OnceCell, rc::Rc};

use super::{
    regex_nfa::Nfa,
    regex_parse::{Atom, Branches, Item, Repeat},
};

type Flags = u8;

const LONGER: Flags = 1;
pub(super) const SHORTER: Flags = 2;
/// Both are wanted below.
const MIXED: Flags = 4;
const CAPTURES: Flags = 8;
pub(super) const REFERS: Flags = 16;

/// One part of a pattern.
pub(super) struct Plan {
    pub(super) step: Step,
    pub(super) flags: Flags,
    /// The number of the group that it is.
    pub(super) capture: Option<usize>,
    /// What it is, for the automaton that finds where it can end.
    pub(super) items: Vec<Item>,
    pub(super) nfa: OnceCell<Rc<Nfa>>,
}

pub(super) enum Step {
    Plain,
    /// A group around a group.
    Wrapped(Box<Plan>),
    /// One behind the other.
    Pair(Box<Plan>, Box<Plan>),
    Either(Vec<Plan>),
    Repeated(Box<Plan>, Repeat),
    BackReference(usize, Repeat),
}

/// The plan of a whole pattern.
pub(super) fn plan(branches: &Rc<Branches>) -> Plan {
    let whole = Item::Atom { atom: Atom::Group { capture: None, inside: Rc::clone(branches) }, repeat: Repeat::ONCE };
    Plan { items: vec![whole], ..plan_branches(branches) }
}

fn is_messy(flags: Flags) -> bool {
    flags & (MIXED | CAPTURES | REFERS) != 0
}

/// What of the flags counts for what is around, too.
fn up(flags: Flags) -> Flags {
    let mixed = if flags & LONGER != 0 && flags & SHORTER != 0 { MIXED } else { 0 };
    flags & !(LONGER | SHORTER) | mixed
}

fn preference(flags: Flags) -> Flags {
    flags & (LONGER | SHORTER)
}

/// Of two behind each other: the first that prefers something decides.
fn combined(first: Flags, second: Flags) -> Flags {
    up(first | second) | preference(if preference(first) == 0 { second } else { first })
}

fn wanted(repeat: Repeat) -> Flags {
    match repeat.is_greedy {
        Some(true) => LONGER,
        Some(false) => SHORTER,
        None => 0,
    }
}

impl Plan {
    fn new(step: Step, flags: Flags, items: Vec<Item>) -> Self {
        Self { step, flags, capture: None, items, nfa: OnceCell::new() }
    }

    fn is_plain(&self) -> bool {
        matches!(self.step, Step::Plain)
    }
}

fn plan_branches(branches: &Rc<Branches>) -> Plan {
    if let [only] = branches.as_slice() {
        return plan_branch(only);
    }
    let mut flags = LONGER;
    let mut plans = Vec::new();
    for branch in branches.iter() {
        let plan = plan_branch(branch);
        flags |= up(flags | plan.flags);
        plans.push(plan);
    }
    let group = Atom::Group { capture: None, inside: Rc::clone(branches) };
    let items = vec![Item::Atom { atom: group, repeat: Repeat::ONCE }];
    Plan::new(if is_messy(flags) { Step::Either(plans) } else { Step::Plain }, flags, items)
}

fn plan_branch(items: &[Item]) -> Plan {
    let mut flags = 0;
    for (index, item) in items.iter().enumerate() {
        let Item::Atom { atom, repeat } = item else { continue };
        if repeat.most == Some(0) {
            continue;
        }
        let inner = plan_atom(atom);
        let together = flags | wanted(*repeat) | inner.as_ref().map_or(0, |plan| plan.flags);
        let stands_alone = matches!(atom, Atom::Group { capture: Some(_), .. } | Atom::BackReference(_));
        if !stands_alone && !is_messy(up(together)) {
            flags = together;
            continue;
        }
        let once = Item::Atom { atom: atom.clone(), repeat: Repeat::ONCE };
        let inner = inner.unwrap_or_else(|| Plan::new(Step::Plain, 0, vec![once]));
        let wishes = combined(wanted(*repeat), inner.flags);
        return plan_rest(items, index, flags, (plan_repeated(atom, *repeat, inner), wishes));
    }
    Plan::new(Step::Plain, flags, items.to_vec())
}

fn plan_atom(atom: &Atom) -> Option<Plan> {
    match atom {
        Atom::Set(_) => None,
        Atom::BackReference(number) => {
            let items = vec![Item::Atom { atom: atom.clone(), repeat: Repeat::ONCE }];
            Some(Plan::new(Step::BackReference(*number, Repeat::ONCE), REFERS, items))
        }
        Atom::Group { capture: None, inside } => Some(plan_branches(inside)),
        Atom::Group { capture, inside } => {
            let mut plan = plan_branches(inside);
            plan.flags |= CAPTURES;
            if plan.capture.is_some() {
                let (flags, items) = (plan.flags, plan.items.clone());
                plan = Plan::new(Step::Wrapped(Box::new(plan)), flags, items);
            }
            Some(Plan { capture: *capture, ..plan })
        }
    }
}

/// Of a part that does not go together with those around it.
fn plan_repeated(atom: &Atom, repeat: Repeat, inner: Plan) -> Plan {
    let flags = combined(wanted(repeat), inner.flags);
    let items = |repeat| vec![Item::Atom { atom: atom.clone(), repeat }];
    let tastes = inner.flags & (LONGER | SHORTER | MIXED);
    if let Step::BackReference(number, _) = inner.step {
        return Plan::new(Step::BackReference(number, repeat), inner.flags | flags, items(repeat));
    }
    if repeat.is_once() && (wanted(repeat) == 0 || tastes == 0 || wanted(repeat) == tastes) {
        return inner;
    }
    if inner.flags & (CAPTURES | REFERS) == 0 {
        return Plan::new(Step::Plain, flags, items(repeat));
    }
    if repeat.least > 0 && inner.flags & REFERS == 0 {
        // Only what the last of them captures counts.
        let before =
            Repeat { least: repeat.least - 1, most: repeat.most.map(|most| most - 1), is_greedy: repeat.is_greedy };
        let before = Plan::new(Step::Plain, preference(flags), items(before));
        return Plan::new(Step::Pair(Box::new(before), Box::new(inner)), flags, items(repeat));
    }
    Plan::new(Step::Repeated(Box::new(inner), repeat), flags, items(repeat))
}

/// Of a branch whose item `index` does not go together with those before it, of which `flags` are. Its quantifier's wishes count
/// for the branch even where they are void for itself.
fn plan_rest(items: &[Item], index: usize, mut flags: Flags, (part, wishes): (Plan, Flags)) -> Plan {
    let (before, after) = (items.get(..index).unwrap_or_default(), items.get(index + 1..).unwrap_or_default());
    let prefix = || Box::new(Plan::new(Step::Plain, flags, before.to_vec()));
    if after.is_empty() {
        if before.is_empty() {
            return part;
        }
        let step = Step::Pair(prefix(), Box::new(part));
        let Step::Pair(_, part) = &step else { return Plan::new(step, flags, items.to_vec()) };
        flags |= combined(flags, part.flags);
        return Plan::new(step, flags, items.to_vec());
    }
    let rest = plan_branch(after);
    let rest_flags = wishes | combined(wishes, rest.flags);
    let is_plain = part.is_plain() && rest.is_plain() && !is_messy(up(part.flags | rest.flags));
    let (part_flags, prefix) = (part.flags, prefix());
    let whole_flags = flags | combined(flags, rest_flags);
    let pair = Step::Pair(Box::new(part), Box::new(rest));
    if before.is_empty() {
        return Plan::new(pair, whole_flags, items.to_vec());
    }
    let from_part = items.get(index..).unwrap_or_default().to_vec();
    let tail = match pair {
        Step::Pair(_, rest) if is_plain => Plan::new(Step::Plain, combined(part_flags, rest.flags), from_part),
        pair => Plan::new(pair, rest_flags, from_part),
    };
    Plan::new(Step::Pair(prefix, Box::new(tail)), whole_flags, items.to_vec())
}
