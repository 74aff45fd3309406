//! `pilaster rollout`

use std::{io::Write, process::ExitCode, time::Instant};

use chrono::SecondsFormat;

use super::{
    arguments::{RolloutArguments, RolloutCommand},
    build,
};
use crate::{
    access::Principal,
    audit::{Ending, Record},
    config::Config,
    error::{Error, Result},
    query::Service,
    rollout::{Edit, Rollout, Rule},
};

/// Changes that the log shows.
const CHANGES_SHOWN: usize = 50;
/// In place of a query's name, for those of which nothing is said.
const DEFAULT: &str = "default";

/// The store holds it, so that it can be changed while every server is down, and without asking one of them.
pub(super) async fn run(config: &Config, arguments: RolloutArguments) -> Result<ExitCode> {
    let service = build::service(config, build::store(config)?, build::rollout(config)?)?;
    service.refresh_rollout().await?;
    let (edit, why) = match arguments.command {
        RolloutCommand::Show { query } => {
            write(&shown(&service, query.as_deref())?)?;
            return Ok(ExitCode::SUCCESS);
        }
        RolloutCommand::Log => {
            for change in service.rollout_changes(CHANGES_SHOWN).await? {
                let at = change.at.to_rfc3339_opts(SecondsFormat::Secs, true);
                write(&format!("{at}  {}  {}  ({})\n", change.by, change.what, change.why))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        RolloutCommand::Set { query, route, percent, tenants, without_certificate, why } => {
            let rule = Rule { route, percent, tenants, without_certificate };
            (if query == DEFAULT { Edit::Default(Some(rule)) } else { Edit::Query(query, rule) }, why)
        }
        RolloutCommand::Forget { query, why } => {
            (if query == DEFAULT { Edit::Default(None) } else { Edit::Forget(query) }, why)
        }
        RolloutCommand::Acknowledge { query, why } => (Edit::Acknowledge(query), why),
        RolloutCommand::Switch { to, why } => (Edit::Switch(to), why),
    };
    let started = Instant::now();
    let principal = Principal::local();
    let before = service.rollout()?.number;
    let rollout = service.change_rollout(edit, principal.name(), &why).await?;
    let Some(change) = rollout.changed.as_ref().filter(|_| rollout.number != before) else {
        write("nothing to change: it is so already\n")?;
        return Ok(ExitCode::SUCCESS);
    };
    write(&format!("{}; servers know within two seconds\n", change.what))?;
    if let Some(audit) = build::audit(config)? {
        let record = Record::new("change_rollout", &principal).about(&format!("{} ({})", change.what, change.why));
        let ending = Ending { request_id: "", outcome: "ok", rows: None, bytes: 0, elapsed: started.elapsed() };
        audit.write(&record, ending);
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(service: &Service, only: Option<&str>) -> Result<String> {
    let (rollout, default) = (service.rollout()?, service.rollout_default()?);
    if let Some(query) = only {
        let (dashboard, name) = query.split_once('/').unwrap_or((query, ""));
        service.library().get(dashboard, name)?;
    }
    let catalog = service.library().catalog();
    let paths: Vec<String> = catalog.queries.values().map(|query| query.path()).collect();
    let width = paths.iter().map(String::len).max().unwrap_or(0).max(DEFAULT.len());
    let mut text = format!("switch   {}\n{DEFAULT:<width$}  {default}\n", rollout.switch.name());
    for query in paths.iter().filter(|query| only.is_none_or(|only| only == query.as_str())) {
        text.push_str(&format!("{query:<width$}  {}\n", line(&rollout, query)));
    }
    Ok(text)
}

fn line(rollout: &Rollout, query: &str) -> String {
    let Some(said) = rollout.queries.get(query) else { return "as the default".to_owned() };
    let changed = format!("{} by {}: {}", said.changed.at.format("%Y-%m-%d %H:%M"), said.changed.by, said.changed.why);
    match &said.hold {
        Some(hold) => {
            format!("held at postgres, {}: {}; its rule is {} ({changed})", hold.reason, hold.detail, said.rule)
        }
        None => format!("{} ({changed})", said.rule),
    }
}

fn write(text: &str) -> Result<()> {
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Error::internal(format!("standard output cannot be written to: {error}")).with_cause(error))
}
