//! One file: frames of up to two tracks in, a finished container out.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::Frame;
use super::record::Recorded;
use crate::media::encoder::{self, EncoderKind};
use crate::media::guard::Guard;
use crate::media::{Codec, Kind, MediaError};

/// Bytes of one track that wait to be written; more are dropped, pictures up to the next whole one.
const WAITING: u64 = 64 * 1024 * 1024;
/// A track without media for so long is ended, because the other one can't be written before it.
const STALL: gst::ClockTime = gst::ClockTime::from_seconds(30);
/// The next frame's time if the other side's clock stood still or ran back.
const TICK: gst::ClockTime = gst::ClockTime::from_useconds(1);
/// Numbers that are tried for a file whose name is taken.
const NUMBERS: u32 = 10_000;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// VP8 and VP9 with Opus as they come; H.264 and AV1 become VP8.
    Webm,
    /// Everything as it comes, but AV1, which becomes VP8.
    Matroska,
    /// H.264 and Opus as they come; other pictures become H.264.
    Mp4,
}

/// An open file.
pub(super) struct Writer {
    path: PathBuf,
    start: gst::ClockTime,
    tracks: Vec<Track>,
    pipeline: Guard,
}

struct Track {
    kind: Kind,
    input: gst_app::AppSrc,
    last: Option<gst::ClockTime>,
    /// Frames were dropped; the next must be a whole one.
    broken: bool,
    ended: bool,
}

impl Container {
    /// By the extension of a file's name.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "webm" => Some(Self::Webm),
            "mkv" => Some(Self::Matroska),
            "mp4" => Some(Self::Mp4),
            _ => None,
        }
    }

    /// The usual extension, without the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Webm => "webm",
            Self::Matroska => "mkv",
            Self::Mp4 => "mp4",
        }
    }

    /// The muxer's gst-launch text. An MP4 file has its index at its end, so that one that was cut short
    /// would be worth nothing: it is written in pieces that each have their own, until it is complete.
    const fn muxer(self) -> &'static str {
        match self {
            Self::Webm => "webmmux",
            Self::Matroska => "matroskamux",
            Self::Mp4 => "mp4mux fragment-duration=1000",
        }
    }

    /// The gst-launch text from a track's frames to what the muxer takes. A transcoded picture keeps
    /// its first size, because a file's can't change.
    fn convert_text(self, codec: Codec, caps: &gst::Caps) -> Result<String, MediaError> {
        let encoder = match (self, codec) {
            (_, Codec::Opus) | (Self::Mp4 | Self::Matroska, Codec::H264) => None,
            (Self::Webm | Self::Matroska, Codec::Vp8 | Codec::Vp9) => None,
            (Self::Webm, Codec::H264) | (Self::Webm | Self::Matroska, Codec::Av1) => {
                Some(encoder_text(Codec::Vp8)?)
            }
            (Self::Mp4, _) => Some(format!(
                "{} ! h264parse ! video/x-h264,stream-format=avc,alignment=au",
                encoder_text(Codec::H264)?
            )),
        };
        let Some(encoder) = encoder else {
            return Ok("identity silent=true".to_owned());
        };
        let field = |name| caps.structure(0)?.get::<i32>(name).ok();
        let size = match field("width").zip(field("height")) {
            Some((width, height)) => {
                format!(
                    "videoconvert n-threads=1 ! videoscale ! video/x-raw,width={width},height={height} ! "
                )
            }
            None => String::new(),
        };
        Ok(format!("decodebin ! {size}{encoder}"))
    }
}

