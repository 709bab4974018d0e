//! The little of SDP that we must read and rewrite ourselves (RFC 8866, RFC 8829).

use std::fmt::Write as _;

use crate::media::codec::TRANSPORT_NUMBERS;

/// A media section, from its `m=` line to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::media) struct Section<'a> {
    /// `video`, `audio`, `application`.
    pub(in crate::media) kind: &'a str,
    /// From `a=mid:`.
    pub(in crate::media) mid: Option<&'a str>,
    /// `sendrecv` if nothing is said.
    pub(in crate::media) direction: &'a str,
    /// The formats, in the order of the `m=` line.
    pub(in crate::media) formats: Vec<Format<'a>>,
    /// Whether it is refused: port 0 without `a=bundle-only`.
    pub(in crate::media) refused: bool,
    /// Whether it names what is sent on it: by SSRCs, or by RIDs (RFC 8851).
    pub(in crate::media) announced: bool,
    /// The id of the extension that numbers the packets of a transport, if its sender gives or takes
    /// feedback by these numbers.
    pub(in crate::media) feedback: Option<u8>,
}

/// A payload type with what `a=rtpmap` and `a=fmtp` say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::media) struct Format<'a> {
    /// The payload type.
    pub(in crate::media) pt: u8,
    /// The encoding name.
    pub(in crate::media) name: &'a str,
    /// The parameters, unparsed.
    parameters: &'a str,
}

impl<'a> Format<'a> {
    /// Whether it isn't media itself, but protects that of others.
    pub(super) fn is_auxiliary(&self) -> bool {
        let names = [
            "rtx",
            "red",
            "ulpfec",
            "flexfec-03",
            "telephone-event",
            "cn",
        ];
        names.iter().any(|it| self.name.eq_ignore_ascii_case(it))
    }

    /// The parameters as they stand there, for a message.
    pub(super) const fn parameters(&self) -> &'a str {
        self.parameters
    }

    /// A format parameter by its name.
    pub(in crate::media) fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters
            .split(';')
            .filter_map(|parameter| parameter.trim().split_once('='))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// The DTLS role in `a=setup:` (RFC 8842).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The client.
    Active,
    /// The server.
    Passive,
}

impl Role {
    /// The role of the other side.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::Passive => Self::Active,
        }
    }

    const fn setup(self) -> &'static str {
        match self {
            Self::Active => "a=setup:active",
            Self::Passive => "a=setup:passive",
        }
    }
}

/// The media sections of a description, in order.
pub(in crate::media) fn sections(sdp: &str) -> Vec<Section<'_>> {
    let mut lines: Vec<Vec<&str>> = Vec::new();
    for line in sdp.lines() {
        if line.starts_with("m=") {
            lines.push(vec![line]);
        } else if let Some(section) = lines.last_mut() {
            section.push(line);
        }
    }
    lines.iter().map(|lines| section(lines)).collect()
}

fn section<'a>(lines: &[&'a str]) -> Section<'a> {
    let mut words = lines
        .first()
        .and_then(|line| line.strip_prefix("m="))
        .unwrap_or("")
        .split(' ');
    let kind = words.next().unwrap_or("");
    let port = words.next().unwrap_or("");
    let bundled = lines.contains(&"a=bundle-only");
    let value = |prefix: &str| lines.iter().find_map(|line| line.strip_prefix(prefix));
    let about = |attribute: &str, pt: u8| {
        lines.iter().find_map(|line| {
            let (number, rest) = line.strip_prefix(attribute)?.split_once(' ')?;
            (number.parse() == Ok(pt)).then_some(rest)
        })
    };
    let formats = words
        .skip(1)
        .filter_map(|word| word.parse::<u8>().ok())
        .filter_map(|pt| {
            let name = about("a=rtpmap:", pt)?.split('/').next()?;
            Some(Format {
                pt,
                name,
                parameters: about("a=fmtp:", pt).unwrap_or(""),
            })
        })
        .collect();
    let direction = ["sendrecv", "sendonly", "recvonly", "inactive"]
        .into_iter()
        .find(|direction| {
            lines
                .iter()
                .any(|line| line.strip_prefix("a=") == Some(direction))
        })
        .unwrap_or("sendrecv");
    Section {
        kind,
        mid: value("a=mid:"),
        direction,
        formats,
        refused: port == "0" && !bundled,
        announced: lines
            .iter()
            .any(|line| line.starts_with("a=ssrc:") || line.starts_with("a=rid:")),
        feedback: feedback(lines),
    }
}

