//! What the plane takes of an offer, and how str0m's answer is fitted to real clients.
//!
//! Only what decides about codecs is read here; str0m reads the rest. Sources: RFC 8866 (SDP), RFC 8829
//! (JSEP), RFC 8843 (BUNDLE), kurento.md section B (which answers Chromium takes).

mod answer;
#[cfg(test)]
mod tests;

pub(super) use answer::{Shape, fit};

use super::MediaError;
use super::config::VideoCodec;

/// Sections in an offer; peers of this plane need three.
const SECTIONS: usize = 8;
/// Payload types in a section. Browsers offer about 40.
const PAYLOADS: usize = 100;
/// `a=ssrc` lines in an offer; a browser has four for each of two streams. Each makes a stream in str0m.
const SOURCES: usize = 64;
/// The longest `a=mid` that str0m keeps whole.
const MID: usize = 16;

/// What str0m doesn't get to read. Candidates aren't needed (ICE-lite), and those that can't be used
/// would be refused; of `b=` lines it takes only one.
const UNREAD: [&str; 3] = ["a=candidate:", "a=end-of-candidates", "b="];

/// An offer, as far as the plane looks into it.
#[derive(Debug)]
pub(super) struct Offer {
    sections: Vec<Section>,
    text: String,
}

/// One `m=` section.
#[derive(Debug)]
struct Section {
    kind: Kind,
    /// As in the `m=` line, to be repeated if the section is rejected.
    media: String,
    protocol: String,
    formats: String,
    mid: String,
    port: u16,
    sends: bool,
    receives: bool,
    simulcast: bool,
    payloads: Vec<Payload>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Application,
    Audio,
    Other,
    Video,
}

/// A codec as offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payload {
    /// The payload type.
    pub(super) pt: u8,
    /// That of its retransmissions (RFC 4588).
    pub(super) rtx: Option<u8>,
    /// The codec's name, as in `a=rtpmap`.
    pub(super) name: String,
    /// Timestamp units in a second.
    pub(super) clock: u32,
    /// For audio.
    pub(super) channels: Option<u8>,
    /// As in `a=fmtp`; empty without one.
    pub(super) fmtp: String,
}

/// A section that is used, with the one codec it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its index among the sections.
    pub(super) index: usize,
    /// Its `a=mid`.
    pub(super) mid: String,
    /// Its codec.
    pub(super) payload: Payload,
    /// Whether the peer both sends and receives.
    pub(super) both: bool,
    /// Whether it is sent in several sizes.
    pub(super) simulcast: bool,
}

