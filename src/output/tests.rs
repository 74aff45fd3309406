//! What every format makes of every type. Expected texts are those of PostgreSQL 15 where Postgres has the type.

mod random;

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Date64Array,
        Decimal128Array, Decimal256Array, DictionaryArray, DurationSecondArray, FixedSizeBinaryArray,
        FixedSizeListArray, Float16Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
        Int64Builder, IntervalDayTimeArray, IntervalMonthDayNanoArray, IntervalYearMonthArray, LargeBinaryArray,
        LargeListViewArray, LargeStringArray, ListArray, ListViewArray, MapBuilder, NullArray, RecordBatch,
        RecordBatchOptions, RunArray, StringArray, StringBuilder, StringViewArray, StructArray, Time32MillisecondArray,
        Time32SecondArray, Time64MicrosecondArray, Time64NanosecondArray, TimestampMicrosecondArray,
        TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array,
        UInt32Array, UInt64Array, UnionArray,
    },
    compute::concat_batches,
    datatypes::{
        DataType, Field, Float16Type, Int8Type, Int32Type, Int64Type, IntervalDayTime, IntervalMonthDayNano, Schema,
        SchemaRef, UnionFields, i256,
    },
    ipc::reader::StreamReader,
};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::error::Code;

/// Encodes the batch at once and row by row, which must come to the same, and compares it.
#[track_caller]
fn check(format: Format, batch: &RecordBatch, expect: &str) {
    check_with(format, Options::default(), batch, expect);
}

#[track_caller]
fn check_with(format: Format, options: Options, batch: &RecordBatch, expect: &str) {
    let schema = batch.schema();
    let body = encode(format, options, &schema, std::slice::from_ref(batch)).unwrap();
    assert_eq!(std::str::from_utf8(&body).unwrap(), expect, "{format:?}");

    let mut encoder = StreamEncoder::new(format, options, &schema).unwrap();
    let mut streamed = encoder.start().unwrap().to_vec();
    for row in 0..batch.num_rows() {
        streamed.extend(encoder.batch(&batch.slice(row, 1)).unwrap());
    }
    streamed.extend(encoder.finish().unwrap());
    assert_eq!(String::from_utf8(streamed).unwrap(), expect, "{format:?} streamed");
}

fn field(name: &str, data_type: &DataType, pg_type: &str) -> Field {
    let metadata: HashMap<_, _> = match pg_type {
        "" => HashMap::new(),
        name => [(PG_TYPE_KEY.to_owned(), name.to_owned())].into(),
    };
    Field::new(name, data_type.clone(), true).with_metadata(metadata)
}

/// Columns given by name, Postgres type (or nothing) and array.
fn batch(columns: Vec<(&str, &str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, pg_type, array)| field(name, array.data_type(), pg_type)).collect();
    let arrays = columns.into_iter().map(|(.., array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

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

#[test]
fn documents() {
    let columns: Vec<(&str, &str, ArrayRef)> = vec![
        ("month", "", Arc::new(TimestampMicrosecondArray::from(vec![0, 1]))),
        (
            "re\"venue",
            "",
            Arc::new(Decimal128Array::from(vec![Some(1250), None]).with_precision_and_scale(10, 2).unwrap()),
        ),
        ("sum", "", Arc::new(Int64Array::from(vec![i64::MAX, 2]))),
        ("sum", "", Arc::new(Int32Array::from(vec![3, 4]))),
        ("doc", "jsonb", Arc::new(StringViewArray::from(vec!["{}", "[]"]))),
        ("tags", "_text", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)]), None]))),
        ("text_numeric", "numeric", Arc::new(StringArray::from(vec!["1.5", "NaN"]))),
    ];
    let batch = batch(columns);
    let meta = "{\"meta\":[{\"name\":\"month\",\"type\":\"timestamp\"},{\"name\":\"re\\\"venue\",\"type\":\"numeric\"},\
        {\"name\":\"sum\",\"type\":\"int8\"},{\"name\":\"sum_2\",\"type\":\"int4\"},{\"name\":\"doc\",\"type\":\"jsonb\"},\
        {\"name\":\"tags\",\"type\":\"text[]\"},{\"name\":\"text_numeric\",\"type\":\"numeric\"}],\"data\":[";
    let native = "{\"month\":\"1970-01-01T00:00:00\",\"re\\\"venue\":12.50,\"sum\":9223372036854775807,\"sum_2\":3,\"doc\":{},\
        \"tags\":[1],\"text_numeric\":1.5},\
        {\"month\":\"1970-01-01T00:00:00.000001\",\"re\\\"venue\":null,\"sum\":2,\"sum_2\":4,\"doc\":[],\
        \"tags\":null,\"text_numeric\":\"NaN\"}";
    check(Format::Json, &batch, &format!("{meta}{native}],\"rows\":2}}"));
    let quoted = native
        .replace("12.50", "\"12.50\"")
        .replace("9223372036854775807", "\"9223372036854775807\"")
        .replace("\"sum\":2", "\"sum\":\"2\"")
        .replace("[1]", "[\"1\"]")
        .replace(":1.5", ":\"1.5\"");
    let options = Options { numbers: Numbers::String };
    check_with(Format::Json, options, &batch, &format!("{meta}{quoted}],\"rows\":2}}"));
    check_with(Format::NdJson, options, &batch, &format!("{}\n", quoted.replace("},{\"month", "}\n{\"month")));
    let csv = "month,\"re\"\"venue\",sum,sum,doc,tags,text_numeric\n\
        1970-01-01 00:00:00,12.50,9223372036854775807,3,{},{1},1.5\n\
        1970-01-01 00:00:00.000001,,2,4,[],,NaN\n";
    check(Format::Csv, &batch, csv);
    check(Format::Json, &batch.slice(0, 0), &format!("{meta}],\"rows\":0}}"));
    check(Format::NdJson, &batch.slice(0, 0), "");
}

