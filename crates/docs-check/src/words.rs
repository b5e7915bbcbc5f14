//! Words and shapes of sentences that this project does not use, counted over everything that people read.

use crate::prose::{self, Paragraph, ParagraphKind};
use regex::{Regex, RegexBuilder};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::{fs, io};
use walkdir::WalkDir;

/// A word or shape that is excluded, and its replacement.
struct WordRule {
    name: &'static str,
    pattern: &'static str,
    /// Texts in which the pattern is no hit.
    except: &'static str,
    instead: &'static str,
}

const fn rule(name: &'static str, pattern: &'static str, except: &'static str, instead: &'static str) -> WordRule {
    WordRule {
        name,
        pattern,
        except,
        instead,
    }
}

const NEVER: &str = r"\z.";

/// The rules for all text.
const RULES: &[WordRule] = &[
    rule("who", r"\b(who|whom|whoever)\b", NEVER, "name the actor"),
    rule("somebody", r"\b(some|any|no|every)body\b", NEVER, "name the actor"),
    rule(
        "what",
        r"\bwhat(ever)?\b",
        r"\bwhat (to|if)\b|\bWhat [^.]*\?",
        "name the thing",
    ),
    rule("others", r"\bothers\b", r"\b(and|among) others\b", "name the things"),
    rule(
        "that which",
        r"\b(that which|the ones? (that|which|who|of))\b",
        NEVER,
        "name the thing",
    ),
    rule(
        "the other",
        r"[.;] (the (one|other)\b[ ,]?(is|was|has|of|that)?|that (is|was|has|would|makes|takes|needs))\b",
        NEVER,
        "repeat the name",
    ),
    rule(
        "inversion",
        r"(\A|[,.;:] )(and )?(were|had|be|should) (it|they|there|the|an?|this|that|one|any|all|each|every|no)\b",
        NEVER,
        "say `if`",
    ),
    rule(
        "refuse",
        r"\brefus(e|es|ed|al|als|ing)\b",
        r"\b[cC]onnections? (is |was |are |were )?(refused|refusal)|[rR]efused connections?|refuses? (a |the |to )?connect\w*",
        "deny, reject",
    ),
    rule(
        "say no",
        r"\bsay(s|ing)? (yes|no)\b|\bturn(s|ed|ing)? \w* ?away\b",
        NEVER,
        "deny",
    ),
    rule(
        "tell",
        r"\b(tells?|told|telling|says|said)\b",
        NEVER,
        "returns, reports, states",
    ),
    rule("let through", r"\blet(s|ting)? (\w+ ){0,3}through\b", NEVER, "admit"),
    rule(
        "rest",
        r"\b(at|to|a|its|long) rest\b|\brest(s|ing|ed)\b",
        r"\brest(s|ed|ing)? (up)?on\b",
        "idle",
    ),
    rule("as good as", r"\bas good as\b", NEVER, "like"),
    rule(
        "resident",
        r"\bresidents? (that|which|who) (is|are) not\b",
        NEVER,
        "live key",
    ),
    rule("forgive", r"\bforg(iv\w+|ave)\b", NEVER, "evict"),
    rule("move in", r"\bmov(e|es|ed|ing) in([.,;:]|\z)", NEVER, "insert"),
    rule("dear", r"\bdear(er|est|ly)?\b", NEVER, "expensive"),
    rule("but for", r"\bbut for\b", NEVER, "except"),
    rule(
        "in the place of",
        r"\bin the place of\b|\bt(ake|akes|ook|aking) the place of\b",
        NEVER,
        "instead of, replaces",
    ),
    rule("all the same", r"\ball the same\b", NEVER, "anyway"),
    rule("else", r"\belse\b", r"\b(\w+thing|\w+one|\w*where) else\b", "otherwise"),
    rule("lest", r"\blest\b", NEVER, "in case, so that not"),
    rule("as of", r"\bas of\b", NEVER, "at time, since"),
    rule(
        "had at once",
        r"\bhad at once\b|\b(to be|are|is) had\b",
        NEVER,
        "available",
    ),
    rule(
        "that is none",
        r"\b(that|which) (is|are) none\b",
        NEVER,
        "none, no limit",
    ),
];

/// This file, which has to name excluded words.
const RULES_FILE: &str = "crates/docs-check/src/words.rs";