/// What is used of an offer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// Opus.
    pub(super) audio: Option<Line>,
    /// The room's video codec.
    pub(super) video: Option<Line>,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// [`MediaError::Sdp`]: what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, MediaError> {
        let mut sections: Vec<Section> = Vec::new();
        let mut bundle: Option<Vec<&str>> = None;
        let mut sources = 0;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("m=") {
                if sections.len() == SECTIONS {
                    return Err(wrong(format!("it has more than {SECTIONS} m= sections")));
                }
                sections.push(Section::parse(rest)?);
            } else if let Some(rest) = line.strip_prefix("a=group:BUNDLE") {
                bundle = Some(rest.split_ascii_whitespace().collect());
            } else if let Some(section) = sections.last_mut() {
                sources += usize::from(line.starts_with("a=ssrc:"));
                section.attribute(line)?;
            }
        }
        let Some(bundle) = bundle else {
            return Err(wrong(
                "it has no a=group:BUNDLE; set bundle-policy=max-bundle",
            ));
        };
        if sources > SOURCES {
            return Err(wrong(format!("it has more than {SOURCES} a=ssrc lines")));
        }
        for (index, section) in sections.iter_mut().enumerate() {
            section.finish(index, &bundle)?;
        }
        let text = text
            .lines()
            .filter(|line| !UNREAD.iter().any(|unread| line.starts_with(unread)))
            .flat_map(|line| [line, "\r\n"])
            .collect();
        Ok(Self { sections, text })
    }

    /// How many `m=` sections it has.
    pub(super) fn sections(&self) -> usize {
        self.sections.len()
    }

    /// For str0m.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What a publisher with this offer sends: the first audio, and the first video in the first of
    /// `codecs` that is offered, or, if the room has its codec, in one like that.
    ///
    /// # Errors
    /// [`MediaError::NoCodec`], or [`MediaError::Sdp`] if it sends nothing.
    pub(super) fn published(
        &self,
        codecs: &[VideoCodec],
        pinned: Option<&Payload>,
    ) -> Result<Selection, MediaError> {
        let selection = Selection {
            audio: self.audio(|section| section.sends)?,
            video: match self.section(Kind::Video, |section| section.sends) {
                None => None,
                Some((index, section)) => {
                    let payload = match pinned {
                        Some(pinned) => section.like(pinned),
                        None => codecs.iter().find_map(|codec| section.preferred(*codec)),
                    };
                    let Some(payload) = payload else {
                        return Err(MediaError::NoCodec {
                            room: match pinned {
                                Some(pinned) => vec![pinned.name.clone()],
                                None => codecs.iter().map(|c| c.name().to_owned()).collect(),
                            },
                            offered: section.names(),
                        });
                    };
                    Some(section.line(index, payload))
                }
            },
        };
        selection.checked("sends no audio or video")
    }

    /// What a subscriber with this offer gets of what its publisher sends.
    ///
    /// # Errors
    /// [`MediaError::NoCodec`], or [`MediaError::Sdp`] if nothing is left.
    pub(super) fn subscribed(&self, published: &Selection) -> Result<Selection, MediaError> {
        let audio = match &published.audio {
            Some(_) => self.audio(|section| section.receives)?,
            None => None,
        };
        let mut video = None;
        if let Some(theirs) = &published.video
            && let Some((index, section)) = self.section(Kind::Video, |section| section.receives)
        {
            let Some(payload) = section.like(&theirs.payload) else {
                return Err(MediaError::NoCodec {
                    room: vec![theirs.payload.name.clone()],
                    offered: section.names(),
                });
            };
            video = Some(section.line(index, payload));
        }
        Selection { audio, video }.checked("receives nothing that the publisher sends")
    }

    fn audio(&self, direction: impl Fn(&Section) -> bool) -> Result<Option<Line>, MediaError> {
        let Some((index, section)) = self.section(Kind::Audio, direction) else {
            return Ok(None);
        };
        match section.named("opus").find(|p| p.clock == 48_000) {
            Some(payload) => Ok(Some(section.line(index, payload))),
            None => Err(MediaError::NoCodec {
                room: vec!["opus".to_owned()],
                offered: section.names(),
            }),
        }
    }

    fn section(
        &self,
        kind: Kind,
        direction: impl Fn(&Section) -> bool,
    ) -> Option<(usize, &Section)> {
        self.sections
            .iter()
            .enumerate()
            .find(|(_, s)| s.kind == kind && s.port != 0 && direction(s))
    }
}

impl Section {
    fn parse(rest: &str) -> Result<Self, MediaError> {
        let mut words = rest.splitn(4, ' ');
        let (Some(kind), Some(port), Some(protocol), Some(formats)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong(format!("m={rest} is not a media section")));
        };
        Ok(Self {
            kind: match kind {
                "application" => Kind::Application,
                "audio" => Kind::Audio,
                "video" => Kind::Video,
                _ => Kind::Other,
            },
            media: kind.to_owned(),
            protocol: protocol.to_owned(),
            formats: formats.trim_end().to_owned(),
            mid: String::new(),
            port: port
                .parse()
                .map_err(|_| wrong(format!("m={rest} has no port")))?,
            sends: true,
            receives: true,
            simulcast: false,
            payloads: Vec::new(),
        })
    }

    fn attribute(&mut self, line: &str) -> Result<(), MediaError> {
        let line = line.trim_end();
        match line {
            "a=sendonly" => self.receives = false,
            "a=recvonly" => self.sends = false,
            "a=inactive" => (self.sends, self.receives) = (false, false),
            _ => {}
        }
        if let Some(mid) = line.strip_prefix("a=mid:") {
            mid.clone_into(&mut self.mid);
        } else if line.starts_with("a=simulcast:") {
            self.simulcast = true;
        } else if let Some(map) = line.strip_prefix("a=rtpmap:") {
            if self.payloads.len() == PAYLOADS {
                return Err(wrong(format!("a section has more than {PAYLOADS} formats")));
            }
            self.payloads.extend(Payload::parse(map));
        } else if let Some((pt, fmtp)) = line
            .strip_prefix("a=fmtp:")
            .and_then(|rest| rest.split_once(' '))
            && let Some(payload) = self.payloads.iter_mut().find(|p| pt == p.pt.to_string())
        {
            fmtp.trim().clone_into(&mut payload.fmtp);
        }
        Ok(())
    }

    fn finish(&mut self, index: usize, bundle: &[&str]) -> Result<(), MediaError> {
        let plain = self.mid.chars().all(|c| c.is_ascii_alphanumeric());
        if self.mid.is_empty() || self.mid.len() > MID || !plain {
            return Err(wrong(format!(
                "section {index} needs an a=mid of at most {MID} letters and digits"
            )));
        }
        // Port 0 in the group means "on the port of the first" (RFC 8843, section 6).
        if self.port == 0 && bundle.contains(&self.mid.as_str()) {
            self.port = 9;
        }
        let resends: Vec<(u8, u8)> = self
            .named("rtx")
            .filter_map(|p| Some((parameter(&p.fmtp, "apt")?.parse().ok()?, p.pt)))
            .collect();
        for payload in &mut self.payloads {
            payload.rtx = resends
                .iter()
                .find(|(of, _)| *of == payload.pt)
                .map(|&(_, pt)| pt);
        }
        Ok(())
    }

    fn named<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a Payload> + use<'a, 'n> {
        self.payloads
            .iter()
            .filter(move |p| p.name.eq_ignore_ascii_case(name))
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for payload in &self.payloads {
            let name = &payload.name;
            if !["rtx", "red", "ulpfec", "flexfec-03"].contains(&name.as_str())
                && !names.contains(name)
            {
                names.push(name.clone());
            }
        }
        names
    }

    /// The format of a codec that most receivers take. For H.264 that is the constrained baseline
    /// profile in packetization mode 1 (RFC 7742, section 6.2); for the others the first offered.
    fn preferred(&self, codec: VideoCodec) -> Option<&Payload> {
        self.named(codec.name()).min_by_key(|p| match codec {
            VideoCodec::H264 => {
                let profile = p.profile();
                let constrained = profile.starts_with("42e0") || profile.starts_with("42c0");
                (p.mode() != "1", !constrained, !profile.starts_with("42"))
            }
            _ => Default::default(),
        })
    }

    /// The format that takes what `other` sends, if one does.
    fn like(&self, other: &Payload) -> Option<&Payload> {
        self.named(&other.name)
            .filter_map(|p| Some((p, p.takes(other)?)))
            .min_by_key(|&(_, misfit)| misfit)
            .map(|(p, _)| p)
    }

    fn line(&self, index: usize, payload: &Payload) -> Line {
        Line {
            index,
            mid: self.mid.clone(),
            payload: payload.clone(),
            both: self.sends && self.receives,
            simulcast: self.simulcast,
        }
    }
}

