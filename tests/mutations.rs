//! Each known way to break a law, and the test that notices.
//!
//! `cargo test --test mutations -- --ignored --nocapture` makes each mutation in a copy of the package and expects the named test
//! to fail there. An ordinary run checks that every mutation still has its place in the source, so that the list cannot rot.

#[path = "mutations/adjustable.rs"]
mod adjustable;
#[path = "mutations/decisions.rs"]
mod decisions;
#[path = "mutations/dual.rs"]
mod dual;
#[path = "mutations/keyed.rs"]
mod keyed;
#[path = "mutations/many.rs"]
mod many;
#[path = "mutations/several.rs"]
mod several;
#[path = "mutations/ticks.rs"]
mod ticks;
#[path = "mutations/verbs.rs"]
mod verbs;
#[path = "mutations/waiting.rs"]
mod waiting;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

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
    /// A test of `crates/tokio`.
    Waiting(&'static str),
    /// Its models.
    WaitingLoom,
}
use Target::{Loom, Test, Unit, Waiting, WaitingLoom};

/// All of them.
fn mutations() -> impl Iterator<Item = &'static Mutation> {
    [
        adjustable::MUTATIONS,
        decisions::MUTATIONS,
        dual::MUTATIONS,
        keyed::MUTATIONS,
        many::MUTATIONS,
        several::MUTATIONS,
        ticks::MUTATIONS,
        verbs::MUTATIONS,
        waiting::MUTATIONS,
    ]
    .into_iter()
    .flatten()
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_mutation_has_its_place_in_the_source() {
    for Mutation { what, file, from, .. } in mutations() {
        let source = fs::read_to_string(package().join(file)).unwrap();
        assert_eq!(source.matches(from).count(), 1, "{what}: {from:?} in {file}");
    }
}

#[test]
#[ignore = "builds the package once for each mutation: minutes; a stage of .ci/run"]
fn every_mutation_is_caught_by_its_test() {
    let survivors: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = parts()
            .into_iter()
            .enumerate()
            .map(|(number, part)| scope.spawn(move || survivors(&Bench::set_up(number).unwrap(), part)))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(survivors.is_empty(), "{}", survivors.join("\n\n"));
}

/// The mutations in about equal parts, one for each processor, since a build of one package keeps about one busy; those of one target
/// together, so that it is built for one part only.
fn parts() -> Vec<Vec<&'static Mutation>> {
    let processors = thread::available_parallelism().map_or(1, |processors| processors.get().min(4));
    let mut targets: BTreeMap<Target, Vec<&Mutation>> = BTreeMap::new();
    for mutation in mutations() {
        targets.entry(mutation.target).or_default().push(mutation);
    }
    let mut targets: Vec<_> = targets.into_values().collect();
    targets.sort_by_key(|mutations| Reverse(mutations.len()));
    let mut parts = vec![Vec::new(); processors];
    for mutations in targets {
        let least = parts.iter_mut().min_by_key(|part| part.len());
        least.expect("at least one").extend(mutations);
    }
    parts
}

/// Those of the mutations that no test notices, and what the test said.
fn survivors(bench: &Bench, mutations: Vec<&Mutation>) -> Vec<String> {
    let tests: BTreeSet<(Target, &str)> = mutations
        .iter()
        .map(|mutation| (mutation.target, mutation.falls))
        .collect();
    for (target, name) in tests {
        let verdict = bench.run(target, name);
        assert!(
            verdict.passes,
            "without a mutation {name} should pass:\n{}",
            verdict.output
        );
    }
    let mut survivors = Vec::new();
    for mutation in mutations {
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
    survivors
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
    fn set_up(number: usize) -> Result<Self, Box<dyn Error>> {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mutations-{number}"));
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
            "examples",
            "docs",
            "crates/tokio",
        ] {
            copy_all(&package().join(name), &copy.join(name))?;
        }
        // The copy is a workspace of what is mutated.
        let members = (r#"members = ["crates/*"]"#, r#"members = ["crates/tokio"]"#);
        let manifest = fs::read_to_string(copy.join("Cargo.toml"))?.replace(members.0, members.1);
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
        // That a mutant falls is enough: the same cases each time, and nobody asks for the smallest.
        cargo.env_remove("RUSTFLAGS").env("PROPTEST_FAILURE_PERSISTENCE", "off");
        cargo
            .env("PROPTEST_RNG_SEED", "6")
            .env("PROPTEST_MAX_SHRINK_ITERS", "0");
        // Builds are most of it: nobody debugs a mutant, and one differs from the last by a line.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "1");
        match target {
            Unit | Test(_) | Waiting(_) => cargo.arg(&self.target),
            Loom | WaitingLoom => cargo
                .env("RUSTFLAGS", "--cfg ratelimit_meter_loom")
                .arg(self.target.with_file_name("loom"))
                .arg("--release"),
        };
        match target {
            Unit => cargo.arg("--lib"),
            Test(name) => cargo.args(["--test", name]),
            Loom => cargo.args(["--test", "loom"]),
            Waiting(name) => cargo.args(["-p", "ratelimit_meter_tokio", "--test", name]),
            WaitingLoom => cargo.args(["-p", "ratelimit_meter_tokio", "--lib"]),
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
