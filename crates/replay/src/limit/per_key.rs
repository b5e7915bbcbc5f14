//! Rules for each key, from a file of two columns: a key and its limit.
//!
//! ```text
//! key,limit
//! 192.0.2.1,100/s burst 200
//! crawler,nginx:2r/s burst=5
//! vip,unlimited
//! *,10/s
//! ```
//!
//! A key without a row has the limit of `*`, or no limit if there is no such row. `unlimited` means no limit.

use std::collections::HashMap;
use std::fmt;

use super::{AlgorithmName, LimitRule, LimitSpec};
use crate::Error;
use crate::event::Keys;

/// The key of the row for every key without a row of its own.
const OTHERS: &str = "*";
const UNLIMITED: &str = "unlimited";

/// The rules of a file, with each distinct limit once.
#[derive(Clone)]
pub struct RuleFile {
    name: String,
    limits: Vec<LimitSpec>,
    rows: HashMap<Vec<u8>, Option<usize>>,
    others: Option<usize>,
}

impl fmt::Debug for RuleFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleFile")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

/// Two files are equal if their names are.
impl PartialEq for RuleFile {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for RuleFile {}

impl RuleFile {
    /// Parses the text of the file `name`: lines of `key,limit`, with the key in quotes if it has a comma. Skips blank lines, comments that begin
    /// with `#`, and a header `key,...`.
    ///
    /// # Errors
    ///
    /// [`Error::BadRow`] with the line, and [`Error::NoRows`].
    pub fn parse(name: &str, text: &str, algorithm: AlgorithmName) -> Result<Self, Error> {
        let mut found = Self {
            name: name.to_owned(),
            limits: Vec::new(),
            rows: HashMap::new(),
            others: None,
        };
        let mut has_others = false;
        let mut is_first = true;
        for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |reason: String| Error::BadRow {
                path: name.to_owned(),
                line: number,
                reason,
            };
            let (key, limit) = split(line).ok_or_else(|| bad("expected KEY,LIMIT".to_owned()))?;
            if std::mem::take(&mut is_first) && key.eq_ignore_ascii_case("key") {
                continue;
            }
            let rule = match limit.as_str() {
                UNLIMITED => None,
                limit => Some(found.rule(limit, algorithm).map_err(|error| bad(error.to_string()))?),
            };
            let is_double = if key == OTHERS {
                found.others = rule;
                std::mem::replace(&mut has_others, true)
            } else {
                found.rows.insert(key.clone().into_bytes(), rule).is_some()
            };
            if is_double {
                return Err(bad(format!("`{key}` has a row already")));
            }
        }
        if found.rows.is_empty() && !has_others {
            return Err(Error::NoRows { path: name.to_owned() });
        }
        Ok(found)
    }

    fn rule(&mut self, text: &str, algorithm: AlgorithmName) -> Result<usize, Error> {
        let limit = LimitSpec::parse(text, algorithm)?;
        let same = |other: &LimitSpec| other.rule() == limit.rule();
        Ok(self.limits.iter().position(same).unwrap_or_else(|| {
            self.limits.push(limit);
            self.limits.len() - 1
        }))
    }

    /// Returns the distinct limits.
    pub(crate) fn limits(&self) -> &[LimitSpec] {
        &self.limits
    }

    /// Returns the index in [`limits`](Self::limits) for a key or plan; `None` if it has no limit.
    pub(crate) fn of(&self, key: &[u8]) -> Option<usize> {
        self.rows.get(key).copied().unwrap_or(self.others)
    }

    /// Returns a notice if `names` lacks the keys or plans of some rows. It quotes one of these unless `anonymise` is set.
    pub(crate) fn notice_of_unmet(&self, names: &Keys, called: &str, anonymise: bool) -> Option<String> {
        let unmet = || self.rows.keys().filter(|name| !names.has(name));
        let first = unmet().min()?;
        let example = if anonymise {
            String::new()
        } else {
            format!(", such as `{}`", String::from_utf8_lossy(first))
        };
        let count = unmet().count();
        Some(format!(
            "{count} of the {called}s in {} came in no request{example}",
            self.name
        ))
    }

