//! What JSON and CSV make of each type. The expected texts are those of PostgreSQL 15 where Postgres has the type.

use super::*;

/// A column `c` whose rows are NDJSON's values and CSV's values.
#[track_caller]
fn check_values(pg_type: &str, array: impl Array + 'static, expect: &[(&str, &str)]) {
    let batch = batch(vec![("c", pg_type, Arc::new(array))]);
    let lines: String = expect.iter().map(|(json, _)| format!("{{\"c\":{json}}}\n")).collect();
    check(Format::NdJson, &batch, &lines);
    let lines: String = expect.iter().map(|(_, csv)| format!("{csv}\n")).collect();
    check(Format::Csv, &batch, &format!("c\n{lines}"));
}

#[test]
fn integers() {
    check_values("", Int8Array::from(vec![Some(i8::MIN), None]), &[("-128", "-128"), ("null", "")]);
    check_values("", Int16Array::from(vec![i16::MIN]), &[("-32768", "-32768")]);
    check_values("", Int32Array::from(vec![i32::MAX, 0]), &[("2147483647", "2147483647"), ("0", "0")]);
    let digits = "-9223372036854775808";
    check_values("", Int64Array::from(vec![i64::MIN]), &[(digits, digits)]);
    check_values("", UInt8Array::from(vec![255]), &[("255", "255")]);
    check_values("", UInt16Array::from(vec![65_535]), &[("65535", "65535")]);
    check_values("", UInt32Array::from(vec![u32::MAX]), &[("4294967295", "4294967295")]);
    let digits = "18446744073709551615";
    check_values("", UInt64Array::from(vec![u64::MAX]), &[(digits, digits)]);
}

#[test]
fn numerics_and_floats() {
    let numeric = Decimal128Array::from(vec![Some(1250), Some(-5), None]).with_precision_and_scale(38, 2).unwrap();
    check_values("", numeric, &[("12.50", "12.50"), ("-0.05", "-0.05"), ("null", "")]);
    let wide = "1".repeat(70);
    let numeric =
        Decimal256Array::from(vec![i256::from_string(&wide).unwrap()]).with_precision_and_scale(76, 10).unwrap();
    let expect = format!("{}.{}", &wide[..60], &wide[..10]);
    check_values("", numeric, &[(&expect, &expect)]);
    let floats = vec![0.1, 1e15, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3.0];
    check_values(
        "",
        Float64Array::from(floats),
        &[
            ("0.1", "0.1"),
            ("1e+15", "1e+15"),
            ("-0", "-0"),
            ("\"NaN\"", "NaN"),
            ("\"Infinity\"", "Infinity"),
            ("\"-Infinity\"", "-Infinity"),
            ("3", "3"),
        ],
    );
    check_values("", Float32Array::from(vec![0.1, f32::NAN]), &[("0.1", "0.1"), ("\"NaN\"", "NaN")]);
    let half = Float16Array::from_iter_values(
        [0.5_f32].map(<Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native::from_f32),
    );
    check_values("", half, &[("0.5", "0.5")]);
    let texts = vec!["12.50", "NaN", "99999999999999999999999999.1"];
    let expect = [("12.50", "12.50"), ("\"NaN\"", "NaN"), (texts[2], texts[2])];
    check_values("numeric", StringArray::from(texts.clone()), &expect);
}

#[test]
fn text() {
    let texts = vec!["plain", "", "a\"b\\c/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f} é€😀", "a,b", " x ", "NULL"];
    let expect = [
        ("\"plain\"", "plain"),
        ("\"\"", "\"\""),
        (
            "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f\u{7f} é€😀\"",
            "\"a\"\"b\\c/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f} é€😀\"",
        ),
        ("\"a,b\"", "\"a,b\""),
        ("\" x \"", " x "),
        ("\"NULL\"", "NULL"),
    ];
    check_values("", StringArray::from(texts.clone()), &expect);
    check_values("varchar", LargeStringArray::from(texts.clone()), &expect);
    check_values("mood", StringViewArray::from(texts), &expect);
    check_values("", StringArray::from(vec!["\\.", "x\\."]), &[("\"\\\\.\"", "\"\\.\""), ("\"x\\\\.\"", "x\\.")]);
}

