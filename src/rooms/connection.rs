//! A new connection: str0m, set up to answer an offer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use str0m::change::SdpOffer;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::format::{Codec, FormatParams};
use str0m::media::{Frequency, Pt};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Candidate, IceCreds, Rtc};

use super::MediaError;
use super::endpoint::guarded;
use super::sdp::{Offer, Payload, Selection};

/// Bytes that wait in one endpoint's data channels; a message that has no room is dropped.
const CHANNEL_BYTES: usize = 256 * 1024;
/// How often str0m says how a connection does.
const REPORTS: Duration = Duration::from_secs(1);
/// Where a subscriber's estimate begins.
pub(super) const ESTIMATE: u64 = 800_000;

/// What all endpoints of a plane have in common.
pub(super) struct Common {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) certificate: DtlsCert,
}

/// A new connection, answered.
pub(super) struct Opened {
    pub(super) rtc: Rtc,
    pub(super) answer: String,
}

/// Makes the connection for an offer. `estimates`: the path to the peer is measured.
///
/// # Errors
/// [`MediaError::Sdp`].
pub(super) fn open(
    common: &Common,
    candidates: &[Candidate],
    credentials: IceCreds,
    offer: &Offer,
    selection: &Selection,
    estimates: bool,
    feedback: bool,
) -> Result<Opened, MediaError> {
    let mut config = Rtc::builder()
        .set_crypto_provider(Arc::clone(&common.provider))
        .set_dtls_cert(common.certificate.clone())
        .set_local_ice_credentials(credentials)
        .set_ice_lite(true)
        .set_rtp_mode(true)
        .set_sctp_max_buffered_amount(CHANNEL_BYTES)
        .set_extension_map(extensions(feedback))
        .set_stats_interval(Some(REPORTS))
        .clear_codecs();
    for line in selection.lines() {
        add_codec(config.codec_config(), &line.payload);
    }
    if estimates {
        config = config.enable_bwe(Some(Bitrate::from(ESTIMATE)));
    }
    let sections = offer.sections();
    // str0m asserts where an offer contradicts itself; what remains of that must cost this endpoint only.
    guarded(|| {
        let mut rtc = config.build(Instant::now());
        for candidate in candidates {
            rtc.add_local_candidate(candidate.clone());
        }
        let offer = SdpOffer::from_sdp_string(offer.text()).map_err(|e| e.to_string())?;
        let answer = rtc
            .sdp_api()
            .accept_offer(offer)
            .map_err(|e| e.to_string())?;
        let answer = answer.to_sdp_string();
        // At a line that it can't read it stops, and takes what it has for the whole.
        let read = answer.lines().filter(|it| it.starts_with("m=")).count();
        if read != sections {
            return Err(format!(
                "only {read} of its {sections} m= sections can be read; is each line of the form letter=value?"
            ));
        }
        Ok(Opened { rtc, answer })
    })
    .map_err(MediaError::Sdp)
}

/// Exactly the offered codec under the offered numbers, so that str0m has nothing to choose.
fn add_codec(config: &mut str0m::format::CodecConfig, payload: &Payload) {
    let (codec, clock) = match payload.name.to_ascii_lowercase().as_str() {
        "opus" => (Codec::Opus, Frequency::FORTY_EIGHT_KHZ),
        "vp8" => (Codec::Vp8, Frequency::NINETY_KHZ),
        "vp9" => (Codec::Vp9, Frequency::NINETY_KHZ),
        "av1" => (Codec::Av1, Frequency::NINETY_KHZ),
        _ => (Codec::H264, Frequency::NINETY_KHZ),
    };
    config.add_config(
        Pt::from(payload.pt),
        payload.rtx.map(Pt::from),
        codec,
        clock,
        payload.channels,
        FormatParams::parse_line(&payload.fmtp),
    );
}

/// The header extensions; `feedback`: with transport-wide numbers, which cost about a tenth of a
/// packet and are only needed where a path is measured.
fn extensions(feedback: bool) -> ExtensionMap {
    let mut map = ExtensionMap::standard();
    if !feedback {
        let mut less = ExtensionMap::empty();
        for (id, extension) in map.iter() {
            if !matches!(
                extension,
                Extension::TransportSequenceNumber | Extension::AbsoluteSendTime
            ) {
                less.set(id, extension.clone());
            }
        }
        map = less;
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::config::VideoCodec;

    const SENDING: &str = include_str!("../../fuzz/offers/sending.sdp");

    fn opened(offer: &str) -> Result<Opened, MediaError> {
        let provider = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = provider.dtls_provider.generate_certificate().unwrap();
        let common = Common {
            provider,
            certificate,
        };
        let offer = Offer::parse(offer)?;
        let selection = offer.published(&[VideoCodec::Vp8], None)?;
        open(
            &common,
            &[],
            IceCreds::new(),
            &offer,
            &selection,
            false,
            true,
        )
    }

    #[test]
    fn an_offer_of_which_a_part_cannot_be_read_is_refused() {
        assert!(opened(SENDING).is_ok());
        let broken = SENDING.replacen("a=ssrc:1000 msid", "a<ssrc:1000 msid", 1);
        let why = opened(&broken).err().unwrap().to_string();
        assert!(why.contains("only 1 of its 3 m= sections"), "{why}");
    }
}
