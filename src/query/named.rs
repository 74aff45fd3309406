//! A named query: a `.sql` file whose leading comments say what it takes and how it is shown.

use std::{path::Path, time::Duration};

use super::key;
use crate::{
    config::parse_duration,
    error::{Code, Error, Result},
    sql::{ParameterType, ParameterValue, ReadOnlySql, ScalarType, StatementLimits},
};

/// Parameters that no file declares: they come from the principal, the snapshot and the request.
pub const RESERVED: &[&str] = &["tenant", "now", "timezone"];
/// Names that a request uses for itself, so that no parameter may have them.
pub const OPTIONS: &[&str] = &["format", "numbers", "snapshot", "download"];

/// One query of a dashboard.
#[derive(Clone, Debug)]
pub struct NamedQuery {
    /// The folder.
    pub dashboard: String,
    /// The file, without `.sql`.
    pub name: String,
    /// The leading comment lines that are not annotations.
    pub description: String,
    /// What it takes, in the order of the file.
    pub parameters: Vec<Parameter>,
    /// How long it may take; none for the engine's default.
    pub timeout: Option<Duration>,
    /// How it is drawn.
    pub chart: Option<Chart>,
    /// Values to try it with.
    pub samples: Vec<Vec<(String, ParameterValue)>>,
    /// What the engine runs.
    pub sql: ReadOnlySql,
    /// What Postgres runs where dialects must differ: `name.postgres.sql`.
    pub postgres_sql: Option<ReadOnlySql>,
    /// Of its texts and this build: what was seen of another is nothing that is known of this one.
    pub fingerprint: String,
}

/// A declared parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Without the `$`.
    pub name: String,
    /// What it holds.
    pub kind: ParameterType,
    /// What it is when it is not given; none means that it must be given.
    pub default: Option<ParameterValue>,
}

/// `-- @chart line x=month y=revenue series=plan`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// line, bar, area, table, number, heatmap, …
    pub kind: String,
    /// Which column is what.
    pub channels: Vec<(String, String)>,
}

