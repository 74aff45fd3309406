//! Which query runs where: seeing it, and changing it.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State},
};
use chrono::SecondsFormat;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{
    App,
    logged::Acted,
    problem::{Failure, Problem},
};
use crate::{
    access::Principal,
    error::{Code, Error, Result},
    query::NamedQuery,
    rollout::{self, Certificate, Edit, QueryRollout, Rollout, Route, Rule},
    store::SnapshotVersion,
};

/// Changes that are listed.
const CHANGES_LISTED: usize = 50;

/// Which query runs where.
#[derive(Serialize, ToSchema)]
pub(super) struct RolloutView {
    /// Of the change that holds; each change counts it up.
    number: u64,
    /// `routes`, or `postgres` where everything runs there.
    switch: &'static str,
    /// For queries of which nothing is said.
    default: RuleView,
    /// Every named query, in the order of its name.
    queries: Vec<QueryView>,
    /// The last change.
    changed: Option<ChangeView>,
}

/// Where one query runs.
#[derive(Serialize, ToSchema)]
pub(super) struct QueryView {
    /// `dashboard/name`
    query: String,
    /// What is said of it, or the default.
    #[serde(flatten)]
    rule: RuleView,
    /// Whether nothing is said of it.
    is_default: bool,
    /// Why it runs on Postgres all the same, if it does.
    hold: Option<HoldView>,
    /// Whether a certificate says that the engine answers it as Postgres does, as it is now; and of which snapshot that was seen.
    certified_by: Option<u64>,
    /// What live requests have shown on this node, since it started.
    shadow: ShadowView,
    /// Its last change.
    changed: Option<ChangeView>,
}

/// Live requests that were asked on the other side too.
#[derive(Serialize, ToSchema)]
pub(super) struct ShadowView {
    equal: u64,
    /// Proven to be different: the source was where it was when the snapshot was taken.
    different: u64,
    /// Different while the source had moved on.
    unproven: u64,
    failed: u64,
    /// The mean of each side; null where there were none.
    postgres_ms: Option<f64>,
    engine_ms: Option<f64>,
}

/// Where, and for whom.
#[derive(Serialize, ToSchema)]
pub(super) struct RuleView {
    /// `postgres`, `shadow` or `engine`, for those who are chosen; for the others, Postgres.
    route: &'static str,
    /// How many of a hundred tenants are chosen.
    percent: u8,
    /// Tenants that are chosen whatever the percentage.
    tenants: Vec<String>,
    /// Whether the engine may answer although no certificate says that it answers as Postgres does.
    without_certificate: bool,
}

/// Why a query is held at Postgres.
#[derive(Serialize, ToSchema)]
pub(super) struct HoldView {
    /// `different`, `errors` or `slow`.
    reason: &'static str,
    detail: String,
    since: String,
    /// Who has seen it, and need not be told again.
    acknowledged: Option<ChangeView>,
}

/// Who changed what, when and why.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangeView {
    at: String,
    by: String,
    what: String,
    why: String,
}

/// The changes, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Changes {
    changes: Vec<ChangeView>,
}

/// A rule that is wanted, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedRule {
    /// `postgres`, `shadow` or `engine`.
    route: String,
    /// 0 to 100; 100 if it is left out.
    #[serde(default = "everybody")]
    percent: u8,
    /// Tenants that are chosen whatever the percentage.
    #[serde(default)]
    tenants: Vec<String>,
    /// Whether the engine may answer although no certificate says that it answers as Postgres does.
    #[serde(default)]
    without_certificate: bool,
    /// In a sentence.
    why: String,
}

/// How the switch is wanted, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedSwitch {
    /// `postgres` for everything, or `routes` for each query's own.
    switch: String,
    /// In a sentence.
    why: String,
}

/// Why something is changed.
#[derive(Deserialize, ToSchema)]
pub(super) struct Why {
    /// In a sentence.
    #[serde(default)]
    why: String,
}

const fn everybody() -> u8 {
    100
}

type Reason = Query<Why>;
type Answer<T> = std::result::Result<T, Failure>;

