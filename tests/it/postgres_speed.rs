//! How fast rows become Arrow. Not run by default: `cargo test --release --test it -- --ignored --nocapture speed`.

use std::time::Instant;

use pilaster::postgres::{ColumnPlan, CopyDecoder, Kind, OutOfRange, Progress, SourceConfig};

use crate::support::Postgres;

const ROWS: usize = 200_000;
const COLUMNS: usize = 10;
const BATCH_BYTES: usize = 16 << 20;

fn plan(kind: Kind, is_nullable: bool) -> ColumnPlan {
    ColumnPlan { name: format!("{kind:?}"), kind, out_of_range: OutOfRange::Error, is_nullable }
}

/// A COPY of rows whose every field is one of the bodies in turn; every tenth is NULL where asked.
fn copy(bodies: &[Vec<u8>], with_nulls: bool) -> Vec<u8> {
    let mut bytes = [&b"PGCOPY\n\xff\r\n\0"[..], &[0; 8]].concat();
    for row in 0..ROWS {
        bytes.extend((COLUMNS as u16).to_be_bytes());
        for column in 0..COLUMNS {
            let body = &bodies[(row + column) % bodies.len()];
            if with_nulls && (row + column) % 10 == 0 {
                bytes.extend((-1i32).to_be_bytes());
            } else {
                bytes.extend((body.len() as i32).to_be_bytes());
                bytes.extend(body);
            }
        }
    }
    bytes.extend((-1i16).to_be_bytes());
    bytes
}

fn decode(kind: Kind, bytes: &[u8]) -> f64 {
    let plans: Vec<_> = (0..COLUMNS).map(|_| plan(kind, true)).collect();
    let mut best = f64::MAX;
    for _ in 0..3 {
        let mut decoder = CopyDecoder::new("speed", &plans, Some([1; 32])).unwrap();
        let begun = Instant::now();
        for piece in bytes.chunks(512 << 10) {
            decoder.feed(piece).unwrap();
            if decoder.bytes_buffered() > BATCH_BYTES {
                decoder.take_batch().unwrap();
            }
        }
        decoder.finish().unwrap();
        decoder.take_batch().unwrap();
        best = best.min(begun.elapsed().as_secs_f64());
    }
    (ROWS * COLUMNS) as f64 / best / 1e6
}

#[test]
#[ignore = "prints figures"]
fn speed_of_the_decoder() {
    let numeric = |groups: &[u16], weight: i16, sign: u16, scale: u16| {
        let mut body = Vec::new();
        body.extend((groups.len() as u16).to_be_bytes());
        body.extend(weight.to_be_bytes());
        body.extend(sign.to_be_bytes());
        body.extend(scale.to_be_bytes());
        groups.iter().for_each(|group| body.extend(group.to_be_bytes()));
        body
    };
    let money = vec![numeric(&[12, 3400], 0, 0, 2), numeric(&[1, 2345, 6700], 1, 0x4000, 2), numeric(&[], 0, 0, 2)];
    let wide = vec![numeric(&[9999; 15], 7, 0, 28)];
    let cases: Vec<(&str, Kind, Vec<Vec<u8>>)> = vec![
        ("bool", Kind::Bool, vec![vec![0], vec![1]]),
        ("int4", Kind::Int4, vec![7i32.to_be_bytes().to_vec()]),
        ("int8", Kind::Int8, vec![7i64.to_be_bytes().to_vec()]),
        ("float8", Kind::Float8, vec![7f64.to_be_bytes().to_vec()]),
        ("date", Kind::Date, vec![7i32.to_be_bytes().to_vec()]),
        ("timestamptz", Kind::Timestamptz, vec![7i64.to_be_bytes().to_vec()]),
        ("numeric(12,2)", Kind::Numeric { precision: 12, scale: 2 }, money.clone()),
        ("numeric(38,10)", Kind::Numeric { precision: 38, scale: 10 }, money),
        ("numeric(76,40)", Kind::Numeric { precision: 76, scale: 40 }, wide),
        ("text, 5", Kind::Text, vec![b"hello".to_vec()]),
        ("text, 40", Kind::Text, vec![b"a somewhat longer text, as names can be".to_vec()]),
        ("uuid", Kind::Uuid, vec![vec![0xAB; 16]]),
        ("interval", Kind::Interval, vec![vec![0; 16]]),
        ("hashed", Kind::HashedText, vec![b"ada@example.com".to_vec()]),
    ];
    for (name, kind, bodies) in cases {
        let (full, sparse) = (decode(kind, &copy(&bodies, false)), decode(kind, &copy(&bodies, true)));
        println!("{name:>16}: {full:7.1} M fields/s, {sparse:7.1} with every tenth NULL");
    }
}

#[tokio::test]
#[ignore = "prints figures"]
async fn speed_of_a_copy_from_the_server() {
    let server = Postgres::start();
    let source = SourceConfig::parse(&server.database("speed")).unwrap();
    let setup = "CREATE TABLE t AS SELECT g::int8 AS id, (g % 1000)::int4 AS a, g::float8 AS b, g % 2 = 0 AS c, \
                 now() + g * interval '1 s' AS d, (g % 10000 / 100.0)::numeric(12,2) AS e, 'customer ' || g AS f \
                 FROM generate_series(1, 2000000) g; VACUUM ANALYZE t";
    for statement in setup.split("; ") {
        server.psql("speed", statement);
    }
    let kinds = [
        Kind::Int8,
        Kind::Int4,
        Kind::Float8,
        Kind::Bool,
        Kind::Timestamptz,
        Kind::Numeric { precision: 12, scale: 2 },
        Kind::Text,
    ];
    let plans: Vec<_> = kinds.into_iter().map(|kind| plan(kind, true)).collect();
    for socket in [false, true] {
        let url = format!("host={} port={} user=postgres dbname=speed", server.directory().display(), server.port());
        let source = if socket { SourceConfig::parse(&url).unwrap() } else { source.clone() };
        let mut decoder = CopyDecoder::new("public.t", &plans, None).unwrap();
        let mut connection = source.connect_copy().await.unwrap();
        let begun = Instant::now();
        let mut feeding = 0.0;
        connection.start_copy("COPY (SELECT * FROM public.t) TO STDOUT (FORMAT binary)").await.unwrap();
        let mut chunks = 0;
        let rows = loop {
            let step = Instant::now();
            let progress = connection.next_chunk(&mut decoder).await.unwrap();
            feeding += step.elapsed().as_secs_f64();
            chunks += 1;
            if decoder.bytes_buffered() > BATCH_BYTES {
                decoder.take_batch().unwrap();
            }
            if let Progress::Done { rows } = progress {
                break rows;
            }
        };
        let seconds = begun.elapsed().as_secs_f64();
        let way = if socket { "Unix socket" } else { "TCP" };
        println!(
            "{way}: {rows} rows of 7 in {seconds:.2} s, {:.1} M fields/s, {chunks} chunks, {feeding:.2} s in them",
            rows as f64 * 7.0 / seconds / 1e6
        );
    }
}
