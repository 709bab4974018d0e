//! How long it takes until two talk, phase by phase. Pure: each connection notes when what was
//! asked and said, and is told the time.

use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::dialect::Dialect;
use crate::hub::{Ask, Command, Event, Granted, Request, Step, Told};
use crate::vitals::TIMES;

/// A part of the way from a connection to media, as the server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::server) enum Phase {
    /// From the upgrade until the endpoint is registered, or the participant in its room.
    Registered,
    /// From a call until it is open. A call that has to wait for its endpoint doesn't count.
    Opened,
    /// From there to the first message, whosever.
    FirstMessage,
    /// From there to the first message of the other one; from an offer to its answer.
    Answered,
    /// From there to the next message of the first one.
    Returned,
    /// From the answer until the two are connected, where they say so.
    Connected,
    /// From the server's own answer to the first good connectivity check.
    Checks,
    /// From there until media can flow.
    Dtls,
    /// From there to the first packet of media.
    FirstPacket,
}

/// The histograms.
#[derive(Debug, Clone)]
pub(super) struct Setup(Family<Labels, Histogram, fn() -> Histogram>);

/// What is timed of one connection: its registration, and then each call or request for media that
/// it makes. Of two who talk, only the one who asked is timed.
#[derive(Debug)]
pub(in crate::server) struct Beginning {
    stage: Stage,
    /// When that began.
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Connected, and nothing else yet.
    New,
    /// Nothing is timed.
    Idle,
    /// It has asked for something.
    Asked,
    /// What it calls isn't there yet.
    Waiting,
    /// Its call is open.
    Open,
    /// One of the two has spoken.
    Spoken { by_me: bool },
    /// So has the other one. `by_me`: the first was this one.
    Answered { by_me: bool },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    dialect: &'static str,
    phase: &'static str,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Opened => "opened",
            Self::FirstMessage => "first_message",
            Self::Answered => "answered",
            Self::Returned => "returned",
            Self::Connected => "connected",
            Self::Checks => "checks",
            Self::Dtls => "dtls",
            Self::FirstPacket => "first_packet",
        }
    }

    /// Those that a dialect has.
    const fn of(dialect: Dialect) -> &'static [Self] {
        match dialect {
            Dialect::Cuttlefish | Dialect::GStreamer => &[
                Self::Registered,
                Self::Opened,
                Self::FirstMessage,
                Self::Answered,
                Self::Returned,
            ],
            Dialect::Gecko => &[Self::Registered, Self::Answered, Self::Connected],
            Dialect::Kurento => &[
                Self::Registered,
                Self::Answered,
                Self::Checks,
                Self::Dtls,
                Self::FirstPacket,
            ],
        }
    }
}

impl Default for Setup {
    /// With all that can be, so that each is there before it happens.
    fn default() -> Self {
        let this = Self(Family::new_with_constructor(|| Histogram::new(TIMES)));
        for dialect in Dialect::ALL {
            for phase in Phase::of(dialect) {
                this.0.get_or_create_owned(&Labels::new(dialect, *phase));
            }
        }
        this
    }
}

impl Setup {
    pub(super) fn observe(&self, dialect: Dialect, phase: Phase, took: Duration) {
        let times = self.0.get_or_create_owned(&Labels::new(dialect, phase));
        times.observe(took.as_secs_f64());
    }

    pub(super) fn register(&self, to: &mut Registry) {
        to.register_with_unit(
            "setup",
            "How long each phase took until two talked, or media flowed",
            Unit::Seconds,
            self.0.clone(),
        );
    }
}

impl Labels {
    const fn new(dialect: Dialect, phase: Phase) -> Self {
        Self {
            dialect: dialect.name(),
            phase: phase.name(),
        }
    }
}

impl Beginning {
    /// A connection is here.
    pub(in crate::server) const fn new(now: Instant) -> Self {
        Self {
            stage: Stage::New,
            since: now,
        }
    }

    /// It asks for something, or says something.
    pub(in crate::server) fn asks(
        &mut self,
        now: Instant,
        command: &Command,
    ) -> Option<(Phase, Duration)> {
        match command {
            Command::Call { .. } | Command::Demand(_) => self.enter(now, Stage::Asked),
            Command::Conference(asked) => match asked.ask {
                Ask::Publish { .. } | Ask::Receive { .. } => self.enter(now, Stage::Asked),
                _ => {}
            },
            Command::ToPartner { otherwise, .. } => match otherwise {
                Some(Request::Pair(_) | Request::Join(_)) if !self.is_open() => {
                    self.enter(now, Stage::Asked);
                }
                _ => return self.message(now, true),
            },
            Command::ToEndpoint { .. } => return self.message(now, true),
            _ => {}
        }
        None
    }

