//! How fast results become JSON, NDJSON and CSV, against arrow-json and arrow-csv.
//!
//! `cargo bench --bench output` prints the time for 100,000 rows of eight columns.

use std::{hint::black_box, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
        StringArray, TimestampMicrosecondArray,
    },
    csv, json,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pilaster::output::{Format, Options, encode};

const ROWS: usize = 100_000;
const BATCH_ROWS: usize = 8192;

/// What a dashboard's query returns, with a null here and there.
fn batches() -> Vec<RecordBatch> {
    const NAMES: [&str; 5] =
        ["pro", "team", "enterprise plan", "caf\u{e9} \"quoted\"", "a somewhat longer description of a product, plain"];
    let mut random = fastrand::Rng::with_seed(7);
    let mut column = |step: i64| -> Vec<Option<i64>> {
        (0..ROWS as i64).map(|row| (random.u8(..) > 12).then_some(row * step % 1_000_003)).collect()
    };
    fn map<T>(values: Vec<Option<i64>>, make: impl Fn(i64) -> T) -> impl Iterator<Item = Option<T>> {
        values.into_iter().map(move |value| value.map(&make))
    }
    let price: Decimal128Array = map(column(977), i128::from).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values((0..ROWS as i64).map(|row| row * 7919)))),
        ("quantity", Arc::new(map(column(31), |value| value as i32).collect::<Int32Array>())),
        ("price", Arc::new(price.with_precision_and_scale(18, 2).expect("18 digits hold a million"))),
        ("ratio", Arc::new(map(column(37), |value| value as f64 / 997.0).collect::<Float64Array>())),
        ("plan", Arc::new(map(column(1), |value| NAMES[value as usize % 5]).collect::<StringArray>())),
        ("paid", Arc::new(map(column(1), |value| value % 3 == 0).collect::<BooleanArray>())),
        ("day", Arc::new(map(column(1), |value| 19_000 + value as i32 % 2000).collect::<Date32Array>())),
        (
            "at",
            Arc::new(
                map(column(1), |value| 1_769_862_896_000_000 + value * 1_234_567)
                    .collect::<TimestampMicrosecondArray>(),
            ),
        ),
    ];
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("the columns are of one length");
    (0..ROWS).step_by(BATCH_ROWS).map(|start| batch.slice(start, BATCH_ROWS.min(ROWS - start))).collect()
}

fn output(criterion: &mut Criterion) {
    let batches = batches();
    let schema = batches[0].schema();
    let mut group = criterion.benchmark_group("output");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
    for format in Format::ALL {
        group.bench_function(format!("{}/pilaster", format.name()), |bencher| {
            bencher
                .iter(|| encode(format, Options::default(), black_box(&schema), black_box(&batches)).expect("encodes"));
        });
    }
    let explicit_nulls = || json::WriterBuilder::new().with_explicit_nulls(true);
    group.bench_function("json/arrow", |bencher| {
        bencher.iter(|| {
            let mut writer = explicit_nulls().build::<_, json::writer::JsonArray>(Vec::new());
            batches.iter().for_each(|batch| writer.write(black_box(batch)).expect("writes"));
            writer.finish().expect("writes");
            writer.into_inner()
        });
    });
    group.bench_function("ndjson/arrow", |bencher| {
        bencher.iter(|| {
            let mut writer = explicit_nulls().build::<_, json::writer::LineDelimited>(Vec::new());
            batches.iter().for_each(|batch| writer.write(black_box(batch)).expect("writes"));
            writer.finish().expect("writes");
            writer.into_inner()
        });
    });
    group.bench_function("csv/arrow", |bencher| {
        bencher.iter(|| {
            let mut writer = csv::Writer::new(Vec::new());
            batches.iter().for_each(|batch| writer.write(black_box(batch)).expect("writes"));
            writer.into_inner()
        });
    });
    group.finish();
}

criterion_group!(benches, output);
criterion_main!(benches);
