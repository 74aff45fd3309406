//! `pilaster key`

use std::{
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

use chrono::{DateTime, SecondsFormat, Utc};
use secrecy::ExposeSecret;

use super::{
    arguments::{KeyArguments, KeyCommand, NewKeyArguments},
    build,
};
use crate::{
    access::{KeyFile, KeyRecord, NewKey, Principal, Scope, TenantId},
    audit::{Ending, Record},
    config::{Config, parse_duration},
    error::{Code, Error, Result},
};

pub(super) fn run(config: &Config, arguments: KeyArguments) -> Result<ExitCode> {
    let path = arguments.file.or_else(|| config.access.keys_file.clone()).ok_or_else(|| {
        Error::new(Code::InvalidConfig, "it is not said where keys are kept")
            .with_hint("set access.keys_file in pilaster.toml, or give --file")
    })?;
    let file = KeyFile::new(path);
    let audit = build::audit(config)?;
    let started = Instant::now();
    let written = |event: &'static str, key: &KeyRecord| {
        let Some(audit) = &audit else { return };
        let subject = format!("{} for {}: {}, {}", key.id, key.name, key.role, scope_of(key));
        let record = Record::new(event, &Principal::local()).about(&subject);
        let ending = Ending { request_id: "", outcome: "ok", rows: None, bytes: 0, elapsed: started.elapsed() };
        audit.write(&record, ending);
    };
    match arguments.command {
        KeyCommand::New(wish) => written("make_key", &new(&file, wish)?),
        KeyCommand::List => list(&file.read()?)?,
        KeyCommand::Revoke { id } => {
            let key = file.revoke(&id, Utc::now())?;
            written("revoke_key", &key);
            write(&format!("{} of {} is revoked; servers refuse it within a second or two\n", key.id, key.name))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn new(file: &KeyFile, wish: NewKeyArguments) -> Result<KeyRecord> {
    let now = Utc::now();
    let expires_at = wish.expires.as_deref().map(|text| end(text, now)).transpose()?;
    let scope = match wish.tenant {
        Some(tenant) => Scope::Tenant(TenantId::new(&tenant)?),
        None => Scope::All,
    };
    let (key, secret) = file.add(NewKey { name: wish.name, role: wish.role, scope, expires_at }, now)?;
    note(&format!(
        "key {} for {}: role {}, {}{}; kept in {}. It is shown this once:",
        key.id,
        key.name,
        key.role,
        scope_of(&key),
        key.expires_at.map(|end| format!(", until {}", instant(end))).unwrap_or_default(),
        file.path().display()
    ));
    write(&format!("{}\n", secret.expose_secret()))?;
    Ok(key)
}

fn end(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let wrong = || {
        Error::new(Code::InvalidConfig, format!("--expires {text:?} is not a length of time"))
            .with_hint("write 12h, or 90d")
    };
    let time = parse_duration(text).filter(|time| *time > Duration::ZERO).ok_or_else(wrong)?;
    chrono::TimeDelta::from_std(time).ok().and_then(|time| now.checked_add_signed(time)).ok_or_else(wrong)
}

fn list(keys: &[KeyRecord]) -> Result<()> {
    let now = Utc::now();
    let rows = keys.iter().map(|key| {
        let state = match (key.revoked_at, key.expires_at) {
            (Some(at), _) => format!("revoked {}", instant(at)),
            (None, Some(end)) if end <= now => format!("expired {}", instant(end)),
            (None, Some(end)) => format!("until {}", instant(end)),
            (None, None) => "no end".to_owned(),
        };
        [key.id.clone(), key.name.clone(), key.role.to_string(), scope_of(key), instant(key.created_at), state]
    });
    let head = ["id", "name", "role", "sees", "made", "state"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
    let widths: Vec<usize> = (0..6)
        .map(|column| rows.iter().map(|row| console::measure_text_width(&row[column])).max().unwrap_or(0))
        .collect();
    for row in &rows {
        let cells =
            row.iter().zip(&widths).map(|(cell, width)| console::pad_str(cell, *width, console::Alignment::Left, None));
        write(&format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end()))?;
    }
    Ok(())
}

fn scope_of(key: &KeyRecord) -> String {
    match &key.scope {
        Scope::All => "all tenants".to_owned(),
        Scope::Tenant(tenant) => format!("tenant {tenant}"),
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn write(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Error::new(Code::Unavailable, format!("cannot write: {error}")))
}

/// For people; the key alone goes where a script reads it.
#[expect(clippy::print_stderr, reason = "this is the terminal")]
fn note(text: &str) {
    eprintln!("{text}");
}
