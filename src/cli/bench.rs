//! `pilaster bench`

use std::{io::Write, process::ExitCode};

use super::{arguments::BenchArguments, build};
use crate::{
    access::{Principal, TenantId},
    benchmark::{self, BenchmarkOptions},
    config::Config,
    error::{Code, Error, Result},
};

pub(super) async fn run(config: &Config, arguments: BenchArguments) -> Result<ExitCode> {
    let fresh = async || {
        let service = build::service(config, build::store(config)?, build::rollout(config)?)?;
        service.refresh().await?;
        Ok(service)
    };
    let principal = match &arguments.tenant {
        Some(tenant) => Principal::local().view_as(TenantId::new(tenant)?)?,
        None => Principal::local(),
    };
    let options = BenchmarkOptions { only: arguments.queries_only, runs: arguments.runs.max(1), principal };
    let measured = benchmark::measure(&fresh().await?, &options, fresh).await?;
    let written = std::io::stdout().write_all(benchmark::markdown(&measured).as_bytes());
    written.map_err(|error| Error::internal("standard output cannot be written to").with_cause(error))?;
    if let Some(path) = &arguments.html {
        std::fs::write(path, benchmark::html(&measured)).map_err(|error| {
            Error::new(Code::InvalidConfig, format!("{} cannot be written: {error}", path.display())).with_cause(error)
        })?;
    }
    let differs = measured.queries.iter().any(|query| query.answers == "different");
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
