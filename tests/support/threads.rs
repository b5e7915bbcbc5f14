//! Threads that start at once.

use std::sync::Barrier;
use std::thread;

pub(crate) const THREADS: u64 = 4;

/// Runs `work` in every thread, all started at once, and gathers the results.
pub(crate) fn in_threads<T: Send>(work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let barrier = barrier();
    thread::scope(|scope| {
        let start = |thread| {
            let (work, barrier) = (&work, &barrier);
            scope.spawn(move || {
                barrier.wait();
                work(thread)
            })
        };
        let threads: Vec<_> = (0..THREADS).map(start).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    })
}

/// Returns a barrier at which all threads wait for each other.
pub(crate) fn barrier() -> Barrier {
    Barrier::new(usize::try_from(THREADS).expect("a few"))
}
