//! The key of a request. Each key has a meter.

use std::fmt;

/// The part of a request that is its key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum By {
    /// Each client: the address in a log line, the sender of a packet, a column named like one.
    Ip,
    /// Each client behind proxies: the first address from the right of the forwarded list that is no trusted proxy.
    Xff,
    /// Each host: the virtual host of a log line, or its client if it has none; the receiver of a packet; the column `host`.
    Host,
    /// Each requested path, without its query; the column `path`.
    Path,
    /// Each response status; the column `status`.
    Status,
    /// Each method; the column `method`.
    Method,
    /// All traffic is one key.
    #[default]
    All,
    /// Each value of this column or field.
    Column(String),
    /// Each combination of these.
    Each(Vec<By>),
}

impl By {
    /// Parses `--by`: one of the names above, any other name as a column, or several joined by commas.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text.contains(',') {
            return Self::Each(text.split(',').map(str::trim).map(Self::parse).collect());
        }
        match text {
            "ip" => Self::Ip,
            "xff" => Self::Xff,
            "host" => Self::Host,
            "path" => Self::Path,
            "status" => Self::Status,
            "method" => Self::Method,
            "all" => Self::All,
            column => Self::Column(column.to_owned()),
        }
    }

    /// Returns the parts of the key.
    #[must_use]
    pub fn parts(&self) -> &[Self] {
        match self {
            Self::Each(parts) => parts,
            one => std::slice::from_ref(one),
        }
    }

    /// Returns whether a key contains an address, or may contain one.
    #[must_use]
    pub fn may_be_address(&self) -> bool {
        let may_be = |part: &Self| matches!(part, Self::Ip | Self::Xff | Self::Host | Self::Column(_));
        self.parts().iter().any(may_be)
    }

    /// Returns the text that `--by` takes; `None` if all traffic is one key.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        (*self != Self::All).then(|| self.to_string())
    }
}

/// Formats the key as `--by` takes it.
impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Xff => "xff",
            Self::Host => "host",
            Self::Path => "path",
            Self::Status => "status",
            Self::Method => "method",
            Self::All => "all",
            Self::Column(name) => name,
            Self::Each(parts) => {
                let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
                return f.write_str(&parts.join(","));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_printed_as_they_are_parsed() {
        for text in ["ip", "xff", "ip,path", "tenant,method,all", "host", "status", "a b"] {
            assert_eq!(By::parse(text).to_string(), text);
        }
        assert_eq!(By::parse("ip, path").parts(), [By::Ip, By::Path]);
        assert_eq!(
            (By::parse("all").name(), By::parse("ip").name()),
            (None, Some("ip".to_owned()))
        );
    }
}
