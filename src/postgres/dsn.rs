//! Connection strings: a URL or libpq's `key=value` pairs.
//!
//! Owns: the parts that the driver's own parser does not know (`verify-full`, certificates), which are taken out before
//! it sees the string. Must not know: sockets. Source: PostgreSQL documentation, "Connection Strings" and "SSL
//! Support".

use std::{borrow::Cow, net::IpAddr, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{ChannelBinding, Config, Host, SslMode};

use super::{tls::TlsOptions, transport::Endpoint};
use crate::error::{Code, Error, Result};

const FORM: &str = "use postgresql://user:password@host:5432/database?sslmode=verify-full, or host=… user=… dbname=…";

/// How the connection is encrypted and what is verified, in libpq's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum TlsMode {
    /// Never encrypted.
    Disable,
    /// Encrypted only where the server refuses plain connections.
    Allow,
    /// Encrypted where the server can, nothing verified.
    #[default]
    Prefer,
    /// Always encrypted, nothing verified.
    Require,
    /// Encrypted, and the certificate is signed by a trusted authority.
    VerifyCa,
    /// As before, and the certificate is for this host.
    VerifyFull,
}

/// What a connection string says.
pub(super) struct Parsed {
    /// For the driver; its own TLS is off, because the stream that it gets is encrypted already.
    pub(super) config: Config,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) tls: TlsOptions,
}

/// Parses a URL or `key=value` pairs. Errors never contain the password.
pub(super) fn parse(text: &str) -> Result<Parsed> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::new(Code::InvalidConfig, "the connection string is empty").with_hint(FORM));
    }
    let mut options = Options::default();
    let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    let rest = if is_url { options.take_from_url(text)? } else { options.take_from_pairs(text)? };
    let mut config: Config = rest.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Error::new(Code::InvalidConfig, format!("the connection string is wrong: {cause}")).with_hint(FORM)
    })?;
    if config.get_user().is_none_or(str::is_empty) {
        return Err(Error::new(Code::InvalidConfig, "the connection string names no user")
            .with_hint("put it before the host, postgresql://user@host/database, or add user=…"));
    }
    if config.get_channel_binding() == ChannelBinding::Require {
        return Err(Error::new(Code::InvalidConfig, "channel_binding=require is not supported")
            .with_hint("use sslmode=verify-full, which proves the server's identity by its certificate"));
    }
    if config.get_dbname().is_none_or(str::is_empty) {
        let user = config.get_user().unwrap_or_default().to_owned();
        config.dbname(user);
    }
    if config.get_application_name().is_none() {
        config.application_name("pilaster");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(10));
    }
    if !options.has_keepalives_idle {
        // The kernel's two hours would leave a run hanging on a dead network.
        config.keepalives_idle(Duration::from_secs(30));
        config.keepalives_interval(config.get_keepalives_interval().unwrap_or(Duration::from_secs(10)));
        config.keepalives_retries(config.get_keepalives_retries().unwrap_or(3));
    }
    options.tls.direct = config.get_ssl_negotiation() == tokio_postgres::config::SslNegotiation::Direct;
    config.ssl_mode(SslMode::Disable);
    config.ssl_negotiation(tokio_postgres::config::SslNegotiation::Postgres);
    let endpoints = endpoints(&config)?;
    Ok(Parsed { config, endpoints, tls: options.tls })
}

