//! `switchboard manual` and `switchboard completions`: written from the flags, so that they can't differ
//! from them.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::{Failure, Outcome, say};

/// Print what makes a shell complete switchboard's subcommands and flags
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  switchboard completions bash > ~/.local/share/bash-completion/completions/switchboard
  switchboard completions zsh > ~/.zfunc/_switchboard
  switchboard completions fish > ~/.config/fish/completions/switchboard.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

/// Write the manual's pages into a directory, one for each subcommand
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  switchboard manual ~/.local/share/man/man1 && man switchboard-serve")]
pub(super) struct Flags {
    /// The directory, which is made if there is none
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// What tells the paragraphs of a subcommand's last words apart.
const EXAMPLES: &str = "Examples:\n";
const EXIT_CODES: [&str; 2] = ["The exit code is ", "Exit codes: "];

/// What holds for every subcommand that says nothing else.
const EXIT_STATUS: &str = "0 after success, 1 if what was asked for failed, 2 for wrong usage or a wrong \
                           configuration; the reason is on standard error.";

/// Environment variables that are no flags, by the subcommands that know them.
const VARIABLES: [(&[&str], &str, &str); 2] = [
    (
        &[
            "call",
            "demo",
            "device",
            "gecko",
            "mesh",
            "pipelines",
            "probe",
            "room",
        ],
        "SWITCHBOARD_PIPELINES",
        "A directory of pipeline files, which are found by their names.",
    ),
    (
        &["demo", "serve"],
        "STATE_DIRECTORY, XDG_STATE_HOME",
        "Where a self-signed certificate is kept; systemd sets the first one.",
    ),
];

/// Files, by the subcommands that know them.
const FILES: [(&[&str], &str, &str); 3] = [
    (
        &["health", "serve"],
        "/etc/switchboard/switchboard.toml",
        "The configuration of the server that comes as a service or a container; another one is named by --config.",
    ),
    (
        &["demo", "serve"],
        "~/.local/state/switchboard/tls",
        "The self-signed certificate and its key, unless the environment says otherwise.",
    ),
    (
        &[
            "call",
            "demo",
            "device",
            "gecko",
            "mesh",
            "pipelines",
            "probe",
            "room",
        ],
        "./pipelines, /usr/share/switchboard/pipelines",
        "Pipeline files, which are found by their names, before those that come with the program.",
    ),
];

pub(super) fn complete(flags: &Completions, mut command: Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut command, "switchboard", &mut script);
    say(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}

pub(super) fn run(flags: &Flags, command: Command) -> Outcome {
    let directory = &flags.directory;
    fs::create_dir_all(directory)
        .and_then(|()| write(&prepared(command), directory))
        .with_context(|| format!("cannot write to {}", directory.display()))
        .map_err(Failure::Failed)
}

/// As it is shown: with the flags that all subcommands have in each.
fn prepared(command: Command) -> Command {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    command
}

fn write(command: &Command, directory: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    fs::write(directory.join(format!("{name}.1")), page(command)?)?;
    command
        .get_subcommands()
        .try_for_each(|it| write(it, directory))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone().disable_version_flag(true));
    let mut text = title(command).into_bytes();
    man.render_name_section(&mut text)?;
    text.write_all(synopsis(command).as_bytes())?;
    man.render_description_section(&mut text)?;
    let last_words = last_words(command);
    text.write_all(paragraphs(&last_words.more).as_bytes())?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    text.write_all(sections(command, &last_words).as_bytes())?;
    Ok(text)
}

/// Without a date, so that the same version has the same page.
fn title(command: &Command) -> String {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let version = env!("CARGO_PKG_VERSION");
    format!(
        ".TH {} 1 \"\" \"switchboard {version}\" \"Switchboard\"\n",
        name.to_uppercase()
    )
}

fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    for (number, line) in usage.trim_start_matches("Usage: ").lines().enumerate() {
        if number > 0 {
            roff.control("br", []);
        }
        roff.text([roman(line.trim())]);
    }
    roff.to_roff()
}

