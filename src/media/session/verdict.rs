//! Why media doesn't come, said to a person: what is known of a session becomes a [`Verdict`].
//!
//! Pure. What isn't known is not guessed: libnice tells of its checks only that one of the other
//! side's came, not what became of each pair.

mod addresses;

use std::time::Duration;

use addresses::{Address, Place};

use crate::media::Kind;

/// Candidates of one side that are remembered; more don't make a verdict better.
pub(super) const MOST_CANDIDATES: usize = 64;
/// Pairs that a verdict lists.
const MOST_PAIRS: usize = 8;

/// Why media doesn't come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The other side never answered our description.
    NoAnswer,
    /// Only relays are allowed, and no TURN server is named.
    NoTurnServer,
    /// Only relays are allowed, and no TURN server gave one.
    NoRelay,
    /// We found no address of our own.
    NoLocalAddress,
    /// The other side told no address.
    NoRemoteAddress,
    /// All addresses of the other side are hidden behind names of its own network.
    HiddenAddresses,
    /// The other side can be reached over TCP only.
    TcpOnly,
    /// One side has IPv4 only, the other one IPv6 only.
    AddressFamilies,
    /// One side knows only the addresses of a network of containers.
    ContainerAddresses,
    /// One side knows only addresses that mean itself.
    LoopbackAddresses,
    /// One side knows only private addresses, of another network than the other's.
    PrivateAddresses,
    /// Not even a relay got an answer.
    RelayUnanswered,
    /// No check got an answer.
    Unanswered,
    /// The other side's checks come, but ours get no answer.
    OneWay,
    /// The addresses work, but the encryption was not agreed on.
    Dtls,
    /// The connection stands, and nothing comes over it.
    NoMedia,
    /// Packets come, but nothing that can be played.
    UnusableMedia,
    /// The connection stands, but nothing comes over it any more, not even a report.
    Silent,
    /// The connection stood, and was lost.
    Lost,
}

/// Why media doesn't come, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// For programs.
    pub reason: Reason,
    /// What happened: a sentence without a full stop.
    pub what: String,
    /// The pairs of addresses that were possible, or each side's addresses if none were.
    pub tried: Vec<String>,
    /// What to do: a sentence without a full stop.
    pub advice: String,
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Descriptions are exchanged.
    #[default]
    Signaling,
    /// Both are there; a way is looked for.
    Checks,
    /// A way works; keys are agreed on.
    Dtls,
    /// Media can flow.
    Connected,
    /// It could, and can't any more.
    Lost,
}

/// What is known of a session.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) stage: Stage,
    /// How long the stage lasts; of a lost connection, how long it stood.
    pub(super) lasted: Duration,
    /// Our candidates: lines from `candidate:` on.
    pub(super) local: Vec<String>,
    /// The other side's.
    pub(super) remote: Vec<String>,
    /// A check of the other side reached us.
    pub(super) heard: bool,
    /// Addresses of the other side that its checks revealed.
    pub(super) revealed: usize,
    /// TURN servers are named.
    pub(super) has_turn: bool,
    pub(super) relay_only: bool,
    /// All of them were asked in vain.
    pub(super) no_relay: bool,
    /// What carries the media, once it is known: `host → relay`.
    pub(super) path: Option<String>,
    /// Packets that came, whether or not they could be used.
    pub(super) packets: u64,
    /// What was promised and doesn't come.
    pub(super) missing: Option<Kind>,
    /// Packets came that may have been it.
    pub(super) has_packets: bool,
    /// For so long nothing has come, after something did.
    pub(super) silent: Option<Duration>,
}

/// Both sides' addresses that may be paired.
struct Sides {
    local: Vec<Address>,
    remote: Vec<Address>,
    hidden: usize,
    tcp: usize,
}

impl Reason {
    /// All, for a test and the documentation.
    pub const ALL: [Self; 19] = [
        Self::NoAnswer,
        Self::NoTurnServer,
        Self::NoRelay,
        Self::NoLocalAddress,
        Self::NoRemoteAddress,
        Self::HiddenAddresses,
        Self::TcpOnly,
        Self::AddressFamilies,
        Self::ContainerAddresses,
        Self::LoopbackAddresses,
        Self::PrivateAddresses,
        Self::RelayUnanswered,
        Self::Unanswered,
        Self::OneWay,
        Self::Dtls,
        Self::NoMedia,
        Self::UnusableMedia,
        Self::Silent,
        Self::Lost,
    ];