#[test]
fn no_columns() {
    let options = RecordBatchOptions::new().with_row_count(Some(2));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    check(Format::Json, &batch, "{\"meta\":[],\"data\":[{},{}],\"rows\":2}");
    check(Format::NdJson, &batch, "{}\n{}\n");
    check(Format::Csv, &batch, "\n\n\n");
    check(Format::Json, &batch.slice(0, 0), "{\"meta\":[],\"data\":[],\"rows\":0}");
    assert_eq!(read_back(Format::Arrow, &batch).num_rows(), 2);
    assert_eq!(read_back(Format::Parquet, &batch).num_columns(), 0);
    assert_eq!(table(&batch.schema(), &[batch], Some(80)).unwrap(), "\n\n\n\n(2 rows)\n");
}

/// The result of reading what `encode` wrote, with the schema that was read.
fn read_back(format: Format, batch: &RecordBatch) -> RecordBatch {
    let body = encode(format, Options::default(), &batch.schema(), std::slice::from_ref(batch)).unwrap();
    read(format, body)
}

fn read(format: Format, body: Bytes) -> RecordBatch {
    let (schema, batches): (SchemaRef, Vec<RecordBatch>) = match format {
        Format::Arrow => {
            let reader = StreamReader::try_new(&body[..], None).unwrap();
            (reader.schema(), reader.map(Result::unwrap).collect())
        }
        _ => {
            let builder = ParquetRecordBatchReaderBuilder::try_new(body).unwrap();
            (SchemaRef::clone(builder.schema()), builder.build().unwrap().map(Result::unwrap).collect())
        }
    };
    concat_batches(&schema, &batches).unwrap()
}

#[test]
fn views_and_duplicates_become_what_readers_know() {
    let views = StringViewArray::from(vec![Some("a"), None, Some("a text that is not short at all")]);
    let bytes = BinaryViewArray::from(vec![Some(&b"a"[..]), None, None]);
    let run_ends = Int32Array::from(vec![1, 3]);
    let runs = RunArray::try_new(&run_ends, &StringViewArray::from(vec!["p", "q"])).unwrap();
    let dictionary =
        DictionaryArray::<Int32Type>::new(vec![0, 0, 1].into(), Arc::new(StringViewArray::from(vec!["d", "e"])));
    let batch = batch(vec![
        ("t", "varchar", Arc::new(views.clone())),
        ("t", "", Arc::new(bytes)),
        (
            "list",
            "",
            Arc::new(ListViewArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None, Some(vec![])])),
        ),
        (
            "views",
            "_text",
            Arc::new(ListArray::new(
                field("item", &DataType::Utf8View, "text").into(),
                arrow::buffer::OffsetBuffer::from_lengths([1, 0, 2]),
                Arc::new(views),
                None,
            )),
        ),
        ("runs", "", Arc::new(runs)),
        ("dictionary", "", Arc::new(dictionary)),
    ]);
    for format in [Format::Arrow, Format::Parquet] {
        let read = read_back(format, &batch);
        let schema = read.schema();
        assert_eq!(schema.field(0), &field("t", &DataType::Utf8, "varchar"), "{format:?}");
        assert_eq!(schema.field(1).data_type(), &DataType::Binary);
        assert_eq!(schema.field(1).name(), if format == Format::Parquet { "t_2" } else { "t" });
        assert!(matches!(schema.field(2).data_type(), DataType::List(_)));
        assert!(matches!(schema.field(3).data_type(), DataType::List(item) if item.data_type() == &DataType::Utf8));
        let csv = |batch: &RecordBatch| {
            let body = encode(Format::Csv, Options::default(), &batch.schema(), std::slice::from_ref(batch)).unwrap();
            String::from_utf8(body.to_vec()).unwrap().split_once('\n').unwrap().1.to_owned()
        };
        assert_eq!(csv(&read), csv(&batch), "{format:?}");
    }
}

