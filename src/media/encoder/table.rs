//! Every encoder that we know, by codec, the best one first.
//!
//! What the elements of boards and graphics cards are called, and in which units they count, is from
//! their documentation and from other programs that use them: none of them is in the machine that
//! this was written on. That is what the trial is for.

use super::{EncoderKind, Rate};
use crate::media::codec::Codec;

/// One way to encode.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::media) struct Row {
    pub(super) codec: Codec,
    pub(super) element: &'static str,
    pub(super) kind: EncoderKind,
    /// gst-launch text from raw media to what the element takes.
    pub(super) before: &'static str,
    /// `property=value`, blanks between. What the element doesn't have is left out: those of hardware
    /// have what the hardware has. `{bits}`, `{kbits}`, `{threads}` and `{distance}` are filled in.
    pub(super) settings: &'static [&'static str],
    /// gst-launch text after the element, if any is needed.
    pub(super) after: Option<&'static str>,
    pub(super) rate: Rate,
}

/// Within each codec in the order in which they are tried.
pub(super) const ROWS: &[Row] = &[
    hardware(Codec::Vp8, "vavp8enc", PLAIN, VA, KILOBITS),
    hardware(Codec::Vp8, "nvv4l2vp8enc", JETSON, NVV4L2, BITS),
    hardware(Codec::Vp8, "v4l2vp8enc", PLAIN, V4L2, Rate::Control),
    hardware(Codec::Vp8, "vaapivp8enc", PLAIN, VAAPI, KILOBITS),
    software(Codec::Vp8, "vp8enc", &[VPX, "cpu-used=-6"], None, TARGET),
    hardware(Codec::H264, "vah264enc", BASELINE, VA, KILOBITS),
    hardware(Codec::H264, "vah264lpenc", BASELINE, VA, KILOBITS),
    hardware(Codec::H264, "nvh264enc", BASELINE, NVENC, KILOBITS),
    hardware(Codec::H264, "nvv4l2h264enc", JETSON_H264, NVV4L2, BITS),
    hardware(Codec::H264, "v4l2h264enc", LEVELLED, V4L2, Rate::Control),
    hardware(Codec::H264, "vaapih264enc", BASELINE, VAAPI, KILOBITS),
    software(Codec::H264, "x264enc", &[X264], CONSTRAINED, KILOBITS),
    software(Codec::H264, "openh264enc", &[OPENH264], CONSTRAINED, BITS),
    hardware(Codec::Vp9, "vavp9enc", PLAIN, VA, KILOBITS),
    hardware(Codec::Vp9, "nvv4l2vp9enc", JETSON, NVV4L2, BITS),
    hardware(Codec::Vp9, "v4l2vp9enc", PLAIN, V4L2, Rate::Control),
    hardware(Codec::Vp9, "vaapivp9enc", PLAIN, VAAPI, KILOBITS),
    software(
        Codec::Vp9,
        "vp9enc",
        &[VPX, "cpu-used=8 row-mt=true"],
        None,
        TARGET,
    ),
    hardware(Codec::Av1, "vaav1enc", PARSED_AV1, VA, KILOBITS),
    hardware(Codec::Av1, "nvav1enc", PARSED_AV1, NVENC, KILOBITS),
    hardware(Codec::Av1, "nvv4l2av1enc", JETSON_AV1, NVV4L2, BITS),
    software(
        Codec::Av1,
        "av1enc",
        &[AOM],
        Some("av1parse"),
        Rate::Kilobits("target-bitrate"),
    ),
    Row {
        before: "audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2",
        ..software(Codec::Opus, "opusenc", &[OPUS], None, BITS)
    },
];

const BITS: Rate = Rate::Bits("bitrate");
const KILOBITS: Rate = Rate::Kilobits("bitrate");
const TARGET: Rate = Rate::Bits("target-bitrate");

/// What stands around an element.
type Around = (&'static str, Option<&'static str>);

/// Without the format some elements take more colours, and make a profile that few can decode.
const CONVERT: &str = "videoconvert n-threads=1 ! video/x-raw,format=(string){I420,NV12}";
/// Jetson's encoders take pictures from the memory of the graphics processor.
const NVIDIA_MEMORY: &str =
    "videoconvert n-threads=1 ! nvvidconv ! video/x-raw(memory:NVMM),format=NV12";
