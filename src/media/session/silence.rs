//! Whether the other side still hears us. libnice of Debian 12 takes 50 s to notice that a path is dead,
//! and can't be told to check as often as RFC 7675 wants. But who receives media reports on it every few
//! seconds (RFC 3550 section 6.2): who sends and hears nothing at all for longer has lost the other side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::events::{Emitter, SessionEvent};

/// How long we send without hearing anything. Reports come every 6 s at least from GStreamer, and every 8 s
/// from browsers.
const SILENCE: Duration = Duration::from_secs(10);
/// Who hasn't sent for so long begins anew to wait for reports.
const PAUSE: Duration = Duration::from_secs(2);

/// What was heard and sent last. Times are milliseconds since the start, from 1; 0 is never.
#[derive(Debug)]
pub(super) struct Silence {
    start: Instant,
    heard: AtomicU64,
    sent: AtomicU64,
    /// When we began to send, after what was heard last.
    unanswered: AtomicU64,
    again: Notify,
}

/// What a packet is, by its first bytes (RFC 5761 section 4, RFC 7983 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packet {
    Media,
    Report,
    Other,
}

impl Silence {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            heard: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            again: Notify::new(),
        }
    }

    /// Listens to what goes through the transports of a `webrtcbin`.
    pub(super) fn listen(webrtc: &gst::Element) -> Arc<Self> {
        let silence = Arc::new(Self::new());
        let listener = Arc::clone(&silence);
        if let Some(bin) = webrtc.downcast_ref::<gst::Bin>() {
            bin.connect_deep_element_added(move |_, _, element| listener.attach(element));
        }
        silence
    }

    /// Tells the session's owner when nobody hears us, and when somebody does again.
    pub(super) async fn watch(self: Arc<Self>, emitter: Emitter) {
        loop {
            match self.left() {
                None => sleep(PAUSE).await,
                Some(left) if !left.is_zero() => sleep(left).await,
                Some(_) => {
                    let since = self.now();
                    tracing::debug!("we send, and nothing comes back");
                    emitter.emit(SessionEvent::Disconnected);
                    while self.heard.load(Ordering::Relaxed) < since {
                        self.again.notified().await;
                    }
                    tracing::debug!("the other side is heard again");
                    emitter.emit(SessionEvent::Connected);
                }
            }
        }
    }

    /// How long it may be silent from now on; `None` as long as silence proves nothing: without media, or
    /// with somebody who never reports.
    fn left(&self) -> Option<Duration> {
        let at = |time: &AtomicU64| time.load(Ordering::Relaxed);
        let (now, since) = (self.now(), at(&self.unanswered));
        let is_sending = now.saturating_sub(at(&self.sent)) <= millis(PAUSE);
        let is_awaited = at(&self.heard) > 0 && since > 0 && is_sending;
        let silent = Duration::from_millis(now.saturating_sub(since));
        is_awaited.then(|| SILENCE.saturating_sub(silent))
    }

    fn attach(self: &Arc<Self>, element: &gst::Element) {
        let factory = element.factory().map(|it| it.name());
        let (pad, is_source) = match factory.as_deref() {
            Some("nicesrc") => ("src", true),
            Some("nicesink") => ("sink", false),
            _ => return,
        };
        let Some(pad) = element.static_pad(pad) else {
            return;
        };
        let silence = Arc::clone(self);
        let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(mask, move |_, info| {
            let packet = match (info.buffer(), info.buffer_list()) {
                (Some(buffer), _) => Packet::of(buffer),
                (None, Some(list)) => list.get(0).map_or(Packet::Other, Packet::of),
                (None, None) => Packet::Other,
            };
            match (packet, is_source) {
                (Packet::Other, _) => {}
                (packet, true) => silence.hear(packet),
                (Packet::Media, false) => silence.send(),
                (Packet::Report, false) => {}
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn hear(&self, packet: Packet) {
        if packet == Packet::Report || self.heard.load(Ordering::Relaxed) > 0 {
            self.heard.store(self.now(), Ordering::Relaxed);
        }
        let since = self.unanswered.swap(0, Ordering::Relaxed);
        if since > 0 && self.now().saturating_sub(since) >= millis(SILENCE) {
            self.again.notify_one();
        }
    }

    fn send(&self) {
        let now = self.now();
        let before = self.sent.swap(now, Ordering::Relaxed);
        let is_first = now.saturating_sub(before) > millis(PAUSE);
        if is_first || self.unanswered.load(Ordering::Relaxed) == 0 {
            self.unanswered.store(now, Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        millis(self.start.elapsed()).saturating_add(1)
    }
}

impl Packet {
    fn of(buffer: &gst::BufferRef) -> Self {
        let mut first = [0; 2];
        match buffer.copy_to_slice(0, &mut first) {
            Ok(()) => Self::by(first),
            Err(_) => Self::Other,
        }
    }

    const fn by(first: [u8; 2]) -> Self {
        match first {
            [128..=191, 192..=223] => Self::Report,
            [128..=191, _] => Self::Media,
            _ => Self::Other,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::super::events;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn packets_are_told_apart_by_their_first_bytes() {
        assert_eq!(Packet::by([0x80, 96]), Packet::Media);
        assert_eq!(Packet::by([0x90, 96 | 0x80]), Packet::Media);
        assert_eq!(Packet::by([0x81, 201]), Packet::Report);
        assert_eq!(Packet::by([22, 254]), Packet::Other);
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_and_is_not_answered_any_more_has_lost_the_other_side_until_it_is_heard() {
        let (emitter, mut told) = events::queue(9);
        let silence = Arc::new(Silence::new());
        tokio::spawn(Arc::clone(&silence).watch(emitter));
        let run = async |seconds: u32, sends: bool, hears: bool| {
            for _ in 0..seconds {
                sends.then(|| silence.send());
                hears.then(|| silence.hear(Packet::Report));
                advance(SECOND).await;
            }
        };
        // Who never reports, who is heard, and who pauses, isn't lost.
        run(60, true, false).await;
        run(60, true, true).await;
        run(60, false, false).await;
        run(8, true, false).await;
        assert_eq!(told.try_recv(), None);
        run(3, true, false).await;
        let next = timeout(SECOND, told.recv()).await.unwrap();
        assert_eq!(next, Some(SessionEvent::Disconnected));
        run(20, true, false).await;
        assert_eq!(told.try_recv(), None);
        run(1, true, true).await;
        let next = timeout(SECOND, told.recv()).await.unwrap();
        assert_eq!(next, Some(SessionEvent::Connected));
    }
}