/// See [`Section::feedback`]. Ids from 1 to 14 have the one-byte form (RFC 8285), which is all that
/// webrtcbin 1.22 can number in.
fn feedback(lines: &[&str]) -> Option<u8> {
    let asks = lines.iter().any(|line| gives_feedback(line));
    let id = lines.iter().find_map(|line| {
        let (id, uri) = line.strip_prefix("a=extmap:")?.split_once(' ')?;
        let number = id.split('/').next()?.parse().ok()?;
        (uri == TRANSPORT_NUMBERS).then_some(number)
    });
    id.filter(|id| asks && (1..=14).contains(id))
}

/// The role that a description's sender chose; `None` if it leaves the choice open.
pub(super) fn role(sdp: &str) -> Option<Role> {
    sdp.lines().find_map(|line| match line.trim_end() {
        "a=setup:active" => Some(Role::Active),
        "a=setup:passive" => Some(Role::Passive),
        _ => None,
    })
}

/// A later offer of the other side, with the DTLS role that it has already instead of a free choice.
///
/// webrtcbin 1.22 answers every `actpass` with `active`, whatever it is; browsers refuse a change of
/// role: "Failed to set SSL role for the transport" (cuttlefish.md B5, 4).
pub(super) fn with_role(sdp: &str, role: Role) -> String {
    map_lines(sdp, |line| {
        if line == "a=setup:actpass" {
            role.setup()
        } else {
            line
        }
    })
}

/// A later offer of ours, leaving the choice of the role open, as RFC 8842 section 5.5 wants it and
/// browsers insist on: "Offerer must use current negotiated role" (cuttlefish.md B5, 4).
pub(super) fn with_open_role(sdp: &str) -> String {
    map_lines(sdp, |line| {
        if line.starts_with("a=setup:") {
            "a=setup:actpass"
        } else {
            line
        }
    })
}

/// A description of the other side in which the media of these sections flows both ways.
///
/// webrtcbin 1.22 can't change what was settled at first: "transceiver direction changes are not
/// implemented". So it is told of both ways from the start, and a page that turns on its microphone
/// later (cuttlefish.md B1) changes nothing for it.
pub(super) fn both_ways(sdp: &str, sections: &[u32]) -> String {
    map_directions(sdp, |index, direction| {
        if sections.contains(&index) {
            "a=sendrecv"
        } else {
            direction
        }
    })
}

/// Our answer as it fits what was really offered: `offered` is each section's direction.
pub(super) fn answering(sdp: &str, offered: &[&str]) -> String {
    map_directions(sdp, |index, direction| {
        let offered = usize::try_from(index)
            .ok()
            .and_then(|index| offered.get(index));
        match (offered.copied(), direction) {
            (Some("recvonly"), "a=sendrecv") => "a=sendonly",
            (Some("sendonly"), "a=sendrecv") => "a=recvonly",
            (Some("inactive"), _) => "a=inactive",
            _ => direction,
        }
    })
}

/// Our offer with retransmissions (RFC 4588) for every codec of a section.
///
/// webrtcbin 1.22 names them for a section's first codec only. Where lost packets are asked for
/// again (`nack`) and nothing says how they come, the payload type below the codec's own gets them.
pub(super) fn with_retransmissions(sdp: &str) -> String {
    let mut out = String::with_capacity(sdp.len() + 128);
    let starts = sdp.match_indices("\nm=").map(|(at, _)| at + 1);
    let mut start = 0;
    for end in starts.chain([sdp.len()]) {
        out.push_str(&retransmitted(&sdp[start..end]));
        start = end;
    }
    out
}

