//! Formats numbers, durations and foreign text for people.

use std::fmt::Display;
use std::time::Duration;

/// Formats a number with its thousands separated: `1,234,567`.
#[must_use]
pub fn grouped(number: impl Display) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number of things: `1 key`, `2,000 keys`.
#[must_use]
pub fn counted(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

/// Formats `part` of `whole` in percent, to a tenth. Only zero is shown as 0 %, and only the whole as 100 %.
#[must_use]
pub fn percent(part: u128, whole: u128) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    // Saturates only past 2^117, more than 2^53 requests of 2^64 cells.
    let tenths = part.saturating_mul(2_000).saturating_add(whole) / whole.saturating_mul(2);
    match tenths {
        0 if part > 0 => "<0.1%".to_owned(),
        1000.. if part < whole => ">99.9%".to_owned(),
        _ => format!("{}.{}%", tenths / 10, tenths % 10),
    }
}

/// Formats a duration in its one or two largest units, rounded up: `1.5 ms`, `2 min 5 s`, `3 d 4 h`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    for (unit, name, below) in [
        (1, "ns", 1_000),
        (1_000, "us", 1_000),
        (1_000_000, "ms", 1_000),
        (1_000_000_000, "s", 60),
    ] {
        let tenths = (ns * 10).div_ceil(unit);
        if tenths < below * 10 {
            let fraction = if tenths % 10 == 0 {
                String::new()
            } else {
                format!(".{}", tenths % 10)
            };
            return format!("{}{fraction} {name}", tenths / 10);
        }
    }
    let seconds = ns.div_ceil(1_000_000_000);
    let minutes = seconds.div_ceil(60);
    let hours = minutes.div_ceil(60);
    let (large, large_name, small, small_name) = if seconds < 3_600 {
        (seconds / 60, "min", seconds % 60, "s")
    } else if minutes < 24 * 60 {
        (minutes / 60, "h", minutes % 60, "min")
    } else {
        (hours / 24, "d", hours % 24, "h")
    };
    if small == 0 {
        format!("{large} {large_name}")
    } else {
        format!("{large} {large_name} {small} {small_name}")
    }
}

/// Formats foreign bytes so that they cannot control a terminal, cut in the middle to at most `width` characters.
#[must_use]
pub fn printable(bytes: &[u8], width: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown: Vec<char> = Vec::new();
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    if shown.len() > width {
        let tail = width / 3;
        let head = width.saturating_sub(tail + 3);
        shown.splice(head..shown.len() - tail, "...".chars());
    }
    shown.into_iter().collect()
}

/// Wraps words into lines of at most `width` characters; a longer word has a line of its own.
#[must_use]
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut length = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let word_length = word.chars().count();
        match lines.last_mut() {
            Some(line) if length + 1 + word_length <= width => {
                line.push(' ');
                line.push_str(word);
                length += 1 + word_length;
            }
            _ => {
                lines.push(word.to_owned());
                length = word_length;
            }
        }
    }
    lines
}

/// Formats a message as one line, with any names in it.
#[must_use]
pub fn one_line(message: impl Display) -> String {
    printable(message.to_string().as_bytes(), usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated_by_commas() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345, "12,345"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!([counted(1, "key"), counted(1_000, "key")], ["1 key", "1,000 keys"]);
    }

    #[test]
    fn percentage_never_rounds_denials_or_admissions_away() {
        let table = [
            (0, 0, "-"),
            (0, 7, "0.0%"),
            (7, 7, "100.0%"),
            (1, 3, "33.3%"),
            (2, 3, "66.7%"),
            (1, 2_000, "0.1%"),
            (1, 2_001, "<0.1%"),
            (1_999, 2_000, ">99.9%"),
            (1_999, 2_001, "99.9%"),
            (1 << 115, 1 << 116, "50.0%"),
        ];
        for (part, whole, text) in table {
            assert_eq!(percent(part, whole), text, "{part} of {whole}");
        }
    }

    #[test]
    fn durations_are_rounded_up_to_shown_digits() {
        let table = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1 us"),
            (1_001, "1.1 us"),
            (999_901, "1 ms"),
            (37_000_000, "37 ms"),
            (59_900_000_000, "59.9 s"),
            (59_900_000_001, "1 min"),
            (125_000_000_000, "2 min 5 s"),
            (3_599_000_000_001, "1 h"),
            (86_340_000_000_000, "23 h 59 min"),
            (86_340_000_000_001, "1 d"),
            (273_600_000_000_000, "3 d 4 h"),
        ];
        for (ns, text) in table {
            assert_eq!(duration(Duration::from_nanos(ns)), text);
        }
    }

    #[test]
    fn text_is_wrapped_at_blanks() {
        assert_eq!(wrapped("a bc  def ghij", 6), ["a bc", "def", "ghij"]);
        assert_eq!(wrapped("é é é", 3), ["é é", "é"]);
        assert_eq!(wrapped("a-word-too-long b", 4), ["a-word-too-long", "b"]);
        assert!(wrapped(" ", 4).is_empty());
    }

    #[test]
    fn control_characters_of_foreign_text_are_escaped() {
        assert_eq!(printable(b"plain", 5), "plain");
        assert_eq!(printable(b"\x1b[31mred\t\xff", 40), "\\u{1b}[31mred\\t\u{fffd}");
        assert_eq!(printable(b"abcdefghijkl", 10), "abcd...jkl");
        assert_eq!(one_line("a\nb\u{1b}: \u{e9}"), "a\\nb\\u{1b}: \u{e9}");
        assert_eq!(printable("é".repeat(20).as_bytes(), 9).chars().count(), 9);
    }
}
