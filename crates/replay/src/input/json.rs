//! Reads JSON lines: an object for each request, from which only the required values are read.
//!
//! Text may stand before an object. If no field is a time, the stamp in this text is, as in the logs of Caddy for people and of Fluentd.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Deserializer, Value};

use super::columns::{Columns, HeaderSample};
use super::{Options, Request, names, prefix};
use crate::Error;
use crate::bad::BadLine;
use crate::by::By;
use crate::stamp::{StampOptions, Stamps};

/// The fields in which collectors put a line of another format: Docker, the journal, Loki, `CloudWatch`, Google Cloud,
/// Splunk, Caddy.
pub(super) const WRAPPERS: [&str; 11] = [
    "log",
    "MESSAGE",
    "message",
    "line",
    "textPayload",
    "msg",
    "_raw",
    "common_log",
    "event",
    "event.original",
    "result._raw",
];

/// Maximum number of objects and lists around a value.
const DEEPEST: usize = 8;

/// The name given to the stamp before an object.
const STAMP: &[u8] = b"time";

/// Lines of JSON.
#[derive(Debug)]
pub(super) struct JsonLines {
    columns: Columns,
    names: Vec<Vec<u8>>,
    fields: FieldValues,
}

/// Lines of another format, each in a field of a JSON object.
#[derive(Debug)]
pub(super) struct Messages(FieldValues);

/// The values of a few fields of an object.
#[derive(Debug, Default)]
struct FieldValues {
    wanted: PathTree,
    values: Vec<FieldValue>,
    /// The place of the stamp before the object, if it is read.
    stamp: Option<usize>,
}

/// A value, if the object has it. Its memory is used again.
#[derive(Debug, Clone, Default)]
struct FieldValue {
    bytes: Vec<u8>,
    is_there: bool,
}

impl FieldValue {
    fn get(&self) -> Option<&[u8]> {
        self.is_there.then_some(&self.bytes)
    }

    fn set(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.is_there = true;
    }
}

/// The paths to the required fields, as a tree.
#[derive(Debug, Default)]
struct PathTree {
    children: Vec<(String, PathTree)>,
    /// The place for the value of this path.
    place: Option<usize>,
}

/// An element of a list of names and values, such as the headers in the logs of AWS WAF.
#[derive(Deserialize)]
struct NamedValue<'a> {
    #[serde(borrow, alias = "key")]
    name: Cow<'a, str>,
    value: Value,
}

/// The paths and values found in the first lines.
#[derive(Debug, Default)]
struct FieldSurvey {
    names: Vec<Vec<u8>>,
    /// The path to each name; empty for the stamp before the object.
    paths: Vec<Vec<String>>,
    samples: Vec<Vec<Vec<u8>>>,
}

/// Detects JSON lines; `None` if the lines are not JSON.
///
/// # Errors
///
/// A name that is asked for is not among the names of the fields.
pub(super) fn detect(input: &str, head: &[&[u8]], options: &Options) -> Result<Option<JsonLines>, Error> {
    let survey = FieldSurvey::of(head, &options.stamps);
    if survey.samples.is_empty() {
        return Ok(None);
    }
    let header = HeaderSample {
        input,
        called: "field",
        format: "JSON lines",
        names: &survey.names,
        samples: &survey.samples,
        default: &By::Ip,
    };
    let columns = Columns::find(&header, options)?;
    Ok(Some(JsonLines {
        fields: FieldValues::new(&survey.paths, |place| columns.uses(place)),
        columns,
        names: survey.names,
    }))
}

/// Returns whether these objects have the time in a list of objects, so that each object of the list is a record.
pub(super) fn has_records_in_list(head: &[&[u8]], stamps: &StampOptions) -> bool {
    let survey = FieldSurvey::of(head, stamps);
    survey.names.iter().any(|name| {
        let in_list = memmem::rfind(name, b".0.").map(|at| &name[at + 3..]);
        in_list.is_some_and(|name| names::place_of_any(&[name], names::TIME).is_some())
    })
}

