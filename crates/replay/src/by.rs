//! Who counts as one key.

use std::fmt;

/// Who counts as one key, and so has a meter of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum By {
    /// Each client: the first field of a log line, the sender of a packet, the column `ip` of delimited text.
    Ip,
    /// Each host: the first field of a log line as it is written, the receiver of a packet, the column `host`.
    Host,
    /// Each path that is requested, without its query; the column `path`.
    Path,
    /// Each status of an answer; the column `status`.
    Status,
    /// All traffic is one key.
    #[default]
    All,
    /// Each value of this column.
    Column(String),
}

impl By {
    /// What `--by` says: one of the names above, or else a column.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "ip" => Self::Ip,
            "host" => Self::Host,
            "path" => Self::Path,
            "status" => Self::Status,
            "all" => Self::All,
            column => Self::Column(column.to_owned()),
        }
    }

    /// The column of delimited text which has the keys, if it is not all of one key.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Ip => Some("ip"),
            Self::Host => Some("host"),
            Self::Path => Some("path"),
            Self::Status => Some("status"),
            Self::All => None,
            Self::Column(name) => Some(name),
        }
    }
}

/// As `--by` takes it.
impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.column().unwrap_or("all"))
    }
}
