//! The API's description: of the routes from the code, and of the named queries from their files.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Extension, Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{App, catalogue, dashboards, embed, executions, problem, queries, rollout, snapshots};
use crate::{
    access::{Principal, Scope},
    output::{Format, postgres_type_name},
    query::{Catalog, NamedQuery},
    sql::{ParameterValue, ScalarType},
    store::SnapshotVersion,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Pilaster", description = "Dashboard answers from snapshots of PostgreSQL."),
    paths(
        queries::get_named,
        queries::post_named,
        queries::post_sql,
        dashboards::post,
        embed::post,
        catalogue::queries,
        catalogue::definition,
        catalogue::dashboards,
        catalogue::tables,
        snapshots::list,
        snapshots::one,
        snapshots::start,
        executions::list,
        executions::stop,
        rollout::list,
        rollout::one,
        rollout::set,
        rollout::forget,
        rollout::acknowledge,
        rollout::set_default,
        rollout::switch,
        rollout::changes,
        rollout::certificate,
    ),
    components(schemas(problem::Problem))
)]
struct Routes;

/// The document as it was last made, and what it was made of.
#[derive(Debug, Default)]
pub(super) struct Document(Mutex<Option<Made>>);

#[derive(Debug)]
struct Made {
    catalog: Arc<Catalog>,
    snapshot: Option<SnapshotVersion>,
    /// Whether it is for those who see all tenants.
    is_of_all: bool,
    json: bytes::Bytes,
}

/// The pages that show it; everything they need is in the binary.
pub(super) fn pages() -> Router<App> {
    SwaggerUi::new("/docs").config(Config::from("/openapi.json")).into()
}

/// Of the named queries it tells who may ask them; the routes are no secret.
pub(super) async fn document(State(app): State<App>, principal: Option<Extension<Principal>>) -> Response {
    let Some(principal) = principal.filter(|principal| principal.grant().is_none()) else {
        return reply(bytes::Bytes::from(of_routes().to_string()));
    };
    let is_of_all = *principal.scope() == Scope::All;
    let catalog = app.service.library().catalog();
    let snapshot = app.service.newest().map(|engine| engine.version());
    let kept = {
        let made = app.openapi.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.as_ref()
            .filter(|made| {
                Arc::ptr_eq(&made.catalog, &catalog) && made.snapshot == snapshot && made.is_of_all == is_of_all
            })
            .map(|made| made.json.clone())
    };
    let json = match kept {
        Some(json) => json,
        None => {
            let json = bytes::Bytes::from(make(&app, &catalog, principal.scope()).await.to_string());
            let made = Made { catalog, snapshot, is_of_all, json: json.clone() };
            *app.openapi.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
            json
        }
    };
    reply(json)
}

fn reply(json: bytes::Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], json).into_response()
}

fn of_routes() -> Value {
    let mut document = serde_json::to_value(Routes::openapi()).expect("the description is plain data");
    document["components"]["securitySchemes"]["bearer"] = json!({
        "type": "http", "scheme": "bearer", "description": "An API key or a token, where the server asks who you are",
    });
    document["security"] = json!([{ "bearer": [] }]);
    document
}

async fn make(app: &App, catalog: &Catalog, scope: &Scope) -> Value {
    let mut document = of_routes();
    for query in catalog.queries.values() {
        let planned = app.service.describe(query, scope).await.ok();
        let columns = planned.as_ref().map(|planned| planned.schema());
        let path = format!("/v1/queries/{}/{}", query.dashboard, query.name);
        document["paths"][path] = json!({ "get": operation(query, columns) });
    }
    document
}