impl Payload {
    fn parse(map: &str) -> Option<Self> {
        let (pt, rest) = map.split_once(' ')?;
        let mut words = rest.trim().split('/');
        Some(Self {
            pt: pt.parse().ok().filter(|pt| *pt < 128)?,
            rtx: None,
            name: words.next()?.to_owned(),
            clock: words.next()?.parse().ok()?,
            channels: words.next().and_then(|n| n.parse().ok()),
            fmtp: String::new(),
        })
    }

    /// How badly a receiver of this format takes what is sent in `other`; none: not at all.
    fn takes(&self, other: &Self) -> Option<u8> {
        if self.clock != other.clock {
            return None;
        }
        match other.name.to_ascii_uppercase().as_str() {
            "H264" if self.fmtp.is_empty() => {
                // By RFC 6184 that would be mode 0 and level 1. Who says nothing, like GStreamer's
                // depayloader, takes everything.
                Some(3)
            }
            "H264" => {
                let (ours, theirs) = (self.profile(), other.profile());
                let family = ours.get(..2) == theirs.get(..2) && self.mode() == other.mode();
                family.then(|| u8::from(ours.get(..4) != theirs.get(..4)))
            }
            "VP9" => self.same(other, "profile-id"),
            "AV1" => self.same(other, "profile"),
            _ => Some(0),
        }
    }

    /// H.264's profile-level-id in lower case (RFC 6184, section 8.1).
    fn profile(&self) -> String {
        parameter(&self.fmtp, "profile-level-id")
            .unwrap_or("42000a")
            .to_ascii_lowercase()
    }

    /// H.264's packetization-mode.
    fn mode(&self) -> &str {
        parameter(&self.fmtp, "packetization-mode").unwrap_or("0")
    }

    fn same(&self, other: &Self, name: &str) -> Option<u8> {
        let [ours, theirs] = [self, other].map(|p| parameter(&p.fmtp, name).unwrap_or("0"));
        (ours == theirs).then_some(0)
    }
}

impl Selection {
    /// Both lines, as far as they are there.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.audio.iter().chain(&self.video)
    }

    fn checked(self, nothing: &str) -> Result<Self, MediaError> {
        if self.lines().next().is_none() {
            return Err(wrong(format!("it {nothing}")));
        }
        let mut types: Vec<u8> = self
            .lines()
            .flat_map(|line| [Some(line.payload.pt), line.payload.rtx])
            .flatten()
            .collect();
        let all = types.len();
        types.sort_unstable();
        types.dedup();
        if types.len() < all {
            return Err(wrong("one payload type has two meanings"));
        }
        Ok(self)
    }
}

/// A parameter of an `a=fmtp`.
fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn wrong(what: impl Into<String>) -> MediaError {
    MediaError::Sdp(what.into())
}