const CONSTRAINED: Option<&str> =
    Some("video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au");
const PLAIN: Around = (CONVERT, None);
const PARSED_AV1: Around = (CONVERT, Some("av1parse"));
/// Some elements give the profile that everyone decodes its older name.
const BASELINE: Around = (
    CONVERT,
    Some(
        "video/x-h264,profile=(string){constrained-baseline,baseline} ! h264parse \
         ! video/x-h264,stream-format=byte-stream,alignment=au",
    ),
);
/// The encoder of a Raspberry Pi refuses large pictures if no level is asked for.
const LEVELLED: Around = (
    CONVERT,
    Some(
        "video/x-h264,level=(string)4,profile=(string){constrained-baseline,baseline} ! h264parse \
         ! video/x-h264,stream-format=byte-stream,alignment=au",
    ),
);
const JETSON: Around = (NVIDIA_MEMORY, None);
/// It makes baseline if nothing else is said, and doesn't say so in its caps.
const JETSON_H264: Around = (
    NVIDIA_MEMORY,
    Some("h264parse ! video/x-h264,stream-format=byte-stream,alignment=au"),
);
const JETSON_AV1: Around = (NVIDIA_MEMORY, Some("av1parse"));

const VA: &[&str] = &[
    "rate-control=cbr bitrate={kbits} cpb-size={kbits} key-int-max={distance} \
     b-frames=0 ref-frames=1 target-usage=6",
];
const VAAPI: &[&str] =
    &["rate-control=cbr bitrate={kbits} keyframe-period={distance} max-bframes=0 refs=1"];
const NVENC: &[&str] = &[
    "rc-mode=cbr bitrate={kbits} gop-size={distance} bframes=0 b-adapt=false \
     rc-lookahead=0 zerolatency=true preset=low-latency-hp",
];
const NVV4L2: &[&str] = &["control-rate=constant_bitrate bitrate={bits} \
     preset-level=UltraFastPreset maxperf-enable=true insert-sps-pps=true insert-vui=true \
     num-B-Frames=0 idrinterval={distance} iframeinterval={distance}"];
/// A device has some of these controls, and the element leaves out the others.
const V4L2: &[&str] = &[
    "extra-controls=controls,video_bitrate={bits},video_bitrate_mode=1,\
     video_gop_size={distance},h264_i_frame_period={distance},repeat_sequence_header=1",
];
/// Constant bit rate with a buffer of a second; no frame waits for a later one.
const VPX: &str = "deadline=1 threads={threads} target-bitrate={bits} end-usage=cbr lag-in-frames=0 \
     keyframe-max-dist={distance} min-quantizer=4 max-quantizer=56 buffer-size=1000 \
     buffer-initial-size=500 buffer-optimal-size=600 max-intra-bitrate=300";
const X264: &str = "tune=zerolatency speed-preset=ultrafast threads={threads} bitrate={kbits} \
     key-int-max={distance} byte-stream=true";
const OPENH264: &str = "rate-control=bitrate bitrate={bits} gop-size={distance} complexity=low \
     multi-thread={threads} background-detection=false scene-change-detection=false";
/// The default quantizers of av1enc 1.22 abort the whole process (gstreamer-notes.md, section 4). And
/// it gives no key frame when it is asked for one, so that they must come by themselves.
const AOM: &str = "usage-profile=realtime cpu-used=10 end-usage=cbr threads={threads} \
     target-bitrate={kbits} keyframe-max-dist=30 min-quantizer=4 max-quantizer=56";
const OPUS: &str = "bitrate={bits} inband-fec=true packet-loss-percentage=5";

const fn hardware(
    codec: Codec,
    element: &'static str,
    (before, after): Around,
    settings: &'static [&'static str],
    rate: Rate,
) -> Row {
    Row {
        codec,
        element,
        kind: EncoderKind::Hardware,
        before,
        settings,
        after,
        rate,
    }
}

const fn software(
    codec: Codec,
    element: &'static str,
    settings: &'static [&'static str],
    after: Option<&'static str>,
    rate: Rate,
) -> Row {
    Row {
        codec,
        element,
        kind: EncoderKind::Software,
        before: CONVERT,
        settings,
        after,
        rate,
    }
}
