//! The entries as functions of the engine.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock},
};

use arrow::{
    array::AsArray as _,
    datatypes::{DataType, Field, FieldRef},
};
use chrono_tz::Tz;
use datafusion::{
    common::{DataFusionError, Result as PlanResult, ScalarValue, internal_err},
    config::ConfigOptions,
    logical_expr::{
        Cast, ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature as EngineSignature, Volatility,
        expr::ScalarFunction,
        simplify::{ExprSimplifyResult, SimplifyContext},
    },
};

use super::{
    Argument, Body, Call, Entry,
    column::{Reader, build},
    conversion::Conversion,
    kind::Kind,
    plain_like::plain_like,
    resolve::{Chosen, Misfit, Signature, choose},
    value::Value,
};
use crate::{
    error::{Code, Error, Result},
    sql::{CHAR_LENGTH_KEY, PG_TYPE_KEY, library, size::BATCH_BYTES_MAX},
};

/// Of what it makes of constants: as much as a statement could have written.
const CONSTANT_BYTES_MAX: usize = 256 << 10;
const DIGITS_128: u8 = 38;
const DIGITS_256: u8 = 76;

/// All overloads of one name.
#[derive(Debug)]
pub(super) struct Group {
    name: String,
    pub(super) signatures: Vec<Signature>,
    pub(super) entries: Vec<&'static Entry>,
}

/// The library, read once.
pub(super) static GROUPS: LazyLock<HashMap<String, Arc<Group>>> = LazyLock::new(|| {
    let mut groups: HashMap<String, Group> = HashMap::new();
    for entry in library::entries() {
        let Some(signature) = Signature::parse(entry.signature) else {
            debug_assert!(false, "{} is no signature", entry.signature);
            continue;
        };
        let name = signature.name.clone();
        let group =
            groups.entry(name.clone()).or_insert_with(|| Group { name, signatures: Vec::new(), entries: Vec::new() });
        // What comes first holds.
        if group.signatures.iter().any(|had| had.arguments == signature.arguments && had.rest == signature.rest) {
            continue;
        }
        group.signatures.push(signature);
        group.entries.push(entry);
    }
    groups.into_iter().map(|(name, group)| (name, Arc::new(group))).collect()
});

/// The library's functions for sessions of `zone`. `engine` has those of the engine that entries stand on.
pub(in crate::sql) fn functions(zone: Tz, engine: &HashMap<String, Arc<ScalarUDF>>) -> HashMap<String, Arc<ScalarUDF>> {
    let zone_name: Arc<str> = zone.name().into();
    let make = |group: &Arc<Group>| {
        let function = Function {
            group: Arc::clone(group),
            zone,
            zone_name: Arc::clone(&zone_name),
            engine: engine_functions(group, engine),
            settled: None,
            signature: EngineSignature::user_defined(Volatility::Immutable),
        };
        Arc::new(ScalarUDF::from(function))
    };
    GROUPS.iter().map(|(name, group)| (name.clone(), make(group))).collect()
}

/// What reads an array column that travels as Postgres's text of it, and the type that it gives; none for elements that the library does
/// not read. `declared` is the column's type as `format_type` prints it.
pub(in crate::sql) fn array_reader(element: &str, declared: &str) -> Option<(DataType, Arc<ScalarUDF>)> {
    let kind = Kind::of_name(&format!("{element}[]"))?;
    let group = GROUPS.get(&format!("::{}", kind.name()))?;
    let chosen = choose(&group.signatures, &[Kind::Text]).ok()?;
    let digits = || {
        let (precision, scale) = declared.strip_prefix("numeric(")?.split_once(')')?.0.split_once(',')?;
        Some((precision.parse().ok()?, scale.parse().ok()?))
    };
    let zone_name: Arc<str> = "UTC".into();
    let field = kind.field(&zone_name, digits().unwrap_or((DIGITS_256, 30)));
    let data_type = field.data_type().clone();
    let function = Function {
        group: Arc::clone(group),
        zone: Tz::UTC,
        zone_name,
        engine: vec![None; group.entries.len()],
        settled: Some(Settled { chosen, kinds: vec![Kind::Text], field }),
        signature: EngineSignature::user_defined(Volatility::Immutable),
    };
    Some((data_type, Arc::new(ScalarUDF::from(function))))
}