/// What a subcommand's help says after its flags, by what it is about.
#[derive(Default)]
struct LastWords {
    examples: Vec<String>,
    exit_codes: Option<String>,
    more: Vec<String>,
}

fn last_words(command: &Command) -> LastWords {
    let text = command.get_after_help().map(ToString::to_string);
    let mut words = LastWords::default();
    for paragraph in text.unwrap_or_default().split("\n\n") {
        let unfolded = || paragraph.replace('\n', " ");
        if let Some(examples) = paragraph.strip_prefix(EXAMPLES) {
            words.examples = examples.lines().map(|it| it.trim().to_owned()).collect();
        } else if EXIT_CODES.iter().any(|it| paragraph.starts_with(it)) {
            words.exit_codes = Some(unfolded());
        } else if !paragraph.is_empty() {
            words.more.push(unfolded());
        }
    }
    words
}

fn paragraphs(texts: &[String]) -> String {
    let mut roff = Roff::new();
    for text in texts {
        roff.control("PP", []);
        roff.text([roman(text)]);
    }
    roff.to_roff()
}

fn sections(command: &Command, last_words: &LastWords) -> String {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman(
        last_words.exit_codes.as_deref().unwrap_or(EXIT_STATUS),
    )]);
    let variables = command.get_arguments().filter_map(|argument| {
        let help = argument.get_help()?.to_string();
        let name = argument.get_env()?.to_string_lossy().into_owned();
        Some((name, format!("--{}: {help}", argument.get_long()?)))
    });
    let variables = variables.chain(known(&VARIABLES, command));
    definitions(&mut roff, "ENVIRONMENT", variables.collect());
    definitions(&mut roff, "FILES", known(&FILES, command).collect());
    if !last_words.examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("EX", []);
        for example in &last_words.examples {
            roff.text([roman(example)]);
        }
        roff.control("EE", []);
    }
    if let Some((whole, _)) = command
        .get_display_name()
        .and_then(|it| it.rsplit_once('-'))
    {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold(whole), roman("(1)")]);
    }
    roff.to_roff()
}

/// The lines of a table that a subcommand, or the one that it belongs to, knows.
fn known<'a>(
    table: &'a [(&[&str], &str, &str)],
    command: &'a Command,
) -> impl Iterator<Item = (String, String)> + 'a {
    let name = command
        .get_display_name()
        .and_then(|it| it.split('-').nth(1));
    let of_it = table
        .iter()
        .filter(move |(of, _, _)| name.is_some_and(|it| of.contains(&it)));
    of_it.map(|&(_, term, meaning)| (term.to_owned(), meaning.to_owned()))
}

fn definitions(roff: &mut Roff, heading: &str, definitions: Vec<(String, String)>) {
    if definitions.is_empty() {
        return;
    }
    roff.control("SH", [heading]);
    for (term, meaning) in definitions {
        roff.control("TP", []);
        roff.text([italic(term)]);
        roff.text([roman(meaning)]);
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn each(command: &Command, look: &mut impl FnMut(&Command)) {
        look(command);
        for it in command.get_subcommands() {
            each(it, look);
        }
    }

    #[test]
    fn every_flag_and_every_subcommand_says_what_it_is_for() {
        each(&prepared(super::super::Cli::command()), &mut |command| {
            let name = command.get_display_name().unwrap_or_default();
            assert!(command.get_about().is_some(), "{name}");
            for argument in command.get_arguments() {
                let id = argument.get_id();
                assert!(argument.get_help().is_some(), "{name}: {id}");
            }
        });
    }

    #[test]
    fn every_subcommand_has_examples() {
        for command in prepared(super::super::Cli::command()).get_subcommands() {
            assert!(
                !last_words(command).examples.is_empty(),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn the_tables_name_subcommands() {
        let whole = prepared(super::super::Cli::command());
        let named = VARIABLES.iter().chain(&FILES).flat_map(|(of, _, _)| *of);
        for name in named {
            // Half of them aren't there in half a build.
            let is_whole = cfg!(all(feature = "server", feature = "peer"));
            assert!(!is_whole || whole.find_subcommand(name).is_some(), "{name}");
        }
    }
}
