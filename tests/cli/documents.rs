//! The documents name files and tests that are there.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// README.md and its like, and the pages below docs.
fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = docs
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .collect();
    pages.extend(["CHANGELOG.md", "README.md", "SECURITY.md"].map(|it| root().join(it)));
    pages
}

/// What stands between two marks, each time.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = text.split(open).skip(1);
    parts.filter_map(move |part| Some(part.split_once(close)?.0))
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for page in pages() {
        let text = read_to_string(&page).unwrap();
        let links = between(&text, "](", ")").filter(|link| !link.contains("://"));
        for link in links {
            let path = link.split('#').next().unwrap();
            let target = page.parent().unwrap().join(path);
            assert!(target.exists(), "{} links to {link}", page.display());
        }
    }
}

#[test]
fn every_test_that_shows_a_protocols_section_is_there() {
    let text = read_to_string(root().join("docs/protocols.md")).unwrap();
    let mut source = String::new();
    let mut named = 0;
    for words in text.lines().filter(|line| line.starts_with('|')) {
        for word in between(words, " `", "`").chain(between(words, "|`", "`")) {
            if Path::new(word).extension().is_some_and(|it| it == "rs") {
                let below = if word.starts_with("tests/") {
                    ""
                } else {
                    "tests/conformance"
                };
                let path = root().join(below).join(word);
                source = read_to_string(&path).unwrap_or_else(|_| panic!("no {}", path.display()));
                named += 1;
            } else if word.len() > 20
                && word
                    .chars()
                    .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
            {
                assert!(source.contains(&format!("fn {word}(")), "no test {word}");
                named += 1;
            }
        }
    }
    assert!(named > 100, "{named}");
}
