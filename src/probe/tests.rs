//! Marks through real encoders and decoders, with faults made on purpose on the way.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::Witness;
use super::judge::{AudioReport, Check, Frames, Report, Thresholds, VideoReport};
use crate::media::overlay::code::{mark_pictures, mark_sound};
use crate::media::{self, Codec, Kind, Receive, ReceivedTrack};

const SOURCE: u8 = 42;
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// What becomes of each buffer on its way, by its number.
type Fault = Box<dyn FnMut(u64, gst::Buffer) -> Vec<gst::Buffer> + Send>;

/// A pipeline that is stopped when it is dropped.
struct Running(gst::Pipeline);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.set_state(gst::State::Null).unwrap();
    }
}

fn track(kind: Kind, codec: Codec) -> ReceivedTrack {
    ReceivedTrack {
        kind,
        codec: Some(codec),
        mid: Some(kind.name().to_owned()),
        stream_id: None,
    }
}

/// A chain of elements and what happens to the buffers where it says `fault`.
struct Chain<'a> {
    text: &'a str,
    codec: Codec,
    fault: Fault,
}

/// Plays chains to their end, and says what a witness at their ends has seen. Each starts with raw media,
/// which are marked, and ends with packets.
fn play(chains: Vec<Chain<'_>>) -> Report {
    media::init().unwrap();
    let witness = Witness::new("test");
    let text: Vec<_> = chains
        .iter()
        .map(|chain| {
            let kind = chain.codec.kind().name();
            let fault =
                format!("appsink name={kind}_in sync=false async=false appsrc name={kind}_out format=time is-live=true");
            let text = chain.text.replace("fault", &fault);
            format!("{text} ! identity name={kind}_end")
        })
        .collect();
    let pipeline = gst::parse::launch(&text.join(" ")).unwrap();
    let pipeline = Running(pipeline.downcast::<gst::Pipeline>().unwrap());
    for chain in chains {
        let kind = chain.codec.kind();
        let find = |name: &str| {
            pipeline
                .0
                .by_name(&format!("{}_{name}", kind.name()))
                .unwrap()
        };
        let pad = find("in").static_pad("sink").unwrap();
        match kind {
            Kind::Video => mark_pictures(&pad, SOURCE, Arc::new(AtomicU32::new(0))),
            Kind::Audio => mark_sound(&pad, SOURCE),
        }
        let from = find("in").downcast::<gst_app::AppSink>().unwrap();
        let to = find("out").downcast::<gst_app::AppSrc>().unwrap();
        insert(&from, to, chain.fault);
        let Receive::Into(make) = witness.receive() else {
            panic!("a witness looks");
        };
        let watcher = make(&track(kind, chain.codec)).unwrap();
        pipeline.0.add(&watcher).unwrap();
        find("end").link(&watcher).unwrap();
    }
    pipeline.0.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline
        .0
        .bus()
        .unwrap()
        .timed_pop_filtered(PATIENCE, &ends);
    let end = end.unwrap_or_else(|| panic!("no end in time of {text:?}: {:?}", witness.report()));
    assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    witness.report()
}