    /// Its name in metrics and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::NoTurnServer => "no_turn_server",
            Self::NoRelay => "no_relay",
            Self::NoLocalAddress => "no_local_address",
            Self::NoRemoteAddress => "no_remote_address",
            Self::HiddenAddresses => "hidden_addresses",
            Self::TcpOnly => "tcp_only",
            Self::AddressFamilies => "address_families",
            Self::ContainerAddresses => "container_addresses",
            Self::LoopbackAddresses => "loopback_addresses",
            Self::PrivateAddresses => "private_addresses",
            Self::RelayUnanswered => "relay_unanswered",
            Self::Unanswered => "unanswered",
            Self::OneWay => "one_way",
            Self::Dtls => "dtls",
            Self::NoMedia => "no_media",
            Self::UnusableMedia => "unusable_media",
            Self::Silent => "silent",
            Self::Lost => "lost",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.what, self.advice)
    }
}

/// Told when only relays may be used and nobody can be asked for one.
const NO_TURN: &str = "only TURN relays may be used, and no TURN server is named";
/// What to do then.
const NAME_TURN: &str = "add one with --ice-server turn:USER:PASSWORD@HOST, or to the server's \
    configuration under [[ice.servers]]";
/// Told when TURN servers were asked in vain.
pub(super) const NO_RELAY: &str =
    "no TURN server gave a relay address: none answers, or none takes the credentials";
/// What to do then.
pub(super) const CHECK_TURN: &str =
    "check the servers' addresses, their shared secret or passwords, and the clocks";

/// Judges why media doesn't come.
pub(super) fn judge(facts: &Facts) -> Verdict {
    match facts.stage {
        // This is known before the other side answers.
        Stage::Signaling if facts.relay_only && facts.no_relay => no_way(facts),
        Stage::Signaling => Verdict {
            reason: Reason::NoAnswer,
            what: format!(
                "the other side has not answered our description within {}",
                seconds(facts.lasted)
            ),
            tried: Vec::new(),
            advice: "look at its log: it may be busy, gone, or unable to read the description"
                .to_owned(),
        },
        Stage::Checks => no_way(facts),
        Stage::Dtls => dtls(facts),
        Stage::Connected => match facts.silent {
            Some(silent) => quiet(facts, silent),
            None => no_media(facts),
        },
        Stage::Lost => Verdict {
            reason: Reason::Lost,
            what: format!(
                "the connection{} stood for {}, then nothing came over it any more",
                path(facts),
                seconds(facts.lasted)
            ),
            tried: Vec::new(),
            advice: "the other side or its network is gone, or an address has changed; it has to \
                connect anew"
                .to_owned(),
        },
    }
}

/// Judges why no pair of addresses works.
fn no_way(facts: &Facts) -> Verdict {
    let sides = Sides::of(facts);
    let pairs = sides.pairs();
    let (reason, what, advice) = missing(facts, &sides)
        .or_else(|| pairs.is_empty().then(|| families(&sides)))
        .unwrap_or_else(|| unanswered(facts, &sides, pairs.len()));
    let tried = match pairs.is_empty() {
        true => vec![
            format!("our addresses: {}", list(&sides.local)),
            format!("the other side's addresses: {}", sides.told()),
        ],
        false => pairs_in_words(&pairs),
    };
    Verdict {
        reason,
        what,
        tried,
        advice,
    }
}

/// A side that has nothing to pair.
fn missing(facts: &Facts, sides: &Sides) -> Option<(Reason, String, String)> {
    let told =
        |reason, what: &str, advice: &str| Some((reason, what.to_owned(), advice.to_owned()));
    if facts.relay_only && sides.local.is_empty() {
        return match facts.has_turn {
            true => told(Reason::NoRelay, NO_RELAY, CHECK_TURN),
            false => told(Reason::NoTurnServer, NO_TURN, NAME_TURN),
        };
    }
    if sides.local.is_empty() {
        return told(
            Reason::NoLocalAddress,
            "this machine has no network address that media could use",
            "bring an interface up, or allow one with --interface",
        );
    }
    if !sides.remote.is_empty() || facts.revealed > 0 {
        return None;
    }
    let hidden = sides.hidden;
    match (hidden, sides.tcp) {
        (0, 0) => told(
            Reason::NoRemoteAddress,
            "the other side told no network address at all",
            "look at its log: its candidates may get lost on the way, or a firewall keeps it from \
             opening UDP ports",
        ),
        (0, tcp) => Some((
            Reason::TcpOnly,
            format!(
                "all {tcp} addresses of the other side are for TCP, which is not used between peers"
            ),
            format!("let UDP through, or use a TURN server, which takes TCP and TLS: {NAME_TURN}"),
        )),
        (hidden, _) if !facts.heard => Some((
            Reason::HiddenAddresses,
            format!(
                "the other side is a browser that hides its addresses ({hidden} names in .local), and none of its checks reached us at {}",
                list(&sides.local)
            ),
            format!(
                "tell it an address of this machine that it can reach with --advertise, let UDP in, or use a TURN server: {NAME_TURN}"
            ),
        )),
        _ => None,
    }
}

