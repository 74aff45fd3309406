//! What a request gives becomes typed values, or the error that says what to write instead.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::named::{self, NamedQuery, Parameter};
use crate::{
    access::Scope,
    error::{Code, Error, Result},
    sql::{ParameterType, ParameterValue, ReadOnlySql, ScalarType},
};

/// What a request gave, by name, not yet typed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawParameters(BTreeMap<String, Vec<RawValue>>);

#[derive(Clone, Debug, PartialEq)]
enum RawValue {
    Text(String),
    Json(Value),
}

/// A statement's parameters with their values, in the order of [`ReadOnlySql::names`].
#[derive(Clone, Debug, PartialEq)]
pub struct Bound(pub Vec<(ParameterType, ParameterValue)>);

/// What the reserved parameters are.
pub struct Reserved<'a> {
    /// From the verified principal.
    pub scope: &'a Scope,
    /// The tenant column's type.
    pub tenant_type: ScalarType,
    /// The snapshot's instant.
    pub now: DateTime<Utc>,
    /// The request's time zone.
    pub time_zone: &'a str,
}

impl RawParameters {
    /// From a query string or a command line, where a key may be repeated.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut raw = Self::default();
        for (name, value) in pairs {
            raw.0.entry(name).or_default().push(RawValue::Text(value));
        }
        raw
    }

    /// From a JSON object.
    #[must_use]
    pub fn from_json(object: serde_json::Map<String, Value>) -> Self {
        Self(object.into_iter().map(|(name, value)| (name, vec![RawValue::Json(value)])).collect())
    }

    /// Adds those of `other`, which win.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// With those that somebody else has fixed, which the request may not choose.
    pub(super) fn fixed(&self, fixed: &BTreeMap<String, Value>, query: &NamedQuery) -> Result<Self> {
        if let Some(name) = self.names().find(|name| fixed.contains_key(*name)) {
            return Err(Error::new(Code::PermissionDenied, format!("parameter {name:?} is fixed by the token"))
                .with_hint("leave it out"));
        }
        let mut all = self.clone();
        for (name, value) in fixed.iter().filter(|(name, _)| query.parameter(name).is_some()) {
            all.0.insert(name.clone(), vec![RawValue::Json(value.clone())]);
        }
        Ok(all)
    }

    /// As they were given: a list where a name was given several times.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Map<String, Value> {
        let one = |value: &RawValue| match value {
            RawValue::Text(text) => Value::String(text.clone()),
            RawValue::Json(value) => value.clone(),
        };
        let of = |values: &Vec<RawValue>| match values.as_slice() {
            [single] => one(single),
            several => Value::Array(several.iter().map(one).collect()),
        };
        self.0.iter().map(|(name, values)| (name.clone(), of(values))).collect()
    }

    /// The names that were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Those that `keep` keeps.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(
            self.0.iter().filter(|(name, _)| keep(name)).map(|(name, values)| (name.clone(), values.clone())).collect(),
        )
    }

    /// Types the values for a named query.
    pub fn bind_named(&self, query: &NamedQuery, sql: &ReadOnlySql, reserved: &Reserved<'_>) -> Result<Bound> {
        self.refuse_reserved()?;
        if let Some(unknown) = self.0.keys().find(|name| query.parameter(name).is_none()) {
            let names: Vec<&str> = query.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
            let hint = if names.is_empty() {
                "this query takes no parameters".to_owned()
            } else {
                format!("this query takes {}", names.join(", "))
            };
            let message = format!("query {}/{} has no parameter {unknown:?}", query.dashboard, query.name);
            return Err(Error::new(Code::UnknownParameter, message).with_hint(hint));
        }
        let bound = sql.names().iter().map(|name| match query.parameter(name) {
            Some(parameter) => Ok((parameter.kind, self.value_of(parameter)?)),
            None => reserved.value_of(name),
        });
        bound.collect::<Result<_>>().map(Bound)
    }

    /// Types the values for SQL that nobody has declared: by what JSON says, or as text.
    pub fn bind_ad_hoc(&self, sql: &ReadOnlySql, reserved: &Reserved<'_>) -> Result<Bound> {
        self.refuse_reserved()?;
        if let Some(unknown) = self.0.keys().find(|name| !sql.names().contains(name)) {
            return Err(Error::new(Code::UnknownParameter, format!("the statement has no parameter ${unknown}"))
                .with_hint("use it in the SQL, or leave it out"));
        }
        let bound = sql.names().iter().map(|name| match self.0.get(name).map(Vec::as_slice) {
            Some([RawValue::Json(value)]) => untyped(name, value),
            Some([RawValue::Text(text)]) => {
                Ok((ParameterType::scalar(ScalarType::Text), ParameterValue::Text(text.clone())))
            }
            Some(several) => {
                let texts = several.iter().map(|value| match value {
                    RawValue::Text(text) => Ok(ParameterValue::Text(text.clone())),
                    RawValue::Json(_) => {
                        Err(Error::new(Code::InvalidParameter, format!("parameter {name:?} is given twice")))
                    }
                });
                let kind = ParameterType { scalar: ScalarType::Text, is_list: true };
                Ok((kind, ParameterValue::List(texts.collect::<Result<_>>()?)))
            }
            None if named::RESERVED.contains(&name.as_str()) => reserved.value_of(name),
            None => Err(Error::new(Code::MissingParameter, format!("parameter {name:?} is missing"))
                .with_hint(format!("send {{\"params\": {{\"{name}\": …}}}}"))),
        });
        bound.collect::<Result<_>>().map(Bound)
    }

    fn refuse_reserved(&self) -> Result<()> {
        match self.0.keys().find(|name| named::RESERVED.contains(&name.as_str())) {
            Some(name) if name == "timezone" => {
                Err(Error::new(Code::InvalidParameter, "the time zone is an option of the request, not a parameter")
                    .with_hint("send it in the query string, as in ?timezone=Europe/Berlin"))
            }
            Some(name) => Err(Error::new(Code::InvalidParameter, format!("parameter {name:?} is reserved"))
                .with_hint("it comes from who asks and from the snapshot, never from the request")),
            None => Ok(()),
        }
    }

    fn value_of(&self, parameter: &Parameter) -> Result<ParameterValue> {
        let Some(given) = self.0.get(&parameter.name) else {
            return parameter.default.clone().ok_or_else(|| {
                let (format, example) = parameter.kind.scalar.format();
                Error::new(Code::MissingParameter, format!("parameter {:?} is missing", parameter.name))
                    .with_hint(format!("give {format}, for example ?{}={example}", parameter.name))
            });
        };
        let kind = parameter.kind;
        if !kind.is_list {
            return match given.as_slice() {
                [one] => coerce(parameter, kind.scalar, one),
                several => Err(mistyped(parameter, &format!("is given {} times", several.len()), "give it once")),
            };
        }
        let mut items = Vec::new();
        for value in given {
            match value {
                RawValue::Json(Value::Null) => return Ok(ParameterValue::Null),
                RawValue::Json(Value::Array(values)) => {
                    for value in values {
                        items.push(coerce(parameter, kind.scalar, &RawValue::Json(value.clone()))?);
                    }
                }
                one => items.push(coerce(parameter, kind.scalar, one)?),
            }
        }
        Ok(ParameterValue::List(items))
    }
}