/// The escape is looked for eight bytes at a time: it must be found in each place.
#[test]
fn escapes_are_found_everywhere() {
    for length in 1..40 {
        for at in 0..length {
            for special in ['"', '\\', '\0', '\u{1f}', '\u{7f}', '\u{80}', '!', '#', '[', ']', ' ', '\u{ff}'] {
                let mut text = "x".repeat(length);
                text.replace_range(at..=at, &special.to_string());
                text.push('"');
                let mut out = Vec::new();
                json::write_string(&text, &mut out);
                assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
                assert!(special < ' ' || !out.windows(2).any(|pair| pair == b"\\u"), "{text:?}");
            }
        }
    }
}

#[test]
fn json_is_embedded() {
    let documents = vec![
        Some("{\"a\": [1, 2.50, \"x\\ny\"]}"),
        Some(" [1,\r\n 2]\n"),
        Some("null"),
        Some("{broken"),
        Some(""),
        Some("1 2"),
        Some("12345678901234567890.10"),
        None,
    ];
    let expect = [
        ("{\"a\": [1, 2.50, \"x\\ny\"]}", "\"{\"\"a\"\": [1, 2.50, \"\"x\\ny\"\"]}\""),
        ("[1,   2]", "\" [1,\r\n 2]\n\""),
        ("null", "null"),
        ("\"{broken\"", "{broken"),
        ("\"\"", "\"\""),
        ("\"1 2\"", "1 2"),
        ("12345678901234567890.10", "12345678901234567890.10"),
        ("null", ""),
    ];
    check_values("json", StringArray::from(documents.clone()), &expect);
    check_values("jsonb", StringViewArray::from(documents), &expect);
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    check_values("json", StringArray::from(vec![deep.as_str()]), &[(&deep, &deep)]);
}

#[test]
fn booleans_bytes_and_uuids() {
    check_values(
        "",
        BooleanArray::from(vec![Some(true), Some(false), None]),
        &[("true", "t"), ("false", "f"), ("null", "")],
    );
    check_values("", NullArray::new(1), &[("null", "")]);
    let bytes: Vec<&[u8]> = vec![&[0xde, 0xad, 0xbe, 0xef], &[]];
    let expect = [("\"\\\\xdeadbeef\"", "\\xdeadbeef"), ("\"\\\\x\"", "\\x")];
    check_values("", BinaryArray::from(bytes.clone()), &expect);
    check_values("", LargeBinaryArray::from(bytes.clone()), &expect);
    check_values("bytea", BinaryViewArray::from(bytes.clone()), &expect);
    let uuid = 0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11_u128.to_be_bytes();
    let fixed = FixedSizeBinaryArray::try_from_iter([uuid].into_iter()).unwrap();
    check_values(
        "uuid",
        fixed.clone(),
        &[("\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")],
    );
    check_values("", fixed, &[("\"\\\\xa0eebc999c0b4ef8bb6d6bb9bd380a11\"", "\\xa0eebc999c0b4ef8bb6d6bb9bd380a11")]);
    check_values("uuid", BinaryArray::from(bytes), &expect);
}

#[test]
fn dates_and_times() {
    let days = Date32Array::from(vec![20_484, -735_160, 2_932_897]);
    let quoted = ["\"2026-01-31\"", "\"0044-03-15 BC\"", "\"10000-01-01\""];
    let plain = ["2026-01-31", "0044-03-15 BC", "10000-01-01"];
    let expect: Vec<_> = quoted.into_iter().zip(plain).collect();
    check_values("", days, &expect);
    check_values(
        "",
        Date64Array::from(vec![20_484 * 86_400_000, -735_160 * 86_400_000, 2_932_897 * 86_400_000]),
        &expect,
    );
    check_values("", Time32SecondArray::from(vec![86_400]), &[("\"24:00:00\"", "24:00:00")]);
    check_values("", Time32MillisecondArray::from(vec![45_296_780]), &[("\"12:34:56.78\"", "12:34:56.78")]);
    check_values("", Time64MicrosecondArray::from(vec![45_296_789_000]), &[("\"12:34:56.789\"", "12:34:56.789")]);
    check_values("", Time64NanosecondArray::from(vec![1]), &[("\"00:00:00.000000001\"", "00:00:00.000000001")]);

    let bc = ("\"0044-03-15T01:02:03.5 BC\"", "0044-03-15 01:02:03.5 BC");
    let before_1970 = ("\"1969-12-31T23:59:59.999999\"", "1969-12-31 23:59:59.999999");
    check_values("", TimestampMicrosecondArray::from(vec![-63_517_820_276_500_000, -1]), &[bc, before_1970]);
    check_values("", TimestampSecondArray::from(vec![0]), &[("\"1970-01-01T00:00:00\"", "1970-01-01 00:00:00")]);
    let millis = TimestampMillisecondArray::from(vec![1_769_862_896_789]).with_timezone("UTC");
    check_values("", millis, &[("\"2026-01-31T12:34:56.789+00:00\"", "2026-01-31 12:34:56.789+00")]);
    let nanos = TimestampNanosecondArray::from(vec![1_785_501_296_789_000_000]).with_timezone("Europe/Berlin");
    check_values("", nanos, &[("\"2026-07-31T14:34:56.789+02:00\"", "2026-07-31 14:34:56.789+02")]);
    let offset = TimestampMicrosecondArray::from(vec![1_769_862_896_000_000]).with_timezone("-02:30");
    check_values("", offset, &[("\"2026-01-31T10:04:56-02:30\"", "2026-01-31 10:04:56-02:30")]);
}