/// Both sides have addresses, but no two of one kind.
fn families(sides: &Sides) -> (Reason, String, String) {
    let what = format!(
        "no address of ours fits one of the other side's: we have {}, it has {}",
        addresses::families(&sides.local),
        addresses::families(&sides.remote)
    );
    let advice = format!(
        "give both sides the same kind of address, or use a TURN server that has both: {NAME_TURN}"
    );
    (Reason::AddressFamilies, what, advice)
}

/// There are pairs, and none works.
fn unanswered(facts: &Facts, sides: &Sides, pairs: usize) -> (Reason, String, String) {
    let after = seconds(facts.lasted);
    if facts.heard {
        return (
            Reason::OneWay,
            format!(
                "checks of the other side reach us, but none of ours was answered on any of {pairs} pairs of addresses within {after}"
            ),
            "a firewall lets UDP in and not out, or drops our answers; let UDP through both ways"
                .to_owned(),
        );
    }
    let no_answer = format!(
        "the other side answered no check on any of {pairs} pairs of addresses within {after}"
    );
    let relayed = |side: &[Address]| side.iter().any(|address| address.is_relay());
    if relayed(&sides.local) || relayed(&sides.remote) {
        return (
            Reason::RelayUnanswered,
            format!("{no_answer}, not even by way of a relay"),
            "let the TURN server's relay ports through its firewall, and check that it knows its public address (--external-ip)"
                .to_owned(),
        );
    }
    let turn = match facts.has_turn {
        true => format!("the TURN servers gave no relay address: {CHECK_TURN}"),
        false => format!("or use a TURN server: {NAME_TURN}"),
    };
    if let Some((reason, whose)) = confined(sides) {
        let (what, advice) = place_in_words(reason, whose, sides);
        return (
            reason,
            format!("{no_answer}: {what}"),
            format!("{advice}, {turn}"),
        );
    }
    (
        Reason::Unanswered,
        no_answer,
        format!("a firewall or NAT between the two is likely; let UDP through, {turn}"),
    )
}

/// Which side knows only addresses that the other one can't reach, if one does.
fn confined(sides: &Sides) -> Option<(Reason, bool)> {
    for (place, reason) in [
        (Place::Loopback, Reason::LoopbackAddresses),
        (Place::Container, Reason::ContainerAddresses),
    ] {
        let all = |side: &[Address]| side.iter().all(|address| address.place() == place);
        match (all(&sides.local), all(&sides.remote)) {
            // Two processes or containers on one machine.
            (true, true) | (false, false) => {}
            (ours, _) => return Some((reason, ours)),
        }
    }
    let private = |side: &[Address]| side.iter().all(|address| address.place() != Place::Public);
    let ours = private(&sides.local);
    let strangers = !addresses::share_network(&sides.local, &sides.remote);
    ((ours || private(&sides.remote)) && strangers).then_some((Reason::PrivateAddresses, ours))
}

fn place_in_words(reason: Reason, ours: bool, sides: &Sides) -> (String, String) {
    let (whose, side) = match ours {
        true => ("our", &sides.local),
        false => ("its", &sides.remote),
    };
    let kind = match reason {
        Reason::LoopbackAddresses => "of one machine itself",
        Reason::ContainerAddresses => "of a network of containers",
        _ => "private ones of another network",
    };
    let what = format!("{whose} only addresses ({}) are {kind}", list(side));
    let advice = match (ours, reason) {
        (true, Reason::LoopbackAddresses) => {
            "allow an interface that the other side can reach with --interface"
        }
        (true, Reason::ContainerAddresses) => {
            "name the machine's own address with --advertise and publish the UDP ports, or run it with the network of its host"
        }
        (true, _) => {
            "name the address that the other side can reach with --advertise, and forward the UDP ports"
        }
        (false, Reason::ContainerAddresses) => {
            "run the other side with the network of its host, or let it advertise the host's address"
        }
        (false, _) => "let the other side advertise an address that can be reached from here",
    };
    (what, advice.to_owned())
}

