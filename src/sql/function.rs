//! Functions, operators and casts by Postgres's rules: the library's entries name their signatures as `pg_proc` has them, a call is
//! resolved to one of them by the types of its arguments, and what fits none is the error that Postgres gives.

mod column;
mod conversion;
mod kind;
mod plain_like;
mod resolve;
mod udf;
mod value;

use std::{
    any::{Any, TypeId},
    cell::RefCell,
    rc::Rc,
};

use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::{common::DataFusionError, scalar::ScalarValue};

pub(super) use kind::Kind;
pub(super) use resolve::{are_comparable, common_of, is_typed};
pub(super) use udf::{array_reader, functions, too_much};
pub(super) use value::{Decimal, Interval, Value, fault};

use crate::error::{Code, Error, Result};

/// How many prepared things (patterns, formats) a batch keeps.
const PREPARED_MAX: usize = 8;

/// One way to call a function: `lpad(text, int4, text) -> text`. A last argument may be `VARIADIC any`.
///
/// An operator has its symbol for a name, `|| (text, text) -> text`; a cast the target's, `::int4 (text) -> int4`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) signature: &'static str,
    pub(super) body: Body,
    /// Whether it is called where an argument is NULL; others give NULL.
    pub(super) takes_null: bool,
    /// Precision and scale of a numeric result; without, the widest of the arguments'.
    pub(super) scale: Option<Scale>,
}

/// Who computes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// Row by row.
    Rows(fn(&Call<'_>, &[Value<'_>]) -> Result<Value<'static>>),
    /// The engine's own function of this name, which gives the same for these types; arguments and result are cast.
    Engine(&'static str),
    /// The engine's cast, for casts.
    Cast,
}

/// Of a numeric result, by what the arguments are.
pub(super) type Scale = fn(&[Argument<'_>]) -> (u8, i8);

/// What is known of an argument when a statement is planned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Argument<'a> {
    pub(super) kind: Kind,
    pub(super) data_type: &'a DataType,
    /// Its value, where that is written in the statement.
    pub(super) literal: Option<&'a ScalarValue>,
}

/// Of a type, made of a text.
type Prepared = (TypeId, String, Rc<dyn Any>);

/// What a function knows beside its arguments.
pub(super) struct Call<'a> {
    /// The session's.
    pub(super) zone: Tz,
    /// The types that the arguments had before they were cast to the signature's, and the value of each.
    pub(super) kinds: &'a [Kind],
    prepared: RefCell<Vec<Prepared>>,
}

impl<'a> Call<'a> {
    pub(super) fn new(zone: Tz, kinds: &'a [Kind]) -> Self {
        Self { zone, kinds, prepared: RefCell::default() }
    }

    /// What `make` makes of `text`, kept for the next rows: formats and patterns are mostly the same in all of them.
    pub(super) fn prepared<T: 'static>(&self, text: &str, make: impl FnOnce(&str) -> Result<T>) -> Result<Rc<T>> {
        let of = TypeId::of::<T>();
        let found = self.prepared.borrow().iter().find(|(kind, key, _)| *kind == of && key == text).cloned();
        if let Some(made) = found.and_then(|(_, _, made)| made.downcast::<T>().ok()) {
            return Ok(made);
        }
        let made = Rc::new(make(text)?);
        let mut prepared = self.prepared.borrow_mut();
        if prepared.len() == PREPARED_MAX {
            prepared.remove(0);
        }
        prepared.push((of, text.to_owned(), Rc::clone(&made) as Rc<dyn Any>));
        Ok(made)
    }
}

/// An entry that is computed row by row.
pub(super) const fn rows(
    signature: &'static str,
    body: fn(&Call<'_>, &[Value<'_>]) -> Result<Value<'static>>,
) -> Entry {
    Entry { signature, body: Body::Rows(body), takes_null: false, scale: None }
}

/// An entry that the engine's function `name` computes.
pub(super) const fn engine(signature: &'static str, name: &'static str) -> Entry {
    Entry { signature, body: Body::Engine(name), takes_null: false, scale: None }
}

/// A cast that the engine's own gives the same for.
pub(super) const fn cast(signature: &'static str) -> Entry {
    Entry { signature, body: Body::Cast, takes_null: false, scale: None }
}

impl Entry {
    /// It says itself what it makes of NULL.
    pub(super) const fn takes_null(self) -> Self {
        Self { takes_null: true, ..self }
    }

    /// Its numeric result has this precision and scale.
    pub(super) const fn scaled(self, scale: Scale) -> Self {
        Self { scale: Some(scale), ..self }
    }
}

/// The error of a call that no function of the name takes.
pub(super) fn no_function(name: &str, types: &[DataType]) -> DataFusionError {
    let types: Vec<String> = types.iter().map(|data_type| Kind::of_type(data_type).long_name()).collect();
    let error = Error::new(Code::InvalidSql, format!("function {name}({}) does not exist", types.join(", ")))
        .with_sqlstate("42883")
        .with_hint("no function of that name takes arguments of these types; a cast may help");
    DataFusionError::External(Box::new(error))
}