#[test]
fn intervals() {
    let intervals = IntervalMonthDayNanoArray::from(vec![
        IntervalMonthDayNano::new(1, 2, 11_045_000_000_000),
        IntervalMonthDayNano::new(0, 0, -1_000_000_000),
        IntervalMonthDayNano::new(0, 0, 0),
    ]);
    let expect = [
        ("\"1 mon 2 days 03:04:05\"", "1 mon 2 days 03:04:05"),
        ("\"-00:00:01\"", "-00:00:01"),
        ("\"00:00:00\"", "00:00:00"),
    ];
    check_values("", intervals, &expect);
    check_values("", IntervalYearMonthArray::from(vec![-14]), &[("\"-1 years -2 mons\"", "-1 years -2 mons")]);
    let day_time = IntervalDayTimeArray::from(vec![IntervalDayTime::new(-1, 500)]);
    check_values("", day_time, &[("\"-1 days +00:00:00.5\"", "-1 days +00:00:00.5")]);
    check_values("", DurationSecondArray::from(vec![360_000]), &[("\"100:00:00\"", "100:00:00")]);
}

#[test]
fn lists() {
    let items = vec![Some(vec![Some(1), Some(2), None]), Some(vec![]), None];
    let expect = [("[1,2,null]", "\"{1,2,NULL}\""), ("[]", "{}"), ("null", "")];
    check_values("", ListArray::from_iter_primitive::<Int32Type, _, _>(items.clone()), &expect);
    check_values("_int4", ListViewArray::from_iter_primitive::<Int32Type, _, _>(items.clone()), &expect);
    check_values("", LargeListViewArray::from_iter_primitive::<Int32Type, _, _>(items), &expect);
    let fixed = vec![Some(vec![Some(1), None]), None];
    let fixed = FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(fixed, 2);
    check_values("", fixed, &[("[1,null]", "\"{1,NULL}\""), ("null", "")]);

    let texts = [
        Some("a"),
        Some("b c"),
        Some(""),
        Some("null"),
        Some("a\"b\\"),
        Some("{"),
        Some("a,b"),
        None,
        Some("\t"),
        Some("é"),
    ];
    let expect = "{a,\"b c\",\"\",\"null\",\"a\\\"b\\\\\",\"{\",\"a,b\",NULL,\"\t\",é}";
    let list = list_of(StringArray::from(texts.to_vec()), "");
    let json = "[\"a\",\"b c\",\"\",\"null\",\"a\\\"b\\\\\",\"{\",\"a,b\",null,\"\\t\",\"é\"]";
    check_values("", list, &[(json, &format!("\"{}\"", expect.replace('"', "\"\"")))]);

    let nested = list_of(
        ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), Some(2)]), Some(vec![Some(3), None])]),
        "",
    );
    check_values("_int4", nested, &[("[[1,2],[3,null]]", "\"{{1,2},{3,NULL}}\"")]);
    let times = list_of(TimestampSecondArray::from(vec![1_769_862_896]), "");
    check_values("", times, &[("[\"2026-01-31T12:34:56\"]", "\"{\"\"2026-01-31 12:34:56\"\"}\"")]);
    let documents = StringArray::from(vec!["{\"a\": 1}"]);
    let expect = [("[{\"a\": 1}]", "\"{\"\"{\\\"\"a\\\"\": 1}\"\"}\"")];
    check_values("_jsonb", list_of(documents.clone(), ""), &expect);
    check_values("jsonb[]", list_of(documents.clone(), ""), &expect);
    check_values("", list_of(documents.clone(), "jsonb"), &expect);
    check_values(
        "_jsonb",
        list_of(list_of(documents, ""), ""),
        &[("[[{\"a\": 1}]]", "\"{{\"\"{\\\"\"a\\\"\": 1}\"\"}}\"")],
    );
    check_values(
        "",
        list_of(BinaryArray::from(vec![&[0xde_u8][..]]), ""),
        &[("[\"\\\\xde\"]", "\"{\"\"\\\\xde\"\"}\"")],
    );
}

