//! Which format a file has.

use super::access_log::LogLines;
use super::{delimited, pcap};

/// A format of recorded traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Common or Combined Log Format, each line for itself.
    AccessLog,
    /// Text with a header line, its fields delimited by this byte.
    Delimited(u8),
    /// A packet capture.
    Pcap(pcap::Dialect),
    /// A packet capture in the newer format, which is not read.
    PcapNg,
}

impl Format {
    /// The format of the file that begins with `head`.
    ///
    /// Captures are known by how they begin. One log line makes a log, even behind bad lines. Otherwise a first line
    /// with a tab or a comma, or with nothing but the name of the time column (`time`, or a usual one), is a header.
    /// What is neither is taken for a log, the lines of which are all bad.
    #[must_use]
    pub fn of(head: &[u8], time: Option<&str>) -> Self {
        if let Some(dialect) = pcap::Dialect::of(head) {
            return Self::Pcap(dialect);
        }
        if head.starts_with(b"\n\r\r\n") && head.get(8..12).is_some_and(is_byte_order) {
            return Self::PcapNg;
        }
        let mut lines = head
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::trim_ascii_end)
            .filter(|line| !line.is_empty());
        let first = lines.clone().next().unwrap_or_default();
        let delimiter = if first.contains(&b'\t') { b'\t' } else { b',' };
        let is_text = !first.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
        let is_header = is_text && (first.contains(&delimiter) || delimited::time_column(&[first], time).is_some());
        let mut log = LogLines::default();
        if is_header && !lines.any(|line| log.parse(line).is_ok()) {
            Self::Delimited(delimiter)
        } else {
            Self::AccessLog
        }
    }
}

fn is_byte_order(magic: &[u8]) -> bool {
    matches!(magic, [0x1a, 0x2b, 0x3c, 0x4d] | [0x4d, 0x3c, 0x2b, 0x1a])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"2001:db8::1 - - [20/May/2024:00:00:18 +0000] "GET /a,b HTTP/1.1" 200 5"#;

    #[test]
    fn formats_are_told_apart() {
        let comma = Format::Delimited(b',');
        let tab = Format::Delimited(b'\t');
        let log = Format::AccessLog;
        let table = [
            (String::new(), log),
            ("\n \r\n\t\n".to_owned(), log),
            (LOG.to_owned(), log),
            (format!("\n{LOG}\n"), log),
            (format!(" \"Mozilla/5.0 (like Gecko, or not)\"\n{LOG}\n"), log),
            (" \"curl/7.54.0\"\n".to_owned(), log),
            ("what is this\n".to_owned(), log),
            ("time,key\n1,a\n".to_owned(), comma),
            ("\r\n\r\ntime,key\r\n".to_owned(), comma),
            ("host\ttime\turl, or more\n".to_owned(), tab),
            ("TimeStamp\n1\n".to_owned(), comma),
            ("1\n2\n".to_owned(), log),
            ("\u{1}\0,\t\n".to_owned(), log),
        ];
        for (head, format) in table {
            assert_eq!(Format::of(head.as_bytes(), None), format, "{head:?}");
        }
        assert_eq!(Format::of(b"when\n1\n", Some("when")), comma);
    }
}