/// Returns the fields of these objects that may hold lines of another format, each with these lines.
pub(super) fn messages(head: &[&[u8]]) -> Vec<(Messages, Vec<Vec<u8>>)> {
    let survey = FieldSurvey::of(head, &StampOptions::default());
    let mut found = Vec::new();
    for name in WRAPPERS {
        let Some(at) = survey.names.iter().position(|known| known == name.as_bytes()) else {
            continue;
        };
        let mut messages = Messages(FieldValues::new(&survey.paths[at..=at], |_| true));
        let lines = head
            .iter()
            .filter_map(|line| messages.read(line).ok().map(<[u8]>::to_vec));
        let lines: Vec<Vec<u8>> = lines.filter(|line| !line.is_empty()).collect();
        found.push((messages, lines));
    }
    found
}

impl JsonLines {
    pub(super) fn by(&self) -> &By {
        self.columns.by()
    }

    pub(super) fn request<'a>(&'a mut self, line: &[u8]) -> Result<Request<'a>, BadLine> {
        self.fields.read(line)?;
        let values = &self.fields.values;
        self.columns.request(|at| values.get(at)?.get())
    }

    pub(super) fn notices(&self, input: &str) -> Vec<String> {
        self.columns.notices(&self.names, input)
    }
}

impl Messages {
    /// Returns the line of another format in this line.
    pub(super) fn read(&mut self, line: &[u8]) -> Result<&[u8], BadLine> {
        self.0.read(line)?;
        let message = self.0.values.first().and_then(FieldValue::get);
        Ok(message.ok_or(BadLine::NoMessage)?.trim_ascii())
    }
}

/// Returns a line without the comma or the bracket that follows an object in a list.
fn in_list(line: &[u8]) -> &[u8] {
    match line.split_last() {
        Some((b',' | b']', object)) if object.trim_ascii_end().ends_with(b"}") => object,
        _ => line,
    }
}

/// Returns the length of the first object, if a line has two objects, or a fragment and an object. The text of a prefix belongs to the object after it.
pub(super) fn entry_len(line: &[u8]) -> usize {
    let text = prefix::object(line).unwrap_or(line);
    let start = line.len() - text.len();
    let mut objects = Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    if let Some(Ok(_)) = objects.next() {
        let end = objects.byte_offset();
        return if matches!(text[end..].trim_ascii(), b"" | b"," | b"]") {
            line.len()
        } else {
            start + end
        };
    }
    // A fragment: the next object begins where the whole rest is one object.
    let starts = memmem::find_iter(line, b"{\"").filter(|&at| at > start).take(64);
    let is_object = |at: &usize| serde_json::from_slice::<IgnoredAny>(&line[*at..]).is_ok();
    starts.into_iter().find(is_object).unwrap_or(line.len())
}