impl Writer {
    /// Makes a file for these tracks, each with its codec and the caps of its first frame. Blocks for
    /// some milliseconds.
    pub(super) fn open(
        path: &Path,
        container: Container,
        tracks: &[(Kind, Codec, gst::Caps)],
        start: gst::ClockTime,
    ) -> Result<Self, MediaError> {
        let path = claim(path)?;
        // Unbuffered: what is recorded outlives this process, however it ends.
        let mut text = format!(
            "{} name=mux ! filesink name=file sync=false buffer-mode=unbuffered",
            container.muxer()
        );
        for (kind, codec, caps) in tracks {
            text += &format!(
                " appsrc name={kind} format=time max-bytes=0 ! {} ! mux.{kind}_0",
                container.convert_text(*codec, caps)?,
                kind = kind.name(),
            );
        }
        let pipeline = Guard::launch(&text)?;
        pipeline
            .find::<gst::Element>("file")?
            .set_property("location", path.display().to_string());
        let tracks = tracks
            .iter()
            .map(|(kind, _, caps)| {
                let input: gst_app::AppSrc = pipeline.find(kind.name())?;
                // Fixed: a browser changes its picture's size at will, and players follow the
                // frames, but no muxer takes other caps than its first.
                input.set_caps(Some(caps));
                Ok(Track {
                    kind: *kind,
                    input,
                    last: None,
                    broken: false,
                    ended: false,
                })
            })
            .collect::<Result<_, MediaError>>()?;
        pipeline.set_state(gst::State::Playing)?;
        Ok(Self {
            path,
            start,
            tracks,
            pipeline,
        })
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The messages of what writes the file.
    pub(super) fn bus(&self) -> Result<gst::Bus, MediaError> {
        self.pipeline.get()?.bus().ok_or(MediaError::Closed)
    }

    /// Adds a frame. One of a track that the file doesn't have is left out.
    pub(super) fn write(&mut self, frame: Frame) -> Result<(), MediaError> {
        let time = frame.time.saturating_sub(self.start);
        if let Some(track) = self
            .tracks
            .iter_mut()
            .find(|track| track.kind == frame.kind && !track.ended)
        {
            track.write(frame, time)?;
        }
        for track in &mut self.tracks {
            let silence = time.saturating_sub(track.last.unwrap_or_default());
            if silence > STALL && !track.ended {
                tracing::warn!(
                    kind = track.kind.name(),
                    "no media for {} s: this track of the recording ends here",
                    STALL.seconds()
                );
                track.end();
            }
        }
        Ok(())
    }

    /// Lets the file be completed; the end is told on the bus.
    pub(super) fn end(&mut self) {
        for track in &mut self.tracks {
            track.end();
        }
    }

    /// Closes the complete file.
    pub(super) async fn close(self) -> Recorded {
        let last = self.tracks.iter().filter_map(|track| track.last).max();
        self.pipeline.close().await;
        Recorded {
            path: self.path,
            duration: Duration::from_nanos(last.unwrap_or_default().nseconds()),
        }
    }
}

impl Track {
    fn write(&mut self, frame: Frame, time: gst::ClockTime) -> Result<(), MediaError> {
        if self.broken && !frame.key {
            return Ok(());
        }
        let full = self.input.current_level_bytes() > WAITING;
        if full && !self.broken {
            tracing::warn!("the disk is too slow: frames are left out of the recording");
        }
        self.broken = full;
        if full {
            return Ok(());
        }
        let time = match self.last {
            Some(last) if time <= last => last + TICK,
            _ => time,
        };
        self.last = Some(time);
        let mut buffer = frame.buffer;
        let timed = buffer.make_mut();
        timed.set_pts(time);
        // Live pictures come in the order in which they are shown.
        timed.set_dts(time);
        self.input
            .push_buffer(buffer)
            .map(|_| ())
            .map_err(|error| MediaError::Run(format!("the recording takes no more: {error}")))
    }

    fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            if let Err(error) = self.input.end_of_stream() {
                tracing::debug!(%error, "a track can't be ended");
            }
        }
    }
}

/// A recording leaves the encoders of the hardware, which can be few, to what is sent.
fn encoder_text(codec: Codec) -> Result<String, MediaError> {
    encoder::installed(codec)
        .find(|encoder| encoder.kind() == Some(EncoderKind::Software))
        .map(|encoder| encoder.launch_text(0))
        .ok_or_else(|| MediaError::Build(format!("nothing here encodes {}", codec.name())))
}

