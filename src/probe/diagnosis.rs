//! Why nothing is received: the first step that didn't happen, and what to look at. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::judge::Check;
use super::outcome::Failure;
use super::spectator::Progress;

/// What is known when an end doesn't get what it should.
#[derive(Debug, Default)]
pub(super) struct Case<'a> {
    /// The end that receives, and from whom.
    pub(super) place: String,
    /// How long it was waited for.
    pub(super) waited: Duration,
    /// Media through TURN servers only.
    pub(super) relay_only: bool,
    /// Whether the server has taken the receiving end in.
    pub(super) registered: bool,
    /// Why the receiving end ended, if it did.
    pub(super) error: Option<&'a str>,
    /// How far its session came, if there was one.
    pub(super) progress: Option<Progress>,
    /// Whether anything could be decoded.
    pub(super) decoded: bool,
    /// The end that sends, if it is one of ours.
    pub(super) sender: Option<Sender<'a>>,
}

/// The end that sends.
#[derive(Debug, Default)]
pub(super) struct Sender<'a> {
    /// Which.
    pub(super) name: &'a str,
    /// Whether the server has taken it in.
    pub(super) registered: bool,
    /// Why it ended, if it did.
    pub(super) error: Option<&'a str>,
    /// How far its session came that came the least far, if there was one.
    pub(super) progress: Option<Progress>,
    /// Packets that it has sent, in all sessions.
    pub(super) packets: u64,
}

