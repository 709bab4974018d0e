//! The example of a configuration file, which comes with the packages: right, and complete.

use super::tests::{error, load};
use super::*;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/switchboard.toml");
/// Where the part begins that is written from the table of limits.
const LIMITS: &str = "#[limits]\n";
const WIDTH: usize = 118;

fn example() -> String {
    std::fs::read_to_string(PATH).unwrap()
}

/// The lines with a key and its default, without the sign that makes them comments.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') => format!("{key}\n"),
        _ => String::new(),
    };
    text.lines().map(line).collect()
}

fn limits() -> String {
    let mut text = String::from(LIMITS);
    for (key, doc, value) in Limits::default().lines() {
        let mut line = String::from("#");
        for word in doc.split_whitespace() {
            if line.len() + 1 + word.len() > WIDTH {
                text.push_str(&format!("{line}\n"));
                line = String::from("#");
            }
            line.push_str(&format!(" {word}"));
        }
        text.push_str(&format!("{line}\n#{key} = {value}\n"));
    }
    text
}

#[test]
fn as_it_comes_the_example_changes_nothing() {
    let nothing = load("", |_| {}).unwrap();
    let example = load(&example(), |_| {}).unwrap();
    assert_eq!(format!("{example:?}"), format!("{nothing:?}"));
}

#[test]
fn the_defaults_in_the_example_are_those_of_the_program() {
    let nothing = load("", |_| {}).unwrap();
    let example = load(&uncommented(&example()), |_| {}).unwrap();
    assert_eq!(format!("{example:?}"), format!("{nothing:?}"));
}

#[test]
fn the_example_has_every_key() {
    let example = example();
    for section in [
        "",
        "accounts",
        "auth",
        "auth.jwt",
        "auth.introspection",
        "auth.static",
        "auth.local",
        "cuttlefish",
        "gecko",
        "gstreamer",
        "ice",
        "kurento",
        "media",
        "proxy",
        "tls",
    ] {
        let heading = if section.is_empty() {
            String::new()
        } else {
            format!("[{section}]\n")
        };
        // What is wrong with it names all keys that would be right.
        let error = error(&format!("{heading}no_such_key = 1"));
        let keys: Vec<_> = error.split('`').skip(3).step_by(2).collect();
        assert!(!keys.is_empty(), "{section}: {error}");
        for key in keys {
            let is_there = [
                format!("{key} ="),
                format!("[{key}"),
                format!("{section}.{key}]"),
            ]
            .iter()
            .any(|it| example.contains(it.as_str()));
            assert!(
                is_there,
                "packaging/switchboard.toml has no {section}.{key}"
            );
        }
    }
}

/// `SWITCHBOARD_BLESS=1 cargo test --lib config::example` writes them anew.
#[test]
fn the_limits_in_the_example_are_those_of_the_table() {
    let (example, limits) = (example(), limits());
    let (before, written) = example.split_at(example.find(LIMITS).unwrap_or(example.len()));
    if std::env::var_os("SWITCHBOARD_BLESS").is_some() {
        std::fs::write(PATH, format!("{before}{limits}")).unwrap();
    } else {
        assert!(
            written == limits,
            "packaging/switchboard.toml has other limits than src/config/limits.rs; SWITCHBOARD_BLESS=1 \
             cargo test --lib config::example writes them anew"
        );
    }
}
