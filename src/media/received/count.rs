//! Counts what is received, without decoding it.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Frame, encoded_frames};
use crate::media::{Codec, Kind, Receive};

/// Counts the media of one session. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<Mutex<Counts>>);

/// What came until now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pictures, if there were any.
    pub video: Option<TrackCount>,
    /// Sound, if there was any.
    pub audio: Option<TrackCount>,
}

/// What came of one kind of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackCount {
    /// How the last frame was encoded.
    pub codec: Codec,
    /// Width and height of the last picture in pixels, if it said so.
    pub size: Option<(i32, i32)>,
    /// Whole frames.
    pub frames: u64,
    /// Bytes of encoded media, without packet headers.
    pub bytes: u64,
}

impl Counter {
    /// For a session's configuration.
    #[must_use]
    pub fn receive(&self) -> Receive {
        let counter = self.clone();
        Receive::Into(Arc::new(move |track| {
            let counter = counter.clone();
            encoded_frames(track, move |frame| counter.add(&frame))
        }))
    }

    /// What came until now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, frame: &Frame) {
        let field = |name| frame.caps.structure(0)?.get::<i32>(name).ok();
        let size = field("width").zip(field("height"));
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let track = match frame.kind {
            Kind::Video => &mut counts.video,
            Kind::Audio => &mut counts.audio,
        };
        let before = track.map_or((0, 0), |track| (track.frames, track.bytes));
        *track = Some(TrackCount {
            codec: frame.codec,
            size,
            frames: before.0 + 1,
            bytes: before.1 + frame.buffer.size() as u64,
        });
    }
}
