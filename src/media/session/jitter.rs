//! The jitter buffers of a session: how long they wait, how they ask again for what is missing, and what
//! they had to drop.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;

use crate::media::Kind;

/// Jitter buffers that are known; each stream that is received has one, and the other side could
/// begin any number of streams.
const MOST_BUFFERS: usize = 32;
/// What reports and requests may take of the way back, in bits per second (1.22 calls it bytes). Early
/// ones wait for their turn (RFC 4585 section 3.5.2), which comes every 50 ms and more by default, so
/// that a second or third try is too late. With this it comes every 7 ms. They are only sent when there
/// is something to say: a packet is missing, or a picture came.
const REPORTS: i32 = 100_000;
/// After this a packet may be asked for once more, in milliseconds, if a round trip takes no longer. By
/// default it is the time between two pictures, even if these are rare.
const AGAIN: i32 = 20;

/// What the jitter buffers did with one kind of media, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboundStats {
    /// Video or audio.
    pub kind: Kind,
    /// Packets that went on in time.
    pub packets: u64,
    /// Packets that were missing when their time came.
    pub lost: u64,
    /// Packets that came after their time, and were dropped. They count as lost, too.
    pub late: u64,
    /// Packets that came more than once.
    pub duplicates: u64,
    /// Packets that were asked for again and came in time.
    pub recovered: u64,
    /// The mean deviation of the packets' arrival; of the worst stream.
    pub jitter: Duration,
}

/// The buffers of one session.
#[derive(Debug, Clone, Default)]
pub(super) struct JitterBuffers {
    rtpbin: gst::glib::WeakRef<gst::Element>,
    buffers: Arc<Mutex<Vec<Buffer>>>,
}

#[derive(Debug, Clone)]
struct Buffer {
    element: gst::glib::WeakRef<gst::Element>,
    /// How the pad of rtpbin begins that its packets come out of.
    pad: String,
}

impl JitterBuffers {
    /// Notes every buffer that webrtcbin makes.
    pub(super) fn listen(webrtc: &gst::Element) -> Self {
        let inside = webrtc.downcast_ref::<gst::Bin>();
        // Another version may call it otherwise; then there are no numbers.
        let Some(rtpbin) = inside.and_then(|inside| inside.by_name("rtpbin")) else {
            return Self::default();
        };
        let this = Self {
            rtpbin: rtpbin.downgrade(),
            ..Self::default()
        };
        if let Some(rtpbin) = rtpbin.downcast_ref::<gst::Bin>() {
            rtpbin.connect_element_added(|_, element| report_at_once(element));
        }
        let buffers = Arc::clone(&this.buffers);
        rtpbin.connect("new-jitterbuffer", false, move |values| {
            let element = values.get(1)?.get::<gst::Element>().ok()?;
            set(&element, "rtx-min-retry-timeout", AGAIN);
            // Otherwise a packet counts as lost that doesn't come when the last ones let expect it, and is
            // thrown away when it does: after each pause of a picture that doesn't come evenly.
            set(&element, "rtx-next-seqnum", false);
            let session = values.get(2)?.get::<u32>().ok()?;
            let ssrc = values.get(3)?.get::<u32>().ok()?;
            let mut known = buffers.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|known| known.element.upgrade().is_some());
            if known.len() < MOST_BUFFERS {
                known.push(Buffer {
                    element: element.downgrade(),
                    pad: format!("recv_rtp_src_{session}_{ssrc}_"),
                });
            }
            None
        });
        this
    }

    /// What they did until now, for each kind of media that came.
    pub(super) fn stats(&self) -> Vec<InboundStats> {
        // Not under the lock: it is taken in a callback, and this calls into GStreamer.
        let buffers = {
            let known = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
            known.clone()
        };
        let pads = self.rtpbin.upgrade().map(|rtpbin| rtpbin.src_pads());
        let pads = pads.unwrap_or_default();
        let mut sums: Vec<InboundStats> = Vec::new();
        for one in buffers.iter().filter_map(|buffer| read(buffer, &pads)) {
            match sums.iter_mut().find(|sum| sum.kind == one.kind) {
                Some(sum) => sum.add(&one),
                None => sums.push(one),
            }
        }
        sums.sort_by_key(|sum| sum.kind == Kind::Audio);
        sums
    }
}

impl InboundStats {
    fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.lost += other.lost;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.recovered += other.recovered;
        self.jitter = self.jitter.max(other.jitter);
    }
}

/// Lets a session's reports and requests leave when they are made.
fn report_at_once(element: &gst::Element) {
    let factory = element.factory().map(|factory| factory.name());
    if factory.is_some_and(|name| name == "rtpsession") {
        for who in ["rtcp-rr-bandwidth", "rtcp-rs-bandwidth"] {
            set(element, who, REPORTS);
        }
    }
}

/// Sets a property, if this version has it.
fn set<T: Into<gst::glib::Value> + StaticType>(element: &gst::Element, name: &str, value: T) {
    if element
        .find_property(name)
        .is_some_and(|it| it.value_type() == T::static_type())
    {
        element.set_property(name, value);
    }
}

fn read(buffer: &Buffer, pads: &[gst::Pad]) -> Option<InboundStats> {
    // The buffer itself doesn't know what it carries.
    let pad = pads
        .iter()
        .find(|pad| pad.name().starts_with(&buffer.pad))?;
    let caps = pad.current_caps()?;
    let media = caps.structure(0)?.get::<&str>("media").ok()?;
    let element = buffer.element.upgrade()?;
    let stats = element.property::<Option<gst::Structure>>("stats")?;
    let count = |field: &str| stats.get::<u64>(field).unwrap_or_default();
    Some(InboundStats {
        kind: match media {
            "audio" => Kind::Audio,
            _ => Kind::Video,
        },
        packets: count("num-pushed"),
        lost: count("num-lost"),
        late: count("num-late"),
        duplicates: count("num-duplicates"),
        recovered: count("rtx-success-count"),
        jitter: Duration::from_nanos(count("avg-jitter")),
    })
}