impl FieldSurvey {
    fn of(head: &[&[u8]], stamps: &StampOptions) -> Self {
        let mut survey = Self::default();
        let mut objects: Vec<(Value, Vec<u8>)> = Vec::new();
        for line in head.iter().take(100) {
            // There may be two on one line.
            let Some(text) = prefix::object(line) else { continue };
            let first = Deserializer::from_slice(text).into_iter().next();
            if let Some(Ok(object @ Value::Object(_))) = first {
                objects.push((object, stamp_before(line, text).unwrap_or_default().to_vec()));
            }
        }
        // The names in lists come last: a field with the same name is preferred.
        for has_lists in [false, true] {
            for (object, _) in &objects {
                survey.collect(object, has_lists, &mut Vec::new());
            }
        }
        for (object, _) in &objects {
            let value = |path: &Vec<String>| {
                let found = path.iter().try_fold(object, |value, step| child(value, step));
                found.map(text_of).unwrap_or_default()
            };
            survey.samples.push(survey.paths.iter().map(value).collect());
        }
        let mut stamps = Stamps::new(stamps.clone());
        let mut are_times = |at: usize, is_date: fn(&[u8]) -> bool| {
            let mut values = survey.samples.iter().map(|values| &values[at]);
            values.any(|value| is_date(value) && stamps.parse(value).is_ok())
        };
        let stamped = objects.iter().filter(|(_, stamp)| !stamp.is_empty()).count();
        // A number deep in an object is no time, as it is found only by a whole name.
        let has_date = |value: &[u8]| value.iter().any(|byte| b":-/".contains(byte));
        let has_time = names::places(&survey.names, names::TIME).any(|at| are_times(at, |_| true))
            || names::places_by_end(&survey.names, names::TIME).any(|at| are_times(at, has_date));
        if stamped * 2 > objects.len() && !has_time {
            survey.names.push(STAMP.to_vec());
            survey.paths.push(Vec::new());
            for (values, (_, stamp)) in survey.samples.iter_mut().zip(objects) {
                values.push(stamp);
            }
        }
        survey
    }

    fn collect(&mut self, value: &Value, has_lists: bool, path: &mut Vec<String>) {
        const MOST: usize = 1_000;
        let mut go_on = |step: String, value: &Value| {
            path.push(step);
            if path.len() <= DEEPEST && self.names.len() < MOST {
                self.collect(value, has_lists, path);
            }
            path.pop();
        };
        match value {
            Value::Object(object) => object.iter().for_each(|(name, value)| go_on(name.clone(), value)),
            // The bytes of a message, as the journal writes them.
            Value::Array(list)
                if list.len() > 1 && list.iter().all(|value| value.as_u64().is_some_and(|byte| byte < 256)) =>
            {
                self.name(path);
            }
            // A list, such as repeated headers, is represented by its first value, and a list of names and values also by each name.
            Value::Array(list) => {
                list.iter().take(1).for_each(|value| go_on("0".to_owned(), value));
                let named = list.iter().filter(|_| has_lists).filter_map(named_value);
                named.for_each(|(name, value)| go_on(name.to_owned(), value));
            }
            _ => self.name(path),
        }
    }

    fn name(&mut self, path: &[String]) {
        let name = path.join(".").into_bytes();
        if !self.names.contains(&name) {
            self.names.push(name);
            self.paths.push(path.to_vec());
        }
    }
}

/// Returns the stamp in the text before the object of a line.
fn stamp_before<'a>(line: &'a [u8], object: &[u8]) -> Option<&'a [u8]> {
    let before = &line[..line.len().saturating_sub(object.len())];
    let (start, end) = prefix::stamp(before)?;
    Some(&before[start..end])
}

fn child<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    match value {
        Value::Object(object) => object.get(step),
        Value::Array(list) if step == "0" => list.first(),
        Value::Array(list) => list
            .iter()
            .filter_map(named_value)
            .find_map(|(name, value)| (name == step).then_some(value)),
        _ => None,
    }
}

/// Returns the name and the value of a [`NamedValue`].
fn named_value(element: &Value) -> Option<(&str, &Value)> {
    let object = element.as_object()?;
    let name = object.get("name").or_else(|| object.get("key"))?.as_str()?;
    let value = object
        .get("value")
        .filter(|value| !value.is_array() && !value.is_object())?;
    Some((name, value))
}

fn text_of(value: &Value) -> Vec<u8> {
    match value {
        // Only a message of bytes is a list here.
        Value::Array(list) => list
            .iter()
            .filter_map(Value::as_u64)
            .filter_map(|byte| u8::try_from(byte).ok())
            .collect(),
        Value::String(text) => text.clone().into_bytes(),
        Value::Null => Vec::new(),
        other => other.to_string().into_bytes(),
    }
}

