//! The date of records that have only a time of day.

use jiff::civil::Date;

const HOUR: u32 = 3600;

/// The date of the last `#Date:`, and one day later after each midnight. Records are in order, except for less than an hour.
#[derive(Debug)]
pub(super) struct Day {
    /// `None` if the date has no known form. It is then the same for all records.
    date: Option<Date>,
    today: Vec<u8>,
    /// The day before, if midnight has passed.
    yesterday: Option<Vec<u8>>,
    /// The latest time of day of a record of today, in seconds.
    latest: u32,
}

impl Day {
    /// Reads the line `#Date: 2024-05-20 00:00:00`, or `#Date: 20-May-2024 00:00:00` as in the draft of the W3C.
    pub(super) fn of_line(line: &[u8]) -> Option<Self> {
        let date = line.strip_prefix(b"#Date:")?.trim_ascii();
        let today = date.split(u8::is_ascii_whitespace).next()?.to_vec();
        let read = |form| Date::strptime(form, &today).ok();
        Some(Self {
            date: read("%Y-%m-%d").or_else(|| read("%d-%b-%Y")),
            today,
            yesterday: None,
            latest: 0,
        })
    }

    pub(super) fn today(&self) -> &[u8] {
        &self.today
    }

    /// Returns the date of the next record, by its time of day.
    pub(super) fn date_at(&mut self, clock: &[u8]) -> &[u8] {
        let Some(second) = second_of_day(clock) else {
            return &self.today;
        };
        if second + HOUR < self.latest {
            if let Some(tomorrow) = self.date.and_then(|date| date.tomorrow().ok()) {
                let tomorrow_text = tomorrow.to_string().into_bytes();
                self.yesterday = Some(core::mem::replace(&mut self.today, tomorrow_text));
                self.date = Some(tomorrow);
                self.latest = second;
            }
        }
        match &self.yesterday {
            // A late record from before midnight.
            Some(yesterday) if second > self.latest + 23 * HOUR => yesterday,
            _ => {
                self.latest = self.latest.max(second);
                &self.today
            }
        }
    }
}

/// Reads `HH:MM:SS`, with or without a fraction.
fn second_of_day(clock: &[u8]) -> Option<u32> {
    let [h, hh, b':', m, mm, b':', s, ss, ..] = *clock.trim_ascii() else {
        return None;
    };
    let two = |tens: u8, ones: u8| {
        let is_number = tens.is_ascii_digit() && ones.is_ascii_digit();
        is_number.then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
    };
    Some(two(h, hh)? * HOUR + two(m, mm)? * 60 + two(s, ss)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_begins_next_day() {
        let mut day = Day::of_line(b"#Date: 2024-02-28 09:00:00").expect("a date");
        for (clock, date) in [
            ("09:00:00", "2024-02-28"),
            ("08:59:58.5", "2024-02-28"),
            ("23:59:59", "2024-02-28"),
            ("00:00:01", "2024-02-29"),
            ("23:59:59", "2024-02-28"),
            ("00:00:01", "2024-02-29"),
            ("-", "2024-02-29"),
            ("20:00:00", "2024-02-29"),
            ("08:00:00", "2024-03-01"),
        ] {
            assert_eq!(day.date_at(clock.as_bytes()), date.as_bytes(), "{clock}");
        }
    }

    #[test]
    fn date_of_unknown_form_stays() {
        let mut day = Day::of_line(b"#Date: 20240520").expect("a date");
        for clock in ["23:00:00", "00:00:01"] {
            assert_eq!(day.date_at(clock.as_bytes()), b"20240520");
        }
        assert!(Day::of_line(b"#Date:").is_none_or(|day| day.today().is_empty()));
        assert!(Day::of_line(b"#Fields: time").is_none());
    }
}
