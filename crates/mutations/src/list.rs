//! The lists of mutations, and the places of their texts in the source.

use regex::Regex;
use serde::Deserialize;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, io};
use toml_edit::DocumentMut;
use walkdir::WalkDir;

/// A list as it stands in its file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// The package whose tests catch the mutations of this list.
    package: String,
    #[serde(rename = "mutation")]
    mutations: Vec<ListEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListEntry {
    name: String,
    file: String,
    from: String,
    to: String,
    binary: String,
    cfg: Option<String>,
    test: String,
}

/// One way to break a law.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    /// The file of the list, without its extension.
    list: String,
    name: String,
    /// Relative to the workspace.
    pub(crate) file: PathBuf,
    from: String,
    to: String,
    pub(crate) target: TestTarget,
    /// The test that catches it, with its modules.
    pub(crate) test: String,
}

/// A test binary.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TestTarget {
    pub(crate) package: String,
    /// `--cfg ratelimit_meter_CFG`, if any.
    pub(crate) cfg: Option<String>,
    /// The name of the binary in `tests/`, or `lib` for the unit tests.
    pub(crate) binary: String,
}

impl Display for Mutation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.list, self.name)
    }
}

impl Display for TestTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.package, self.binary)
    }
}

impl TestTarget {
    /// Returns the package if the target is built for it alone, which takes Cargo less time. It builds some dependencies with different features:
    /// few for the core, for models and for unit tests. Without a package, the dependencies are those of `cargo test --workspace --all-features`.
    pub(crate) fn lone_package(&self) -> Option<&str> {
        let is_small = self.package == "ratelimit_meter" || self.cfg.is_some() || self.binary == "lib";
        is_small.then_some(&self.package)
    }
}

impl Mutation {
    /// Returns `true` if the text occurs in the list's name, the mutation's name, its file, its binary or its test.
    pub(crate) fn contains(&self, text: &str) -> bool {
        let file = self.file.to_string_lossy();
        [&self.to_string(), &*file, &self.target.to_string(), &self.test]
            .iter()
            .any(|field| field.contains(text))
    }

    /// Returns the source with the mutation, or an error if its text does not occur exactly once.
    pub(crate) fn apply(&self, source: &str) -> Result<String, String> {
        match places(&self.from, source).as_slice() {
            [place] => Ok([&source[..place.start], self.to.trim(), &source[place.end..]].concat()),
            places => Err(format!(
                "{self}: its text occurs {} times in {}, not once: {}",
                places.len(),
                self.file.display(),
                self.from.trim()
            )),
        }
    }
}

/// Where the text occurs in the source. Any white space in the text stands for any white space in the source.
fn places(text: &str, source: &str) -> Vec<Range<usize>> {
    let words: Vec<_> = text.split_whitespace().map(regex::escape).collect();
    let regex = Regex::new(&words.join(r"\s+")).expect("escaped words are a valid expression");
    regex.find_iter(source).map(|place| place.range()).collect()
}

/// Reads all lists of the folder.
pub(crate) fn read(folder: &Path) -> Result<Vec<Mutation>, Box<dyn Error>> {
    let mut mutations = Vec::new();
    for path in list_files(folder)? {
        let text = fs::read_to_string(&path)?;
        let list: List = toml_edit::de::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        mutations.extend(list.mutations.into_iter().map(|entry| Mutation {
            list: name.clone().into_owned(),
            name: entry.name,
            file: entry.file.into(),
            from: entry.from,
            to: entry.to,
            target: TestTarget {
                package: list.package.clone(),
                cfg: entry.cfg,
                binary: entry.binary,
            },
            test: entry.test,
        }));
    }
    Ok(mutations)
}

fn list_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths: io::Result<Vec<_>> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    Ok(paths)
}

/// Returns an error for each mutation whose text does not occur exactly once in its file.
pub(crate) fn misplaced(workspace: &Path, mutations: &[Mutation]) -> Vec<String> {
    let mut errors = Vec::new();
    for mutation in mutations {
        let source = fs::read_to_string(workspace.join(&mutation.file)).unwrap_or_default();
        if let Err(error) = mutation.apply(&source) {
            let elsewhere = files_with(workspace, &mutation.from);
            errors.push(match elsewhere.as_slice() {
                [] => error,
                [file] => format!(
                    "{error}\n    it occurs in {}; `--reanchor` corrects that",
                    file.display()
                ),
                files => format!("{error}\n    it occurs in {} files: {files:?}", files.len()),
            });
        }
    }
    errors
}

/// The source files in which the text occurs exactly once, relative to the workspace.
fn files_with(workspace: &Path, text: &str) -> Vec<PathBuf> {
    let is_source = |file: &&PathBuf| file.components().any(|part| part.as_os_str() == "src");
    let holds = |file: &&PathBuf| {
        let source = fs::read_to_string(workspace.join(file)).unwrap_or_default();
        places(text, &source).len() == 1
    };
    let files = files(workspace);
    files.iter().filter(is_source).filter(holds).cloned().collect()
}

/// All files of the workspace, relative to its root, except hidden files and build outputs.
pub(crate) fn files(workspace: &Path) -> Vec<PathBuf> {
    let is_source = |name: &OsStr| name != "target" && !name.as_encoded_bytes().starts_with(b".");
    let walk = WalkDir::new(workspace)
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || is_source(entry.file_name()));
    walk.flatten()
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| Some(entry.path().strip_prefix(workspace).ok()?.to_owned()))
        .collect()
}

/// Corrects, in the lists, the file of each mutation whose text has moved to exactly one other file. Returns a line for each.
pub(crate) fn reanchor(workspace: &Path, folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut lines = Vec::new();
    for path in list_files(folder)? {
        let mut document: DocumentMut = fs::read_to_string(&path)?.parse()?;
        let Some(tables) = document
            .get_mut("mutation")
            .and_then(|item| item.as_array_of_tables_mut())
        else {
            continue;
        };
        let before = lines.len();
        for table in tables.iter_mut() {
            let field = |name| table.get(name).and_then(|item| item.as_str()).unwrap_or_default();
            let (file, from) = (field("file"), field("from"));
            let source = fs::read_to_string(workspace.join(file)).unwrap_or_default();
            if places(from, &source).len() == 1 {
                continue;
            }
            if let [now] = files_with(workspace, from).as_slice() {
                let now = now.to_string_lossy().into_owned();
                lines.push(format!("{}: {file} is now {now}", field("name")));
                table["file"] = toml_edit::value(now);
            }
        }
        if lines.len() > before {
            fs::write(&path, document.to_string())?;
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_with_any_white_space() {
        let source = "fn f() {\n    let a = 1;\n    let b = 2;\n}";
        let found = |text| -> Vec<&str> { places(text, source).into_iter().map(|place| &source[place]).collect() };
        assert_eq!(found("let a = 1; let b = 2;"), ["let a = 1;\n    let b = 2;"]);
        assert_eq!(found("\n        let  b\n = 2;\n"), ["let b = 2;"]);
        assert_eq!(found("let"), ["let", "let"]);
        assert!(found("let c").is_empty());
    }
}
