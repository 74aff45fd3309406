//! Which of a function's overloads a call means: `func_select_candidate` of Postgres, over the library's entries.

use super::kind::{Element, Kind};

/// A signature, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sql) struct Signature {
    pub(in crate::sql) name: String,
    pub(in crate::sql) arguments: Vec<Kind>,
    /// What the arguments behind those are, any number of them.
    pub(in crate::sql) rest: Option<Kind>,
    pub(in crate::sql) result: Kind,
}

/// What a call was resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sql) struct Chosen {
    /// Which of the overloads.
    pub(in crate::sql) index: usize,
    /// What each argument becomes.
    pub(in crate::sql) arguments: Vec<Kind>,
    pub(in crate::sql) result: Kind,
}

/// Why a call fits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sql) enum Misfit {
    None,
    Many,
    /// A polymorphic function that is called with literals alone.
    Undetermined,
}

impl Signature {
    /// Reads `name(type, type) -> type`; spaces do not matter.
    pub(in crate::sql) fn parse(text: &str) -> Option<Self> {
        let open = text.find('(')?;
        let close = text.rfind(") ->")?;
        let result = Kind::of_name(text[close + 4..].trim())?;
        let (mut arguments, mut rest) = (Vec::new(), None);
        for argument in text[open + 1..close].split(',').map(str::trim).filter(|argument| !argument.is_empty()) {
            match argument.strip_prefix("VARIADIC ") {
                Some(kind) => rest = Some(Kind::of_name(kind)?),
                None => arguments.push(Kind::of_name(argument)?),
            }
        }
        Some(Self { name: text[..open].trim().to_owned(), arguments, rest, result })
    }

    fn takes(&self, count: usize) -> bool {
        match self.rest {
            Some(_) => count > self.arguments.len(),
            None => count == self.arguments.len(),
        }
    }

    fn argument(&self, place: usize) -> Kind {
        self.arguments.get(place).copied().or(self.rest).unwrap_or(Kind::Any)
    }
}

const fn is_polymorphic(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Any | Kind::AnyElement | Kind::AnyArray | Kind::AnyCompatible | Kind::AnyCompatibleArray | Kind::AnyEnum
    )
}

/// Whether a value of type `from` may stand where `target` is asked for.
fn accepts(target: Kind, from: Kind) -> bool {
    match target {
        Kind::Any | Kind::AnyElement | Kind::AnyCompatible => true,
        Kind::AnyArray | Kind::AnyCompatibleArray => matches!(from, Kind::Array(_) | Kind::Unknown),
        target => from.becomes(target),
    }
}

/// Chooses among `overloads`, all of one name, for arguments of these types.
pub(in crate::sql) fn choose(overloads: &[Signature], kinds: &[Kind]) -> Result<Chosen, Misfit> {
    let count = kinds.len();
    let fitting = |index: &usize| overloads[*index].takes(count);
    let candidates: Vec<usize> = (0..overloads.len()).filter(fitting).collect();
    let exact = |index: &usize| (0..count).all(|place| overloads[*index].argument(place) == kinds[place]);
    if let Some(index) = candidates.iter().find(|index| exact(index)) {
        return bind(overloads, *index, kinds).ok_or(Misfit::None);
    }
    let mut candidates: Vec<usize> = candidates
        .into_iter()
        .filter(|index| (0..count).all(|place| accepts(overloads[*index].argument(place), kinds[place])))
        .filter(|index| is_consistent(&overloads[*index], kinds))
        .collect();
    if candidates.is_empty() {
        return Err(Misfit::None);
    }
    let known = |place: &usize| kinds[*place] != Kind::Unknown;
    let matches = |index: usize, counts: &dyn Fn(Kind, Kind) -> bool| {
        (0..count).filter(known).filter(|place| counts(overloads[index].argument(*place), kinds[*place])).count()
    };
    keep_best(&mut candidates, |index| matches(index, &|target, from| target == from));
    keep_best(&mut candidates, |index| {
        matches(index, &|target, from| target == from || target.is_preferred() && target.category() == from.category())
    });
    if candidates.len() > 1 && kinds.contains(&Kind::Unknown) {
        by_category(overloads, kinds, &mut candidates);
    }
    if candidates.len() > 1 && kinds.contains(&Kind::Unknown) {
        // Where all that is known is of one type, what is not known is taken to be of it too.
        let mut types = kinds.iter().copied().filter(|kind| *kind != Kind::Unknown);
        if let Some(first) = types.next()
            && types.all(|kind| kind == first)
        {
            let fits = |index: &usize| (0..count).all(|place| accepts(overloads[*index].argument(place), first));
            let same: Vec<usize> = candidates.iter().copied().filter(fits).collect();
            if same.len() == 1 {
                candidates = same;
            }
        }
    }
    match candidates.as_slice() {
        [index] => bind(overloads, *index, kinds).ok_or(Misfit::Undetermined),
        _ => Err(Misfit::Many),
    }
}

