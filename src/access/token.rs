//! JSON Web Tokens (RFC 7519) of other people's issuers: who is asking, told by somebody whom the operator trusts.
//!
//! Each key is for one algorithm, whatever a token's head says; keys come from the configuration and never from a token. `iss`, `aud`, `exp`
//! and `nbf` are required. A token that says nothing of a tenant is of no tenant, and refused, never of all.

use std::{collections::BTreeMap, fs, path::PathBuf, str::FromStr, time::Duration};

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::{Principal, Role, Scope, TenantId};
use crate::{
    config::Watched,
    error::{Code, Error, Result},
};

/// Longer tokens are not looked at.
pub(super) const BYTES_MAX: usize = 16 << 10;
/// Keys of one issuer; a token without a key's name is tried on each.
const KEYS_MAX: usize = 64;
const SECRET_BYTES_MIN: usize = 32;
/// How long a set of keys may be that comes from a URL.
pub(super) const JWKS_BYTES_MAX: usize = 1 << 20;

/// An issuer that is trusted, and what its tokens mean.
#[derive(Clone, Debug)]
pub struct IssuerOptions {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// What `aud` must hold.
    pub audience: String,
    /// The algorithms of its keys.
    pub algorithms: Vec<String>,
    /// Where its keys are.
    pub keys: KeySource,
    /// The claim that says the role; `a.b` is `b` in `a`.
    pub role_claim: String,
    /// What the claim's values mean; without any, they are the names of roles.
    pub roles: BTreeMap<String, Role>,
    /// The claim that says the tenant, as a string or a whole number.
    pub tenant_claim: String,
    /// The claim that is `true` in tokens of those who may see all tenants.
    pub all_tenants_claim: Option<String>,
    /// By how much clocks may differ.
    pub leeway: Duration,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A shared secret, for HS256, HS384 and HS512.
    Secret(SecretString),
    /// A public key in PEM.
    PublicKey(PathBuf),
    /// A JSON Web Key Set (RFC 7517) in a file, which is read again when it changes.
    JwksFile(PathBuf),
    /// One that is fetched.
    JwksUrl(String),
}

/// A trusted issuer with its keys.
pub(super) struct Issuer {
    options: IssuerOptions,
    algorithms: Vec<Algorithm>,
    keys: ArcSwap<Vec<VerifyingKey>>,
    watched: Option<Watched>,
    /// A token named a key that is not there: perhaps there is a newer set.
    pub(super) wants_keys: Notify,
}

struct VerifyingKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Issuer {
    /// Reads its keys, but for those that are fetched.
    pub(super) fn new(options: IssuerOptions) -> Result<Self> {
        let wrong =
            |what: String| Error::new(Code::InvalidConfig, format!("access.issuers: {}: {what}", options.issuer));
        if options.issuer.is_empty() || options.audience.is_empty() {
            return Err(wrong("its issuer or audience is empty".into()));
        }
        let named = |name: &String| {
            Algorithm::from_str(name).map_err(|_| {
                wrong(format!("{name:?} is no algorithm of signatures"))
                    .with_hint("write HS256, RS256, PS256, ES256 or EdDSA, or the 384 or 512 of them")
            })
        };
        let algorithms = options.algorithms.iter().map(named).collect::<Result<Vec<_>>>()?;
        let is_secret = matches!(options.keys, KeySource::Secret(_));
        let is_set = matches!(options.keys, KeySource::JwksFile(_) | KeySource::JwksUrl(_));
        if algorithms.is_empty() || (algorithms.len() > 1 && !is_set) {
            return Err(
                wrong("a key is for one algorithm".into()).with_hint("write algorithms = [\"RS256\"], for example")
            );
        }
        if algorithms.iter().any(|algorithm| is_symmetric(*algorithm) != is_secret) {
            return Err(wrong("HS256, HS384 and HS512 go with a secret, the others with public keys".into()));
        }
        let watched = match &options.keys {
            KeySource::PublicKey(path) | KeySource::JwksFile(path) => Some(Watched::new(path.clone())),
            KeySource::Secret(_) | KeySource::JwksUrl(_) => None,
        };
        let issuer = Self { options, algorithms, keys: ArcSwap::default(), watched, wants_keys: Notify::new() };
        issuer.read_keys()?;
        Ok(issuer)
    }

    pub(super) fn name(&self) -> &str {
        &self.options.issuer
    }

    pub(super) fn source(&self) -> &KeySource {
        &self.options.keys
    }

    /// The file that its keys are in.
    pub(super) fn watched(&self) -> Option<&Watched> {
        self.watched.as_ref()
    }