impl Case<'_> {
    /// What went wrong; `None` if media came and can be decoded.
    pub(super) fn explain(&self) -> Option<Failure> {
        if self.decoded && self.error.is_none() {
            return None;
        }
        let (reason, advice) = self
            .codecs()
            .or_else(|| self.trouble())
            .or_else(|| self.said())
            .or_else(|| self.signaling())
            .or_else(|| self.path())
            .unwrap_or_else(|| self.media());
        Some(Failure::new(&self.place, reason, advice))
    }

    /// Everything that somebody gave as a reason.
    fn reasons(&self) -> impl Iterator<Item = &str> {
        let own = self.progress.as_ref().and_then(|it| it.failed.as_deref());
        let sender = self.sender.as_ref();
        let theirs = sender.and_then(|it| it.progress.as_ref()?.failed.as_deref());
        let ended = sender.and_then(|it| it.error);
        [own, theirs, self.error, ended].into_iter().flatten()
    }

    /// The two sides have no codec in common: whoever noticed has said so.
    fn codecs(&self) -> Option<(String, String)> {
        let mut reasons = self.reasons();
        let found =
            reasons.find(|why| why.contains("codec") || why.contains("can't be decoded"))?;
        let advice = "the two ends must have a codec in common: see --codec and --receive-codec, \
                      and `switchboard doctor` for what this machine can encode and decode";
        Some((found.to_owned(), advice.to_owned()))
    }

    /// What the session itself knows, once there is a session on both sides.
    fn trouble(&self) -> Option<(String, String)> {
        let progress = self.progress.as_ref().filter(|it| it.negotiated)?;
        let theirs = self.sender.as_ref().and_then(|it| it.progress.as_ref());
        let (what, advice) = [Some(progress), theirs]
            .into_iter()
            .flatten()
            .find_map(|progress| progress.trouble.clone())?;
        let stage = match (progress.checked || progress.connected, progress.connected) {
            (false, _) => "ICE can't connect",
            (true, false) => "no encryption (DTLS)",
            // Then what was sent says more.
            (true, true) => return None,
        };
        Some((format!("{stage}: {what}"), advice))
    }

    /// Why an end or a session says that it failed, if that isn't just that nothing came.
    fn said(&self) -> Option<(String, String)> {
        let told = |why: &&str| !why.starts_with("no connection within") && !why.is_empty();
        let turn = self.reasons().filter(told).find(|why| why.contains("TURN"));
        if let Some(why) = turn {
            // A session's own words end with what to do.
            let (what, advice) = match why.split_once("; ") {
                Some((what, advice)) => (what, advice.to_owned()),
                None => (why, self.turn_advice()),
            };
            return Some((format!("ICE can't connect: {what}"), advice));
        }
        // A session that failed after it was connected, or an end that the server refused.
        let sender = self
            .sender
            .as_ref()
            .and_then(|it| Some((it.name, it.error?)));
        if let Some((name, why)) = sender {
            return Some((format!("{name} ended: {why}"), server_advice()));
        }
        let why = self.reasons().find(told)?;
        let is_path = self
            .progress
            .as_ref()
            .is_some_and(|it| it.negotiated && !it.checked);
        match is_path {
            true => Some((self.no_path(Some(why)), self.path_advice())),
            false => Some((why.to_owned(), server_advice())),
        }
    }

    /// How far the signaling came.
    fn signaling(&self) -> Option<(String, String)> {
        let waited = self.waited.as_secs();
        let sender = self.sender.as_ref();
        if let Some(sender) = sender.filter(|it| !it.registered) {
            let why = format!(
                "the server did not take {} in within {waited} s",
                sender.name
            );
            return Some((why, server_advice()));
        }
        if !self.registered {
            let why = format!("the server took the connection, and said nothing for {waited} s");
            return Some((why, server_advice()));
        }
        let reached = sender.is_some_and(|it| it.progress.is_some());
        let why = match (&self.progress, sender) {
            (Some(progress), _) if progress.negotiated => return None,
            (_, Some(sender)) if !reached => format!(
                "the server forwards nothing: what was asked of {} never reached it in {waited} s",
                sender.name
            ),
            (_, Some(sender)) => format!(
                "the server forwards nothing back: {} was asked, but nothing of its came in {waited} s",
                sender.name
            ),
            (_, None) => format!(
                "no offer or answer came in {waited} s: the other side is silent, or the server \
                 doesn't forward it"
            ),
        };
        Some((why, server_advice()))
    }

    /// How far the connection came.
    fn path(&self) -> Option<(String, String)> {
        let progress = self.progress.as_ref()?;
        if !progress.checked && !progress.connected {
            return Some((self.no_path(None), self.path_advice()));
        }
        if !progress.connected {
            let why = "a network path works, but its encryption (DTLS) did not come about";
            let advice = "one side's certificate or DTLS version isn't taken by the other; \
                          look at the other side's log";
            return Some((why.to_owned(), advice.to_owned()));
        }
        None
    }

    fn media(&self) -> (String, String) {
        let packets = self.progress.as_ref().map_or(0, |it| it.packets);
        let tracks = self.progress.as_ref().is_some_and(|it| it.tracks);
        if packets == 0 && !tracks {
            let (what, advice) = match &self.sender {
                Some(sender) if sender.packets > 0 => (
                    format!(
                        "{} sent {} packets, and none came: the server or the network forwards no media",
                        sender.name, sender.packets
                    ),
                    "look at the server's log and at its UDP ports",
                ),
                Some(sender) => (
                    format!("{} sent no media", sender.name),
                    "its encoder may be too slow or missing: `switchboard doctor` tries them",
                ),
                None => (
                    "no media came".to_owned(),
                    "the other side sends nothing, or the server doesn't forward it",
                ),
            };
            return (format!("connected, but {what}"), advice.to_owned());
        }
        let why = format!("{packets} packets of media came, but no picture could be decoded");
        let advice = "the decoder for this codec may be missing (`switchboard doctor`), or no key \
                      frame came: does the server forward key frame requests (PLI)?";
        (why, advice.to_owned())
    }

    fn no_path(&self, why: Option<&str>) -> String {
        let progress = self.progress.clone().unwrap_or_default();
        let (ours, theirs) = (counts(&progress.ours), counts(&progress.theirs));
        let policy = match self.relay_only {
            true => ", and only TURN servers are allowed",
            false => "",
        };
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        format!(
            "ICE can't connect: no pair of candidates works{why}; this end has {ours}, the other \
             side told {theirs}{policy}"
        )
    }

    fn path_advice(&self) -> String {
        let progress = self.progress.clone().unwrap_or_default();
        if self.relay_only && !progress.ours.contains_key("relay") {
            return self.turn_advice();
        }
        if progress.theirs.is_empty() {
            return "no candidate of the other side came: does the server forward them?".to_owned();
        }
        "a firewall or NAT is between them: give a STUN or TURN server (--ice-server), and try it \
         with `switchboard doctor`"
            .to_owned()
    }

    fn turn_advice(&self) -> String {
        let policy = match self.relay_only {
            true => "--ice-policy relay needs a TURN server that works: ",
            false => "",
        };
        format!(
            "{policy}give one with --ice-server turn:USER:PASSWORD@HOST, and try it with `switchboard doctor`"
        )
    }
}

fn server_advice() -> String {
    "look at the server's log, and whether it speaks this dialect at this URL".to_owned()
}

