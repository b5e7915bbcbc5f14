//! Reads requests from named values: the columns of a table, the fields of a JSON object, the groups of a pattern.

use memchr::memmem;

use super::duration::{Took, started};
use super::keying::{Keying, Value};
use super::names;
use super::request_line;
use super::{Options, Request, TimeIs};
use crate::bad::BadLine;
use crate::by::By;
use crate::select::Select;
use crate::stamp::{Grain, Stamps};
use crate::{Error, address, text};

/// The place of a part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyPart {
    /// No place: all requests share it.
    All,
    /// The value at this place.
    Value(usize),
    /// The path of the address at this place, without its query.
    Path(usize),
    /// The path of the request line at this place.
    PathOf(usize),
    /// The method of the request line at this place.
    MethodOf(usize),
    /// The forwarded list, and the peer.
    Forwarded(Option<usize>, Option<usize>),
}

/// The places of the values that are read, and how to read them.
#[derive(Debug)]
pub(super) struct Columns {
    /// The place of the time; or the places of the date and of the time of day.
    time: (usize, Option<usize>),
    /// The place of the offset of the time from UTC.
    offset: Option<usize>,
    /// True if the name of the time is unusual, and its values were the only times.
    is_time_by_values: bool,
    parts: Vec<KeyPart>,
    cost: Option<usize>,
    plan: Option<usize>,
    duration: Option<(usize, Took)>,
    stamps: Stamps,
    grain: Grain,
    keying: Keying,
    select: Select,
    /// The parts that the conditions of `select` compare.
    compared: Vec<KeyPart>,
    joined: Vec<u8>,
}

/// The names of an input, and a few records, from which the places are chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeaderSample<'a> {
    /// The name of the input in messages.
    pub(super) input: &'a str,
    /// The kind of the names: `column`.
    pub(super) called: &'static str,
    /// The format that the input was taken for, with an article if it has one.
    pub(super) format: &'static str,
    pub(super) names: &'a [Vec<u8>],
    pub(super) samples: &'a [Vec<Vec<u8>>],
    /// The key if none is asked for.
    pub(super) default: &'a By,
}

impl Columns {
    /// Finds the places of all values that the options ask for.
    ///
    /// # Errors
    ///
    /// [`Error::NoColumn`] or [`Error::NoTimeColumn`], with the names in the header.
    pub(super) fn find(header: &HeaderSample<'_>, options: &Options) -> Result<Self, Error> {
        let no_column = |wanted: String, advice| Error::NoColumn {
            path: header.input.to_owned(),
            called: header.called,
            format: header.format,
            wanted,
            advice,
            columns: header.list(options),
        };
        let named = |wanted: &str| names::place(header.names, wanted).ok_or_else(|| no_column(wanted.to_owned(), ""));
        let time = match &options.time {
            Some(wanted) => match wanted.split_once('+') {
                Some((date, time)) if names::place(header.names, wanted).is_none() => {
                    (named(date)?, Some(named(time)?))
                }
                _ => (named(wanted)?, None),
            },
            None => header.time(options).ok_or_else(|| Error::NoTimeColumn {
                path: header.input.to_owned(),
                called: header.called,
                format: header.format,
                columns: header.list(options),
            })?,
        };
        let offset = if options.time.is_none() {
            header.offset(time, options)
        } else {
            None
        };
        let is_of = |name: &&str| names::place(header.names, name) == Some(time.0);
        let of_request = names::TIME.iter().chain(names::DATE_AND_TIME.as_flattened());
        let is_usual = of_request.chain(&names::TIME_OF_RECORD).any(is_of);
        let is_time_by_values = options.time.is_none() && !is_usual;
        let by = options.by.clone().unwrap_or_else(|| header.default.clone());
        let part = |part: &By| match part {
            By::All => Ok(KeyPart::All),
            By::Column(name) => named(name).map(KeyPart::Value),
            part => header
                .part(part)
                .ok_or_else(|| no_column(part.to_string(), ": name one with --key, or say --by all")),
        };
        let duration = match &options.duration {
            Some(wanted) => Some(duration(wanted, header.input, named)?),
            None if options.time_is == TimeIs::End => Some(header.duration().ok_or_else(|| Error::NoDuration {
                path: header.input.to_owned(),
            })?),
            None => None,
        };
        Ok(Self {
            time,
            offset,
            is_time_by_values,
            parts: by.parts().iter().map(part).collect::<Result<_, _>>()?,
            cost: options.cost.as_deref().map(named).transpose()?,
            plan: options.plan.as_deref().map(named).transpose()?,
            duration: duration.filter(|_| options.time_is != TimeIs::Start),
            stamps: Stamps::new(options.stamps.clone()),
            grain: Grain::default(),
            keying: Keying::new(by, options),
            compared: options
                .select
                .only
                .iter()
                .map(|condition| part(condition.subject()))
                .collect::<Result<_, _>>()?,
            select: options.select.clone(),
            joined: Vec::new(),
        })
    }