    /// Returns the number of keys or plans in the file, and the number of limits.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.rows.len() + usize::from(self.others.is_some()), self.limits.len())
    }

    /// Returns whether any of the limits is a model's.
    #[must_use]
    pub fn has_models(&self) -> bool {
        self.limits
            .iter()
            .any(|limit| matches!(limit.rule(), LimitRule::Model(_)))
    }
}

impl fmt::Display for RuleFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limits of {}", self.name)
    }
}

/// Splits a line into the key and the text after its comma, both without surrounding blanks and quotes.
fn split(line: &str) -> Option<(String, String)> {
    // A comma in quotes is part of the key. A combined key has quotes around its values with blanks: `"x y" z`.
    let mut is_quoted = false;
    let is_end = |(_, letter): &(usize, char)| {
        is_quoted ^= *letter == '"';
        !is_quoted && matches!(letter, ',' | '\t')
    };
    let outside = line
        .char_indices()
        .find(is_end)
        .map(|(at, _)| (&line[..at], &line[at + 1..]));
    let is_open = line.starts_with('"');
    let (key, limit) = outside.or_else(|| line.split_once(['\t', ',']).filter(|_| !is_open))?;
    let key = key.trim_end();
    let inner = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    // The quotes are around the whole key if all quotes in it are doubled.
    let whole = inner.filter(|inner| !inner.replace("\"\"", "").contains('"'));
    let key = whole.map_or_else(|| key.to_owned(), |key| key.replace("\"\"", "\""));
    let limit = limit.trim();
    let limit = limit
        .strip_prefix('"')
        .and_then(|limit| limit.strip_suffix('"'))
        .unwrap_or(limit);
    Some((key, limit.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RuleFile, String> {
        RuleFile::parse("plans.csv", text, AlgorithmName::Gcra).map_err(|error| error.to_string())
    }

    #[test]
    fn rows_name_keys_and_the_rest() {
        let rows =
            parse("\u{feff}Key,quota\n# paying\n a ,10/s\r\n\"b,\"\"c\",\"1/min burst 5\"\n\nvip,unlimited\n*,10/s\n");
        let rows = rows.expect("good rows");
        let limit = |key: &str| rows.of(key.as_bytes()).map(|at| rows.limits()[at].rule().to_string());
        assert_eq!(limit("a").as_deref(), Some("10/s"));
        assert_eq!(limit("b,\"c").as_deref(), Some("1/min burst 5"));
        assert_eq!(limit("vip"), None);
        assert_eq!(limit("anybody").as_deref(), Some("10/s"));
        assert_eq!(rows.len(), (4, 2));
        let combined = parse("\"x y\" z,1/s\nx \"y, z\",2/s\n\"\"\"p q\"\" r\",3/s\n5\"disk,4/s\n\"a b\" \"c d\",5/s")
            .expect("keys of two values");
        for (key, at) in [
            ("\"x y\" z", 0),
            ("x \"y, z\"", 1),
            ("\"p q\" r", 2),
            ("5\"disk", 3),
            ("\"a b\" \"c d\"", 4),
        ] {
            assert_eq!(combined.of(key.as_bytes()), Some(at), "{key}");
        }
        let rows = parse("a\tfixed:5/s").expect("a tab");
        assert_eq!((rows.of(b"a"), rows.of(b"b"), rows.has_models()), (Some(0), None, true));
    }

    #[test]
    fn bad_rows_are_named() {
        for (text, expected) in [
            ("", "plans.csv has no row of KEY,LIMIT"),
            ("a 10/s", "plans.csv:1: expected KEY,LIMIT"),
            ("key,limit\na,ten/s", "plans.csv:2: --limit `ten/s`"),
            ("a,1/s\na,2/s", "plans.csv:2: `a` has a row already"),
            ("*,1/s\n*,unlimited", "plans.csv:2: `*` has a row already"),
            ("\"a,1/s", "plans.csv:1: expected KEY,LIMIT"),
            ("\"x y\" z 1/s", "plans.csv:1: expected KEY,LIMIT"),
        ] {
            let error = parse(text).expect_err("bad rows");
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
