//! `pilaster certify`

use std::{fmt::Write as _, io::Write as _, process::ExitCode};

use super::{arguments::CertifyArguments, build, snapshot};
use crate::{
    config::Config,
    error::{Code, Error, Result},
    rollout::{Case, Certificate, Outcome},
    store::SnapshotVersion,
};

/// Takes a snapshot, since both sides can only be compared as of one instant, and shows what was found.
pub(super) async fn run(config: &Config, arguments: &CertifyArguments) -> Result<ExitCode> {
    let service = build::service(config, build::store(config)?, build::rollout(config)?)?;
    // Says so where there is one side only.
    service.rollout()?;
    let version = match arguments.snapshot {
        Some(version) => SnapshotVersion::new(version)
            .ok_or_else(|| Error::new(Code::InvalidRequest, "snapshots are counted from 1"))?,
        None => snapshot::take(config).await?.manifest.version,
    };
    let certificate = service.certificate(version).await?;
    let written = std::io::stdout().write_all(shown(&certificate).as_bytes());
    written.map_err(|error| Error::internal("standard output cannot be written to").with_cause(error))?;
    let differs = certificate.count(Outcome::Different) > 0;
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn shown(certificate: &Certificate) -> String {
    let mut text = format!(
        "snapshot {} as of {}: {} of {} queries equal, {} different, {} not comparable, {} too slow on Postgres, {} not certified, in {:.1} s\n",
        certificate.snapshot,
        certificate.as_of.format("%Y-%m-%d %H:%M:%S UTC"),
        certificate.count(Outcome::Equal),
        certificate.queries.len(),
        certificate.count(Outcome::Different),
        certificate.count(Outcome::NotComparable),
        certificate.count(Outcome::TooSlow),
        certificate.count(Outcome::NotCertified),
        certificate.elapsed_ms as f64 / 1e3,
    );
    let width = certificate.queries.iter().map(|query| query.query.len()).max().unwrap_or(0);
    for query in &certificate.queries {
        // The sum of nothing is minus nothing.
        let total = |of: fn(&Case) -> f64| query.cases.iter().map(of).sum::<f64>() + 0.0;
        let (postgres, engine) = (total(|case| case.postgres_ms), total(|case| case.engine_ms));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<width$}  {}, asked {} times, {postgres:.0} ms on Postgres and {engine:.0} ms on the engine",
            query.query,
            query.outcome.name(),
            query.cases.len()
        );
        if let (true, Some(why)) = (query.cases.is_empty(), &query.why) {
            let _ = writeln!(text, "    {why}");
        }
        for case in query.cases.iter().filter(|case| case.outcome != Outcome::Equal) {
            let tenant =
                case.tenant.as_ref().map_or_else(|| "all tenants".to_owned(), |tenant| format!("tenant {tenant}"));
            let parameters = serde_json::Value::Object(case.parameters.clone());
            let why = case.why.as_deref().unwrap_or_default();
            let _ = writeln!(text, "    {tenant} {parameters}: {}, {why}", case.outcome.name());
            for cell in &case.cells {
                let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".to_owned());
                let key: Vec<String> =
                    cell.key.iter().map(|(name, value)| format!("{name} = {}", told(value))).collect();
                let _ = writeln!(
                    text,
                    "        row {} ({}), {}: Postgres has {}, the engine {}",
                    cell.row,
                    key.join(", "),
                    cell.column,
                    told(&cell.postgres),
                    told(&cell.engine)
                );
            }
        }
    }
    text
}
