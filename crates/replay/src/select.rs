//! Selects the requests to replay: `--only`, `--since` and `--until`.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use memchr::{memchr, memmem};

use crate::by::By;
use crate::{address, proxies};

/// The requests to replay; all of them by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Select {
    /// Selects times at or after this, in nanoseconds since the Unix epoch.
    pub since: Option<i64>,
    /// Selects times before this.
    pub until: Option<i64>,
    /// Selects requests for which all of these hold.
    pub only: Vec<Condition>,
}

impl Select {
    /// Returns whether a request at this time is selected.
    #[inline]
    #[must_use]
    pub fn has_time(&self, time: i64) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    /// Returns whether a request is selected; `value` returns the value of a condition's subject, by the index of the condition.
    #[inline]
    pub fn has<'a>(&self, mut value: impl FnMut(usize, &By) -> Option<&'a [u8]>) -> bool {
        let mut conditions = self.only.iter().enumerate();
        conditions.all(|(at, condition)| condition.holds(value(at, &condition.subject).unwrap_or_default()))
    }
}

/// A condition on a request: `status=5xx`, `path!=/static/`, `method=GET|HEAD`, `tenant=acme`.
///
/// ```
/// use meter_replay::select::Condition;
///
/// let errors: Condition = "status=5xx|429".parse()?;
/// assert!(errors.holds(b"503") && errors.holds(b"429") && !errors.holds(b"200"));
/// let api: Condition = "path=/api/".parse()?;
/// assert!(api.holds(b"/api/users") && !api.holds(b"/static/a.css"));
/// # Ok::<(), meter_replay::select::BadCondition>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    subject: By,
    is_negated: bool,
    /// True if a path is compared as a whole.
    is_exact: bool,
    values: Vec<WantedValue>,
}

/// A value that a condition compares with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WantedValue {
    text: String,
    /// The network, or the single address, that the text is.
    network: Option<IpNet>,
}

impl WantedValue {
    fn of(text: &str) -> Self {
        let address = || address::parse(text.as_bytes()).map(IpNet::from);
        Self {
            text: text.to_owned(),
            network: text.parse().ok().or_else(address),
        }
    }
}

/// The reason why a text is not a condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a condition: expected NAME=VALUE, NAME!=VALUE or NAME=VALUE|VALUE, such as path=/api/, status=5xx or method=POST, joined by ` and `"
)]
pub struct BadCondition {
    text: String,
}

impl Condition {
    /// Parses conditions that are joined by ` and ` or ` && `.
    ///
    /// # Errors
    ///
    /// [`BadCondition`] with the part that is not one.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, BadCondition> {
        let parts = text.split(" and ").flat_map(|part| part.split(" && "));
        parts.map(str::parse).collect()
    }

    /// Returns the part of a request that is compared.
    #[must_use]
    pub fn subject(&self) -> &By {
        &self.subject
    }

    /// Returns whether a column of a table, or a field, is compared.
    #[must_use]
    pub fn is_of_column(&self) -> bool {
        matches!(self.subject, By::Column(_))
    }

    /// Returns whether the condition holds for this value. A missing value is empty.
    ///
    /// - A path is compared by its prefix, and after `==` as a whole.
    /// - An `x` in a status matches any digit, and the case of methods is ignored.
    /// - An address is equal in each of its spellings, and a network matches its addresses.
    /// - A value with `*` matches as a whole, with any text for each `*`.
    #[must_use]
    pub fn holds(&self, value: &[u8]) -> bool {
        let value = value.trim_ascii();
        self.values.iter().any(|wanted| self.is_met(wanted, value)) != self.is_negated
    }

    fn is_met(&self, wanted: &WantedValue, value: &[u8]) -> bool {
        let has = |network: IpNet| {
            // Of a list of forwarded addresses, the leftmost is the client.
            let is_list = self.subject == By::Ip && memchr(b',', value).is_some();
            let client = is_list.then(|| proxies::leftmost(value)).flatten();
            address::parse(client.unwrap_or(value)).is_some_and(|address| network.contains(&address))
        };
        let (network, wanted) = (wanted.network, wanted.text.as_bytes());
        let is_digit = |(wanted, digit): (&u8, &u8)| match wanted {
            b'x' | b'X' => digit.is_ascii_digit(),
            wanted => wanted == digit,
        };
        match &self.subject {
            By::Method if wanted.contains(&b'*') => {
                matches_pattern(&wanted.to_ascii_uppercase(), &value.to_ascii_uppercase())
            }
            _ if wanted.contains(&b'*') => matches_pattern(wanted, value),
            By::Path if !self.is_exact => value.starts_with(wanted),
            By::Status => wanted.len() == value.len() && wanted.iter().zip(value).all(is_digit),
            By::Method => wanted.eq_ignore_ascii_case(value),
            _ => wanted == value || network.is_some_and(has),
        }
    }
}

/// Returns whether a text matches a pattern, in which `*` stands for any text.
fn matches_pattern(pattern: &[u8], text: &[u8]) -> bool {
    let mut pieces = pattern.split(|&byte| byte == b'*');
    let first = pieces.next().unwrap_or_default();
    let last = pieces.next_back().unwrap_or_default();
    let inner = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    inner.is_some_and(|inner| {
        let rest = pieces.try_fold(inner, |rest, piece| {
            memmem::find(rest, piece).map(|at| &rest[at + piece.len()..])
        });
        rest.is_some()
    })
}