    /// Reads keys that are in a file or in the configuration.
    pub(super) fn read_keys(&self) -> Result<()> {
        let wrong = |what: String| Error::new(Code::InvalidConfig, format!("access.issuers: {}: {what}", self.name()));
        let read = |path: &PathBuf| {
            fs::read(path)
                .map_err(|error| wrong(format!("{} cannot be read: {error}", path.display())).with_cause(error))
        };
        let algorithm = self.algorithms[0];
        let keys = match &self.options.keys {
            KeySource::Secret(secret) if secret.expose_secret().len() < SECRET_BYTES_MIN => {
                return Err(wrong(format!("its secret is shorter than {SECRET_BYTES_MIN} bytes"))
                    .with_hint("make one with: openssl rand -hex 32"));
            }
            KeySource::Secret(secret) => {
                let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
                vec![VerifyingKey { id: None, algorithm, key }]
            }
            KeySource::PublicKey(path) => {
                let pem = read(path)?;
                let key = match algorithm {
                    Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(&pem),
                    Algorithm::EdDSA => DecodingKey::from_ed_pem(&pem),
                    _ => DecodingKey::from_rsa_pem(&pem),
                };
                let key = key.map_err(|error| {
                    wrong(format!("{} is no public key for {algorithm:?} in PEM: {error}", path.display()))
                })?;
                vec![VerifyingKey { id: None, algorithm, key }]
            }
            KeySource::JwksFile(path) => self.of_set(&read(path)?)?,
            KeySource::JwksUrl(_) => return Ok(()),
        };
        self.keys.store(keys.into());
        Ok(())
    }

    /// Takes a set of keys that was fetched; what it had stays if this is none.
    pub(super) fn take_set(&self, text: &[u8]) -> Result<()> {
        self.keys.store(self.of_set(text)?.into());
        Ok(())
    }

    fn of_set(&self, text: &[u8]) -> Result<Vec<VerifyingKey>> {
        let wrong = |what: String| Error::new(Code::InvalidConfig, format!("access.issuers: {}: {what}", self.name()));
        if text.len() > JWKS_BYTES_MAX {
            return Err(wrong("its set of keys is too long".into()));
        }
        let set: JwkSet =
            serde_json::from_slice(text).map_err(|error| wrong(format!("is no JSON Web Key Set: {error}")))?;
        let keys: Vec<VerifyingKey> = set.keys.iter().filter_map(|key| self.of_jwk(key)).take(KEYS_MAX).collect();
        if keys.is_empty() {
            return Err(wrong(format!(
                "none of the {} keys of its set is for signatures by {}",
                set.keys.len(),
                self.options.algorithms.join(", ")
            )));
        }
        Ok(keys)
    }

