//! What came since the last key frame of pictures that are passed through, so that a new viewer sees
//! at once and needn't wait for the next key frame: nobody can ask a camera for one.
//!
//! A new viewer gets the kept pictures faster than they were taken, each at the moment that its
//! changed timestamp says, until it has caught up. So its timestamps only rise, no picture is late
//! when it leaves, and nothing of the detour stays: from then on it gets what all get, as it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use crate::media::guard;

/// What is kept at most. Over one of the bounds nothing is kept until the next key frame, and who
/// joins until then waits for it.
const MOST: Bounds = Bounds {
    frames: 600,
    bytes: 4 << 20,
    time: gst::ClockTime::from_seconds(12),
};
/// How many times faster than they were taken kept pictures are sent. Twelve seconds take one and a
/// half; a stream of 2 Mbit/s takes 16 meanwhile.
const SPEED: u64 = 8;
/// The least distance of two pictures' timestamps while a viewer catches up.
const STEP: gst::ClockTime = gst::ClockTime::from_mseconds(1);

#[derive(Debug, Clone, Copy)]
struct Bounds {
    frames: usize,
    bytes: usize,
    time: gst::ClockTime,
}

/// The pictures since the last key frame, and who gets them and the later ones.
#[derive(Debug)]
pub(in crate::media) struct Kept(Mutex<State>);

#[derive(Debug)]
struct State {
    most: Bounds,
    /// From a key frame on without a gap; else empty.
    group: VecDeque<Frame>,
    bytes: usize,
    /// How long after its time the last picture came.
    delay: gst::ClockTime,
    viewers: Vec<Viewer>,
    next_number: u64,
}

/// An encoded picture.
#[derive(Debug, Clone)]
struct Frame {
    sample: gst::Sample,
    /// Its time on the common clock, after the base time.
    time: gst::ClockTime,
    size: usize,
    is_key: bool,
}

#[derive(Debug)]
struct Viewer {
    number: u64,
    input: gst_app::AppSrc,
    place: Place,
    /// The last timestamp that was made later than it was.
    last: Option<gst::ClockTime>,
}

/// How far a viewer is.
#[derive(Debug)]
enum Place {
    /// It can't use anything before the next key frame.
    Waiting,
    /// It catches up.
    Behind(Chase),
    /// It gets every picture as it comes.
    Live,
}

#[derive(Debug)]
struct Chase {
    queue: VecDeque<Frame>,
    /// When the first picture was taken.
    from: gst::ClockTime,
    /// And the time that it is given.
    at: gst::ClockTime,
    delay: gst::ClockTime,
}

/// A viewer's place among those who get the pictures. Dropping it gives it up.
#[derive(Debug)]
pub(in crate::media) struct Following {
    kept: Arc<Kept>,
    number: u64,
}