    /// The hub tells it something.
    pub(in crate::server) fn hears(
        &mut self,
        now: Instant,
        event: &Event,
    ) -> Option<(Phase, Duration)> {
        match event {
            Event::Registered
            | Event::Conference(Told::Answer {
                outcome: Ok(Granted::Entered { .. }),
                ..
            }) if self.stage == Stage::New => Some((Phase::Registered, self.end(now, Stage::Idle))),
            Event::CallWaiting => {
                self.enter(now, Stage::Waiting);
                None
            }
            Event::CallOpened { .. } | Event::Paired => self.opened(now),
            // Nobody is there to talk with, perhaps for long.
            Event::Joined { members } if members.is_empty() => {
                self.enter(now, Stage::Idle);
                None
            }
            Event::Joined { .. } => self.opened(now),
            Event::FromEndpoint { .. } | Event::FromPartner { .. } | Event::FromMember { .. } => {
                self.message(now, false)
            }
            Event::Conference(Told::Answer {
                outcome: Ok(Granted::Sdp(_)),
                ..
            }) if self.stage == Stage::Asked => Some((Phase::Answered, self.end(now, Stage::Idle))),
            Event::SessionSaid { step, .. } => match (step, self.stage) {
                (Step::Answer { .. }, Stage::Asked) => {
                    let took = self.end(now, Stage::Answered { by_me: true });
                    Some((Phase::Answered, took))
                }
                (Step::Connected, Stage::Answered { .. }) => {
                    Some((Phase::Connected, self.end(now, Stage::Idle)))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn opened(&mut self, now: Instant) -> Option<(Phase, Duration)> {
        let waited = self.stage == Stage::Waiting;
        let took = self.end(now, Stage::Open);
        (!waited).then_some((Phase::Opened, took))
    }

    fn message(&mut self, now: Instant, mine: bool) -> Option<(Phase, Duration)> {
        let (phase, next) = match self.stage {
            Stage::Open => (Phase::FirstMessage, Stage::Spoken { by_me: mine }),
            Stage::Spoken { by_me } if by_me != mine => {
                (Phase::Answered, Stage::Answered { by_me })
            }
            Stage::Answered { by_me } if by_me == mine => (Phase::Returned, Stage::Idle),
            _ => return None,
        };
        Some((phase, self.end(now, next)))
    }

    const fn is_open(&self) -> bool {
        matches!(
            self.stage,
            Stage::Open | Stage::Spoken { .. } | Stage::Answered { .. }
        )
    }

    /// How long it took until now, where another stage begins.
    fn end(&mut self, now: Instant, next: Stage) -> Duration {
        let took = now.saturating_duration_since(self.since);
        self.enter(now, next);
        took
    }

    const fn enter(&mut self, now: Instant, stage: Stage) {
        (self.stage, self.since) = (stage, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Access, CallNumber, EndpointId, Namespace, Payload, WhenAbsent};

    fn call() -> Command {
        Command::Call {
            endpoint: EndpointId::new(Namespace::Device, "it").unwrap(),
            when_absent: WhenAbsent::Wait,
            access: Access::Control,
        }
    }

    fn opened() -> Event {
        Event::CallOpened {
            call: CallNumber(1),
            info: None,
        }
    }

    fn says() -> Command {
        Command::ToEndpoint {
            payload: Payload::from("x".to_owned()),
        }
    }

    fn hears() -> Event {
        Event::FromEndpoint {
            payload: Payload::from("x".to_owned()),
        }
    }

    /// What is told of each step, of which each takes one millisecond more than the one before.
    fn told(steps: &[Result<Command, Event>]) -> Vec<(Phase, u128)> {
        let mut now = Instant::now();
        let mut beginning = Beginning::new(now);
        let mut told = Vec::new();
        for (step, milliseconds) in steps.iter().zip(1..) {
            now += Duration::from_millis(milliseconds);
            let phase = match step {
                Ok(command) => beginning.asks(now, command),
                Err(event) => beginning.hears(now, event),
            };
            told.extend(phase.map(|(phase, took)| (phase, took.as_millis())));
        }
        told
    }

    #[test]
    fn a_call_has_four_phases_whoever_speaks_first() {
        let steps = [
            Ok(call()),
            Err(opened()),
            Ok(says()),
            Ok(says()),
            Err(hears()),
            Err(hears()),
            Ok(says()),
            Err(hears()),
        ];
        let phases = [
            (Phase::Opened, 2),
            (Phase::FirstMessage, 3),
            (Phase::Answered, 4 + 5),
            (Phase::Returned, 6 + 7),
        ];
        assert_eq!(told(&steps), phases);
        let steps = [
            Ok(call()),
            Err(opened()),
            Err(hears()),
            Ok(says()),
            Err(hears()),
            Ok(says()),
        ];
        let phases = [
            (Phase::Opened, 2),
            (Phase::FirstMessage, 3),
            (Phase::Answered, 4),
            (Phase::Returned, 5),
        ];
        assert_eq!(told(&steps), phases);
    }

    #[test]
    fn waiting_for_an_endpoint_is_no_phase() {
        let steps = [
            Ok(call()),
            Err(Event::CallWaiting),
            Err(opened()),
            Ok(says()),
        ];
        assert_eq!(told(&steps), [(Phase::FirstMessage, 4)]);
    }

    #[test]
    fn an_endpoint_is_timed_until_it_is_registered_and_no_longer() {
        let steps = [Err(Event::Registered), Err(Event::Registered), Err(hears())];
        assert_eq!(told(&steps), [(Phase::Registered, 1)]);
    }
}
