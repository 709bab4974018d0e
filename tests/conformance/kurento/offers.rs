//! Offers of Chromium, with the lines that a server reads.

use std::fmt::Write as _;

/// Camera and microphone (section B: sendonly, BUNDLE 0 1).
pub(super) fn publisher() -> String {
    offer("sendonly", 96)
}

/// The same, to be sent back.
pub(super) fn loopback() -> String {
    offer("sendrecv", 96)
}

/// To receive both; under other payload numbers.
pub(super) fn subscriber() -> String {
    offer("recvonly", 107)
}

fn offer(direction: &str, vp8: u8) -> String {
    let rtx = vp8 + 1;
    let mut offer = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS stream\r\n"
        .to_owned();
    let media = [
        (
            "audio",
            "0",
            "111".to_owned(),
            "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n".to_owned(),
        ),
        (
            "video",
            "1",
            format!("{vp8} {rtx}"),
            format!(
                "a=rtpmap:{vp8} VP8/90000\r\na=rtcp-fb:{vp8} goog-remb\r\na=rtcp-fb:{vp8} transport-cc\r\n\
             a=rtcp-fb:{vp8} ccm fir\r\na=rtcp-fb:{vp8} nack\r\na=rtcp-fb:{vp8} nack pli\r\n\
             a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={vp8}\r\n"
            ),
        ),
    ];
    for (kind, mid, numbers, codecs) in media {
        let _ = write!(
            offer,
            "m={kind} 9 UDP/TLS/RTP/SAVPF {numbers}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=ice-options:trickle\r\n\
             a=fingerprint:sha-256 19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2\r\n\
             a=setup:actpass\r\na=mid:{mid}\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
             a={direction}\r\n"
        );
        if direction != "recvonly" {
            let _ = write!(offer, "a=msid:stream {kind}\r\n");
        }
        let _ = write!(offer, "a=rtcp-mux\r\na=rtcp-rsize\r\n{codecs}");
        if direction != "recvonly" {
            let ssrc = 1_000 + u32::from(kind == "video");
            let _ = write!(
                offer,
                "a=ssrc:{ssrc} cname:user\r\na=ssrc:{ssrc} msid:stream {kind}\r\n"
            );
        }
    }
    offer
}
