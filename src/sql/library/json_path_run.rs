//! Runs a `jsonpath` on a value, by the steps of Postgres, so that the same items are found and the same errors met.

use std::cell::Cell;

use super::{
    json_path::{Method, Path, Step, Steps},
    json_path_layout::offset_of,
    json_path_numbers::{absolute, compute, double_of_text, floor, negated, subscript},
    json_text::too_deep,
    json_value::Json,
    number_casts::float_of_text,
};
use crate::{
    error::{Error, Result},
    sql::function::fault,
};

/// How many items one path may find.
const ITEMS_MAX: usize = 4 << 20;

/// How much may be done for one value: steps from an item to the next, and comparisons.
const WORK_MAX: u64 = 50_000_000;

/// How many steps and operators may be inside one another.
const DEPTH_MAX: usize = 256;

/// From one number of a base to the next there is room for all places in it.
const BASE_STEP: u128 = 10_000_000_000;

/// Why a path was not followed to its end.
pub(super) enum Stop {
    /// What the path finds is not as it must be, and nobody wants to know.
    Silent,
    Error(Error),
}

pub(super) type Run<T> = std::result::Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The items that are found; without a list only whether there is one.
type Found<'l, 'j> = Option<&'l mut Vec<Json<'j>>>;

/// What goes on counting through all of a run.
#[derive(Default)]
struct Counts {
    /// The number of the next base.
    generated: Cell<u64>,
    work: Cell<u64>,
}

/// What is known while a path is run.
pub(super) struct Runner<'r, 'j> {
    pub(super) is_strict: bool,
    root: &'r Json<'j>,
    /// Without any, all are null.
    variables: Option<&'r Json<'j>>,
    /// `@`
    current: &'r Json<'j>,
    /// What the item is a part of, and its number: 0 of the document, 1 of the variables, others of what is generated.
    base: (&'r Json<'j>, u64),
    counts: &'r Counts,
    /// Of the array whose subscript is evaluated.
    size: Option<usize>,
    ignores_structure: bool,
    /// Whether errors are wanted.
    pub(super) is_loud: bool,
    pub(super) depth: usize,
}

/// The items that the path finds; those before an error, where it is not wanted.
pub(super) fn query<'j>(
    path: &Path,
    root: &Json<'j>,
    variables: Option<&Json<'j>>,
    is_loud: bool,
) -> Result<Vec<Json<'j>>> {
    let (mut found, counts) = (Vec::new(), Counts::default());
    let mut runner = Runner::new(path, root, variables, &counts, is_loud)?;
    match runner.run(&path.steps, root, &mut Some(&mut found)) {
        Ok(_) | Err(Stop::Silent) => Ok(found),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// Whether the path finds anything; nothing where that ends in an error that is not wanted.
pub(super) fn exists<'j>(
    path: &Path,
    root: &Json<'j>,
    variables: Option<&Json<'j>>,
    is_loud: bool,
) -> Result<Option<bool>> {
    let counts = Counts::default();
    match Runner::new(path, root, variables, &counts, is_loud)?.exists(&path.steps, root) {
        Ok(is_found) => Ok(Some(is_found)),
        Err(Stop::Silent) => Ok(None),
        Err(Stop::Error(error)) => Err(error),
    }
}

impl<'r, 'j> Runner<'r, 'j> {
    fn new(
        path: &Path,
        root: &'r Json<'j>,
        variables: Option<&'r Json<'j>>,
        counts: &'r Counts,
        is_loud: bool,
    ) -> Result<Self> {
        if !matches!(variables, None | Some(Json::Object(_))) {
            return Err(fault("22023", "\"vars\" argument is not an object")
                .with_detail("Jsonpath parameters should be encoded as key-value pairs of \"vars\" object."));
        }
        counts.generated.set(if variables.is_some() { 2 } else { 1 });
        Ok(Self {
            is_strict: path.is_strict,
            root,
            variables,
            current: root,
            base: (root, 0),
            counts,
            size: None,
            ignores_structure: !path.is_strict,
            is_loud,
            depth: 0,
        })
    }

