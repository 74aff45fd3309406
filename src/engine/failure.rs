//! The library's errors in our words: what the client can do about them, in Postgres's manner.

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};

use crate::{
    error::{Code, Error},
    sql::differences::{function_names, hint_for_missing, hint_for_statement},
};

/// Our error of one of the library's. `sql` is the statement, to say where.
pub(super) fn from_datafusion(error: DataFusionError, sql: Option<&str>) -> Error {
    let position = sql.and_then(|sql| position_in(&error, sql));
    let ours = classify(&error);
    let ours = match position {
        Some(position) if ours.position().is_none() => ours.with_position(position),
        _ => ours,
    };
    let is_statements = matches!(ours.code(), Code::InvalidSql | Code::UnsupportedSql) && ours.hint().is_none();
    let ours = match sql.filter(|_| is_statements).and_then(|sql| hint_for_statement(sql, ours.position())) {
        Some(hint) => ours.with_hint(hint),
        None => ours,
    };
    ours.with_cause(error)
}

fn classify(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => classify(inner),
        DataFusionError::Shared(inner) => classify(inner),
        DataFusionError::Collection(errors) => {
            errors.first().map_or_else(|| Error::internal("the engine failed without a reason"), classify)
        }
        DataFusionError::External(inner) => from_external(inner.as_ref()),
        DataFusionError::SQL(inner, _) => Error::new(Code::InvalidSql, tidy(&inner.to_string())).with_sqlstate("42601"),
        DataFusionError::Plan(message) => from_plan(message),
        DataFusionError::SchemaError(inner, _) => from_schema(inner),
        // The rest of it is the expression as the engine holds it.
        DataFusionError::NotImplemented(message) if message.contains("does not support logical expression") => {
            Error::new(Code::UnsupportedSql, "a window function cannot stand in this expression")
                .with_sqlstate("0A000")
                .with_hint("compute it in a subquery of its own")
        }
        DataFusionError::NotImplemented(message) => {
            Error::new(Code::UnsupportedSql, tidy(message)).with_sqlstate("0A000")
        }
        DataFusionError::Execution(message) => from_execution(message),
        DataFusionError::ArrowError(inner, _) => from_arrow(inner),
        DataFusionError::ResourcesExhausted(_) => {
            Error::new(Code::OutOfMemory, "the query needs more memory than it may have")
                .with_sqlstate("53200")
                .with_hint("aggregate or filter earlier, or raise engine.memory and engine.spill")
        }
        DataFusionError::ParquetError(inner) => unreadable(&inner.to_string()),
        DataFusionError::ObjectStore(inner) => unreadable(&inner.to_string()),
        DataFusionError::IoError(inner) => unreadable(&inner.to_string()),
        DataFusionError::ExecutionJoin(_) => Error::internal("a part of the query stopped unexpectedly"),
        DataFusionError::Internal(message) if message.contains("No function matches") => from_plan(message),
        _ => Error::internal("the engine cannot run this query")
            .with_hint("this is a fault of the engine; the log has it under the request id"),
    }
}

fn from_external(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.clone();
    }
    match error.downcast_ref::<DataFusionError>() {
        Some(inner) => classify(inner),
        None => match error.downcast_ref::<ArrowError>() {
            Some(inner) => from_arrow(inner),
            None => Error::internal("the engine cannot run this query"),
        },
    }
}

fn from_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => division_by_zero(),
        ArrowError::ArithmeticOverflow(message) => out_of_range(message),
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            Error::new(Code::InvalidValue, tidy(message)).with_sqlstate("22P02")
        }
        ArrowError::ComputeError(message) => Error::new(Code::InvalidValue, tidy(message)).with_sqlstate("22000"),
        ArrowError::InvalidArgumentError(message) => from_execution(message),
        ArrowError::NotYetImplemented(message) => {
            Error::new(Code::UnsupportedSql, tidy(message)).with_sqlstate("0A000")
        }
        ArrowError::ExternalError(inner) => from_external(inner.as_ref()),
        ArrowError::IoError(message, _) | ArrowError::ParquetError(message) => unreadable(message),
        _ => Error::internal("the engine cannot run this query"),
    }
}

