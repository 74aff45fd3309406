//! When runs begin by themselves: a cron pattern in a time zone.

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;

use crate::error::{Code, Error, Result};

/// A cron pattern of five fields in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: Tz,
}

impl Schedule {
    /// Parses `0 3 * * *` in a zone of the IANA database.
    pub fn parse(pattern: &str, zone: &str) -> Result<Self> {
        let cron = pattern.parse::<Cron>().map_err(|error| {
            Error::new(Code::InvalidConfig, format!("snapshot.schedule {pattern:?} is not a cron pattern: {error}"))
                .with_hint(
                    "write minute, hour, day, month and weekday, for example \"0 3 * * *\" for three every night",
                )
        })?;
        let zone = zone.parse::<Tz>().map_err(|_| {
            Error::new(Code::InvalidConfig, format!("snapshot.timezone {zone:?} is not known"))
                .with_hint("use a name of the IANA database, for example Europe/Berlin")
        })?;
        Ok(Self { cron, zone })
    }

    /// The next time strictly after `now`; none for a pattern that never comes.
    #[must_use]
    pub fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = self.zone.from_utc_datetime(&now.naive_utc());
        self.cron.find_next_occurrence(&local, false).ok().map(|next| next.to_utc())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_run_is_in_the_zones_time() {
        let check = |pattern: &str, zone: &str, now: &str, expect: &str| {
            let schedule = Schedule::parse(pattern, zone).unwrap();
            let next = schedule.next_after(now.parse().unwrap()).unwrap();
            assert_eq!(next.to_rfc3339(), expect, "{pattern} in {zone} after {now}");
        };
        check("0 3 * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T03:00:00+00:00");
        check("0 3 * * *", "UTC", "2026-01-01T03:00:00Z", "2026-01-02T03:00:00+00:00");
        check("0 3 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z", "2026-07-01T01:00:00+00:00");
        // Half past two does not exist on the night when the clocks go forward, and comes once when they go back.
        check("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00+00:00");
        check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00+00:00");
        check("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00+00:00");
    }

    #[test]
    fn mistakes_are_said() {
        assert!(Schedule::parse("every night", "UTC").unwrap_err().message().contains("cron pattern"));
        assert!(Schedule::parse("0 3 * * *", "Mars/Olympus").unwrap_err().message().contains("Mars/Olympus"));
    }
}
