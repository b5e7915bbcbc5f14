//! Meters the processor seconds per second that a worker takes, and sheds load above half a processor.
//!
//! The cost of a request is known only when the request is done. So the worker peeks before the request, and charges after it.
//!
//! `cargo run --example cpu_seconds` prints the processor time and the denials every 200 ms.

use cpu_time::ThreadTime;
use ratelimit_meter::{Exponential, Quota};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// One cell is this much processor time. A request costs at least one cell, since work of zero cells would be free.
const CELL: Duration = Duration::from_micros(10);

/// Does some work, and occasionally much work.
fn serve(request: u64) {
    let rounds = if request % 10 == 0 { 4_000_000 } else { 400_000 };
    black_box((0..rounds).fold(request, |sum, round| black_box(sum ^ round).rotate_left(5)));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Half a processor: 50,000 cells of 10 us in each second, averaged over one.
    let meter = Exponential::from_quota("50000/s".parse::<Quota>()?)?;
    let start = Instant::now();
    let (mut served, mut shed) = (0, 0);
    for line in 1..=20_u32 {
        while start.elapsed() < line * Duration::from_millis(200) {
            if meter.peek().is_err() {
                shed += 1;
                // A denied client retries a little later.
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let begin = ThreadTime::now();
            serve(served);
            let cells = begin.elapsed().as_nanos().div_ceil(CELL.as_nanos());
            meter.charge(u64::try_from(cells)?);
            served += 1;
        }
        let share = meter.rate() * CELL.as_secs_f64();
        let bar = "#".repeat((0..60).filter(|&step| f64::from(step) < share * 60.0).count());
        println!(
            "{:4.1} s  {share:5.2} processors  {served:5} served  {shed:5} shed  {bar}",
            start.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
