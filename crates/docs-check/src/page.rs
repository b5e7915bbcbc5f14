//! The text of rustdoc's pages.

use regex::Regex;
use std::sync::LazyLock;

/// The text of a piece of HTML on one line: without tags, comments and the summaries of folded parts.
pub(crate) fn text(html: &str) -> String {
    static TAGS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(?s)<summary.*?</summary>|<span class="comment">.*?</span>|<[^>]*>"#).expect("a valid expression")
    });
    let blocks = html.replace("<div", " <div").replace("</div>", " </div>");
    let text = TAGS.replace_all(&blocks, "");
    let words: Vec<_> = unescaped(&text).split_whitespace().map(str::to_owned).collect();
    words
        .join(" ")
        .replace("( ", "(")
        .replace(", )", ")")
        .replace("{ }", "{ .. }")
}

fn unescaped(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_no_tags_and_one_line() {
        let html = "<div>#[must_use]</div>pub fn <a href=\"#f\">f</a>&lt;T&gt;(\n    a: &amp;T,\n) -&gt; u8";
        assert_eq!(text(html), "#[must_use] pub fn f<T>(a: &T) -> u8");
        assert_eq!(
            text("pub struct S { <span class=\"comment\">/* private fields */</span> }"),
            "pub struct S { .. }"
        );
    }
}
