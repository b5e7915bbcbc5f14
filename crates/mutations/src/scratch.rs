//! A copy of the workspace, in which one mutation at a time is applied, built and tested.

use crate::list::{self, Mutation, TestTarget};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The number of runs of a test until it catches its mutation. Threads and the time at which a test starts differ from run to run, so a run may miss a
/// mutation by chance.
const MOST_RUNS: u32 = 3;

/// The pause between two looks at a running test.
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct Scratch {
    root: PathBuf,
}

/// The result of one test. Only a test that fails catches a mutation; a build that fails shows nothing.
#[derive(Debug)]
pub(crate) enum TestOutcome {
    Passes,
    /// With its output.
    Fails(String),
    /// With its reason, the absence of a server for instance.
    Skips(String),
    /// The binary has no such test.
    Missing,
    DoesNotBuild(String),
    DoesNotEnd(Duration),
}

impl Display for TestOutcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passes => f.write_str("passes"),
            Self::Fails(output) => write!(f, "fails:\n{output}"),
            Self::Skips(reason) => f.write_str(reason),
            Self::Missing => f.write_str("is not in that binary"),
            Self::DoesNotBuild(errors) => write!(f, "does not build:\n{errors}"),
            Self::DoesNotEnd(timeout) => write!(f, "still runs after {timeout:?}"),
        }
    }
}

/// The parts that are used of a message of Cargo.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
}

/// A test binary, and the folder of its package, in which its tests run.
#[derive(Debug)]
pub(crate) struct Binary {
    executable: PathBuf,
    package: PathBuf,
}

/// A test binary, or the errors of the compiler.
pub(crate) type Build = Result<Binary, String>;