/// Lets a fault happen to what goes from one to the other.
fn insert(from: &gst_app::AppSink, to: gst_app::AppSrc, fault: Fault) {
    let (fault, number, end) = (Mutex::new(fault), AtomicU64::new(0), to.clone());
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if to.caps().is_none() {
                to.set_caps(sample.caps_owned().as_ref());
            }
            let number = number.fetch_add(1, Ordering::Relaxed);
            let buffers = (fault.lock().unwrap())(number, sample.buffer_owned().unwrap());
            for buffer in buffers {
                to.push_buffer(buffer)?;
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .eos(move |_| {
            end.end_of_stream().unwrap();
        });
    from.set_callbacks(callbacks.build());
}

fn none() -> Fault {
    Box::new(|_, buffer| vec![buffer])
}

/// The encoder and what packs its frames into packets, aiming at so many kbit/s.
fn encode(codec: Codec, kbit: u32) -> String {
    match codec {
        Codec::Vp8 | Codec::Vp9 => {
            let name = codec.name().to_lowercase();
            format!(
                "{name}enc deadline=1 cpu-used=8 end-usage=cbr target-bitrate={}000 lag-in-frames=0 \
                 min-quantizer=4 max-quantizer=56 buffer-size=1000 ! rtp{name}pay picture-id-mode=15-bit",
                kbit
            )
        }
        Codec::H264 => format!(
            "x264enc tune=zerolatency speed-preset=ultrafast bitrate={kbit} ! \
             video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1"
        ),
        Codec::Av1 => format!(
            "av1enc usage-profile=realtime cpu-used=10 end-usage=cbr target-bitrate={kbit} \
             min-quantizer=4 max-quantizer=56 ! av1parse ! rtpav1pay"
        ),
        Codec::Opus => format!("opusenc bitrate={kbit}000 ! rtpopuspay"),
    }
}

/// So many frames of a picture with something in it that moves, as fast as they can be made.
fn pictures(frames: u32, width: u32, height: u32) -> String {
    format!(
        "videotestsrc num-buffers={frames} pattern=smpte horizontal-speed=2 \
         ! video/x-raw,format=I420,width={width},height={height},framerate=30/1 ! fault"
    )
}

#[test]
fn a_picture_s_mark_survives_every_codec_at_low_bit_rates_and_after_scaling() {
    type Size = (u32, u32);
    // From which size, to which, at how many kbit/s.
    const CASES: [(Size, Size, u32); 6] = [
        ((160, 120), (160, 120), 60),
        ((640, 480), (160, 120), 60),
        ((640, 360), (320, 180), 100),
        ((334, 250), (334, 250), 150),
        ((640, 480), (640, 480), 250),
        ((1280, 720), (480, 270), 120),
    ];
    media::init().unwrap();
    let mut codecs = vec![Codec::Vp8, Codec::H264, Codec::Vp9];
    codecs.extend(Codec::Av1.can_encode().then_some(Codec::Av1));
    for codec in codecs {
        for ((width, height), (to_width, to_height), kbit) in CASES {
            let text = format!(
                "{} ! videoscale ! video/x-raw,width={to_width},height={to_height} ! {}",
                pictures(20, width, height),
                encode(codec, kbit)
            );
            let report = play(vec![Chain {
                text: &text,
                codec,
                fault: none(),
            }]);
            let (_, video) = report.videos().next().unwrap();
            let what = format!("{codec:?} {width}×{height} to {to_width}×{to_height}: {video:?}");
            assert_eq!(video.frames.received, 20, "{what}");
            // libaom at its fastest leaves a few blocks of the picture before standing when it lacks bits.
            let most = if codec == Codec::Av1 { 5 } else { 0 };
            assert!(video.frames.corrupt <= most, "{what}");
            assert_eq!(video.size, Some((to_width, to_height)), "{what}");
            assert_eq!(video.sources, [SOURCE], "{what}");
        }
    }
}

#[test]
fn sound_s_marks_survive_opus_at_low_bit_rates() {
    for (kbit, channels) in [(64, 2), (24, 2), (16, 1)] {
        let text = format!(
            "audiotestsrc wave=silence num-buffers=500 samplesperbuffer=480 \
             ! audio/x-raw,format=S16LE,rate=48000,channels={channels},layout=interleaved ! fault ! audioconvert ! {}",
            encode(Codec::Opus, kbit)
        );
        let report = play(vec![Chain {
            text: &text,
            codec: Codec::Opus,
            fault: none(),
        }]);
        let (_, audio) = report.audios().next().unwrap();
        assert!((11..=12).contains(&audio.marks), "{kbit}: {audio:?}");
        assert_eq!((audio.marks_lost, audio.gaps), (0, 0), "{kbit}: {audio:?}");
        assert_eq!(audio.sources, [SOURCE], "{kbit}");
    }
}

/// Three seconds of live pictures, as fast as they would be shown.
fn live() -> String {
    format!(
        "videotestsrc is-live=true num-buffers=90 pattern=smpte horizontal-speed=2 \
         ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! fault ! {}",
        encode(Codec::Vp8, 500)
    )
}

/// Three seconds of live sound.
fn live_sound() -> String {
    format!(
        "audiotestsrc is-live=true wave=silence num-buffers=300 samplesperbuffer=480 \
         ! audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved ! fault ! {}",
        encode(Codec::Opus, 64)
    )
}

/// What a witness sees of live pictures and hears of live sound with these faults.
fn with(video: Fault, audio: Fault) -> (VideoReport, AudioReport, Vec<Check>) {
    let (pictures, sound) = (live(), live_sound());
    let chain = |text, codec, fault| Chain { text, codec, fault };
    let mut report = play(vec![
        chain(&pictures, Codec::Vp8, video),
        chain(&sound, Codec::Opus, audio),
    ]);
    let findings = Thresholds::default().verdict(&report);
    let checks = findings.iter().map(|finding| finding.check).collect();
    let mut of = |kind| {
        let at = report
            .streams
            .iter()
            .position(|stream| stream.kind() == kind);
        report.streams.remove(at.unwrap())
    };
    let (video, audio) = (of(Kind::Video), of(Kind::Audio));
    (video.video.unwrap(), audio.audio.unwrap(), checks)
}

fn frames(lost: u64, repeated: u64, out_of_order: u64, corrupt: u64) -> Frames {
    Frames {
        sent: 90,
        received: 90 - lost + repeated,
        lost,
        repeated,
        out_of_order,
        corrupt,
        restarts: 0,
    }
}

/// At a later time, in milliseconds.
fn later(mut buffer: gst::Buffer, ms: u64) -> gst::Buffer {
    let time = buffer.pts().unwrap() + gst::ClockTime::from_mseconds(ms);
    buffer.make_mut().set_pts(time);
    buffer
}

#[test]
fn media_without_faults_have_no_findings() {
    let (video, audio, checks) = with(none(), none());
    assert_eq!(video.frames, frames(0, 0, 0, 0));
    assert!((28.0..32.0).contains(&video.frame_rate), "{video:?}");
    assert!(video.latency.unwrap().p50_ms < 200.0, "{video:?}");
    assert_eq!((audio.gaps, audio.marks_lost), (0, 0), "{audio:?}");
    assert!((6..=7).contains(&audio.marks), "{audio:?}");
    let offset = audio.video_offset.unwrap();
    assert!(offset.p50_ms.abs() < 15.0, "{offset:?}");
    assert_eq!(checks, []);
}

#[test]
fn dropped_pictures_are_lost() {
    let dropped = [20, 21, 22, 40, 60];
    let fault = move |number, buffer| match dropped.contains(&number) {
        true => Vec::new(),
        false => vec![buffer],
    };
    let (video, _, checks) = with(Box::new(fault), none());
    assert_eq!(video.frames, frames(5, 0, 0, 0));
    assert_eq!(checks, [Check::Lost]);
}

#[test]
fn repeated_pictures_are_told_from_new_ones() {
    let fault = |number, buffer: gst::Buffer| match (30..34).contains(&number) {
        true => vec![buffer.clone(), later(buffer, 10)],
        false => vec![buffer],
    };
    let (video, _, checks) = with(Box::new(fault), none());
    assert_eq!(video.frames, frames(0, 4, 0, 0));
    assert_eq!(checks, [Check::Repeated]);
}

#[test]
fn reordered_pictures_are_out_of_order_and_not_lost() {
    let mut kept = None;
    let fault = move |number, buffer: gst::Buffer| match number {
        30 | 50 => {
            kept = Some(buffer);
            Vec::new()
        }
        // The later one first, at the earlier one's time.
        31 | 51 => {
            let earlier = kept.take().unwrap();
            let (first, second) = (earlier.pts(), buffer.pts());
            let (mut later, mut earlier) = (buffer, earlier);
            later.make_mut().set_pts(first);
            earlier.make_mut().set_pts(second);
            vec![later, earlier]
        }
        _ => vec![buffer],
    };
    let (video, _, checks) = with(Box::new(fault), none());
    assert_eq!(video.frames, frames(0, 0, 2, 0));
    assert_eq!(checks, [Check::OutOfOrder]);
}

#[test]
fn a_freeze_is_as_long_as_it_is_whether_pictures_stop_or_repeat() {
    let stops = |number, buffer| match (20..60).contains(&number) {
        true => Vec::new(),
        false => vec![buffer],
    };
    let (video, _, checks) = with(Box::new(stops), none());
    // From the 20th picture to the 61st.
    let freeze = video.longest_freeze_ms;
    assert!((1250.0..2000.0).contains(&freeze), "{freeze}");
    assert_eq!(video.frames, frames(40, 0, 0, 0));
    assert_eq!(checks, [Check::Freeze, Check::Lost]);

    let mut frozen: Option<gst::Buffer> = None;
    let repeats = move |number, buffer: gst::Buffer| {
        if number == 19 {
            frozen = Some(buffer.clone());
        }
        match (&frozen, (20..60).contains(&number)) {
            (Some(frozen), true) => {
                let mut again = frozen.clone();
                again.make_mut().set_pts(buffer.pts());
                vec![again]
            }
            _ => vec![buffer],
        }
    };
    let (video, _, checks) = with(Box::new(repeats), none());
    let freeze = video.longest_freeze_ms;
    assert!((1250.0..2000.0).contains(&freeze), "{freeze}");
    assert_eq!(video.frames, frames(40, 40, 0, 0));
    assert_eq!(checks, [Check::Freeze, Check::Lost, Check::Repeated]);
}

#[test]
fn corrupt_pictures_are_counted_wherever_they_are_broken() {
    let fault = |number, mut buffer: gst::Buffer| {
        // At the top, and at the bottom only.
        let row = match number {
            30 | 31 => 20,
            50 => 230,
            _ => return vec![buffer],
        };
        let mut map = buffer.make_mut().map_writable().unwrap();
        map[320 * row..320 * (row + 8)].fill(100);
        map[320 * (row - 8)..320 * row].fill(100);
        drop(map);
        vec![buffer]
    };
    let (video, _, checks) = with(Box::new(fault), none());
    assert_eq!(video.frames, frames(0, 0, 0, 3));
    assert_eq!(checks, [Check::Corrupt]);
}

#[test]
fn added_delay_is_latency() {
    let delayed = live().replace(
        "fault",
        "fault ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 min-threshold-time=700000000",
    );
    let chain = Chain {
        text: &delayed,
        codec: Codec::Vp8,
        fault: none(),
    };
    let report = play(vec![chain]);
    let (_, video) = report.videos().next().unwrap();
    let latency = video.latency.unwrap();
    assert!((650.0..1100.0).contains(&latency.p50_ms), "{latency:?}");
    assert_eq!(video.frames, frames(0, 0, 0, 0));
    let findings = Thresholds::default().verdict(&report);
    assert_eq!(findings[0].check, Check::LatencyP95);
    assert_eq!(findings.len(), 1, "{findings:?}");
}

#[test]
fn shifted_sound_is_told_by_how_much() {
    for ms in [300, -260_i64] {
        let shift = move |_, mut buffer: gst::Buffer| {
            let time = buffer.pts().unwrap();
            let by = gst::ClockTime::from_mseconds(ms.unsigned_abs());
            // What would be before the start is left out.
            let time = match ms < 0 {
                true => time.checked_sub(by),
                false => Some(time + by),
            };
            if let Some(time) = time {
                buffer.make_mut().set_pts(time);
                return vec![buffer];
            }
            Vec::new()
        };
        let (_, audio, checks) = with(none(), Box::new(shift));
        let offset = audio.video_offset.unwrap();
        assert!((offset.p50_ms - ms as f64).abs() < 15.0, "{ms}: {offset:?}");
        assert_eq!(checks, [Check::AvOffset], "{ms}");
    }
}

#[test]
fn missing_and_silent_sound_are_gaps_of_their_length() {
    let missing = |number: u64, buffer| match (100..140).contains(&number) {
        true => Vec::new(),
        false => vec![buffer],
    };
    let silent = |number, mut buffer: gst::Buffer| {
        if (100..140).contains(&number) {
            let mut map = buffer.make_mut().map_writable().unwrap();
            map.fill(0);
        }
        vec![buffer]
    };
    for fault in [Box::new(missing) as Fault, Box::new(silent)] {
        let (video, audio, checks) = with(none(), fault);
        assert_eq!(video.frames, frames(0, 0, 0, 0));
        assert_eq!(audio.gaps, 1, "{audio:?}");
        assert!((340.0..460.0).contains(&audio.longest_gap_ms), "{audio:?}");
        assert_eq!(checks, [Check::AudioGap, Check::Silence]);
    }
}
