//! Where a keyframe begins, by the first bytes of a payload.

use str0m::rtp::Vp8Descriptor;

use super::sdp::Payload;

/// Whether a payload of this codec is the first of a keyframe.
pub(super) fn begins_keyframe(codec: &Payload, payload: &[u8]) -> bool {
    let is = |name: &str| codec.name.eq_ignore_ascii_case(name);
    if is("vp8") {
        Vp8Descriptor::parse(payload).is_ok_and(|d| d.starts_keyframe(payload))
    } else if is("vp9") {
        vp9(payload)
    } else if is("h264") {
        h264(payload)
    } else {
        let aggregation = payload.first();
        is("av1") && aggregation.is_some_and(|it| it & 0x08 != 0)
    }
}

/// RFC 9628, section 4.2: not predicted (P), the beginning of a frame (B), and of the lowest layer.
fn vp9(payload: &[u8]) -> bool {
    let Some(&first) = payload.first() else {
        return false;
    };
    let (picture_id, predicted, layers, begins) = (
        first & 0x80 != 0,
        first & 0x40 != 0,
        first & 0x20 != 0,
        first & 0x08 != 0,
    );
    if predicted || !begins {
        return false;
    }
    let after_id = match payload.get(1) {
        Some(id) if picture_id => 2 + usize::from(id & 0x80 != 0),
        _ => 1,
    };
    let spatial = payload.get(after_id).map_or(0, |layer| layer >> 1 & 0x07);
    !layers || spatial == 0
}

/// RFC 6184: a sequence parameter set or the beginning of an IDR slice, alone, first in an aggregate
/// (STAP-A) or in a fragment (FU-A).
fn h264(payload: &[u8]) -> bool {
    let key = |header: u8| matches!(header & 0x1f, 5 | 7);
    match payload {
        [header, _, _, inner, ..] if header & 0x1f == 24 => key(*inner),
        [header, fragment, ..] if header & 0x1f == 28 => fragment & 0x80 != 0 && key(*fragment),
        [header, ..] => key(*header),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_key(name: &str, payload: &[u8]) -> bool {
        let codec = Payload {
            pt: 96,
            rtx: None,
            name: name.to_owned(),
            clock: 90_000,
            channels: None,
            fmtp: String::new(),
        };
        begins_keyframe(&codec, payload)
    }

    #[test]
    fn vp8_keyframes_begin_with_the_first_partition_of_an_intra_frame() {
        assert!(is_key("VP8", &[0x10, 0x00, 0]));
        assert!(!is_key("VP8", &[0x10, 0x01, 0]));
        assert!(!is_key("VP8", &[0x00, 0x00, 0]));
        assert!(is_key("VP8", &[0x90, 0x80, 0x81, 0x02, 0x10, 0]));
        assert!(!is_key("VP8", &[]));
    }

    #[test]
    fn h264_keyframes_begin_with_a_parameter_set_or_an_idr_slice() {
        assert!(is_key("H264", &[0x67, 0x42]));
        assert!(is_key("H264", &[0x65, 0x88]));
        assert!(is_key("H264", &[0x78, 0, 9, 0x67, 0x42]));
        assert!(is_key("H264", &[0x7c, 0x85, 0]));
        assert!(!is_key("H264", &[0x7c, 0x45, 0]));
        assert!(!is_key("H264", &[0x41, 0x9a]));
        assert!(!is_key("H264", &[]));
    }

    #[test]
    fn vp9_keyframes_begin_where_nothing_is_predicted() {
        assert!(is_key("VP9", &[0x88, 0x01, 0]));
        assert!(!is_key("VP9", &[0xc8, 0x01, 0]));
        assert!(!is_key("VP9", &[0x80, 0x01, 0]));
        assert!(is_key("VP9", &[0xa8, 0x81, 0x01, 0x00]));
        assert!(!is_key("VP9", &[0xa8, 0x81, 0x01, 0x02]));
    }

    #[test]
    fn av1_keyframes_begin_a_coded_sequence() {
        assert!(is_key("AV1", &[0x18, 0]));
        assert!(!is_key("AV1", &[0x10, 0]));
    }
}
