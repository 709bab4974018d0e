//! What stands for cameras in the tests: a real gst-rtsp-server, and an application that sends RTP.
//! Neither can be asked for a key frame.

#![allow(
    dead_code,
    reason = "each test binary compiles this file, and none uses all of it"
)]
#![allow(clippy::unwrap_used, reason = "a helper's failure is the test's")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use gst::prelude::*;
use gstreamer as gst;
use socket2::{Domain, Socket, Type};
use tokio::process::Command;

use crate::process::Process;

/// The picture of [`Sender`]: 24 blocks of 16×16, as `pipelines/test-clock.toml` describes them.
const CLOCK: (usize, usize) = (384, 64);
const BLOCK: usize = 16;

/// An RTSP camera: H.264 with a key frame every two seconds.
pub(crate) struct Rtsp {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl Rtsp {
    pub(crate) async fn start() -> Self {
        Self::at(0, &[]).await
    }

    /// At a port, or any; with a user and a password, or none.
    pub(crate) async fn at(port: u16, account: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/rtsp_camera.py");
        let launch = "( videotestsrc is-live=true pattern=ball \
            ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
            ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60 \
            ! video/x-h264,profile=constrained-baseline ! rtph264pay name=pay0 pt=96 \
            audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8 )";
        let mut command = Command::new("/usr/bin/python3");
        command.args([script, &port.to_string(), launch]);
        command.args(account);
        let mut process = Process::spawn(command);
        let port = process.line("port", |line| line.parse().ok()).await;
        Self { process, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/camera", self.port)
    }
}

/// An application that sends H.264 as RTP, with the time in each picture.
pub(crate) struct Sender {
    pipeline: gst::Pipeline,
    pub(crate) port: UdpPort,
}

impl Sender {
    /// With a key frame every so many pictures, of 30 in a second.
    pub(crate) fn start(key_frame_distance: u32) -> Self {
        gst::init().unwrap();
        let port = UdpPort::keep();
        let (width, height) = CLOCK;
        let pipeline = gst::parse::launch(&format!(
            "videotestsrc is-live=true pattern=black \
             ! video/x-raw,format=I420,width={width},height={height},framerate=30/1 \
             ! identity name=clock \
             ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={key_frame_distance} \
             ! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 \
             ! udpsink host=127.0.0.1 port={} sync=false",
            port.number
        ));
        let pipeline: gst::Pipeline = pipeline.unwrap().downcast().unwrap();
        let clock = pipeline.by_name("clock").unwrap();
        clock
            .static_pad("src")
            .unwrap()
            .add_probe(gst::PadProbeType::BUFFER, |_, info| {
                let buffer = info.buffer_mut().unwrap().make_mut();
                paint(&mut buffer.map_writable().unwrap(), unix_millis());
                gst::PadProbeReturn::Ok
            });
        let sender = Self { pipeline, port };
        sender.send(true);
        sender
    }

    /// Sends, or makes a pause.
    pub(crate) fn send(&self, on: bool) {
        let state = match on {
            true => gst::State::Playing,
            false => gst::State::Paused,
        };
        self.pipeline.set_state(state).unwrap();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// A UDP port that the system gives to nobody else while this lives: only who names it and allows others
/// there, as udpsrc does, gets it, and then all that comes.
pub(crate) struct UdpPort {
    pub(crate) number: u16,
    _kept: Socket,
}

impl UdpPort {
    pub(crate) fn keep() -> Self {
        let kept = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        kept.set_reuse_address(true).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        kept.bind(&any.into()).unwrap();
        let address = kept.local_addr().unwrap().as_socket();
        Self {
            number: address.unwrap().port(),
            _kept: kept,
        }
    }
}

/// The clock in a picture, from its brightness.
pub(crate) fn clock_in(luma: &[u8], width: usize) -> u64 {
    let row = &luma[width * BLOCK / 2..];
    (0..24).fold(0, |sum, bit| {
        sum << 1 | u64::from(row[bit * BLOCK + BLOCK / 2] > 128)
    })
}

/// How many milliseconds old a picture with this clock is.
pub(crate) fn age(clock: u64) -> u64 {
    unix_millis().wrapping_sub(clock) & 0xff_ffff
}

/// The time, as the clock shows it.
pub(crate) fn unix_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap() & 0xff_ffff
}

fn paint(picture: &mut [u8], clock: u64) {
    for row in picture.chunks_mut(CLOCK.0).take(BLOCK) {
        for (bit, block) in row.chunks_mut(BLOCK).enumerate() {
            block.fill(if clock >> (23 - bit) & 1 == 1 {
                235
            } else {
                16
            });
        }
    }
}