    /// Returns whether the value at this place is read.
    pub(super) fn uses(&self, place: usize) -> bool {
        let is_of = |part: &KeyPart| match part {
            KeyPart::All => false,
            KeyPart::Value(at) | KeyPart::Path(at) | KeyPart::PathOf(at) | KeyPart::MethodOf(at) => *at == place,
            KeyPart::Forwarded(list, peer) => [*list, *peer].contains(&Some(place)),
        };
        self.time.0 == place
            || [
                self.time.1,
                self.offset,
                self.cost,
                self.plan,
                self.duration.map(|(at, _)| at),
            ]
            .contains(&Some(place))
            || self.parts.iter().chain(&self.compared).any(is_of)
    }

    pub(super) fn by(&self) -> &By {
        self.keying.by()
    }

    /// Returns the request with these values; a missing value is `None`.
    #[inline]
    pub(super) fn request<'a>(&'a mut self, value: impl Fn(usize) -> Option<&'a [u8]>) -> Result<Request<'a>, BadLine> {
        let stamp = value(self.time.0).ok_or(BadLine::NoTime)?;
        let mut time = match (self.time.1, self.offset) {
            (None, None) => self.stamps.parse(stamp)?,
            (clock, offset) => {
                self.joined.clear();
                self.joined.extend_from_slice(stamp.trim_ascii());
                if let Some(clock) = clock {
                    self.joined.push(b' ');
                    self.joined
                        .extend_from_slice(value(clock).ok_or(BadLine::NoTime)?.trim_ascii());
                }
                if let Some(offset) = offset.and_then(&value) {
                    self.joined.push(b' ');
                    self.joined.extend_from_slice(offset.trim_ascii());
                }
                self.stamps.parse(&self.joined)?
            }
        };
        if let Some((at, unit)) = self.duration {
            let text = value(at).unwrap_or_default();
            self.grain.see(time);
            let took = match text.trim_ascii() {
                b"" | b"-" => 0,
                text => unit.ns(text).ok_or(BadLine::Duration)?,
            };
            time = started(time, took, self.grain.resolution().unwrap_or_default());
        }
        let (compared, keying) = (&self.compared, &self.keying);
        let is_selected = self.select.has_time(time)
            && self.select.has(|at, _| match compared.get(at)? {
                KeyPart::Forwarded(list, peer) => {
                    keying.client(list.and_then(&value).unwrap_or_default(), peer.and_then(&value))
                }
                part => text_of(part, &value),
            });
        if !is_selected {
            return Ok(Request::unselected(time));
        }
        let cost = match self.cost {
            None => 1,
            Some(at) => parse_cost(value(at).unwrap_or_default())?,
        };
        let parts = &self.parts;
        let key = self.keying.key(|at, _| match parts.get(at)? {
            KeyPart::Forwarded(list, peer) => {
                let list = list.and_then(&value).unwrap_or_default();
                Some(Value::Forwarded(list, peer.and_then(&value)))
            }
            part => text_of(part, &value).map(Value::Text),
        })?;
        Ok(Request {
            time,
            cost,
            key,
            plan: self.plan.map(|at| value(at).unwrap_or_default()),
            is_selected: true,
        })
    }

