//! The report as Markdown.

use super::{MeterReport, MeterRow, MeterTable};
use crate::contender::ContenderKind;
use core::fmt::{self, Write as _};

/// A floor whose quartiles lie farther apart than this was measured on a machine that did something else as well.
const CALM: f64 = 1.1;

impl MeterReport {
    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "{}", self.heading);
        for table in &self.cases {
            let _ = write!(text, "\n{table}");
        }
        text
    }
}

impl fmt::Display for MeterTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n", self.case)?;
        let peer = self.best_peer.unwrap_or("none");
        writeln!(f, "Best peer: {peer}. Floor: {}.{}\n", self.floor, Noise(self))?;
        let of_two_threads = self.rows.iter().any(|row| row.p50_ns.is_some());
        write!(f, "| contender | ns | quartiles | least..most | x peer | x floor |")?;
        writeln!(f, "{}", if of_two_threads { " p50 ns | p99.9 ns |" } else { "" })?;
        write!(f, "|---|---|---|---|---|---|")?;
        writeln!(f, "{}", if of_two_threads { "---|---|" } else { "" })?;
        self.rows.iter().try_for_each(|row| row.fmt(f))
    }
}

impl fmt::Display for MeterRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ContenderKind::Ours => write!(f, "| **{}**", self.contender)?,
            ContenderKind::Peer => write!(f, "| {}", self.contender)?,
            ContenderKind::KeyedPeer => write!(f, "| {} (keyed)", self.contender)?,
            ContenderKind::Floor => write!(f, "| _{}_", self.contender)?,
        }
        if self.wrong_answers > 0 {
            write!(f, " **{} WRONG ANSWERS**", self.wrong_answers)?;
        }
        let ns = self.ns;
        write!(
            f,
            " | {:.1} | {:.1}..{:.1}",
            ns.median, ns.lower_quartile, ns.upper_quartile
        )?;
        write!(f, " | {:.1}..{:.1} | {}", ns.min, ns.max, Ratio(self.to_best_peer))?;
        write!(f, " | {} |", Ratio(self.to_floor))?;
        if let (Some(half), Some(most)) = (self.p50_ns, self.p99_9_ns) {
            write!(f, " {:.0} | {:.0} |", half.median, most.median)?;
        }
        writeln!(f)
    }
}

/// A ratio to another value.
struct Ratio(Option<f64>);

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |times| write!(f, "{times:.2}"))
    }
}

/// A word of warning if the floor of the case was not calm.
struct Noise<'a>(&'a MeterTable);

impl fmt::Display for Noise<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let floor = self.0.rows.iter().find(|row| row.contender == self.0.floor);
        let spread = floor.map_or(1.0, |row| row.ns.upper_quartile / row.ns.lower_quartile);
        if spread > CALM {
            write!(f, " NOISY: its quartiles lie a factor of {spread:.2} apart.")?;
        }
        Ok(())
    }
}
