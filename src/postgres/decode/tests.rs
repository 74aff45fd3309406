use arrow::{
    array::AsArray,
    util::display::{ArrayFormatter, FormatOptions},
};
use proptest::prelude::*;

use super::*;

fn plan(kind: Kind, out_of_range: OutOfRange) -> ColumnPlan {
    ColumnPlan { name: "c".into(), kind, out_of_range, is_nullable: true }
}

fn decoder(columns: &[ColumnPlan]) -> CopyDecoder {
    CopyDecoder::new("public.t", columns, Some([7; 32])).unwrap()
}

/// A whole COPY of rows of fields.
fn copy(rows: &[&[Option<&[u8]>]]) -> Vec<u8> {
    let mut bytes = [&SIGNATURE[..], &[0; 8]].concat();
    for row in rows {
        bytes.extend(u16::try_from(row.len()).unwrap().to_be_bytes());
        for field in *row {
            match field {
                Some(body) => {
                    bytes.extend(i32::try_from(body.len()).unwrap().to_be_bytes());
                    bytes.extend(*body);
                }
                None => bytes.extend((-1i32).to_be_bytes()),
            }
        }
    }
    bytes.extend((-1i16).to_be_bytes());
    bytes
}

/// Decodes one field and shows the value, or the error.
fn shown(kind: Kind, out_of_range: OutOfRange, body: &[u8]) -> String {
    let mut decoder = decoder(&[plan(kind, out_of_range)]);
    let decoded = decoder.feed(&copy(&[&[Some(body)]])).and_then(|()| decoder.finish()).and_then(|rows| {
        assert_eq!(rows, 1);
        decoder.take_batch()
    });
    match decoded {
        Ok(batch) => {
            let options = FormatOptions::default().with_null("NULL");
            let value = ArrayFormatter::try_new(batch.unwrap().column(0), &options).unwrap().value(0).to_string();
            let counts = decoder.counts()[0];
            match (counts.nulled, counts.clamped) {
                (0, 0) => value,
                (0, _) => format!("{value} clamped"),
                _ => format!("{value} nulled"),
            }
        }
        Err(error) => format!("{}: {}", error.code(), error.message()),
    }
}

fn check(kind: Kind, body: &[u8], expect: &str) {
    assert_eq!(shown(kind, OutOfRange::Error, body), expect, "{kind:?} of {body:x?}");
}

#[test]
fn not_a_number_has_no_sign() {
    let check = |kind: Kind, body: &[u8]| {
        let mut decoder = decoder(&[plan(kind, OutOfRange::Error)]);
        decoder.feed(&copy(&[&[Some(body)]])).unwrap();
        let batch = decoder.take_batch().unwrap().unwrap();
        let value = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Float64).unwrap();
        let value = value.as_primitive::<arrow::datatypes::Float64Type>().value(0);
        assert!(value.is_nan() && value.is_sign_positive(), "{kind:?}: {value}");
    };
    check(Kind::Float4, &(-f32::NAN).to_be_bytes());
    check(Kind::Float8, &(-f64::NAN).to_be_bytes());
}