    /// Returns the notices that belong in the report: assumed units and networks, moved requests.
    pub(super) fn notices(&self, names: &[Vec<u8>], input: &str) -> Vec<String> {
        let mut notices = Vec::new();
        let name = |at: usize| text::printable(names.get(at).map_or(&[], |name| name), 40);
        if let Some(unit) = self.stamps.unix_unit() {
            notices.push(format!("{input}: `{}` is read as {unit}", name(self.time.0)));
        }
        if self.is_time_by_values {
            let name = name(self.time.0);
            notices.push(format!(
                "{input}: `{name}` is taken for the time, as its values are the only times (--time names another)"
            ));
        }
        if let Some((at, _)) = self.duration {
            notices.push(format!(
                "{input}: requests are moved back by `{}` to their start",
                name(at)
            ));
        }
        if let Some([reason, condition]) = names::of_several_lines(names).filter(|_| self.select.only.is_empty()) {
            notices.push(format!("{input}: {reason} (--only {condition} replays the requests)"));
        }
        notices.extend(super::assumptions(&self.stamps, self.is_named_utc(names), &self.keying));
        notices
    }

    /// Returns whether the name of the stamps contains the word UTC or GMT: `StartUTC`, `TimeGenerated [UTC]`, `time_utc`, but not `outcome_time`.
    fn is_named_utc(&self, names: &[Vec<u8>]) -> bool {
        let name = names
            .get(self.time.1.unwrap_or(self.time.0))
            .map_or(&[][..], |name| name);
        let has = |zone: &[u8; 3]| name.windows(3).any(|part| part == zone);
        let mut words = name.split(|byte| !byte.is_ascii_alphabetic());
        [b"UTC", b"Utc", b"GMT", b"Gmt"].into_iter().any(has) || words.any(|word| word == b"utc" || word == b"gmt")
    }
}

/// Returns the text of a part, unless it is chosen from forwarded addresses.
#[inline]
fn text_of<'a>(part: &KeyPart, value: impl Fn(usize) -> Option<&'a [u8]>) -> Option<&'a [u8]> {
    match part {
        KeyPart::All | KeyPart::Forwarded(..) => None,
        KeyPart::Value(at) => value(*at).map(<[u8]>::trim_ascii),
        KeyPart::Path(at) => value(*at).map(|target| request_line::target_path(target.trim_ascii())),
        KeyPart::PathOf(at) => value(*at).map(request_line::path),
        KeyPart::MethodOf(at) => value(*at).map(request_line::method),
    }
}

/// Returns the stamp in a record: the value at a place, or a date and a time of day.
fn stamp_in(record: &[Vec<u8>], (date, clock): (usize, Option<usize>)) -> Vec<u8> {
    let value = |at: usize| record.get(at).map_or(&[][..], |value| value).trim_ascii();
    let values: Vec<&[u8]> = [date].into_iter().chain(clock).map(value).collect();
    values.join(&b' ')
}