/// Hosts, addresses and ports, paired as libpq pairs them.
fn endpoints(config: &Config) -> Result<Vec<Endpoint>> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    if count == 0 {
        return Err(Error::new(Code::InvalidConfig, "the connection string names no host").with_hint(FORM));
    }
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(Error::new(Code::InvalidConfig, format!("{} hosts but {} hostaddr", hosts.len(), addresses.len()))
            .with_hint("give one hostaddr for each host, or none"));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(Error::new(Code::InvalidConfig, format!("{count} hosts but {} ports", ports.len()))
            .with_hint("give one port for all hosts, or one for each"));
    }
    let port_of = |index: usize| ports.get(index).or_else(|| ports.first()).copied().unwrap_or(5432);
    let endpoint = |index: usize| {
        let address: Option<IpAddr> = addresses.get(index).copied();
        let port = port_of(index);
        match hosts.get(index) {
            Some(Host::Unix(directory)) => Endpoint::Unix { directory: directory.clone(), port },
            Some(Host::Tcp(name)) => Endpoint::Tcp { name: Some(name.clone()), address, port },
            None => Endpoint::Tcp { name: None, address, port },
        }
    };
    let endpoints: Vec<_> = (0..count).map(endpoint).collect();
    if endpoints
        .iter()
        .any(|one| matches!(one, Endpoint::Tcp { name: Some(name), address: None, .. } if name.is_empty()))
    {
        return Err(Error::new(Code::InvalidConfig, "a host in the connection string is empty").with_hint(FORM));
    }
    Ok(endpoints)
}

/// The options that the driver does not know.
#[derive(Default)]
struct Options {
    tls: TlsOptions,
    has_keepalives_idle: bool,
}

impl Options {
    /// Returns whether the option is ours, so that the driver must not see it.
    fn take(&mut self, key: &str, value: &str) -> Result<bool> {
        match key {
            "sslmode" => {
                self.tls.mode = match value {
                    "disable" => TlsMode::Disable,
                    "allow" => TlsMode::Allow,
                    "prefer" => TlsMode::Prefer,
                    "require" => TlsMode::Require,
                    "verify-ca" => TlsMode::VerifyCa,
                    "verify-full" => TlsMode::VerifyFull,
                    other => {
                        return Err(Error::new(Code::InvalidConfig, format!("sslmode {other:?} does not exist"))
                            .with_hint("use disable, allow, prefer, require, verify-ca or verify-full"));
                    }
                };
            }
            "sslrootcert" => self.tls.root_certificate = Some(PathBuf::from(value)),
            "sslcert" => self.tls.certificate = Some(PathBuf::from(value)),
            "sslkey" => self.tls.key = Some(PathBuf::from(value)),
            // Harmless to a client that never compresses, never uses Kerberos and always sends the host's name.
            "sslcompression" | "sslsni" | "gssencmode" => {}
            "keepalives_idle" => {
                self.has_keepalives_idle = true;
                return Ok(false);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_from_url(&mut self, url: &str) -> Result<String> {
        let scheme_end = url.find("://").map_or(0, |at| at + 3);
        // A password may hold `/` or `?`, so the query begins after the credentials.
        let host_start = url.find('@').map_or(scheme_end, |at| at + 1);
        let authority_end = url[host_start..].find(['/', '?']).map_or(url.len(), |at| host_start + at);
        if url[host_start..authority_end].contains('@') {
            return Err(Error::new(
                Code::InvalidConfig,
                "the connection string has more than one @ before the database",
            )
            .with_hint("write @ in the user or the password as %40"));
        }
        let Some(query_start) = url[host_start..].find('?').map(|at| host_start + at) else {
            return Ok(url.to_owned());
        };
        let mut kept = Vec::new();
        for pair in url[query_start + 1..].split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                Error::new(Code::InvalidConfig, "an option of the connection string has no value").with_hint(FORM)
            })?;
            if !self.take(&decoded(key)?, &decoded(value)?)? {
                kept.push(pair);
            }
        }
        let base = &url[..query_start];
        Ok(if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) })
    }

    fn take_from_pairs(&mut self, text: &str) -> Result<String> {
        let mut kept = String::new();
        let mut characters = text.chars().peekable();
        loop {
            while characters.next_if(|character| character.is_whitespace()).is_some() {}
            if characters.peek().is_none() {
                return Ok(kept);
            }
            let mut key = String::new();
            while let Some(character) = characters.next_if(|character| *character != '=' && !character.is_whitespace())
            {
                key.push(character);
            }
            while characters.next_if(|character| character.is_whitespace()).is_some() {}
            if characters.next() != Some('=') {
                // What stands here may be the rest of a password with a space in it, so it is not repeated.
                return Err(Error::new(
                    Code::InvalidConfig,
                    "the connection string is neither a URL nor key=value pairs",
                )
                .with_hint(format!("{FORM}; a value with spaces stands in single quotes")));
            }
            while characters.next_if(|character| character.is_whitespace()).is_some() {}
            let quoted = characters.next_if_eq(&'\'').is_some();
            let mut value = String::new();
            loop {
                match characters.peek().copied() {
                    Some('\'') if quoted => break,
                    Some(character) if !quoted && character.is_whitespace() => break,
                    None if quoted => {
                        return Err(Error::new(
                            Code::InvalidConfig,
                            "a quoted value of the connection string never ends",
                        )
                        .with_hint("write a quote inside a value as \\'"));
                    }
                    None => break,
                    Some('\\') => {
                        characters.next();
                        value.extend(characters.next());
                    }
                    Some(character) => {
                        characters.next();
                        value.push(character);
                    }
                }
            }
            if quoted {
                characters.next();
            }
            if !self.take(&key, &value)? {
                let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
                kept.push_str(&format!("{key}='{escaped}' "));
            }
        }
    }
}