fn engine_functions(group: &Group, engine: &HashMap<String, Arc<ScalarUDF>>) -> Vec<Option<Arc<ScalarUDF>>> {
    let find = |entry: &&'static Entry| match entry.body {
        Body::Engine(name) => {
            debug_assert!(engine.contains_key(name), "the engine has no function {name}");
            engine.get(name).cloned()
        }
        Body::Rows(_) | Body::Cast => None,
    };
    group.entries.iter().map(find).collect()
}

#[derive(Debug)]
struct Function {
    group: Arc<Group>,
    zone: Tz,
    zone_name: Arc<str>,
    /// For each entry, the engine's function that it stands on.
    engine: Vec<Option<Arc<ScalarUDF>>>,
    /// What the call was resolved to: set when a plan is made, since what columns are is not known in full where it runs.
    settled: Option<Settled>,
    signature: EngineSignature,
}

#[derive(Clone, Debug)]
struct Settled {
    chosen: Chosen,
    kinds: Vec<Kind>,
    field: FieldRef,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        let settled = |function: &Self| function.settled.as_ref().map(|settled| settled.field.data_type().clone());
        let kinds = |function: &Self| function.settled.as_ref().map(|settled| settled.kinds.clone());
        self.group.name == other.group.name
            && self.zone == other.zone
            && settled(self) == settled(other)
            && kinds(self) == kinds(other)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.group.name.hash(state);
        self.zone.hash(state);
    }
}