fn from_execution(message: &str) -> Error {
    let lower = message.to_ascii_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        division_by_zero()
    } else if lower.contains("overflow") {
        out_of_range(message)
    } else {
        Error::new(Code::InvalidValue, tidy(message)).with_sqlstate("22000")
    }
}

/// What is wrong with some `VALUES`.
pub(super) const VALUES_DIFFER: &str = "a column of VALUES has values of several types";

fn from_plan(message: &str) -> Error {
    if let Some(call) = unmatched_call(message) {
        return Error::new(Code::InvalidSql, format!("function {call} does not exist"))
            .with_sqlstate("42883")
            .with_hint("no function of that name takes arguments of these types; a cast may help");
    }
    if let Some(name) = missing_type(message) {
        return Error::new(Code::InvalidSql, format!("type \"{name}\" does not exist"))
            .with_sqlstate("42704")
            .with_hint("types are Postgres's own and the enums of the source");
    }
    if let Some(name) = missing_function(message) {
        let hint = hint_for_missing(name, function_names());
        return Error::new(Code::InvalidSql, format!("function {name} does not exist"))
            .with_sqlstate("42883")
            .with_hint(hint.unwrap_or_else(|| "check its name; docs/sql.md lists what there is".to_owned()));
    }
    if message.starts_with("Plan: [") {
        // What the engine's own check finds says what the plan looks like.
        return Error::new(Code::UnsupportedSql, "the engine finds no order in which it can run this query")
            .with_sqlstate("0A000")
            .with_hint("compute its windows in subqueries of their own");
    }
    if message.contains(VALUES_DIFFER) || message.contains("nconsistent metadata across values list") {
        return Error::new(Code::InvalidSql, VALUES_DIFFER)
            .with_sqlstate("42804")
            .with_hint("a cast of each says which type is meant");
    }
    Error::new(Code::InvalidSql, tidy(message)).with_sqlstate(state_of(message))
}

fn missing_function(message: &str) -> Option<&str> {
    let named = |start: &str| message[message.find(start)? + start.len()..].split('\'').next();
    named("Invalid function '").or_else(|| named("able function '").filter(|_| message.contains("not found")))
}

/// The library's messages, by a part of each, with Postgres's code for it.
const STATES: &[(&str, &str)] = &[
    ("must appear in the GROUP BY clause", "42803"),
    ("must be in GROUP BY", "42803"),
    ("Aggregate functions are not allowed", "42803"),
    ("aggregate function", "42803"),
    ("Nested aggregate", "42803"),
    ("Window function", "42P20"),
    ("window function", "42P20"),
    ("ORDER BY expressions", "42P10"),
    ("not in select list", "42P10"),
    ("Order by column out of bounds", "42P10"),
    ("Cannot find column with position", "42P10"),
    ("LIMIT must be", "2201W"),
    ("OFFSET must be", "2201X"),
    ("is used more than once", "42712"),
    ("duplicate alias", "42712"),
    ("have different number of columns", "42601"),
];

fn state_of(message: &str) -> &'static str {
    STATES.iter().find(|(part, _)| message.contains(part)).map_or("42601", |(_, state)| state)
}

/// A cast is a call of a function that has the type's name.
fn missing_type(message: &str) -> Option<&str> {
    let rest = &message[message.find("Invalid function '::")? + "Invalid function '::".len()..];
    rest.split('\'').next()
}

/// The call of a function that takes no such arguments, as Postgres writes it: `sum(text)`.
fn unmatched_call(message: &str) -> Option<String> {
    let start = "No function matches the given name and argument types '";
    let rest = &message[message.find(start)? + start.len()..];
    let (name, types) = rest[..rest.find("'. ")?].split_once('(')?;
    let postgres_type = |engine: &str| match engine.trim() {
        "Boolean" => "boolean".to_owned(),
        "Int8" | "Int16" => "smallint".to_owned(),
        "Int32" => "integer".to_owned(),
        "Int64" | "UInt64" => "bigint".to_owned(),
        "Float32" => "real".to_owned(),
        "Float64" => "double precision".to_owned(),
        "Utf8" | "Utf8View" | "LargeUtf8" => "text".to_owned(),
        "Binary" | "BinaryView" => "bytea".to_owned(),
        "Date32" => "date".to_owned(),
        other if other.starts_with("Decimal") => "numeric".to_owned(),
        other if other.starts_with("Timestamp") && other.contains("None") => "timestamp without time zone".to_owned(),
        other if other.starts_with("Timestamp") => "timestamp with time zone".to_owned(),
        other if other.starts_with("Time64") => "time without time zone".to_owned(),
        other if other.starts_with("Interval") => "interval".to_owned(),
        "Null" => "unknown".to_owned(),
        other => other.to_lowercase(),
    };
    let types: Vec<String> = split_types(types.strip_suffix(')')?).into_iter().map(postgres_type).collect();
    Some(format!("{name}({})", types.join(", ")))
}

