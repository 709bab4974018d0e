//! A viewer's eyes and ears: decodes what a session receives, and says what it sees and hears.

use std::collections::HashMap;
use std::sync::Arc;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use switchboard::media::{Kind, Receive, ReceivedTrack};
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
}

impl Eyes {
    pub(crate) fn new() -> Self {
        Self {
            seen: Arc::new(watch::Sender::new(Seen::default())),
        }
    }

    /// For a session's configuration.
    pub(crate) fn receive(&self) -> Receive {
        let seen = self.seen.clone();
        Receive::Into(Arc::new(move |track| Some(decoder(track, &seen))))
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

fn decoder(track: &ReceivedTrack, seen: &Arc<watch::Sender<Seen>>) -> gst::Element {
    let text = match track.kind {
        Kind::Video => {
            "decodebin name=in ! videoconvert ! video/x-raw,format=I420 ! appsink name=out sync=false"
        }
        Kind::Audio => {
            "decodebin name=in ! audioconvert ! audio/x-raw,format=S16LE,channels=1 ! appsink name=out sync=false"
        }
    };
    let bin = gst::parse::bin_from_description(text, false).expect("decoder");
    // By hand: asked for by itself, the parser takes the pad of the element behind decodebin.
    let sink = bin
        .by_name("in")
        .and_then(|input| input.static_pad("sink"))
        .expect("a pad");
    bin.add_pad(
        &gst::GhostPad::builder_with_target(&sink)
            .expect("a ghost")
            .name("sink")
            .build(),
    )
    .expect("the only pad");
    let out = bin
        .by_name("out")
        .and_then(|out| out.downcast::<gst_app::AppSink>().ok())
        .expect("appsink");
    let (seen, track) = (seen.clone(), track.clone());
    let key = track.mid.clone().unwrap_or_default();
    out.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                seen.send_modify(|seen| match track.kind {
                    Kind::Video => look(
                        &sample,
                        &track,
                        seen.pictures.entry(key.clone()).or_default(),
                    ),
                    Kind::Audio => listen(&sample, seen.sounds.entry(key.clone()).or_default()),
                });
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
    bin.upcast()
}

fn look(sample: &gst::Sample, track: &ReceivedTrack, picture: &mut Picture) {
    let (Some(buffer), Some(caps)) = (sample.buffer(), sample.caps()) else {
        return;
    };
    let info = gst_video::VideoInfo::from_caps(caps).expect("raw video");
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).expect("a frame");
    let (width, height) = (info.width() as usize, info.height() as usize);
    let stride = info.stride()[0] as usize;
    let plane = frame.plane_data(0).expect("luma");
    picture.luma = plane
        .chunks(stride)
        .take(height)
        .flat_map(|row| row[..width].to_vec())
        .collect();
    (picture.width, picture.height) = (width, height);
    picture.frames += 1;
    picture.stream_id.clone_from(&track.stream_id);
}

fn listen(sample: &gst::Sample, sound: &mut Sound) {
    let Some(map) = sample
        .buffer()
        .and_then(|buffer| buffer.map_readable().ok())
    else {
        return;
    };
    let samples: Vec<_> = map
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    sound.samples += samples.len() as u64;
    sound.peak = samples
        .iter()
        .copied()
        .map(i16::saturating_abs)
        .fold(sound.peak, i16::max);
    sound.waves += samples
        .windows(2)
        .filter(|pair| pair[0] < 0 && pair[1] >= 0)
        .count() as u64;
}
