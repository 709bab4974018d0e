//! Plays a recorded file to its end, and says what was in it.

use std::path::Path;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

/// What was in a file.
#[derive(Debug, Default)]
pub(crate) struct Played {
    pub(crate) frames: u64,
    /// The time of the last picture, in seconds.
    pub(crate) last: f64,
    /// The brightness in the middle of the last picture.
    pub(crate) luma: u8,
    pub(crate) samples: u64,
    /// How often the sound's sign changed from minus to plus.
    pub(crate) waves: u64,
    /// What the container says, in seconds.
    pub(crate) duration: f64,
}

/// Plays pictures and sound as fast as they can be decoded.
pub(crate) fn play(path: &Path) -> Played {
    let mut played = watch(path);
    hear(path, &mut played);
    played
}

/// Plays the pictures only; the file needn't have sound.
pub(crate) fn watch(path: &Path) -> Played {
    gst::init().unwrap();
    let mut played = Played::default();
    decode(
        path,
        "videoconvert ! video/x-raw,format=I420",
        |sample, duration| {
            let buffer = sample.buffer().unwrap();
            let structure = sample.caps().unwrap().structure(0).unwrap();
            let side = |name| usize::try_from(structure.get::<i32>(name).unwrap()).unwrap();
            let (width, height) = (side("width"), side("height"));
            played.frames += 1;
            played.last = seconds(buffer.pts().unwrap());
            played.luma = buffer.map_readable().unwrap()[width * (height / 2) + width / 2];
            played.duration = seconds(duration);
        },
    );
    played
}

fn hear(path: &Path, played: &mut Played) {
    decode(
        path,
        "audioconvert ! audioresample ! audio/x-raw,format=S16LE,channels=1,rate=48000",
        |sample, _| {
            let map = sample.buffer().unwrap().map_readable().unwrap();
            let samples: Vec<_> = map
                .chunks_exact(2)
                .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
                .collect();
            played.samples += samples.len() as u64;
            played.waves += samples
                .windows(2)
                .filter(|pair| pair[0] < 0 && pair[1] >= 0)
                .count() as u64;
        },
    );
}

fn decode(path: &Path, convert: &str, mut take: impl FnMut(&gst::Sample, gst::ClockTime)) {
    let text = format!(
        "filesrc location={} ! decodebin ! {convert} ! appsink name=out sync=false",
        path.display()
    );
    let pipeline = gst::parse::launch(&text).unwrap();
    let out = pipeline.downcast_ref::<gst::Bin>().unwrap().by_name("out");
    let out: gst_app::AppSink = out.unwrap().downcast().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    while let Some(sample) = out.try_pull_sample(gst::ClockTime::from_seconds(20)) {
        let duration = pipeline.query_duration::<gst::ClockTime>();
        take(&sample, duration.unwrap_or_default());
    }
    let complete = out.is_eos();
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(complete, "{} does not play to its end", path.display());
}

#[allow(clippy::cast_precision_loss, reason = "a recording is short")]
fn seconds(time: gst::ClockTime) -> f64 {
    time.mseconds() as f64 / 1000.0
}
