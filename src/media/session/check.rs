//! What webrtcbin 1.22 takes for granted in a description of the other side, and aborts the whole
//! process without: found by feeding it changed descriptions. Nothing that a browser or GStreamer
//! sends is refused here.

use super::sdp::{self, Section};
use crate::media::{Codec, Kind, MediaError};

/// Media sections of one description. A conference page has a dozen; a browser adds one with each press
/// of Cuttlefish's microphone button, and never takes one away.
const SECTIONS: usize = 256;
/// What a section says once, or not at all.
const SINGLE: &[&str] = &[
    "a=mid:",
    "a=setup:",
    "a=ice-ufrag:",
    "a=ice-pwd:",
    "a=fingerprint:",
    "a=sctp-port:",
    "a=max-message-size:",
    "a=sctpmap:",
    "c=",
];

/// Of these, each section for media says one.
const DIRECTIONS: &[&str] = &["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];

/// What is known of a section once it was described: its kind and its `a=mid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    kind: String,
    mid: Option<String>,
}

/// What an offer asks for, before there is a session for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Whether data channels can be opened.
    pub channels: bool,
    /// The sections for media.
    pub lines: Vec<OfferedLine>,
}

/// A section for media in an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedLine {
    /// Video or audio.
    pub kind: Kind,
    /// Whether the other side takes media.
    pub takes: bool,
    /// Whether the other side sends media.
    pub sends: bool,
    /// The encoding names that it is offered in.
    pub codecs: Vec<String>,
}

impl Offered {
    /// Reads a first offer.
    ///
    /// # Errors
    /// If it can't be used.
    pub fn read(offer: &str) -> Result<Self, MediaError> {
        self::offer(offer, &[]).map_err(MediaError::Description)?;
        let sections = sdp::sections(offer);
        let open = || sections.iter().filter(|section| !section.refused);
        let line = |section: &Section<'_>| {
            let mut kinds = [Kind::Video, Kind::Audio].into_iter();
            Some(OfferedLine {
                kind: kinds.find(|kind| kind.name() == section.kind)?,
                takes: matches!(section.direction, "sendrecv" | "recvonly"),
                sends: matches!(section.direction, "sendrecv" | "sendonly"),
                codecs: section
                    .formats
                    .iter()
                    .filter(|format| !format.is_auxiliary())
                    .map(|format| format.name.to_owned())
                    .collect(),
            })
        };
        Ok(Self {
            channels: open().any(|section| section.kind == "application"),
            lines: open().filter_map(line).collect(),
        })
    }

    /// Whether each kind of media that the other side sends, and of which we take any codec, comes in
    /// one that we take.
    ///
    /// # Errors
    /// [`MediaError::NoCommonCodec`] with both sides' codecs.
    pub fn is_in(&self, accepted: &[Codec]) -> Result<(), MediaError> {
        for line in self.lines.iter().filter(|line| line.sends) {
            let mut ours = accepted.to_vec();
            ours.retain(|codec| codec.kind() == line.kind);
            let is_ours =
                |name: &String| Codec::from_name(name).is_some_and(|it| ours.contains(&it));
            if !ours.is_empty() && !line.codecs.iter().any(is_ours) {
                return Err(MediaError::NotTaken {
                    kind: line.kind,
                    ours,
                    theirs: line.codecs.clone(),
                });
            }
        }
        Ok(())
    }
}

/// The sections of a description.
pub(super) fn layout(text: &str) -> Vec<Known> {
    let known = |section: &Section<'_>| Known {
        kind: section.kind.to_owned(),
        mid: section.mid.map(str::to_owned),
    };
    sdp::sections(text).iter().map(known).collect()
}

/// Checks an offer; `known` are the sections of the description before it, if there was one.
pub(super) fn offer(text: &str, known: &[Known]) -> Result<(), String> {
    description(text)?;
    let sections = layout(text);
    match sections.get(..known.len()) == Some(known) {
        true => Ok(()),
        false => Err("it changes the sections that were there before".to_owned()),
    }
}

/// Checks an answer; `known` are the sections of our offer.
pub(super) fn answer(text: &str, known: &[Known]) -> Result<(), String> {
    description(text)?;
    match layout(text) == known {
        true => Ok(()),
        false => Err("its sections are not those of the offer".to_owned()),
    }
}