/// A pair works, but there are no keys.
fn dtls(facts: &Facts) -> Verdict {
    Verdict {
        reason: Reason::Dtls,
        what: format!(
            "the network carries the checks{}, but the encryption (DTLS) was not agreed on within {}",
            path(facts),
            seconds(facts.lasted)
        ),
        tried: pairs_in_words(&Sides::of(facts).pairs()),
        advice: "look at the other side's log: it may refuse our certificate, or larger packets get lost on the way (lower the MTU of a tunnel or VPN)"
            .to_owned(),
    }
}

/// The connection stands, but has gone quiet.
fn quiet(facts: &Facts, silent: Duration) -> Verdict {
    Verdict {
        reason: Reason::Silent,
        what: format!(
            "nothing has come over the connection{} for {}, not even a report",
            path(facts),
            seconds(silent)
        ),
        tried: Vec::new(),
        advice: "the other side or the network between is gone, or a firewall has closed the way; it may come back"
            .to_owned(),
    }
}

/// The connection stands, but media that was promised doesn't come.
fn no_media(facts: &Facts) -> Verdict {
    let (path, after, packets) = (path(facts), seconds(facts.lasted), facts.packets);
    let media = facts.missing.map_or("media", Kind::name);
    let (reason, what, advice) = match facts.has_packets {
        false => (
            Reason::NoMedia,
            format!(
                "the connection{path} stands, and the other side says that it sends {media}, but not one packet of it came within {after}"
            ),
            "look at the other side: its camera, microphone or pipeline may give nothing, or it is muted",
        ),
        true => (
            Reason::UnusableMedia,
            format!(
                "the connection{path} stands and {packets} packets came within {after}, but no {media} that can be played"
            ),
            "the other side may send another codec or payload type than the one agreed on, or the way loses too much; look at its log",
        ),
    };
    Verdict {
        reason,
        what,
        tried: Vec::new(),
        advice: advice.to_owned(),
    }
}

impl Sides {
    fn of(facts: &Facts) -> Self {
        let read = |lines: &[String]| -> Vec<Address> {
            lines
                .iter()
                .filter_map(|line| Address::read(line))
                .collect()
        };
        let (mut local, mut remote) = (read(&facts.local), read(&facts.remote));
        let hidden = remote.iter().filter(|address| address.is_hidden()).count();
        let tcp = remote.iter().filter(|address| address.is_tcp()).count();
        local.retain(Address::is_usable);
        remote.retain(Address::is_usable);
        if facts.relay_only {
            local.retain(Address::is_relay);
        }
        Self {
            local,
            remote,
            hidden,
            tcp,
        }
    }

    fn pairs(&self) -> Vec<(&Address, &Address)> {
        let all = self
            .local
            .iter()
            .flat_map(|ours| self.remote.iter().map(move |theirs| (ours, theirs)));
        all.filter(|(ours, theirs)| ours.fits(theirs)).collect()
    }

    /// The other side's addresses, with those that can't be used.
    fn told(&self) -> String {
        let mut text = list(&self.remote);
        if self.hidden > 0 {
            text += &format!(", and {} hidden ones (.local)", self.hidden);
        }
        if self.tcp > 0 {
            text += &format!(", and {} for TCP", self.tcp);
        }
        text
    }
}

fn pairs_in_words(pairs: &[(&Address, &Address)]) -> Vec<String> {
    let shown = pairs.iter().take(MOST_PAIRS);
    let mut lines: Vec<_> = shown
        .map(|(ours, theirs)| format!("{ours} → {theirs}"))
        .collect();
    if pairs.len() > MOST_PAIRS {
        lines.push(format!("and {} pairs more", pairs.len() - MOST_PAIRS));
    }
    lines
}

fn list(addresses: &[Address]) -> String {
    match addresses {
        [] => "none".to_owned(),
        _ => {
            let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            names.join(", ")
        }
    }
}

fn path(facts: &Facts) -> String {
    let path = facts.path.as_ref();
    path.map(|path| format!(" ({path})")).unwrap_or_default()
}

fn seconds(duration: Duration) -> String {
    format!("{:.0} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests;