impl FieldValues {
    fn new(paths: &[Vec<String>], is_wanted: impl Fn(usize) -> bool) -> Self {
        let mut wanted = PathTree::default();
        let mut stamp = None;
        for (place, path) in paths.iter().enumerate().filter(|(place, _)| is_wanted(*place)) {
            if path.is_empty() {
                stamp = Some(place);
                continue;
            }
            let mut node = &mut wanted;
            for step in path {
                let at = node.children.iter().position(|(name, _)| name == step);
                let at = at.unwrap_or_else(|| {
                    node.children.push((step.clone(), PathTree::default()));
                    node.children.len() - 1
                });
                node = &mut node.children[at].1;
            }
            node.place = Some(place);
        }
        Self {
            wanted,
            values: vec![FieldValue::default(); paths.len()],
            stamp,
        }
    }

    fn read(&mut self, line: &[u8]) -> Result<(), BadLine> {
        self.values.iter_mut().for_each(|value| value.is_there = false);
        let line = in_list(line);
        let object = prefix::object(line).ok_or(BadLine::NotJson)?;
        if let Some(place) = self.stamp {
            if let Some(stamp) = stamp_before(line, object) {
                self.values[place].set(stamp);
            }
        }
        // The check is much faster than the search for bad bytes.
        let text = std::str::from_utf8(object).map_or_else(|_| String::from_utf8_lossy(object), Cow::Borrowed);
        let mut object = Deserializer::from_str(&text);
        let wanted = Wanted {
            node: &self.wanted,
            values: &mut self.values,
        };
        wanted.deserialize(&mut object).map_err(|_| BadLine::NotJson)?;
        object.end().map_err(|_| BadLine::NotJson)
    }
}

