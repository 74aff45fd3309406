//! Dates and times as Postgres has them: differences in days and time, and moments in other time zones.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, IntervalMonthDayNanoArray, PrimitiveArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{
        DataType, DurationMicrosecondType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType,
    },
};
use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use datafusion::{
    common::{DataFusionError, Result, exec_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
    scalar::ScalarValue,
};

use crate::error::{Code, Error};

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;
/// What the difference of two timestamps becomes. A name of ours, which Postgres does not have.
pub(super) const DIFFERENCE: &str = "pilaster_difference";
/// `x AT TIME ZONE zone`, as Postgres's own function is called.
pub(super) const TIMEZONE: &str = "timezone";

/// Days and time, without months, as Postgres subtracts timestamps.
pub(super) fn difference() -> ScalarUDF {
    ScalarUDF::from(Difference { signature: Signature::user_defined(Volatility::Immutable) })
}

pub(super) fn timezone() -> ScalarUDF {
    ScalarUDF::from(Timezone { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Difference {
    signature: Signature,
}

impl ScalarUDFImpl for Difference {
    fn name(&self) -> &'static str {
        DIFFERENCE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, _: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![DataType::Duration(TimeUnit::Microsecond)])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = arguments.args.pop() else { return exec_err!("a difference is missing") };
        each(value, |values| {
            let durations = values.as_primitive::<DurationMicrosecondType>();
            let intervals: IntervalMonthDayNanoArray = durations
                .iter()
                .map(|duration| {
                    let microseconds = duration?;
                    let days = i32::try_from(microseconds / MICROSECONDS_PER_DAY).ok()?;
                    Some(IntervalMonthDayNano::new(0, days, microseconds % MICROSECONDS_PER_DAY * 1_000))
                })
                .collect();
            Ok(Arc::new(intervals))
        })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Timezone {
    signature: Signature,
}

impl ScalarUDFImpl for Timezone {
    fn name(&self) -> &'static str {
        TIMEZONE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let value = match types {
            [_, DataType::Timestamp(_, zone)] => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            // A date or a literal is a moment of the session's.
            [_, DataType::Date32 | DataType::Utf8 | DataType::Utf8View | DataType::Null] => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            _ => return plan_err!("timezone takes a zone and a timestamp"),
        };
        Ok(vec![DataType::Utf8View, value])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match types {
            [_, DataType::Timestamp(_, Some(_))] => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [zone, value] = arguments.args.as_slice() else { return exec_err!("timezone takes two arguments") };
        let leaves_zone = matches!(value.data_type(), DataType::Timestamp(_, Some(_)));
        let convert = |zone: Tz, microseconds: i64| -> Result<i64> {
            let Some(moment) = DateTime::from_timestamp_micros(microseconds) else {
                return exec_err!("timestamp out of range");
            };
            let moment = moment.naive_utc();
            let converted = if leaves_zone {
                moment + TimeDelta::seconds(zone.offset_from_utc_datetime(&moment).fix().local_minus_utc().into())
            } else {
                instant_of(zone, moment).naive_utc()
            };
            Ok(converted.and_utc().timestamp_micros())
        };
        let is_scalar = matches!((zone, value), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { arguments.number_rows };
        let values = value.clone().into_array(rows)?;
        let values = values.as_primitive::<TimestampMicrosecondType>();
        let converted: TimestampMicrosecondArray = match zone {
            ColumnarValue::Scalar(zone) => match zone.try_as_str().flatten() {
                Some(zone) => {
                    let zone = zone_of(zone)?;
                    values
                        .iter()
                        .map(|value| value.map(|value| convert(zone, value)).transpose())
                        .collect::<Result<_>>()?
                }
                None => PrimitiveArray::new_null(values.len()),
            },
            ColumnarValue::Array(zones) => {
                let zones = cast(zones, &DataType::Utf8View)?;
                let pairs = zones.as_string_view().iter().zip(values);
                pairs
                    .map(|pair| match pair {
                        (Some(zone), Some(value)) => convert(zone_of(zone)?, value).map(Some),
                        _ => Ok(None),
                    })
                    .collect::<Result<_>>()?
            }
        };
        let converted: ArrayRef =
            if leaves_zone { Arc::new(converted) } else { Arc::new(converted.with_timezone("UTC")) };
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&converted, 0)?));
        }
        Ok(ColumnarValue::Array(converted))
    }
}

/// In the hour that a clock shows twice the second is meant, in the hour that it skips the time before the jump goes on.
fn instant_of(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(moment) => moment.to_utc(),
        LocalResult::Ambiguous(_, second) => second.to_utc(),
        LocalResult::None => {
            let before = zone.offset_from_utc_datetime(&(local - TimeDelta::days(1))).fix();
            (local - TimeDelta::seconds(before.local_minus_utc().into())).and_utc()
        }
    }
}

fn zone_of(name: &str) -> Result<Tz> {
    Tz::from_str_insensitive(name).map_err(|_| {
        let error = Error::new(Code::InvalidValue, format!("time zone {name:?} not recognized"))
            .with_sqlstate("22023")
            .with_hint("use a name of the IANA database, for example Europe/Berlin");
        DataFusionError::External(Box::new(error))
    })
}

/// A function of arrays, over an array or one value.
fn each(value: ColumnarValue, work: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    match value {
        ColumnarValue::Array(values) => Ok(ColumnarValue::Array(work(&values)?)),
        ColumnarValue::Scalar(value) => {
            let one = work(&value.to_array_of_size(1)?)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_overlaps_are_postgress() {
        let check = |zone: &str, local: &str, expect: &str| {
            let local = NaiveDateTime::parse_from_str(local, "%Y-%m-%d %H:%M:%S").unwrap();
            let moment = instant_of(zone_of(zone).unwrap(), local);
            assert_eq!(moment.format("%Y-%m-%d %H:%M:%S").to_string(), expect, "{local} in {zone}");
        };
        check("Europe/Berlin", "2024-07-01 12:00:00", "2024-07-01 10:00:00");
        check("Europe/Berlin", "2024-03-31 02:30:00", "2024-03-31 01:30:00");
        check("Europe/Berlin", "2024-10-27 02:30:00", "2024-10-27 01:30:00");
        check("america/new_york", "2024-11-03 01:30:00", "2024-11-03 06:30:00");
        assert!(zone_of("Mars/Olympus").is_err());
    }
}
