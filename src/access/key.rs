//! API keys: what one looks like, and the file that knows of them.
//!
//! A key is `plk_<id>_<secret>`: 12 hexadecimal digits that tell keys apart, and 64 that are the secret. The file holds the secret's SHA-256;
//! 256 random bits need no slower hash, for nobody can try them. The file is read again when it changes, so that a key that was revoked is
//! refused within a second.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Principal, Role, Scope};
use crate::error::{Code, Error, Result};

/// What every key begins with, so that scanners for leaked secrets find it.
pub(super) const PREFIX: &str = "plk_";
const ID_DIGITS: usize = 12;
const SECRET_DIGITS: usize = 64;
const FORMAT: u32 = 1;

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// The digits behind `plk_`.
    pub id: String,
    /// Who holds it, for people.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whose rows they may see.
    pub scope: Scope,
    /// The secret's SHA-256, in hexadecimal.
    pub sha256: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When somebody ended it.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// What a new key is for.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Who will hold it.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whose rows they may see.
    pub scope: Scope,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    keys: Vec<KeyRecord>,
}

/// The file that knows of all keys.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The file at this path; it need not exist yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys, also those that have ended. A file that does not exist has none.
    pub fn read(&self) -> Result<Vec<KeyRecord>> {
        let wrong = |what: String| Error::new(Code::InvalidConfig, format!("{}: {what}", self.path.display()));
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(wrong(format!("cannot be read: {error}")).with_cause(error)),
        };
        let mode = fs::metadata(&self.path).map_or(0, |data| data.permissions().mode());
        if mode & 0o022 != 0 {
            return Err(wrong("others than its owner can write it, and give themselves keys".into())
                .with_hint(format!("chmod 600 {}", self.path.display())));
        }
        let document: Document =
            serde_json::from_str(&text).map_err(|error| wrong(format!("is not a file of keys: {error}")))?;
        if document.format != FORMAT {
            return Err(wrong(format!("is of format {}, and this version reads {FORMAT}", document.format)));
        }
        if let Some(key) = document.keys.iter().find(|key| digest_of(key).is_none()) {
            return Err(wrong(format!("the sha256 of key {} is not 64 hexadecimal digits", key.id)));
        }
        Ok(document.keys)
    }

    /// Makes a key. The whole of it is shown here and nowhere else.
    pub fn add(&self, wish: NewKey, now: DateTime<Utc>) -> Result<(KeyRecord, SecretString)> {
        let name = wish.name.trim();
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            return Err(Error::new(
                Code::InvalidRequest,
                "the key's name is empty, too long, or has control characters",
            )
            .with_hint("say who will hold it, for example: --name grafana"));
        }
        let mut chance = [0; (ID_DIGITS + SECRET_DIGITS) / 2];
        getrandom::fill(&mut chance).map_err(|error| Error::internal(format!("there is no randomness: {error}")))?;
        let digits = hex(&chance);
        let (id, secret) = digits.split_at(ID_DIGITS);
        let record = KeyRecord {
            id: id.to_owned(),
            name: name.to_owned(),
            role: wish.role,
            scope: wish.scope,
            sha256: hex(&Sha256::digest(secret)),
            created_at: now,
            expires_at: wish.expires_at,
            revoked_at: None,
        };
        self.change(|keys| {
            if keys.iter().any(|key| key.id == record.id) {
                return Err(Error::internal("two keys have one id"));
            }
            keys.push(record.clone());
            Ok(())
        })?;
        Ok((record, SecretString::from(format!("{PREFIX}{id}_{secret}"))))
    }

    /// Ends a key. One that has ended stays as it is.
    pub fn revoke(&self, id: &str, now: DateTime<Utc>) -> Result<KeyRecord> {
        let id = id.strip_prefix(PREFIX).unwrap_or(id);
        let id = id.split('_').next().unwrap_or(id);
        self.change(|keys| {
            let key = keys.iter_mut().find(|key| key.id == id).ok_or_else(|| {
                Error::new(Code::NotFound, format!("there is no key {id}")).with_hint("pilaster key list shows all")
            })?;
            key.revoked_at.get_or_insert(now);
            Ok(key.clone())
        })
    }

    /// One at a time, and whole: readers see the file before or after.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<KeyRecord>) -> Result<T>) -> Result<T> {
        let wrong = |what: &str, error: std::io::Error| {
            Error::new(Code::InvalidConfig, format!("{}: {what}: {error}", self.path.display())).with_cause(error)
        };
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| wrong("its folder cannot be made", error))?;
        let mut name = self.path.clone().into_os_string();
        name.push(".lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(name);
        let lock = lock.map_err(|error| wrong("cannot be locked", error))?;
        lock.lock().map_err(|error| wrong("cannot be locked", error))?;

        let mut keys = self.read()?;
        let made = change(&mut keys)?;
        let text = serde_json::to_string_pretty(&Document { format: FORMAT, keys })
            .map_err(|error| Error::internal("keys cannot be written as JSON").with_cause(error))?;
        // A temporary file is its owner's alone.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| wrong("cannot be written", error))?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.as_file().sync_all())
            .map_err(|error| wrong("cannot be written", error))?;
        file.persist(&self.path).map_err(|error| wrong("cannot be replaced", error.error))?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| wrong("cannot be made to last", error))?;
        Ok(made)
    }
}

/// All keys in memory, as one reading of the file had them.
#[derive(Debug, Default)]
pub(super) struct KeyRing(HashMap<String, Held>);