fn keep_best(candidates: &mut Vec<usize>, score: impl Fn(usize) -> usize) {
    let best = candidates.iter().map(|index| score(*index)).max().unwrap_or(0);
    if best > 0 {
        candidates.retain(|index| score(*index) == best);
    }
}

/// For literals: strings are preferred, otherwise the category must be the same in all candidates.
fn by_category(overloads: &[Signature], kinds: &[Kind], candidates: &mut Vec<usize>) {
    let unknown: Vec<usize> = (0..kinds.len()).filter(|place| kinds[*place] == Kind::Unknown).collect();
    let mut wanted = Vec::new();
    for place in &unknown {
        let mut categories = candidates.iter().map(|index| overloads[*index].argument(*place));
        let is_string = categories.clone().any(|kind| kind.category() == 'S');
        let first = categories.next().map(Kind::category);
        let category = match (is_string, first) {
            (true, _) => 'S',
            (false, Some(first)) if categories.all(|kind| kind.category() == first) => first,
            _ => return,
        };
        let preferred = candidates
            .iter()
            .map(|index| overloads[*index].argument(*place))
            .any(|kind| kind.category() == category && kind.is_preferred());
        wanted.push((*place, category, preferred));
    }
    let fits = |index: &usize| {
        wanted.iter().all(|(place, category, preferred)| {
            let kind = overloads[*index].argument(*place);
            kind.category() == *category && (!preferred || kind.is_preferred())
        })
    };
    let kept: Vec<usize> = candidates.iter().copied().filter(fits).collect();
    if !kept.is_empty() {
        *candidates = kept;
    }
}

/// Whether what is to be the same is the same.
fn is_consistent(signature: &Signature, kinds: &[Kind]) -> bool {
    let mut same: Option<Kind> = None;
    for (place, kind) in kinds.iter().enumerate() {
        let element = match (signature.argument(place), *kind) {
            (_, Kind::Unknown) => continue,
            (Kind::AnyElement, kind) => kind,
            (Kind::AnyArray, Kind::Array(element)) => element.kind(),
            _ => continue,
        };
        if same.is_some_and(|same| same != element) {
            return false;
        }
        same = Some(element);
    }
    let mut common: Option<Kind> = None;
    for (place, kind) in kinds.iter().enumerate() {
        let element = match (signature.argument(place), *kind) {
            (_, Kind::Unknown) => continue,
            (Kind::AnyCompatible, kind) => kind,
            (Kind::AnyCompatibleArray, Kind::Array(element)) => element.kind(),
            _ => continue,
        };
        common = match common {
            None => Some(element),
            Some(common) => match common_of(common, element) {
                Some(kind) => Some(kind),
                None => return false,
            },
        };
    }
    true
}

/// `select_common_type` of two: what both become.
pub(in crate::sql) fn common_of(left: Kind, right: Kind) -> Option<Kind> {
    match (left, right) {
        (Kind::Unknown, other) | (other, Kind::Unknown) => Some(other),
        (left, right) if left == right => Some(left),
        (left, right) if left.category() != right.category() => None,
        (left, right) if !left.is_preferred() && left.becomes(right) && !right.becomes(left) => Some(right),
        (left, right) if right.becomes(left) => Some(left),
        _ => None,
    }
}

/// Whether a literal beside it is read as its type; a text stays a text, and an enum's label a label.
pub(in crate::sql) const fn is_typed(kind: Kind) -> bool {
    !matches!(kind, Kind::Text | Kind::Varchar | Kind::Bpchar | Kind::Name | Kind::Enum | Kind::Other | Kind::Unknown)
}

/// Whether Postgres has `=` and `<` for these types.
pub(in crate::sql) fn are_comparable(left: Kind, right: Kind) -> bool {
    let is_engines = |kind: Kind| matches!(kind, Kind::Other | Kind::Regtype);
    match (left, right) {
        (Kind::Unknown, _) | (_, Kind::Unknown) => true,
        (left, right) if is_engines(left) || is_engines(right) => true,
        (Kind::Json, _) | (_, Kind::Json) => false,
        (Kind::Time, other) | (other, Kind::Time) => other == Kind::Time,
        (Kind::Array(left), Kind::Array(right)) => left.kind().category() == right.kind().category(),
        (Kind::Array(_), _) | (_, Kind::Array(_)) => false,
        (left, right) if left.category() == 'U' => left == right,
        (left, right) => left.category() == right.category(),
    }
}