    /// One step or operator inside another.
    pub(super) fn enter(&mut self) -> Run<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(too_deep().into()) } else { self.work() }
    }

    /// Something that is done again and again.
    pub(super) fn work(&self) -> Run<()> {
        let done = self.counts.work.get() + 1;
        self.counts.work.set(done);
        match done > WORK_MAX {
            true => Err(fault("54000", "jsonpath takes too many steps").into()),
            false => Ok(()),
        }
    }

    fn stop(&self, sqlstate: &'static str, message: impl Into<String>) -> Stop {
        match self.is_loud {
            true => Stop::Error(fault(sqlstate, message)),
            false => Stop::Silent,
        }
    }

    /// What must be there in the strict mode only.
    fn structural(&self, sqlstate: &'static str, message: &str) -> Run<bool> {
        match self.ignores_structure {
            true => Ok(false),
            false => Err(self.stop(sqlstate, message)),
        }
    }

    /// Whether anything is found. In the strict mode all must be looked at, because of the errors that may be there.
    pub(super) fn exists(&mut self, steps: &[Step], item: &Json<'j>) -> Run<bool> {
        let mut items = Vec::new();
        match self.is_strict {
            true => self.run(steps, item, &mut Some(&mut items)).map(|_| !items.is_empty()),
            false => self.run(steps, item, &mut None),
        }
    }

    /// Follows the steps from an item on; whether anything was found.
    pub(super) fn run(&mut self, steps: &[Step], item: &Json<'j>, found: &mut Found<'_, 'j>) -> Run<bool> {
        self.run_unwrapping(steps, item, found, !self.is_strict)
    }

    /// The end of a step: an item that the next one goes on with.
    fn go_on(&mut self, rest: &[Step], item: &Json<'j>, found: &mut Found<'_, 'j>) -> Run<bool> {
        if !rest.is_empty() {
            return self.run(rest, item, found);
        }
        if let Some(found) = found {
            if found.len() >= ITEMS_MAX {
                return Err(fault("54000", "jsonpath finds too many items").into());
            }
            found.push(item.clone());
        }
        Ok(true)
    }

    fn run_unwrapping(
        &mut self,
        steps: &[Step],
        item: &Json<'j>,
        found: &mut Found<'_, 'j>,
        unwraps: bool,
    ) -> Run<bool> {
        self.enter()?;
        let result = self.step(steps, item, found, unwraps);
        self.depth -= 1;
        result
    }

    fn step(&mut self, steps: &[Step], item: &Json<'j>, found: &mut Found<'_, 'j>, unwraps: bool) -> Run<bool> {
        let Some((step, rest)) = steps.split_first() else { return self.go_on(steps, item, found) };
        let is_decided = rest.is_empty() && found.is_none();
        match step {
            Step::Root => Runner { base: (self.root, 0), ..*self }.go_on(rest, self.root, found),
            Step::Current => self.go_on(rest, self.current, found),
            Step::Literal(_) | Step::Last if is_decided => Ok(true),
            Step::Literal(value) => self.go_on(rest, &value.clone(), found),
            Step::Last => {
                let last = self.size.map_or(0, |size| size.saturating_sub(1));
                let last = if self.size == Some(0) { "-1".to_owned() } else { last.to_string() };
                self.go_on(rest, &Json::Number(last.into()), found)
            }
            Step::Variable(name) => match self.variables.map(|variables| (variables, variables.member(name))) {
                Some((variables, Some(value))) => Runner { base: (variables, 1), ..*self }.go_on(rest, value, found),
                Some((_, None)) => Err(fault("42704", format!("could not find jsonpath variable \"{name}\"")).into()),
                None => self.go_on(rest, &Json::Null, found),
            },
            Step::Predicate(predicate) => {
                let truth = self.truth(predicate, item)?;
                match is_decided {
                    true => Ok(true),
                    false => self.go_on(rest, &truth.map_or(Json::Null, Json::Bool), found),
                }
            }
            Step::Arithmetic(operation, left, right) => {
                let (left, right) = (self.unwrapped(left, item)?, self.unwrapped(right, item)?);
                let single = |side: &str, items: &[Json<'j>]| match items {
                    [Json::Number(number)] => Ok(number.clone()),
                    _ => Err(self.stop(
                        "22038",
                        format!(
                            "{side} operand of jsonpath operator {} is not a single numeric value",
                            operation.symbol()
                        ),
                    )),
                };
                let (left, right) = (single("left", &left)?, single("right", &right)?);
                let result = compute(*operation, &left, &right);
                let result = result.map_err(|error| if self.is_loud { Stop::Error(error) } else { Stop::Silent })?;
                match is_decided {
                    true => Ok(true),
                    false => self.go_on(rest, &Json::Number(result.into()), found),
                }
            }
            Step::Sign { is_minus, operand } => self.sign(*is_minus, operand, rest, item, found),
            Step::Elements => match item {
                Json::Array(elements) => self.each(elements.iter(), rest, found, !self.is_strict),
                _ if !self.is_strict => self.go_on(rest, item, found),
                _ => self.structural("22039", "jsonpath wildcard array accessor can only be applied to an array"),
            },
            Step::Members => match item {
                Json::Object(members) => {
                    self.each(members.iter().map(|(_, value)| value), rest, found, !self.is_strict)
                }
                Json::Array(elements) if unwraps => self.each(elements.iter(), steps, found, false),
                _ => self.structural("2203C", "jsonpath wildcard member accessor can only be applied to an object"),
            },
            Step::Key(key) => match item {
                Json::Object(_) => match item.member(key) {
                    Some(value) => self.go_on(rest, value, found),
                    None => self.structural("2203A", &format!("JSON object does not contain key \"{key}\"")),
                },
                Json::Array(elements) if unwraps => self.each(elements.iter(), steps, found, false),
                _ => self.structural("2203A", "jsonpath member accessor can only be applied to an object"),
            },
            Step::Places(places) => self.places(places, rest, item, found),
            Step::Descendants { first, last } => {
                let mut is_found = false;
                if *first == 0 {
                    let before = std::mem::replace(&mut self.ignores_structure, true);
                    let result = self.go_on(rest, item, found);
                    self.ignores_structure = before;
                    is_found = match result {
                        // Postgres forgets this one.
                        Err(Stop::Silent) if !item.is_scalar() => false,
                        result => result?,
                    };
                    if is_found && found.is_none() {
                        return Ok(true);
                    }
                }
                match item.is_scalar() {
                    true => Ok(is_found),
                    false => self.descendants(item, rest, found, (1, *first, *last)),
                }
            }
            Step::Filter(predicate) => match item {
                Json::Array(elements) if unwraps => self.each(elements.iter(), steps, found, false),
                _ => match (Runner { current: item, ..*self }).truth(predicate, item)? {
                    Some(true) => self.go_on(rest, item, found),
                    _ => Ok(false),
                },
            },
            Step::Method(method) => match (method, item) {
                (Method::Type | Method::Size, _) => self.method(*method, rest, item, found),
                (_, Json::Array(elements)) if unwraps => self.each(elements.iter(), steps, found, false),
                _ => self.method(*method, rest, item, found),
            },
        }
    }

    /// Follows the steps from each of these items on.
    fn each<'i>(
        &mut self,
        items: impl Iterator<Item = &'i Json<'j>>,
        steps: &[Step],
        found: &mut Found<'_, 'j>,
        unwraps: bool,
    ) -> Run<bool>
    where
        'j: 'i,
    {
        let mut is_found = false;
        for item in items {
            is_found = match steps.is_empty() {
                true => self.go_on(steps, item, found)?,
                false => self.run_unwrapping(steps, item, found, unwraps)?,
            };
            if is_found && found.is_none() {
                return Ok(true);
            }
        }
        Ok(is_found)
    }

    /// `.**`: what is inside, at these levels; from the end where both are [`u32::MAX`].
    fn descendants(
        &mut self,
        item: &Json<'j>,
        steps: &[Step],
        found: &mut Found<'_, 'j>,
        (level, first, last): (u32, u32, u32),
    ) -> Run<bool> {
        if level > last {
            return Ok(false);
        }
        let inner: Vec<&Json<'j>> = match item {
            Json::Array(elements) => elements.iter().collect(),
            Json::Object(members) => members.iter().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        };
        let mut is_found = false;
        for value in inner {
            if level >= first || (first == u32::MAX && last == u32::MAX && value.is_scalar()) {
                let before = std::mem::replace(&mut self.ignores_structure, true);
                let result = self.go_on(steps, value, found);
                self.ignores_structure = before;
                is_found = result?;
                if is_found && found.is_none() {
                    return Ok(true);
                }
            }
            if level < last && !value.is_scalar() {
                is_found = self.descendants(value, steps, found, (level + 1, first, last))?;
                if is_found && found.is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(is_found)
    }

    /// `[1, 3 to last]`
    fn places(
        &mut self,
        places: &[(Steps, Option<Steps>)],
        rest: &[Step],
        item: &Json<'j>,
        found: &mut Found<'_, 'j>,
    ) -> Run<bool> {
        let elements = match item {
            Json::Array(elements) => elements.as_slice(),
            _ if !self.is_strict => std::slice::from_ref(item),
            _ => return self.structural("22039", "jsonpath array accessor can only be applied to an array"),
        };
        let before = self.size.replace(elements.len());
        let size = i64::try_from(elements.len()).unwrap_or(i64::MAX);
        let mut is_found = false;
        for (first, last) in places {
            let first = self.place(first, item)?;
            let last = last.as_ref().map_or(Ok(first), |last| self.place(last, item))?;
            if !self.ignores_structure && (first < 0 || first > last || last >= size) {
                return Err(self.stop("22033", "jsonpath array subscript is out of bounds"));
            }
            is_found = false;
            for at in first.max(0)..=last.min(size - 1) {
                let Some(element) = usize::try_from(at).ok().and_then(|at| elements.get(at)) else { continue };
                is_found = self.go_on(rest, element, found)?;
                if is_found && found.is_none() {
                    break;
                }
            }
            if is_found && found.is_none() {
                break;
            }
        }
        self.size = before;
        Ok(is_found)
    }

    fn place(&mut self, steps: &Steps, item: &Json<'j>) -> Run<i64> {
        let mut items = Vec::new();
        self.run(steps, item, &mut Some(&mut items))?;
        match items.as_slice() {
            [Json::Number(number)] => {
                subscript(number).ok_or_else(|| self.stop("22033", "jsonpath array subscript is out of integer range"))
            }
            _ => Err(self.stop("22033", "jsonpath array subscript is not a single numeric value")),
        }
    }

    fn sign(
        &mut self,
        is_minus: bool,
        operand: &Steps,
        rest: &[Step],
        item: &Json<'j>,
        found: &mut Found<'_, 'j>,
    ) -> Run<bool> {
        let is_decided = rest.is_empty() && found.is_none();
        let mut is_found = false;
        for value in self.unwrapped(operand, item)? {
            match value {
                Json::Number(_) if is_decided => return Ok(true),
                Json::Number(number) => {
                    let number = if is_minus { negated(&number).into() } else { number };
                    if self.go_on(rest, &Json::Number(number), found)? {
                        is_found = true;
                        if found.is_none() {
                            return Ok(true);
                        }
                    }
                }
                _ if is_decided => {}
                _ => {
                    let symbol = if is_minus { '-' } else { '+' };
                    return Err(self
                        .stop("2203B", format!("operand of unary jsonpath operator {symbol} is not a numeric value")));
                }
            }
        }
        Ok(is_found)
    }

    /// The items that an operand finds; in the lax mode, the elements of those that are arrays.
    pub(super) fn unwrapped(&mut self, steps: &Steps, item: &Json<'j>) -> Run<Vec<Json<'j>>> {
        let mut items = Vec::new();
        self.run(steps, item, &mut Some(&mut items))?;
        if self.is_strict {
            return Ok(items);
        }
        let unwrap = |item: Json<'j>| match item {
            Json::Array(elements) => elements,
            item => vec![item],
        };
        Ok(items.into_iter().flat_map(unwrap).collect())
    }

    fn method(&mut self, method: Method, rest: &[Step], item: &Json<'j>, found: &mut Found<'_, 'j>) -> Run<bool> {
        let name = method.name();
        let result = match method {
            Method::Type => Json::String(item.type_name().into()),
            Method::Size => match item {
                Json::Array(elements) => Json::Number(elements.len().to_string().into()),
                _ if !self.is_strict => Json::Number("1".into()),
                _ => {
                    let message = format!("jsonpath item method .{name}() can only be applied to an array");
                    return self.structural("22039", &message);
                }
            },
            Method::Abs | Method::Floor | Method::Ceiling => {
                let Json::Number(number) = item else {
                    let message = format!("jsonpath item method .{name}() can only be applied to a numeric value");
                    return Err(self.stop("22036", message));
                };
                let result = match method {
                    Method::Abs => absolute(number),
                    method => floor(number, method == Method::Ceiling)?,
                };
                if rest.is_empty() && found.is_none() {
                    return Ok(true);
                }
                Json::Number(result.into())
            }
            Method::Double => self.double(item)?,
            Method::Keyvalue => return self.key_values(rest, item, found),
            Method::Datetime => {
                return Err(fault("0A000", "jsonpath item method .datetime() is not supported").into());
            }
        };
        self.go_on(rest, &result, found)
    }

    fn double(&self, item: &Json<'j>) -> Run<Json<'j>> {
        match item {
            Json::Number(number) if float_of_text(number).is_ok() => Ok(item.clone()),
            Json::Number(_) => Err(self.stop(
                "22036",
                "numeric argument of jsonpath item method .double() is out of range for type double precision",
            )),
            Json::String(text) => double_of_text(text).map(|number| Json::Number(number.into())).ok_or_else(|| {
                self.stop(
                    "22036",
                    "string argument of jsonpath item method .double() is not a valid representation of a double \
                     precision number",
                )
            }),
            _ => {
                Err(self
                    .stop("22036", "jsonpath item method .double() can only be applied to a string or numeric value"))
            }
        }
    }

    /// An object for each member, with the place of what holds it as an identity.
    fn key_values(&mut self, rest: &[Step], item: &Json<'j>, found: &mut Found<'_, 'j>) -> Run<bool> {
        let Json::Object(members) = item else {
            return Err(self.stop("2203C", "jsonpath item method .keyvalue() can only be applied to an object"));
        };
        if rest.is_empty() && found.is_none() {
            return Ok(!members.is_empty());
        }
        let (base, number) = self.base;
        let offset = offset_of(base, item).ok_or_else(|| Error::internal("an object is not in its base"))?;
        let id = (u128::from(number) * BASE_STEP + u128::try_from(offset).unwrap_or_default()).to_string();
        let mut is_found = false;
        for (key, value) in members {
            let object = Json::object(vec![
                ("key".into(), Json::String(key.clone())),
                ("value".into(), value.clone()),
                ("id".into(), Json::Number(id.clone().into())),
            ]);
            let number = self.counts.generated.get();
            self.counts.generated.set(number + 1);
            is_found = Runner { base: (&object, number), ..*self }.go_on(rest, &object, found)?;
            if is_found && found.is_none() {
                return Ok(true);
            }
        }
        Ok(is_found)
    }
}
