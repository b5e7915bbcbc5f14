//! The prose of a file: comments, Markdown, messages and test names, as paragraphs that know their lines.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use regex::Regex;
use std::path::Path;
use std::sync::LazyLock;

/// Text without markup, and the lines of the file that it comes from.
#[derive(Debug)]
pub(crate) struct Paragraph {
    pub(crate) kind: ParagraphKind,
    pub(crate) text: String,
    /// Offsets in `text`, each with the number of the line that starts there.
    lines: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParagraphKind {
    Text,
    /// The first paragraph of a doc comment.
    Summary,
    /// The name of a test, with spaces for underscores.
    TestName,
}

impl Paragraph {
    fn new(kind: ParagraphKind) -> Self {
        let (text, lines) = (String::new(), Vec::new());
        Self { kind, text, lines }
    }

    fn with(mut self, text: &str, line: usize) -> Self {
        self.push(text, line);
        self
    }

    fn push(&mut self, text: &str, line: usize) {
        self.lines.push((self.text.len(), line));
        self.text.push_str(text);
    }

    /// Returns the number of the line that holds the offset in the text.
    pub(crate) fn line(&self, offset: usize) -> usize {
        line_of(&self.lines, offset)
    }
}

fn line_of(lines: &[(usize, usize)], offset: usize) -> usize {
    let until = lines.partition_point(|(start, _)| *start <= offset);
    until.checked_sub(1).map_or(1, |last| lines[last].1)
}

/// Returns the prose of a file. The path, relative to the workspace, decides how the text is read.
pub(crate) fn of_file(path: &Path, text: &str) -> Vec<Paragraph> {
    let is_script = path.starts_with(".ci");
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("md") => of_markdown(ParagraphKind::Text, &numbered(text)),
        Some("rs") => of_rust(text, is_program(path)),
        Some("toml") => of_comments(&numbered(text), "#")
            .into_iter()
            .chain(of_names(text))
            .collect(),
        Some("lua" | "sql") => of_comments(&numbered(text), "--"),
        Some("py") => of_comments(&numbered(text), "#"),
        Some("mjs") => of_comments(&numbered(text), "//"),
        Some("json") => of_titles(text),
        None if is_script => of_comments(&numbered(text), "#"),
        _ => Vec::new(),
    }
}

/// Returns whether users read the messages of the file: messages of tests are read only when a test fails.
fn is_program(path: &Path) -> bool {
    path.components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("src" | "examples")))
}

fn numbered(text: &str) -> Vec<(usize, &str)> {
    (1..).zip(text.lines()).collect()
}

/// Reads lines of Markdown, which may be apart in the file. Code and HTML are left out; inline code counts as one word.
fn of_markdown(first: ParagraphKind, lines: &[(usize, &str)]) -> Vec<Paragraph> {
    let (mut source, mut starts) = (String::new(), Vec::new());
    for (number, line) in lines {
        starts.push((source.len(), *number));
        source.push_str(line);
        source.push('\n');
    }
    let mut paragraphs = Vec::new();
    let mut paragraph = Paragraph::new(first);
    let mut is_code = false;
    for (event, range) in Parser::new_ext(&source, Options::ENABLE_TABLES).into_offset_iter() {
        let line = line_of(&starts, range.start);
        match event {
            Event::Text(text) if !is_code => paragraph.push(&text, line),
            Event::Code(_) => paragraph.push("`x`", line),
            Event::SoftBreak | Event::HardBreak => paragraph.push(" ", line),
            Event::Start(Tag::Emphasis | Tag::Strong | Tag::Link { .. } | Tag::Image { .. })
            | Event::End(TagEnd::Emphasis | TagEnd::Strong | TagEnd::Link | TagEnd::Image) => {}
            Event::Start(_) | Event::End(_) => {
                is_code = matches!(event, Event::Start(Tag::CodeBlock(_)));
                if !paragraph.text.trim().is_empty() {
                    paragraphs.push(std::mem::replace(&mut paragraph, Paragraph::new(ParagraphKind::Text)));
                }
            }
            _ => {}
        }
    }
    paragraphs
}

/// Reads the comments that start with the mark, those of consecutive lines as one text.
fn of_comments(lines: &[(usize, &str)], mark: &str) -> Vec<Paragraph> {
    let mut comments = Comments::default();
    let mut indent = 0;
    for (number, line) in lines {
        if let Some(comment) = line.trim_start().strip_prefix(mark) {
            // A row of a table of arguments, as in SQL and Lua, or the text after it.
            let new_indent = comment.len() - comment.trim_start().len();
            if comment.trim().contains("  ") || new_indent < indent {
                comments.end();
            }
            indent = new_indent;
            // A line that names an interpreter is no comment.
            if !comment.starts_with('!') {
                comments.add(*number, mark, comment);
            }
        } else if let Some((_, comment)) = line.split_once(&format!(" {mark} ")) {
            comments.add(*number, "", comment);
        }
    }
    comments.finish()
}

