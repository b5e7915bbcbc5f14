//! Checks law 1 over a record of admissions, in any order of their making.

use super::limit::Limit;
use super::oracle::Verdict;

/// The admissions, with their times.
#[derive(Clone, Debug)]
pub(crate) struct Admissions {
    limit: Limit,
    admitted: Vec<(i128, u32)>,
}

impl Admissions {
    pub(crate) fn new(limit: Limit) -> Admissions {
        Admissions {
            limit,
            admitted: Vec::new(),
        }
    }

    /// Records the answer to a question, and returns it.
    pub(crate) fn note(&mut self, n: u32, at: i128, verdict: Verdict) -> Verdict {
        if verdict == Verdict::Conforms {
            self.admitted.push((at, n));
        }
        verdict
    }

    pub(crate) fn merge(&mut self, other: Admissions) {
        self.admitted.extend(other.admitted);
    }

    /// Returns the number of cells admitted.
    pub(crate) fn cells(&self) -> u64 {
        self.admitted.iter().map(|&(_, n)| u64::from(n)).sum()
    }

    /// Returns by how much the worst of all windows is above B + R*v, in 1/period of a unit.
    ///
    /// Only windows from one admission to another matter. The worst window that ends at an admission is one of two. Either it is that admission
    /// alone; or the worst window of the admission before, extended to this one, less the volume that drains in between.
    pub(crate) fn worst_window(&self) -> i128 {
        let mut sorted = self.admitted.clone();
        sorted.sort_unstable();
        let mut worst = 0;
        let mut ending_here = 0;
        let mut before = None;
        for (at, n) in sorted {
            let drained = before.map_or(0, |then| self.limit.drained(at - then));
            ending_here = (ending_here - drained).max(0) + self.limit.cost(n);
            worst = worst.max(ending_here);
            before = Some(at);
        }
        worst - self.limit.capacity()
    }

    /// Asserts law 1: at most B + R*v in every window, and two units of 2^-f for the resolution of the word.
    #[track_caller]
    pub(crate) fn assert_law_1(&self, who: &str) {
        let (worst, allowed) = (self.worst_window(), self.limit.resolution());
        assert!(
            worst <= allowed,
            "{who}: a window is {worst}/{period} units above B + R*v and the resolution explains {allowed}: {limit:?}",
            period = self.limit.period,
            limit = self.limit,
        );
    }
}

/// A record for the law of windows: the time, the cost of the cells put in (negative if taken out), and whether they were admitted.
pub(crate) type NetAdmissions = Vec<(i128, i128, bool)>;

/// Returns by how much the worst window that ends with an admission is above B + R*v. A charge may go into debt, but no cell is admitted while there
/// is debt.
pub(crate) fn worst_net_window(limit: &Limit, net: &[(i128, i128, bool)]) -> i128 {
    let (mut worst, mut ending_here, mut before) = (0, 0, None);
    for &(at, cost, admitted) in net {
        let drained = before.map_or(0, |then| limit.drained(at - then));
        ending_here = (ending_here - drained).max(0) + cost;
        if admitted {
            worst = worst.max(ending_here);
        }
        ending_here = ending_here.max(0);
        before = Some(at);
    }
    worst - limit.capacity()
}
