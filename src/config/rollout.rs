//! `[rollout]`: which queries run on Postgres, and how that may move.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::units;
use crate::error::{Code, Error, Result};

/// `[rollout]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rollout {
    /// Whether named queries may run on Postgres at all. Where they may not, the engine answers everything.
    pub enabled: bool,
    /// The role that tenants' queries run under, which row level security limits to the tenant's own rows; without it, queries of tenants
    /// run there that compare `$tenant` themselves. Queries over all tenants use `postgres.url`.
    pub postgres_url: Option<SecretString>,
    /// Where queries run of which nobody has said anything.
    pub default: RouteName,
    /// How long a reply of Postgres's is kept; 0 for not at all.
    #[serde(deserialize_with = "units::duration")]
    pub postgres_ttl: Duration,
    /// How long a query may take on Postgres that gives itself more.
    #[serde(deserialize_with = "units::duration")]
    pub postgres_timeout: Duration,
    /// How many queries run on Postgres at once.
    pub postgres_connections: usize,
    /// How many wait for their turn there.
    pub postgres_queue_max: usize,
    /// How long one waits.
    #[serde(deserialize_with = "units::duration")]
    pub postgres_queue_timeout: Duration,
    /// Schemas in which Postgres looks for tables that are named without one.
    #[serde(deserialize_with = "units::list")]
    pub search_path: Vec<String>,
    /// The setting that holds the tenant for the length of a transaction, which the policies of row level security read.
    pub tenant_setting: String,
    /// Whether the engine answers only queries of which a certificate says that it answers as Postgres does.
    pub require_certificate: bool,
    /// Whether a certificate that says so ends what held a query at Postgres; else a person does.
    pub certificate_releases: bool,
    /// How long a snapshot waits for its certificate, with the transaction on the source open; 0 for no certificates.
    #[serde(deserialize_with = "units::duration")]
    pub certify_timeout: Duration,
    /// How many queries run on Postgres at once for a certificate.
    pub certify_connections: usize,
    /// For how many tenants each query is compared, besides for all of them.
    pub certify_tenants: usize,
    /// Of a hundred requests on the route `shadow`, how many are asked of the engine too.
    pub shadow_percent: u8,
    /// Of a hundred that the engine answers, how many are asked of Postgres too.
    pub shadow_engine_percent: u8,
    /// How many of those wait; more are dropped.
    pub shadow_queue_max: usize,
    /// How far back the engine's answers are looked at, by which a query goes back to Postgres.
    #[serde(deserialize_with = "units::duration")]
    pub trip_window: Duration,
    /// Fewer answers than these say nothing.
    pub trip_answers_min: usize,
    /// More errors of the engine's in a hundred answers send a query back; 100 for never.
    pub trip_error_percent: u8,
    /// More than one answer in twenty that takes longer sends a query back; 0 for never.
    #[serde(deserialize_with = "units::duration")]
    pub trip_p95: Duration,
    /// Gets JSON by POST when a query goes back; Slack shows its `text`.
    pub alert_webhook: Option<SecretString>,
    /// A program with its arguments, which gets the same JSON on standard input.
    #[serde(deserialize_with = "units::list")]
    pub alert_command: Vec<String>,
    /// After how long it is told again, until somebody acknowledges; 0 for never.
    #[serde(deserialize_with = "units::duration")]
    pub alert_again: Duration,
    /// How old a reply may be that is given where neither side can answer; 0 for none.
    #[serde(deserialize_with = "units::duration")]
    pub stale_max: Duration,
    /// Signs routes that another system says in the header `Pilaster-Route`; without it, none are taken.
    pub flag_secret: Option<SecretString>,
    /// A snapshot older than this is not asked where Postgres can be; 0 for any age.
    #[serde(deserialize_with = "units::duration")]
    pub snapshot_age_max: Duration,
}

/// A side, as settings name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteName {
    /// Postgres answers.
    Postgres,
    /// Postgres answers, and the engine is compared.
    Shadow,
    /// The engine answers.
    Engine,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            enabled: false,
            postgres_url: None,
            default: RouteName::Postgres,
            postgres_ttl: Duration::from_secs(30),
            postgres_timeout: Duration::from_secs(30),
            postgres_connections: 4,
            postgres_queue_max: 64,
            postgres_queue_timeout: Duration::from_secs(5),
            search_path: vec!["public".into()],
            tenant_setting: "pilaster.tenant".into(),
            require_certificate: true,
            certificate_releases: false,
            certify_timeout: Duration::from_secs(60),
            certify_connections: 2,
            certify_tenants: 3,
            shadow_percent: 100,
            shadow_engine_percent: 0,
            shadow_queue_max: 256,
            trip_window: Duration::from_secs(60),
            trip_answers_min: 20,
            trip_error_percent: 5,
            trip_p95: Duration::ZERO,
            alert_webhook: None,
            alert_command: Vec::new(),
            alert_again: Duration::from_secs(900),
            stale_max: Duration::ZERO,
            flag_secret: None,
            snapshot_age_max: Duration::ZERO,
        }
    }
}

impl Rollout {
    pub(super) fn validate(&self) -> Result<()> {
        let wrong = |key: &str, what: &str, hint: &str| {
            Err(Error::new(Code::InvalidConfig, format!("rollout.{key} {what}")).with_hint(hint))
        };
        if !self.enabled {
            return Ok(());
        }

        if self.postgres_connections == 0 {
            return wrong("postgres_connections", "is 0", "give at least 1; 4 is the default");
        }
        if self.certify_connections == 0 {
            return wrong("certify_connections", "is 0", "give at least 1; 2 is the default");
        }
        let percents = [self.shadow_percent, self.shadow_engine_percent, self.trip_error_percent];
        if percents.iter().any(|percent| *percent > 100) {
            return wrong(
                "shadow_percent, shadow_engine_percent or trip_error_percent",
                "is over 100",
                "give 0 to 100",
            );
        }
        if self.postgres_timeout.is_zero() {
            return wrong("postgres_timeout", "is 0", "\"30s\" is the default");
        }
        if self.flag_secret.as_ref().is_some_and(|secret| secret.expose_secret().len() < 32) {
            return wrong("flag_secret", "is shorter than 32 bytes", "make one with: openssl rand -hex 32");
        }
        if self.search_path.is_empty() {
            return wrong("search_path", "is empty", "[\"public\"] is the default");
        }
        let is_custom = self.tenant_setting.split_once('.').is_some_and(|(class, name)| {
            let is_word =
                |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            is_word(class) && is_word(name)
        });
        if !is_custom {
            return wrong(
                "tenant_setting",
                "is no name of an application's setting",
                "write two words with a dot between them, for example pilaster.tenant",
            );
        }
        Ok(())
    }
}
