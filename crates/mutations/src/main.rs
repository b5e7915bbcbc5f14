//! Applies each known way to break a law to a copy of the workspace, and expects the named test to fail there.

mod list;
mod queue;
mod scratch;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use list::Mutation;
use queue::{Job, MutationQueue};
use scratch::{Scratch, TestOutcome};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

/// Applies each known mutation to a copy of the workspace and expects the named test to fail there
#[derive(Parser, Debug)]
#[command(name = "mutations")]
struct Cli {
    /// Only mutations whose list, name, file, binary or test contains one of these texts
    filters: Vec<String>,
    /// Print the mutations with the tests that catch them, and apply none
    #[arg(long, conflicts_with_all = ["check", "reanchor"])]
    list: bool,
    /// Only check that the text of each mutation occurs once in its file
    #[arg(long, conflicts_with = "reanchor")]
    check: bool,
    /// Correct the file of each mutation whose text has moved to another one
    #[arg(long)]
    reanchor: bool,
    /// Number of copies that are built and tested side by side [default: one for each processor, at most 4]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Time after which a test that still runs is stopped and reported
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns `true` if every selected mutation is as it should be.
fn run(cli: &Cli) -> Result<bool, Box<dyn Error>> {
    let (workspace, lists) = (workspace(), lists());
    if cli.reanchor {
        for line in list::reanchor(&workspace, &lists)? {
            println!("{line}");
        }
    }
    let mut mutations = list::read(&lists)?;
    mutations.retain(|mutation| cli.filters.is_empty() || cli.filters.iter().any(|filter| mutation.contains(filter)));
    if mutations.is_empty() {
        return Err("no mutation contains any of these texts; `--list` prints them all".into());
    }
    if cli.list {
        for mutation in &mutations {
            println!("{mutation}\n    caught by {}: {}", mutation.target, mutation.test);
        }
        return Ok(true);
    }
    let misplaced = list::misplaced(&workspace, &mutations);
    for error in &misplaced {
        eprintln!("error: {error}");
    }
    if cli.check || cli.reanchor || !misplaced.is_empty() {
        println!(
            "{} of {} mutations have their place in the source",
            mutations.len() - misplaced.len(),
            mutations.len()
        );
        return Ok(misplaced.is_empty());
    }
    apply(&workspace, mutations, cli)
}

/// The root of the workspace that this tool was built in.
fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}

fn lists() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lists")
}

/// Applies each mutation, prints each result, and returns `true` if all are caught.
fn apply(workspace: &Path, mutations: Vec<Mutation>, cli: &Cli) -> Result<bool, Box<dyn Error>> {
    let start = Instant::now();
    let total = mutations.len();
    let processors = thread::available_parallelism().map_or(1, |processors| processors.get().min(4));
    let jobs = cli.jobs.unwrap_or(processors).clamp(1, total);
    let bar = ProgressBar::new(total as u64).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed}, {eta} left: {msg}").expect("a valid template"),
    );
    bar.set_message("building the tests");
    let queue = MutationQueue::new(mutations);
    let copies = copies(workspace, jobs)?;
    let report = RunReport {
        bar,
        caught: AtomicUsize::new(0),
        problems: Mutex::default(),
    };
    let timeout = Duration::from_secs(cli.timeout);
    thread::scope(|scope| {
        let workers: Vec<_> = copies
            .iter()
            .map(|copy| scope.spawn(|| work(copy, &queue, timeout, &report)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    report.bar.finish_and_clear();
    let problems = report.problems.into_inner()?;
    for problem in &problems {
        println!("\n{problem}");
    }
    println!(
        "{} of {total} mutations are caught by their tests ({} copies, {:.0} s)",
        report.caught.into_inner(),
        copies.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(problems.is_empty())
}

/// Sets up `jobs` copies of the workspace, each with the dependencies that the workspace has built.
fn copies(workspace: &Path, jobs: usize) -> io::Result<Vec<Scratch>> {
    let root = workspace.join("target/mutations");
    let copy = |number: usize| {
        let copy = Scratch::set_up(workspace, &root.join(number.to_string()))?;
        copy.begin_with_workspace(workspace)?;
        Ok(copy)
    };
    (0..jobs).map(copy).collect()
}

/// Results as they come, and the problems to be explained at the end.
struct RunReport {
    bar: ProgressBar,
    caught: AtomicUsize,
    problems: Mutex<Vec<String>>,
}

impl RunReport {
    /// Reports a mutation and the outcome of the last run of its test.
    fn applied(&self, mutation: &Mutation, outcome: &TestOutcome, runs: u32, took: Duration) {
        let verdict = match outcome {
            TestOutcome::Fails(_) => "caught",
            TestOutcome::Passes => "SURVIVES",
            _ => "INVALID",
        };
        let chance = if runs > 1 {
            format!(", in {runs} runs")
        } else {
            String::new()
        };
        self.line(&format!(
            "{verdict:<8} {mutation} ({:.1} s{chance})",
            took.as_secs_f64()
        ));
        if matches!(outcome, TestOutcome::Fails(_)) {
            self.caught.fetch_add(1, Ordering::Relaxed);
        } else {
            self.problem(format!(
                "{mutation}: {} in {} should fail, but it {outcome}",
                mutation.test, mutation.target
            ));
        }
    }

    /// Reports a mutation that is not applied, because its test does not pass without it.
    fn not_applied(&self, mutation: &Mutation, outcome: &TestOutcome) {
        if let TestOutcome::Skips(reason) = outcome {
            return self.line(&format!("{:<8} {mutation} ({reason})", "skipped"));
        }
        self.line(&format!("{:<8} {mutation}", "INVALID"));
        self.problem(format!(
            "{mutation}: without a mutation, {} in {} should pass, but it {outcome}",
            mutation.test, mutation.target
        ));
    }

    fn line(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
        self.bar.inc(1);
    }

    fn problem(&self, problem: String) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.push(problem);
    }
}

/// Does jobs of the queue until none is left.
fn work(copy: &Scratch, queue: &MutationQueue, timeout: Duration, report: &RunReport) -> io::Result<()> {
    let mut target = None;
    while let Some(job) = queue.next(target.as_ref()) {
        match job {
            Job::Unmutated { target: next, tests } => {
                report.bar.set_message(next.to_string());
                let build = copy.build(&next);
                for test in tests {
                    let outcome = copy.run(&build, &test, timeout)?;
                    if matches!(outcome, TestOutcome::Passes) {
                        continue;
                    }
                    for mutation in queue.remove(&next, &test) {
                        report.not_applied(&mutation, &outcome);
                    }
                }
                target = Some(next);
            }
            Job::Mutated(mutation) => {
                let began = Instant::now();
                let (outcome, runs) = copy.run_mutated(&mutation, timeout)?;
                report.applied(&mutation, &outcome, runs, began.elapsed());
                target = Some(mutation.target);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_has_its_place_in_the_source() {
        let mutations = list::read(&lists()).unwrap();
        let misplaced = list::misplaced(&workspace(), &mutations);
        assert!(misplaced.is_empty(), "{}", misplaced.join("\n"));
    }

    #[test]
    fn no_two_mutations_have_one_name() {
        let mut names: Vec<_> = list::read(&lists()).unwrap().iter().map(ToString::to_string).collect();
        names.sort();
        let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
