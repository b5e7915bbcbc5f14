//! Delimited text: a header that names the columns, then one record for each request.

use std::io::BufRead;

use csv::{ByteRecord, ReaderBuilder};

use super::{BadLine, By, Collected, Options};
use crate::event::Event;
use crate::{Error, stamp, text};

/// The usual names of the column of stamps, the likeliest first.
const TIME_COLUMNS: [&str; 5] = ["time", "timestamp", "datetime", "date", "ts"];

/// The columns that matter, by their place.
#[derive(Debug)]
struct Columns {
    time: usize,
    key: Option<usize>,
    cost: Option<usize>,
    count: usize,
}

/// The place of `wanted` in a header: the column of just this name, else the first one that differs from
/// it in nothing but the case of its letters.
fn column<T: AsRef<[u8]>>(header: &[T], wanted: &str) -> Option<usize> {
    let at = |same: fn(&[u8], &[u8]) -> bool| {
        header
            .iter()
            .position(|name| same(name.as_ref().trim_ascii(), wanted.as_bytes()))
    };
    at(|name, wanted| name == wanted).or_else(|| at(<[u8]>::eq_ignore_ascii_case))
}

/// The place of the stamps in a header: the column named `wanted`, or else one of a usual name.
pub(super) fn time_column<T: AsRef<[u8]>>(header: &[T], wanted: Option<&str>) -> Option<usize> {
    match wanted {
        Some(wanted) => column(header, wanted),
        None => TIME_COLUMNS.iter().find_map(|usual| column(header, usual)),
    }
}

/// Reads all records. In text delimited by tabs a quote is a letter like any other.
pub(super) fn read(
    reader: impl BufRead,
    delimiter: u8,
    name: &str,
    options: &Options,
    collected: &mut Collected,
) -> Result<Vec<Event>, Error> {
    let failed = |error: csv::Error| Error::Read {
        path: name.to_owned(),
        source: error.into(),
    };
    let mut records = ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(delimiter == b',')
        .flexible(true)
        .from_reader(reader);
    let columns = columns(records.byte_headers().map_err(failed)?, name, options)?;
    let mut events = Vec::new();
    let mut record = ByteRecord::new();
    while records.read_byte_record(&mut record).map_err(failed)? {
        match event(&record, &columns) {
            Ok((time, cost)) => {
                let key = collected.keys.intern(columns.key.map_or(b"all", |key| &record[key]))?;
                events.push(Event { time, cost, key });
            }
            Err(_) if record.iter().all(|field| field.trim_ascii().is_empty()) => {}
            Err(reason) => {
                let line = record.position().map_or(0, csv::Position::line);
                // A quote that nobody closes makes one record of all the lines behind it.
                let lines = records.position().line().saturating_sub(line).max(1);
                let text = record.iter().collect::<Vec<_>>().join(&delimiter);
                collected.bad.add(name, line, lines, reason, &text);
            }
        }
    }
    Ok(events)
}

fn columns(header: &ByteRecord, name: &str, options: &Options) -> Result<Columns, Error> {
    let header: Vec<&[u8]> = header.iter().collect();
    let listed = || {
        header
            .iter()
            .map(|name| format!("`{}`", text::printable(name.trim_ascii(), 40)))
    };
    let listed = || listed().collect::<Vec<_>>().join(", ");
    let find = |wanted: &str| {
        let missing = || Error::NoColumn {
            path: name.to_owned(),
            wanted: wanted.to_owned(),
            columns: listed(),
        };
        column(&header, wanted).ok_or_else(missing)
    };
    let time = match &options.time {
        Some(wanted) => find(wanted)?,
        None => time_column(&header, None).ok_or_else(|| Error::NoTimeColumn {
            path: name.to_owned(),
            columns: listed(),
        })?,
    };
    let key = match &options.by {
        Some(By::Column(wanted)) => Some(find(wanted)?),
        Some(By::Ip) => Some(find("ip")?),
        Some(By::All) | None => None,
    };
    let cost = options.cost.as_deref().map(find).transpose()?;
    Ok(Columns {
        time,
        key,
        cost,
        count: header.len(),
    })
}

/// When a record asks, and for how much.
fn event(record: &ByteRecord, columns: &Columns) -> Result<(i64, u64), BadLine> {
    if record.len() != columns.count {
        return Err(BadLine::Fields {
            found: record.len(),
            expected: columns.count,
        });
    }
    let time = stamp::parse(&record[columns.time])?;
    let cost = columns.cost.map_or(Ok(1), |cost| parse_cost(&record[cost]))?;
    Ok((time, cost))
}

