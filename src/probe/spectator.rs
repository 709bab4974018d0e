//! What the probe sees of a peer: each of its sessions, how far it came, and the judge of its media.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::judge::{Phase, Report};
use super::{Witness, now};
use crate::media::{Kind, OutboundStats, Receive, Stats};
use crate::peer::observe::{Moment, Observer, Sight};
use crate::peer::reception::{Observation as Observed, Reception};

/// Partners that are told apart; sessions with more are not looked at.
const PARTNERS: usize = 1024;
/// A session that begins so soon after the peer was taken in is what the peer had asked for when it
/// came; its time is counted from then on.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Looks at one peer.
pub(super) struct Spectator {
    name: String,
    /// Whether received media is decoded and judged.
    judges: bool,
    /// When the peer set out.
    began: Duration,
    /// When the server took it in at first.
    registered: watch::Sender<Option<Duration>>,
    partners: Mutex<BTreeMap<Option<String>, Arc<Connection>>>,
}

/// All sessions with one partner, one after the other.
pub(super) struct Connection {
    judges: bool,
    witness: Witness,
    progress: Mutex<Progress>,
}

/// How far the last session came.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Sessions until now, with those that were over.
    pub(super) sessions: u64,
    pub(super) negotiated: bool,
    pub(super) gathered: bool,
    pub(super) checked: bool,
    pub(super) connected: bool,
    pub(super) tracks: bool,
    /// Our candidates, and the other side's, by kind.
    pub(super) ours: BTreeMap<String, u32>,
    pub(super) theirs: BTreeMap<String, u32>,
    /// What the session itself knows of why something doesn't come about, and what to do.
    pub(super) trouble: Option<(String, String)>,
    /// Why the last session that failed did.
    pub(super) failed: Option<String>,
    pub(super) ended: bool,
    /// Packets of received media.
    pub(super) packets: u64,
    /// What is sent, at the last look.
    pub(super) sent: Vec<OutboundStats>,
    /// Pictures that were sent in all sessions; those of the last second may be missing.
    pub(super) pictures: u64,
    /// Since when it is sent.
    pub(super) since: Option<Duration>,
}

impl Spectator {
    /// For a peer that sets out now. `judges` if what it receives is to be decoded.
    pub(super) fn new(name: &str, judges: bool) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            judges,
            began: now(),
            registered: watch::Sender::new(None),
            partners: Mutex::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// For a peer's options.
    pub(super) fn reception(self: &Arc<Self>, wants_media: bool) -> Reception {
        Reception::Observed(Observed {
            observer: Arc::clone(self) as Arc<dyn Observer>,
            wants_media,
        })
    }

    /// Waits until the server has taken the peer in.
    pub(super) async fn registered(&self) {
        let mut registered = self.registered.subscribe();
        // The sender lives as long as this.
        let _ = registered.wait_for(Option::is_some).await;
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registered.borrow().is_some()
    }

    /// What is known of each partner's connection, by the partner's name.
    pub(super) fn connections(&self) -> Vec<(Option<String>, Arc<Connection>)> {
        let partners = lock(&self.partners);
        let pair = |(name, it): (&Option<String>, &Arc<Connection>)| (name.clone(), Arc::clone(it));
        partners.iter().map(pair).collect()
    }

    /// The connection with a partner, if there was a session with it.
    pub(super) fn connection(&self, partner: Option<&str>) -> Option<Arc<Connection>> {
        let partners = lock(&self.partners);
        partners.get(&partner.map(str::to_owned)).cloned()
    }
}

impl Observer for Spectator {
    fn registered(&self) {
        self.registered.send_if_modified(|at| {
            let first = at.is_none();
            at.get_or_insert_with(now);
            first
        });
    }

    fn begins(&self, partner: Option<&str>) -> Arc<dyn Sight> {
        let key = partner.map(str::to_owned);
        let mut partners = lock(&self.partners);
        let known = partners.get(&key).cloned();
        let connection = known.unwrap_or_else(|| {
            let name = match partner {
                Some(partner) => format!("{} from {partner}", self.name),
                None => self.name.clone(),
            };
            let connection = Arc::new(Connection {
                judges: self.judges,
                witness: Witness::new(&name),
                progress: Mutex::default(),
            });
            if partners.len() < PARTNERS {
                partners.insert(key, Arc::clone(&connection));
            }
            connection
        });
        drop(partners);
        let registered = *self.registered.borrow();
        let at_once = registered.is_none_or(|at| now().saturating_sub(at) < AT_ONCE);
        connection.begins(if at_once { self.began } else { now() });
        connection
    }
}