    /// A key of a set, unless it is for something else. A secret is no public key, whoever publishes it.
    fn of_jwk(&self, jwk: &Jwk) -> Option<VerifyingKey> {
        let common = &jwk.common;
        if common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature)
            || matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_))
        {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let fits = |algorithm: &&Algorithm| match common.key_algorithm {
            Some(named) => named.to_string() == format!("{algorithm:?}"),
            None => algorithm.family() == key.family(),
        };
        let algorithm = *self.algorithms.iter().find(fits)?;
        (algorithm.family() == key.family()).then(|| VerifyingKey { id: common.key_id.clone(), algorithm, key })
    }

    /// Whose token this is, if one of the issuer's keys made it and it is for us and now; and until when.
    pub(super) fn verify(&self, token: &str, header: &Header) -> Result<(Principal, DateTime<Utc>)> {
        let keys = self.keys.load();
        if keys.is_empty() {
            self.wants_keys.notify_one();
            let message = format!("the keys of {} have not been fetched yet", self.name());
            return Err(Error::new(Code::Unavailable, message).with_retry_after(Duration::from_secs(1)));
        }
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.options.issuer]);
        validation.set_audience(&[&self.options.audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = self.options.leeway.as_secs();
        let mut outcome = Err(Error::new(Code::Unauthenticated, "no key of the token's issuer goes with it"));
        let is_named = |key: &&VerifyingKey| match (&key.id, &header.kid) {
            (Some(id), Some(named)) => id == named,
            _ => true,
        };
        for key in keys.iter().filter(|key| key.algorithm == header.alg).filter(is_named) {
            match decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(data) => return Ok((self.principal(&data.claims)?, self.end(&data.claims))),
                Err(error) => {
                    let is_other_key = matches!(error.kind(), ErrorKind::InvalidSignature);
                    outcome = Err(refused(&error));
                    if !is_other_key {
                        break;
                    }
                }
            }
        }
        if header.kid.is_some() && !keys.iter().any(|key| key.id == header.kid) {
            self.wants_keys.notify_one();
        }
        outcome
    }

    fn end(&self, claims: &Map<String, Value>) -> DateTime<Utc> {
        let seconds = claims.get("exp").and_then(Value::as_i64).unwrap_or_default();
        let end = DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        end.checked_add_signed(TimeDelta::from_std(self.options.leeway).unwrap_or_default()).unwrap_or(end)
    }

    fn principal(&self, claims: &Map<String, Value>) -> Result<Principal> {
        let options = &self.options;
        let wrong = |what: String| Error::new(Code::Unauthenticated, format!("the token's {what}"));
        let said = claim(claims, &options.role_claim).and_then(Value::as_str);
        let said = said.ok_or_else(|| wrong(format!("claim {:?}, its role, is no text", options.role_claim)))?;
        let role = match options.roles.is_empty() {
            true => said.parse().ok(),
            false => options.roles.get(said).copied(),
        };
        let role = role.ok_or_else(|| wrong(format!("claim {:?} names no role that is known", options.role_claim)))?;
        let sees_all = options.all_tenants_claim.as_ref().and_then(|name| claim(claims, name)).map(Value::as_bool);
        let tenant = match claim(claims, &options.tenant_claim) {
            None | Some(Value::Null) => None,
            Some(Value::String(tenant)) => Some(tenant.clone()),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Some(number.to_string()),
            Some(_) => {
                return Err(wrong(format!("claim {:?}, its tenant, is no text or whole number", options.tenant_claim)));
            }
        };
        let scope = match (tenant, sees_all) {
            (Some(tenant), None | Some(Some(false))) => {
                Scope::Tenant(TenantId::new(&tenant).map_err(|error| wrong(format!("tenant: {}", error.message())))?)
            }
            (None, Some(Some(true))) => Scope::All,
            (Some(_), Some(_)) => return Err(wrong("tenant is one, and it is of all".into())),
            (None, _) => return Err(wrong(format!("claim {:?}, its tenant, is missing", options.tenant_claim))),
        };
        let subject = claims.get("sub").and_then(Value::as_str).filter(|subject| is_name(subject));
        let subject = subject
            .ok_or_else(|| wrong("subject (sub) is missing, longer than 200 letters, or no plain text".into()))?;
        // Two tenants may have a user of one name.
        let of = match &scope {
            Scope::All => String::new(),
            Scope::Tenant(tenant) => part(tenant.as_str()),
        };
        Ok(Principal::new(&format!("jwt:{}:{of}:{}", part(&options.issuer), part(subject)), role, scope))
    }
}

/// One part of a name, in which the colons between parts stand nowhere else.
fn part(text: &str) -> String {
    text.replace('%', "%25").replace(':', "%3A")
}

/// What of a token may be read before it is known to be genuine: which issuer and key it says it is by.
pub(super) fn unverified(token: &str) -> Result<(Header, String)> {
    let malformed = || Error::new(Code::Unauthenticated, "the credential is neither an API key nor a token");
    if token.len() > BYTES_MAX {
        return Err(malformed());
    }
    let header = decode_header(token).map_err(|_| malformed())?;
    if header.crit.is_some() {
        return Err(Error::new(Code::Unauthenticated, "the token asks for what is not understood here (crit)"));
    }
    let claims: Map<String, Value> = jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| malformed())?;
    let issuer = claims.get("iss").and_then(Value::as_str);
    let issuer =
        issuer.ok_or_else(|| Error::new(Code::Unauthenticated, "the token does not say who issued it (iss)"))?;
    Ok((header, issuer.to_owned()))
}

/// Why a token is not accepted, for its holder.
pub(super) fn refused(error: &jsonwebtoken::errors::Error) -> Error {
    let message = match error.kind() {
        ErrorKind::ExpiredSignature => "the token has expired".to_owned(),
        ErrorKind::ImmatureSignature => "the token is not valid yet".to_owned(),
        ErrorKind::InvalidAudience => "the token is for somebody else (aud)".to_owned(),
        ErrorKind::InvalidIssuer => "the token's issuer is not known".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("the token has no {claim}"),
        _ => "the token's signature is not valid".to_owned(),
    };
    Error::new(Code::Unauthenticated, message)
}

/// Whether it can stand in a log, and for one person alone.
fn is_name(subject: &str) -> bool {
    !subject.is_empty() && subject.chars().count() <= 200 && !subject.chars().any(char::is_control)
}

fn claim<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    // A claim may be called by a URL, which has dots.
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut parts = path.split('.');
    let first = claims.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

const fn is_symmetric(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}
