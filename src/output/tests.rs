//! What the formats make of whole results.

mod random;
mod values;

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
use crate::sql::PG_TYPE_KEY;

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