impl Reserved<'_> {
    /// The tenant of that name, which has one way to be written.
    fn tenant(&self, text: &str) -> Option<ParameterValue> {
        let value = self.tenant_type.parse(text)?;
        let written = match &value {
            ParameterValue::Int4(number) => number.to_string(),
            ParameterValue::Int8(number) => number.to_string(),
            ParameterValue::Text(text) => text.clone(),
            _ => return None,
        };
        (written == text).then_some(value)
    }

    pub(super) fn value_of(&self, name: &str) -> Result<(ParameterType, ParameterValue)> {
        let kind = named::reserved_type(name, self.tenant_type)
            .ok_or_else(|| Error::new(Code::MissingParameter, format!("parameter {name:?} is missing")))?;
        let value = match name {
            "tenant" => match self.scope {
                Scope::All => ParameterValue::Null,
                Scope::Tenant(tenant) => self.tenant(tenant.as_str()).ok_or_else(|| {
                    let (format, _) = self.tenant_type.format();
                    Error::new(
                        Code::InvalidRequest,
                        format!("the tenant {:?} is not of type {}", tenant.as_str(), self.tenant_type),
                    )
                    .with_hint(format!("a tenant is {format} here; access.tenant_type says so"))
                })?,
            },
            "now" => ParameterValue::Timestamptz(self.now),
            _ => ParameterValue::Text(self.time_zone.to_owned()),
        };
        Ok((kind, value))
    }
}

fn coerce(parameter: &Parameter, scalar: ScalarType, value: &RawValue) -> Result<ParameterValue> {
    let text = match value {
        RawValue::Text(text) => text.clone(),
        RawValue::Json(Value::Null) => return Ok(ParameterValue::Null),
        RawValue::Json(Value::String(text)) => text.clone(),
        RawValue::Json(Value::Number(number)) if is_number(scalar) => number.to_string(),
        RawValue::Json(Value::Bool(value)) if scalar == ScalarType::Bool => value.to_string(),
        RawValue::Json(other) => return Err(not_of_type(parameter, scalar, &other.to_string())),
    };
    scalar.parse(&text).ok_or_else(|| not_of_type(parameter, scalar, &format!("{text:?}")))
}