/// One list of all the items.
fn list_of(items: impl Array + 'static, pg_type: &str) -> ListArray {
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([items.len()]);
    ListArray::new(field("item", items.data_type(), pg_type).into(), offsets, Arc::new(items), None)
}

#[test]
fn structs_and_maps() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int32Array::from(vec![1]))),
        ("t", Arc::new(StringArray::from(vec!["a b"]))),
        ("e", Arc::new(StringArray::from(vec![""]))),
        ("n", Arc::new(StringArray::new_null(1))),
        ("q", Arc::new(StringArray::from(vec!["a\"b\\"]))),
        ("l", Arc::new(list_of(Int32Array::from(vec![1, 2]), ""))),
        ("b", Arc::new(BooleanArray::from(vec![true]))),
        ("i", Arc::new(Int32Array::from(vec![2]))),
    ];
    let fields: Vec<_> = columns.iter().map(|(name, array)| field(name, array.data_type(), "")).collect();
    let structs = StructArray::new(fields.into(), columns.into_iter().map(|(_, array)| array).collect(), None);
    let json = "{\"i\":1,\"t\":\"a b\",\"e\":\"\",\"n\":null,\"q\":\"a\\\"b\\\\\",\"l\":[1,2],\"b\":true,\"i_2\":2}";
    let csv = "(1,\"a b\",\"\",,\"a\"\"b\\\\\",\"{1,2}\",t,2)";
    check_values("", structs, &[(json, &format!("\"{}\"", csv.replace('"', "\"\"")))]);
    check_values("", StructArray::new_empty_fields(1, None), &[("{}", "()")]);

    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("a\"");
    map.values().append_value(1);
    map.keys().append_value("b");
    map.values().append_null();
    map.append(true).unwrap();
    map.append(false).unwrap();
    let expect = [("{\"a\\\"\":1,\"b\":null}", "\"{\"\"a\\\"\"\"\":1,\"\"b\"\":null}\""), ("null", "")];
    check_values("", map.finish(), &expect);
}

#[test]
fn dictionaries_runs_and_unions() {
    let dictionary: DictionaryArray<Int8Type> = [Some("x"), None, Some("y"), Some("x")].into_iter().collect();
    check_values("", dictionary, &[("\"x\"", "x"), ("null", ""), ("\"y\"", "y"), ("\"x\"", "x")]);
    let no_values = DictionaryArray::<Int8Type>::new(Int8Array::new_null(1), Arc::new(StringArray::new_null(0)));
    check_values("", no_values, &[("null", "")]);
    let null_value =
        DictionaryArray::<Int8Type>::new(vec![0, 1].into(), Arc::new(StringArray::from(vec![None, Some("z")])));
    check_values("", null_value, &[("null", ""), ("\"z\"", "z")]);
    let documents = DictionaryArray::<Int8Type>::new(vec![0].into(), Arc::new(StringArray::from(vec!["[1]"])));
    check_values("json", documents, &[("[1]", "[1]")]);

    let runs =
        RunArray::try_new(&Int32Array::from(vec![2, 3, 4]), &StringArray::from(vec![Some("x"), None, Some("y")]))
            .unwrap();
    check_values("", runs.slice(1, 3), &[("\"x\"", "x"), ("null", ""), ("\"y\"", "y")]);

    let fields = UnionFields::try_new(
        vec![3, 5],
        vec![field("int", &DataType::Int64, ""), field("doc", &DataType::Utf8, "json")],
    )
    .unwrap();
    let children: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), None, None])),
        Arc::new(StringArray::from(vec![None, Some("[1,2]"), None])),
    ];
    let union = UnionArray::try_new(fields, vec![3, 5, 3].into(), None, children).unwrap();
    check_values("", union, &[("1", "1"), ("[1,2]", "\"[1,2]\""), ("null", "")]);
}
