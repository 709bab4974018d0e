//! `switchboard pipelines`: what peers can play.

use std::fmt::Write;

use anyhow::anyhow;
use clap::{Args, Subcommand};

use super::media::key_value;
use super::{Failure, Outcome, block_on, say};
use crate::media::pipeline::{Listed, Origin, PipelineError, PipelineFile, Report};
use crate::media::{self, Codec, EncoderKind, EncoderState, Kind, Source, SourceOptions};

/// List, check or show the pipeline files that peers play
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  switchboard pipelines list
  switchboard pipelines check camera device=/dev/video2
  switchboard pipelines show test pattern=snow
  switchboard pipelines encoders")]
pub(super) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All pipeline files that can be named, and what each needs
    List,
    /// Whether pipeline files are right, and whether they play here and now; all without a name
    Check {
        /// A name or a file, and values for its variables
        #[arg(value_name = "NAME [KEY=VALUE]")]
        words: Vec<String>,
    },
    /// Every encoder that is known, and whether it works here; each is tried
    Encoders,
    /// A pipeline file's text with its variables filled in, as gst-launch-1.0 takes it
    Show {
        /// A name or a file, and values for its variables
        #[arg(value_name = "NAME [KEY=VALUE]", required = true)]
        words: Vec<String>,
    },
}

pub(super) fn run(flags: Flags) -> Outcome {
    match flags.command {
        Command::List => list(),
        Command::Check { words } if words.is_empty() => block_on(check_all()),
        Command::Check { words } => block_on(check(&words)),
        Command::Encoders => encoders(),
        Command::Show { words } => show(&words),
    }
}

fn list() -> Outcome {
    let listed = PipelineFile::list();
    let width = listed.iter().map(|file| file.name.len()).max().unwrap_or(0);
    for file in listed {
        let origin = match file.origin {
            Origin::BuiltIn => "built in".to_owned(),
            Origin::File(path) => path.display().to_string(),
        };
        let about = match &file.file {
            Ok(file) => match file.needs() {
                Some(needs) => format!("{}; needs {needs}", file.title()),
                None => file.title().to_owned(),
            },
            Err(error) => format!("wrong: {error}"),
        };
        say(format_args!("{:width$}  {about}  ({origin})", file.name));
    }
    Ok(())
}

async fn check_all() -> Outcome {
    media::init().map_err(Failure::usage)?;
    let listed = PipelineFile::list();
    let mut trials: Vec<_> = Vec::new();
    // At the same time, because one that has to wait for media waits for seconds.
    for Listed { name, file, .. } in listed {
        let trial = tokio::spawn(async move {
            let file = file?;
            let report = file.check()?;
            Ok((report, Source::open(file, SourceOptions::default()).await))
        });
        trials.push((name, trial));
    }
    let mut wrong = 0;
    for (name, trial) in trials {
        let result = trial.await.map_err(Failure::usage)?;
        say(match result {
            Ok((report, Ok(_))) => format!("{name}: {}; plays here", verdict(&report)),
            Ok((report, Err(error))) => {
                format!(
                    "{name}: {}; doesn't play here now: {error}",
                    verdict(&report)
                )
            }
            Err(error) => {
                // What isn't installed isn't wrong.
                wrong += usize::from(!matches!(error, PipelineError::MissingElements { .. }));
                format!("{name}: {error}")
            }
        });
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(Failure::Failed(anyhow!("{wrong} pipeline files are wrong"))),
    }
}

async fn check(words: &[String]) -> Outcome {
    let file = find(words).map_err(Failure::Usage)?;
    media::init().map_err(Failure::usage)?;
    let report = file.check().map_err(Failure::usage)?;
    let name = file.name().to_owned();
    say(format_args!("{name}: {}", verdict(&report)));
    match Source::open(file, SourceOptions::default()).await {
        Ok(_) => {
            say(format_args!("{name}: plays here"));
            Ok(())
        }
        Err(error) => Err(Failure::Failed(
            anyhow::Error::new(error).context(format!("{name} doesn't play here now")),
        )),
    }
}

fn encoders() -> Outcome {
    media::init().map_err(Failure::usage)?;
    for it in media::try_encoders() {
        let state = match it.state {
            EncoderState::Works => "works".to_owned(),
            EncoderState::Untried => "untried".to_owned(),
            EncoderState::Failed { why } => format!("fails: {why}"),
            EncoderState::Missing { package } => {
                let package = package.map_or(String::new(), |name| format!(", or {name}"));
                format!("missing: its device{package}")
            }
        };
        let kind = match it.kind {
            EncoderKind::Hardware => "hardware",
            EncoderKind::Software => "software",
        };
        say(format_args!(
            "{:5} {:14} {kind}  {state}",
            it.codec.name(),
            it.element
        ));
    }
    Ok(())
}

fn show(words: &[String]) -> Outcome {
    let file = find(words).map_err(Failure::Usage)?;
    say(format_args!("# {}", file.title()));
    for (key, value) in file.variables() {
        say(format_args!("# {key}={value}"));
    }
    for program in file.programs() {
        say(format_args!("# beside it runs: {program}"));
    }
    say(file.launch_text().trim());
    Ok(())
}

fn find(words: &[String]) -> anyhow::Result<PipelineFile> {
    let (name, pairs) = words
        .split_first()
        .ok_or_else(|| anyhow!("give a pipeline file's name"))?;
    let pairs = pairs
        .iter()
        .map(|word| key_value(word))
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(PipelineFile::find(name, &pairs)?)
}

fn verdict(report: &Report) -> String {
    let mut text = String::from("good; gives ");
    for (position, output) in report.outputs.iter().enumerate() {
        let comma = if position == 0 { "" } else { " and " };
        let _ = write!(text, "{comma}{}", output.name());
    }
    if report.outputs.contains(&Kind::Video) {
        let codecs: Vec<_> = report.codecs.iter().copied().map(Codec::name).collect();
        let _ = write!(text, "; raw video can be sent as {}", codecs.join(", "));
    }
    text
}