impl NamedQuery {
    /// Parses a file. Errors name the line.
    pub fn parse(dashboard: &str, name: &str, text: &str, limits: StatementLimits) -> Result<Self> {
        let sql = ReadOnlySql::parse(text, limits)?;
        let mut query = Self {
            dashboard: dashboard.to_owned(),
            name: name.to_owned(),
            description: String::new(),
            parameters: Vec::new(),
            timeout: None,
            chart: None,
            samples: Vec::new(),
            fingerprint: key::of_query(&sql, None),
            sql,
            postgres_sql: None,
        };
        let mut description: Vec<&str> = Vec::new();
        let mut samples = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let Some(comment) = line.strip_prefix("--") else { break };
            let comment = comment.trim();
            let Some(annotation) = comment.strip_prefix('@') else {
                description.push(comment);
                continue;
            };
            let (word, rest) = annotation.split_once(char::is_whitespace).unwrap_or((annotation, ""));
            let rest = rest.trim();
            let done = match word {
                "param" => query.add_parameter(rest),
                "timeout" => query.set_timeout(rest),
                "chart" => query.set_chart(rest),
                "sample" => {
                    samples.push((index, rest));
                    Ok(())
                }
                _ => Err(wrong(format!("@{word} is not an annotation"), "use @param, @timeout, @chart or @sample")),
            };
            done.map_err(|error| error.context(format!("line {}", index + 1)))?;
        }
        query.description = description.join("\n").trim().to_owned();
        for (index, sample) in samples {
            let sample = query.parse_sample(sample).map_err(|error| error.context(format!("line {}", index + 1)))?;
            query.samples.push(sample);
        }
        query.check_names(&query.sql)?;
        Ok(query)
    }

    /// Adds what `name.postgres.sql` says; it has the same parameters.
    pub fn with_postgres(mut self, text: &str, limits: StatementLimits) -> Result<Self> {
        let sql = ReadOnlySql::parse(text, limits)?;
        self.check_names(&sql)?;
        self.fingerprint = key::of_query(&self.sql, Some(&sql));
        self.postgres_sql = Some(sql);
        Ok(self)
    }

    /// `dashboard/name`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.dashboard, self.name)
    }

    /// What Postgres runs.
    #[must_use]
    pub fn for_postgres(&self) -> &ReadOnlySql {
        self.postgres_sql.as_ref().unwrap_or(&self.sql)
    }

    /// The declared parameter of this name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    fn add_parameter(&mut self, rest: &str) -> Result<()> {
        let shape = "write -- @param name type, or -- @param name type = default";
        let (head, default) = match rest.split_once('=') {
            Some((head, default)) => (head.trim(), Some(default.trim())),
            None => (rest, None),
        };
        let (name, kind) = head.split_once(char::is_whitespace).ok_or_else(|| wrong("@param is incomplete", shape))?;
        if !name.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
            return Err(wrong(
                format!("{name:?} is not a parameter's name"),
                "use letters, digits and _, without the $",
            ));
        }
        if RESERVED.contains(&name) || OPTIONS.contains(&name) {
            return Err(wrong(format!("the name {name:?} is reserved"), "choose another name"));
        }
        if self.parameter(name).is_some() {
            return Err(wrong(format!("@param {name} is declared twice"), "remove one of the two"));
        }
        let kind: ParameterType = kind.trim().parse()?;
        let default = match default {
            None => None,
            Some("null" | "NULL") => Some(ParameterValue::Null),
            Some(text) => Some(parse_value(kind, text).ok_or_else(|| {
                let (format, example) = kind.scalar.format();
                wrong(
                    format!("the default {text:?} is not of type {kind}"),
                    format!("write {format}, for example {example}"),
                )
            })?),
        };
        self.parameters.push(Parameter { name: name.to_owned(), kind, default });
        Ok(())
    }

    fn set_timeout(&mut self, rest: &str) -> Result<()> {
        let timeout = parse_duration(rest).filter(|timeout| !timeout.is_zero());
        self.timeout = Some(
            timeout.ok_or_else(|| wrong(format!("{rest:?} is not a duration"), "write -- @timeout 2s, or 500ms"))?,
        );
        Ok(())
    }

    fn set_chart(&mut self, rest: &str) -> Result<()> {
        let shape = "write -- @chart line x=column y=column series=column";
        let mut words = rest.split_whitespace();
        let kind = words.next().filter(|kind| !kind.contains('=')).ok_or_else(|| wrong("@chart has no kind", shape))?;
        let channels = words
            .map(|word| word.split_once('=').map(|(channel, column)| (channel.to_owned(), column.to_owned())))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| wrong("@chart has a word without =", shape))?;
        self.chart = Some(Chart { kind: kind.to_owned(), channels });
        Ok(())
    }

    /// A list's name may be repeated, as in a query string.
    fn parse_sample(&self, rest: &str) -> Result<Vec<(String, ParameterValue)>> {
        let mut sample: Vec<(String, ParameterValue)> = Vec::new();
        for word in rest.split_whitespace() {
            let (name, text) = word
                .split_once('=')
                .ok_or_else(|| wrong(format!("{word:?} is not name=value"), "write -- @sample from=2026-01-01"))?;
            let parameter = self.parameter(name).ok_or_else(|| {
                wrong(format!("@sample gives {name:?}, which is not declared"), "declare it with @param")
            })?;
            let value = if text == "null" { Some(ParameterValue::Null) } else { parse_value(parameter.kind, text) };
            let value = value.ok_or_else(|| {
                let (format, _) = parameter.kind.scalar.format();
                wrong(format!("{text:?} is not of type {}", parameter.kind), format!("write {format}"))
            })?;
            match (sample.iter_mut().find(|(given, _)| given == name), value) {
                (None, value) => sample.push((name.to_owned(), value)),
                (Some((_, ParameterValue::List(items))), ParameterValue::List(more)) => items.extend(more),
                (Some(_), _) => return Err(wrong(format!("@sample gives {name:?} twice"), "give it once")),
            }
        }
        Ok(sample)
    }

    /// Every `$name` is declared, and every declared parameter is used.
    fn check_names(&self, sql: &ReadOnlySql) -> Result<()> {
        let declared = |name: &str| RESERVED.contains(&name) || self.parameter(name).is_some();
        if let Some(placeholder) = sql.placeholders().iter().find(|placeholder| !declared(&placeholder.name)) {
            let line = sql.text()[..placeholder.range.start].matches('\n').count() + 1;
            return Err(wrong(
                format!("line {line}: ${} is not declared", placeholder.name),
                format!("add -- @param {} and its type", placeholder.name),
            ));
        }
        match self.parameters.iter().find(|parameter| !sql.names().contains(&parameter.name)) {
            Some(unused) => Err(wrong(
                format!("@param {} is declared and not used", unused.name),
                "remove it, or use it in the SQL",
            )),
            None => Ok(()),
        }
    }
}

/// The type of a reserved parameter; the tenant's is configured.
#[must_use]
pub(super) fn reserved_type(name: &str, tenant: ScalarType) -> Option<ParameterType> {
    match name {
        "tenant" => Some(ParameterType::scalar(tenant)),
        "now" => Some(ParameterType::scalar(ScalarType::Timestamptz)),
        "timezone" => Some(ParameterType::scalar(ScalarType::Text)),
        _ => None,
    }
}

