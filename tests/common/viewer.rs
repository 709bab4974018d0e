//! A viewer's eyes and ears: decodes what a session receives, and says what it sees and hears.

use std::collections::HashMap;
use std::sync::Arc;

use switchboard::media::{Receive, ReceivedTrack};
use switchboard::probe::{Decoded, Look, Witness};
use tokio::sync::watch;

/// What was decoded so far, by the `a=mid` of the media section.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) pictures: HashMap<String, Picture>,
    pub(crate) sounds: HashMap<String, Sound>,
}

/// The last picture of a track.
#[derive(Debug, Default, Clone)]
pub(crate) struct Picture {
    pub(crate) frames: u64,
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// The luma plane, without padding.
    pub(crate) luma: Vec<u8>,
    pub(crate) stream_id: Option<String>,
}

/// What was heard of a track.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sound {
    pub(crate) samples: u64,
    /// The loudest sample, of 32767.
    pub(crate) peak: i16,
    /// How often the sign changed from minus to plus: the number of waves.
    pub(crate) waves: u64,
}

/// Decodes everything that a session receives.
#[derive(Clone)]
pub(crate) struct Eyes {
    seen: Arc<watch::Sender<Seen>>,
    witness: Witness,
}

impl Eyes {
    pub(crate) fn new() -> Self {
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let to = seen.clone();
        let look: Look = Arc::new(move |track, decoded| {
            to.send_modify(|seen| seen.take(track, decoded));
        });
        Self {
            seen,
            witness: Witness::new("viewer").with(look),
        }
    }

    /// For a session's configuration.
    pub(crate) fn receive(&self) -> Receive {
        self.witness.receive()
    }

    /// Who tells the judge what is seen.
    #[allow(dead_code, reason = "not every test crate judges what it sees")]
    pub(crate) fn witness(&self) -> &Witness {
        &self.witness
    }

    #[allow(dead_code, reason = "not every test crate waits for pictures")]
    pub(crate) fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    #[allow(dead_code, reason = "not every test crate looks at all of it")]
    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// How many frames the video track that has seen most has seen.
    #[allow(dead_code, reason = "not every test crate counts frames")]
    pub(crate) fn frames(&self) -> u64 {
        self.seen
            .borrow()
            .pictures
            .values()
            .map(|picture| picture.frames)
            .max()
            .unwrap_or(0)
    }
}

impl Seen {
    fn take(&mut self, track: &ReceivedTrack, decoded: Decoded<'_>) {
        let key = track.mid.clone().unwrap_or_default();
        match decoded {
            Decoded::Picture {
                luma,
                stride,
                width,
                height,
            } => {
                let picture = self.pictures.entry(key).or_default();
                let rows = luma.chunks(stride).take(height);
                picture.luma = rows.flat_map(|row| &row[..width]).copied().collect();
                (picture.width, picture.height) = (width, height);
                picture.frames += 1;
                picture.stream_id.clone_from(&track.stream_id);
            }
            Decoded::Sound { samples, .. } => self.sounds.entry(key).or_default().listen(samples),
        }
    }
}

impl Sound {
    fn listen(&mut self, samples: &[f32]) {
        self.samples += samples.len() as u64;
        let loudest = samples
            .iter()
            .fold(0.0, |loudest: f32, it| loudest.max(it.abs()));
        self.peak = self.peak.max((loudest * f32::from(i16::MAX)) as i16);
        let rises = samples
            .windows(2)
            .filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0);
        self.waves += rises.count() as u64;
    }
}
