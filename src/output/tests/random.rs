//! Random batches: JSON that reads back equal, bodies that do not depend on how they were cut, and round trips.

use arrow::array::cast::AsArray;
use std::str::FromStr;

use proptest::{collection::vec, option, prelude::*};
use serde_json::Value;

use super::*;

const COLUMNS: usize = 8;

prop_compose! {
    /// Batches of one schema with columns of each kind, sliced so that offsets are not zero.
    fn random_batch()(rows in 0..40_usize)(
        integers in vec(option::of(any::<i64>()), rows),
        numerics in vec(option::of(-10_i128.pow(38) + 1..10_i128.pow(38)), rows),
        scale in 0..=38_i8,
        floats in vec(option::of(any::<f64>()), rows),
        texts in vec(option::of(any::<String>()), rows),
        instants in vec(option::of(any::<i64>()), rows),
        bytes in vec(option::of(vec(any::<u8>(), 0..20)), rows),
        lists in vec(option::of(vec(option::of(any::<String>()), 0..4)), rows),
        keys in vec(option::of(0..3_i8), rows),
        skip in 0..=rows,
    ) -> RecordBatch {
        let mut builder = arrow::array::ListBuilder::new(StringBuilder::new());
        for list in lists {
            builder.append_option(list);
        }
        let dictionary = DictionaryArray::<Int8Type>::new(
            Int8Array::from(keys),
            Arc::new(StringArray::from(vec![Some("one"), None, Some("three\"")])),
        );
        let columns: Vec<(&str, &str, ArrayRef)> = vec![
            ("integer", "", Arc::new(Int64Array::from(integers))),
            ("numeric", "", Arc::new(Decimal128Array::from(numerics).with_precision_and_scale(38, scale).unwrap())),
            ("float", "", Arc::new(Float64Array::from(floats))),
            ("te\"xt\n", "", Arc::new(StringViewArray::from_iter(texts))),
            ("instant", "", Arc::new(TimestampMicrosecondArray::from(instants).with_timezone("America/New_York"))),
            ("bytes", "", Arc::new(BinaryArray::from_iter(bytes))),
            ("list", "", Arc::new(builder.finish())),
            ("dictionary", "", Arc::new(dictionary)),
        ];
        let batch = batch(columns);
        batch.slice(skip, batch.num_rows() - skip)
    }
}

fn encoded(format: Format, batches: &[RecordBatch], schema: &SchemaRef) -> Bytes {
    encode(format, Options::default(), schema, batches).unwrap()
}

fn text_or_null(value: Option<&str>) -> Value {
    value.map_or(Value::Null, Value::from)
}

fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn json_reads_back_equal(batch in random_batch()) {
        let body = encoded(Format::Json, std::slice::from_ref(&batch), &batch.schema());
        let body: Value = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(&body["rows"], &Value::from(batch.num_rows()));
        prop_assert_eq!(body["meta"].as_array().unwrap().len(), COLUMNS);
        let rows = body["data"].as_array().unwrap();
        prop_assert_eq!(rows.len(), batch.num_rows());
        for (at, row) in rows.iter().enumerate() {
            let row: Vec<(&String, &Value)> = row.as_object().unwrap().iter().collect();
            prop_assert_eq!(row.len(), COLUMNS);
            for (place, (name, value)) in row.into_iter().enumerate() {
                let array = batch.column(place);
                prop_assert_eq!(name, batch.schema_ref().field(place).name());
                if array.is_null(at) {
                    prop_assert_eq!(value, &Value::Null);
                    continue;
                }
                match place {
                    0 => prop_assert_eq!(value.as_i64(), Some(array.as_primitive::<Int64Type>().value(at))),
                    1 => {
                        let numerics = array.as_primitive::<arrow::datatypes::Decimal128Type>();
                        prop_assert_eq!(value.to_string(), numerics.value_as_string(at));
                    }
                    2 => {
                        let float = array.as_primitive::<arrow::datatypes::Float64Type>().value(at);
                        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                        prop_assert_eq!(bits(text.parse().unwrap()), bits(float));
                        prop_assert_eq!(value.is_string(), !float.is_finite());
                    }
                    3 => prop_assert_eq!(value, &text_or_null(Some(array.as_string_view().value(at)))),
                    4 => prop_assert!(value.as_str().unwrap().contains('T')),
                    5 => {
                        let bytes = array.as_binary::<i32>().value(at);
                        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                        prop_assert_eq!(value, &Value::from(format!("\\x{hex}")));
                    }
                    6 => {
                        let items = array.as_list::<i32>().value(at);
                        let items: Vec<Value> = items.as_string::<i32>().iter().map(text_or_null).collect();
                        prop_assert_eq!(value, &Value::from(items));
                    }
                    _ => {
                        let dictionary = array.as_dictionary::<Int8Type>();
                        let text = dictionary.downcast_dict::<StringArray>().unwrap().into_iter().nth(at).unwrap();
                        prop_assert_eq!(value, &text_or_null(text));
                    }
                }
            }
        }
    }

    /// In the years that both know, chrono shows an instant alike.
    #[test]
    fn instants_agree_with_chrono(micros in -62_000_000_000_000_000..4_102_444_800_000_000_i64) {
        let zone = arrow::array::timezone::Tz::from_str("Europe/Berlin").unwrap();
        let local = chrono::DateTime::from_timestamp_micros(micros).unwrap().with_timezone(&zone);
        let array = TimestampMicrosecondArray::from(vec![micros]).with_timezone("Europe/Berlin");
        let batch = batch(vec![("c", "", Arc::new(array))]);
        let body = encoded(Format::Csv, std::slice::from_ref(&batch), &batch.schema());
        let text = std::str::from_utf8(&body).unwrap().trim_end().strip_prefix("c\n").unwrap();
        let whole = local.format("%Y-%m-%d %H:%M:%S").to_string();
        prop_assert!(text.starts_with(&whole), "{} is not {}", text, whole);
    }

    /// Text formats do not depend on how rows came in batches; binary ones read back the same.
    #[test]
    fn bodies_do_not_depend_on_batches(batch in random_batch(), cuts in vec(0..40_usize, 0..5)) {
        let schema = batch.schema();
        let rows = batch.num_rows();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows)).chain([0, rows]).collect();
        cuts.sort_unstable();
        let parts: Vec<RecordBatch> = cuts.windows(2).map(|cut| batch.slice(cut[0], cut[1] - cut[0])).collect();
        for format in Format::ALL {
            let mut encoder = StreamEncoder::new(format, Options::default(), &schema).unwrap();
            let mut streamed = encoder.start().unwrap().to_vec();
            for part in &parts {
                streamed.extend(encoder.batch(part).unwrap());
            }
            streamed.extend(encoder.finish().unwrap());
            prop_assert_eq!(&streamed[..], &encoded(format, &parts, &schema)[..], "{:?}", format);
            if matches!(format, Format::Arrow | Format::Parquet) {
                let csv = |batch: &RecordBatch| encoded(Format::Csv, std::slice::from_ref(batch), &batch.schema());
                prop_assert_eq!(csv(&read(format, streamed.into())), csv(&batch));
            } else {
                let whole = encoded(format, std::slice::from_ref(&batch), &schema);
                prop_assert_eq!(&streamed[..], &whole[..], "{:?}", format);
            }
        }
    }

    /// Text columns hold anything, also under a type that promises JSON or a number.
    #[test]
    fn json_is_never_broken(
        texts in vec("[\\PC\\n\\r{}\\[\\]\":,0-9eE.+-]{0,12}", 1..20),
        pg_type in prop::sample::select(vec!["json", "numeric", "text"]),
    ) {
        let count = texts.len();
        let batch = batch(vec![("c", pg_type, Arc::new(StringArray::from(texts)))]);
        let body = encoded(Format::NdJson, std::slice::from_ref(&batch), &batch.schema());
        let lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
        prop_assert_eq!(lines.len(), count + 1);
        for line in &lines[..count] {
            let parsed = serde_json::from_slice::<Box<serde_json::value::RawValue>>(line);
            prop_assert!(parsed.is_ok(), "{}", String::from_utf8_lossy(line));
        }
    }
}