#[test]
fn parquet_holds_intervals_as_text() {
    let day = IntervalMonthDayNano::new(0, 1, 0);
    let batch = batch(vec![
        ("i", "", Arc::new(IntervalMonthDayNanoArray::from(vec![Some(day), None]))),
        (
            "l",
            "",
            Arc::new(ListArray::new(
                field("item", &DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano), "").into(),
                arrow::buffer::OffsetBuffer::from_lengths([1, 1]),
                Arc::new(IntervalMonthDayNanoArray::from(vec![Some(day), None])),
                None,
            )),
        ),
        ("d", "", Arc::new(DurationSecondArray::from(vec![1, 2]))),
        ("s", "", Arc::new(StructArray::new_empty_fields(2, None))),
    ]);
    let read = read_back(Format::Parquet, &batch);
    let expect = [
        ("interval", "1 day", None),
        ("interval[]", "{\"1 day\"}", Some("{NULL}")),
        ("interval", "00:00:01", Some("00:00:02")),
        ("record", "()", Some("()")),
    ];
    for (column, (pg_type, first, second)) in expect.into_iter().enumerate() {
        assert_eq!(postgres_type_name(read.schema().field(column)), pg_type);
        let texts: Vec<_> = read.column(column).as_string::<i32>().iter().collect();
        assert_eq!(texts, [Some(first), second]);
    }
    assert_eq!(read_back(Format::Arrow, &batch), batch);
}

#[test]
fn parquet_streams_row_group_by_row_group() {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let mut encoder = StreamEncoder::new(Format::Parquet, Options::default(), &schema).unwrap();
    let mut body = encoder.start().unwrap().to_vec();
    let mut early = 0;
    let mut state = 1_i64;
    for _ in 0..60 {
        let noise = (0..100_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state
        });
        let batch =
            RecordBatch::try_new(SchemaRef::clone(&schema), vec![Arc::new(Int64Array::from_iter_values(noise))])
                .unwrap();
        let part = encoder.batch(&batch).unwrap();
        early += part.len();
        body.extend(part);
    }
    assert!(early > 20_000_000, "{early} bytes of 48 million were written before the end");
    body.extend(encoder.finish().unwrap());
    assert_eq!(read(Format::Parquet, body.into()).num_rows(), 6_000_000);
}

#[test]
fn what_cannot_be_written_is_refused_at_once() {
    let zone = Schema::new(vec![Field::new(
        "at",
        DataType::Timestamp(arrow::datatypes::TimeUnit::Second, Some("Nowhere".into())),
        true,
    )]);
    let zone = Arc::new(zone);
    for format in Format::ALL {
        let error = StreamEncoder::new(format, Options::default(), &zone).unwrap_err();
        assert_eq!(error.code(), Code::InvalidValue);
        assert_eq!(error.message(), "column \"at\": time zone \"Nowhere\" not recognized");
    }
    let integers = batch(vec![("n", "", Arc::new(Int32Array::from(vec![1])))]);
    let texts = batch(vec![("n", "", Arc::new(StringArray::from(vec!["1"])))]);
    for format in Format::ALL {
        let error = encode(format, Options::default(), &integers.schema(), std::slice::from_ref(&texts)).unwrap_err();
        assert_eq!(error.code(), Code::Internal, "{format:?}");
    }
}

#[test]
fn tables_are_aligned_as_psql_does() {
    let batch = batch(vec![
        ("id", "", Arc::new(Int32Array::from(vec![1, 22]))),
        ("name", "", Arc::new(StringArray::from(vec!["abc", "x\ny"]))),
        ("amount", "", Arc::new(StringArray::from(vec!["日本", "é\u{1b}[31m\tz"]))),
        ("n", "", Arc::new(StringArray::from(vec![None, Some("z")]))),
    ]);
    let expect = "\x20id | name |      amount       | n
----+------+-------------------+---
  1 | abc  | 日本              |
 22 | x   +| é\\x1B[31m       z | z
    | y    |                   |
(2 rows)
";
    assert_eq!(table(&batch.schema(), std::slice::from_ref(&batch), None).unwrap(), expect);
    let records = "\
-[ RECORD 1 ]
id     | 1
name   | abc
amount | 日本
n      |
-[ RECORD 2 ]
id     | 22
name   | x+
       | y
amount | é\\x1B[31m       z
n      | z
(2 rows)
";
    assert_eq!(table(&batch.schema(), std::slice::from_ref(&batch), Some(30)).unwrap(), records);
    assert_eq!(
        table(&batch.schema(), &[], Some(3)).unwrap(),
        " id | name | amount | n\n----+------+--------+---\n(0 rows)\n"
    );
    let one = batch.slice(0, 1).project(&[0]).unwrap();
    assert_eq!(table(&one.schema(), &[one], None).unwrap(), " id\n----\n  1\n(1 row)\n");
}