#[test]
fn each_kind() {
    let at = "table public.t, column \"c\", row 1:";
    check(Kind::Bool, &[1], "true");
    check(Kind::Bool, &[2], &format!("internal: {at} the bytes are no boolean"));
    check(Kind::Bool, &[], &format!("internal: {at} the value is not 1 bytes long"));
    check(Kind::Int2, &i16::MIN.to_be_bytes(), "-32768");
    check(Kind::Int4, &i32::MIN.to_be_bytes(), "-2147483648");
    check(Kind::Int4, &[0, 0, 1], &format!("internal: {at} the value is not 4 bytes long"));
    check(Kind::Int8, &i64::MIN.to_be_bytes(), "-9223372036854775808");
    check(Kind::Float4, &f32::NAN.to_be_bytes(), "NaN");
    check(Kind::Float8, &f64::NEG_INFINITY.to_be_bytes(), "-inf");
    check(Kind::Oid, &u32::MAX.to_be_bytes(), "4294967295");
    check(Kind::Text, "żółw 🐢".as_bytes(), "żółw 🐢");
    check(Kind::Text, b"", "");
    check(Kind::Text, b"\xff", &format!("unrepresentable_value: {at} the text is not UTF-8"));
    check(Kind::Jsonb, b"\x01{\"a\": 1}", "{\"a\": 1}");
    check(Kind::Jsonb, b"\x02{}", &format!("internal: {at} the bytes are no jsonb of version 1"));
    check(Kind::Jsonb, b"", &format!("internal: {at} the bytes are no jsonb of version 1"));
    check(Kind::Bytea, b"\x00\xff", "00ff");
    check(Kind::Uuid, &[0xAB; 16], "abababab-abab-abab-abab-abababababab");
    check(Kind::Date, &0i32.to_be_bytes(), "2000-01-01");
    check(
        Kind::Date,
        &i32::MAX.to_be_bytes(),
        &format!("unrepresentable_value: {at} infinity cannot be held as Date32"),
    );
    check(Kind::Time, &86_399_999_999i64.to_be_bytes(), "23:59:59.999999");
    check(Kind::Time, &(-1i64).to_be_bytes(), &format!("internal: {at} the bytes are no time of day"));
    check(Kind::Timestamp, &(-1i64).to_be_bytes(), "1999-12-31T23:59:59.999999");
    check(Kind::Timestamptz, &0i64.to_be_bytes(), "2000-01-01T00:00:00Z");
    check(Kind::HashedText, b"ada@example.com", &blake3::keyed_hash(&[7; 32], b"ada@example.com").to_hex());
    let interval = [&(-1i64).to_be_bytes()[..], &2i32.to_be_bytes(), &(-3i32).to_be_bytes()].concat();
    check(Kind::Interval, &interval, "{months: -3, days: 2, microseconds: -1}");
    let numeric = [0, 2, 0, 0, 0x40, 0, 0, 2, 0, 12, 0x0d, 0x48];
    check(Kind::Numeric { precision: 10, scale: 2 }, &numeric, "-12.34");
    check(Kind::Numeric { precision: 50, scale: 4 }, &numeric, "-12.3400");
    let digits = format!("unrepresentable_value: {at} the value has more digits than Decimal128(10, 1)");
    check(Kind::Numeric { precision: 10, scale: 1 }, &numeric, &digits);
}

#[test]
fn each_policy() {
    let special = |sign: u16| [&[0, 0, 0, 0][..], &sign.to_be_bytes(), &[0, 0]].concat();
    let decimal = Kind::Numeric { precision: 4, scale: 2 };
    let wide = Kind::Numeric { precision: 40, scale: 0 };
    let nines = format!("-{} clamped", "9".repeat(40));
    let infinite = [&i64::MAX.to_be_bytes()[..], &i32::MAX.to_be_bytes(), &i32::MAX.to_be_bytes()].concat();
    let infinity_kept = "{months: 2147483647, days: 2147483647, microseconds: 9223372036854775807} clamped";
    let cases: &[(Kind, &[u8], &str)] = &[
        (decimal, &special(0xC000), "NULL nulled"),
        (decimal, &special(0xD000), "99.99 clamped"),
        (decimal, &special(0xF000), "-99.99 clamped"),
        (wide, &special(0xF000), &nines),
        (Kind::Date, &i32::MAX.to_be_bytes(), "+262142-12-31 clamped"),
        (Kind::Date, &i32::MIN.to_be_bytes(), "-262143-01-01 clamped"),
        (Kind::Timestamp, &i64::MAX.to_be_bytes(), "+262142-12-31T23:59:59.999999 clamped"),
        (Kind::Timestamp, &i64::MIN.to_be_bytes(), "-262143-01-01T00:00:00 clamped"),
        (Kind::Time, &86_400_000_000i64.to_be_bytes(), "23:59:59.999999 clamped"),
        (Kind::Interval, &infinite, infinity_kept),
    ];
    for (kind, body, clamped) in cases {
        assert_eq!(shown(*kind, OutOfRange::Clamp, body), *clamped, "{kind:?}");
        assert_eq!(shown(*kind, OutOfRange::Null, body), "NULL nulled", "{kind:?}");
        assert!(shown(*kind, OutOfRange::Error, body).starts_with("unrepresentable_value: "), "{kind:?}");
    }
}

#[test]
fn the_error_names_the_setting() {
    let mut decoder = decoder(&[ColumnPlan { name: "Born on".into(), ..plan(Kind::Date, OutOfRange::Error) }]);
    let ok: &[Option<&[u8]>] = &[Some(&[0; 4])];
    let bad: &[Option<&[u8]>] = &[Some(&[0x80, 0, 0, 0])];
    let error = decoder.feed(&copy(&[ok, ok, bad])).unwrap_err();
    assert_eq!(error.message(), "table public.t, column \"Born on\", row 3: -infinity cannot be held as Date32");
    let setting = "set [tables.\"public.t\".columns.\"Born on\"] out_of_range = \"null\", \"clamp\" or \"text\"";
    assert_eq!(error.hint(), Some(setting));
}