fn decoded(text: &str) -> Result<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().map_err(|error| {
        Error::new(Code::InvalidConfig, "an option of the connection string is not UTF-8").with_cause(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let actual = match parse(text) {
            Ok(parsed) => {
                let endpoints: Vec<_> = parsed.endpoints.iter().map(ToString::to_string).collect();
                let config = &parsed.config;
                format!(
                    "{}@{}/{} {:?} app={} password={:?}",
                    config.get_user().unwrap(),
                    endpoints.join(","),
                    config.get_dbname().unwrap(),
                    parsed.tls.mode,
                    config.get_application_name().unwrap(),
                    config.get_password().map(String::from_utf8_lossy),
                )
            }
            Err(error) => format!("error: {}", error.message()),
        };
        assert_eq!(actual, expect, "{text}");
    }

    #[test]
    fn urls_and_pairs() {
        check("postgresql://u:p%40s@h/d", "u@h:5432/d Prefer app=pilaster password=Some(\"p@s\")");
        check("postgres://u@h1:1,h2:2/d?sslmode=verify-full", "u@h1:1,h2:2/d VerifyFull app=pilaster password=None");
        check("postgres://u@[::1]:9/?application_name=x", "u@[::1]:9/u Prefer app=x password=None");
        check("postgres:///d?host=/run/pg&user=u&port=6", "u@/run/pg:6/d Prefer app=pilaster password=None");
        check("postgres://u@%2Frun%2Fpg/d?sslmode=disable", "u@/run/pg:5432/d Disable app=pilaster password=None");
        check(
            "host=a,b port=1,2 user=u password='it\\'s a \\\\' sslmode=require sslrootcert='/a b'",
            "u@a:1,b:2/u Require app=pilaster password=Some(\"it's a \\\\\")",
        );
        check("postgres://u:a/b?c@h/d", "u@h:5432/d Prefer app=pilaster password=Some(\"a/b?c\")");
        check("", "error: the connection string is empty");
        check("postgres://h/d", "error: the connection string names no user");
        check("postgres://u@/d", "error: the connection string names no host");
        check("postgres://u:p@ss@h/d", "error: the connection string has more than one @ before the database");
        check("postgres://u@h/d?sslmode=maybe", "error: sslmode \"maybe\" does not exist");
        check("postgres://u@h:port/d", "error: the connection string is wrong: invalid value for option `port`");
        check(
            "user=u password=open sesame host=h",
            "error: the connection string is neither a URL nor key=value pairs",
        );
        check("host=a,b,c port=1,2 user=u", "error: 3 hosts but 2 ports");
        check("host=h user=u channel_binding=require", "error: channel_binding=require is not supported");
    }
}