/// Our answer with the extension that numbers packets wherever the offer has it and we give feedback:
/// webrtcbin 1.22 answers to the feedback, but leaves out the numbers that it is about.
pub(super) fn with_feedback(answer: &str, offer: &str) -> String {
    let offered = sections(offer);
    let mut out = String::with_capacity(answer.len() + 128);
    let starts = answer.match_indices("\nm=").map(|(at, _)| at + 1);
    let (mut start, mut index) = (0, None::<usize>);
    for end in starts.chain([answer.len()]) {
        let text = &answer[start..end];
        out.push_str(text);
        let id = index.and_then(|index| offered.get(index)?.feedback);
        let gives = text.lines().any(gives_feedback);
        if let Some(id) = id.filter(|_| gives && !text.contains(TRANSPORT_NUMBERS)) {
            // Writing to a String can't fail.
            let _ = write!(out, "a=extmap:{id} {TRANSPORT_NUMBERS}\r\n");
        }
        index = Some(index.map_or(0, |index| index + 1));
        start = end;
    }
    out
}

fn gives_feedback(line: &str) -> bool {
    line.starts_with("a=rtcp-fb:") && line.ends_with(" transport-cc")
}

/// One section of [`with_retransmissions`].
fn retransmitted(text: &str) -> String {
    let formats = sections(text).pop().map(|it| it.formats);
    let formats = formats.unwrap_or_default();
    let apt = |pt: &str| formats.iter().any(|it| it.parameter("apt") == Some(pt));
    let missing = formats.iter().filter_map(|format| {
        let pt = format.pt.to_string();
        let nack = format!("a=rtcp-fb:{pt} nack");
        let wanted = text.lines().any(|line| line == nack) && !apt(&pt);
        let own = format.pt.checked_sub(1)?;
        (wanted && formats.iter().all(|it| it.pt != own)).then_some((own, pt))
    });
    let (mut numbers, mut lines) = (String::new(), String::new());
    for (own, pt) in missing {
        // Writing to a String can't fail.
        let _ = write!(numbers, " {own}");
        let _ = write!(
            lines,
            "a=rtpmap:{own} rtx/90000\r\na=fmtp:{own} apt={pt}\r\n"
        );
    }
    match text.split_once("\r\n") {
        Some((first, rest)) if !numbers.is_empty() => format!("{first}{numbers}\r\n{rest}{lines}"),
        _ => text.to_owned(),
    }
}

/// Changes the direction line of each media section, by its index.
fn map_directions<'a>(sdp: &'a str, change: impl Fn(u32, &'a str) -> &'a str) -> String {
    let section = std::cell::Cell::new(None::<u32>);
    map_lines(sdp, |line| {
        if line.starts_with("m=") {
            section.set(Some(section.get().map_or(0, |index| index + 1)));
        }
        match (section.get(), line) {
            (Some(index), "a=sendrecv" | "a=sendonly" | "a=recvonly" | "a=inactive") => {
                change(index, line)
            }
            _ => line,
        }
    })
}

