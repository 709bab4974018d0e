//! Which encoders a source uses: for each codec the best one that works, and what comes after it.

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use super::table::{ROWS, Row};
use super::{Encoder, EncoderKind, Written, is_installed, trial};
use crate::media::codec::{Codec, Kind};
use crate::media::packages;

/// What a user wants to encode with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EncoderChoice {
    /// Hardware if it works, or else software.
    #[default]
    Best,
    /// Hardware, and nothing else.
    Hardware,
    /// Software, and nothing else.
    Software,
    /// This element; others only if it fails.
    Named(&'static str),
}

/// Why there is nothing to encode with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// Nobody knows an encoder of that name.
    #[error(
        "unknown encoder `{name}`; write hardware, software or one of {}; any other one can stand in a \
         pipeline file, under [encoder.CODEC]",
        elements()
    )]
    Unknown {
        /// The name.
        name: String,
    },
    /// The encoder isn't here.
    #[error(
        "there is no encoder `{element}` here: no device for it, or it isn't installed{}; there are {}",
        advice(.element),
        installed_elements()
    )]
    Missing {
        /// The element.
        element: &'static str,
    },
    /// None of the encoders works.
    #[error("nothing here encodes {}: {why}", .codec.name())]
    None {
        /// What was wanted.
        codec: Codec,
        /// Why each encoder was passed over.
        why: String,
    },
}

impl FromStr for EncoderChoice {
    type Err = EncoderError;

    fn from_str(name: &str) -> Result<Self, EncoderError> {
        match name {
            "hardware" => return Ok(Self::Hardware),
            "software" => return Ok(Self::Software),
            _ => {}
        }
        let row = pictures().find(|row| row.element == name);
        let row = row.ok_or_else(|| EncoderError::Unknown {
            name: name.to_owned(),
        })?;
        Ok(Self::Named(row.element))
    }
}

/// The encoders of one source. Cheap to clone; what fails for one clone fails for all.
#[derive(Debug, Clone, Default)]
pub(in crate::media) struct Encoders {
    /// For each codec those that may be used, in the order in which they are tried.
    ladders: Arc<Vec<(Codec, Vec<Encoder>)>>,
    /// Those that failed while they were used.
    broken: Arc<Mutex<Vec<Encoder>>>,
}

impl Encoders {
    /// Finds one encoder that works for each of these codecs. Blocks while they are tried.
    pub(in crate::media) fn choose(
        codecs: &[Codec],
        choice: &EncoderChoice,
        written: &[(Codec, Arc<Written>)],
    ) -> Result<Self, EncoderError> {
        if let EncoderChoice::Named(element) = *choice
            && !pictures().any(|row| row.element == element && is_installed(row))
        {
            return Err(EncoderError::Missing { element });
        }
        let ladder = |codec: Codec| {
            let own = written.iter().filter(|(of, _)| *of == codec);
            let own = own.map(|(_, written)| Encoder::Written(Arc::clone(written)));
            let own = own.filter(|_| *choice == EncoderChoice::Best);
            let mut known: Vec<_> = super::installed(codec)
                .filter(|encoder| match choice {
                    EncoderChoice::Hardware => encoder.kind() == Some(EncoderKind::Hardware),
                    EncoderChoice::Software => encoder.kind() == Some(EncoderKind::Software),
                    _ => true,
                })
                .collect();
            if let EncoderChoice::Named(element) = choice {
                known.sort_by_key(|encoder| encoder.name() != *element);
            }
            (codec, own.chain(known).collect())
        };
        let all = Self {
            ladders: Arc::new(codecs.iter().map(|codec| ladder(*codec)).collect()),
            broken: Arc::default(),
        };
        let (mut working, mut failed) = (Vec::new(), Vec::new());
        for (codec, ladder) in all.ladders.iter() {
            match all.best(*codec) {
                Ok(_) => working.push((*codec, ladder.clone())),
                Err(error) => failed.push((*codec, error)),
            }
        }
        if let (true, Some((_, error))) = (working.is_empty(), failed.pop()) {
            return Err(error);
        }
        for (codec, error) in &failed {
            tracing::debug!(codec = codec.name(), %error, "a codec is left out");
        }
        if let EncoderChoice::Named(element) = choice {
            // Who names an encoder wants its codec.
            working.sort_by_key(|(codec, _)| !makes(element, *codec));
        }
        Ok(Self {
            ladders: Arc::new(working),
            broken: all.broken,
        })
    }

    /// The codecs that can be encoded, in order.
    pub(in crate::media) fn codecs(&self) -> Vec<Codec> {
        self.ladders.iter().map(|(codec, _)| *codec).collect()
    }

    /// The first encoder of a codec that works, or why none does. Blocks if one wasn't tried before.
    pub(in crate::media) fn best(&self, codec: Codec) -> Result<Encoder, EncoderError> {
        let ladders = self.ladders.iter().filter(|(of, _)| *of == codec);
        let mut passed = Vec::new();
        for encoder in ladders.flat_map(|(_, ladder)| ladder) {
            let failed = match self.is_broken(encoder) {
                true => Err("it failed while it was used".to_owned()),
                false => trial::outcome(encoder),
            };
            match failed {
                Ok(()) => {
                    tell(codec, encoder, &passed);
                    return Ok(encoder.clone());
                }
                Err(why) => passed.push(format!("{}: {why}", encoder.name())),
            }
        }
        // The next one who asks may have more luck.
        self.broken().clear();
        passed.extend(missing(codec));
        let why = passed.join("; ");
        Err(EncoderError::None { codec, why })
    }

    /// An encoder failed while it was used: from now on another one is.
    pub(in crate::media) fn fail(&self, encoder: &Encoder) {
        if !self.is_broken(encoder) {
            self.broken().push(encoder.clone());
        }
    }

    fn is_broken(&self, encoder: &Encoder) -> bool {
        self.broken().contains(encoder)
    }

    fn broken(&self) -> std::sync::MutexGuard<'_, Vec<Encoder>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs a choice, when it is made for the first time.
fn tell(codec: Codec, encoder: &Encoder, passed: &[String]) {
    static TOLD: Mutex<Vec<(Codec, Encoder)>> = Mutex::new(Vec::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let choice = (codec, encoder.clone());
    if !told.contains(&choice) {
        told.push(choice);
        drop(told);
        let passed_over = passed.iter().cloned().chain(missing(codec));
        let passed_over = passed_over.collect::<Vec<_>>().join("; ");
        let codec = codec.name();
        tracing::info!(
            codec,
            encoder = encoder.name(),
            passed_over,
            "encoder chosen"
        );
    }
}

/// Which encoders of a codec aren't installed.
fn missing(codec: Codec) -> Option<String> {
    let rows = ROWS.iter().filter(|row| row.codec == codec);
    let missing: Vec<_> = rows.filter(|row| !is_installed(row)).collect();
    let missing: Vec<_> = missing.iter().map(|row| row.element).collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
}

fn makes(element: &str, codec: Codec) -> bool {
    ROWS.iter()
        .any(|row| row.element == element && row.codec == codec)
}

fn pictures() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|row| row.codec.kind() == Kind::Video)
}

fn elements() -> String {
    let all: Vec<_> = pictures().map(|row| row.element).collect();
    all.join(", ")
}

fn installed_elements() -> String {
    let all: Vec<_> = pictures()
        .filter(|row| is_installed(row))
        .map(|row| row.element)
        .collect();
    all.join(", ")
}

fn advice(element: &str) -> String {
    match packages::System::here().install_command(&[element]) {
        Some(command) => format!(" ({command})"),
        None => String::new(),
    }
}
