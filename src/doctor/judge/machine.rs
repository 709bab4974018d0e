//! What this machine can do by itself.

use std::collections::BTreeMap;

use super::super::machine::{Failure, Machine};
use super::super::pair::Pair;
use super::{Finding, Topic};
use crate::media::{
    Codec, Element, ElementState, EncoderInfo, EncoderState, Inventory, Kind, Need, install_command,
};

/// Descriptors of a peer that serves a hundred viewers: about twenty each (gstreamer-notes.md, section 2).
const DESCRIPTORS: u64 = 1024;

/// All but the connection with itself.
pub(super) fn judge(machine: &Machine) -> Vec<Finding> {
    let mut findings = match &machine.gstreamer {
        Ok(inventory) => elements(inventory),
        Err(why) => vec![unusable(why)],
    };
    if machine.gstreamer.is_ok() {
        findings.extend(match &machine.encoders {
            Ok(encoders) => self::encoders(encoders),
            Err(why) => vec![
                Finding::warning(
                    Topic::Encoders,
                    format!("the encoders were not tried: {why}"),
                )
                .because(
                    "a device that doesn't answer may hold up the first viewer",
                    "try them one by one, and watch which one hangs",
                )
                .by("switchboard pipelines encoders --log debug"),
            ],
        });
    }
    findings.push(descriptors(machine.descriptors));
    findings
}

/// The connection with itself.
pub(super) fn pair(pair: &Pair) -> Option<Finding> {
    match pair {
        Pair::Connected(took) => Some(Finding::ok(
            Topic::Loopback,
            format!("two peers on this machine connect in {} ms", took.as_millis()),
        )),
        Pair::Failed(why) => Some(
            Finding::problem(
                Topic::Loopback,
                format!("two peers on this machine don't connect: {why}"),
            )
            .because(
                "if a machine doesn't reach itself by the addresses that it tells, nobody else will",
                "let UDP between this machine's own addresses through its firewall, or choose other \
                 addresses with --interface",
            ),
        ),
        Pair::Untried => None,
    }
}

fn unusable(why: &Failure) -> Finding {
    match why {
        Failure::Slow(seconds) => Finding::problem(
            Topic::Gstreamer,
            format!("GStreamer was not ready within {seconds} s"),
        )
        .because(
            "nothing could be tried; the first start after an installation reads every plugin",
            "look again",
        )
        .by("switchboard doctor"),
        Failure::Broken(why) => {
            Finding::problem(Topic::Gstreamer, format!("GStreamer can't be used: {why}"))
                .because(
                    "no peer of this machine sends or receives media",
                    "install GStreamer, and run `gst-inspect-1.0` to see that it starts",
                )
                .by_if_any(install_command(&[
                    "webrtcbin",
                    "appsrc",
                    "vp8enc",
                    "nicesrc",
                ]))
        }
    }
}

fn elements(inventory: &Inventory) -> Vec<Finding> {
    let mut findings = Vec::new();
    // By what doesn't go without them, what nothing goes without first.
    let mut missing: BTreeMap<Option<&str>, Vec<&Element>> = BTreeMap::new();
    for element in &inventory.elements {
        let part = match element.need {
            Need::Core => None,
            Need::Part(part) => Some(part),
        };
        match &element.state {
            ElementState::Works => {}
            ElementState::Missing => missing.entry(part).or_default().push(element),
            ElementState::Broken { file } => findings.push(broken(element, file.as_deref())),
        }
    }
    for (part, elements) in missing {
        let names: Vec<_> = elements.iter().map(|it| it.name).collect();
        findings.push(absent(part, &names));
    }
    if findings.is_empty() {
        let text = format!(
            "GStreamer {} with all {} elements",
            inventory.version,
            inventory.elements.len()
        );
        return vec![Finding::ok(Topic::Gstreamer, text)];
    }
    let text = format!("GStreamer {}", inventory.version);
    findings.insert(0, Finding::ok(Topic::Gstreamer, text));
    findings
}

