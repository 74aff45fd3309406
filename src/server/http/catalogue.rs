//! What there is: queries with their parameters and columns, dashboards, tables.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use chrono::SecondsFormat;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    App,
    problem::{Failure, Problem},
};
use crate::{
    access::{Principal, Role, Scope},
    output::postgres_type_name,
    query::{NamedQuery, Parameter, Pin},
    sql::ParameterValue,
    store::{self, Treatment},
};

/// All named queries.
#[derive(Serialize, ToSchema)]
pub(super) struct Queries {
    queries: Vec<QueryDefinition>,
    /// Files that cannot be used, and why.
    broken: Vec<BrokenFile>,
}

/// A file that is not a query as it stands.
#[derive(Serialize, ToSchema)]
pub(super) struct BrokenFile {
    file: String,
    message: String,
    hint: Option<String>,
}

/// One named query.
#[derive(Serialize, ToSchema)]
pub(super) struct QueryDefinition {
    dashboard: String,
    name: String,
    description: String,
    parameters: Vec<ParameterDefinition>,
    /// What it returns, when there is a snapshot to plan it against.
    columns: Option<Vec<ColumnDefinition>>,
    /// Why it cannot be planned against the snapshot that is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
    timeout_ms: Option<u64>,
    chart: Option<ChartDefinition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql: Option<String>,
}

/// One parameter.
#[derive(Serialize, ToSchema)]
pub(super) struct ParameterDefinition {
    name: String,
    /// Postgres's short name of its type; `text[]` for a list.
    r#type: String,
    required: bool,
    /// As text; null where there is none, or where it is NULL.
    default: Option<String>,
}

/// One column of a result.
#[derive(Serialize, ToSchema)]
pub(super) struct ColumnDefinition {
    pub(super) name: String,
    /// Postgres's name of its type.
    pub(super) r#type: String,
}

/// How a query is drawn.
#[derive(Serialize, ToSchema)]
pub(super) struct ChartDefinition {
    kind: String,
    /// Which column is what: x, y, series.
    channels: BTreeMap<String, String>,
}