impl Connection {
    /// What was received until now.
    pub(super) fn report(&self) -> Report {
        self.witness.report()
    }

    /// What was received since the last call.
    pub(super) fn interval(&self) -> Report {
        self.witness.interval()
    }

    /// How far it came.
    pub(super) fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    /// A new session in place of an old one: what was reached before doesn't count for it.
    fn begins(&self, asked: Duration) {
        let mut progress = lock(&self.progress);
        *progress = Progress {
            sessions: progress.sessions + 1,
            failed: progress.failed.take(),
            pictures: progress.pictures,
            ..Progress::default()
        };
        drop(progress);
        self.witness.requested(asked);
    }

    /// Whether anything was decoded.
    pub(super) fn has_media(&self) -> bool {
        self.report().phases.first_frame_ms.is_some()
    }

    /// Whether its last session failed.
    pub(super) fn is_broken(&self) -> bool {
        let progress = lock(&self.progress);
        progress.ended && progress.failed.is_some()
    }
}

impl Sight for Connection {
    fn receive(&self) -> Receive {
        match self.judges {
            true => self.witness.receive(),
            false => Receive::Drain,
        }
    }

    fn tell(&self, moment: Moment) {
        let mut progress = lock(&self.progress);
        let phase = match moment {
            Moment::Negotiated => {
                progress.negotiated = true;
                Some(Phase::Signaled)
            }
            Moment::Candidate(line) => {
                *progress.ours.entry(kind(&line)).or_default() += 1;
                None
            }
            Moment::RemoteCandidate(line) => {
                *progress.theirs.entry(kind(&line)).or_default() += 1;
                None
            }
            Moment::Gathered => {
                progress.gathered = true;
                Some(Phase::Gathered)
            }
            Moment::Checked => {
                progress.checked = true;
                Some(Phase::Checked)
            }
            Moment::Connected => {
                progress.connected = true;
                progress.since.get_or_insert_with(now);
                Some(Phase::Connected)
            }
            Moment::Track(_) => {
                progress.tracks = true;
                Some(Phase::FirstPacket)
            }
            Moment::Disconnected => None,
            Moment::Trouble(verdict) => {
                progress.trouble = Some((verdict.what, verdict.advice));
                None
            }
            Moment::Failed(why) => {
                progress.failed = Some(why);
                None
            }
            Moment::Ended => {
                progress.ended = true;
                None
            }
        };
        drop(progress);
        if let Some(phase) = phase {
            self.witness.phase(phase);
        }
    }

    fn stats(&self, stats: Stats) {
        self.witness.stats(&stats);
        let mut progress = lock(&self.progress);
        let videos = stats.outbound.iter();
        let videos = videos.filter(|sent| sent.codec.kind() == Kind::Video);
        progress.pictures += videos.map(|sent| sent.frame_age.frames).sum::<u64>();
        progress.packets = stats.received_packets;
        progress.sent = stats.outbound;
    }
}

/// The kind in a candidate's line (RFC 8839 section 5.1).
fn kind(line: &str) -> String {
    let mut words = line.split_whitespace().skip_while(|word| *word != "typ");
    let known = ["host", "srflx", "prflx", "relay"];
    let found = words.nth(1).filter(|kind| known.contains(kind));
    found.unwrap_or("other").to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_counted_by_their_kind() {
        let connection = Spectator::new("viewer", false);
        let sight = connection.begins(None);
        for line in [
            "candidate:1 1 UDP 2 10.0.0.1 9 typ host",
            "candidate:2 1 UDP 2 1.2.3.4 9 typ relay raddr 10.0.0.1 rport 9",
            "candidate:2 1 UDP 2 1.2.3.4 9 typ relay",
            "nonsense",
        ] {
            sight.tell(Moment::Candidate(line.to_owned()));
        }
        let progress = connection.connection(None).unwrap().progress();
        let counts: Vec<_> = progress
            .ours
            .iter()
            .map(|(k, n)| (k.as_str(), *n))
            .collect();
        assert_eq!(counts, [("host", 1), ("other", 1), ("relay", 2)]);
        assert_eq!(progress.sessions, 1);
    }

    #[test]
    fn a_partner_that_comes_back_is_the_same_connection() {
        let spectator = Spectator::new("user 1", false);
        spectator
            .begins(Some("user 2"))
            .tell(Moment::Failed("so".to_owned()));
        spectator.begins(Some("user 2"));
        assert_eq!(spectator.connections().len(), 1);
        let progress = spectator.connection(Some("user 2")).unwrap().progress();
        assert_eq!(
            (progress.sessions, progress.failed.as_deref()),
            (2, Some("so"))
        );
    }
}