/// Reads the values of a node and its descendants, and skips all other values.
struct Wanted<'a> {
    node: &'a PathTree,
    values: &'a mut [FieldValue],
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if let Some(place) = self.node.place.filter(|_| self.node.children.is_empty()) {
            let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
            match raw.get().strip_prefix('"') {
                Some(text) if !text.contains('\\') => self.values[place].set(text.trim_end_matches('"').as_bytes()),
                _ => match text_of_raw(raw.get()) {
                    Some(text) => self.values[place].set(&text),
                    None => self.values[place].is_there = false,
                },
            }
            return Ok(());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(child) = map.next_key_seed(ChildSeed(self.node))? {
            match child {
                Some(node) => map.next_value_seed(Wanted {
                    node,
                    values: &mut *self.values,
                })?,
                None => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if let Some((_, node)) = self.node.children.iter().find(|(step, _)| step == "0") {
            list.next_element_seed(Wanted {
                node,
                values: &mut *self.values,
            })?;
        }
        let has_names = self.node.children.iter().any(|(step, _)| step != "0");
        if !has_names {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while let Some(element) = list.next_element::<&RawValue>()? {
            let Ok(NamedValue { name, value }) = serde_json::from_str(element.get()) else {
                continue;
            };
            // The case of a header differs between clients; of a repeated header, the first counts.
            let mut named = self
                .node
                .children
                .iter()
                .filter(|(step, _)| step.eq_ignore_ascii_case(&name));
            let place = named.find_map(|(_, node)| node.place);
            if let Some(value_of) = place
                .map(|place| &mut self.values[place])
                .filter(|value| !value.is_there)
            {
                value_of.set(&text_of(&value));
            }
        }
        Ok(())
    }

    // In another line the value of this path was an object.
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Finds the child with the name that is read, without copying the name.
struct ChildSeed<'a>(&'a PathTree);

impl<'a, 'de> DeserializeSeed<'de> for ChildSeed<'a> {
    type Value = Option<&'a PathTree>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for ChildSeed<'a> {
    type Value = Option<&'a PathTree>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let mut children = self.0.children.iter();
        Ok(children.find(|(known, _)| known == name).map(|(_, node)| node))
    }
}

/// Returns the text of a value: the contents of a string, or the digits of a number, since a float would round a stamp.
fn text_of_raw(raw: &str) -> Option<Vec<u8>> {
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(raw).ok().map(String::into_bytes),
        b'n' => None,
        // A client can send thousands of lists, one within the other.
        b'[' if lists_before(raw) > DEEPEST => None,
        b'[' => {
            // The journal writes a message that is not printable as its bytes.
            if let Some(bytes) = serde_json::from_str::<Vec<u8>>(raw)
                .ok()
                .filter(|bytes| bytes.len() > 1)
            {
                return Some(bytes);
            }
            let list: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            text_of_raw(list.first()?.get())
        }
        // Some programs write large numbers with an exponent.
        _ if raw.contains(['e', 'E']) && !raw.starts_with(['t', 'f', '{']) => {
            Some(format!("{:.6}", raw.parse::<f64>().ok()?).into_bytes())
        }
        _ => Some(raw.as_bytes().to_vec()),
    }
}

/// Returns the number of lists that begin before the first value of another kind.
fn lists_before(raw: &str) -> usize {
    let bytes = raw.bytes().filter(|byte| !byte.is_ascii_whitespace());
    bytes.take_while(|&byte| byte == b'[').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requested_paths_are_read_and_other_values_skipped() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let paths = [
            "ts",
            "request.remote_ip",
            "request.headers.X-Forwarded-For.0",
            "id|orig_h",
            "n",
        ]
        .map(path);
        let mut fields = FieldValues::new(&paths, |_| true);
        let line = r#"{"a":[1,{"ts":2}],"ts":1716163200.123456789,"request":{"remote_ip":"203.0.113.7","x":null,
            "headers":{"X-Forwarded-For":["198.51.100.9, 10.0.0.1","b"]}},"id|orig_h":"a\"b","n":1.5e3}"#;
        fields.read(line.as_bytes()).expect("JSON");
        let values: Vec<_> = fields
            .values
            .iter()
            .map(|value| value.get().map(String::from_utf8_lossy))
            .collect();
        let expected = [
            "1716163200.123456789",
            "203.0.113.7",
            "198.51.100.9, 10.0.0.1",
            "a\"b",
            "1500.000000",
        ];
        assert_eq!(values, expected.map(|text| Some(Cow::Borrowed(text))));
        fields.read(br#"{"request":"GET /","ts":null},"#).expect("JSON");
        assert!(fields.values.iter().all(|value| value.get().is_none()));
        for line in ["", "[]", "{", "{\"ts\":1}{\"ts\":2}", "1", "nonsense"] {
            assert_eq!(fields.read(line.as_bytes()), Err(BadLine::NotJson), "{line}");
        }
    }

    #[test]
    fn deeply_nested_list_has_no_text() {
        let mut fields = FieldValues::new(&[vec!["ts".to_owned()]], |_| true);
        for (depth, text) in [(2, Some("5")), (30_000, None)] {
            let line = format!("{{\"ts\":{}5{}}}", "[".repeat(depth), "]".repeat(depth));
            fields.read(line.as_bytes()).expect("JSON");
            assert_eq!(fields.values[0].get(), text.map(str::as_bytes), "{depth}");
        }
    }

    #[test]
    fn objects_on_one_line_are_separated() {
        let table = [
            ("{\"a\":1}", 7),
            ("{\"a\":1} ", 8),
            ("{\"a\":1},", 8),
            ("{\"a\":1}{\"b\":2}", 7),
            ("{\"a\":1, \"b{\"a\":1}", 10),
            ("web-1  | {\"a\":1}", 16),
            ("web-1  | {\"a\":1}{\"b\":2}", 16),
            ("web-1  | {\"a\":1, \"b{\"a\":1}", 19),
            ("2024-05-20 INFO x {\"a\":1}", 25),
            ("nonsense", 8),
            ("", 0),
        ];
        for (line, len) in table {
            assert_eq!(entry_len(line.as_bytes()), len, "{line}");
        }
    }
}
