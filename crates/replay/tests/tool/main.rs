//! Runs the tool as its users do: inputs, errors and reports.

mod cases;
mod cli;
mod debug;
mod dialects;
mod errors;
mod follow;
mod formats;
mod inputs;
mod keys;
mod limiters;
mod nginx;
mod order;
mod pictures;
mod questions;
mod recorded;
mod run;
mod selection;
#[cfg(feature = "store")]
mod stored;
#[path = "../../benches/support/mod.rs"]
mod support;
mod years;

use std::io::Write as _;

/// Returns whether a program can be run. If it cannot, prints a message; under `CI=true` the program must be there.
fn has_program(program: &str, argument: &str) -> bool {
    let is_there = std::process::Command::new(program).arg(argument).output().is_ok();
    if !is_there {
        let is_ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(!is_ci, "no {program}, but CI=true");
        // Not by `eprintln`, whose text the test harness hides if the test passes.
        let _ = writeln!(std::io::stderr(), "skipped: no {program}");
    }
    is_there
}
