//! Whatever decodes bytes from outside, as functions from bytes: for the fuzzer's targets, and for the test that asks them again about
//! every input in `inputs/`. Each holds more than that nothing panics.

use chrono::DateTime;
use pilaster::{
    access::{Scope, TenantId},
    cache::{Key, is_believed, sealed},
    postgres::{ColumnPlan, CopyDecoder, Kind, OutOfRange},
    query::{Bound, NamedQuery, RawParameters, Reserved},
    sql::{ReadOnlySql, ScalarType, StatementLimits, fingerprint},
    store::{Manifest, Table},
};
use secrecy::SecretString;

/// Smaller than a server's, so that a fuzzer meets them.
const LIMITS: StatementLimits = StatementLimits { bytes_max: 16_384, tokens_max: 2_000 };

/// Every decoder, by the name of its target and of its folder of inputs.
pub(super) const ALL: &[(&str, fn(&[u8]))] = &[
    ("copy", copy),
    ("manifest", manifest),
    ("envelope", envelope),
    ("statement", statement),
    ("parameters", parameters),
];

/// COPY BINARY. The first bytes say of which columns, and in which pieces the rest comes: the same rows or an error, however it is cut.
pub(super) fn copy(bytes: &[u8]) {
    let Some((&[columns, cut], rest)) = bytes.split_first_chunk::<2>() else { return };
    let Some((plans, rest)) = rest.split_at_checked(usize::from(columns % 8) * 2) else { return };
    let plans: Vec<ColumnPlan> = plans
        .chunks_exact(2)
        .enumerate()
        .map(|(number, plan)| ColumnPlan {
            name: format!("c{number}"),
            kind: KINDS[usize::from(plan[0]) % KINDS.len()],
            out_of_range: [OutOfRange::Error, OutOfRange::Null, OutOfRange::Clamp][usize::from(plan[1] >> 1) % 3],
            is_nullable: plan[1] % 2 == 0,
        })
        .collect();
    let decoded = |piece: usize| {
        let mut decoder = CopyDecoder::new("public.t", &plans, Some([7; 32])).expect("there is a key");
        rest.chunks(piece).try_for_each(|piece| decoder.feed(piece)).ok()?;
        let rows = decoder.finish().ok()?;
        let batch = decoder.take_batch().ok()?;
        assert_eq!(
            batch.as_ref().map_or(0, |batch| batch.num_rows() as u64),
            rows,
            "every row that was counted is there"
        );
        Some((rows, batch))
    };
    assert_eq!(decoded(rest.len().max(1)), decoded(usize::from(cut).max(1)), "it matters where the bytes are cut");
}

const KINDS: &[Kind] = &[
    Kind::Bool,
    Kind::Int2,
    Kind::Int4,
    Kind::Int8,
    Kind::Float4,
    Kind::Float8,
    Kind::Numeric { precision: 12, scale: 2 },
    Kind::Numeric { precision: 38, scale: 38 },
    Kind::Numeric { precision: 76, scale: 10 },
    Kind::Text,
    Kind::Trimmed,
    Kind::Jsonb,
    Kind::Bytea,
    Kind::Date,
    Kind::Time,
    Kind::Timestamp,
    Kind::Timestamptz,
    Kind::Uuid,
    Kind::Interval,
    Kind::Oid,
    Kind::AsText,
    Kind::HashedText,
];

/// A manifest: as it is, with the digest that it needs to be looked at, and with those that its tables need. One that is read is written as
/// it was meant, and read again the same.
pub(super) fn manifest(bytes: &[u8]) {
    let signed = bytes.strip_suffix(b"}").map(|body| {
        let digest = blake3::hash(bytes).to_hex();
        [body, format!(",\"digest\":\"{digest}\"}}").as_bytes()].concat()
    });
    let settled = serde_json::from_slice::<Manifest>(bytes).ok().map(|mut manifest| {
        manifest.tables.iter_mut().for_each(|table| table.digest = Table::content_digest(&table.columns, &table.files));
        manifest.to_bytes()
    });
    for bytes in [Some(bytes.to_vec()), signed, settled].into_iter().flatten() {
        let Ok(manifest) = Manifest::from_bytes(&bytes) else { continue };
        let again = Manifest::from_bytes(&manifest.to_bytes()).expect("what was written can be read");
        assert_eq!(again.to_bytes(), manifest.to_bytes());
        let _ = (manifest.row_count(), manifest.bytes());
        assert!(manifest.tables.iter().all(|table| manifest.table(&table.name).is_some()));
    }
}

/// A value from Redis: as anybody may have put it there, and as a server that holds the secret would have.
pub(super) fn envelope(bytes: &[u8]) {
    let secret = SecretString::from("5a".repeat(32));
    let key = Key::new([3; 32]);
    assert!(!is_believed(&secret, &key, bytes, 1 << 20).expect("the secret is one"), "nobody has signed it");
    let value = sealed(&secret, &key, bytes).expect("the secret is one");
    let _ = is_believed(&secret, &key, &value, 1 << 20);
    assert!(
        !is_believed(&secret, &Key::new([4; 32]), &value, 1 << 20).expect("the secret is one"),
        "it is of another key"
    );
}

/// A statement: one that is let in says what it said.
pub(super) fn statement(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert_eq!(fingerprint(text).len(), 16);
    let Ok(sql) = ReadOnlySql::parse(text, LIMITS) else { return };
    assert_eq!(sql.render(|name, _| format!("${name}")), text);
    assert!(sql.placeholders().iter().all(|place| sql.names().contains(&place.name)));
    let numbered = sql.render(|_, number| format!("${number}"));
    let again = ReadOnlySql::parse(&numbered, StatementLimits { bytes_max: usize::MAX, ..LIMITS });
    assert_eq!(again.expect("numbers are names, too").names().len(), sql.names().len());
}

/// A file of a named query, a zero byte, and what a request gives for its parameters: a query string, or a JSON object.
pub(super) fn parameters(bytes: &[u8]) {
    let (file, given) = match bytes.iter().position(|byte| *byte == 0) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (&b"-- @param a int4 = 1\nSELECT $a AS a"[..], bytes),
    };
    let Ok(file) = std::str::from_utf8(file) else { return };
    let Ok(query) = NamedQuery::parse("d", "q", file, LIMITS) else { return };
    let raw = match serde_json::from_slice(given) {
        Ok(object) => RawParameters::from_json(object),
        Err(_) => RawParameters::from_pairs(url::form_urlencoded::parse(given).into_owned()),
    };
    let _ = raw.to_json();
    for scope in [Scope::All, TenantId::new("7").map_or(Scope::All, Scope::Tenant)] {
        let reserved =
            Reserved { scope: &scope, tenant_type: ScalarType::Int8, now: DateTime::UNIX_EPOCH, time_zone: "UTC" };
        for bound in [raw.bind_named(&query, &query.sql, &reserved), raw.bind_ad_hoc(&query.sql, &reserved)] {
            let Ok(Bound(bound)) = bound else { continue };
            assert_eq!(bound.len(), query.sql.names().len());
            for (kind, value) in &bound {
                assert_eq!(
                    kind.to_scalar(value, "UTC").data_type(),
                    kind.arrow_type_of(value, "UTC"),
                    "{kind:?} {value:?}"
                );
                let _ = kind.to_postgres_literal(value);
            }
        }
    }
}
