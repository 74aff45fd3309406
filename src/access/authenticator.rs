//! From what a request shows to who asks.

use std::{net::IpAddr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use secrecy::SecretString;

use super::{
    Principal, Scope,
    embed::{EMBED_TIME_MAX, EmbedKey, Grant, ISSUER},
    flag::FlagKey,
    key::{KeyFile, KeyRing, PREFIX, unknown},
    token::{self, Issuer, IssuerOptions, KeySource},
};
use crate::{
    config::Watched,
    error::{Code, Error, Result},
};

/// Tokens that are known to be genuine, by their hash.
const VERIFIED_MAX: u64 = 10_000;
/// For so long, which is also how long one may outlive an issuer's key.
const VERIFIED_FOR: Duration = Duration::from_secs(60);
/// How often a set of keys is fetched anew.
const JWKS_EVERY: Duration = Duration::from_secs(300);
/// How often at most, because a token names a key that is not known, or because fetching failed.
const JWKS_PAUSE: Duration = Duration::from_secs(10);
const JWKS_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom to believe.
#[derive(Clone, Debug, Default)]
pub struct AccessOptions {
    /// The file of API keys.
    pub keys: Option<PathBuf>,
    /// Issuers of tokens.
    pub issuers: Vec<IssuerOptions>,
    /// Signs tokens for embedded dashboards.
    pub embed_secret: Option<SecretString>,
    /// Signs routes that another system says.
    pub flag_secret: Option<SecretString>,
    /// How many requests a principal may make each second, on average; 0 for any number.
    pub requests_per_second: u32,
    /// How many at once.
    pub requests_burst: u32,
    /// How many credentials an address may get wrong in a minute.
    pub failures_per_minute: u32,
}

/// Knows who asks. Without keys and issuers everybody is [`Principal::local`], which is for loopback alone.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    keys: Option<Keys>,
    issuers: Vec<Issuer>,
    embed: Option<EmbedKey>,
    flags: Option<FlagKey>,
    verified: moka::sync::Cache<[u8; 32], Verified>,
    requests: Option<DefaultKeyedRateLimiter<Arc<str>>>,
    failures: Option<DefaultKeyedRateLimiter<IpAddr>>,
}

/// What a token was found to be.
#[derive(Clone)]
struct Verified {
    principal: Principal,
    /// The API key that it ends with.
    key: Option<String>,
    end: DateTime<Utc>,
}

struct Keys {
    watched: Watched,
    ring: ArcSwap<KeyRing>,
}

impl Keys {
    fn read(path: PathBuf) -> Result<Self> {
        let watched = Watched::new(path);
        let ring = ArcSwap::from_pointee(ring(&watched)?);
        Ok(Self { watched, ring })
    }
}

fn ring(watched: &Watched) -> Result<KeyRing> {
    Ok(KeyRing::new(&KeyFile::new(watched.path().to_owned()).read()?))
}

impl Authenticator {
    /// Reads keys; what is wrong with them is said now.
    pub fn new(options: AccessOptions) -> Result<Self> {
        let keys = options.keys.map(Keys::read).transpose()?;
        let issuers = options.issuers.into_iter().map(Issuer::new).collect::<Result<Vec<_>>>()?;
        for (index, issuer) in issuers.iter().enumerate() {
            if issuer.name() == ISSUER || issuers[..index].iter().any(|other| other.name() == issuer.name()) {
                return Err(Error::new(
                    Code::InvalidConfig,
                    format!("access.issuers: {} is there twice", issuer.name()),
                ));
            }
        }
        let quota = NonZeroU32::new(options.requests_per_second).map(|each_second| {
            let burst = NonZeroU32::new(options.requests_burst).unwrap_or(each_second);
            Quota::per_second(each_second).allow_burst(burst)
        });
        let failures = NonZeroU32::new(options.failures_per_minute).map(Quota::per_minute);
        Ok(Self(Arc::new(Inner {
            keys,
            issuers,
            verified: moka::sync::Cache::builder().max_capacity(VERIFIED_MAX).time_to_live(VERIFIED_FOR).build(),
            embed: options.embed_secret.as_ref().map(EmbedKey::new),
            flags: options.flag_secret.as_ref().map(FlagKey::new),
            requests: quota.map(RateLimiter::keyed),
            failures: failures.map(RateLimiter::keyed),
        })))
    }