fn is_number(scalar: ScalarType) -> bool {
    matches!(scalar, ScalarType::Int4 | ScalarType::Int8 | ScalarType::Float8 | ScalarType::Numeric)
}

/// JSON's own types: text, bool, int8, numeric, and lists of one of them.
fn untyped(name: &str, value: &Value) -> Result<(ParameterType, ParameterValue)> {
    let wrong = |what: &str| {
        Error::new(Code::InvalidParameter, format!("parameter {name:?} {what}"))
            .with_hint("send a string, a number, true, false, null, or a list of one of them")
    };
    let scalar_of = |value: &Value| match value {
        Value::Bool(_) => Some(ScalarType::Bool),
        Value::Number(number) if number.as_i64().is_some() => Some(ScalarType::Int8),
        Value::Number(number) if ScalarType::Numeric.parse(&number.to_string()).is_some() => Some(ScalarType::Numeric),
        Value::Number(_) => Some(ScalarType::Float8),
        Value::Null | Value::String(_) => Some(ScalarType::Text),
        Value::Array(_) | Value::Object(_) => None,
    };
    let typed = |scalar: ScalarType, value: &Value| match value {
        Value::Null => Ok(ParameterValue::Null),
        Value::String(text) if scalar == ScalarType::Text => Ok(ParameterValue::Text(text.clone())),
        Value::String(_) => Err(wrong("mixes strings and others")),
        other => scalar.parse(&other.to_string()).ok_or_else(|| wrong("mixes types")),
    };
    match value {
        Value::Array(values) => {
            let scalars = values
                .iter()
                .filter(|value| !value.is_null())
                .map(|value| scalar_of(value).ok_or_else(|| wrong("is a list of lists or objects")))
                .collect::<Result<Vec<_>>>()?;
            // Whole numbers and others mixed are numerics, all of them.
            let widest = |found: &[ScalarType]| {
                [ScalarType::Float8, ScalarType::Numeric].into_iter().find(|wide| found.contains(wide))
            };
            let scalar = widest(&scalars).or(scalars.first().copied()).unwrap_or(ScalarType::Text);
            let items = values.iter().map(|value| typed(scalar, value)).collect::<Result<_>>()?;
            Ok((ParameterType { scalar, is_list: true }, ParameterValue::List(items)))
        }
        value => {
            let scalar = scalar_of(value).ok_or_else(|| wrong("is an object"))?;
            Ok((ParameterType::scalar(scalar), typed(scalar, value)?))
        }
    }
}

fn not_of_type(parameter: &Parameter, scalar: ScalarType, given: &str) -> Error {
    let (format, example) = scalar.format();
    let noun = match scalar {
        ScalarType::Int4 | ScalarType::Int8 => "an integer",
        ScalarType::Uuid => "a UUID",
        ScalarType::Bool => "a boolean",
        ScalarType::Float8 | ScalarType::Numeric => "a number",
        ScalarType::Text => "text",
        ScalarType::Date => "a date",
        ScalarType::Timestamp => "a timestamp",
        ScalarType::Timestamptz => "a timestamp with time zone",
    };
    let shown: String = given.chars().take(100).collect();
    let message = format!("parameter {:?}: {shown} is not {noun}; use {format}", parameter.name);
    Error::new(Code::InvalidParameter, message)
        .with_sqlstate("22P02")
        .with_hint(format!("for example ?{}={example}", parameter.name))
}

