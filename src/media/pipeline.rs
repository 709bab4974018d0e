//! Pipeline files: TOML with gst-launch text, edited by users, that say what a peer plays.
//!
//! ```toml
//! title = "Test pattern"
//! pipeline = "videotestsrc is-live=true pattern=${pattern} ! video/x-raw,format=I420 ! appsink name=video"
//! [vars]
//! pattern = "ball"
//! ```
//!
//! `appsink name=video` and `appsink name=audio` are the outputs. Raw media is encoded by the peer;
//! VP8, VP9, H.264, AV1 and Opus are passed on as they are, and only that codec is offered then.
//! `loop = true` plays a file again from its start; `codecs = ["H264"]` restricts and orders what is
//! offered; `overlay = ["touch", "timestamp"]` paints onto an I420 picture; `overlay = ["code"]` puts
//! marks into picture and sound that the probe reads, with the variable `source` as the source's number.
//! `needs = "a camera"` says
//! what it needs beside GStreamer, and `hint = "is it plugged in?"` what to look at when no media
//! comes. `programs = ["exec Xvfb :99"]` are run by a shell as long as the source is there, with the
//! variables as their environment. After `stall = 10` seconds without media the pipeline is started again; 0 is never.
//!
//! A pipeline can do whatever gst-launch can (read files, open sockets): such files are trusted
//! configuration and never come from the network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use serde::Deserialize;

use super::codec::{Codec, Kind};
use super::encoder::Written as WrittenEncoder;
use super::packages;
use built_in::BUILT_IN;

pub use super::overlay::Overlay;

mod built_in;

/// Where packages install pipeline files.
const SYSTEM_DIRECTORY: &str = "/usr/share/switchboard/pipelines";
/// The environment variable that names another directory of pipeline files.
const DIRECTORY_VARIABLE: &str = "SWITCHBOARD_PIPELINES";

/// The variable that numbers a source in the marks of its media.
const SOURCE_VARIABLE: &str = "source";
/// After so many seconds without media a source is started again, unless its file says otherwise.
const STALL: u32 = 10;

/// A pipeline file, read, checked, and with its variables filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineFile {
    name: String,
    origin: Origin,
    title: String,
    needs: Option<String>,
    hint: Option<String>,
    stall: u32,
    programs: Vec<String>,
    text: String,
    repeat: bool,
    codecs: Vec<Codec>,
    encoders: Vec<(Codec, Arc<WrittenEncoder>)>,
    overlays: Vec<Overlay>,
    source: u8,
    variables: BTreeMap<String, String>,
}

/// Where a pipeline file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// The program itself.
    BuiltIn,
}

/// One line of [`PipelineFile::list`].
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The name to find it by.
    pub name: String,
    /// Where it is.
    pub origin: Origin,
    /// The file, or what is wrong with it.
    pub file: Result<PipelineFile, PipelineError>,
}

/// What [`PipelineFile::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The outputs that the text has.
    pub outputs: Vec<Kind>,
    /// Video codecs that can be offered on this machine if the output is raw.
    pub codecs: Vec<Codec>,
}

/// What is wrong with a pipeline file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// There is none of that name.
    #[error("no pipeline file `{name}`; looked in {searched}; the built-in ones are {built_in}", built_in = built_in_names())]
    NotFound {
        /// The name asked for.
        name: String,
        /// The directories searched.
        searched: String,
    },
    /// A file can't be read.
    #[error("{path}: {why}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A file isn't what it should be.
    #[error("pipeline file `{name}`: {why}")]
    Syntax {
        /// Which file.
        name: String,
        /// Where and what, from the TOML parser.
        why: String,
    },
    /// A variable that the file doesn't have.
    #[error("pipeline file `{name}` has no variable `{variable}`; it has {valid}")]
    UnknownVariable {
        /// Which file.
        name: String,
        /// The unknown variable.
        variable: String,
        /// Those that there are.
        valid: String,
    },
    /// GStreamer lacks elements.
    #[error("pipeline file `{name}` needs {}, which GStreamer lacks{}", with_packages(.elements), advice(.elements))]
    MissingElements {
        /// Which file.
        name: String,
        /// What is missing.
        elements: Vec<String>,
    },
    /// GStreamer doesn't take the text.
    #[error("pipeline file `{name}`: {why}")]
    Launch {
        /// Which file.
        name: String,
        /// What GStreamer said.
        why: String,
    },
    /// There is nothing to send.
    #[error(
        "pipeline file `{name}` has no output: end a branch with `appsink name=video` or `appsink name=audio`"
    )]
    NoOutput {
        /// Which file.
        name: String,
    },
}

