//! The limit of one name and quota, as it is announced.

use crate::numbers::FieldNumbers;
use bytes::Bytes;
use http::HeaderValue;
use ratelimit_meter::Quota;
use std::fmt::Write as _;
use std::sync::OnceLock;

/// The names of the parameters of `RateLimit-Policy` and `RateLimit`, which the draft still moves.
mod parameter {
    pub(super) const QUOTA: &str = "q";
    pub(super) const UNIT: &str = "qu";
    pub(super) const WINDOW: &str = "w";
    pub(super) const REMAINING: &str = "r";
    /// With its separators, since it always follows the remaining requests.
    pub(crate) const EFFECTIVE_WINDOW: &str = ";t=";
}
pub(crate) use parameter::EFFECTIVE_WINDOW;

/// The unit that counts the bytes of bodies.
pub(crate) const BYTES: &str = "content-bytes";

/// A quota under a name: one tier of a limit.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    name: String,
    tier: String,
    unit: Option<String>,
    quota: Quota,
    numbers: FieldNumbers,
    announced: OnceLock<&'static Announced>,
}

/// The parts of the fields that never change. Each policy makes them once and keeps them as long as the process runs, so requests share them without counting.
#[derive(Debug)]
pub(crate) struct Announced {
    /// The item of `RateLimit-Policy`.
    pub(crate) policy: HeaderValue,
    /// The beginning of an item of `RateLimit`, up to its number of remaining requests.
    pub(crate) item: String,
    /// The body of a denial by this policy alone.
    pub(crate) problem: Bytes,
    /// The list of the first policies that were announced together, beginning with this one.
    joined: OnceLock<Joined>,
}

#[derive(Debug)]
struct Joined {
    policies: Vec<&'static Announced>,
    list: HeaderValue,
}

impl Announced {
    /// Returns the value of `RateLimit-Policy` for these policies.
    pub(crate) fn joined(mut policies: impl ExactSizeIterator<Item = &'static Self> + Clone) -> HeaderValue {
        let (all, Some(first)) = (policies.clone(), policies.next()) else {
            return HeaderValue::from_static("");
        };
        let joined = first.joined.get_or_init(|| Joined {
            policies: all.clone().collect(),
            list: HeaderValue::from_static(list_of(all.clone()).leak()),
        });
        let same = |(a, b): (&&Self, &Self)| core::ptr::eq(*a, b);
        if joined.policies.len() == all.len() && joined.policies.iter().zip(all.clone()).all(same) {
            return joined.list.clone();
        }
        // Items are values, and so is their list.
        HeaderValue::try_from(list_of(all)).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

fn list_of(policies: impl Iterator<Item = &'static Announced>) -> String {
    let items: Vec<_> = policies.filter_map(|policy| policy.policy.to_str().ok()).collect();
    items.join(", ")
}

impl Policy {
    pub(crate) fn new(name: &str, tier: &str, quota: Quota) -> Self {
        Self {
            name: name.to_owned(),
            tier: tier.to_owned(),
            unit: None,
            quota,
            numbers: FieldNumbers::of(quota),
            announced: OnceLock::new(),
        }
    }

    pub(crate) fn named(&self, name: &str) -> Self {
        let unit = self.unit.clone();
        Self {
            unit,
            ..Self::new(name, &self.tier, self.quota)
        }
    }

    pub(crate) fn for_tier(&self, tier: &str, quota: Quota) -> Self {
        let unit = self.unit.clone();
        Self {
            unit,
            ..Self::new(&self.name, tier, quota)
        }
    }

    pub(crate) fn with_unit(&self, unit: &str) -> Self {
        let unit = Some(unit.to_owned());
        Self {
            unit,
            ..Self::new(&self.name, &self.tier, self.quota)
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }

    pub(crate) fn tier(&self) -> &str {
        &self.tier
    }

    pub(crate) fn counts_bytes(&self) -> bool {
        self.unit.as_deref() == Some(BYTES)
    }

    pub(crate) fn numbers(&self) -> &FieldNumbers {
        &self.numbers
    }

    /// Returns the parts of this policy's fields.
    #[inline]
    pub(crate) fn announced(&self) -> &'static Announced {
        self.announced.get_or_init(|| {
            use parameter::{QUOTA, REMAINING, UNIT, WINDOW};
            let name = structured_string(&self.name);
            let mut policy = format!("{name};{QUOTA}={}", self.numbers.quota);
            if let Some(unit) = &self.unit {
                let _ = write!(policy, ";{UNIT}={}", structured_string(unit));
            }
            let _ = write!(policy, ";{WINDOW}={}", self.numbers.window);
            Box::leak(Box::new(Announced {
                policy: HeaderValue::from_static(policy.leak()),
                item: format!("{name};{REMAINING}="),
                problem: Bytes::from_static(quota_exceeded([&*self.name]).leak().as_bytes()),
                joined: OnceLock::new(),
            }))
        })
    }
}

/// A String of structured fields (RFC 9651, section 3.3.3). Characters that are not printable ASCII are percent-encoded.
fn structured_string(text: &str) -> String {
    let mut string = String::from('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => string.extend(['\\', char::from(byte)]),
            b' '..=b'~' => string.push(char::from(byte)),
            _ => {
                let _ = write!(string, "%{byte:02X}");
            }
        }
    }
    string.push('"');
    string
}

/// Returns the problem of violated policies.
pub(crate) fn quota_exceeded<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut json = String::from(concat!(
        r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","#,
        r#""title":"Request cannot be satisfied as assigned quota has been exceeded","violated-policies":["#
    ));
    for (index, name) in names.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json_string(&mut json, name);
    }
    json.push_str("]}");
    json
}

fn json_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..' ' => json.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => json.push(character),
        }
    }
    json.push('"');
}
