//! What the client wants: format, numbers, encoding, snapshot, time zone, and what of the cache may be used.

use axum::http::{HeaderMap, header};

use crate::{
    cache::Mode,
    error::{Code, Error, Result},
    output::{Format, Numbers, Options},
    query::{OPTIONS, Pin},
    store::SnapshotVersion,
};

/// How a body is compressed on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// Everything that a request says beyond what it asks for.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    pub(super) format: Format,
    pub(super) options: Options,
    pub(super) encoding: Encoding,
    pub(super) snapshot: Pin,
    pub(super) time_zone: String,
    pub(super) mode: Mode,
    pub(super) download: bool,
}

impl Encoding {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The best of what the client takes, zstd before gzip; what is compressed already is left as it is.
    fn choose(headers: &HeaderMap, format: Format) -> Self {
        if matches!(format, Format::Parquet) {
            return Self::Identity;
        }
        let accepted: Vec<&str> =
            headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).collect();
        let weight = |name: &str| {
            let mut any = 0.0;
            for part in accepted.iter().flat_map(|value| value.split(',')) {
                let mut words = part.split(';').map(str::trim);
                let coding = words.next().unwrap_or_default();
                let quality = words.find_map(|word| word.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
                if coding.eq_ignore_ascii_case(name) {
                    return quality;
                }
                if coding == "*" {
                    any = quality;
                }
            }
            any
        };
        let (zstd, gzip) = (weight("zstd"), weight("gzip"));
        if zstd > 0.0 && zstd >= gzip {
            Self::Zstd
        } else if gzip > 0.0 {
            Self::Gzip
        } else {
            Self::Identity
        }
    }
}

/// Splits a query string into the request's options and the query's parameters.
pub(super) fn wishes(query: Option<&str>, headers: &HeaderMap) -> Result<(Wishes, Vec<(String, String)>)> {
    let mut parameters = Vec::new();
    let (mut format, mut numbers, mut snapshot, mut time_zone, mut download) =
        (None, Numbers::default(), Pin::Newest, None, false);
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "format" => {
                let names = Format::ALL.map(Format::name).join(", ");
                format =
                    Some(Format::from_name(&value).ok_or_else(|| {
                        wrong(format!("format {value:?} is not known"), format!("use one of {names}"))
                    })?);
            }
            "numbers" => {
                numbers = Numbers::from_name(&value)
                    .ok_or_else(|| wrong(format!("numbers {value:?} is not known"), "use native or string"))?;
            }
            "snapshot" => {
                let version = value.parse().ok().and_then(SnapshotVersion::new);
                let version = version
                    .ok_or_else(|| wrong(format!("snapshot {value:?} is not a version"), "use a number from 1"))?;
                snapshot = Pin::Version(version);
            }
            "timezone" => time_zone = Some(value.into_owned()),
            "download" => {
                download = match value.as_ref() {
                    "" | "1" | "true" => true,
                    "0" | "false" => false,
                    _ => return Err(wrong(format!("download {value:?} is neither true nor false"), "use download=1")),
                };
            }
            name => {
                debug_assert!(!OPTIONS.contains(&name), "every option is read above");
                parameters.push((name.to_owned(), value.into_owned()));
            }
        }
    }
    let format = match format {
        Some(format) => format,
        None => {
            let accept: Vec<&str> =
                headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
            let accept = accept.join(",");
            Format::from_accept(&accept).ok_or_else(|| {
                wrong(
                    format!("nothing that Accept names can be given: {accept:?}"),
                    format!("accept one of {}", Format::ALL.map(Format::content_type).join(", ")),
                )
            })?
        }
    };
    let wishes = Wishes {
        format,
        options: Options { numbers },
        encoding: Encoding::choose(headers, format),
        snapshot,
        time_zone: time_zone.unwrap_or_else(|| "UTC".into()),
        mode: mode(headers),
        download,
    };
    Ok((wishes, parameters))
}

/// `Cache-Control` of the request, as far as it concerns us.
fn mode(headers: &HeaderMap) -> Mode {
    let directives = headers.get_all(header::CACHE_CONTROL);
    let has = |name: &str| {
        let values = directives.iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case(name))
    };
    if has("only-if-cached") {
        Mode::OnlyIfCached
    } else if has("no-cache") || has("no-store") {
        Mode::Refresh
    } else {
        Mode::Default
    }
}

fn wrong(message: String, hint: impl Into<String>) -> Error {
    Error::new(Code::InvalidRequest, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_best_encoding_that_is_accepted() {
        let check = |accept: &str, format: Format, expect: Encoding| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap());
            assert_eq!(Encoding::choose(&headers, format), expect, "{accept}");
        };
        check("", Format::Json, Encoding::Identity);
        check("gzip, deflate, br, zstd", Format::Json, Encoding::Zstd);
        check("gzip, deflate", Format::Json, Encoding::Gzip);
        check("zstd;q=0.1, gzip;q=0.9", Format::Json, Encoding::Gzip);
        check("zstd;q=0, *", Format::Json, Encoding::Gzip);
        check("br", Format::Json, Encoding::Identity);
        check("zstd", Format::Parquet, Encoding::Identity);
    }

    #[test]
    fn options_are_told_from_parameters() {
        let (found, parameters) =
            wishes(Some("from=2026-01-01&format=csv&plan=a&plan=b+c&snapshot=7"), &HeaderMap::new()).unwrap();
        assert_eq!(found.format, Format::Csv);
        assert!(matches!(found.snapshot, Pin::Version(version) if version.get() == 7));
        let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(pairs, ["from=2026-01-01", "plan=a", "plan=b c"]);
        for query in ["format=xml", "numbers=big", "snapshot=0", "snapshot=x", "download=maybe"] {
            assert!(wishes(Some(query), &HeaderMap::new()).is_err(), "{query}");
        }
    }
}
