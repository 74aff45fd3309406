//! `pilaster query`

use std::{io::Write, process::ExitCode, sync::Arc};

use futures::{StreamExt, TryStreamExt};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::{
    arguments::{Output, QueryArguments},
    build,
};
use crate::{
    access::{Principal, Scope, TenantId},
    cache::Mode,
    config::Config,
    error::{Code, Error, Result},
    output::{self, Options, StreamEncoder},
    query::{Body, Library, NamedQuery, Pin, RawParameters, Reply, Request, Reserved, Target},
    sql::ReadOnlySql,
    store::SnapshotVersion,
};

pub(super) async fn run(config: Config, arguments: QueryArguments) -> Result<ExitCode> {
    let parameters = parameters(&arguments.parameters)?;
    let target = target(&arguments.query);
    if arguments.print_sql.is_some() {
        return print_sql(&config, &arguments, &target, &parameters).map(|()| ExitCode::SUCCESS);
    }
    match &arguments.url {
        Some(url) => ask_server(&config, url, &arguments, &target).await?,
        None => ask_store(&config, &arguments, target, parameters).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask_store(
    config: &Config,
    arguments: &QueryArguments,
    target: Target,
    parameters: RawParameters,
) -> Result<()> {
    let store = build::store(config)?;
    let service = build::service(config, store, None)?;
    let snapshot = match arguments.snapshot {
        None => {
            service.refresh().await?;
            Pin::Newest
        }
        Some(number) => Pin::Version(
            SnapshotVersion::new(number)
                .ok_or_else(|| Error::new(Code::InvalidRequest, "snapshot versions begin at 1"))?,
        ),
    };
    let reply = service
        .run(Request {
            id: Uuid::now_v7().to_string().into(),
            principal: principal(arguments)?,
            target,
            parameters,
            snapshot,
            time_zone: arguments.timezone.clone(),
            mode: Mode::Default,
        })
        .await?;
    print(reply, arguments.output).await
}

async fn print(reply: Reply, output: Output) -> Result<()> {
    let (schema, mut batches) = match reply.body {
        Body::Entry(entry) => {
            let batches = futures::stream::iter(entry.batches().to_vec()).map(Ok).boxed();
            (Arc::clone(entry.schema()), batches)
        }
        Body::Stream { schema, batches } => (schema, batches),
    };
    let Some(format) = output.format() else {
        let batches: Vec<_> = batches.try_collect().await?;
        return write(output::table(&schema, &batches, terminal_width())?.as_bytes());
    };
    let mut encoder = StreamEncoder::new(format, Options::default(), &schema)?;
    while let Some(batch) = batches.try_next().await? {
        write(&encoder.batch(&batch)?)?;
    }
    write(&encoder.finish()?)
}

/// The server encodes; its bytes are passed through.
async fn ask_server(config: &Config, url: &str, arguments: &QueryArguments, target: &Target) -> Result<()> {
    let base = url.trim_end_matches('/');
    let client = reqwest::Client::new();
    let mut request = match target {
        Target::Named { dashboard, name } => {
            let pairs = pairs(&arguments.parameters)?;
            client.get(format!("{base}/v1/queries/{dashboard}/{name}")).query(&pairs)
        }
        Target::AdHoc(sql) => {
            let params: serde_json::Map<String, serde_json::Value> =
                pairs(&arguments.parameters)?.into_iter().map(|(name, value)| (name, value.into())).collect();
            client.post(format!("{base}/v1/sql")).json(&serde_json::json!({ "sql": &**sql, "params": params }))
        }
    };
    let format = arguments.output.format().unwrap_or(output::Format::Arrow);
    request = request.query(&[("format", format.name()), ("timezone", &arguments.timezone)]);
    if let Some(version) = arguments.snapshot {
        request = request.query(&[("snapshot", version)]);
    }
    if let Some(credential) = &config.client.credential {
        request = request.bearer_auth(credential.expose_secret());
    }
    if let Some(tenant) = &arguments.tenant {
        request = request.header("Pilaster-Tenant", tenant);
    }
    let unreachable = |error: reqwest::Error| {
        Error::new(Code::Unavailable, format!("{base} cannot be asked: {error}")).with_cause(error)
    };
    let response = request.send().await.map_err(unreachable)?;
    let ok = response.status().is_success();
    let body = response.bytes().await.map_err(unreachable)?;
    if !ok {
        return Err(from_problem(&body));
    }
    if arguments.output.format().is_some() {
        return write(&body);
    }
    let broken = |error| Error::internal("the server's reply is not an Arrow stream").with_cause(error);
    let reader = arrow::ipc::reader::StreamReader::try_new(std::io::Cursor::new(body), None).map_err(broken)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(broken)?;
    write(output::table(&schema, &batches, terminal_width())?.as_bytes())
}

fn from_problem(body: &[u8]) -> Error {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| problem.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    let code = text("code").and_then(|code| Code::ALL.iter().find(|known| known.as_str() == code).copied());
    let mut error =
        Error::new(code.unwrap_or(Code::Unavailable), text("message").unwrap_or("the server failed".into()));
    if let Some(detail) = text("detail") {
        error = error.with_detail(detail);
    }
    match text("hint") {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Prints the SQL with its parameters as literals, so that psql runs the same question.
fn print_sql(config: &Config, arguments: &QueryArguments, target: &Target, parameters: &RawParameters) -> Result<()> {
    let limits = build::statement_limits(config);
    let scope = principal(arguments)?;
    let reserved = Reserved {
        scope: scope.scope(),
        tenant_type: build::tenant_type(config)?,
        now: chrono::Utc::now(),
        time_zone: &arguments.timezone,
    };
    let render = |sql: &ReadOnlySql, bound: &crate::query::Bound| {
        sql.render(|_, number| {
            let (kind, value) = &bound.0[number - 1];
            kind.to_postgres_literal(value)
        })
    };
    let text = match target {
        Target::Named { dashboard, name } => {
            let query: Arc<NamedQuery> = Library::open(config.queries.folder.clone(), limits).get(dashboard, name)?;
            let sql = query.for_postgres();
            render(sql, &parameters.bind_named(&query, sql, &reserved)?)
        }
        Target::AdHoc(sql) => {
            let sql = ReadOnlySql::parse(sql, limits)?;
            render(&sql, &parameters.bind_ad_hoc(&sql, &reserved)?)
        }
    };
    write(format!("{};\n", text.trim_end().trim_end_matches(';')).as_bytes())
}

fn principal(arguments: &QueryArguments) -> Result<Principal> {
    let local = Principal::local();
    debug_assert!(*local.scope() == Scope::All, "the local principal sees everything");
    match &arguments.tenant {
        Some(tenant) => local.view_as(TenantId::new(tenant)?),
        None => Ok(local),
    }
}

/// `revenue/mrr` is a named query; anything with white space or without a slash is SQL.
fn target(text: &str) -> Target {
    let is_name = |part: &str| {
        !part.is_empty() && part.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.'))
    };
    match text.split_once('/') {
        Some((dashboard, name)) if is_name(dashboard) && is_name(name) => {
            Target::Named { dashboard: dashboard.to_owned(), name: name.to_owned() }
        }
        _ => Target::AdHoc(text.into()),
    }
}

fn parameters(arguments: &[String]) -> Result<RawParameters> {
    Ok(RawParameters::from_pairs(pairs(arguments)?))
}

fn pairs(arguments: &[String]) -> Result<Vec<(String, String)>> {
    arguments
        .iter()
        .map(|argument| {
            let (name, value) = argument.split_once('=').ok_or_else(|| {
                Error::new(Code::InvalidParameter, format!("{argument:?} is not a parameter"))
                    .with_hint("write name=value, for example from=2026-01-01")
            })?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

fn terminal_width() -> Option<usize> {
    console::Term::stdout().features().is_attended().then(|| usize::from(console::Term::stdout().size().1))
}

fn write(bytes: &[u8]) -> Result<()> {
    std::io::stdout()
        .lock()
        .write_all(bytes)
        .map_err(|error| Error::new(Code::Unavailable, "the output is closed").with_cause(error))
}