/// The rule for the first words of a doc comment.
const SUMMARY: WordRule = rule(
    "summary",
    r"\A(What|How|Why|Whether|Of|To be|Who)\b",
    NEVER,
    "begin with a verb in the third person, or a noun",
);

/// The rule for the first words of a test's name.
const TEST_NAME: WordRule = rule(
    "test name",
    r"\A(what|who|of|it|none) ",
    NEVER,
    "subject, condition, outcome",
);

/// The most words of a test's name.
const TEST_WORDS: usize = 8;

/// The words of a sentence from which on it needs a second reading.
const SENTENCE_WORDS: usize = 25;

/// One excluded word or shape.
pub(crate) struct Finding {
    file: PathBuf,
    line: usize,
    rule: &'static str,
    text: String,
    instead: &'static str,
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            rule,
            text,
            instead,
        } = self;
        write!(f, "{}:{line}: {rule}: \"{text}\" ({instead})", file.display())
    }
}

/// The words of a tree of files, and the excluded ones among them.
#[derive(Default)]
pub(crate) struct Count {
    pub(crate) words: usize,
    pub(crate) hits: Vec<Finding>,
}

impl Count {
    /// The number of hits per 10,000 words.
    pub(crate) fn rate(&self) -> f64 {
        let of = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        of(self.hits.len()) * 1e4 / of(self.words.max(1))
    }

    /// The number of hits of each rule.
    pub(crate) fn by_rule(&self) -> BTreeMap<&'static str, usize> {
        let mut rules = BTreeMap::new();
        for hit in &self.hits {
            *rules.entry(hit.rule).or_default() += 1;
        }
        rules
    }
}

/// Counts the words of all files below a folder, except of build outputs.
pub(crate) fn count(root: &Path) -> io::Result<Count> {
    let rules = CompiledRules::new();
    let mut count = Count::default();
    let is_source = |name: &str| name != "target" && (!name.starts_with('.') || name == ".ci");
    let entries = WalkDir::new(root).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || is_source(&entry.file_name().to_string_lossy())) {
        let entry = entry?;
        let path = entry.path();
        let file = path.strip_prefix(root).unwrap_or(path);
        if file.ends_with(RULES_FILE) {
            continue;
        }
        // Logs and captures are not always text.
        let text = entry
            .file_type()
            .is_file()
            .then(|| fs::read_to_string(path).ok())
            .flatten();
        for paragraph in prose::of_file(file, &text.unwrap_or_default()) {
            count.words += words(&paragraph.text);
            rules.find(&paragraph, file, &mut count.hits);
        }
    }
    Ok(count)
}

fn words(text: &str) -> usize {
    text.split_whitespace()
        .filter(|word| word.contains(char::is_alphabetic))
        .count()
}

struct Compiled {
    rule: &'static WordRule,
    pattern: Regex,
    except: Regex,
}

struct CompiledRules {
    all: Vec<Compiled>,
    summary: Compiled,
    test_name: Compiled,
    sentence: Regex,
}

impl CompiledRules {
    fn new() -> Self {
        let insensitive = |pattern: &str| {
            RegexBuilder::new(pattern)
                .case_insensitive(true)
                .build()
                .expect("a valid expression")
        };
        let compiled = |rule: &'static WordRule| Compiled {
            rule,
            pattern: insensitive(rule.pattern),
            except: Regex::new(rule.except).expect("a valid expression"),
        };
        Self {
            all: RULES.iter().map(compiled).collect(),
            summary: compiled(&SUMMARY),
            test_name: compiled(&TEST_NAME),
            sentence: Regex::new(r"[^.!?:\s][^.!?:]*(?:[.!?:]+[^\s)][^.!?:]*)*[.!?:]*").expect("a valid expression"),
        }
    }

    fn find(&self, paragraph: &Paragraph, file: &Path, hits: &mut Vec<Finding>) {
        let hit = |rule: &'static str, instead: &'static str, range: std::ops::Range<usize>| Finding {
            file: file.to_owned(),
            line: paragraph.line(range.start),
            rule,
            text: excerpt(&paragraph.text, range),
            instead,
        };
        let special = match paragraph.kind {
            ParagraphKind::Text => None,
            ParagraphKind::Summary => Some(&self.summary),
            ParagraphKind::TestName => Some(&self.test_name),
        };
        for Compiled { rule, pattern, except } in self.all.iter().chain(special) {
            for found in pattern.find_iter(&paragraph.text) {
                let is_excepted =
                    |excepted: regex::Match<'_>| excepted.start() <= found.start() && found.end() <= excepted.end();
                if !except.find_iter(&paragraph.text).any(is_excepted) {
                    hits.push(hit(rule.name, rule.instead, found.range()));
                }
            }
        }
        if paragraph.kind == ParagraphKind::TestName {
            if words(&paragraph.text) > TEST_WORDS {
                hits.push(hit("long test name", "eight words at most", 0..0));
            }
        } else {
            for sentence in self
                .sentence
                .find_iter(&paragraph.text)
                .filter(|sentence| words(sentence.as_str()) > SENTENCE_WORDS)
            {
                hits.push(hit("long sentence", "25 words at most", sentence.range()));
            }
        }
    }
}