/// Makes an empty file under a name that is free: the wanted one, or that with a number.
fn claim(path: &Path) -> Result<PathBuf, MediaError> {
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy().into_owned())
        .unwrap_or_default();
    let numbered =
        (2..NUMBERS).map(|number| path.with_file_name(format!("{stem}-{number}.{extension}")));
    let failed = |why: std::io::Error| {
        MediaError::Run(format!("cannot write the file {}: {why}", path.display()))
    };
    for candidate in std::iter::once(path.to_owned()).chain(numbered) {
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&candidate)
        {
            Ok(_) => return Ok(candidate),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(std::io::ErrorKind::AlreadyExists.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let wanted = directory.path().join("call.webm");
        assert_eq!(claim(&wanted).unwrap(), wanted);
        assert_eq!(
            claim(&wanted).unwrap(),
            directory.path().join("call-2.webm")
        );
        assert_eq!(
            claim(&wanted).unwrap(),
            directory.path().join("call-3.webm")
        );
        let error = claim(Path::new("/nonexistent/x.webm"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/x.webm"), "{error}");
    }

    #[test]
    fn the_extension_says_which_kind_of_file() {
        assert_eq!(Container::of(Path::new("a.WebM")), Some(Container::Webm));
        assert_eq!(Container::of(Path::new("a/b.mp4")), Some(Container::Mp4));
        assert_eq!(Container::of(Path::new("b.mkv")), Some(Container::Matroska));
        assert_eq!(Container::of(Path::new("b.avi")), None);
        assert_eq!(Container::of(Path::new("webm")), None);
    }

    /// Ten encoded pictures of this size, from this time on.
    fn frames(width: u32, height: u32, from: gst::ClockTime) -> Vec<Frame> {
        let text = format!(
            "videotestsrc num-buffers=10 ! video/x-raw,width={width},height={height},framerate=10/1 \
             ! vp8enc deadline=1 ! appsink name=out sync=false"
        );
        let pipeline = Guard::launch(&text).unwrap();
        let out: gst_app::AppSink = pipeline.find("out").unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let frame = |sample: gst::Sample| {
            let buffer = sample.buffer_owned().unwrap();
            Frame {
                kind: Kind::Video,
                codec: Codec::Vp8,
                caps: sample.caps_owned().unwrap(),
                time: from + buffer.pts().unwrap(),
                key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
                buffer,
            }
        };
        std::iter::from_fn(|| out.pull_sample().ok())
            .map(frame)
            .collect()
    }

    #[tokio::test]
    async fn a_picture_may_change_its_size() {
        crate::media::init().unwrap();
        let directory = tempfile::tempdir().unwrap();
        for (name, container) in [("a.webm", Container::Webm), ("a.mp4", Container::Mp4)] {
            let path = directory.path().join(name);
            let mut all = frames(320, 240, gst::ClockTime::ZERO);
            all.extend(frames(160, 120, gst::ClockTime::from_seconds(1)));
            let first = [(Kind::Video, Codec::Vp8, all[0].caps.clone())];
            let mut writer = Writer::open(&path, container, &first, gst::ClockTime::ZERO).unwrap();
            for frame in all {
                writer.write(frame).unwrap();
            }
            writer.end();
            let ends = [gst::MessageType::Eos, gst::MessageType::Error];
            let end = writer.bus().unwrap();
            let end = end.timed_pop_filtered(gst::ClockTime::from_seconds(20), &ends);
            assert_eq!(end.unwrap().type_(), gst::MessageType::Eos, "{name}");
            let recorded = writer.close().await;
            assert_eq!(recorded.duration, Duration::from_millis(1900), "{name}");

            let text = format!(
                "filesrc location={} ! decodebin ! videoconvert ! appsink name=out sync=false",
                path.display()
            );
            let pipeline = Guard::launch(&text).unwrap();
            let out: gst_app::AppSink = pipeline.find("out").unwrap();
            pipeline.set_state(gst::State::Playing).unwrap();
            let played = std::iter::from_fn(|| out.pull_sample().ok()).count();
            assert_eq!(played, 20, "{name}");
        }
    }
}