/// Lists all named queries.
#[utoipa::path(
    get, path = "/v1/queries", tag = "queries",
    responses((status = 200, body = Queries), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn queries(State(app): State<App>, Extension(principal): Extension<Principal>) -> Json<Queries> {
    let catalog = app.service.library().catalog();
    let mut queries = Vec::with_capacity(catalog.queries.len());
    for query in catalog.queries.values().filter(|query| may_ask(&principal, query)) {
        queries.push(definition_of(&app, query, &principal, false).await);
    }
    // Of use to whoever writes queries.
    let is_author = principal.role() >= Role::Analyst;
    let broken = catalog
        .broken
        .iter()
        .filter(|_| is_author)
        .map(|(path, error)| BrokenFile {
            file: path.display().to_string(),
            message: error.message().to_owned(),
            hint: error.hint().map(str::to_owned),
        })
        .collect();
    Json(Queries { queries, broken })
}

/// Tells all about one named query, its SQL too.
#[utoipa::path(
    get, path = "/v1/queries/{dashboard}/{name}/definition", tag = "queries",
    params(("dashboard" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = QueryDefinition), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn definition(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((dashboard, name)): Path<(String, String)>,
) -> Result<Json<QueryDefinition>, Failure> {
    principal.require_query(&dashboard, &name)?;
    let query = app.service.library().get(&dashboard, &name)?;
    Ok(Json(definition_of(&app, &query, &principal, true).await))
}

fn may_ask(principal: &Principal, query: &NamedQuery) -> bool {
    principal.require_query(&query.dashboard, &query.name).is_ok()
}

async fn definition_of(app: &App, query: &NamedQuery, principal: &Principal, with_sql: bool) -> QueryDefinition {
    let planned = app.service.describe(query, principal.scope()).await;
    let schema = planned.as_ref().map(|planned| planned.schema());
    // A page that shows a dashboard need not tell its reader how the tables are called.
    let with_sql = with_sql && (principal.role() >= Role::Analyst || *principal.scope() == Scope::All);
    QueryDefinition {
        dashboard: query.dashboard.clone(),
        name: query.name.clone(),
        description: query.description.clone(),
        parameters: query.parameters.iter().map(parameter_of).collect(),
        columns: schema.ok().map(columns_of),
        problem: schema.err().map(|error| {
            let told = super::problem::told(error, principal.scope());
            super::problem::problem(&told, None)
        }),
        timeout_ms: query.timeout.and_then(|timeout| u64::try_from(timeout.as_millis()).ok()),
        chart: query.chart.as_ref().map(|chart| ChartDefinition {
            kind: chart.kind.clone(),
            channels: chart.channels.iter().cloned().collect(),
        }),
        sql: with_sql.then(|| query.sql.text().to_owned()),
    }
}

fn parameter_of(parameter: &Parameter) -> ParameterDefinition {
    let default = parameter.default.as_ref().filter(|default| **default != ParameterValue::Null);
    ParameterDefinition {
        name: parameter.name.clone(),
        r#type: parameter.kind.to_string(),
        required: parameter.default.is_none(),
        default: default.map(ToString::to_string),
    }
}

pub(super) fn columns_of(schema: &SchemaRef) -> Vec<ColumnDefinition> {
    let column = |field: &arrow::datatypes::FieldRef| ColumnDefinition {
        name: field.name().clone(),
        r#type: postgres_type_name(field).into_owned(),
    };
    schema.fields().iter().map(column).collect()
}

/// All dashboards.
#[derive(Serialize, ToSchema)]
pub(super) struct Dashboards {
    dashboards: Vec<Dashboard>,
}

/// One dashboard.
#[derive(Serialize, ToSchema)]
pub(super) struct Dashboard {
    name: String,
    queries: Vec<String>,
}

/// Lists the dashboards with the names of their queries.
#[utoipa::path(
    get, path = "/v1/dashboards", tag = "queries",
    responses((status = 200, body = Dashboards), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn dashboards(State(app): State<App>, Extension(principal): Extension<Principal>) -> Json<Dashboards> {
    let catalog = app.service.library().catalog();
    let queries = |name: &str| {
        let queries = catalog.dashboard(name).into_iter().filter(|query| may_ask(&principal, query));
        queries.map(|query| query.name.clone()).collect::<Vec<_>>()
    };
    let dashboards = catalog
        .dashboards()
        .into_iter()
        .map(|name| Dashboard { name: name.to_owned(), queries: queries(name) })
        .filter(|dashboard| !dashboard.queries.is_empty())
        .collect();
    Json(Dashboards { dashboards })
}

/// All tables of a snapshot.
#[derive(Serialize, ToSchema)]
pub(super) struct Tables {
    snapshot: u64,
    as_of: String,
    tables: Vec<TableDefinition>,
}

/// One table of a snapshot.
#[derive(Serialize, ToSchema)]
pub(super) struct TableDefinition {
    schema: String,
    name: String,
    /// Of all tenants; null for one of them.
    rows: Option<u64>,
    /// Of all tenants; null for one of them.
    bytes: Option<u64>,
    primary_key: Vec<String>,
    columns: Vec<TableColumn>,
    /// Columns of the source that the snapshot does not have.
    excluded_columns: Vec<String>,
}

/// One column of a table.
#[derive(Serialize, ToSchema)]
pub(super) struct TableColumn {
    name: String,
    /// The type as declared in the source.
    r#type: String,
    nullable: bool,
    /// `plain`; `text` where only Postgres's text of the values was copied; `hashed`.
    treatment: &'static str,
    /// Values that became NULL because the format cannot hold them; null for one tenant.
    nulled: Option<u64>,
    /// Values that became the nearest that the format can hold; null for one tenant.
    clamped: Option<u64>,
}

/// Lists the tables of the newest snapshot. A tenant sees those that it may read, and nothing that tells of other tenants.
#[utoipa::path(
    get, path = "/v1/tables", tag = "snapshots",
    responses((status = 200, body = Tables), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn tables(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Tables>, Failure> {
    let engine = app.service.engine(&Pin::Newest).await?;
    let is_of_all = *principal.scope() == Scope::All;
    Ok(Json(tables_of(engine.manifest(), engine.tables(principal.scope()), is_of_all)))
}

pub(super) fn tables_of<'a>(
    manifest: &store::Manifest,
    tables: impl Iterator<Item = &'a store::Table>,
    is_of_all: bool,
) -> Tables {
    let definition = |table: &store::Table| TableDefinition {
        schema: table.name.schema.clone(),
        name: table.name.table.clone(),
        rows: is_of_all.then_some(table.row_count),
        bytes: is_of_all.then(|| table.bytes()),
        primary_key: table.primary_key.clone(),
        columns: table.columns.iter().map(|column| column_of(column, is_of_all)).collect(),
        excluded_columns: table.excluded_columns.clone(),
    };
    Tables {
        snapshot: manifest.version.get(),
        as_of: manifest.as_of.to_rfc3339_opts(SecondsFormat::Micros, true),
        tables: tables.map(definition).collect(),
    }
}

fn column_of(column: &store::Column, is_of_all: bool) -> TableColumn {
    TableColumn {
        name: column.name.clone(),
        r#type: column.declared_type.clone(),
        nullable: column.nullable,
        treatment: match column.treatment {
            Treatment::Plain => "plain",
            Treatment::Text => "text",
            Treatment::Hashed => "hashed",
        },
        nulled: is_of_all.then_some(column.fidelity.nulled),
        clamped: is_of_all.then_some(column.fidelity.clamped),
    }
}
