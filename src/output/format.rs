//! The formats that a result can be asked for in, and how a client names them.
//!
//! Owns: [`Format`], its names and media types, and the reading of an `Accept` value.
//! Must not know: HTTP types; what comes in and goes out is plain text.

use std::cmp::Reverse;

/// The form that a result takes on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// One JSON document: `{"meta":[{"name","type"}],"data":[{…}],"rows":n}`.
    Json,
    /// One JSON object per line and nothing else.
    NdJson,
    /// RFC 4180 with a header, values as Postgres's `COPY … CSV` writes them.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
    /// A Parquet file, zstd.
    Parquet,
}

impl Format {
    /// Every format, in the order in which the server prefers them.
    pub const ALL: [Self; 5] = [Self::Json, Self::NdJson, Self::Csv, Self::Arrow, Self::Parquet];

    /// The name, as in `?format=` and `--format`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::NdJson => "ndjson",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
        }
    }

    /// The format of a name, whatever its case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(name))
    }

    /// The value of `Content-Type`. CSV says its charset and header as RFC 4180 registered them.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::NdJson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The usual ending of a file in this format, without the dot.
    #[must_use]
    pub const fn file_extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::NdJson => "ndjson",
            Self::Csv => "csv",
            Self::Arrow => "arrows",
            Self::Parquet => "parquet",
        }
    }

    /// The format that an `Accept` value asks for (RFC 9110, section 12.5.1), or `None` when it accepts none of ours.
    ///
    /// For each format the most specific range that matches it decides its quality; the highest quality wins, then the
    /// more specific range, then the one named earlier, then the order of [`Format::ALL`]. Parameters other than `q`
    /// are ignored, and so is a range that cannot be read. An empty value accepts everything, as an absent header does.
    #[must_use]
    pub fn from_accept(accept: &str) -> Option<Self> {
        if accept.trim().is_empty() {
            return Some(Self::Json);
        }
        let ranges: Vec<MediaRange<'_>> = split_unquoted(accept, b',').filter_map(MediaRange::parse).collect();
        let offers = Self::ALL.into_iter().enumerate().filter_map(|(preference, format)| {
            let (place, specificity, quality) = ranges
                .iter()
                .enumerate()
                .filter_map(|(place, range)| Some((place, range.specificity(format)?, range.quality)))
                .max_by_key(|&(place, specificity, _)| (specificity, Reverse(place)))?;
            (quality > 0).then_some(((quality, specificity, Reverse(place), Reverse(preference)), format))
        });
        offers.max_by_key(|(rank, _)| *rank).map(|(_, format)| format)
    }

    /// The media types that mean this format, the one that we send first.
    const fn media_types(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Json => &[("application", "json")],
            Self::NdJson => &[("application", "x-ndjson"), ("application", "ndjson"), ("application", "jsonl")],
            Self::Csv => &[("text", "csv")],
            Self::Arrow => &[("application", "vnd.apache.arrow.stream")],
            Self::Parquet => &[("application", "vnd.apache.parquet"), ("application", "x-parquet")],
        }
    }
}

/// One element of an `Accept` value.
struct MediaRange<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths, which is all the precision that a qvalue has.
    quality: u16,
}

impl<'a> MediaRange<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = split_unquoted(text, b';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut quality = 1000;
        for part in parts {
            let Some((name, value)) = part.split_once('=') else { continue };
            if name.trim().eq_ignore_ascii_case("q") {
                quality = parse_quality(value.trim())?;
            }
        }
        Some(Self { kind: kind.trim(), subtype: subtype.trim(), quality })
    }

    /// How closely the range names the format: 2 for the type itself, 1 for `type/*`, 0 for `*/*`, `None` for not at
    /// all.
    fn specificity(&self, format: Format) -> Option<u8> {
        if self.kind == "*" {
            return (self.subtype == "*").then_some(0);
        }
        let mut types = format.media_types().iter().filter(|(kind, _)| kind.eq_ignore_ascii_case(self.kind));
        if self.subtype == "*" {
            return types.next().map(|_| 1);
        }
        types.any(|(_, subtype)| subtype.eq_ignore_ascii_case(self.subtype)).then_some(2)
    }
}

fn parse_quality(text: &str) -> Option<u16> {
    let quality: f32 = text.parse().ok()?;
    // The cast is exact: at most 1000 after the check.
    (0.0..=1.0).contains(&quality).then(|| (quality * 1000.0).round() as u16)
}

/// Splits at a separator that is not inside a quoted string (RFC 9110, section 5.6.4).
fn split_unquoted(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let current = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = current.bytes().position(|byte| {
            let at_end = byte == separator && !quoted;
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => {}
            }
            at_end
        });
        rest = end.map(|end| &current[end + 1..]);
        Some(&current[..end.unwrap_or(current.len())])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Some(format));
            assert_eq!(Format::from_accept(format.content_type()), Some(format), "{}", format.content_type());
        }
        assert_eq!(Format::from_name("CSV"), Some(Format::Csv));
        assert_eq!(Format::from_name("xml"), None);
    }

    #[test]
    fn accept_is_negotiated_as_rfc_9110_says() {
        use Format::{Arrow, Csv, Json, NdJson, Parquet};
        let cases = [
            ("", Some(Json)),
            ("*/*", Some(Json)),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(Json)),
            ("text/html", None),
            ("text/*", Some(Csv)),
            ("application/*", Some(Json)),
            ("application/*, application/json;q=0", Some(NdJson)),
            ("*/*;q=0.1, text/csv", Some(Csv)),
            ("*/*, text/csv", Some(Csv)),
            ("*/*, text/csv;q=0.5", Some(Json)),
            ("application/json;q=0.5, text/csv;q=0.500", Some(Json)),
            ("text/csv;q=0.5, application/json;q=0.5", Some(Csv)),
            ("application/vnd.apache.arrow.stream, application/json", Some(Arrow)),
            ("application/json;q=0.9, application/vnd.apache.parquet", Some(Parquet)),
            ("APPLICATION/JSONL ; Q=0.3", Some(NdJson)),
            ("text/csv;note=\"a,b;q=0\";q=0.2", Some(Csv)),
            ("text/csv;note=\"a\\\",b\", application/json;q=0.1", Some(Csv)),
            ("application/json;q=0", None),
            ("application/json;q=2", None),
            ("application/json;q=NaN", None),
            ("nonsense, text/csv", Some(Csv)),
            ("*/csv", None),
            (",,", None),
        ];
        for (accept, expect) in cases {
            assert_eq!(Format::from_accept(accept), expect, "{accept:?}");
        }
    }
}