/// Collects the lines of one comment after the other.
#[derive(Default)]
struct Comments<'a> {
    mark: String,
    lines: Vec<(usize, &'a str)>,
    paragraphs: Vec<Paragraph>,
}

impl<'a> Comments<'a> {
    /// Adds a line without its mark. An empty mark is that of a comment after code, which is on its own.
    fn add(&mut self, number: usize, mark: &str, line: &'a str) {
        let follows = self.lines.last().is_some_and(|(last, _)| last + 1 == number) && self.mark == mark;
        if !follows || mark.is_empty() {
            self.end();
            self.mark = mark.to_owned();
        }
        self.lines.push((number, line.strip_prefix(' ').unwrap_or(line)));
    }

    fn end(&mut self) {
        let kind = if matches!(&*self.mark, "///" | "//!") {
            ParagraphKind::Summary
        } else {
            ParagraphKind::Text
        };
        self.paragraphs.extend(of_markdown(kind, &self.lines));
        self.lines.clear();
    }

    fn finish(mut self) -> Vec<Paragraph> {
        self.end();
        self.paragraphs
    }
}

static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?s)(?<line>//[^\n]*)|(?<block>/\*.*?\*/)"#,
        r###"|r##".*?"##|r#".*?"#|\br"[^"]*""###,
        r#"|"(?<string>(?:\\.|[^"\\])*)"|'(?:\\[^']+|[^\\'])'"#,
    ))
    .expect("a valid expression")
});
static TEST: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"#\[(?:\w+::)*test[^\]\n]*\]\s*(?:(?:#\[[^\n]*\]|//[^\n]*)\s*)*(?:async\s+)?fn\s+(\w+)")
        .expect("a valid expression")
});