    /// Whether anybody is asked who they are.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.0.keys.is_some() || !self.0.issuers.is_empty()
    }

    /// Who asks, by the credential that they show.
    ///
    /// A credential that is right is right wherever it comes from and however many wrong ones came before it, so that nobody can lock
    /// somebody else out; only who shows wrong ones is made to wait.
    pub fn authenticate(&self, credential: Option<&str>, from: Option<IpAddr>) -> Result<Principal> {
        self.recognize(credential).map_err(|error| match error.code() {
            // Who shows nothing guesses nothing.
            Code::Unauthenticated if credential.is_some() => self.failed(error, from),
            _ => error,
        })
    }

    /// The same, without counting what is wrong.
    pub fn recognize(&self, credential: Option<&str>) -> Result<Principal> {
        if !self.asks() {
            return Ok(Principal::local());
        }
        let Some(credential) = credential else {
            return Err(Error::new(Code::Unauthenticated, "this server asks who you are")
                .with_hint("send an API key or a token, as in Authorization: Bearer plk_…"));
        };
        self.verify(credential, Utc::now())
    }

    fn verify(&self, credential: &str, now: DateTime<Utc>) -> Result<Principal> {
        if credential.starts_with(PREFIX) {
            return self.0.keys.as_ref().ok_or_else(unknown)?.ring.load().verify(credential, now);
        }
        // A signature is checked once a minute, and not for each panel of a dashboard.
        let id = *blake3::hash(credential.as_bytes()).as_bytes();
        let verified = match self.0.verified.get(&id).filter(|verified| now < verified.end) {
            Some(verified) => verified,
            None => {
                let verified = self.verify_token(credential)?;
                self.0.verified.insert(id, verified.clone());
                verified
            }
        };
        if let Some(key) = &verified.key {
            self.0.keys.as_ref().ok_or_else(unknown)?.ring.load().check(key, now)?;
        }
        Ok(verified.principal)
    }

    fn verify_token(&self, token: &str) -> Result<Verified> {
        let (header, issuer) = token::unverified(token)?;
        let unknown = || Error::new(Code::Unauthenticated, "the token's issuer is not known");
        if issuer == ISSUER {
            let (principal, key, end) = self.0.embed.as_ref().ok_or_else(unknown)?.verify(token)?;
            return Ok(Verified { principal, key, end });
        }
        let issuer = self.0.issuers.iter().find(|known| known.name() == issuer).ok_or_else(unknown)?;
        let (principal, end) = issuer.verify(token, &header)?;
        Ok(Verified { principal, key: None, end })
    }

    fn failed(&self, error: Error, from: Option<IpAddr>) -> Error {
        let limited = self.0.failures.as_ref().zip(from).map(|(failures, from)| (failures, failures.check_key(&from)));
        match limited {
            Some((failures, Err(until))) => {
                Error::new(Code::QuotaExceeded, "too many wrong credentials came from this address")
                    .with_hint("a right one is accepted at any time")
                    .with_retry_after(until.wait_time_from(failures.clock().now()))
            }
            _ => error,
        }
    }

    /// The principal with the route that another system says, if it is believed.
    pub fn flagged(&self, principal: Principal, flag: &str) -> Result<Principal> {
        let key = self.0.flags.as_ref().ok_or_else(|| {
            Error::new(Code::InvalidRequest, "no routes are taken from requests here")
                .with_hint("leave Pilaster-Route out, or set rollout.flag_secret")
        })?;
        let flag = key.verify(flag, &principal)?;
        Ok(principal.flagged(flag))
    }

    /// Counts a request against its principal's quota. Where nobody is asked, all are one principal, and it has none.
    pub fn admit(&self, principal: &Principal) -> Result<()> {
        let Some(requests) = self.0.requests.as_ref().filter(|_| self.asks()) else { return Ok(()) };
        requests.check_key(principal.shared_name()).map(drop).map_err(|until| {
            Error::new(Code::QuotaExceeded, "these are more requests than one principal may make")
                .with_hint("access.requests_per_second and access.requests_burst are the limits")
                .with_retry_after(until.wait_time_from(requests.clock().now()))
        })
    }

    /// A token for a dashboard in a browser, that can do no more than who asks for it.
    pub fn embed(
        &self,
        minter: &Principal,
        scope: Scope,
        grant: Grant,
        time: Duration,
    ) -> Result<(SecretString, DateTime<Utc>)> {
        let Some(embed) = &self.0.embed else {
            return Err(Error::new(Code::InvalidRequest, "this server signs no tokens")
                .with_hint("set access.embed_secret; make one with: openssl rand -hex 32"));
        };
        if minter.grant().is_some() {
            return Err(Error::new(Code::PermissionDenied, "a token for a dashboard cannot ask for another"));
        }
        if *minter.scope() != Scope::All && *minter.scope() != scope {
            return Err(Error::new(Code::PermissionDenied, "the token would show another tenant than yours"));
        }
        if time.is_zero() || time > EMBED_TIME_MAX {
            return Err(Error::new(Code::InvalidRequest, "a token lives from one second to one day"));
        }
        let now = Utc::now();
        let end = now + time;
        Ok((embed.mint(minter, scope, grant, now, end)?, end))
    }

    /// Reads again the files that have changed; says of each what came of it, by its path. What cannot be read leaves what was.
    pub fn reload(&self) -> Vec<(PathBuf, Result<()>)> {
        // Those whose quota is full again are as good as new.
        self.0.requests.iter().for_each(RateLimiter::retain_recent);
        self.0.failures.iter().for_each(RateLimiter::retain_recent);
        let keys = self.0.keys.iter().filter(|keys| keys.watched.has_changed()).map(|keys| {
            let read = ring(&keys.watched).map(|ring| keys.ring.store(Arc::new(ring)));
            (keys.watched.path().to_owned(), read)
        });
        let issuers = self.0.issuers.iter().filter_map(|issuer| {
            let watched = issuer.watched().filter(|watched| watched.has_changed())?;
            let read = issuer.read_keys();
            self.0.verified.invalidate_all();
            Some((watched.path().to_owned(), read))
        });
        keys.chain(issuers).collect()
    }

    /// Fetches the sets of keys that are at URLs, and goes on fetching them.
    pub async fn keep_keys(&self) {
        let issuers = self.0.issuers.iter().filter_map(|issuer| match issuer.source() {
            KeySource::JwksUrl(url) => Some(keep_keys(issuer, url)),
            _ => None,
        });
        futures::future::join_all(issuers).await;
    }
}

