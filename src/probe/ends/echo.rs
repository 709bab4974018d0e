//! Messages over a page's data channel that a worker sends back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::media::SessionEvent;
use crate::peer::page::Order;
use crate::probe::judge::Percentiles;
use crate::probe::outcome::Echo;

/// The channel of a worker.
pub(super) const CHANNEL: &str = "worker";
/// How often a message is sent.
const EACH: Duration = Duration::from_millis(200);
/// The longest time that is told from longer ones: a minute.
const LONGEST_MICROS: u64 = 60_000_000;
/// Significant decimal digits of times.
const DIGITS: u8 = 2;
/// What the messages begin with; the time in microseconds follows.
const MARK: &str = "probe ";

/// Counts echoes.
pub(in crate::probe) struct EchoCounter(Mutex<Counts>);

struct Counts {
    sent: u64,
    /// `None` if there is no memory for it.
    times: Option<Histogram<u32>>,
}

impl EchoCounter {
    pub(super) fn new() -> Arc<Self> {
        let times = Histogram::new_with_bounds(1, LONGEST_MICROS, DIGITS).ok();
        Arc::new(Self(Mutex::new(Counts { sent: 0, times })))
    }

    /// What came back until now.
    pub(in crate::probe) fn read(&self) -> Echo {
        let counts = self.lock();
        Echo {
            sent: counts.sent,
            returned: counts.times.as_ref().map_or(0, Histogram::len),
            round_trip: counts
                .times
                .as_ref()
                .and_then(|times| Percentiles::of(times, 1000.0, 0.0)),
        }
    }

    /// Sends messages once the channel is open, and counts what comes back, until the page is over.
    pub(super) async fn run(
        self: Arc<Self>,
        orders: mpsc::Sender<Order>,
        mut events: mpsc::Receiver<SessionEvent>,
    ) {
        let start = Instant::now();
        let mut open = false;
        let mut ticks = interval(EACH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(SessionEvent::ChannelOpen { label }) if label == CHANNEL => open = true,
                    Some(SessionEvent::Text { text, .. }) => self.returned(&text, start),
                    Some(_) => {}
                    None => return,
                },
                _ = ticks.tick(), if open => {
                    let text = format!("{MARK}{}", start.elapsed().as_micros());
                    let order = Order::Text(CHANNEL.to_owned(), text);
                    if orders.try_send(order).is_ok() {
                        self.lock().sent += 1;
                    }
                }
            }
        }
    }

    fn returned(&self, text: &str, start: Instant) {
        let sent = text
            .strip_prefix(MARK)
            .and_then(|micros| micros.parse().ok());
        if let Some(sent) = sent {
            let took = start.elapsed().saturating_sub(Duration::from_micros(sent));
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            if let Some(times) = &mut self.lock().times {
                times.saturating_record(micros.max(1));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