/// Three rows of three columns, with a NULL, an empty and a long value.
fn sample() -> (Vec<ColumnPlan>, Vec<u8>) {
    let columns = vec![
        plan(Kind::Int4, OutOfRange::Error),
        plan(Kind::Text, OutOfRange::Error),
        plan(Kind::Interval, OutOfRange::Error),
    ];
    let long = vec![b'x'; 300];
    let bytes = copy(&[
        &[Some(&[0, 0, 0, 1]), Some(b""), Some(&[0; 16])],
        &[None, Some(&long), None],
        &[Some(&[0xff; 4]), None, Some(&[1; 16])],
    ]);
    (columns, bytes)
}

#[test]
fn pieces_of_any_size_give_the_same_rows() {
    let (columns, bytes) = sample();
    let mut whole = decoder(&columns);
    whole.feed(&bytes).unwrap();
    assert_eq!(whole.finish().unwrap(), 3);
    let expect = whole.take_batch().unwrap().unwrap();
    for size in 1..bytes.len() {
        let mut decoder = decoder(&columns);
        let mut batches = Vec::new();
        for piece in bytes.chunks(size) {
            decoder.feed(piece).unwrap();
            batches.extend(decoder.take_batch().unwrap());
        }
        assert_eq!(decoder.finish().unwrap(), 3);
        let schema = decoder.schema().clone();
        assert_eq!(arrow::compute::concat_batches(&schema, &batches).unwrap(), expect, "pieces of {size}");
    }
}

#[test]
fn a_cut_copy_is_never_a_whole_one() {
    let (columns, bytes) = sample();
    for end in 0..bytes.len() {
        let mut decoder = decoder(&columns);
        let fed = decoder.feed(&bytes[..end]);
        assert!(fed.is_err() || decoder.finish().is_err(), "cut at {end}");
    }
    let mut longer = decoder(&columns);
    assert!(longer.feed(&[&bytes[..], &[0]].concat()).is_err(), "a byte after the trailer");
}

#[test]
fn one_decoder_takes_many_copies() {
    let (columns, bytes) = sample();
    let mut decoder = decoder(&columns);
    for _ in 0..3 {
        decoder.feed(&bytes).unwrap();
        assert_eq!(decoder.finish().unwrap(), 3);
    }
    assert_eq!(decoder.take_batch().unwrap().unwrap().num_rows(), 9);
    assert_eq!(decoder.counts()[0].nulls, 3);
}

#[test]
fn null_where_the_source_promised_none_is_an_error() {
    let mut decoder = decoder(&[ColumnPlan { is_nullable: false, ..plan(Kind::Int4, OutOfRange::Error) }]);
    let error = decoder.feed(&copy(&[&[None]])).unwrap_err();
    assert_eq!(error.message(), "table public.t, column \"c\", row 1: NULL in a column that is NOT NULL");
}

#[test]
fn a_policy_that_makes_null_makes_the_field_nullable() {
    let column = ColumnPlan { is_nullable: false, ..plan(Kind::Date, OutOfRange::Null) };
    let mut decoder = decoder(&[column]);
    decoder.feed(&copy(&[&[Some(&i32::MAX.to_be_bytes())]])).unwrap();
    assert_eq!(decoder.take_batch().unwrap().unwrap().column(0).null_count(), 1);
}

#[test]
fn a_table_without_columns_still_has_rows() {
    let mut decoder = decoder(&[]);
    decoder.feed(&copy(&[&[], &[]])).unwrap();
    assert_eq!(decoder.take_batch().unwrap().unwrap().num_rows(), 2);
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Bool),
        Just(Kind::Int8),
        Just(Kind::Numeric { precision: 38, scale: 10 }),
        Just(Kind::Numeric { precision: 76, scale: 38 }),
        Just(Kind::Text),
        Just(Kind::Jsonb),
        Just(Kind::Bytea),
        Just(Kind::Date),
        Just(Kind::Time),
        Just(Kind::Timestamptz),
        Just(Kind::Uuid),
        Just(Kind::Interval),
        Just(Kind::HashedText),
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic(kind in any_kind(), bytes: Vec<u8>, cut in 1usize..40) {
        let mut decoder = decoder(&[plan(kind, OutOfRange::Clamp)]);
        for piece in bytes.chunks(cut) {
            if decoder.feed(piece).is_err() {
                return Ok(());
            }
        }
        let _ = decoder.finish();
    }

    #[test]
    fn no_field_panics(kind in any_kind(), body: Vec<u8>) {
        let _ = shown(kind, OutOfRange::Null, &body);
    }

    #[test]
    fn no_changed_byte_panics(at in 0usize..400, to: u8, cut in 1usize..400) {
        let (columns, mut bytes) = sample();
        let at = at % bytes.len();
        bytes[at] = to;
        let mut decoder = decoder(&columns);
        for piece in bytes.chunks(cut) {
            if decoder.feed(piece).is_err() {
                return Ok(());
            }
        }
        let _ = decoder.finish();
        let _ = decoder.take_batch();
    }
}