impl Function {
    fn resolve(&self, fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Result<Settled> {
        let kinds: Vec<Kind> = fields.iter().map(|field| Kind::of_field(field)).collect();
        let chosen = choose(&self.group.signatures, &kinds).map_err(|misfit| self.misfit(misfit, &kinds))?;
        for (kind, target) in kinds.iter().zip(&chosen.arguments) {
            Conversion::between(*kind, *target)?;
        }
        let field = self.result(&chosen, &kinds, fields, literals);
        Ok(Settled { chosen, kinds, field })
    }

    fn misfit(&self, misfit: Misfit, kinds: &[Kind]) -> Error {
        let name = &self.group.name;
        let types: Vec<String> = kinds.iter().map(|kind| kind.long_name()).collect();
        if let Some(target) = name.strip_prefix("::") {
            let target = Kind::of_name(target).map_or_else(|| target.to_owned(), Kind::long_name);
            let message = format!("cannot cast type {} to {target}", types.join(", "));
            return Error::new(Code::InvalidSql, message).with_sqlstate("42846");
        }
        let is_operator = !name.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        let (what, hint) = match (is_operator, types.as_slice()) {
            (true, [left, right]) => (
                format!("operator does not exist: {left} {name} {right}"),
                "no operator of that name takes these types; a cast may help",
            ),
            (true, [only]) => (
                format!("operator does not exist: {name} {only}"),
                "no operator of that name takes this type; a cast may help",
            ),
            _ => (
                format!("function {name}({}) does not exist", types.join(", ")),
                "no function of that name takes arguments of these types; a cast may help",
            ),
        };
        let error = |message: String, sqlstate| Error::new(Code::InvalidSql, message).with_sqlstate(sqlstate);
        match misfit {
            Misfit::None => error(what, "42883").with_hint(hint),
            Misfit::Many => error(what.replace("does not exist", "is not unique"), "42725")
                .with_hint("say which is meant by a cast of its arguments"),
            Misfit::Undetermined => {
                error("could not determine polymorphic type because input has type unknown".to_owned(), "42804")
            }
        }
    }

    fn result(
        &self,
        chosen: &Chosen,
        kinds: &[Kind],
        fields: &[FieldRef],
        literals: &[Option<&ScalarValue>],
    ) -> FieldRef {
        let entry = self.group.entries[chosen.index];
        let arguments: Vec<Argument<'_>> = kinds
            .iter()
            .zip(fields)
            .zip(literals)
            .map(|((kind, field), literal)| Argument { kind: *kind, data_type: field.data_type(), literal: *literal })
            .collect();
        let digits = match entry.scale {
            Some(scale) => scale(&arguments),
            None => widest(&arguments),
        };
        // How long a `char(n)` is shown is in the call.
        if self.group.name == "pilaster_bpchar"
            && let Some(Some(ScalarValue::Int64(Some(length)))) = literals.get(1)
        {
            let field = Kind::Bpchar.field(&self.zone_name, digits);
            let mut metadata = field.metadata().clone();
            metadata.insert(CHAR_LENGTH_KEY.to_owned(), length.to_string());
            let field = field.as_ref().clone().with_metadata(metadata);
            return Arc::new(match chosen.result {
                Kind::Array(_) => Field::new("", DataType::List(Arc::new(field.with_name("item"))), true),
                _ => field,
            });
        }
        // An enum's own name is its column's.
        let like = |kind: Kind| fields.iter().find(|field| Kind::of_field(field) == kind);
        match chosen.result {
            Kind::Enum => match like(Kind::Enum) {
                Some(field) => Arc::new(field.as_ref().clone().with_name("").with_nullable(true)),
                None => Kind::Text.field(&self.zone_name, digits),
            },
            result => result.field(&self.zone_name, digits),
        }
    }

    fn settle(&self, settled: Settled) -> ScalarUDF {
        ScalarUDF::from(Self {
            group: Arc::clone(&self.group),
            zone: self.zone,
            zone_name: Arc::clone(&self.zone_name),
            engine: self.engine.clone(),
            settled: Some(settled),
            signature: self.signature.clone(),
        })
    }

    fn find(&self, fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Result<Settled> {
        match &self.settled {
            Some(settled) => Ok(settled.clone()),
            None => self.resolve(fields, literals),
        }
    }

    fn compute(&self, settled: &Settled, arguments: Vec<ColumnarValue>, rows: usize) -> Result<ColumnarValue> {
        let is_scalar = arguments.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { rows };
        let failed = |error: DataFusionError| Error::internal("an argument cannot be read").with_cause(error);
        let entry = self.group.entries[settled.chosen.index];
        let call = Call::new(self.zone, &settled.kinds);
        let conversions = settled
            .kinds
            .iter()
            .zip(&settled.chosen.arguments)
            .map(|(kind, target)| Conversion::between(*kind, *target))
            .collect::<Result<Vec<_>>>()?;
        let mut readers = Vec::with_capacity(arguments.len());
        for (argument, conversion) in arguments.into_iter().zip(&conversions) {
            readers.push(match argument {
                ColumnarValue::Scalar(value) => {
                    let one = Reader::new(&value.to_array_of_size(1).map_err(failed)?)?;
                    Reader::One(conversion.apply(&call, one.get(0))?.into_static())
                }
                ColumnarValue::Array(array) => Reader::new(&array)?,
            });
        }
        let Body::Rows(body) = entry.body else {
            return Err(Error::internal(format!("{} is the engine's own", entry.signature)));
        };
        let (mut results, mut bytes) = (Vec::with_capacity(rows), 0);
        let mut values = Vec::with_capacity(readers.len());
        let has_lists = readers.iter().any(|reader| matches!(reader, Reader::List(..) | Reader::One(Value::List(_))));
        for row in 0..rows {
            values.clear();
            for (reader, conversion) in readers.iter().zip(&conversions) {
                values.push(match reader {
                    Reader::One(_) => reader.get(row),
                    _ => conversion.apply(&call, reader.get(row))?,
                });
            }
            // Whatever is made of a list is about as much as the list, whose texts may be one.
            if has_lists && values.iter().map(Value::text_bytes).sum::<usize>() > BATCH_BYTES_MAX {
                return Err(too_much(&self.group.name, BATCH_BYTES_MAX, "a list"));
            }
            let result = match entry.takes_null || !values.iter().any(Value::is_null) {
                true => body(&call, &values)?,
                false => Value::Null,
            };
            bytes += result.heap_bytes();
            // One value for all rows is written once for each where they are put together.
            let bytes_max = if is_scalar { CONSTANT_BYTES_MAX } else { BATCH_BYTES_MAX };
            if bytes > bytes_max {
                let of = if is_scalar { "a constant" } else { "some rows" };
                return Err(too_much(&self.group.name, bytes_max, of));
            }
            results.push(result);
        }
        let array = build(results, settled.field.data_type())?;
        Ok(match (is_scalar, array.data_type()) {
            // Whole, since the engine's reader of one value forgets what the elements' field says.
            (true, DataType::List(_)) => ColumnarValue::Scalar(ScalarValue::List(Arc::new(array.as_list().clone()))),
            (true, _) => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0).map_err(failed)?),
            (false, _) => ColumnarValue::Array(array),
        })
    }
}

