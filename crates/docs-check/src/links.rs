//! Dead links: relative ones to a file or an anchor that does not exist.

use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use regex::Regex;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;
use std::{fs, io};
use walkdir::WalkDir;

/// A link to another host, or one that rustdoc resolves and checks.
fn is_foreign(link: &str) -> bool {
    link.contains("://") || link.contains("::") || link.starts_with("mailto:") || link.starts_with("data:")
}

/// Returns the dead links of all Markdown files of the workspace.
pub(crate) fn dead_in_markdown(workspace: &Path) -> io::Result<Vec<String>> {
    let is_source = |name: &str| name != "target" && !name.starts_with('.');
    let files: Vec<PathBuf> = WalkDir::new(workspace)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || is_source(&entry.file_name().to_string_lossy()))
        .flatten()
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    let mut dead = Vec::new();
    for file in &files {
        let markdown = fs::read_to_string(file)?;
        let folder = file.parent().unwrap_or(workspace);
        for link in links(&markdown).iter().filter(|link| !is_foreign(link)) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                file.clone()
            } else {
                folder.join(path)
            };
            let is_markdown = target.extension().is_some_and(|extension| extension == "md");
            let is_alive = target.exists()
                && (anchor.is_empty() || !is_markdown || anchors(&fs::read_to_string(&target)?).contains(anchor));
            if !is_alive {
                let file = file.strip_prefix(workspace).unwrap_or(file);
                dead.push(format!("{}: dead link to {link}", file.display()));
            }
        }
    }
    Ok(dead)
}

/// The targets of all links and images.
fn links(markdown: &str) -> Vec<String> {
    Parser::new(markdown)
        .filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.into_string()),
            _ => None,
        })
        .collect()
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new(markdown) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let anchor = slug(&heading.take().unwrap_or_default());
                let again = (1..).map(|number| format!("{anchor}-{number}"));
                let mut free = [anchor.clone()]
                    .into_iter()
                    .chain(again)
                    .filter(|anchor| !anchors.contains(anchor));
                let free = free.next();
                anchors.extend(free);
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    anchors
}

fn slug(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"<a [^>]*?href="([^"]+)""#).expect("a valid expression"));
static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#" id="?([^" >]+)"#).expect("a valid expression"));
/// Signatures. Rustdoc makes their links, also to hidden traits, which have no page.
static SIGNATURE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?s)<(h3|h4) class="code-header">.*?</(h3|h4)>"#).expect("a valid expression"));

/// A page of rustdoc: where its links lead, and its anchors.
struct RustdocPage {
    links: BTreeSet<String>,
    ids: BTreeSet<String>,
}

impl RustdocPage {
    fn read(path: &Path) -> Option<Self> {
        let html = fs::read_to_string(path).ok()?;
        // Blanket implementations come with the docs of another crate.
        let own = html.split("id=\"blanket-implementations\"").next().unwrap_or_default();
        let own = SIGNATURE.replace_all(own, "");
        let all = |regex: &Regex, html: &str| {
            let found = regex.captures_iter(html);
            found.map(|found| found[1].replace("&amp;", "&")).collect()
        };
        Some(Self {
            links: all(&LINK, &own),
            ids: all(&ID, &html),
        })
    }
}

/// Returns the dead links of the pages that can be reached from the first one of a crate.
pub(crate) fn dead_in_pages(docs: &Path, name: &str) -> Result<Vec<String>, String> {
    let folder = docs.join(name);
    let first = folder.join("index.html");
    let mut pages: BTreeMap<PathBuf, Option<RustdocPage>> = BTreeMap::new();
    let mut queue = vec![first.clone()];
    let mut dead = Vec::new();
    while let Some(path) = queue.pop() {
        if let Entry::Vacant(entry) = pages.entry(path.clone()) {
            let page = RustdocPage::read(&path);
            if let (Some(page), true) = (&page, path.starts_with(&folder)) {
                queue.extend(
                    page.links
                        .iter()
                        .filter_map(|link| target(&path, link))
                        .map(|(path, _)| path),
                );
            }
            entry.insert(page);
        }
    }
    if pages.get(&first).is_none_or(Option::is_none) {
        return Err(format!(
            "{}: not there; build the pages with `cargo doc` first",
            first.display()
        ));
    }
    for (path, page) in pages.iter().filter(|(path, _)| path.starts_with(&folder)) {
        for link in page.iter().flat_map(|page| &page.links) {
            let Some((to, anchor)) = target(path, link) else {
                continue;
            };
            let to = if anchor.is_empty() { to } else { public_page(docs, to) };
            let is_alive = match pages.get(&to) {
                // Lines of the source are anchors that a script makes.
                Some(Some(page)) => anchor.is_empty() || to.starts_with(docs.join("src")) || page.ids.contains(&anchor),
                _ => to.exists(),
            };
            if !is_alive {
                let path = path.strip_prefix(docs).unwrap_or(path);
                dead.push(format!("{}: dead link to {link}", path.display()));
            }
        }
    }
    Ok(dead)
}

/// Returns the page of a public item. Rustdoc links to it in the private module that defines it, where a page without anchors redirects.
fn public_page(docs: &Path, to: PathBuf) -> PathBuf {
    let redirects = fs::read_to_string(&to).is_ok_and(|html| html.contains("http-equiv=\"refresh\""));
    let of_crate = to.strip_prefix(docs).ok().and_then(|path| path.components().next());
    match (of_crate, to.file_name()) {
        (Some(name), Some(file)) if redirects => docs.join(name).join(file),
        _ => to,
    }
}

/// The file and the anchor that a link of a page leads to, unless it leads to another host.
fn target(page: &Path, link: &str) -> Option<(PathBuf, String)> {
    if link.contains("://") || link.starts_with("data:") || link.starts_with("javascript:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let mut to = page.to_owned();
    if !path.is_empty() {
        to.pop();
        for part in Path::new(path).components() {
            match part {
                Component::ParentDir => drop(to.pop()),
                Component::Normal(name) => to.push(name),
                _ => {}
            }
        }
    }
    Some((to, anchor.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_those_of_github() {
        let markdown = "# From `leaky-bucket`: a, b\n## Steps\n## Steps\n";
        let expected = ["from-leaky-bucket-a-b", "steps", "steps-1"].map(str::to_owned);
        assert_eq!(anchors(markdown), BTreeSet::from(expected));
    }

    #[test]
    fn a_dead_link_in_markdown_is_found() {
        let folder = std::env::temp_dir().join(format!("docs-check-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join("a.md"),
            "# A\n[1](b.md#b) [2](b.md#c) [3](c.md) [4](https://x.y) [5](#a)",
        )
        .unwrap();
        fs::write(folder.join("b.md"), "# B").unwrap();
        let dead = dead_in_markdown(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(dead, ["a.md: dead link to b.md#c", "a.md: dead link to c.md"]);
    }

    #[test]
    fn a_link_leads_from_its_page() {
        let page = Path::new("/doc/a/b/index.html");
        assert_eq!(target(page, "../c.html#d"), Some(("/doc/a/c.html".into(), "d".into())));
        assert_eq!(target(page, "#d"), Some((page.into(), "d".into())));
        assert_eq!(target(page, "https://a.b/c"), None);
    }
}
