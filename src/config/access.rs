//! `[access]`: who may see what.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;

use super::{key_bytes, units};
use crate::error::{Code, Error, Result};

/// `[access]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// The type of the tenant columns, and so of `$tenant`: `int4`, `int8`, `text` or `uuid`.
    pub tenant_type: String,
    /// The file of API keys, which `pilaster key` writes.
    pub keys_file: Option<PathBuf>,
    /// Issuers of tokens that are believed.
    pub issuers: Vec<Issuer>,
    /// Signs tokens for dashboards in other people's pages: 32 bytes in hexadecimal, the same on every node.
    pub embed_secret: Option<SecretString>,
    /// How many requests a principal may make each second, on average; 0 for any number.
    pub requests_per_second: u32,
    /// How many at once.
    pub requests_burst: u32,
    /// How many wrong credentials an address may send in a minute before it is told to wait; 0 for any number.
    pub failures_per_minute: u32,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            tenant_type: "int8".into(),
            keys_file: None,
            issuers: Vec::new(),
            embed_secret: None,
            requests_per_second: 100,
            requests_burst: 1_000,
            failures_per_minute: 30,
        }
    }
}

/// `[[access.issuers]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// What their `aud` must hold.
    pub audience: String,
    /// What its keys sign with; one, unless they are in a set that says it of each.
    #[serde(deserialize_with = "units::list")]
    pub algorithms: Vec<String>,
    /// A shared secret of at least 32 bytes.
    #[serde(default)]
    pub secret: Option<SecretString>,
    /// A file that holds the secret.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// A public key in PEM.
    #[serde(default)]
    pub public_key_file: Option<PathBuf>,
    /// A JSON Web Key Set.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// Where one is fetched.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// The claim that says the role; `a.b` is `b` in `a`.
    #[serde(default = "role_claim")]
    pub role_claim: String,
    /// What its values mean; without any, they are `dashboard`, `analyst` and `admin`.
    #[serde(default)]
    pub roles: BTreeMap<String, String>,
    /// The claim that says the tenant.
    #[serde(default = "tenant_claim")]
    pub tenant_claim: String,
    /// The claim that is `true` in tokens of those who may see all tenants.
    #[serde(default)]
    pub all_tenants_claim: Option<String>,
    /// By how much clocks may differ.
    #[serde(default = "leeway", deserialize_with = "units::duration")]
    pub leeway: Duration,
}

fn role_claim() -> String {
    "role".into()
}

fn tenant_claim() -> String {
    "tenant".into()
}

const fn leeway() -> Duration {
    Duration::from_secs(30)
}

impl Access {
    /// Whether anybody is asked who they are.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.keys_file.is_some() || !self.issuers.is_empty()
    }

    pub(super) fn validate(&self) -> Result<()> {
        let wrong = |what: String, hint: &str| Err(Error::new(Code::InvalidConfig, what).with_hint(hint));
        if !["int4", "int8", "text", "uuid"].contains(&self.tenant_type.as_str()) {
            return wrong("access.tenant_type is not a tenant's type".into(), "write int4, int8, text or uuid");
        }
        if self.embed_secret.as_ref().is_some_and(|secret| key_bytes(secret).is_none()) {
            return wrong(
                "access.embed_secret is not 32 bytes in hexadecimal".into(),
                "make one with: openssl rand -hex 32",
            );
        }
        if self.embed_secret.is_some() && !self.asks() {
            return wrong(
                "access.embed_secret is set, and nobody is asked who they are".into(),
                "set access.keys_file, or access.issuers, too",
            );
        }
        for issuer in &self.issuers {
            let name = &issuer.issuer;
            let sources = [
                issuer.secret.is_some(),
                issuer.secret_file.is_some(),
                issuer.public_key_file.is_some(),
                issuer.jwks_file.is_some(),
                issuer.jwks_url.is_some(),
            ];
            if sources.iter().filter(|is_given| **is_given).count() != 1 {
                return wrong(
                    format!("access.issuers: {name} must have its keys in one place"),
                    "give one of secret, secret_file, public_key_file, jwks_file and jwks_url",
                );
            }
            if let Some(url) = &issuer.jwks_url
                && !is_safe(url)
            {
                return wrong(
                    format!("access.issuers: {name}: jwks_url is not https"),
                    "keys that come over a line that anybody can write on prove nothing; http is for this machine alone",
                );
            }
            if issuer.leeway > Duration::from_secs(300) {
                return wrong(format!("access.issuers: {name}: leeway is more than 5m"), "30s is the default");
            }
        }
        Ok(())
    }
}

fn is_safe(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let is_here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}