fn operation(query: &NamedQuery, columns: Option<&arrow::datatypes::SchemaRef>) -> Value {
    let summary = query.description.lines().next().unwrap_or_default();
    let mut parameters: Vec<Value> = query
        .parameters
        .iter()
        .map(|parameter| {
            let mut schema = match parameter.kind.is_list {
                true => json!({ "type": "array", "items": scalar_schema(parameter.kind.scalar) }),
                false => scalar_schema(parameter.kind.scalar),
            };
            if let Some(default) = parameter.default.as_ref().filter(|default| **default != ParameterValue::Null) {
                schema["default"] = json_of(default);
            }
            json!({
                "name": parameter.name, "in": "query", "required": parameter.default.is_none(), "schema": schema,
                "explode": true,
            })
        })
        .collect();
    let formats: Vec<&str> = Format::ALL.map(Format::name).to_vec();
    let mut content: Map<String, Value> =
        Format::ALL.iter().map(|format| (media_type(*format).to_owned(), json!({}))).collect();
    content.insert(media_type(Format::Json).to_owned(), json!({ "schema": rows_schema(columns) }));
    parameters.extend([
        json!({ "name": "format", "in": "query", "required": false, "schema": { "type": "string", "enum": formats } }),
        json!({ "name": "numbers", "in": "query", "required": false,
            "schema": { "type": "string", "enum": ["native", "string"] },
            "description": "`string` quotes int8 and numeric, which JavaScript would round" }),
        json!({ "name": "snapshot", "in": "query", "required": false, "schema": { "type": "integer", "minimum": 1 },
            "description": "An older version" }),
        json!({ "name": "timezone", "in": "query", "required": false, "schema": { "type": "string" } }),
    ]);
    json!({
        "tags": [query.dashboard], "operationId": format!("{}_{}", query.dashboard, query.name), "summary": summary,
        "description": query.description, "parameters": parameters,
        "responses": {
            "200": {
                "description": "The rows",
                "headers": {
                    "Pilaster-Snapshot": { "schema": { "type": "integer" } },
                    "Pilaster-As-Of": { "schema": { "type": "string", "format": "date-time" } },
                    "Cache-Status": { "schema": { "type": "string" } },
                    "ETag": { "schema": { "type": "string" } },
                },
                "content": content,
            },
            "304": { "description": "The client has this body already" },
            "default": {
                "description": "What is wrong",
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
            },
        },
    })
}

fn media_type(format: Format) -> &'static str {
    format.content_type().split(';').next().unwrap_or_default()
}

fn rows_schema(columns: Option<&arrow::datatypes::SchemaRef>) -> Value {
    let properties: Map<String, Value> = columns
        .iter()
        .flat_map(|schema| schema.fields().iter())
        .map(|field| {
            let name = postgres_type_name(field).into_owned();
            let mut schema = column_schema(&name);
            schema["x-postgres-type"] = name.into();
            (field.name().clone(), schema)
        })
        .collect();
    json!({
        "type": "object", "required": ["meta", "data", "rows"],
        "properties": {
            "meta": { "type": "array", "items": { "type": "object", "properties": {
                "name": { "type": "string" }, "type": { "type": "string" } } } },
            "data": { "type": "array", "items": { "type": "object", "properties": properties } },
            "rows": { "type": "integer" },
        },
    })
}

/// Every column may be NULL, and a number of many digits a string, where that is asked for.
fn column_schema(postgres_type: &str) -> Value {
    match postgres_type {
        "bool" => json!({ "type": ["boolean", "null"] }),
        "int2" | "int4" => json!({ "type": ["integer", "null"] }),
        "int8" => json!({ "type": ["integer", "string", "null"] }),
        "float4" | "float8" | "numeric" => json!({ "type": ["number", "string", "null"] }),
        "date" => json!({ "type": ["string", "null"], "format": "date" }),
        "timestamptz" => json!({ "type": ["string", "null"], "format": "date-time" }),
        "json" | "jsonb" => json!({}),
        name if name.ends_with("[]") => json!({ "type": ["array", "null"] }),
        _ => json!({ "type": ["string", "null"] }),
    }
}

fn scalar_schema(scalar: ScalarType) -> Value {
    match scalar {
        ScalarType::Bool => json!({ "type": "boolean" }),
        ScalarType::Int4 => json!({ "type": "integer", "format": "int32" }),
        ScalarType::Int8 => json!({ "type": "integer", "format": "int64" }),
        ScalarType::Float8 | ScalarType::Numeric => json!({ "type": "number" }),
        ScalarType::Text => json!({ "type": "string" }),
        ScalarType::Date => json!({ "type": "string", "format": "date" }),
        ScalarType::Timestamp => json!({ "type": "string", "description": "YYYY-MM-DDTHH:MM:SS" }),
        ScalarType::Timestamptz => json!({ "type": "string", "format": "date-time" }),
        ScalarType::Uuid => json!({ "type": "string", "format": "uuid" }),
    }
}

fn json_of(value: &ParameterValue) -> Value {
    match value {
        ParameterValue::Null => Value::Null,
        ParameterValue::Bool(value) => (*value).into(),
        ParameterValue::Int4(value) => (*value).into(),
        ParameterValue::Int8(value) => (*value).into(),
        ParameterValue::Float8(value) => (*value).into(),
        ParameterValue::List(items) => items.iter().map(json_of).collect(),
        other => other.to_string().into(),
    }
}