fn bind(overloads: &[Signature], index: usize, kinds: &[Kind]) -> Option<Chosen> {
    let signature = &overloads[index];
    let (mut element, mut compatible) = (None, None);
    for (place, kind) in kinds.iter().enumerate() {
        match (signature.argument(place), *kind) {
            (_, Kind::Unknown) => {}
            (Kind::AnyElement | Kind::AnyEnum, kind) => element = Some(kind),
            (Kind::AnyArray, Kind::Array(of)) => element = Some(of.kind()),
            (Kind::AnyCompatible, kind) => compatible = compatible.map_or(Some(kind), |had| common_of(had, kind)),
            (Kind::AnyCompatibleArray, Kind::Array(of)) => {
                compatible = compatible.map_or(Some(of.kind()), |had| common_of(had, of.kind()));
            }
            _ => {}
        }
    }
    let settle = |kind: Kind, given: Kind| -> Option<Kind> {
        Some(match kind {
            Kind::Any if given == Kind::Unknown => Kind::Text,
            Kind::Any => given,
            Kind::AnyElement | Kind::AnyEnum => element?,
            Kind::AnyArray => Kind::Array(Element::of(element?)?),
            Kind::AnyCompatible => compatible.unwrap_or(Kind::Text),
            Kind::AnyCompatibleArray => Kind::Array(Element::of(compatible.unwrap_or(Kind::Text))?),
            kind => kind,
        })
    };
    let arguments = kinds
        .iter()
        .enumerate()
        .map(|(place, kind)| settle(signature.argument(place), *kind))
        .collect::<Option<Vec<_>>>()?;
    let result = match is_polymorphic(signature.result) {
        true => settle(signature.result, Kind::Unknown)?,
        false => signature.result,
    };
    Some(Chosen { index, arguments, result })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_resolved_as_postgres_does() {
        let check = |signatures: &[&str], kinds: &[&str], expect: Result<&str, Misfit>| {
            let overloads: Vec<_> = signatures.iter().map(|text| Signature::parse(text).unwrap()).collect();
            let kinds: Vec<_> = kinds.iter().map(|name| Kind::of_name(name).unwrap()).collect();
            let spelled = choose(&overloads, &kinds).map(|chosen| {
                let arguments: Vec<_> = chosen.arguments.iter().map(|kind| kind.name()).collect();
                format!("{}:{}->{}", chosen.index, arguments.join(","), chosen.result.name())
            });
            assert_eq!(spelled.as_deref().map_err(|misfit| *misfit), expect, "{signatures:?} {kinds:?}");
        };
        let abs = ["abs(int4) -> int4", "abs(int8) -> int8", "abs(numeric) -> numeric", "abs(float8) -> float8"];
        check(&abs, &["int4"], Ok("0:int4->int4"));
        check(&abs, &["int2"], Ok("3:float8->float8"));
        check(&abs, &["unknown"], Ok("3:float8->float8"));
        check(&abs, &["text"], Err(Misfit::None));
        check(&abs, &["int4", "int4"], Err(Misfit::None));
        check(&["lower(text) -> text"], &["varchar"], Ok("0:text->text"));
        check(&["lower(text) -> text"], &["int4"], Err(Misfit::None));
        let concat = ["|| (text, text) -> text", "|| (jsonb, jsonb) -> jsonb"];
        check(&concat, &["unknown", "unknown"], Ok("0:text,text->text"));
        check(&concat, &["jsonb", "unknown"], Ok("1:jsonb,jsonb->jsonb"));
        let append = ["array_append(anycompatiblearray, anycompatible) -> anycompatiblearray"];
        check(&append, &["int4[]", "int8"], Ok("0:int8[],int8->int8[]"));
        check(&append, &["int4[]", "text"], Err(Misfit::None));
        check(&["f(anyelement, anyelement) -> anyelement"], &["unknown", "unknown"], Err(Misfit::Undetermined));
        check(&["concat(VARIADIC any) -> text"], &["int4", "unknown"], Ok("0:int4,text->text"));
        check(&["concat(VARIADIC any) -> text"], &[], Err(Misfit::None));
    }
}