impl FromStr for Condition {
    type Err = BadCondition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadCondition { text: text.to_owned() };
        let (name, values) = text.split_once('=').ok_or_else(bad)?;
        let (name, is_negated) = match name.trim_end().strip_suffix('!') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let name = name.trim();
        let subject = By::parse(name);
        let values = values.trim_start();
        let (values, is_exact) = values
            .strip_prefix('=')
            .map_or((values, false), |values| (values, true));
        let all: Vec<&str> = values.split('|').map(str::trim).collect();
        // An operator that there is not, such as `>=`, `=~`, `||` or `or`.
        let is_other = name.ends_with(['<', '>', '~', '^', '$', '*'])
            || !is_exact && all[0].starts_with('~')
            || all.len() > 2 && all[1..all.len() - 1].contains(&"")
            || values.split_once(" or ").is_some_and(|(_, more)| more.contains('='));
        if name.is_empty() || is_other || matches!(subject, By::All | By::Each(_)) {
            return Err(bad());
        }
        Ok(Self {
            subject,
            is_negated,
            is_exact,
            values: all.into_iter().map(WantedValue::of).collect(),
        })
    }
}

/// Formats the condition as `--only` takes it.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.is_negated { "!" } else { "" };
        let values: Vec<&str> = self.values.iter().map(|wanted| &wanted.text[..]).collect();
        let exactly = if self.is_exact { "=" } else { "" };
        write!(f, "{}{not}={exactly}{}", self.subject, values.join("|"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_by_their_subject() {
        for (text, holds, fails) in [
            (
                "path=/api",
                &["/api", "/api/a", "/apiary"][..],
                &["/", "/v1/api", "-"][..],
            ),
            ("path!=/api/|/static/", &["/", "/api"], &["/api/a", "/static/"]),
            ("path==/api|/", &["/api", "/"], &["/api/", "/a", "", "-"]),
            ("path!==/", &["/a", "-"], &["/"]),
            (
                "path=/api/*/posts|*.js",
                &["/api/7/posts", "/a.js"],
                &["/api/7/posts/1", "/a.json", "/api//post"],
            ),
            ("path=*a*b*", &["ab", "xaxbx"], &["ba", "a"]),
            (
                "agent=kube-probe/*",
                &["kube-probe/1.27", "kube-probe/"],
                &["Mozilla kube-probe/1", ""],
            ),
            ("ip=192.0.2.*", &["192.0.2.7"], &["192.0.20.7", "::1"]),
            ("method=p*t", &["POST", "put"], &["PATCH", "GET"]),
            ("tenant==~a", &["~a"], &["a"]),
            ("status=5*", &["500", "5"], &["404"]),
            ("status=5xx|404", &["500", "599", "404"], &["50", "5000", "403", "5x0"]),
            ("method=post", &["POST", "post"], &["GET", ""]),
            ("tenant = a=b", &["a=b"], &["a", "A=B"]),
            ("tenant=", &["", " "], &["a"]),
            ("tenant!=", &["a"], &[""]),
            (
                "ip=192.0.2.1",
                &[
                    "192.0.2.1",
                    "192.0.2.1:5000",
                    "\"192.0.2.1\"",
                    "::ffff:192.0.2.1",
                    "192.0.2.1, 10.0.0.1",
                ],
                &["192.0.2.10", "-", "10.0.0.1, 192.0.2.1"],
            ),
            (
                "ip!=10.0.0.0/8|2001:db8::/64",
                &["192.0.2.1", "2001:db8:0:1::1"],
                &["10.1.2.3:80", "[2001:db8::1]:443"],
            ),
            ("client=2001:DB8::1", &["2001:db8:0::1"], &["2001:db8::2", ""]),
        ] {
            let condition: Condition = text.parse().expect("a condition");
            for value in holds {
                assert!(condition.holds(value.as_bytes()), "{text}: {value}");
            }
            for value in fails {
                assert!(!condition.holds(value.as_bytes()), "{text}: {value}");
            }
            let again: Condition = condition.to_string().parse().expect("as it is written");
            assert_eq!(again, condition);
        }
        for text in [
            "",
            "path",
            "=5",
            "!=5",
            "all=1",
            "ip,path=1",
            "status>=500",
            "path=~^/a",
            "path~=/a",
            "status=500||404",
            "method=POST or path=/a",
        ] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
        assert_eq!(
            Condition::parse_all("path=/a and status=200 && method=GET").map(|all| all.len()),
            Ok(3)
        );
        assert!(Condition::parse_all("path=/a and status").is_err());
    }

    #[test]
    fn times_are_selected_from_since_to_before_until() {
        let select = Select {
            since: Some(10),
            until: Some(20),
            only: Condition::parse_all("path=/a and status=200").expect("conditions"),
        };
        let selected: Vec<i64> = (0..30).filter(|&time| select.has_time(time)).collect();
        assert_eq!(selected, (10..20).collect::<Vec<_>>());
        let value = |path: &'static str| {
            move |_: usize, subject: &By| (*subject == By::Path).then_some(path.as_bytes()).or(Some(b"200"))
        };
        assert!(select.has(value("/a/b")) && !select.has(value("/b")) && !select.has(|_, _| None));
        assert!(Select::default().has_time(i64::MIN) && Select::default().has(|_, _| None));
    }
}