#[derive(Debug)]
struct Held {
    digest: [u8; 32],
    principal: Principal,
    expires_at: Option<DateTime<Utc>>,
    is_revoked: bool,
}

impl KeyRing {
    pub(super) fn new(keys: &[KeyRecord]) -> Self {
        let held = |key: &KeyRecord| {
            let principal = Principal::new(&format!("key:{}:{}", key.id, key.name), key.role, key.scope.clone());
            let (digest, is_revoked) = (digest_of(key)?, key.revoked_at.is_some());
            Some((key.id.clone(), Held { digest, principal, expires_at: key.expires_at, is_revoked }))
        };
        Self(keys.iter().filter_map(held).collect())
    }

    /// Whose key this is. What is wrong with it is told only to who knows the secret.
    pub(super) fn verify(&self, key: &str, now: DateTime<Utc>) -> Result<Principal> {
        let (id, secret) = key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or_else(unknown)?;
        let digest = Sha256::digest(secret);
        let held = self.0.get(id);
        // An id is no secret, so that it may be looked up; the digest is compared in the same time wherever it differs.
        let is_known = held.is_some_and(|held| bool::from(held.digest.ct_eq(digest.as_slice())));
        let held = held.filter(|_| is_known).ok_or_else(unknown)?;
        held.check(now)?;
        Ok(held.principal.clone())
    }

    /// Whether the key of this id is there and has not ended.
    pub(super) fn check(&self, id: &str, now: DateTime<Utc>) -> Result<()> {
        self.0.get(id).ok_or_else(unknown)?.check(now)
    }
}

impl Held {
    fn check(&self, now: DateTime<Utc>) -> Result<()> {
        if self.is_revoked {
            return Err(Error::new(Code::Unauthenticated, "the API key was revoked"));
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(Error::new(Code::Unauthenticated, "the API key has expired"));
        }
        Ok(())
    }
}

/// What is told of a key that is not there, or whose secret is another.
pub(super) fn unknown() -> Error {
    Error::new(Code::Unauthenticated, "the API key is not known")
}

fn digest_of(key: &KeyRecord) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(&key.sha256).ok().map(|digest| *digest.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use secrecy::ExposeSecret;

    use super::{super::TenantId, *};

    fn file() -> (tempfile::TempDir, KeyFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys/keys.json"));
        (folder, file)
    }

    fn wish(name: &str) -> NewKey {
        let scope = Scope::Tenant(TenantId::new("7").unwrap());
        NewKey { name: name.into(), role: Role::Dashboard, scope, expires_at: None }
    }

    #[test]
    fn a_key_is_known_by_its_secret_until_it_ends() {
        let (_folder, file) = file();
        let now = Utc::now();
        let (record, key) = file.add(wish("grafana"), now).unwrap();
        let soon = NewKey { expires_at: Some(now + TimeDelta::seconds(10)), ..wish("soon") };
        let (_, expiring) = file.add(soon, now).unwrap();
        let key = key.expose_secret();
        assert_eq!(key.len(), PREFIX.len() + ID_DIGITS + 1 + SECRET_DIGITS);

        let verify = |key: &str, now| {
            let ring = KeyRing::new(&file.read().unwrap());
            ring.verify(key, now)
                .map(|principal| principal.name().to_owned())
                .map_err(|error| error.message().to_owned())
        };
        assert_eq!(verify(key, now), Ok(format!("key:{}:grafana", record.id)));
        let last = if key.ends_with('0') { "1" } else { "0" };
        let other = format!("{}{last}", &key[..key.len() - 1]);
        let unknown = Err("the API key is not known".to_owned());
        for wrong in [&other, "plk_", "plk_a_b", "", "plk_000000000000_", &key[..key.len() - 1], &format!("{key}0")] {
            assert_eq!(verify(wrong, now), unknown, "{wrong:?}");
        }
        assert!(verify(expiring.expose_secret(), now).is_ok());
        let ended = Err("the API key has expired".to_owned());
        assert_eq!(verify(expiring.expose_secret(), now + TimeDelta::seconds(10)), ended);

        file.revoke(&record.id, now).unwrap();
        assert_eq!(verify(key, now), Err("the API key was revoked".to_owned()));
        assert_eq!(verify(&other, now), unknown, "who does not know the secret is not told that it was revoked");
        assert_eq!(file.revoke("000000000000", now).unwrap_err().code(), Code::NotFound);
    }

    #[test]
    fn the_file_has_no_secret_and_is_its_owners_alone() {
        let (_folder, file) = file();
        let (_, key) = file.add(wish("x"), Utc::now()).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        let secret = key.expose_secret().rsplit('_').next().unwrap();
        assert!(!text.contains(secret));
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);

        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o666)).unwrap();
        let error = file.read().unwrap_err();
        assert!(error.message().contains("others than its owner can write it"), "{error}");
        for (text, what) in [("{", "not a file of keys"), (r#"{"format":2,"keys":[]}"#, "format 2")] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(file.path(), text).unwrap();
            let error = file.read().unwrap_err();
            assert!(error.message().contains(what), "{error}");
        }
    }

    #[test]
    fn keys_made_at_the_same_time_are_all_kept() {
        let (_folder, file) = file();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let file = file.clone();
                scope.spawn(move || file.add(wish(&format!("k{number}")), Utc::now()).unwrap());
            }
        });
        assert_eq!(file.read().unwrap().len(), 8);
    }
}