impl Kept {
    /// Keeps and hands out what reaches this pad.
    pub(super) fn attach(pad: &gst::Pad) -> Arc<Self> {
        let kept = Arc::new(Self::new(MOST));
        let taker = Arc::downgrade(&kept);
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let (Some(kept), Some(buffer)) = (taker.upgrade(), info.buffer())
                && let Some(frame) = frame(pad, buffer)
                && kept.take(frame, now())
            {
                pad.push_event(
                    gst_video::UpstreamForceKeyUnitEvent::builder()
                        .all_headers(true)
                        .build(),
                );
            }
            gst::PadProbeReturn::Ok
        });
        kept
    }

    fn new(most: Bounds) -> Self {
        Self(Mutex::new(State {
            most,
            group: VecDeque::new(),
            bytes: 0,
            delay: gst::ClockTime::ZERO,
            viewers: Vec::new(),
            next_number: 0,
        }))
    }

    /// Hands the pictures to a viewer from now on, beginning with the kept ones. Whoever it is must
    /// [`Following::catch_up`].
    pub(super) fn follow(self: &Arc<Self>, input: gst_app::AppSrc) -> Following {
        let number = self.join(input, now());
        let kept = Arc::clone(self);
        Following { kept, number }
    }

    fn join(&self, input: gst_app::AppSrc, now: gst::ClockTime) -> u64 {
        let mut state = self.lock();
        let place = match state.group.front() {
            None => Place::Waiting,
            Some(first) => Place::Behind(Chase {
                from: first.time,
                at: now.saturating_sub(state.delay),
                delay: state.delay,
                queue: state.group.clone(),
            }),
        };
        let number = state.next_number;
        state.next_number += 1;
        state.viewers.push(Viewer {
            number,
            input,
            place,
            last: None,
        });
        number
    }

    /// Takes a new picture. Whether somebody waits for a key frame.
    fn take(&self, frame: Frame, now: gst::ClockTime) -> bool {
        let mut state = self.lock();
        state.delay = now.saturating_sub(frame.time);
        state.keep(&frame);
        let most = state.most.frames;
        let mut somebody_waits = false;
        for viewer in &mut state.viewers {
            viewer.take(&frame, most);
            somebody_waits |= matches!(viewer.place, Place::Waiting);
        }
        somebody_waits
    }

    /// Sends what is due to a viewer that catches up. How long until more is due; `None` when it has
    /// caught up.
    fn send_due(&self, number: u64, now: gst::ClockTime) -> Option<Duration> {
        let mut state = self.lock();
        let viewer = state.viewers.iter_mut().find(|v| v.number == number)?;
        viewer.send_due(now)
    }

    fn leave(&self, number: u64) {
        self.lock().viewers.retain(|v| v.number != number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Following {
    /// Sends the kept pictures, and ends when the viewer has caught up. Whether there were any; if
    /// not, it has to wait for a key frame.
    pub(in crate::media) async fn catch_up(&self) -> bool {
        let mut any = false;
        while let Some(pause) = self.kept.send_due(self.number, now()) {
            any = true;
            tokio::time::sleep(pause).await;
        }
        any
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.kept.leave(self.number);
    }
}

impl State {
    fn keep(&mut self, frame: &Frame) {
        if frame.is_key || frame.is_broken() {
            self.forget();
        }
        if !frame.is_key && self.group.is_empty() {
            return;
        }
        self.bytes += frame.size;
        self.group.push_back(frame.clone());
        let length = self.group.front().map_or(gst::ClockTime::ZERO, |first| {
            frame.time.saturating_sub(first.time)
        });
        if self.group.len() > self.most.frames
            || self.bytes > self.most.bytes
            || length > self.most.time
        {
            tracing::debug!(
                frames = self.group.len(),
                bytes = self.bytes,
                "too much since the last key frame; new viewers wait for the next one"
            );
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.group.clear();
        self.bytes = 0;
    }
}

impl Viewer {
    fn take(&mut self, frame: &Frame, most: usize) {
        match &mut self.place {
            Place::Behind(chase) if frame.is_key => {
                chase.queue.clear();
                chase.queue.push_back(frame.clone());
            }
            Place::Behind(chase) if chase.queue.len() < most && !frame.is_broken() => {
                chase.queue.push_back(frame.clone());
            }
            Place::Live if frame.is_key || !frame.is_broken() => self.send(frame, frame.time),
            Place::Waiting if frame.is_key => {
                self.place = Place::Live;
                self.send(frame, frame.time);
            }
            _ => self.place = Place::Waiting,
        }
    }

    fn send_due(&mut self, now: gst::ClockTime) -> Option<Duration> {
        loop {
            let Place::Behind(chase) = &mut self.place else {
                return None;
            };
            let Some(frame) = chase.queue.front() else {
                self.place = Place::Live;
                return None;
            };
            let time = chase.time_of(frame);
            let due = (time + chase.delay).saturating_sub(now);
            if !due.is_zero() {
                return Some(due.into());
            }
            if let Some(frame) = chase.queue.pop_front() {
                self.send(&frame, time);
            }
        }
    }

    /// Gives a picture to the viewer's pipeline, which takes it at once or drops its oldest.
    fn send(&mut self, frame: &Frame, time: gst::ClockTime) {
        let time = self.last.map_or(time, |last| time.max(last + STEP));
        // Once the pictures' own times are later, they are right.
        self.last = (time > frame.time).then_some(time);
        let sent = match self.last {
            None => self.input.push_sample(&frame.sample),
            Some(time) => self.input.push_sample(&frame.at(time)),
        };
        if let Err(error) = sent {
            // Its pipeline stops; soon it leaves.
            tracing::trace!(%error, "a viewer takes no more");
        }
    }
}

impl Chase {
    /// The time that a picture gets. It rises with the picture's own time, and comes to meet it.
    fn time_of(&self, frame: &Frame) -> gst::ClockTime {
        let after = frame.time.saturating_sub(self.from).nseconds() / SPEED;
        frame
            .time
            .max(self.at + gst::ClockTime::from_nseconds(after))
    }
}

impl Frame {
    /// Whether something before it is missing, and it can't be seen without that.
    fn is_broken(&self) -> bool {
        let flags = self.sample.buffer().map(|buffer| buffer.flags());
        !self.is_key && flags.is_some_and(|flags| flags.contains(gst::BufferFlags::DISCONT))
    }

    /// The same picture at another time.
    fn at(&self, time: gst::ClockTime) -> gst::Sample {
        let segment = self.sample.segment().and_then(|s| s.downcast_ref());
        let (Some(buffer), Some(segment)) = (self.sample.buffer(), segment) else {
            return self.sample.clone();
        };
        let segment: &gst::FormattedSegment<gst::ClockTime> = segment;
        let mut buffer = buffer.copy();
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(segment.position_from_running_time(time));
            buffer.set_dts(gst::ClockTime::NONE);
        }
        let sample = gst::Sample::builder().buffer(&buffer).segment(segment);
        match self.sample.caps_owned() {
            Some(caps) => sample.caps(&caps).build(),
            None => sample.build(),
        }
    }
}

/// The picture that a buffer holds. One that doesn't say when it was taken was taken now.
fn frame(pad: &gst::Pad, buffer: &gst::Buffer) -> Option<Frame> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
    let time = buffer.pts().and_then(|pts| segment.to_running_time(pts));
    let sample = gst::Sample::builder()
        .buffer(buffer)
        .caps(&pad.current_caps()?)
        .segment(segment)
        .build();
    Some(Frame {
        sample,
        time: time.unwrap_or_else(now),
        size: buffer.size(),
        is_key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
    })
}

fn now() -> gst::ClockTime {
    guard::clock().time().saturating_sub(guard::base_time())
}

#[cfg(test)]
mod tests;
