//! Tokens for dashboards in other people's pages.

use std::{collections::BTreeMap, time::Duration};

use axum::{Extension, Json, body::Bytes, extract::State, http::StatusCode, response::IntoResponse};
use chrono::SecondsFormat;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    App,
    logged::Acted,
    problem::{Failure, Problem},
};
use crate::{
    access::{EMBED_TIME_MAX, Grant, Principal, Scope, TenantId},
    error::{Code, Error, Result},
};

/// What the token is to be for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmbedRequest {
    /// The dashboard.
    dashboard: String,
    /// One query of it; without, all.
    query: Option<String>,
    /// Whose rows it shows. May be left out by whoever sees one tenant alone.
    tenant: Option<String>,
    /// That it shows the rows of all tenants.
    #[serde(default)]
    all_tenants: bool,
    /// Parameters that the page cannot choose.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: BTreeMap<String, Value>,
    /// How long it lives, in seconds; an hour if it is not said, a day at most.
    expires_in: Option<u64>,
}

/// A token, to be sent as `Authorization: Bearer`.
#[derive(Serialize, ToSchema)]
pub(super) struct EmbedToken {
    token: String,
    expires_at: String,
}

/// Makes a token for a dashboard in a browser.
///
/// It can do less than whoever asks for it in every way: read one dashboard, of one tenant, with the parameters that are fixed. It ends by
/// itself, and with the API key that asked for it.
#[utoipa::path(
    post, path = "/v1/embed", operation_id = "make_embed_token", tag = "queries", request_body = EmbedRequest,
    responses((status = 201, body = EmbedToken), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn post(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> std::result::Result<impl IntoResponse, Failure> {
    let wish: EmbedRequest = serde_json::from_slice(&body).map_err(|error| {
        Error::new(Code::InvalidRequest, format!("the body is not the JSON that is wanted: {error}"))
            .with_hint("for example {\"dashboard\": \"revenue\", \"tenant\": \"42\", \"expires_in\": 600}")
    })?;
    check(&app, &wish)?;
    let scope = match (&wish.tenant, wish.all_tenants, principal.scope()) {
        (Some(_), true, _) => {
            return Err(Error::new(Code::InvalidRequest, "a token is for one tenant or for all").into());
        }
        (Some(tenant), false, _) => Scope::Tenant(TenantId::new(tenant)?),
        (None, true, _) => Scope::All,
        (None, false, Scope::Tenant(own)) => Scope::Tenant(own.clone()),
        (None, false, Scope::All) => {
            return Err(Error::new(Code::InvalidRequest, "it is not said whose rows the token shows")
                .with_hint("give \"tenant\", or \"all_tenants\": true")
                .into());
        }
    };
    let time = Duration::from_secs(wish.expires_in.unwrap_or(3600)).min(EMBED_TIME_MAX + Duration::from_secs(1));
    let whose = match &scope {
        Scope::All => "all tenants".to_owned(),
        Scope::Tenant(tenant) => format!("tenant {tenant}"),
    };
    let acted = Acted(format!(
        "{} for {whose}",
        wish.query.as_ref().map_or_else(|| wish.dashboard.clone(), |query| format!("{}/{query}", wish.dashboard))
    ));
    let grant = Grant { dashboard: wish.dashboard, query: wish.query, parameters: wish.parameters };
    let (token, end) = app.access.embed(&principal, scope, grant, time)?;
    let made = EmbedToken {
        token: token.expose_secret().to_owned(),
        expires_at: end.to_rfc3339_opts(SecondsFormat::Secs, true),
    };
    Ok((StatusCode::CREATED, Extension(acted), [(axum::http::header::CACHE_CONTROL, "no-store")], Json(made)))
}

/// A token for what does not exist would only be found out by the page.
fn check(app: &App, wish: &EmbedRequest) -> Result<()> {
    let catalog = app.service.library().catalog();
    let mut queries = catalog.dashboard(&wish.dashboard);
    if let Some(query) = &wish.query {
        queries.retain(|known| known.name == *query);
    }
    if queries.is_empty() {
        let name = wish.query.as_ref().map_or(wish.dashboard.clone(), |query| format!("{}/{query}", wish.dashboard));
        return Err(Error::new(Code::NotFound, format!("there is no {name}")).with_hint("GET /v1/dashboards lists all"));
    }
    match wish.parameters.keys().find(|name| !queries.iter().any(|query| query.parameter(name).is_some())) {
        Some(name) => {
            Err(Error::new(Code::UnknownParameter, format!("no query of the token's takes a parameter {name:?}")))
        }
        None => Ok(()),
    }
}
