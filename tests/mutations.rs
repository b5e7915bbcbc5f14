//! Each known way to break a law, and the test that notices.
//!
//! `cargo test --test mutations -- --ignored --nocapture` makes each mutation in a copy of the package and expects the named test
//! to fail there. An ordinary run checks that every mutation still has its place in the source, so that the list cannot rot.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Mutation {
    what: &'static str,
    file: &'static str,
    /// The text that stands once in the file, and what is put in its place.
    from: &'static str,
    to: &'static str,
    /// Where the test stands, and its name.
    target: Target,
    falls: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Unit,
    Test(&'static str),
    Loom,
}
use Target::{Loom, Test, Unit};

const MUTATIONS: [Mutation; 30] = [
    Mutation {
        what: "the cost is rounded down",
        file: "src/limit.rs",
        from: "self.cell * n as u64",
        to: "self.cell * n as u64 - 1",
        target: Test("laws_batches"),
        falls: "n_singles_at_one_instant_equal_one_batch_of_n",
    },
    Mutation {
        what: "GCRA without the max",
        file: "src/algorithms/virtual_scheduling.rs",
        from: "tat.max(now) + cost",
        to: "tat + cost",
        target: Test("laws_window"),
        falls: "idle_time_is_not_saved_up",
    },
    Mutation {
        what: "the leaky bucket's level falls below zero",
        file: "src/algorithms/continuous_state.rs",
        from: "Ok(drained + level + cost)",
        to: "Ok(mark + cost)",
        target: Test("laws_window"),
        falls: "idle_time_is_not_saved_up",
    },
    Mutation {
        what: "the tolerance one unit too large",
        file: "src/limit.rs",
        from: "tolerance: (u64::from(burst) << f) + 1,",
        to: "tolerance: (u64::from(burst) << f) + 2,",
        target: Test("laws_capacity"),
        falls: "at_full_speed_a_rested_meter_admits_not_half_a_cell_more",
    },
    Mutation {
        what: "the tolerance without its unit",
        file: "src/limit.rs",
        from: "tolerance: (u64::from(burst) << f) + 1,",
        to: "tolerance: u64::from(burst) << f,",
        target: Test("laws_needless"),
        falls: "a_cell_exactly_at_its_instant_conforms_from_the_beginning_of_time_on",
    },
    Mutation {
        what: "the tolerance one cell too large",
        file: "src/limit.rs",
        from: "tolerance: (u64::from(burst) << f) + 1,",
        to: "tolerance: (u64::from(burst + 1) << f) + 1,",
        target: Test("laws_capacity"),
        falls: "a_rested_meter_admits_exactly_its_burst",
    },
    Mutation {
        what: "the tolerance one cell too small",
        file: "src/algorithms/virtual_scheduling.rs",
        from: "self.limit.tolerance() - cost",
        to: "(self.limit.tolerance() - cost).saturating_sub(self.limit.cost(1))",
        target: Test("laws_capacity"),
        falls: "a_rested_meter_admits_exactly_its_burst",
    },
    Mutation {
        what: "the standard's tau a nanosecond too large",
        file: "src/limit.rs",
        from: "tolerance: rest_ns << k,",
        to: "tolerance: (rest_ns + 1) << k,",
        target: Test("laws_capacity"),
        falls: "gcra_of_t_and_tau_admits_one_cell_and_floor_tau_over_t",
    },
    Mutation {
        what: "now is rounded up",
        file: "src/scale.rs",
        from: "(product >> u64::BITS) as u64",
        to: "(product >> u64::BITS) as u64 + 1",
        target: Unit,
        falls: "scale::tests::a_volume_is_short_by_less_than_two_units",
    },
    Mutation {
        what: "the rate is rounded up",
        file: "src/scale.rs",
        from: "checked_mul(1 << Self::FRACTION)? / u128::from(ns)",
        to: "checked_mul(1 << Self::FRACTION)?.div_ceil(u128::from(ns))",
        target: Unit,
        falls: "scale::tests::a_volume_is_short_by_less_than_two_units",
    },
    Mutation {
        what: "the unit is as coarse as a cell",
        file: "src/limit.rs",
        from: "let (scale, f) = (0..u64::BITS)",
        to: "let (scale, f) = (0..1)",
        target: Test("laws_denial"),
        falls: "a_denial_is_exact_to_the_nanosecond",
    },
    Mutation {
        what: "a denial stores",
        file: "src/cell.rs",
        from: "let seen = word.load();\n    let (new, made) = decide(seen)?;",
        to: "let seen = word.load();\n    let (new, made) = decide(seen).inspect_err(|_| drop(word.compare_exchange_weak(seen, seen)))?;",
        target: Unit,
        falls: "cell::tests::a_denial_by_gcra_loads_once_and_stores_nothing",
    },
    Mutation {
        what: "a store for the exchange, seen by loom",
        file: "src/cell.rs",
        from: "self.compare_exchange_weak(seen, new, Ordering::Relaxed, Ordering::Relaxed)\n            .map(drop)",
        to: "{ let _ = seen; self.store(new, Ordering::Relaxed); Ok(()) }",
        target: Loom,
        falls: "gcra::two_threads_and_one_cell_make_one_winner",
    },
    Mutation {
        what: "a store for the exchange, seen by threads",
        file: "src/cell.rs",
        from: "self.compare_exchange_weak(seen, new, Ordering::Relaxed, Ordering::Relaxed)\n            .map(drop)",
        to: "{ let _ = seen; self.store(new, Ordering::Relaxed); Ok(()) }",
        target: Test("threads"),
        falls: "threads_at_one_instant_admit_one_burst_in_all",
    },
    Mutation {
        what: "a lost race is not decided again",
        file: "src/cell.rs",
        from: "Err(current) => retry(word, seen, current, decide),",
        to: "Err(_) => Ok(made),",
        target: Unit,
        falls: "cell::tests::a_lost_race_is_decided_again_on_the_winners_word",
    },
    Mutation {
        what: "the instant of a denial is rounded down",
        file: "src/scale.rs",
        from: "(u128::from(volume) << Self::FRACTION).div_ceil(u128::from(self.0))",
        to: "(u128::from(volume) << Self::FRACTION) / u128::from(self.0)",
        target: Test("laws_denial"),
        falls: "a_denial_is_exact_to_the_nanosecond",
    },
    Mutation {
        what: "the instant of a denial is a nanosecond late",
        file: "src/scale.rs",
        from: "u64::try_from(ns).unwrap_or(u64::MAX)",
        to: "u64::try_from(ns).map_or(u64::MAX, |ns| ns.saturating_add(1))",
        target: Test("laws_denial"),
        falls: "a_denial_is_exact_to_the_nanosecond",
    },
    Mutation {
        what: "a batch beyond the burst is multiplied before it is told",
        file: "src/meter/mod.rs",
        from: "n > self.max_batch()",
        to: "n > self.max_batch().saturating_add(1)",
        target: Test("laws_batches"),
        falls: "a_batch_that_can_never_conform_is_told_so_at_any_size_and_changes_nothing",
    },
    Mutation {
        what: "an empty batch is decided",
        file: "src/meter/mod.rs",
        from: "if n == 0 {",
        to: "if n == u32::MAX {",
        target: Test("laws_batches"),
        falls: "an_empty_batch_conforms_and_changes_nothing",
    },
    Mutation {
        what: "a time line begins when its meter is made",
        file: "src/nanos.rs",
        from: "const LEAD: u64 = 86_400 * NANOS_PER_SEC;",
        to: "const LEAD: u64 = 0;",
        target: Test("laws_time"),
        falls: "an_instant_taken_just_before_building_is_exact",
    },
    Mutation {
        what: "a time line without an end",
        file: "src/nanos.rs",
        from: "if ns < Self::END.0 { Self(ns) } else { Self::END }",
        to: "Self(ns)",
        target: Unit,
        falls: "nanos::tests::positions_and_instants_are_inverse_up_to_the_end_of_the_line",
    },
    Mutation {
        what: "a denial by a clock that is behind is final",
        file: "src/meter/mod.rs",
        from: "denial.is_over_by(now.later(C::LAG_NS))",
        to: "denial.is_over_by(now)",
        target: Unit,
        falls: "meter::tests::a_denial_short_by_less_than_the_clock_is_behind_is_decided_once_more",
    },
    Mutation {
        what: "the counter is believed for ever",
        file: "src/clock/anchor.rs",
        from: "if since >= self.window.get() {",
        to: "if self.window.get() == 0 {",
        target: Unit,
        falls: "clock::anchor::tests::after_a_jump_of_the_counter_an_anchor_comes_first",
    },
    Mutation {
        what: "counts become time at full speed",
        file: "src/clock/anchor.rs",
        from: "exact - (exact >> 9)",
        to: "exact",
        target: Unit,
        falls: "clock::anchor::tests::slewing_by_500_ppm_is_followed",
    },
    Mutation {
        what: "a counter out of step is not given up",
        file: "src/clock/anchor.rs",
        from: "if self.strikes.get() < STRIKES {",
        to: "if self.strikes.get() > 0 {",
        target: Unit,
        falls: "clock::anchor::tests::a_false_frequency_is_believed_for_a_window_at_most_and_given_up_or_followed",
    },
    Mutation {
        what: "what leases hold is not set aside",
        file: "src/lease.rs",
        from: "GCRA::from_quota(quota.allow_burst(shared))?",
        to: "GCRA::from_quota(quota)?",
        target: Test("leases"),
        falls: "every_window_over_several_leases_holds_the_quota",
    },
    Mutation {
        what: "one lease too many",
        file: "src/lease.rs",
        from: "if taken < u64::from(most) {",
        to: "if taken <= u64::from(most) {",
        target: Test("leases"),
        falls: "a_dropped_lease_gives_back_its_cells_and_its_place",
    },
    Mutation {
        what: "cells are given back twice",
        file: "src/lease.rs",
        from: "let held = core::mem::take(&mut self.held);",
        to: "let held = self.held;",
        target: Test("leases"),
        falls: "what_an_idle_lease_holds_is_missing_until_it_gives_it_back",
    },
    Mutation {
        what: "T is taken apart rounded down",
        file: "src/limit.rs",
        from: "ns(interval_of(weight).div_ceil(u128::from(cells)))",
        to: "ns(interval_of(weight) / u128::from(cells))",
        target: Test("parameters"),
        falls: "t_is_rounded_up_and_tau_down",
    },
    Mutation {
        what: "a heavy cell is charged as a light one",
        file: "src/limit.rs",
        from: "cell: u64::from(weight) << f,",
        to: "cell: u64::from(weight.min(1)) << f,",
        target: Test("laws_needless"),
        falls: "saturation_reaches_the_rate_and_never_exceeds_it",
    },
];

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_mutation_has_its_place_in_the_source() {
    for Mutation { what, file, from, .. } in MUTATIONS {
        let source = fs::read_to_string(package().join(file)).unwrap();
        assert_eq!(source.matches(from).count(), 1, "{what}: {from:?} in {file}");
    }
}