fn mistyped(parameter: &Parameter, what: &str, hint: &str) -> Error {
    Error::new(Code::InvalidParameter, format!("parameter {:?} {what}", parameter.name)).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::TenantId, sql::StatementLimits};

    const LIMITS: StatementLimits = StatementLimits { bytes_max: 10_000, tokens_max: 1_000 };

    fn reserved(scope: &Scope) -> Reserved<'_> {
        Reserved { scope, tenant_type: ScalarType::Int8, now: DateTime::UNIX_EPOCH, time_zone: "UTC" }
    }

    fn bind(raw: &RawParameters, scope: &Scope) -> Result<Vec<String>> {
        let text = "-- @param day date\n-- @param top int4 = 5\n-- @param plans text[] = null\n\
                    SELECT $day, $top, $plans, $tenant, $now";
        let query = NamedQuery::parse("d", "q", text, LIMITS)?;
        let bound = raw.bind_named(&query, &query.sql, &reserved(scope))?;
        Ok(bound.0.iter().map(|(kind, value)| kind.to_postgres_literal(value)).collect())
    }

    fn pairs(text: &str) -> RawParameters {
        RawParameters::from_pairs(url::form_urlencoded::parse(text.as_bytes()).into_owned())
    }

    #[test]
    fn a_query_string_is_typed() {
        let check =
            |text: &str, expect: &[&str]| assert_eq!(bind(&pairs(text), &Scope::All).unwrap(), expect, "{text}");
        let tail = ["NULL::int8", "'1970-01-01T00:00:00Z'::timestamptz"];
        check("day=2024-12-01", &["'2024-12-01'::date", "'5'::int4", "NULL::text[]", tail[0], tail[1]]);
        check(
            "day=2024-12-01&plans=a&plans=b%2Cc&top=7",
            &["'2024-12-01'::date", "'7'::int4", "ARRAY['a', 'b,c']::text[]", tail[0], tail[1]],
        );
    }

    #[test]
    fn the_tenant_comes_from_the_principal_alone() {
        let scope = Scope::Tenant(TenantId::new("42").unwrap());
        assert_eq!(bind(&pairs("day=2024-12-01"), &scope).unwrap()[3], "'42'::int8");
        let error = bind(&pairs("day=2024-12-01&tenant=7"), &scope).unwrap_err();
        assert!(error.message().contains("reserved"), "{error}");
        let odd = Scope::Tenant(TenantId::new("x").unwrap());
        assert!(
            bind(&pairs("day=2024-12-01"), &odd).is_err(),
            "a tenant of the wrong type must not become NULL, which is all"
        );
    }

    #[test]
    fn mistakes_say_what_to_write() {
        let check = |text: &str, code: Code, message: &str, hint: &str| {
            let error = bind(&pairs(text), &Scope::All).unwrap_err();
            assert_eq!((error.code(), error.message(), error.hint()), (code, message, Some(hint)), "{text}");
        };
        check(
            "day=2024-13-01",
            Code::InvalidParameter,
            "parameter \"day\": \"2024-13-01\" is not a date; use YYYY-MM-DD",
            "for example ?day=2024-12-01",
        );
        check(
            "",
            Code::MissingParameter,
            "parameter \"day\" is missing",
            "give YYYY-MM-DD, for example ?day=2024-12-01",
        );
        check(
            "day=2024-12-01&dya=1",
            Code::UnknownParameter,
            "query d/q has no parameter \"dya\"",
            "this query takes day, top, plans",
        );
        check(
            "day=2024-12-01&top=1&top=2",
            Code::InvalidParameter,
            "parameter \"top\" is given 2 times",
            "give it once",
        );
    }

    #[test]
    fn json_values_are_typed() {
        let check = |json: &str, expect: Result<&[&str], &str>| {
            let Value::Object(object) = serde_json::from_str(json).unwrap() else { panic!("an object") };
            let bound = bind(&RawParameters::from_json(object), &Scope::All);
            match expect {
                Ok(expect) => assert_eq!(&bound.unwrap()[..3], expect, "{json}"),
                Err(expect) => assert!(bound.unwrap_err().message().contains(expect), "{json}"),
            }
        };
        check(
            r#"{"day":"2024-12-01","plans":["a",null],"top":3}"#,
            Ok(&["'2024-12-01'::date", "'3'::int4", "ARRAY['a', NULL]::text[]"]),
        );
        check(r#"{"day":null,"top":null}"#, Ok(&["NULL::date", "NULL::int4", "NULL::text[]"]));
        check(r#"{"day":20241201}"#, Err("is not a date"));
        check(r#"{"day":"2024-12-01","top":2.5}"#, Err("is not an integer"));
        check(r#"{"day":"2024-12-01","plans":[["a"]]}"#, Err("is not text"));
    }

    #[test]
    fn ad_hoc_values_have_jsons_types() {
        let check = |json: &str, expect: Option<&str>| {
            let sql = ReadOnlySql::parse("SELECT $x", LIMITS).unwrap();
            let object = [("x".to_owned(), serde_json::from_str(json).unwrap())].into_iter().collect();
            let bound = RawParameters::from_json(object).bind_ad_hoc(&sql, &reserved(&Scope::All)).ok();
            let literal = bound.map(|Bound(values)| values[0].0.to_postgres_literal(&values[0].1));
            assert_eq!(literal.as_deref(), expect, "{json}");
        };
        check("\"a\"", Some("'a'::text"));
        check("3", Some("'3'::int8"));
        check("0.10", Some("'0.10'::numeric"));
        check("[1, 2.5]", Some("ARRAY['1', '2.5']::numeric[]"));
        check("[]", Some("ARRAY[]::text[]"));
        check("null", Some("NULL::text"));
        check("{\"a\":1}", None);
        check("[[1]]", None);
    }
}
