//! The command line: one function for each subcommand.
//!
//! Owns: the wiring. It knows every constructor, and has no logic of its own.

mod arguments;
mod bench;
mod build;
mod certify;
mod check;
mod key;
mod progress;
mod query;
mod rollout;
mod runner;
mod serve;
mod snapshot;

use std::process::ExitCode;

use clap::Parser;

use self::arguments::{Arguments, Command};
use crate::{
    config::Config,
    error::{Error, Result},
    telemetry,
};

/// Runs the process: arguments in, exit code out. 0 is success, 1 a failure, 2 a mistake in the arguments.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut config = Config::load(arguments.config.as_deref())?;
    arguments.apply(&mut config)?;
    telemetry::start_logs(&config.telemetry, arguments.default_log())?;
    // Everything that can fail at set-up happens before the runtime starts. Two TLS libraries may be linked; this one is used.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| Error::internal("the TLS provider was installed twice"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal("the runtime cannot start").with_cause(error))?;
    runtime.block_on(async {
        match arguments.command {
            Command::Serve(arguments) => serve::run(config, arguments).await,
            Command::Snapshot(_) => snapshot::run(config).await,
            Command::Query(arguments) => query::run(config, arguments).await,
            Command::Certify(arguments) => certify::run(&config, &arguments).await,
            Command::Bench(arguments) => bench::run(&config, arguments).await,
            Command::Rollout(arguments) => rollout::run(&config, arguments).await,
            Command::Key(arguments) => key::run(&config, arguments),
            Command::Check(_) => check::run(config).await,
        }
    })
}

/// In Postgres's manner: what is wrong, more about it, the mend.
#[expect(clippy::print_stderr, reason = "this is the terminal")]
fn report(error: &Error) {
    eprintln!("error: {}", error.message());
    if let Some(detail) = error.detail() {
        eprintln!("detail: {detail}");
    }
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
    tracing::debug!(code = %error.code(), chain = %error.chain(), "failed");
}
