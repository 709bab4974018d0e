//! The codecs: what each is called, which elements make it, and how it looks in SDP.

use std::str::FromStr;

use gst::prelude::*;
use gstreamer as gst;

use super::encoder::{self, Encoder};
use super::session::sdp::Format;

/// Video or audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

impl Kind {
    /// The name in SDP (`m=video`), and of a pipeline file's output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }
}

/// A codec that can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// RFC 7741.
    Vp8,
    /// RFC 6184, constrained baseline, packetization mode 1.
    H264,
    /// RFC 9628, profile 0.
    Vp9,
    /// "RTP Payload Format For AV1" of the Alliance for Open Media, profile 0. Only where the element `rtpav1pay` is: it comes
    /// with the feature `rtp-plugin`.
    Av1,
    /// RFC 7587, stereo.
    Opus,
}

impl FromStr for Codec {
    type Err = String;

    /// As [`Self::from_name`], with an error for people.
    fn from_str(name: &str) -> Result<Self, String> {
        Self::from_name(name).ok_or_else(|| {
            format!(
                "unknown codec `{name}`; the codecs are {}",
                names(&Self::ALL)
            )
        })
    }
}

impl Codec {
    /// Every codec, the one that is easiest on both sides first.
    pub const ALL: [Self; 5] = [Self::Vp8, Self::H264, Self::Vp9, Self::Av1, Self::Opus];

    /// What pictures are sent in if nothing else is said. Not AV1: its encoder in software gives no key
    /// frame on demand, so that who joins or lost something waits for one for up to a second.
    pub const USUAL: [Self; 3] = [Self::Vp8, Self::H264, Self::Vp9];