impl HeaderSample<'_> {
    /// Returns the column of stamps: of the columns with a usual name, the first whose values are times, since a column `time` may hold durations.
    fn time(&self, options: &Options) -> Option<(usize, Option<usize>)> {
        let places = names::places(self.names, names::TIME);
        let mut stamps = Stamps::new(options.stamps.clone());
        let mut are_times = |at: usize, clock: Option<usize>| {
            let times = self
                .samples
                .iter()
                .filter(|record| stamps.parse(&stamp_in(record, (at, clock))).is_ok());
            times.count() * 2 > self.samples.len()
        };
        let mut first = None;
        for at in places {
            first = first.or(Some((at, None)));
            if are_times(at, None) {
                return Some((at, None));
            }
        }
        let mut pairs = names::DATE_AND_TIME.iter().filter_map(|[date, clock]| {
            let (date, clock) = (names::place(self.names, date)?, names::place(self.names, clock)?);
            (self.samples.is_empty() || are_times(date, Some(clock))).then_some((date, Some(clock)))
        });
        let pair = pairs.next();
        let of_record = || names::places(self.names, &names::TIME_OF_RECORD).find(|&at| are_times(at, None));
        let other = || self.time_by_values(options).or_else(of_record).map(|at| (at, None));
        pair.or_else(other).or(first)
    }

    /// Returns the place of the offset from UTC, if the times with it are times, and without it have no zone. If only the times without it are in
    /// order, it is the offset of the clients.
    fn offset(&self, places: (usize, Option<usize>), options: &Options) -> Option<usize> {
        let offset = names::place_of_any(self.names, &names::OFFSET)?;
        let mut stamps = Stamps::new(options.stamps.clone());
        let mut times = |record: &Vec<Vec<u8>>| {
            let (stamp, offset) = (stamp_in(record, places), stamp_in(record, (offset, None)));
            let is_offset = matches!(offset.first(), Some(b'+' | b'-'));
            let mut bare = Stamps::default();
            let time = bare.parse(&stamp).ok()?;
            let whole = stamps.parse(&[stamp, offset].join(&b' '));
            (is_offset && bare.has_assumed_utc()).then_some((time, whole.ok()?))
        };
        let (bare, whole): (Vec<i64>, Vec<i64>) = self.samples.iter().filter_map(&mut times).unzip();
        let is_of_clients = bare.is_sorted() && !whole.is_sorted();
        (!is_of_clients && whole.len() * 2 > self.samples.len()).then_some(offset)
    }

    /// Returns the only place whose values are dates with a time of day. Numbers do not count, since a number may be anything.
    /// There is none if objects are in a list, since the records of a document are in a list.
    fn time_by_values(&self, options: &Options) -> Option<usize> {
        if self.names.iter().any(|name| memmem::find(name, b".0.").is_some()) {
            return None;
        }
        let mut stamps = Stamps::new(options.stamps.clone());
        let mut is_time = |value: &[u8]| value.iter().any(|byte| b":-/".contains(byte)) && stamps.parse(value).is_ok();
        let mut are_times = |at: usize| {
            let values = self.samples.iter().filter_map(|record| record.get(at));
            let times = values.filter(|value| is_time(value)).count();
            times * 10 > self.samples.len() * 9
        };
        let mut places = (0..self.names.len()).filter(|&at| are_times(at));
        places.next().filter(|_| places.next().is_none())
    }

    /// Returns whether the names include a usual name of the time.
    pub(super) fn has_time(&self) -> bool {
        names::place_of_any(self.names, names::TIME).is_some()
    }

    /// Returns the place of the value for this part of a key. Prefers the usual names, then paths that end with a usual name.
    fn usual(&self, part: &By) -> Option<usize> {
        let wanted = names::of(part);
        let is_address = |at: &usize| {
            let mut values = self.samples.iter().filter_map(|record| record.get(*at));
            values.any(|value| address::parse(value).is_some())
        };
        // Values under the name of an address may be masked or hashed: `203.0.113.xxx`.
        let is_masked = |at: &usize| {
            let name = self.names[*at].to_ascii_lowercase();
            let is_of_address = [&b"ip"[..], b"addr"]
                .iter()
                .any(|part| memmem::find(&name, part).is_some());
            let mut values = self.samples.iter().filter_map(|record| record.get(*at));
            is_of_address && values.any(|value| value.len() > 6 && value.iter().any(u8::is_ascii_digit))
        };
        let is_client = |at: &usize| {
            let is_shared = |name: &&str| names::place(self.names, name) == Some(*at);
            !names::NOT_ONLY_CLIENTS.iter().any(is_shared)
        };
        let usual = || names::places(self.names, wanted);
        let mut by_end = names::places_by_end(self.names, wanted);
        if *part != By::Ip {
            return usual().next().or_else(|| by_end.next());
        }
        let first = match self.called {
            // Only the groups of a pattern are named for this tool.
            "group" => usual().next(),
            _ => usual()
                .find(|at| is_address(at) || is_masked(at))
                .or_else(|| usual().find(is_client)),
        };
        first
            .or_else(|| by_end.find(|at| is_address(at) && !names::is_of_server(&self.names[*at])))
            .or_else(|| names::places(self.names, names::IP_IF_ADDRESS).find(is_address))
    }

    fn part(&self, part: &By) -> Option<KeyPart> {
        let usual = |part: &By| self.usual(part);
        let request = || names::place_of_any(self.names, names::REQUEST);
        match part {
            By::Path => usual(part)
                .map(KeyPart::Path)
                .or_else(|| request().map(KeyPart::PathOf)),
            By::Method => usual(part)
                .map(KeyPart::Value)
                .or_else(|| request().map(KeyPart::MethodOf)),
            By::Xff => {
                let (list, peer) = (usual(&By::Xff), usual(&By::Ip));
                list.or(peer).map(|_| KeyPart::Forwarded(list, peer))
            }
            part => usual(part).map(KeyPart::Value),
        }
    }

    /// Returns whether the input has a value for this part of a key.
    pub(super) fn has(&self, part: &By) -> bool {
        self.part(part).is_some()
    }

    fn duration(&self) -> Option<(usize, Took)> {
        let found = |(name, unit): &(&str, Took)| {
            let at = self.names.iter().position(|known| known == name.as_bytes());
            at.map(|at| (at, *unit))
        };
        names::DURATION.iter().find_map(found)
    }

    /// Lists the names for a message.
    fn list(&self, options: &Options) -> String {
        if options.anonymise {
            // Without a header, the first line is data.
            return format!("{} (not shown, as they may be data)", self.names.len());
        }
        // The whole match of an expression is a group without a name.
        let known = self
            .names
            .iter()
            .filter(|name| self.called != "group" || !name.is_empty());
        let mut names: Vec<String> = known
            .clone()
            .take(60)
            .map(|name| format!("`{}`", text::printable(name.trim_ascii(), 40)))
            .collect();
        if known.count() > names.len() {
            names.push("...".to_owned());
        }
        names.join(", ")
    }
}