/// `2 host and 1 relay`
fn counts(kinds: &BTreeMap<String, u32>) -> String {
    let each: Vec<_> = kinds
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    match each.is_empty() {
        true => "no candidate".to_owned(),
        false => each.join(" and "),
    }
}

/// What to look at when a figure isn't good enough.
pub(super) const fn advice(check: Check) -> &'static str {
    match check {
        Check::Connect | Check::FirstFrame => {
            "the phases in the report say which step is slow: signaling, gathering, checks, DTLS or the first key frame"
        }
        Check::Media => "a stream that was negotiated brings nothing: look at the sender",
        Check::Source => "the server mixes up its publishers",
        Check::FrameRate | Check::Freeze => {
            "the sender (its camera, its encoder), the network's losses, or this machine is too slow; the curve over time and the losses say which"
        }
        Check::Still => "the source repeats the same picture: a camera or a renderer hangs",
        Check::Lost | Check::PacketLoss => {
            "packets are lost and don't come again in time: look at the network, and whether NACK is on"
        }
        Check::Repeated | Check::OutOfOrder | Check::Corrupt => {
            "something on the way changes the stream: the server's forwarding, or a decoder after losses"
        }
        Check::LatencyP50 | Check::LatencyP95 | Check::LatencyP99 => {
            "a queue is too long or a machine too slow; between two machines the clocks must agree (NTP)"
        }
        Check::LatencyGrowth => {
            "a queue grows: an encoder, a sender or a player that doesn't keep up"
        }
        Check::AudioGap | Check::Silence => {
            "sound is lost or comes too late: look at the network and the sender"
        }
        Check::AvOffset => {
            "the sender's timestamps of sound and pictures don't belong together, or its RTCP reports are missing"
        }
        Check::Bitrate => "the encoder's bit rate or the congestion control holds it down",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case<'static> {
        Case {
            place: "viewer 1".to_owned(),
            waited: Duration::from_secs(11),
            registered: true,
            sender: Some(Sender {
                name: "device",
                registered: true,
                ..Sender::default()
            }),
            ..Case::default()
        }
    }

    fn reason(case: &Case<'_>) -> String {
        case.explain()
            .map(|failure| failure.reason)
            .unwrap_or_default()
    }

    fn came(steps: impl Fn(&mut Progress)) -> Option<Progress> {
        let mut progress = Progress::default();
        steps(&mut progress);
        Some(progress)
    }

    #[test]
    fn the_first_step_that_did_not_happen_is_the_reason() {
        let mut case = case();
        assert!(reason(&case).contains("forwards nothing: what was asked of device"));
        if let Some(sender) = &mut case.sender {
            sender.progress = came(|_| {});
        }
        case.progress = came(|_| {});
        assert!(reason(&case).contains("forwards nothing back"));
        case.progress = came(|it| {
            it.negotiated = true;
            it.ours.insert("host".to_owned(), 2);
        });
        let why = reason(&case);
        assert!(
            why.contains("ICE can't connect") && why.contains("2 host"),
            "{why}"
        );
        case.progress = came(|it| (it.negotiated, it.checked) = (true, true));
        assert!(reason(&case).contains("DTLS"));
        case.progress = came(|it| (it.negotiated, it.checked, it.connected) = (true, true, true));
        assert_eq!(reason(&case), "connected, but device sent no media");
        if let Some(sender) = &mut case.sender {
            sender.packets = 40;
        }
        assert!(reason(&case).contains("sent 40 packets, and none came"));
        if let Some(progress) = &mut case.progress {
            (progress.tracks, progress.packets) = (true, 7);
        }
        assert!(reason(&case).contains("7 packets of media came, but no picture"));
        case.decoded = true;
        assert_eq!(case.explain(), None);
    }

    #[test]
    fn what_an_end_says_itself_comes_first() {
        let mut case = case();
        case.error = Some("no common video codec: the other side sends VP8, we take H264");
        assert!(reason(&case).starts_with("no common video codec"));
        case.error = Some("no TURN server gave a relay address");
        case.relay_only = true;
        let failure = case.explain().unwrap();
        assert!(
            failure.reason.starts_with("ICE can't connect: no TURN"),
            "{failure}"
        );
        assert!(
            failure.advice.starts_with("--ice-policy relay needs"),
            "{failure:?}"
        );
        case.error = Some("the server says: no such device");
        assert_eq!(reason(&case), "the server says: no such device");
    }
}