async fn keep_keys(issuer: &Issuer, url: &str) {
    let client = reqwest::Client::builder().timeout(JWKS_TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(issuer = issuer.name(), %error, "the issuer's keys cannot be fetched");
            return;
        }
    };
    let mut was_failing = false;
    loop {
        let fetched = async {
            let text = fetch(&client, url).await?;
            issuer.take_set(&text)
        };
        let (pause, is_failing) = match fetched.await {
            Ok(()) => (JWKS_EVERY, false),
            Err(error) => {
                // Once for each spell: what was fetched before stays.
                if !was_failing {
                    tracing::error!(issuer = issuer.name(), error = %error.chain(), "the issuer's keys cannot be fetched");
                }
                (JWKS_PAUSE, true)
            }
        };
        was_failing = is_failing;
        tokio::time::sleep(JWKS_PAUSE.min(pause)).await;
        tokio::select! {
            () = tokio::time::sleep(pause.saturating_sub(JWKS_PAUSE)) => {}
            () = issuer.wants_keys.notified() => {}
        }
    }
}

async fn fetch(client: &reqwest::Client, url: &str) -> Result<Vec<u8>> {
    let wrong = |error: reqwest::Error| Error::new(Code::Unavailable, format!("{url}: {error}")).with_cause(error);
    let mut response = client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(wrong)?;
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(wrong)? {
        text.extend_from_slice(&chunk);
        if text.len() > token::JWKS_BYTES_MAX {
            return Err(Error::new(Code::Unavailable, format!("{url}: the answer is longer than any set of keys")));
        }
    }
    Ok(text)
}
