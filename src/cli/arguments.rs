//! What the command line takes.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::{
    access::Role,
    config::Config,
    error::{Code, Error, Result},
    output::Format,
    rollout::{Route, Switch},
};

/// A columnar sidecar for PostgreSQL: consistent snapshots, fast dashboard answers.
#[derive(Debug, Parser)]
#[command(
    name = "pilaster",
    version,
    after_help = "Examples:\n  \
        pilaster serve --postgres postgresql://app@localhost/app\n  \
        pilaster snapshot --postgres postgresql://app@localhost/app --store data/store\n  \
        pilaster query 'SELECT count(*) FROM invoices'\n  \
        pilaster query revenue/mrr_by_plan from=2026-01-01 --tenant 42\n  \
        pilaster key new --name grafana --role dashboard --all-tenants\n  \
        pilaster check\n\n\
        Settings come from pilaster.toml and PILASTER__SECTION__KEY variables; the command line wins over both."
)]
pub(super) struct Arguments {
    /// The configuration file; pilaster.toml when there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve dashboards over HTTP, and take snapshots by schedule
    Serve(ServeArguments),
    /// Copy every table of the source, as of one instant, into a new snapshot
    Snapshot(SnapshotArguments),
    /// Answer one query from the newest snapshot, or from a server
    Query(QueryArguments),
    /// Compare the engine's answers with Postgres's, query by query, as of one instant; fails if one differs
    Certify(CertifyArguments),
    /// Measure each named query on Postgres and on the engine, and compare the answers
    Bench(BenchArguments),
    /// See and change which named query runs where: on Postgres, on the engine, or both
    Rollout(RolloutArguments),
    /// Make, list and revoke API keys
    Key(KeyArguments),
    /// Check the configuration and plan every named query; fails if one is broken
    Check(CheckArguments),
}

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    store: StoreArguments,
    /// Where to serve HTTP, for example 127.0.0.1:8080
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The folder of named queries
    #[arg(long, value_name = "FOLDER")]
    queries: Option<PathBuf>,
    /// Whether this server takes snapshots: the first by itself and then by schedule, or never, as a replica on a shared store
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = TakeSnapshots::Auto)]
    pub(super) snapshot: TakeSnapshots,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TakeSnapshots {
    Auto,
    Never,
}

