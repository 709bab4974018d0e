//! str0m's answer, fitted to what real clients take.

use std::fmt::Write as _;

use super::{Line, Offer, Payload, Section, Selection};

/// What a section says of its transport.
const TRANSPORT: [&str; 6] = [
    "a=ice-ufrag:",
    "a=ice-pwd:",
    "a=ice-options:",
    "a=fingerprint:",
    "a=setup:",
    "a=rtcp-mux",
];

/// What the answer must say that str0m doesn't know.
#[derive(Debug, Clone, Copy)]
pub(in crate::rooms) struct Shape<'a> {
    /// The id of the one stream that audio and video belong to (RFC 8830).
    pub(in crate::rooms) stream: &'a str,
    /// Whether the peer gets media.
    pub(in crate::rooms) sends: bool,
    /// Whether the peer's media is taken.
    pub(in crate::rooms) receives: bool,
    /// What the peer may send as video, in bit/s.
    pub(in crate::rooms) bitrate: Option<u64>,
}

/// Fits the answer: media sections that aren't used are inactive, data channels that aren't are rejected
/// with port 0, directions are those that are wanted, audio and video are in one stream, and a limit is named.
///
/// Who receives a publisher without audio gets a silent track all the same, as from the reference server:
/// old clients listen to each stream for speech before they show it, and fail at one without audio
/// (kurento.md B). No `a=ssrc` announces anything on it.
pub(in crate::rooms) fn fit(
    answer: &str,
    offer: &Offer,
    selection: &Selection,
    shape: &Shape<'_>,
) -> String {
    let mut parts = split(answer).into_iter();
    let session = parts.next().unwrap_or_default();
    let parts: Vec<_> = parts.zip(&offer.sections).enumerate().collect();
    let used = |index: usize, offered: &Section| {
        let channel = offered.kind == super::Kind::Application && offered.port != 0;
        channel || selection.lines().any(|line| line.index == index)
    };
    let carrier = parts
        .iter()
        .find(|(index, (_, offered))| used(*index, offered));
    let transport = carrier.map_or_else(Vec::new, |(_, (part, _))| transport(part));
    let mut bundled = Vec::new();
    let mut sections = String::new();
    // str0m puts them into the first section, even if that is rejected.
    let candidates: Vec<&str> = answer
        .lines()
        .filter(|line| line.starts_with("a=candidate:"))
        .collect();
    let mut candidates = candidates.as_slice();
    for (index, (part, offered)) in parts {
        let line = selection.lines().find(|line| line.index == index);
        if !used(index, offered) {
            let mut lines = Vec::new();
            if offered.port != 0 && !offered.payloads.is_empty() {
                bundled.push(offered.mid.as_str());
                lines.extend_from_slice(&transport);
                lines.extend_from_slice(std::mem::take(&mut candidates));
            }
            let silent = is_silent(offered, selection, shape).then_some(shape.stream);
            unused(&mut sections, offered, &lines, silent);
            continue;
        }
        let with = std::mem::take(&mut candidates);
        bundled.push(offered.mid.as_str());
        let bitrate = shape.bitrate.filter(|_| offered.kind == super::Kind::Video);
        for text in part {
            if text.starts_with("a=candidate:") {
                continue;
            }
            if !line.is_some_and(|line| media(&mut sections, text, line, shape)) {
                push(&mut sections, text);
            }
            if text.starts_with("c=") {
                limit(&mut sections, bitrate);
                for candidate in with {
                    push(&mut sections, candidate);
                }
            }
        }
    }
    head(&session, &bundled, shape) + &sections
}

/// The session's lines, with what is bundled and in which stream.
fn head(session: &[&str], bundled: &[&str], shape: &Shape<'_>) -> String {
    let mut fitted = String::new();
    for line in session {
        if line.starts_with("a=group:BUNDLE") {
            push(
                &mut fitted,
                &format!("a=group:BUNDLE {}", bundled.join(" ")),
            );
        } else if line.starts_with("a=msid-semantic:") {
            push(
                &mut fitted,
                &format!("a=msid-semantic: WMS {}", shape.stream),
            );
        } else {
            push(&mut fitted, line);
        }
    }
    fitted
}

