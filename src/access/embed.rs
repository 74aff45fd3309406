//! Tokens for a dashboard in somebody's browser: short-lived, for one dashboard, with the tenant and what else is fixed inside.
//!
//! A product's server asks for one with its own key and hands it to the page. The token can do less than the key in every way, ends with it,
//! and cannot be made wider by whoever holds it: it is a JWT (RFC 7519) that is signed with a secret that is for nothing else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Principal, Role, Scope, token};
use crate::error::{Code, Error, Result};

/// The `iss` of such tokens; no other issuer may be called so.
pub(super) const ISSUER: &str = "pilaster-embed";
/// The longest that a token may live.
pub const EMBED_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a principal is limited to beyond role and scope: one dashboard, or one query of it, with some parameters fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The dashboard.
    pub dashboard: String,
    /// One query of it; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Parameters that the holder cannot choose, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Value>,
}

impl Grant {
    /// Whether the query is one of those.
    #[must_use]
    pub fn covers(&self, dashboard: &str, query: &str) -> bool {
        self.dashboard == dashboard && self.query.as_ref().is_none_or(|only| only == query)
    }
}

/// Makes and checks such tokens.
pub(super) struct EmbedKey {
    sign: EncodingKey,
    verify: DecodingKey,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    /// Who asked for it.
    sub: String,
    /// Tells tokens apart.
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    /// The API key that asked for it, with which it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    scope: Scope,
    grant: Grant,
}

impl EmbedKey {
    pub(super) fn new(secret: &SecretString) -> Self {
        let bytes = secret.expose_secret().as_bytes();
        Self { sign: EncodingKey::from_secret(bytes), verify: DecodingKey::from_secret(bytes) }
    }

    /// A token for whoever `minter` gives it to, until `end`.
    pub(super) fn mint(
        &self,
        minter: &Principal,
        scope: Scope,
        grant: Grant,
        now: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> Result<SecretString> {
        let claims = Claims {
            iss: ISSUER.into(),
            aud: ISSUER.into(),
            sub: minter.name().to_owned(),
            jti: Uuid::new_v4().simple().to_string(),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: end.timestamp(),
            key: minter.key_id().map(str::to_owned),
            scope,
            grant,
        };
        let token = encode(&Header::new(Algorithm::HS256), &claims, &self.sign)
            .map_err(|error| Error::internal("a token cannot be signed").with_cause(error))?;
        if token.len() > token::BYTES_MAX / 2 {
            return Err(Error::new(Code::InvalidRequest, "the fixed parameters are too long for a token")
                .with_hint("fix fewer, or shorter ones"));
        }
        Ok(token.into())
    }

    /// Who holds the token, the key that it ends with, and when it does by itself.
    pub(super) fn verify(&self, token: &str) -> Result<(Principal, Option<String>, DateTime<Utc>)> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = 5;
        let claims = decode::<Claims>(token, &self.verify, &validation).map_err(|error| token::refused(&error))?.claims;
        let name = format!("embed:{}:{}", claims.sub, claims.jti);
        let principal = Principal::new(&name, Role::Dashboard, claims.scope).limited_to(Arc::new(claims.grant));
        let end = DateTime::from_timestamp(claims.exp, 0).unwrap_or_default();
        Ok((principal, claims.key, end))
    }
}