/// Checks what holds for both.
fn description(text: &str) -> Result<(), String> {
    let bare = text.replace("\r\n", "\n");
    if bare.contains(|c: char| c.is_control() && c != '\n') {
        return Err("it has control characters".to_owned());
    }
    let mut parts = bare.split("\nm=");
    let session = parts.next().unwrap_or_default();
    let sections = sdp::sections(text);
    if sections.is_empty() {
        return Err("it has no media section".to_owned());
    }
    if sections.len() > SECTIONS {
        return Err(format!(
            "it has {} media sections, and at most {SECTIONS} are taken",
            sections.len()
        ));
    }
    let mut mids = Vec::new();
    for section in &sections {
        if !["audio", "video", "application"].contains(&section.kind) {
            return Err(format!(
                "it has a section of the unknown kind {:?}",
                section.kind
            ));
        }
        let mid = section.mid.filter(|mid| !mid.is_empty());
        let mid = mid.ok_or("a section has no a=mid")?;
        if mids.contains(&mid) {
            return Err("two sections have the same a=mid".to_owned());
        }
        mids.push(mid);
    }
    for (part, section) in parts.zip(&sections) {
        for single in SINGLE {
            if part.lines().filter(|line| line.starts_with(single)).count() > 1 {
                return Err(format!("a section has more than one {single}"));
            }
        }
        let directions = part.lines().filter(|line| DIRECTIONS.contains(line));
        if directions.count() != 1 && section.kind != "application" {
            return Err("a section has no direction, or more than one".to_owned());
        }
    }
    bundle(session, &mids)
}

/// The sections that share a transport are there, and the transport's own is the first of them.
fn bundle(session: &str, mids: &[&str]) -> Result<(), String> {
    let mut groups = session
        .lines()
        .filter_map(|line| line.strip_prefix("a=group:BUNDLE"));
    let Some(group) = groups.next() else {
        return Ok(());
    };
    if groups.next().is_some() {
        return Err("it has more than one a=group:BUNDLE".to_owned());
    }
    match group.split_whitespace().all(|mid| mids.contains(&mid)) {
        true => Ok(()),
        false => Err("a=group:BUNDLE names a section that isn't there".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE 0 1 2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=setup:actpass\r\na=mid:0\r\na=recvonly\r\n\
        m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=bundle-only\r\na=setup:actpass\r\na=mid:1\r\na=sendrecv\r\n\
        m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=bundle-only\r\na=mid:2\r\n";

    #[test]
    fn what_clients_send_is_taken() {
        assert_eq!(offer(OFFER, &[]), Ok(()));
        let known = layout(OFFER);
        assert_eq!(offer(OFFER, &known), Ok(()));
        assert_eq!(answer(OFFER, &known), Ok(()));
        let more = format!("{OFFER}m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:3\r\na=inactive\r\n");
        assert_eq!(offer(&more, &known), Ok(()));
        assert_eq!(offer(&OFFER.replace("\r\n", "\n"), &known), Ok(()));
    }

    #[test]
    fn an_offer_says_what_it_is_for() {
        let line = |kind, takes, sends| OfferedLine {
            kind,
            takes,
            sends,
            codecs: Vec::new(),
        };
        let lines = vec![
            line(Kind::Video, true, false),
            line(Kind::Audio, true, true),
        ];
        // The port of a section that is bundled is 0 as well, but it isn't refused.
        let everything = Offered {
            channels: true,
            lines,
        };
        assert_eq!(Offered::read(OFFER).unwrap(), everything);
        let data = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n";
        let data = Offered::read(data).unwrap();
        assert!(data.channels && data.lines.is_empty());
        assert!(Offered::read("v=0").is_err());
    }

    #[test]
    fn what_webrtcbin_would_abort_at_is_refused() {
        let without = |line: &str| OFFER.replacen(line, "", 1);
        for broken in [
            without("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n"),
            without("a=mid:1\r\n"),
            without("a=recvonly\r\n"),
            without("a=sendrecv\r\n"),
            OFFER.replace("a=recvonly", "a=sendrecv\r\na=recvonly"),
            OFFER.replace("a=mid:1", "a=mid:0"),
            OFFER.replace("a=mid:1", "a=mid:"),
            OFFER.replace("BUNDLE 0 1 2", "BUNDLE 0 1 2 3"),
            OFFER.replace("a=group", "a=group:BUNDLE 0\r\na=group"),
            OFFER.replace("m=video", "m=text"),
            OFFER.replace("a=setup:actpass\r\n", "a=setup:actpass\ra=setup:active\r\n"),
            OFFER.replace("a=setup:actpass", "a=setup:actpass\r\na=setup:active"),
            String::new(),
            "m=".to_owned(),
            OFFER.replace("t=0 0", "t=\u{0}"),
            "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(SECTIONS + 1),
        ] {
            assert!(offer(&broken, &[]).is_err(), "{broken}");
        }
    }

    #[test]
    fn sections_stay_what_they_were() {
        let known = layout(OFFER);
        let one = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=recvonly\r\n";
        assert!(offer(one, &known).is_err() && answer(one, &known).is_err());
        let other = OFFER.replace("m=audio", "m=video");
        assert!(offer(&other, &known).is_err() && answer(&other, &known).is_err());
        let more = format!("{OFFER}m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:3\r\na=inactive\r\n");
        assert!(answer(&more, &known).is_err());
    }
}