impl Scratch {
    /// Makes the copy equal to the workspace. Files that are equal keep their times, so that Cargo does not build them again.
    pub(crate) fn set_up(workspace: &Path, root: &Path) -> io::Result<Self> {
        let copy = root.join("workspace");
        fs::create_dir_all(&copy)?;
        let files: BTreeSet<_> = list::files(workspace).into_iter().collect();
        for file in list::files(&copy) {
            if !files.contains(&file) {
                fs::remove_file(copy.join(file))?;
            }
        }
        for file in &files {
            let (from, to) = (fs::read(workspace.join(file))?, copy.join(file));
            if fs::read(&to).ok().as_ref() != Some(&from) {
                fs::create_dir_all(to.parent().unwrap_or(&copy))?;
                fs::write(to, from)?;
            }
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Takes over the dependencies that the workspace has built, of tests and of models, unless this copy has built some.
    pub(crate) fn begin_with_workspace(&self, workspace: &Path) -> io::Result<()> {
        for (from, to) in [("debug", "plain/debug"), ("loom/model", "loom/model")] {
            let (from, to) = (workspace.join("target").join(from), self.root.join("target").join(to));
            for part in [".fingerprint", "build", "deps"] {
                if from.join(part).exists() && !to.join(part).exists() {
                    copy_tree(&from.join(part), &to.join(part))?;
                }
            }
        }
        Ok(())
    }

    fn path(&self, file: &Path) -> PathBuf {
        self.root.join("workspace").join(file)
    }

    /// Runs the test of a mutation with the mutation in its place, and takes the mutation back. Returns the last outcome and the number of runs.
    pub(crate) fn run_mutated(&self, mutation: &Mutation, timeout: Duration) -> io::Result<(TestOutcome, u32)> {
        let path = self.path(&mutation.file);
        let source = fs::read_to_string(&path)?;
        fs::write(&path, mutation.apply(&source).map_err(io::Error::other)?)?;
        let outcome = self.run_until_caught(mutation, timeout);
        fs::write(&path, source)?;
        outcome
    }

    fn run_until_caught(&self, mutation: &Mutation, timeout: Duration) -> io::Result<(TestOutcome, u32)> {
        let build = self.build(&mutation.target);
        let mut runs = 1;
        loop {
            let outcome = self.run(&build, &mutation.test, timeout)?;
            if runs == MOST_RUNS || !matches!(outcome, TestOutcome::Passes) {
                return Ok((outcome, runs));
            }
            runs += 1;
        }
    }

    /// Runs one test of a build.
    pub(crate) fn run(&self, build: &Build, test: &str, timeout: Duration) -> io::Result<TestOutcome> {
        match build {
            Ok(binary) => self.test(binary, test, timeout),
            Err(errors) => Ok(TestOutcome::DoesNotBuild(errors.clone())),
        }
    }

    /// Builds a test binary of the copy as it is.
    pub(crate) fn build(&self, target: &TestTarget) -> Build {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(self.root.join("workspace"));
        cargo.args(["test", "--no-run", "--message-format=json-render-diagnostics"]);
        match target.lone_package() {
            Some(package) => cargo.args(["-p", package]),
            None => cargo.args(["--workspace", "--all-features"]),
        };
        if target.cfg.as_deref() == Some("loom") {
            cargo.args(["--features", "__loom", "--profile", "model"]);
        }
        match target.binary.as_str() {
            "lib" => cargo.arg("--lib"),
            name => cargo.args(["--test", name]),
        };
        // Builds are most of the time: no debug information, and only the changed part of a crate.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "1");
        cargo.env_remove("RUSTFLAGS").arg("--target-dir");
        match &target.cfg {
            Some(cfg) => cargo
                .arg(self.root.join("target").join(cfg))
                .env("RUSTFLAGS", format!("--cfg ratelimit_meter_{cfg}")),
            None => cargo.arg(self.root.join("target").join("plain")),
        };
        let output = cargo
            .output()
            .map_err(|error| format!("cargo cannot be run: {error}"))?;
        let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Message>();
        let binary = messages
            .flatten()
            .filter_map(|message| Some((message.executable?, message.manifest_path?)))
            .last();
        match binary {
            Some((executable, manifest)) if output.status.success() => Ok(Binary {
                executable,
                package: manifest.parent().unwrap_or(&self.root).to_owned(),
            }),
            _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Runs one test of a binary.
    fn test(&self, binary: &Binary, test: &str, timeout: Duration) -> io::Result<TestOutcome> {
        let printed = self.root.join("output");
        let file = File::create(&printed)?;
        let mut child = Command::new(&binary.executable)
            .args(["--exact", test, "--nocapture"])
            .current_dir(&binary.package)
            .env("CARGO_MANIFEST_DIR", &binary.package)
            // The same cases each time; a failure is enough, so no smaller one is looked for, nor is it recorded.
            .env("PROPTEST_RNG_SEED", "6")
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        let end = Instant::now() + timeout;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                child.kill()?;
                child.wait()?;
                return Ok(TestOutcome::DoesNotEnd(timeout));
            }
            thread::sleep(POLL);
        };
        let printed = String::from_utf8_lossy(&fs::read(&printed)?).into_owned();
        let skipped = printed.lines().find_map(|line| Some(&line[line.find("skipped: ")?..]));
        Ok(match (status.success(), skipped) {
            (false, _) => TestOutcome::Fails(printed),
            (true, Some(reason)) => TestOutcome::Skips(reason.to_owned()),
            (true, None) if printed.contains("test result: ok. 1 passed") => TestOutcome::Passes,
            (true, None) => TestOutcome::Missing,
        })
    }
}

/// Copies a folder with all in it, and the times of its files, by which Cargo knows that they are up to date. Libraries, which are most of the bytes,
/// become links: the compiler replaces them and never changes one.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let extension = from.extension().and_then(OsStr::to_str);
        if entry.file_type()?.is_dir() {
            copy_tree(&from, &to)?;
        } else if extension.is_none() && from.parent().is_some_and(|folder| folder.ends_with("deps")) {
            // Linked programs are large, and cargo links the needed ones again.
        } else if !(matches!(extension, Some("rlib" | "rmeta" | "so")) && fs::hard_link(&from, &to).is_ok()) {
            fs::copy(&from, &to)?;
            File::options()
                .write(true)
                .open(&to)?
                .set_modified(entry.metadata()?.modified()?)?;
        }
    }
    Ok(())
}