/// Reads a value as annotations write it: lists with commas.
fn parse_value(kind: ParameterType, text: &str) -> Option<ParameterValue> {
    if !kind.is_list {
        return kind.scalar.parse(text.trim_matches('\''));
    }
    let inner = text.trim_start_matches('{').trim_end_matches('}');
    let items = inner.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| kind.scalar.parse(item)).collect::<Option<Vec<_>>>().map(ParameterValue::List)
}

/// The dashboard and name of a query's file below the folder of queries; none for other files.
pub(super) fn names_of(relative: &Path) -> Option<(String, String, bool)> {
    let mut parts = relative.iter();
    let dashboard = parts.next()?.to_str()?.to_owned();
    let file = parts.next()?.to_str()?;
    if parts.next().is_some() || dashboard.starts_with('.') || file.starts_with('.') {
        return None;
    }
    let stem = file.strip_suffix(".sql")?;
    Some(match stem.strip_suffix(".postgres") {
        Some(name) => (dashboard, name.to_owned(), true),
        None => (dashboard, stem.to_owned(), false),
    })
}

fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::new(Code::InvalidConfig, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StatementLimits = StatementLimits { bytes_max: 10_000, tokens_max: 1_000 };

    fn parse(text: &str) -> Result<NamedQuery> {
        NamedQuery::parse("revenue", "mrr", text, LIMITS)
    }

    #[test]
    fn annotations_are_read() {
        let query = parse(
            "-- Monthly revenue\n-- by plan.\n-- @param from date\n-- @param plans text[] = pro, team\n\
             -- @param top int4 = 5\n-- @timeout 2s\n-- @chart line x=month y=revenue\n\
             -- @sample from=2026-01-01 plans=pro plans=team\n\
             SELECT $from AS a, $plans AS b, $top AS c, $tenant AS d -- @param is not read here",
        )
        .unwrap();
        assert_eq!(query.description, "Monthly revenue\nby plan.");
        assert_eq!(query.timeout, Some(Duration::from_secs(2)));
        assert_eq!(query.parameters[0].default, None);
        let text = |text: &str| ParameterValue::Text(text.into());
        assert_eq!(query.parameters[1].default, Some(ParameterValue::List(vec![text("pro"), text("team")])));
        assert_eq!(query.parameters[2].default, Some(ParameterValue::Int4(5)));
        assert_eq!(query.chart.unwrap().channels, [("x".into(), "month".into()), ("y".into(), "revenue".into())]);
        assert_eq!(query.samples[0][1], ("plans".into(), ParameterValue::List(vec![text("pro"), text("team")])));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let check = |text: &str, expect: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.message().contains(expect), "{text}: {error}");
            assert!(error.hint().is_some() || error.position().is_some(), "{text}: no hint");
        };
        check("-- @parm x int4\nSELECT 1", "line 1: @parm is not an annotation");
        check("-- @param x\nSELECT $x", "line 1: @param is incomplete");
        check("-- a\n-- @param x int5\nSELECT $x", "line 2: \"int5\" is not a parameter's type");
        check("-- @param x date = soon\nSELECT $x", "the default \"soon\" is not of type date");
        check("-- @param tenant int8\nSELECT $tenant", "is reserved");
        check("-- @param format text\nSELECT $format", "is reserved");
        check("-- @param x int4\n-- @param x int4\nSELECT $x", "declared twice");
        check("SELECT 1,\n $x", "line 2: $x is not declared");
        check("-- @param x int4\nSELECT 1", "declared and not used");
        check("-- @timeout soon\nSELECT 1", "is not a duration");
        check("-- @chart x=a\nSELECT 1", "@chart has no kind");
        check("-- @sample y=1\nSELECT 1", "not declared");
        check("-- @param x int4\n-- @sample x=1 x=2\nSELECT $x", "twice");
        check("DELETE FROM t", "DELETE is not allowed");
    }

    #[test]
    fn a_folder_is_a_dashboard_and_a_file_is_a_query() {
        let check = |path: &str, expect: Option<(&str, &str, bool)>| {
            let expect = expect.map(|(dashboard, name, postgres)| (dashboard.to_owned(), name.to_owned(), postgres));
            assert_eq!(names_of(Path::new(path)), expect, "{path}");
        };
        check("revenue/mrr.sql", Some(("revenue", "mrr", false)));
        check("revenue/mrr.postgres.sql", Some(("revenue", "mrr", true)));
        check("revenue/README.md", None);
        check("mrr.sql", None);
        check("a/b/c.sql", None);
        check("revenue/.mrr.sql", None);
    }
}
