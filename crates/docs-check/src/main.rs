//! Checks the public API against its snapshot, the links of the documentation, the words of all text, and the names of types.

mod api;
mod links;
mod names;
mod page;
mod prose;
mod words;

use clap::{Parser, Subcommand};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

/// Check the documentation; build it first with `cargo doc --workspace --no-deps --all-features`
#[derive(Parser, Debug)]
#[command(name = "docs-check")]
struct Cli {
    #[command(subcommand)]
    check: DocsCheck,
}

#[derive(Subcommand, Debug)]
enum DocsCheck {
    /// Compare the public API of each published crate with its snapshot, and find types whose Debug output no test shows
    Api {
        /// Record the API as it is
        #[arg(long)]
        update: bool,
    },
    /// Find dead relative links and anchors, in the pages of each published crate and in all Markdown files
    Links,
    /// Count the words and shapes of sentences that the project excludes, in comments, docs, messages and test names
    Words {
        /// Count below this folder instead of the workspace
        #[arg(long, value_name = "FOLDER")]
        root: Option<PathBuf>,
    },
    /// Find types of one name with different meanings
    Names,
}

fn main() -> ExitCode {
    let result = match Cli::parse().check {
        DocsCheck::Api { update } => check_api(update),
        DocsCheck::Links => check_links(),
        DocsCheck::Words { root } => check_words(root.as_deref().unwrap_or(workspace())),
        DocsCheck::Names => check_names(),
    };
    match result {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            for problem in problems {
                eprintln!("error: {problem}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace that this tool was built in.
fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The names and folders of the published library crates: of those that have a snapshot, and of those that should.
fn crates() -> io::Result<Vec<(String, PathBuf)>> {
    let mut names = Vec::new();
    for folder in [workspace().to_owned()].into_iter().chain(folders()?) {
        let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else {
            continue;
        };
        let is_published = !manifest.lines().any(|line| line == "publish = false");
        if is_published && folder.join("src/lib.rs").exists() {
            let value = |key: &str| {
                let start = format!("{key} = \"");
                let mut values = manifest.lines().filter_map(|line| line.strip_prefix(&start));
                values.next().map(|value| value.trim_end_matches('"').to_owned())
            };
            // A section `[lib]` names the crate otherwise than the package.
            let lib = manifest.split("[lib]\n").nth(1).unwrap_or_default();
            let lib = lib.lines().next().and_then(|line| line.strip_prefix("name = \""));
            let name = lib.map(|name| name.trim_end_matches('"').to_owned());
            names.extend(name.or_else(|| value("name")).map(|name| (name, folder)));
        }
    }
    names.sort();
    Ok(names)
}

/// The folder into which `cargo doc` writes, by the same variable as Cargo.
fn pages() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), PathBuf::from)
        .join("doc")
}

fn folders() -> io::Result<Vec<PathBuf>> {
    fs::read_dir(workspace().join("crates"))?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

/// Crates without a test of each type's Debug output: the types of one are the servers and proxies of tests, those of the other the parts of a
/// program. (Its own test covers the types that hold a limit, or many keys.)
const WITHOUT_LIST: [&str; 2] = ["ratelimit_meter_store_check", "meter_replay"];

/// The text of the files `debug.rs` in the test binaries of a crate.
fn debug_tests(folder: &Path) -> io::Result<String> {
    let mut text = String::new();
    for binary in fs::read_dir(folder.join("tests"))? {
        text += &fs::read_to_string(binary?.path().join("debug.rs")).unwrap_or_default();
    }
    Ok(text)
}

fn check_api(update: bool) -> Result<Vec<String>, Box<dyn Error>> {
    let mut problems = Vec::new();
    for (name, folder) in crates()? {
        let now = api::listing(&pages().join(&name))?;
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("api")
            .join(format!("{name}.txt"));
        let before = fs::read_to_string(&path).unwrap_or_default();
        if update {
            fs::write(&path, &now)?;
        } else if before != now {
            let diff = similar::TextDiff::from_lines(&before, &now);
            problems.push(format!(
                "the public API of {name} is not that of its snapshot; if it should change, run `docs-check api --update`\n{}",
                diff.unified_diff().context_radius(1)
            ));
        } else {
            println!("{name}: {} functions, as in the snapshot", api::functions(&now));
        }
        if !WITHOUT_LIST.contains(&&*name) {
            let untested = api::without_debug_test(&now, &debug_tests(&folder)?).into_iter();
            problems
                .extend(untested.map(|name| format!("no test of Debug output names {name}: add a line to `debug.rs`")));
        }
    }
    Ok(problems)
}

fn check_links() -> Result<Vec<String>, Box<dyn Error>> {
    let mut problems = links::dead_in_markdown(workspace())?;
    let docs = pages();
    for (name, _) in crates()? {
        problems.extend(links::dead_in_pages(&docs, &name)?);
    }
    if problems.is_empty() {
        println!("no dead links");
    }
    Ok(problems)
}

fn check_names() -> Result<Vec<String>, Box<dyn Error>> {
    let problems = names::repeated(workspace())?;
    if problems.is_empty() {
        println!("each name of a type has one meaning");
    }
    Ok(problems)
}

/// The most excluded words per 10,000.
const MOST_EXCLUDED: f64 = 2.0;

fn check_words(root: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let count = words::count(root)?;
    for hit in &count.hits {
        println!("{hit}");
    }
    for (rule, hits) in count.by_rule() {
        println!("{hits:6} {rule}");
    }
    let (hits, words, rate) = (count.hits.len(), count.words, count.rate());
    println!("{hits} of {words} words are excluded: {rate:.1} per 10,000");
    let problem =
        format!("more than {MOST_EXCLUDED} of 10,000 words are excluded: rephrase them as each line proposes");
    Ok((rate > MOST_EXCLUDED).then_some(problem).into_iter().collect())
}
