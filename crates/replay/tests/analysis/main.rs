//! What the tool makes of traffic: other limiters, limits per key, lists of denials, configuration and pictures.

mod follow;
mod limiters;
mod nginx;
mod pictures;
mod questions;
mod selection;
#[cfg(feature = "store")]
mod stored;
#[path = "../tool/mod.rs"]
mod tool;

/// Whether a program can be run. If it cannot, says so; under `CI=true` it must be there.
fn has_program(program: &str, argument: &str) -> bool {
    let is_there = std::process::Command::new(program).arg(argument).output().is_ok();
    if !is_there {
        eprintln!("skipped: no {program}");
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "{program} is required in CI"
        );
    }
    is_there
}