/// `Decimal128(12, 2), Utf8` is two types.
fn split_types(types: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0_usize, 0, Vec::new());
    for (index, letter) in types.char_indices() {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                found.push(&types[from..index]);
                from = index + 1;
            }
            _ => {}
        }
    }
    found.push(&types[from..]);
    found.retain(|part| !part.trim().is_empty());
    found
}

fn from_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let error = Error::new(Code::InvalidSql, format!("column {:?} does not exist", field.flat_name()))
                .with_sqlstate("42703");
            let mut names: Vec<String> = valid_fields.iter().map(|column| column.name.clone()).collect();
            names.dedup();
            if names.is_empty() {
                return error;
            }
            let more = if names.len() > 20 { ", …" } else { "" };
            names.truncate(20);
            error.with_hint(format!("the columns here are {}{more}", names.join(", ")))
        }
        SchemaError::AmbiguousReference { field } => {
            Error::new(Code::InvalidSql, format!("column reference {:?} is ambiguous", field.name))
                .with_sqlstate("42702")
                .with_hint("put the table's name or alias in front of it")
        }
        SchemaError::DuplicateUnqualifiedField { name } | SchemaError::DuplicateQualifiedField { name, .. } => {
            Error::new(Code::UnsupportedSql, format!("the result has two columns named {name:?}"))
                .with_sqlstate("42701")
                .with_hint("give each column a name of its own with AS")
        }
    }
}

fn division_by_zero() -> Error {
    Error::new(Code::InvalidValue, "division by zero")
        .with_sqlstate("22012")
        .with_hint("write x / nullif(y, 0) where y may be 0")
}

fn out_of_range(message: &str) -> Error {
    Error::new(Code::InvalidValue, "a number is out of the range of its type")
        .with_sqlstate("22003")
        .with_detail(tidy(message))
        .with_hint("cast to a wider type first, for example to numeric")
}

fn unreadable(message: &str) -> Error {
    Error::new(Code::Unavailable, "the snapshot's files cannot be read").with_detail(tidy(message))
}

/// One line, first letter small, without the library's own prefixes and stack traces.
fn tidy(message: &str) -> String {
    let line = message.split("\n\nbacktrace").next().unwrap_or(message);
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = line.as_str();
    for prefix in
        ["Error during planning: ", "Execution error: ", "Arrow error: ", "sql parser error: ", "ParserError(\""]
    {
        line = line.strip_prefix(prefix).unwrap_or(line);
    }
    let line = line.trim_end_matches('.');
    // A word in capitals is a name or a keyword, and stays.
    let mut letters = line.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => line.to_owned(),
    }
}

/// Where in the statement, in characters from 1, if the library says.
fn position_in(error: &DataFusionError, sql: &str) -> Option<usize> {
    let start = error.diagnostic()?.span?.start;
    let line = usize::try_from(start.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(start.column).ok()?;
    let before: usize = sql.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    Some(before + column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_written_as_postgres_writes_them() {
        let check = |types: &str, expect: &str| {
            let message = format!(
                "Internal error: Function 'f' failed to match any signature. This was likely caused by a bug in DataFusion's \
                 code. No function matches the given name and argument types 'f({types})'. You might need to add explicit casts."
            );
            let error = from_plan(&message);
            assert_eq!(
                (error.message(), error.sqlstate()),
                (format!("function {expect} does not exist").as_str(), Some("42883"))
            );
            assert!(!format!("{:?}{:?}", error.hint(), error.detail()).contains("DataFusion"));
        };
        check("Utf8View", "f(text)");
        check("Decimal128(12, 2), Int32", "f(numeric, integer)");
        check("Timestamp(Microsecond, Some(\"UTC\")), Null", "f(timestamp with time zone, unknown)");
        check("", "f()");
    }
}