    /// Video or audio.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Opus => Kind::Audio,
            _ => Kind::Video,
        }
    }

    /// The encoding name of SDP, in upper case as GStreamer wants it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::H264 => "H264",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
            Self::Opus => "OPUS",
        }
    }

    /// The codec of that name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// Whether this machine can encode and send it. Asked of the elements, never of versions.
    #[must_use]
    pub fn can_encode(self) -> bool {
        self.can_send() && encoder::installed(self).next().is_some()
    }

    /// Whether this machine can send it once it is encoded.
    #[must_use]
    pub fn can_send(self) -> bool {
        exists(self.payloader())
    }

    /// Whether this machine can take it apart when it is received.
    #[must_use]
    pub fn can_receive(self) -> bool {
        let elements = self.unpack_text().split(" ! ");
        elements
            .filter_map(|element| element.split(' ').next())
            .all(|name| name.contains('/') || exists(name))
    }

    /// The name of the caps of its encoded form.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Vp8 => "video/x-vp8",
            Self::H264 => "video/x-h264",
            Self::Vp9 => "video/x-vp9",
            Self::Av1 => "video/x-av1",
            Self::Opus => "audio/x-opus",
        }
    }

    const fn payloader(self) -> &'static str {
        match self {
            Self::Vp8 => "rtpvp8pay",
            Self::H264 => "rtph264pay",
            Self::Vp9 => "rtpvp9pay",
            Self::Av1 => "rtpav1pay",
            Self::Opus => "rtpopuspay",
        }
    }

    /// The clock rate of its RTP timestamps.
    const fn clock_rate(self) -> i32 {
        match self.kind() {
            Kind::Video => 90_000,
            Kind::Audio => 48_000,
        }
    }

    /// The gst-launch text that makes already encoded media fit for its payloader.
    pub(super) fn pass_text(self) -> &'static str {
        match self {
            Self::H264 => {
                "h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au"
            }
            Self::Av1 => "av1parse",
            Self::Opus => "opusparse",
            Self::Vp8 | Self::Vp9 => "identity silent=true",
        }
    }

    /// The gst-launch text from received packets, into the element `in`, to whole encoded frames in a
    /// form that files hold.
    pub(super) const fn unpack_text(self) -> &'static str {
        match self {
            Self::Vp8 => "rtpvp8depay name=in request-keyframe=true wait-for-keyframe=true",
            Self::Vp9 => {
                "rtpvp9depay name=in request-keyframe=true wait-for-keyframe=true \
                 ! vp9parse ! video/x-vp9,alignment=super-frame"
            }
            Self::H264 => {
                "rtph264depay name=in request-keyframe=true wait-for-keyframe=true \
                 ! h264parse config-interval=-1 ! video/x-h264,stream-format=avc,alignment=au"
            }
            Self::Av1 => {
                "rtpav1depay name=in request-keyframe=true wait-for-keyframe=true \
                 ! av1parse ! video/x-av1,stream-format=obu-stream,alignment=tu"
            }
            Self::Opus => "rtpopusdepay name=in ! opusparse",
        }
    }

    /// A payloader with its payload type and SSRC set.
    ///
    /// The SSRC is explicit because an answer without one names only the retransmission stream, and
    /// browsers then decode but never show the track (gstreamer-notes.md, section 4, 1).
    pub(super) fn make_payloader(
        self,
        pt: u8,
        ssrc: u32,
    ) -> Result<gst::Element, gst::glib::BoolError> {
        let pay = gst::ElementFactory::make(self.payloader()).build()?;
        // From text, because the type of a property differs between C and Rust payloaders.
        pay.set_property_from_str("pt", &pt.to_string());
        pay.set_property_from_str("ssrc", &ssrc.to_string());
        match self {
            Self::H264 => {
                pay.set_property_from_str("config-interval", "-1");
                pay.set_property_from_str("aggregate-mode", "zero-latency");
            }
            // Lets a receiver see that a frame is missing.
            Self::Vp8 | Self::Vp9 => pay.set_property_from_str("picture-id-mode", "15-bit"),
            Self::Av1 | Self::Opus => {}
        }
        Ok(pay)
    }

    /// The RTP caps of a stream that we offer, or answer with the parameters of the other side's offer.
    pub(super) fn rtp_caps(
        self,
        pt: u8,
        ssrc: u32,
        profile: Option<&str>,
        feedback: Option<u8>,
    ) -> gst::Caps {
        let mut caps = self.wanted_caps(pt, feedback);
        let stream = caps.make_mut();
        stream.set("ssrc", ssrc);
        if let (Self::H264, Some(profile)) = (self, profile) {
            stream.set("profile-level-id", profile);
        }
        caps
    }

    /// The RTP caps of a stream that we would like to receive.
    /// `feedback` is the id of the extension by which the packets of a transport are numbered.
    pub(super) fn wanted_caps(self, pt: u8, feedback: Option<u8>) -> gst::Caps {
        let caps = gst::Caps::builder("application/x-rtp")
            .field("media", self.kind().name())
            .field("encoding-name", self.name())
            .field("payload", i32::from(pt))
            .field("clock-rate", self.clock_rate());
        let caps = match self {
            // No `sprop-stereo`: webrtcbin compares it, and a peer with mono sound would answer
            // `recvonly`, or be answered so. What we want to hear is said by `stereo`.
            Self::Opus => caps
                .field("encoding-params", "2")
                .field("stereo", "1")
                .field("useinbandfec", "1")
                .field("minptime", "10"),
            Self::H264 => caps
                .field("packetization-mode", "1")
                .field("level-asymmetry-allowed", "1")
                .field("profile-level-id", H264_PROFILE),
            Self::Vp9 => caps.field("profile-id", "0"),
            Self::Vp8 | Self::Av1 => caps,
        }
        .field("rtcp-fb-nack-pli", self.kind() == Kind::Video)
        .field("rtcp-fb-ccm-fir", self.kind() == Kind::Video);
        match feedback {
            Some(id) => caps
                .field("rtcp-fb-transport-cc", true)
                .field(format!("extmap-{id}"), TRANSPORT_NUMBERS),
            None => caps,
        }
        .build()
    }

    /// What the payloader's own output must be. For H.264 without the profile, which the encoder
    /// states a little differently than was negotiated (gstreamer-notes.md, section 4, 3).
    ///
    /// With `feedback`, the payloader adds the extension by itself.
    pub(super) fn filter_caps(self, pt: u8, ssrc: u32, feedback: Option<u8>) -> gst::Caps {
        let caps = gst::Caps::builder("application/x-rtp")
            .field("media", self.kind().name())
            .field("encoding-name", self.name())
            .field("payload", i32::from(pt))
            .field("clock-rate", self.clock_rate())
            .field("ssrc", ssrc);
        match feedback {
            Some(id) => caps.field(format!("extmap-{id}"), TRANSPORT_NUMBERS),
            None => caps,
        }
        .build()
    }

    /// Whether a format is this codec, in whatever form.
    pub(super) fn has_name(self, format: &Format<'_>) -> bool {
        format.name.eq_ignore_ascii_case(self.name())
    }

    /// In which form we send it, for a message. See [`Self::matches`].
    pub(super) const fn form(self) -> &'static str {
        match self {
            Self::H264 => "constrained baseline (profile-level-id=42…) with packetization-mode=1",
            Self::Vp9 | Self::Av1 => "profile 0",
            Self::Vp8 | Self::Opus => "it as it is",
        }
    }

    /// Whether a format that the other side offers is this codec in a form that we send.
    pub(super) fn matches(self, format: &Format<'_>) -> bool {
        if !self.has_name(format) {
            return false;
        }
        match self {
            // Constrained baseline is 42 with the second byte's bit 0x40 or plain baseline's e0.
            Self::H264 => {
                format.parameter("packetization-mode") == Some("1")
                    && format.parameter("profile-level-id").is_some_and(|id| {
                        id.len() == 6 && id.is_ascii() && id[..2].eq_ignore_ascii_case("42")
                    })
            }
            Self::Vp9 => format.parameter("profile-id").is_none_or(|id| id == "0"),
            Self::Av1 => format.parameter("profile").is_none_or(|id| id == "0"),
            Self::Vp8 | Self::Opus => true,
        }
    }
}

/// What else could be sent, for a message.
pub(super) fn alternatives(codecs: &[Codec]) -> String {
    match codecs.is_empty() {
        true => String::new(),
        false => format!("; we could send {}: see --codec", names(codecs)),
    }
}

/// The header extension that numbers the packets of a transport
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01).
pub(super) const TRANSPORT_NUMBERS: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// Constrained baseline, level 3.1: what every browser offers.
const H264_PROFILE: &str = "42e01f";

/// Codec names for a message.
pub(super) fn names(codecs: &[Codec]) -> String {
    let names: Vec<_> = codecs.iter().map(|codec| codec.name()).collect();
    names.join(", ")
}

/// Loads the plugins of every codec that is installed.
pub(super) fn warm() {
    for codec in Codec::ALL {
        let encoders: Vec<_> = encoder::installed(codec).collect();
        let encoders = encoders.iter().map(Encoder::name);
        for name in encoders.chain([codec.payloader()]) {
            if gst::ElementFactory::make(name).build().is_err() {
                tracing::debug!(codec = codec.name(), element = name, "not available");
            }
        }
    }
}

fn exists(element: &str) -> bool {
    gst::ElementFactory::find(element).is_some()
}