/// The sentence around a hit, on one line.
fn excerpt(text: &str, hit: std::ops::Range<usize>) -> String {
    let start = text[..hit.start].rfind(". ").map_or(0, |end| end + 2);
    let end = text[hit.end..].find(". ").map_or(text.len(), |end| hit.end + end + 1);
    text[start..end.max(hit.end)]
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    fn hits(name: &str, text: &str) -> Vec<(usize, &'static str)> {
        static ALL: LazyLock<CompiledRules> = LazyLock::new(CompiledRules::new);
        let mut hits = Vec::new();
        for paragraph in prose::of_file(Path::new(name), text) {
            ALL.find(&paragraph, Path::new(name), &mut hits);
        }
        hits.iter().map(|hit| (hit.line, hit.rule)).collect()
    }

    #[test]
    fn every_rule_has_a_hit() {
        let texts = [
            "Who waits",
            "for nobody",
            "gives what it has",
            "keeps others out",
            "is that which waits",
            "Here. The other is late",
            "is late, were it on time",
            "is refused",
            "says no",
            "tells it",
            "lets it through",
            "is at rest",
            "as good as new",
            "a resident that is not idle",
            "is forgiven",
            "can move in.",
            "is dear",
            "all but for one",
            "in the place of it",
            "all the same",
            "or else",
            "lest it is",
            "as of now",
            "is had at once",
            "a limit that is none",
        ];
        for (rule, text) in RULES.iter().zip(texts) {
            assert!(hits("a.md", text).contains(&(1, rule.name)), "{}: {text}", rule.name);
        }
        assert_eq!(RULES.len(), texts.len());
    }

    #[test]
    fn plain_sentences_have_no_hit() {
        let text = "It names the key. Connection refused: see what to do, or nothing else happens. What if not? The rest rests on it, and others.";
        assert_eq!(hits("a.md", text), []);
        assert_eq!(hits("a.md", "`who` is code\n\n```\nwho\n```\n"), []);
    }

    #[test]
    fn summaries_and_test_names_have_rules() {
        assert_eq!(
            hits("a.rs", "/// Whether it is so.\n///\n/// Why it is so.\n"),
            [(1, "summary")]
        );
        assert_eq!(hits("a.rs", "#[test]\nfn it_is_so() {}\n"), [(2, "test name")]);
        assert_eq!(
            hits("a.rs", "#[test]\nfn a_b_c_d_e_f_g_h_i() {}\n"),
            [(2, "long test name")]
        );
        assert_eq!(hits("a.rs", "#[test]\nfn a_b_c_d_e_f_g_h() {}\n"), []);
    }

    #[test]
    fn long_sentences_are_found() {
        let words = "word ".repeat(SENTENCE_WORDS);
        assert_eq!(hits("a.md", &format!("Here.\n{words}.")), []);
        assert_eq!(hits("a.md", &format!("Here.\n{words}more.")), [(2, "long sentence")]);
    }

    #[test]
    fn rates_are_per_ten_thousand_words() {
        let folder = std::env::temp_dir().join(format!("docs-check-words-{}", std::process::id()));
        fs::create_dir_all(folder.join("target")).unwrap();
        fs::write(folder.join("a.md"), "who ".repeat(2) + &"word. ".repeat(4998)).unwrap();
        fs::write(folder.join("target/b.md"), "who").unwrap();
        let count = count(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((count.words, count.hits.len()), (5000, 2));
        assert_eq!(count.rate(), 4.0);
        assert_eq!(count.by_rule(), BTreeMap::from([("who", 2)]));
        assert_eq!(
            count.hits[0].to_string(),
            "a.md:1: who: \"who who word.\" (name the actor)"
        );
    }
}