/// The TOML, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    title: String,
    pipeline: String,
    needs: Option<String>,
    hint: Option<String>,
    #[serde(default = "default_stall")]
    stall: u32,
    #[serde(default)]
    programs: Vec<String>,
    #[serde(default, rename = "loop")]
    repeat: bool,
    #[serde(default)]
    codecs: Vec<String>,
    #[serde(default)]
    encoder: BTreeMap<String, WrittenEncoder>,
    #[serde(default)]
    overlay: Vec<Overlay>,
    #[serde(default)]
    vars: BTreeMap<String, toml::Value>,
}

impl PipelineFile {
    /// Finds a file, reads it and fills in its variables.
    ///
    /// `name` is a path if it has a `/` or ends in `.toml`. Otherwise it is looked for as `NAME.toml`
    /// in `./pipelines`, in `$SWITCHBOARD_PIPELINES`, in `/usr/share/switchboard/pipelines`, and
    /// among the built-in files.
    ///
    /// # Errors
    /// If there is no such file, it can't be read or isn't right, or it lacks one of the variables.
    pub fn find(name: &str, values: &[(String, String)]) -> Result<Self, PipelineError> {
        if name.contains('/') || name.ends_with(".toml") {
            return Self::read(Path::new(name), values);
        }
        let directories = directories();
        for directory in &directories {
            let path = directory.join(format!("{name}.toml"));
            if path.is_file() {
                return Self::read(&path, values);
            }
        }
        match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            Some((_, text)) => Self::parse(name, Origin::BuiltIn, text, values),
            None => Err(PipelineError::NotFound {
                name: name.to_owned(),
                searched: directories
                    .iter()
                    .map(|d| d.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }

    /// Every file that [`Self::find`] finds by a plain name, sorted by name.
    #[must_use]
    pub fn list() -> Vec<Listed> {
        let mut found = BTreeMap::new();
        for (name, text) in BUILT_IN {
            found.insert(
                (*name).to_owned(),
                Self::parse(name, Origin::BuiltIn, text, &[]),
            );
        }
        for directory in directories().iter().rev() {
            let Ok(entries) = std::fs::read_dir(directory) else {
                continue;
            };
            for path in entries.flatten().map(|entry| entry.path()) {
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                if let (Some(stem), Some("toml")) =
                    (stem, path.extension().and_then(|e| e.to_str()))
                {
                    found.insert(stem.to_owned(), Self::read(&path, &[]));
                }
            }
        }
        found
            .into_iter()
            .map(|(name, file)| Listed {
                origin: file.as_ref().map_or_else(
                    |_| {
                        directories()
                            .into_iter()
                            .map(|d| d.join(format!("{name}.toml")))
                            .find(|path| path.is_file())
                            .map_or(Origin::BuiltIn, Origin::File)
                    },
                    |file| file.origin.clone(),
                ),
                file,
                name,
            })
            .collect()
    }

    /// Asks GStreamer whether it takes the text. Nothing is started.
    ///
    /// # Errors
    /// If elements are missing, the text is wrong, or there is no output.
    pub fn check(&self) -> Result<Report, PipelineError> {
        let mut context = gst::ParseContext::new();
        let name = self.name.clone();
        // Without `FATAL_ERRORS`: the parser goes on, and names every element that is missing.
        let parsed =
            gst::parse::launch_full(&self.text, Some(&mut context), gst::ParseFlags::empty());
        let mut elements: Vec<_> = context
            .missing_elements()
            .iter()
            .map(ToString::to_string)
            .collect();
        if !elements.is_empty() {
            elements.sort();
            elements.dedup();
            return Err(PipelineError::MissingElements { name, elements });
        }
        let element = parsed.map_err(|error| PipelineError::Launch {
            name: name.clone(),
            why: error.message().to_owned(),
        })?;
        let outputs: Vec<_> = [Kind::Video, Kind::Audio]
            .into_iter()
            .filter(|kind| match element.downcast_ref::<gst::Bin>() {
                Some(bin) => bin
                    .by_name(kind.name())
                    .is_some_and(|e| e.is::<gstreamer_app::AppSink>()),
                None => false,
            })
            .collect();
        if outputs.is_empty() {
            return Err(PipelineError::NoOutput { name });
        }
        let codecs = self
            .video_codecs()
            .into_iter()
            .filter(|codec| codec.can_encode())
            .collect();
        Ok(Report { outputs, codecs })
    }

    /// The name: of the built-in file, or the path.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The word by which it is found, without the directory and the ending of its file.
    #[must_use]
    pub fn word(&self) -> &str {
        let stem = Path::new(&self.name).file_stem();
        stem.and_then(|stem| stem.to_str()).unwrap_or(&self.name)
    }

    /// Where it comes from.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The title, for people.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What it needs beside GStreamer, for people.
    #[must_use]
    pub fn needs(&self) -> Option<&str> {
        self.needs.as_deref()
    }

    /// What to look at when no media comes, for people.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What runs beside the pipeline, as a shell takes it.
    #[must_use]
    pub fn programs(&self) -> &[String] {
        &self.programs
    }

    /// After how long without media it is started again; `None` for never.
    pub(super) fn stall(&self) -> Option<Duration> {
        (self.stall > 0).then(|| Duration::from_secs(self.stall.into()))
    }

    /// The text with every variable filled in, as `gst-launch-1.0` takes it.
    #[must_use]
    pub fn launch_text(&self) -> &str {
        &self.text
    }

    /// Every variable with its value.
    #[must_use]
    pub const fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Whether it starts again at its end.
    pub(super) const fn repeats(&self) -> bool {
        self.repeat
    }

    /// What to paint onto the picture.
    pub(super) fn overlays(&self) -> &[Overlay] {
        &self.overlays
    }

    /// The source's number in the marks that are put into its media.
    pub(super) const fn source(&self) -> u8 {
        self.source
    }

    /// Encoders that the file brings along.
    pub(super) fn encoders(&self) -> &[(Codec, Arc<WrittenEncoder>)] {
        &self.encoders
    }

    /// The video codecs to offer, in order.
    pub(super) fn video_codecs(&self) -> Vec<Codec> {
        let all: &[_] = match self.codecs.is_empty() {
            true => &Codec::USUAL,
            false => &self.codecs,
        };
        let video = all.iter().filter(|codec| codec.kind() == Kind::Video);
        video.copied().collect()
    }

    fn read(path: &Path, values: &[(String, String)]) -> Result<Self, PipelineError> {
        let text = std::fs::read_to_string(path).map_err(|error| PipelineError::Read {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        let name = path.display().to_string();
        Self::parse(&name, Origin::File(path.to_owned()), &text, values)
    }

    pub(super) fn parse(
        name: &str,
        origin: Origin,
        text: &str,
        values: &[(String, String)],
    ) -> Result<Self, PipelineError> {
        let syntax = |why: String| PipelineError::Syntax {
            name: name.to_owned(),
            why,
        };
        let written: Written = toml::from_str(text).map_err(|error| syntax(error.to_string()))?;
        let mut variables = defaults(&written.vars).map_err(syntax)?;
        let unknown = |variable: &str| PipelineError::UnknownVariable {
            name: name.to_owned(),
            variable: variable.to_owned(),
            valid: match written.vars.is_empty() {
                true => "none".to_owned(),
                false => written.vars.keys().cloned().collect::<Vec<_>>().join(", "),
            },
        };
        for (key, value) in values {
            *variables.get_mut(key).ok_or_else(|| unknown(key))? = value.clone();
        }
        let codec = |name: &String| name.parse::<Codec>().map_err(syntax);
        let codecs: Result<Vec<_>, _> = written.codecs.iter().map(codec).collect();
        let filled = |text: &str| {
            substitute(text, &variables).map_err(|bad| match bad {
                Substitution::Unknown(variable) => unknown(&variable),
                Substitution::Open => syntax("a `${` has no `}`".to_owned()),
            })
        };
        let mut encoders = Vec::new();
        for (name, own) in &written.encoder {
            let mut own = own.clone();
            own.launch = filled(&own.launch)?;
            own.check()
                .map_err(|why| syntax(format!("[encoder.{name}]: {why}")))?;
            encoders.push((codec(name)?, Arc::new(own)));
        }
        let text = filled(&written.pipeline)?;
        Ok(Self {
            source: source(&written, &variables).map_err(syntax)?,
            name: name.to_owned(),
            origin,
            title: written.title,
            needs: written.needs,
            hint: written.hint,
            stall: written.stall,
            programs: written.programs,
            text,
            repeat: written.repeat,
            codecs: codecs?,
            encoders,
            overlays: written.overlay,
            variables,
        })
    }
}

const fn default_stall() -> u32 {
    STALL
}

/// The variables' own values, as texts; or what is wrong with them.
fn defaults(written: &BTreeMap<String, toml::Value>) -> Result<BTreeMap<String, String>, String> {
    let text = |(key, value): (&String, &toml::Value)| match value {
        toml::Value::String(text) => Ok((key.clone(), text.clone())),
        toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => {
            Ok((key.clone(), value.to_string()))
        }
        _ => Err(format!(
            "the variable `{key}` must be a text, a number, true or false"
        )),
    };
    written.iter().map(text).collect()
}

/// The source's number, for a file that puts marks into its media.
fn source(written: &Written, variables: &BTreeMap<String, String>) -> Result<u8, String> {
    match variables.get(SOURCE_VARIABLE) {
        Some(value) if written.overlay.contains(&Overlay::Code) => value.parse().map_err(|_| {
            format!(
                "the variable `{SOURCE_VARIABLE}` must be a number from 0 to 255, not `{value}`"
            )
        }),
        _ => Ok(0),
    }
}

enum Substitution {
    Unknown(String),
    Open,
}

fn substitute(text: &str, variables: &BTreeMap<String, String>) -> Result<String, Substitution> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let (name, after) = rest[start + 2..]
            .split_once('}')
            .ok_or(Substitution::Open)?;
        let value = variables
            .get(name)
            .ok_or_else(|| Substitution::Unknown(name.to_owned()))?;
        out.push_str(&quoted(value));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// A value that gst-launch reads as one word, whatever is in it.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+.,/:@%=".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

fn directories() -> Vec<PathBuf> {
    let own = std::env::var_os(DIRECTORY_VARIABLE).filter(|value| !value.is_empty());
    [
        Some("pipelines".into()),
        own.map(PathBuf::from),
        Some(SYSTEM_DIRECTORY.into()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn built_in_names() -> String {
    BUILT_IN
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}

fn with_packages(elements: &[String]) -> String {
    let named = elements.iter().map(|element| {
        packages::System::here().package(element).map_or_else(
            || element.clone(),
            |package| format!("{element} ({package})"),
        )
    });
    named.collect::<Vec<_>>().join(", ")
}

fn advice(elements: &[String]) -> String {
    match packages::System::here().install_command(elements) {
        Some(command) => format!("; install: {command}"),
        None => "; no package that we know has it".to_owned(),
    }
}

#[cfg(test)]
mod tests;
