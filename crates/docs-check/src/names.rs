//! Names of types: two types have one name only if they are one concept.

use regex::Regex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::{fs, io};
use walkdir::WalkDir;

/// The names that several types have, and the one concept that the types are.
const SHARED: [(&str, &str); 13] = [
    (
        "AtomicWord",
        "an atomic word; in one build its exchanges fail spuriously",
    ),
    ("Cli", "the command line of a program"),
    ("Current", "a pointer to the current value, and loom's model of it"),
    (
        "DefaultClock",
        "the default clock, with and without the standard library",
    ),
    ("ExactBucket", "a reference in exact numbers"),
    ("Next", "a pointer to the next node, and loom's model of it"),
    ("PairState", "two words that are exchanged as one"),
    ("Random", "the generator SplitMix64"),
    ("Readme", "the examples of a README, which run as tests"),
    ("Sealed", "the supertrait of a trait that no other crate implements"),
    ("Ticket", "a key, hashed and with its tier"),
    ("Timer", "a timer that wakes a queue, and the models' timer"),
    ("Volumes", "the volumes that two limits have drained"),
];

/// The places of definition of each name, as `FILE:LINE`.
type Places = BTreeMap<String, Vec<String>>;

/// Returns a problem for each name of several types in `src` and `crates/*/src` that are not one concept.
pub(crate) fn repeated(root: &Path) -> io::Result<Vec<String>> {
    let mut places = Places::new();
    let mut folders = vec![root.join("src")];
    for member in fs::read_dir(root.join("crates"))? {
        folders.push(member?.path().join("src"));
    }
    for folder in folders.iter().filter(|folder| folder.exists()) {
        for entry in WalkDir::new(folder).sort_by_file_name() {
            let path = entry?.into_path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                define(&mut places, &file, &fs::read_to_string(&path)?);
            }
        }
    }
    Ok(problems(&places, &SHARED))
}

/// The definition of a type. Aliases count unless they are indented, as associated types are.
static DEFINITION: LazyLock<Regex> = LazyLock::new(|| {
    let visible = r"(?:pub(?:\([^)]*\))? )?";
    let definition = format!(r"^(?:\s*{visible}(?:struct|enum|trait|union)|{visible}type) ([A-Z]\w*)");
    Regex::new(&definition).expect("a valid expression")
});

/// Adds the types of a file.
fn define(places: &mut Places, file: &str, text: &str) {
    for (line, number) in text.lines().zip(1..) {
        if let Some(found) = DEFINITION.captures(line) {
            let place = format!("{file}:{number}");
            places.entry(found[1].to_owned()).or_default().push(place);
        }
    }
}

fn problems(places: &Places, shared: &[(&str, &str)]) -> Vec<String> {
    let is_shared = |name: &str| shared.iter().any(|(other, _)| *other == name);
    let repeated = places
        .iter()
        .filter(|(name, places)| places.len() > 1 && !is_shared(name))
        .map(|(name, places)| {
            format!(
                "several types are named {name}: {}; rename all but one, or if they are one concept, add it to SHARED in names.rs",
                places.join(", ")
            )
        });
    let stale = shared
        .iter()
        .filter(|(name, _)| places.get(*name).is_none_or(|places| places.len() < 2))
        .map(|(name, _)| format!("{name} names at most one type: remove it from SHARED in names.rs"));
    repeated.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(files: &[(&str, &str)]) -> Places {
        let mut places = Places::new();
        for (file, text) in files {
            define(&mut places, file, text);
        }
        places
    }

    #[test]
    fn second_type_of_one_name_is_a_problem() {
        for second in [
            "struct Line;",
            "    pub(super) enum Line {",
            "pub trait Line: Copy {",
            "type Line = u8;",
        ] {
            let places = places(&[("a.rs", "\npub(crate) struct Line<'a> {"), ("b.rs", second)]);
            let found = problems(&places, &[]);
            assert_eq!(found.len(), 1, "{second}");
            assert!(
                found[0].starts_with("several types are named Line: a.rs:2, b.rs:1;"),
                "{found:?}"
            );
            assert_eq!(problems(&places, &[("Line", "a line")]), [""; 0]);
        }
    }

    #[test]
    fn uses_and_associated_types_define_nothing() {
        let text = "struct Line;\nimpl Line {}\n    type Line = u8;\n// struct Line\nlet line = Line;\nstruct Lines;";
        assert_eq!(problems(&places(&[("a.rs", text)]), &[]), [""; 0]);
    }

    #[test]
    fn shared_name_of_one_type_is_a_problem() {
        let shared = [("Line", "a line"), ("Word", "a word")];
        let found = problems(&places(&[("a.rs", "struct Line;")]), &shared);
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
