//! Which database the source is.
//!
//! Owns: [`Identity`], what is too old or in the way. Must not know: tables.

use tokio_postgres::types::Type;

use super::{connect::Client, failure::from_driver};
use crate::error::{Code, Error, Result};

/// TID range scans, by which big tables are read in parallel, came with this version.
const VERSION_MIN: i32 = 140_000;

/// Who sorts text in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocaleProvider {
    /// The C library.
    Libc,
    /// ICU (PostgreSQL 15).
    Icu,
    /// PostgreSQL itself (PostgreSQL 17).
    Builtin,
}

/// What stands between us and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Nothing that we can see.
    None,
    /// A proxy that keeps one server session for each connection.
    Session,
    /// A pooler that changes the server session between transactions, which breaks exported snapshots, locks and
    /// settings.
    Transaction,
}

/// The source database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Of the cluster, the same on its replicas; none where the service hides it.
    pub system_identifier: Option<u64>,
    /// The database's name.
    pub database: String,
    /// The database's oid.
    pub database_oid: u32,
    /// The role that asks.
    pub role: String,
    /// For example 150014.
    pub server_version_num: i32,
    /// For example `15.14 (Debian 15.14-0+deb12u1)`.
    pub server_version: String,
    /// Of the server. Text arrives as UTF-8 from all of them but `SQL_ASCII`, which the server does not convert.
    pub encoding: String,
    /// `datcollate`.
    pub collation: String,
    /// `datctype`.
    pub character_type: String,
    /// Who sorts text.
    pub locale_provider: LocaleProvider,
    /// The provider's own locale, for ICU and builtin.
    pub locale: Option<String>,
    /// The version of the collation's data, where the provider has one (PostgreSQL 15).
    pub collation_version: Option<String>,
    /// A replica.
    pub is_in_recovery: bool,
    /// A pooler in between.
    pub pooling: Pooling,
}

/// Asks the source who it is.
///
/// # Errors
/// [`Code::InvalidConfig`] for a server older than PostgreSQL 14; the server's errors.
pub async fn identify(client: &Client) -> Result<Identity> {
    let failed = |error| from_driver(error, "identify the source");
    let parameters: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] = &[];
    let version_sql = "SELECT pg_catalog.current_setting('server_version_num')::int4, \
         pg_catalog.current_setting('server_version')";
    let row = client.query_typed_one(version_sql, parameters).await.map_err(failed)?;
    let server_version_num: i32 = row.try_get(0).map_err(failed)?;
    let server_version: String = row.try_get(1).map_err(failed)?;
    if server_version_num < VERSION_MIN {
        return Err(Error::new(
            Code::InvalidConfig,
            format!("the source is PostgreSQL {server_version}, and 14 is the oldest that is supported"),
        )
        .with_hint("upgrade the source"));
    }
    let (provider, locale, version) = match server_version_num {
        170_000.. => ("datlocprovider::text", "datlocale", "datcollversion"),
        150_000.. => ("datlocprovider::text", "daticulocale", "datcollversion"),
        _ => ("'c'", "NULL::text", "NULL::text"),
    };
    let sql = format!(
        "SELECT datname::text, oid, pg_catalog.pg_encoding_to_char(encoding)::text, datcollate::text, datctype::text, \
         {provider}, {locale}, {version}, pg_catalog.pg_is_in_recovery(), current_user::text, \
         pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') \
         FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"
    );
    let row = client.query_typed_one(&sql, parameters).await.map_err(failed)?;
    let text = |index: usize| row.try_get::<_, String>(index).map_err(failed);
    let system_identifier = if row.try_get(10).map_err(failed)? {
        let sql = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
        let row = client.query_typed_one(sql, parameters).await.map_err(failed)?;
        // Unsigned in C, signed in SQL.
        Some(row.try_get::<_, i64>(0).map_err(failed)?.cast_unsigned())
    } else {
        None
    };
    Ok(Identity {
        system_identifier,
        database: text(0)?,
        database_oid: row.try_get(1).map_err(failed)?,
        role: text(9)?,
        server_version_num,
        server_version,
        encoding: text(2)?,
        collation: text(3)?,
        character_type: text(4)?,
        locale_provider: match text(5)?.as_str() {
            "i" => LocaleProvider::Icu,
            "b" => LocaleProvider::Builtin,
            _ => LocaleProvider::Libc,
        },
        locale: row.try_get(6).map_err(failed)?,
        collation_version: row.try_get(7).map_err(failed)?,
        is_in_recovery: row.try_get(8).map_err(failed)?,
        pooling: pooling(client).await?,
    })
}

/// A pooler invents the process id that it sends with its cancel key, because it cannot know which backend will serve.
/// Where the id is not the backend's, two connections tell whether they share a backend: while one is idle, the other
/// must not get its.
async fn pooling(client: &Client) -> Result<Pooling> {
    const BACKEND: &str = "SELECT pg_catalog.pg_backend_pid()";
    let mut first = client.server().connect_copy().await?;
    let backend = first.query(BACKEND).await?;
    let claimed = vec![Some(first.process().to_string())];
    if backend.as_ref() == Some(&claimed) {
        first.close().await;
        return Ok(Pooling::None);
    }
    let mut second = client.server().connect_copy().await?;
    second.execute("BEGIN").await?;
    // A pool of one backend would make the first wait for the second, so it is only asked again when there is another.
    let is_shared = second.query(BACKEND).await? == backend || first.query(BACKEND).await? != backend;
    second.execute("ROLLBACK").await?;
    first.close().await;
    second.close().await;
    Ok(if is_shared { Pooling::Transaction } else { Pooling::Session })
}