/// The lines of a section that tell of its transport, which carries all of them.
fn transport<'a>(part: &[&'a str]) -> Vec<&'a str> {
    let tells = |line: &&str| TRANSPORT.iter().any(|prefix| line.starts_with(prefix));
    part.iter().copied().filter(tells).collect()
}

/// The session's lines, then each section's.
fn split(sdp: &str) -> Vec<Vec<&str>> {
    let mut parts = vec![Vec::new()];
    for line in sdp.lines() {
        if line.starts_with("m=") {
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(line);
        }
    }
    parts
}

/// Writes a media section's line if it must change. False: it stays.
fn media(out: &mut String, text: &str, line: &Line, shape: &Shape<'_>) -> bool {
    let sends = shape.sends && (line.both || !shape.receives);
    match text {
        "a=sendrecv" | "a=sendonly" | "a=recvonly" | "a=inactive" => {
            push(
                out,
                match (sends, shape.receives) {
                    (true, true) => "a=sendrecv",
                    (true, false) => "a=sendonly",
                    _ => "a=recvonly",
                },
            );
            return true;
        }
        _ => {}
    }
    let of_stream = text.starts_with("a=msid:") || text.starts_with("a=ssrc");
    if of_stream && !sends {
        return true;
    }
    // `a=msid:STREAM TRACK` and `a=ssrc:N msid:STREAM TRACK`
    if let Some((head, rest)) = text.split_once("msid:").filter(|_| of_stream) {
        let track = rest.split_once(' ').map_or(rest, |(_, track)| track);
        push(out, &format!("{head}msid:{} {track}", shape.stream));
        return true;
    }
    false
}

/// Whether a section becomes a silent track.
fn is_silent(offered: &Section, selection: &Selection, shape: &Shape<'_>) -> bool {
    let is_subscriber = shape.sends && !shape.receives;
    let is_free = selection.audio.is_none() && offered.kind == super::Kind::Audio;
    is_subscriber && is_free && offered.receives
}

/// A section that isn't used: inactive or a silent track on a transport, or rejected without one (RFC
/// 3264, section 6). It must name a format, and some parsers want to know what that is. Browsers that
/// bundle everything take no answer that rejects the first section.
fn unused(out: &mut String, offered: &Section, transport: &[&str], silent: Option<&str>) {
    let Section {
        media,
        protocol,
        formats,
        mid,
        ..
    } = offered;
    let first = offered.payloads.first();
    let format = first.map_or_else(|| formats.clone(), |payload| payload.pt.to_string());
    let port = if transport.is_empty() { 0 } else { 9 };
    push(out, &format!("m={media} {port} {protocol} {format}"));
    push(out, "c=IN IP4 0.0.0.0");
    for line in transport {
        push(out, line);
    }
    push(out, &format!("a=mid:{mid}"));
    match silent.filter(|_| !transport.is_empty()) {
        Some(stream) => {
            push(out, "a=sendonly");
            push(out, &format!("a=msid:{stream} silence"));
        }
        None => push(out, "a=inactive"),
    }
    if let Some(payload) = first {
        let Payload {
            pt, name, clock, ..
        } = payload;
        let channels = payload
            .channels
            .map_or_else(String::new, |n| format!("/{n}"));
        push(out, &format!("a=rtpmap:{pt} {name}/{clock}{channels}"));
    }
}

/// `TIAS` in bit/s (RFC 3890), which browsers obey. `AS` beside it says no more, and some parsers take
/// one `b=` line only.
fn limit(out: &mut String, bitrate: Option<u64>) {
    if let Some(bitrate) = bitrate {
        push(out, &format!("b=TIAS:{bitrate}"));
    }
}

fn push(out: &mut String, line: &str) {
    // Writing to a string can't fail.
    let _ = write!(out, "{line}\r\n");
}