/// What no pool of memory counts, and would be too much.
pub(in crate::sql) fn too_much(name: &str, bytes_max: usize, of: &str) -> Error {
    let message = format!("{name} makes more than {} KiB of {of}", bytes_max >> 10);
    Error::new(Code::ResultTooLarge, message).with_sqlstate("54000").with_hint("ask for fewer rows, or shorter values")
}

pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        &self.group.name
    }

    fn signature(&self) -> &EngineSignature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> PlanResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        internal_err!("the result's type depends on the arguments' fields")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> PlanResult<FieldRef> {
        let literals: Vec<Option<&ScalarValue>> =
            arguments.scalar_arguments.iter().map(|value| value.and_then(as_written)).collect();
        let settled = self.find(arguments.arg_fields, &literals).map_err(external)?;
        Ok(settled.field)
    }

    /// Where the engine's own function computes it, that stands in the plan, so that the optimiser knows what it is.
    fn simplify(&self, arguments: Vec<Expr>, info: &SimplifyContext) -> PlanResult<ExprSimplifyResult> {
        if self.settled.is_some() {
            return Ok(ExprSimplifyResult::Original(arguments));
        }
        let fields = arguments
            .iter()
            .map(|argument| argument.to_field(info.schema()).map(|(_, field)| field))
            .collect::<PlanResult<Vec<_>>>()?;
        let literals: Vec<Option<&ScalarValue>> = arguments.iter().map(literal).collect();
        let settled = self.resolve(&fields, &literals).map_err(external)?;
        let entry = self.group.entries[settled.chosen.index];
        let inner = match (entry.body, &self.engine[settled.chosen.index]) {
            (Body::Engine(_), Some(inner)) => Some(inner),
            (Body::Cast, _) => None,
            _ => {
                if let Some(like) = plain_like(&self.group.name, &settled.kinds, &arguments, &fields)? {
                    return Ok(ExprSimplifyResult::Simplified(like));
                }
                let function = Arc::new(self.settle(settled));
                return Ok(ExprSimplifyResult::Simplified(call(&function, arguments)));
            }
        };
        let mut converted = Vec::with_capacity(arguments.len());
        for ((argument, field), target) in arguments.into_iter().zip(&fields).zip(&settled.chosen.arguments) {
            let wanted = target.field(&self.zone_name, widest_of(field.data_type()));
            converted.push(match Conversion::between(Kind::of_field(field), *target).map_err(external)? {
                _ if field.data_type() == wanted.data_type() => argument,
                Conversion::Entry(entry) => {
                    let group = Signature::parse(entry.signature).and_then(|signature| GROUPS.get(&signature.name));
                    let Some(group) = group else { return internal_err!("{} is not in the library", entry.signature) };
                    let cast = Self {
                        group: Arc::clone(group),
                        zone: self.zone,
                        zone_name: Arc::clone(&self.zone_name),
                        engine: vec![None; group.entries.len()],
                        settled: None,
                        signature: self.signature.clone(),
                    };
                    call(&Arc::new(ScalarUDF::from(cast)), vec![argument])
                }
                _ => Expr::Cast(Cast::new(Box::new(argument), wanted.data_type().clone())),
            });
        }
        let made = match (inner, converted.len()) {
            (Some(inner), _) => call(inner, converted),
            (None, 1) => converted.remove(0),
            (None, _) => return internal_err!("a cast has one argument"),
        };
        // The field says the type's name too, even where the engine's type is right already; and NULL is where it is below the cast.
        let mut field = settled.field.as_ref().clone().with_nullable(made.nullable(info.schema())?);
        // A cast that says nothing keeps the name of what it casts.
        let was_said = made.to_field(info.schema())?.1.metadata().contains_key(PG_TYPE_KEY);
        if was_said && settled.chosen.result == Kind::Text {
            field.set_metadata(HashMap::from([(PG_TYPE_KEY.to_owned(), Kind::Text.name())]));
        }
        Ok(ExprSimplifyResult::Simplified(Expr::Cast(Cast::new_from_field(Box::new(made), Arc::new(field)))))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let literals = vec![None; arguments.args.len()];
        let settled = self.find(&arguments.arg_fields, &literals).map_err(external)?;
        // The type is the planned one, whatever is known by now.
        let settled = Settled { field: Arc::clone(&arguments.return_field), ..settled };
        let entry = self.group.entries[settled.chosen.index];
        if matches!(entry.body, Body::Rows(_)) {
            return self.compute(&settled, arguments.args, arguments.number_rows).map_err(external);
        }
        self.delegate(&settled, arguments)
    }
}