#[test]
#[ignore = "builds the package once for each mutation: minutes; a stage of .ci/run"]
fn every_mutation_is_caught_by_its_test() {
    let bench = Bench::set_up().unwrap();
    let targets: BTreeSet<Target> = MUTATIONS.iter().map(|mutation| mutation.target).collect();
    for target in targets {
        let all = MUTATIONS.iter().filter(|mutation| mutation.target == target);
        let names: BTreeSet<&str> = all.map(|mutation| mutation.falls).collect();
        for name in names {
            let verdict = bench.run(target, name);
            assert!(
                verdict.passes,
                "without a mutation {name} should pass:\n{}",
                verdict.output
            );
        }
    }
    let mut survivors = Vec::new();
    for mutation in &MUTATIONS {
        let source = fs::read_to_string(package().join(mutation.file)).unwrap();
        bench
            .write(mutation.file, &source.replace(mutation.from, mutation.to))
            .unwrap();
        let verdict = bench.run(mutation.target, mutation.falls);
        bench.write(mutation.file, &source).unwrap();
        println!(
            "{}: {}",
            mutation.what,
            if verdict.falls { mutation.falls } else { "SURVIVES" }
        );
        if !verdict.falls {
            survivors.push(format!(
                "{}: {} says\n{}",
                mutation.what, mutation.falls, verdict.output
            ));
        }
    }
    assert!(survivors.is_empty(), "{}", survivors.join("\n\n"));
}