/// A test in the call of a macro that makes functions of such names.
static MADE_TEST: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^ +([a-z]\w*_\w+)\(\w+(?:, \w+)*\) \{$").expect("a valid expression"));

/// Reads comments, names of tests and, of a program, messages of at least four words.
fn of_rust(text: &str, is_program: bool) -> Vec<Paragraph> {
    let starts: Vec<_> = std::iter::once(0)
        .chain(text.match_indices('\n').map(|(at, _)| at + 1))
        .zip(1..)
        .collect();
    let tests = text.find("#[cfg(test)]\nmod").unwrap_or(text.len());
    let mut comments = Comments::default();
    let mut messages = Vec::new();
    for token in TOKEN.captures_iter(text) {
        let at = token.get(0).map_or(0, |token| token.start());
        let number = line_of(&starts, at);
        if let Some(line) = token.name("line") {
            let line = line.as_str();
            let mark = ["///", "//!", "//"]
                .into_iter()
                .find(|mark| line.starts_with(mark))
                .unwrap_or("//");
            let is_alone = text[starts[number - 1].0..at].trim().is_empty();
            comments.add(number, if is_alone { mark } else { "" }, &line[mark.len()..]);
        } else if let Some(block) = token.name("block") {
            messages.push(Paragraph::new(ParagraphKind::Text).with(block.as_str(), number));
        } else if let Some(string) = token.name("string").filter(|_| is_program && at < tests) {
            messages.extend(message(string.as_str(), number));
        }
    }
    let made = text.contains("fn $name").then(|| MADE_TEST.captures_iter(text));
    let tests = TEST.captures_iter(text).chain(made.into_iter().flatten());
    let names = tests.filter_map(|test| test.get(1));
    let names = names.map(|name| {
        let words = name.as_str().replace('_', " ");
        Paragraph::new(ParagraphKind::TestName).with(&words, line_of(&starts, name.start()))
    });
    let mut paragraphs = comments.finish();
    paragraphs.extend(messages);
    paragraphs.extend(names);
    paragraphs
}

/// Returns the paragraphs of a string of several words, with `x` for each placeholder. Indented lines and rows of a table are on their own.
fn message(string: &str, line: usize) -> Vec<Paragraph> {
    static FILLED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\{[^{}]*\}|\\n|`[^`]*`").expect("a valid expression"));
    let is_word = |word: &&str| word.len() > 1 && word.chars().all(|letter| letter.is_ascii_lowercase());
    if string.split_whitespace().filter(is_word).count() < 3 {
        return Vec::new();
    }
    let mut paragraphs = vec![Paragraph::new(ParagraphKind::Text)];
    let (mut continues, mut was_row) = (true, false);
    for (number, part) in (line..).zip(string.split('\n')) {
        let is_row = part.contains("  ");
        if !continues && (is_row || was_row || part.is_empty()) {
            paragraphs.push(Paragraph::new(ParagraphKind::Text));
        }
        continues = part.ends_with('\\');
        was_row = is_row && !continues;
        if let Some(paragraph) = paragraphs.last_mut() {
            paragraph.push(
                &FILLED.replace_all(part.trim_end_matches('\\').trim_start(), "x"),
                number,
            );
            paragraph.push(" ", number);
        }
    }
    paragraphs
}

/// Reads the names and descriptions in a manifest or a list of mutations.
fn of_names(text: &str) -> Vec<Paragraph> {
    let value = |line: &str| {
        let value = ["name = \"", "description = \""]
            .iter()
            .find_map(|key| line.strip_prefix(key));
        value.map(|value| value.trim_end_matches('"').to_owned())
    };
    let values = numbered(text)
        .into_iter()
        .filter_map(|(number, line)| Some((number, value(line)?)));
    let values = values.filter(|(_, value)| value.contains(' '));
    values
        .map(|(number, value)| Paragraph::new(ParagraphKind::Text).with(&value, number))
        .collect()
}

/// Reads the titles and descriptions of a dashboard.
fn of_titles(text: &str) -> Vec<Paragraph> {
    let value = |line: &str| {
        let line = line.trim_start();
        let value = ["\"title\": \"", "\"description\": \""]
            .iter()
            .find_map(|key| line.strip_prefix(key))?;
        Some(value.rsplit_once('"')?.0.to_owned())
    };
    let values = numbered(text)
        .into_iter()
        .filter_map(|(number, line)| Some((number, value(line)?)));
    values
        .map(|(number, value)| Paragraph::new(ParagraphKind::Text).with(&value, number))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, text: &str) -> Vec<(usize, ParagraphKind, String)> {
        let paragraphs = of_file(Path::new(path), text);
        paragraphs
            .into_iter()
            .map(|read| (read.line(0), read.kind, read.text.trim().to_owned()))
            .collect()
    }

    #[test]
    fn markdown_is_read_without_code() {
        let text = "# One `f`\n\ntwo\nthree [four](five)\n\n```\nsix\n```\n- seven\n\n|a|b|\n|-|-|\n|c|d|\n";
        let expected = [
            (1, "One `x`"),
            (3, "two three four"),
            (9, "seven"),
            (11, "a"),
            (11, "b"),
            (13, "c"),
            (13, "d"),
        ];
        let expected = expected.map(|(line, text)| (line, ParagraphKind::Text, text.to_owned()));
        assert_eq!(read("a.md", text), expected);
    }

    #[test]
    fn rust_is_read_without_code() {
        let text = "/// One.\n///\n/// Two.\nfn f() -> &'static str { // three\n    \"four words are enough // {x}\"\n}\n#[test]\nfn a_b() { '\"'; r\"five\"; }\n// six\n";
        let expected = [
            (1, ParagraphKind::Summary, "One."),
            (3, ParagraphKind::Text, "Two."),
            (4, ParagraphKind::Text, "three"),
            (9, ParagraphKind::Text, "six"),
            (5, ParagraphKind::Text, "four words are enough // x"),
            (8, ParagraphKind::TestName, "a b"),
        ];
        let expected = expected.map(|(line, kind, text)| (line, kind, text.to_owned()));
        assert_eq!(read("src/a.rs", text), expected);
        assert!(read("tests/a.rs", text).iter().all(|(line, ..)| *line != 5));
    }

    #[test]
    fn tests_made_by_macros_are_read() {
        let text = "macro_rules! each { ($($name:ident),*) => { $(#[test] fn $name() {})* }; }\neach! {\n    a_b(meter, now) {\n    }\n}\n";
        assert_eq!(
            read("tests/a.rs", text),
            [(3, ParagraphKind::TestName, "a b".to_owned())]
        );
    }

    #[test]
    fn titles_of_dashboards_are_read() {
        let text = "{\n  \"title\": \"One two\",\n  \"expr\": \"three\",\n  \"description\": \"Four.\"\n}\n";
        let expected = [(2, "One two"), (4, "Four.")];
        assert_eq!(
            read("a.json", text),
            expected.map(|(line, text)| (line, ParagraphKind::Text, text.to_owned()))
        );
    }

    #[test]
    fn comments_of_manifests_are_joined() {
        let text = "# one\n# two\na = 1 # three\nname = \"four five\"\n";
        let expected = [(1, "one two"), (3, "three"), (4, "four five")];
        assert_eq!(
            read("a.toml", text),
            expected.map(|(line, text)| (line, ParagraphKind::Text, text.to_owned()))
        );
    }

    #[test]
    fn rows_of_tables_are_separate_sentences() {
        let texts = |path, text| {
            read(path, text)
                .into_iter()
                .map(|(_, _, text)| text)
                .collect::<Vec<_>>()
        };
        let text = "-- one\n-- two  three\n--      four\n-- five\n-- six  seven\n";
        assert_eq!(texts("a.lua", text), ["one", "two  three four", "five", "six  seven"]);
        let text = "static A: &str = \"\\\none two\nthree four:\n  five six\n  seven eight\nnine  ten\neleven\";";
        assert_eq!(
            texts("src/a.rs", text),
            ["one two three four:", "five six", "seven eight", "nine  ten", "eleven"]
        );
    }

    #[test]
    fn offsets_lead_to_lines() {
        let paragraphs = of_file(Path::new("a.md"), "one\n`two`\nthree");
        let lines: Vec<_> = ["one", "`x`", "three"]
            .iter()
            .map(|word| paragraphs[0].line(paragraphs[0].text.find(word).unwrap()))
            .collect();
        assert_eq!(lines, [1, 2, 3]);
    }
}