/// Returns the place of a duration and its unit: `took:ms`, or the name of a column whose unit is known.
fn duration(wanted: &str, input: &str, named: impl Fn(&str) -> Result<usize, Error>) -> Result<(usize, Took), Error> {
    if let Some((name, unit)) = wanted.rsplit_once(':') {
        if let Some(unit) = Took::named(unit) {
            return Ok((named(name)?, unit));
        }
    }
    let at = named(wanted)?;
    let usual = names::DURATION
        .iter()
        .find(|(name, _)| *name == wanted)
        .map(|(_, unit)| *unit);
    let suffix = || {
        wanted
            .rsplit_once(['_', '-', '.'])
            .and_then(|(_, unit)| Took::named(unit))
    };
    let unit = usual.or_else(suffix).ok_or_else(|| Error::NoDurationUnit {
        path: input.to_owned(),
        column: wanted.to_owned(),
    })?;
    Ok((at, unit))
}

/// Parses a number of cells: a whole number of at most 64 bits, possibly with a fraction of zeros.
pub(super) fn parse_cost(field: &[u8]) -> Result<u64, BadLine> {
    let field = field.trim_ascii();
    // Servers write a dash for a response without a body.
    if field == b"-" {
        return Ok(0);
    }
    // pandas writes whole numbers as 374.0 in a column that has a gap.
    let digits = match memchr::memchr(b'.', field) {
        Some(at) if at > 0 && field[at + 1..].iter().all(|&byte| byte == b'0') => &field[..at],
        _ => field,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadLine::Cost);
    }
    let cell = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    digits.iter().try_fold(0, cell).ok_or(BadLine::Cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_with_zero_fractions_are_whole_numbers() {
        for (text, cost) in [
            ("374", 374),
            ("374.0", 374),
            ("26.000", 26),
            (" 7 ", 7),
            ("0.0", 0),
            ("-", 0),
            ("9.", 9),
        ] {
            assert_eq!(parse_cost(text.as_bytes()), Ok(cost), "{text}");
        }
        for text in ["", "374.5", ".0", "-1", "1e3", "x", "18446744073709551616"] {
            assert_eq!(parse_cost(text.as_bytes()), Err(BadLine::Cost), "{text}");
        }
        assert_eq!(parse_cost(b"18446744073709551615"), Ok(u64::MAX));
    }
}