/// A copy of the package, to be mutated.
struct Bench {
    copy: PathBuf,
    target: PathBuf,
}

struct Verdict {
    passes: bool,
    /// The named test ran and failed; a build that fails is no catch.
    falls: bool,
    output: String,
}

impl Bench {
    fn set_up() -> Result<Self, Box<dyn Error>> {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations");
        let copy = scratch.join("package");
        if copy.exists() {
            fs::remove_dir_all(&copy)?;
        }
        for name in [
            "Cargo.toml",
            "Cargo.lock",
            "README.md",
            "src",
            "tests",
            "benches",
            "docs",
        ] {
            copy_all(&package().join(name), &copy.join(name))?;
        }
        // The copy is a workspace of one package.
        let manifest = fs::read_to_string(copy.join("Cargo.toml"))?.replace(r#"members = ["crates/*"]"#, "");
        fs::write(copy.join("Cargo.toml"), manifest)?;
        let target = scratch.join("target");
        Ok(Self { copy, target })
    }

    fn write(&self, file: &str, text: &str) -> Result<(), Box<dyn Error>> {
        Ok(fs::write(self.copy.join(file), text)?)
    }

    fn run(&self, target: Target, test: &str) -> Verdict {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(&self.copy)
            .args(["test", "--offline", "--target-dir"]);
        cargo.env_remove("RUSTFLAGS").env("PROPTEST_FAILURE_PERSISTENCE", "off");
        match target {
            Unit => cargo.arg(&self.target).arg("--lib"),
            Test(name) => cargo.arg(&self.target).args(["--test", name]),
            Loom => cargo
                .env("RUSTFLAGS", "--cfg ratelimit_meter_loom")
                .arg(self.target.with_file_name("loom"))
                .args(["--release", "--test", "loom"]),
        };
        let run = cargo.args(["--", "--exact", test]).output().unwrap();
        let output = [run.stdout, run.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat();
        Verdict {
            passes: output.contains(&format!("test {test} ... ok")),
            falls: output.contains(&format!("test {test} ... FAILED")),
            output,
        }
    }
}

/// Copies a file, or a folder with all in it.
fn copy_all(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    if !from.is_dir() {
        fs::create_dir_all(to.parent().unwrap_or(Path::new("")))?;
        fs::copy(from, to)?;
        return Ok(());
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.path().extension() != Some(OsStr::new("proptest-regressions")) {
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
