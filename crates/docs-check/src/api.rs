//! The public API of a crate, as rustdoc's pages show it.

use crate::page::text;
use regex::Regex;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// The items on the page that lists them all.
static ITEM: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"<li><a href="([^"]+)\.html">"#).expect("a valid expression"));

/// The parts of an item's page: the declaration, the headers of implementations, methods and associated items. Methods of traits are left out, since
/// the trait's page has them.
static PART: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?s)<pre class="rust item-decl"><code>(?<item>.*?)</code></pre>"#,
        r#"|<h3 class="code-header">(?<header>.*?)</h3>"#,
        r#"|<section id="[^"]*" class="(?<kind>(?:method|associated)[^"]*)">[^\n]*?<h4 class="code-header">(?<method>.*?)</h4>"#,
    ))
    .expect("a valid expression")
});

/// Lists the public items of the crate whose pages are in the folder.
pub(crate) fn listing(folder: &Path) -> Result<String, String> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}; build the pages with `cargo doc` first", path.display()))
    };
    let all = read("all.html")?;
    let mut items: Vec<_> = ITEM.captures_iter(&all).map(|item| item[1].to_owned()).collect();
    items.sort();
    let mut listing = String::new();
    for item in items {
        write_item(&mut listing, &item, &read(&format!("{item}.html"))?);
    }
    Ok(listing)
}

/// Writes one item, whose address is `keyed/struct.Stats` for instance.
fn write_item(listing: &mut String, address: &str, page: &str) {
    let (modules, name) = address.rsplit_once('/').unwrap_or(("", address));
    let (kind, name) = name.split_once('.').unwrap_or(("", name));
    let path: Vec<_> = modules
        .split('/')
        .filter(|module| !module.is_empty())
        .chain([name])
        .collect();
    writeln!(listing, "{kind} {}", path.join("::")).expect("a string takes any text");
    // The repeated parts of a page: of an alias, all of its type; of a trait, its implementors; of a type, the blanket implementations.
    let ends: &[&str] = match kind {
        "type" => &["</pre>"],
        _ => &[
            "id=\"blanket-implementations\"",
            "id=\"foreign-impls\"",
            "id=\"implementors\"",
        ],
    };
    let end = ends.iter().filter_map(|end| page.find(end)).min();
    let end = end.map_or(
        page.len(),
        |end| if kind == "type" { end + "</pre>".len() } else { end },
    );
    let auto = page.find("id=\"synthetic-implementations\"").unwrap_or(end);
    for part in PART.captures_iter(&page[..end]) {
        let start = part.get(0).map_or(0, |part| part.start());
        let (indent, line) = if let Some(item) = part.name("item") {
            let item = text(item.as_str());
            // The items of a trait follow one by one. The text of a constant is no part of the surface.
            let body = match kind {
                "trait" => item.find(" {"),
                "constant" => item.find(" = \""),
                _ => None,
            };
            let body = body.unwrap_or(item.len());
            (4, item[..body].to_owned())
        } else if let Some(header) = part.name("header") {
            let header = text(header.as_str());
            // Variants, which the declaration has, are headers too.
            if !header.starts_with("impl") || header.contains("StructuralPartialEq") {
                continue;
            }
            (4, header)
        } else if part["kind"].contains("trait-impl") {
            continue;
        } else {
            (8, text(&part["method"]))
        };
        // Of the automatic traits only those that callers rely on; the rest come and go with the compiler.
        let is_kept = start < auto || line.contains("Send for") || line.contains("Sync for");
        if is_kept {
            writeln!(listing, "{:indent$}{line}", "").expect("a string takes any text");
        }
    }
}

/// The number of functions and methods in a listing.
pub(crate) fn functions(listing: &str) -> usize {
    let is_function = |line: &&str| line.starts_with("fn ") || (line.starts_with("        ") && line.contains("fn "));
    listing.lines().filter(is_function).count()
}

/// Types that callers only name, as parameters of other types: no public function returns a value of them.
const PARAMETERS: [&str; 11] = [
    "ContinuousState",
    "Entry",
    "Excess",
    "ExponentialAverage",
    "KeyOf",
    "Peak",
    "Rfc2697",
    "Swappable",
    "TableKeys",
    "TwoBuckets",
    "VirtualScheduling",
];

/// Imports and comments: a type is not tested where they name it.
static UNTESTED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?ms)^\s*use .*?;|//[^\n]*").expect("a valid expression"));

/// Returns the public types of a listing that have no Debug output, or no test of it: `tests` does not name them.
pub(crate) fn without_debug_test(listing: &str, tests: &str) -> Vec<String> {
    let tests = UNTESTED.replace_all(tests, "");
    let words: HashSet<_> = tests.split(|c: char| c != '_' && !c.is_alphanumeric()).collect();
    let mut untested = Vec::new();
    let mut lines = listing.lines().peekable();
    while let Some(line) = lines.next() {
        let mut has_debug = false;
        while let Some(part) = lines.next_if(|part| part.starts_with(' ')) {
            has_debug |= part.trim_start().starts_with("impl") && part.contains("Debug for ");
        }
        let Some(path) = line.strip_prefix("struct ").or_else(|| line.strip_prefix("enum ")) else {
            continue;
        };
        let name = path.rsplit("::").next().unwrap_or(path);
        if !has_debug || !(words.contains(name) || PARAMETERS.contains(&name)) {
            untested.push(path.to_owned());
        }
    }
    untested
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_its_declaration_traits_and_methods() {
        let page = concat!(
            "<pre class=\"rust item-decl\"><code>pub struct S { }</code></pre>",
            "<section id=\"impl-S\" class=\"impl\"><h3 class=\"code-header\">impl S</h3></section>\n",
            "<section id=\"method.f\" class=\"method\"><a>Source</a><h4 class=\"code-header\">pub fn f(&amp;self)</h4></section>\n",
            "<h3 class=\"code-header\">impl Clone for S</h3>\n",
            "<section id=\"method.clone\" class=\"method trait-impl\"><h4 class=\"code-header\">fn clone(&amp;self)</h4></section>\n",
            "<h2 id=\"synthetic-implementations\">\n<h3 class=\"code-header\">impl Send for S</h3>\n",
            "<h3 class=\"code-header\">impl Unpin for S</h3>\n",
            "<h2 id=\"blanket-implementations\">\n<h3 class=\"code-header\">impl&lt;T&gt; Any for T</h3>",
        );
        let mut listing = String::new();
        write_item(&mut listing, "keyed/struct.S", page);
        assert_eq!(
            listing,
            "struct keyed::S\n    pub struct S { .. }\n    impl S\n        pub fn f(&self)\n    impl Clone for S\n    impl Send for S\n"
        );
    }

    #[test]
    fn type_without_debug_or_its_test_is_found() {
        let shown = "enum m::A\n    pub enum A { B }\n    impl Debug for A\nfn f\n    pub fn f()\n";
        let hidden = "struct C\n    pub struct C;\n    impl Clone for C\ntrait T\n    impl Debug for dyn T\n";
        let listing = format!("{shown}{hidden}");
        assert_eq!(without_debug_test(&listing, "show(A); show(C);"), ["C"]);
        let imported = "use m::{\n A, C};\nuse A; // A\nshow(AB)";
        assert_eq!(without_debug_test(&listing, imported), ["m::A", "C"]);
    }
}