/// Tells which query runs where.
#[utoipa::path(
    get, path = "/v1/rollout", operation_id = "show_rollout", tag = "rollout",
    responses((status = 200, body = RolloutView), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn list(State(app): State<App>) -> Answer<Json<RolloutView>> {
    let rollout = app.service.rollout()?;
    Ok(Json(state_of(&app, &rollout)?))
}

/// Tells where one query runs.
#[utoipa::path(
    get, path = "/v1/rollout/{dashboard}/{name}", operation_id = "show_query_rollout", tag = "rollout",
    params(("dashboard" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = QueryView), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn one(
    State(app): State<App>,
    Path((dashboard, name)): Path<(String, String)>,
) -> Answer<Json<QueryView>> {
    let query = app.service.library().get(&dashboard, &name)?;
    let (rollout, default) = (app.service.rollout()?, app.service.rollout_default()?);
    Ok(Json(query_of(&app, &query, &rollout, &default)))
}

/// Says where one query runs, and for whom. What held it at Postgres holds it no more.
#[utoipa::path(
    put, path = "/v1/rollout/{dashboard}/{name}", operation_id = "set_query_rollout", tag = "rollout",
    params(("dashboard" = String, Path), ("name" = String, Path)), request_body = WantedRule,
    responses((status = 200, body = QueryView), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn set(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((dashboard, name)): Path<(String, String)>,
    body: Bytes,
) -> Answer<(Extension<Acted>, Json<QueryView>)> {
    let (rule, why) = wanted_rule(&body)?;
    changed_query(&app, &principal, &dashboard, &name, &why, |query| Edit::Query(query, rule)).await
}

/// Gives one query the default again.
#[utoipa::path(
    delete, path = "/v1/rollout/{dashboard}/{name}", operation_id = "forget_query_rollout", tag = "rollout",
    params(("dashboard" = String, Path), ("name" = String, Path), ("why" = String, Query, description = "In a sentence")),
    responses((status = 200, body = QueryView), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn forget(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((dashboard, name)): Path<(String, String)>,
    why: Reason,
) -> Answer<(Extension<Acted>, Json<QueryView>)> {
    changed_query(&app, &principal, &dashboard, &name, &why.0.why, Edit::Forget).await
}

/// Says that somebody has seen why a query is held, who is not told again. It stays held.
#[utoipa::path(
    put, path = "/v1/rollout/{dashboard}/{name}/acknowledgement", operation_id = "acknowledge_hold", tag = "rollout",
    params(("dashboard" = String, Path), ("name" = String, Path)), request_body = Why,
    responses((status = 200, body = QueryView), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn acknowledge(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((dashboard, name)): Path<(String, String)>,
    body: Bytes,
) -> Answer<(Extension<Acted>, Json<QueryView>)> {
    let why: Why = json(&body, "{\"why\": \"we look into it\"}")?;
    changed_query(&app, &principal, &dashboard, &name, &why.why, Edit::Acknowledge).await
}

/// Says where queries run of which nothing is said.
#[utoipa::path(
    put, path = "/v1/rollout/default", operation_id = "set_rollout_default", tag = "rollout", request_body = WantedRule,
    responses((status = 200, body = RolloutView), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn set_default(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Answer<(Extension<Acted>, Json<RolloutView>)> {
    let (rule, why) = wanted_rule(&body)?;
    let rollout = app.service.change_rollout(Edit::Default(Some(rule)), principal.name(), &why).await?;
    Ok((acted(&rollout), Json(state_of(&app, &rollout)?)))
}

/// Sends everything to Postgres, or gives each query its route again.
#[utoipa::path(
    put, path = "/v1/rollout/switch", operation_id = "switch_rollout", tag = "rollout", request_body = WantedSwitch,
    responses((status = 200, body = RolloutView), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn switch(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Answer<(Extension<Acted>, Json<RolloutView>)> {
    let wanted: WantedSwitch = json(&body, "{\"switch\": \"postgres\", \"why\": \"totals differ\"}")?;
    let edit = Edit::Switch(wanted.switch.parse()?);
    let rollout = app.service.change_rollout(edit, principal.name(), &wanted.why).await?;
    Ok((acted(&rollout), Json(state_of(&app, &rollout)?)))
}

/// Lists the last changes, the newest first.
#[utoipa::path(
    get, path = "/v1/rollout/changes", operation_id = "list_rollout_changes", tag = "rollout",
    responses((status = 200, body = Changes), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn changes(State(app): State<App>) -> Answer<Json<Changes>> {
    let changes = app.service.rollout_changes(CHANGES_LISTED).await?;
    Ok(Json(Changes { changes: changes.iter().map(change_of).collect() }))
}

/// Tells what was found when a snapshot was compared with the source.
///
/// Cells that differ are shown as they are, and parameters as they were given: it is for those who see all tenants.
#[utoipa::path(
    get, path = "/v1/snapshots/{version}/certificate", operation_id = "show_certificate", tag = "rollout",
    params(("version" = u64, Path)),
    responses((status = 200, body = Object, description = "By query: equal, different, not_comparable, too_slow or not_certified"),
        (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn certificate(State(app): State<App>, Path(version): Path<u64>) -> Answer<Json<Certificate>> {
    let version = SnapshotVersion::new(version)
        .ok_or_else(|| Error::new(Code::SnapshotNotFound, "snapshots are counted from 1"))?;
    Ok(Json(app.service.certificate(version).await?))
}

/// Changes what is said of one query, and shows it.
async fn changed_query(
    app: &App,
    principal: &Principal,
    dashboard: &str,
    name: &str,
    why: &str,
    edit: impl FnOnce(String) -> Edit,
) -> Answer<(Extension<Acted>, Json<QueryView>)> {
    let query = app.service.library().get(dashboard, name)?;
    let rollout = app.service.change_rollout(edit(query.path()), principal.name(), why).await?;
    let default = app.service.rollout_default()?;
    Ok((acted(&rollout), Json(query_of(app, &query, &rollout, &default))))
}

fn wanted_rule(body: &[u8]) -> Result<(Rule, String)> {
    let wanted: WantedRule = json(body, "{\"route\": \"engine\", \"percent\": 10, \"why\": \"certified\"}")?;
    let route: Route = wanted.route.parse()?;
    let WantedRule { percent, tenants, without_certificate, why, .. } = wanted;
    Ok((Rule { route, percent, tenants, without_certificate }, why))
}

fn json<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        Error::new(Code::InvalidRequest, format!("the body is not the JSON that is wanted: {error}"))
            .with_hint(format!("for example {example}"))
    })
}

/// What the audit keeps of a change.
fn acted(rollout: &Rollout) -> Extension<Acted> {
    let what = rollout.changed.as_ref().map_or_else(String::new, |change| format!("{} ({})", change.what, change.why));
    Extension(Acted(what))
}

fn state_of(app: &App, rollout: &Rollout) -> Result<RolloutView> {
    let default = app.service.rollout_default()?;
    let catalog = app.service.library().catalog();
    let queries = catalog.queries.values().map(|query| query_of(app, query, rollout, &default)).collect();
    Ok(RolloutView {
        number: rollout.number,
        switch: rollout.switch.name(),
        default: rule_of(&default),
        queries,
        changed: rollout.changed.as_ref().map(change_of),
    })
}

fn query_of(app: &App, named: &NamedQuery, rollout: &Rollout, default: &Rule) -> QueryView {
    let query = named.path();
    let said: Option<&QueryRollout> = rollout.queries.get(&query);
    let certified = rollout.certified.get(&query).filter(|seen| seen.fingerprint == named.fingerprint);
    let shadow = app.service.shadow_counts(&query);
    let asked = shadow.equal + shadow.different + shadow.unproven + shadow.failed;
    let mean = |total: f64| (asked > 0).then(|| (total / asked as f64 * 1e3).round() / 1e3);
    QueryView {
        shadow: ShadowView {
            equal: shadow.equal,
            different: shadow.different,
            unproven: shadow.unproven,
            failed: shadow.failed,
            postgres_ms: mean(shadow.postgres_ms),
            engine_ms: mean(shadow.engine_ms),
        },
        certified_by: certified.map(|seen| seen.snapshot),
        query,
        rule: rule_of(said.map_or(default, |said| &said.rule)),
        is_default: said.is_none(),
        hold: said.and_then(|said| said.hold.as_ref()).map(|hold| HoldView {
            reason: hold.reason.name(),
            detail: hold.detail.clone(),
            since: hold.since.to_rfc3339_opts(SecondsFormat::Secs, true),
            acknowledged: hold.acknowledged.as_deref().map(change_of),
        }),
        changed: said.map(|said| change_of(&said.changed)),
    }
}

fn rule_of(rule: &Rule) -> RuleView {
    let Rule { percent, without_certificate, .. } = *rule;
    RuleView { route: rule.route.name(), percent, tenants: rule.tenants.clone(), without_certificate }
}

fn change_of(change: &rollout::Change) -> ChangeView {
    ChangeView {
        at: change.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        by: change.by.clone(),
        what: change.what.clone(),
        why: change.why.clone(),
    }
}