fn map_lines<'a>(sdp: &'a str, change: impl Fn(&'a str) -> &'a str) -> String {
    let mut out = String::with_capacity(sdp.len() + 64);
    for line in sdp.lines() {
        // Writing to a String can't fail.
        let _ = write!(out, "{}\r\n", change(line));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 108\r\na=setup:actpass\r\na=mid:0\r\na=recvonly\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=rtpmap:108 H264/90000\r\n\
        a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
        m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=bundle-only\r\na=setup:actpass\r\na=mid:1\r\n\
        a=rtpmap:111 opus/48000/2\r\n\
        m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n";

    #[test]
    fn reads_kinds_mids_directions_and_formats() {
        let sections = sections(OFFER);
        assert_eq!(
            sections.iter().map(|s| s.kind).collect::<Vec<_>>(),
            ["video", "audio", "application"]
        );
        assert_eq!(
            sections.iter().map(|s| s.mid).collect::<Vec<_>>(),
            [Some("0"), Some("1"), Some("2")]
        );
        assert_eq!(
            sections.iter().map(|s| s.direction).collect::<Vec<_>>(),
            ["recvonly", "sendrecv", "sendrecv"]
        );
        assert_eq!(
            sections.iter().map(|s| s.refused).collect::<Vec<_>>(),
            [false, false, true]
        );
        let h264 = &sections[0].formats[2];
        assert_eq!(
            (h264.pt, h264.name, h264.parameter("Profile-Level-Id")),
            (108, "H264", Some("42e01f"))
        );
    }

    #[test]
    fn keeps_the_roles_that_were_negotiated() {
        let theirs = with_role(OFFER, Role::Active);
        assert_eq!(theirs.matches("a=setup:active\r\n").count(), 2);
        assert_eq!(role(&theirs), Some(Role::Active));
        let ours = with_open_role(&theirs);
        assert_eq!(ours, OFFER);
        assert_eq!(role(&ours), None);
    }

    #[test]
    fn directions_are_opened_for_us_and_fitted_for_them() {
        let opened = both_ways(OFFER, &[0]);
        assert_eq!(opened, OFFER.replace("a=recvonly", "a=sendrecv"));
        assert_eq!(both_ways(OFFER, &[1, 2]), OFFER);
        let offered: Vec<_> = sections(OFFER).iter().map(|it| it.direction).collect();
        assert_eq!(
            answering(&opened, &offered),
            OFFER.replace("a=recvonly", "a=sendonly")
        );
        assert_eq!(
            answering(&opened, &["inactive"]),
            OFFER.replace("a=recvonly", "a=inactive")
        );
    }

    #[test]
    fn every_codec_gets_its_retransmissions() {
        let offer = OFFER.replace(
            "a=rtpmap:108 H264",
            "a=rtcp-fb:108 nack\r\na=rtpmap:108 H264",
        );
        let offer = offer.replace("a=rtpmap:96 VP8", "a=rtcp-fb:96 nack\r\na=rtpmap:96 VP8");
        let more = with_retransmissions(&offer);
        let video = &sections(&more)[0];
        let numbers: Vec<_> = video.formats.iter().map(|format| format.pt).collect();
        assert_eq!(numbers, [96, 97, 108, 107]);
        assert_eq!(video.formats[3].parameter("apt"), Some("108"));
        assert_eq!(sections(&more)[1], sections(&offer)[1]);
        assert_eq!(with_retransmissions(&more), more);
        assert_eq!(with_retransmissions(OFFER), OFFER);
        assert_eq!(with_retransmissions(""), "");
    }

    #[test]
    fn feedback_is_answered_with_the_numbers_that_it_is_about() {
        let asks = "a=rtcp-fb:96 transport-cc\r\n";
        let line = format!("a=extmap:5/recvonly {TRANSPORT_NUMBERS}\r\n");
        let offer = OFFER.replace("a=rtpmap:96", &format!("{asks}{line}a=rtpmap:96"));
        assert_eq!(sections(&offer)[0].feedback, Some(5));
        assert_eq!(sections(&offer)[1].feedback, None);
        let answer = OFFER.replace("a=rtpmap:96", &format!("{asks}a=rtpmap:96"));
        let numbered = with_feedback(&answer, &offer);
        assert_eq!(sections(&numbered)[0].feedback, Some(5));
        assert_eq!(with_feedback(&numbered, &offer), numbered);
        assert_eq!(with_feedback(&answer, OFFER), answer);
        assert_eq!(with_feedback(OFFER, &offer), OFFER);
        let large = offer.replace("extmap:5", "extmap:15");
        assert_eq!(sections(&large)[0].feedback, None);
    }

    #[test]
    fn nonsense_has_no_sections_or_empty_ones() {
        assert!(sections("").is_empty());
        assert!(sections("a=mid:0\nfoo").is_empty());
        let odd = sections("m=\nm=video\nm=video x y z 300 -1\na=rtpmap:x\na=rtpmap:");
        assert_eq!(odd.len(), 3);
        assert!(odd.iter().all(|section| section.formats.is_empty()));
    }
}
