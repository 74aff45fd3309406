//! Routes that another system says: a team with flags of its own sends the route along, signed.
//!
//! The claim is a JWT (RFC 7519), since every language has a library for those, under a secret that is for nothing else. It says where a
//! query runs and nothing about who asks.

use std::time::Duration;

use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Principal, Scope, token};
use crate::{
    error::{Code, Error, Result},
    rollout::Route,
};

/// What the claim's `aud` must be.
const AUDIENCE: &str = "pilaster-route";
/// How far ahead its `exp` may be: a claim that is copied somewhere is of no use for long.
const LIFE_MAX: Duration = Duration::from_secs(600);

/// Where another system says that queries run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    route: Route,
    /// `dashboard/name` or `dashboard/*`; none for every query.
    query: Option<String>,
}

impl Flag {
    /// Where a query (`dashboard/name`) runs, if the flag is about it.
    #[must_use]
    pub fn route_of(&self, query: &str) -> Option<Route> {
        let covers = self.query.as_ref().is_none_or(|pattern| match pattern.strip_suffix("/*") {
            Some(dashboard) => query.split_once('/').is_some_and(|(of, _)| of == dashboard),
            None => pattern == query,
        });
        covers.then_some(self.route)
    }
}

/// Believes flags that are signed with its secret.
pub(super) struct FlagKey(DecodingKey);

#[derive(Deserialize)]
struct Claims {
    exp: i64,
    route: String,
    query: Option<String>,
    tenant: Option<String>,
}

impl FlagKey {
    pub(super) fn new(secret: &SecretString) -> Self {
        Self(DecodingKey::from_secret(secret.expose_secret().as_bytes()))
    }

    pub(super) fn verify(&self, token: &str, principal: &Principal) -> Result<Flag> {
        let refused = |why: &str| Error::new(Code::InvalidRequest, format!("the route in Pilaster-Route {why}"));
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        validation.leeway = 5;
        if token.len() > token::BYTES_MAX {
            return Err(refused("is too long"));
        }
        let claims = decode::<Claims>(token, &self.0, &validation)
            .map_err(|error| {
                refused("is not believed")
                    .with_hint("sign {\"aud\": \"pilaster-route\", \"exp\": …, \"route\": …} with HS256 and rollout.flag_secret")
                    .with_cause(error)
            })?
            .claims;
        let ahead = Duration::from_secs(u64::try_from(claims.exp - Utc::now().timestamp()).unwrap_or(0));
        if ahead > LIFE_MAX + Duration::from_secs(5) {
            return Err(refused("lives too long").with_hint("let it end within ten minutes"));
        }
        let is_theirs = match (&claims.tenant, principal.scope()) {
            (None, _) => true,
            (Some(tenant), Scope::Tenant(of)) => tenant == of.as_str(),
            (Some(_), Scope::All) => false,
        };
        if !is_theirs {
            return Err(refused("is for another tenant"));
        }
        Ok(Flag { route: claims.route.parse()?, query: claims.query })
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;
    use crate::access::{Role, TenantId};

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn signed(claims: &Value, secret: &str, algorithm: Algorithm) -> String {
        encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    #[test]
    fn a_flag_is_believed_when_it_is_signed_and_young() {
        let key = FlagKey::new(&SECRET.into());
        let now = Utc::now().timestamp();
        let tenant = Principal::new("key:1:web", Role::Dashboard, Scope::Tenant(TenantId::new("7").unwrap()));
        let claims = |more: Value| {
            let mut claims = json!({ "aud": AUDIENCE, "exp": now + 60, "route": "engine" });
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            claims
        };
        let check = |more: Value, expect: Result<Route, &str>| {
            let found = key.verify(&signed(&claims(more.clone()), SECRET, Algorithm::HS256), &tenant);
            match (found, expect) {
                (Ok(flag), Ok(route)) => assert_eq!(flag.route, route, "{more}"),
                (Err(error), Err(part)) => assert!(error.message().contains(part), "{more}: {error}"),
                (found, _) => panic!("{more}: {found:?}"),
            }
        };
        check(json!({}), Ok(Route::Engine));
        check(json!({ "route": "shadow", "tenant": "7", "query": "a/b" }), Ok(Route::Shadow));
        check(json!({ "tenant": "8" }), Err("another tenant"));
        check(json!({ "exp": now - 60 }), Err("not believed"));
        check(json!({ "exp": now + 3_600 }), Err("lives too long"));
        check(json!({ "aud": "another" }), Err("not believed"));
        check(json!({ "route": "sideways" }), Err("is no route"));
        let others = [signed(&claims(json!({})), "another secret of thirty-two bytes", Algorithm::HS256)];
        let others = others.into_iter().chain([signed(&claims(json!({})), SECRET, Algorithm::HS512), "x".into()]);
        for other in others {
            assert!(key.verify(&other, &tenant).is_err(), "{other}");
        }
    }

    #[test]
    fn a_flag_may_be_about_some_queries() {
        let check = |pattern: Option<&str>, query: &str, expect: bool| {
            let flag = Flag { route: Route::Engine, query: pattern.map(str::to_owned) };
            assert_eq!(flag.route_of(query).is_some(), expect, "{pattern:?} {query}");
        };
        check(None, "a/b", true);
        check(Some("a/b"), "a/b", true);
        check(Some("a/b"), "a/bc", false);
        check(Some("a/*"), "a/b", true);
        check(Some("a/*"), "ab/b", false);
        check(Some("*"), "a/b", false);
    }
}