impl Function {
    /// Asks the engine's own function, where nobody has simplified the call.
    fn delegate(&self, settled: &Settled, arguments: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let call = Call::new(self.zone, &settled.kinds);
        let (mut converted, mut fields) = (Vec::new(), Vec::new());
        for ((value, kind), target) in arguments.args.iter().zip(&settled.kinds).zip(&settled.chosen.arguments) {
            let wanted = target.field(&self.zone_name, widest_of(&value.data_type()));
            let conversion = Conversion::between(*kind, *target).map_err(external)?;
            converted.push(conversion.columnar(&call, value, arguments.number_rows, wanted.data_type())?);
            fields.push(wanted);
        }
        let result = settled.field.data_type();
        let Some(inner) = &self.engine[settled.chosen.index] else {
            return match converted.as_slice() {
                [value] => value.cast_to(result, None),
                _ => internal_err!("a cast has one argument"),
            };
        };
        let literals: Vec<Option<ScalarValue>> = converted.iter().map(scalar).collect();
        let literals: Vec<Option<&ScalarValue>> = literals.iter().map(Option::as_ref).collect();
        let return_field =
            inner.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &literals })?;
        let made = inner.invoke_with_args(ScalarFunctionArgs {
            args: converted,
            arg_fields: fields,
            number_rows: arguments.number_rows,
            return_field,
            config_options: Arc::clone(&arguments.config_options as &Arc<ConfigOptions>),
        })?;
        made.cast_to(result, None)
    }
}

fn scalar(value: &ColumnarValue) -> Option<ScalarValue> {
    match value {
        ColumnarValue::Scalar(value) => Some(value.clone()),
        ColumnarValue::Array(_) => None,
    }
}

fn literal(argument: &Expr) -> Option<&ScalarValue> {
    match argument {
        Expr::Literal(value, _) => as_written(value),
        _ => None,
    }
}

/// The value, if it is of a type that only literals have as the statement has them: what a constant expression is folded to must not
/// change the type of what is around it.
const fn as_written(value: &ScalarValue) -> Option<&ScalarValue> {
    match value {
        ScalarValue::Utf8(_) | ScalarValue::Int64(_) => Some(value),
        _ => None,
    }
}

fn call(function: &Arc<ScalarUDF>, arguments: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments))
}

/// Digits before and behind the point that hold every argument's.
fn widest(arguments: &[Argument<'_>]) -> (u8, i8) {
    let digits = arguments.iter().map(|argument| widest_of(argument.data_type));
    let (whole, scale) = digits.fold((0, 0), |(whole, scale), (precision, own)| {
        let behind = u8::try_from(own).unwrap_or(0);
        (whole.max(precision.saturating_sub(behind)), scale.max(own))
    });
    let precision = whole.saturating_add(u8::try_from(scale).unwrap_or(0)).min(DIGITS_256);
    (if precision <= DIGITS_128 { DIGITS_128 } else { DIGITS_256 }, scale)
}

fn widest_of(data_type: &DataType) -> (u8, i8) {
    match data_type {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => (*precision, *scale),
        DataType::List(field) | DataType::LargeList(field) => widest_of(field.data_type()),
        data_type if data_type.is_integer() => (19, 0),
        _ => (0, 0),
    }
}