fn absent(part: Option<&str>, names: &[&str]) -> Finding {
    let text = format!("GStreamer lacks {}", names.join(", "));
    let (finding, why) = match part {
        None => (
            Finding::problem(Topic::Gstreamer, text),
            "every call needs it".to_owned(),
        ),
        Some(part) => (
            Finding::warning(Topic::Gstreamer, text),
            format!("without it there is no or not all of: {part}"),
        ),
    };
    let command = install_command(names);
    let fix = match &command {
        Some(_) => "install the package that has it".to_owned(),
        // These come with this program.
        None if names.iter().any(|it| it.starts_with("rtp")) => {
            "use a build of switchboard with its feature `rtp-plugin`, or install gst-plugins-rs"
                .to_owned()
        }
        None => format!(
            "install the plugin of GStreamer that has {}",
            names.join(", ")
        ),
    };
    finding.because(why, fix).by_if_any(command)
}

fn broken(element: &Element, file: Option<&str>) -> Finding {
    let text = format!(
        "GStreamer's element {} is here but can't be made{}",
        element.name,
        file.map_or(String::new(), |file| format!(" ({file})"))
    );
    let finding = match element.need {
        Need::Core => Finding::problem(Topic::Gstreamer, text),
        Need::Part(_) => Finding::warning(Topic::Gstreamer, text),
    };
    finding
        .because(
            "its plugin is from another version of GStreamer, or a library that it needs is missing",
            "look at what its loading says, and install the plugin anew",
        )
        .by(format!("GST_DEBUG=4 gst-inspect-1.0 {}", element.name))
}

fn encoders(encoders: &[EncoderInfo]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut working = Vec::new();
    for codec in Codec::ALL {
        let ours: Vec<_> = encoders.iter().filter(|it| it.codec == codec).collect();
        let works = |it: &&&EncoderInfo| it.state == EncoderState::Works;
        match ours.iter().find(works) {
            Some(best) => working.push((codec, format!("{} by {}", codec.name(), best.element))),
            None => findings.push(unencodable(codec, &ours)),
        }
        for encoder in ours {
            if let EncoderState::Failed { why } = &encoder.state {
                findings.push(failing(encoder, why));
            }
        }
    }
    let has_video = working.iter().any(|(codec, _)| codec.kind() == Kind::Video);
    if !has_video {
        let none = Finding::problem(Topic::Encoders, "no encoder for video works");
        let none = none.because(
            "no peer of this machine can send pictures, unless its pipeline gives them encoded",
            "install an encoder",
        );
        findings.insert(0, none.by_if_any(install_command(&["vp8enc"])));
    }
    if !working.is_empty() {
        let each: Vec<_> = working.into_iter().map(|(_, text)| text).collect();
        findings.insert(0, Finding::ok(Topic::Encoders, each.join(", ")));
    }
    findings
}

fn unencodable(codec: Codec, encoders: &[&EncoderInfo]) -> Finding {
    let missing: Vec<_> = encoders
        .iter()
        .filter(|it| matches!(it.state, EncoderState::Missing { .. }))
        .map(|it| it.element)
        .collect();
    // The last of a codec are those in software.
    let last: Vec<_> = missing.last().copied().into_iter().collect();
    Finding::warning(
        Topic::Encoders,
        format!("no encoder for {} works", codec.name()),
    )
    .because(
        format!(
            "this machine sends no {}; the other codecs are used",
            codec.name()
        ),
        "install an encoder, if the other side needs this codec",
    )
    .by_if_any(install_command(&last))
}

fn failing(encoder: &EncoderInfo, why: &str) -> Finding {
    Finding::warning(
        Topic::Encoders,
        format!("{} is installed but doesn't encode: {why}", encoder.element),
    )
    .because(
        "the next encoder is used instead, which may cost more of the processor",
        "is its device there, free, and may this user open it (groups video and render)?",
    )
    .by("sudo usermod -aG video,render $USER")
}

fn descriptors((current, most): (u64, u64)) -> Finding {
    if current >= DESCRIPTORS {
        return Finding::ok(
            Topic::System,
            format!("{current} file descriptors for a process"),
        );
    }
    Finding::warning(
        Topic::System,
        format!("only {current} file descriptors for a process"),
    )
    .because(
        format!(
            "each viewer takes about twenty: after {} of them calls fail",
            current / 20
        ),
        "raise the limit before you start a peer",
    )
    .by(format!("ulimit -n {}", most.clamp(DESCRIPTORS, 65_536)))
}