#[derive(Debug, Args)]
pub(super) struct SnapshotArguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The folder of named queries
    #[arg(long, value_name = "FOLDER")]
    queries: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CertifyArguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    store: StoreArguments,
    /// The folder of named queries
    #[arg(long, value_name = "FOLDER")]
    queries: Option<PathBuf>,
    /// Show the certificate of this snapshot, instead of taking a new one
    #[arg(long, value_name = "VERSION")]
    pub(super) snapshot: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct BenchArguments {
    /// DASHBOARD/NAME or DASHBOARD; all of them if it is left out
    #[arg(value_name = "QUERY")]
    pub(super) queries_only: Vec<String>,
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    store: StoreArguments,
    /// The folder of named queries
    #[arg(long, value_name = "FOLDER")]
    queries: Option<PathBuf>,
    /// How often each is asked on each side
    #[arg(long, value_name = "TIMES", default_value_t = 20)]
    pub(super) runs: usize,
    /// As one tenant asks
    #[arg(long, value_name = "ID")]
    pub(super) tenant: Option<String>,
    /// Write a page with plots too
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RolloutArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The folder of named queries
    #[arg(long, value_name = "FOLDER", global = true)]
    queries: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum RolloutCommand {
    /// Show where each query runs
    Show {
        /// DASHBOARD/NAME; all of them if it is left out
        query: Option<String>,
    },
    /// Say where a query runs, and for whom; what held it at Postgres holds it no more
    Set {
        /// DASHBOARD/NAME, or default for those of which nothing is said
        query: String,
        /// postgres, shadow (Postgres answers, the engine is compared) or engine
        route: Route,
        /// How many of a hundred tenants; the others' run on Postgres
        #[arg(long, value_name = "0-100", default_value_t = 100)]
        percent: u8,
        /// A tenant that is chosen whatever the percentage; repeat for more
        #[arg(long = "tenant", value_name = "ID")]
        tenants: Vec<String>,
        /// Let the engine answer although no certificate says that it answers as Postgres does
        #[arg(long)]
        without_certificate: bool,
        /// The reason, in a sentence
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Say that why a query is held has been seen; it stays held, and nobody is told again
    Acknowledge {
        /// DASHBOARD/NAME
        query: String,
        /// The reason, in a sentence
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Let a query run as those do of which nothing is said
    Forget {
        /// DASHBOARD/NAME
        query: String,
        /// The reason, in a sentence
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Send everything to Postgres at once, or let each query have its route again
    Switch {
        /// postgres or routes
        to: Switch,
        /// The reason, in a sentence
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Show who changed what, when and why, the newest first
    Log,
}

#[derive(Debug, Args)]
pub(super) struct KeyArguments {
    /// The file that knows of the keys; access.keys_file if it is not given
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key, and show it this once
    New(NewKeyArguments),
    /// List all keys, without their secrets
    List,
    /// End a key; servers that run refuse it within a second or two
    Revoke {
        /// The key's id, as list shows it
        id: String,
    },
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("sees").required(true).args(["tenant", "all_tenants"])))]
pub(super) struct NewKeyArguments {
    /// Who will hold it
    #[arg(long, value_name = "NAME")]
    pub(super) name: String,
    /// What it may do: dashboard (named queries), analyst (also SQL of their own), admin (also snapshots and others' executions)
    #[arg(long, value_name = "ROLE", default_value = "dashboard")]
    pub(super) role: Role,
    /// It sees the rows of this tenant
    #[arg(long, value_name = "ID")]
    pub(super) tenant: Option<String>,
    /// It sees the rows of all tenants
    #[arg(long)]
    pub(super) all_tenants: bool,
    /// How long it lives, as 90d; without, until it is revoked
    #[arg(long, value_name = "TIME")]
    pub(super) expires: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct QueryArguments {
    /// SQL in quotes, or DASHBOARD/NAME of a named query
    pub(super) query: String,
    /// Parameters, as name=value; repeat a name for a list
    #[arg(value_name = "NAME=VALUE")]
    pub(super) parameters: Vec<String>,
    #[command(flatten)]
    store: StoreArguments,
    /// The folder of named queries
    #[arg(long, value_name = "FOLDER")]
    queries: Option<PathBuf>,
    /// Ask a server instead of the store, for example http://127.0.0.1:8080
    #[arg(long, value_name = "URL", conflicts_with = "store_url")]
    pub(super) url: Option<String>,
    /// How to print the rows
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    /// See the rows of one tenant
    #[arg(long, value_name = "ID")]
    pub(super) tenant: Option<String>,
    /// The time zone, by its IANA name
    #[arg(long, value_name = "NAME", default_value = "UTC")]
    pub(super) timezone: String,
    /// Ask an older snapshot
    #[arg(long, value_name = "VERSION")]
    pub(super) snapshot: Option<u64>,
    /// Print the SQL that psql can run, instead of running it
    #[arg(long, value_name = "DIALECT", value_enum)]
    pub(super) print_sql: Option<Dialect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Table,
    Json,
    Ndjson,
    Csv,
    Arrow,
    Parquet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Dialect {
    Postgres,
}

#[derive(Debug, Args)]
struct SourceArguments {
    /// The source, as postgresql://user:password@host/database; DATABASE_URL and PG* variables are read too
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// A schema whose tables are copied, public by default; repeat for more
    #[arg(long = "schema", value_name = "NAME")]
    schemas: Vec<String>,
}

#[derive(Debug, Args)]
struct StoreArguments {
    /// Where snapshots are: a folder, or s3://bucket/prefix, gs://…, az://… [default: data/store]
    #[arg(long = "store", id = "store_url", value_name = "URL", global = true)]
    store: Option<String>,
}

impl Output {
    /// None for the table, which is for people alone.
    pub(super) fn format(self) -> Option<Format> {
        match self {
            Self::Table => None,
            Self::Json => Some(Format::Json),
            Self::Ndjson => Some(Format::NdJson),
            Self::Csv => Some(Format::Csv),
            Self::Arrow => Some(Format::Arrow),
            Self::Parquet => Some(Format::Parquet),
        }
    }
}

impl Arguments {
    /// Puts what was given over what was configured.
    pub(super) fn apply(&self, config: &mut Config) -> Result<()> {
        let (source, store, queries) = match &self.command {
            Command::Key(_) => return Ok(()),
            Command::Serve(it) => {
                if let Some(listen) = it.listen {
                    config.server.listen = listen;
                }
                (Some(&it.source), &it.store, it.queries.as_ref())
            }
            Command::Snapshot(it) => (Some(&it.source), &it.store, None),
            Command::Query(it) => (None, &it.store, it.queries.as_ref()),
            Command::Check(it) => (None, &it.store, it.queries.as_ref()),
            Command::Rollout(it) => (None, &it.store, it.queries.as_ref()),
            Command::Bench(it) => (Some(&it.source), &it.store, it.queries.as_ref()),
            Command::Certify(it) => (Some(&it.source), &it.store, it.queries.as_ref()),
        };
        if let Some(source) = source {
            if let Some(url) = &source.postgres {
                config.postgres.url = Some(url.clone().into());
            }
            if !source.schemas.is_empty() {
                config.snapshot.schemas.clone_from(&source.schemas);
            }
        }
        if let Some(url) = &store.store {
            config.store.url.clone_from(url);
        }
        if let Some(folder) = queries {
            if !folder.is_dir() {
                return Err(Error::new(Code::InvalidConfig, format!("--queries {} is not a folder", folder.display()))
                    .with_hint("a dashboard is a folder in it, and a query a .sql file in that"));
            }
            config.queries.folder.clone_from(folder);
        }
        config.validate()
    }

    /// One-shot commands speak for themselves; their log is for what goes wrong.
    pub(super) fn default_log(&self) -> &'static str {
        match self.command {
            Command::Serve(_) => "info",
            Command::Snapshot(_)
            | Command::Query(_)
            | Command::Rollout(_)
            | Command::Certify(_)
            | Command::Bench(_)
            | Command::Key(_)
            | Command::Check(_) => "warn",
        }
    }
}