/// A number of cells. Past 64 bits it counts as the largest there is: no limit admits that many either.
fn parse_cost(field: &[u8]) -> Result<u64, BadLine> {
    let digits = field.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadLine::Cost);
    }
    let cell = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    Ok(digits.iter().try_fold(0, cell).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times in seconds and costs, the number of bad lines, and those lines as they would be shown.
    type Contents = (Vec<(i64, u64)>, u64, Vec<String>);

    fn read_text(text: &str, options: &Options) -> Result<Contents, String> {
        let delimiter = if text.contains('\t') { b'\t' } else { b',' };
        let mut collected = Collected::default();
        let events = read(text.as_bytes(), delimiter, "f", options, &mut collected).map_err(|e| e.to_string())?;
        let events = events
            .iter()
            .map(|event| (event.time / 1_000_000_000, event.cost))
            .collect();
        let quoted = collected.bad.quoted().iter().map(ToString::to_string).collect();
        Ok((events, collected.bad.count(), quoted))
    }

    fn cost() -> Options {
        Options {
            cost: Some("cost".to_owned()),
            ..Options::default()
        }
    }

    #[test]
    fn records_are_read_by_the_names_of_their_columns() {
        for text in [
            "cost,key,time\n7,a,1\n0,b,2\n",
            "\u{feff}Cost, KEY ,TIMESTAMP\r\n7,a,1\r\n\r\n0,b,2",
            "a\tts\tcost\n\t1\t7\n\"\t2\t0\n",
            "\"a,\n\"\"b\",date,cost\n\"x,\ny\",1,7\nz,2, 0 \n",
            "time,Time,COST,cost\n1,x,x,7\n2,x,x,0\n",
        ] {
            assert_eq!(
                read_text(text, &cost()),
                Ok((vec![(1, 7), (2, 0)], 0, vec![])),
                "{text}"
            );
        }
    }

    #[test]
    fn a_cost_is_any_whole_number() {
        let text = "time,cost\n1,4294967295\n2,4294967296\n3,18446744073709551616\n4,-1\n5,1.5\n6,\n7,+1\n";
        let (events, bad, _) = read_text(text, &cost()).expect("three good lines");
        assert_eq!(events, [(1, 4_294_967_295), (2, 4_294_967_296), (3, u64::MAX)]);
        assert_eq!(bad, 4);
    }

    #[test]
    fn bad_records_are_told_with_their_lines() {
        let text = "time,key\n1,a\n\n,\nx,a\n2\n3,a,b\n4,\"b\nc\",d\n5,a\n";
        let (events, bad, quoted) = read_text(text, &Options::default()).expect("two good lines");
        assert_eq!(events, [(1, 1), (5, 1)]);
        assert_eq!(bad, 5);
        let unknown = "the stamp is neither Unix seconds, nor RFC 3339, nor YYYY-MM-DD HH:MM:SS";
        assert_eq!(
            quoted,
            [
                format!("f:5: {unknown}: `x,a`"),
                "f:6: the header has 2 fields, this has 1: `2`".to_owned(),
                "f:7: the header has 2 fields, this has 3: `3,a,b`".to_owned(),
                "f:8: the header has 2 fields, this has 3: `4,b\\nc,d`".to_owned(),
            ]
        );
    }

    #[test]
    fn lines_behind_a_quote_that_nobody_closes_are_counted() {
        let text = "time,key\n1,a\n2,\"b,3\n3,a,\n4,a\n5,a\n";
        let (events, _, _) = read_text(text, &Options::default()).expect("good lines");
        assert_eq!(events, [(1, 1), (2, 1)]);
        let text = "key,time\na,1\n\"b,2\na,3\na,4\n";
        let (events, bad, _) = read_text(text, &Options::default()).expect("a good line");
        assert_eq!((events, bad), (vec![(1, 1)], 3));
    }

    #[test]
    fn a_missing_column_is_told_with_those_there_are() {
        let error = |text, options: &Options| read_text(text, options).expect_err("a column is missing");
        let columns = "the columns are `when`, `user`";
        assert_eq!(
            error("when,user\n1,a\n", &Options::default()),
            format!("f: no column has a usual name for the time; {columns}: name one with --time")
        );
        let mut options = Options {
            time: Some("when".to_owned()),
            ..cost()
        };
        assert_eq!(
            error("when,user\n", &options),
            format!("f: there is no column `cost`; {columns}")
        );
        options.by = Some(By::Ip);
        assert_eq!(
            error("when,user\n", &options),
            format!("f: there is no column `ip`; {columns}")
        );
    }
}
