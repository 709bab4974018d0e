use super::*;

const SESSION: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\n";

/// As Chromium offers, shortened.
fn offer(direction: &str) -> String {
    format!(
        "{SESSION}\
         m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na={direction}\r\n\
         a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\na=rtpmap:63 red/48000/2\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 106 107 98 99\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n\
         a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
         a=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=1;profile-level-id=42001f\r\n\
         a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n\
         a=rtpmap:106 H264/90000\r\na=fmtp:106 packetization-mode=1;profile-level-id=42e01f\r\n\
         a=rtpmap:107 H264/90000\r\na=fmtp:107 packetization-mode=0;profile-level-id=42e01f\r\n\
         a=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=0\r\n\
         a=rtpmap:99 VP9/90000\r\na=fmtp:99 profile-id=2\r\na={direction}\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sctp-port:5000\r\n"
    )
}

fn parsed(text: &str) -> Offer {
    Offer::parse(text).unwrap()
}

fn video(selection: &Selection) -> &Payload {
    &selection.video.as_ref().unwrap().payload
}

#[test]
fn a_publisher_gets_the_first_codec_of_the_rooms_list_with_its_retransmissions() {
    let offer = parsed(&offer("sendonly"));
    let chosen = offer.published(&[VideoCodec::Av1, VideoCodec::Vp8], None);
    let chosen = chosen.unwrap();
    assert_eq!((video(&chosen).pt, video(&chosen).rtx), (96, Some(97)));
    assert_eq!(chosen.audio.unwrap().payload.pt, 111);
}

#[test]
fn of_h264_the_constrained_baseline_in_mode_1_is_taken() {
    let offer = parsed(&offer("sendonly"));
    let chosen = offer.published(&[VideoCodec::H264], None).unwrap();
    assert_eq!(video(&chosen).pt, 106);
}

#[test]
fn a_subscriber_gets_the_format_nearest_to_the_publishers() {
    let (there, here) = (parsed(&offer("sendonly")), parsed(&offer("recvonly")));
    for (codec, pt) in [(VideoCodec::H264, 106), (VideoCodec::Vp9, 98)] {
        let published = there.published(&[codec], None).unwrap();
        assert_eq!(video(&here.subscribed(&published).unwrap()).pt, pt);
    }
    // Baseline for constrained baseline will do; another packetization mode will not.
    let published = there.published(&[VideoCodec::H264], None).unwrap();
    let without = |text: &str| offer("recvonly").replace(text, "a=rtpmap:106 X/90000");
    let less = parsed(&without("a=rtpmap:106 H264/90000"));
    assert_eq!(video(&less.subscribed(&published).unwrap()).pt, 102);
    let none = without("a=rtpmap:106 H264/90000").replace("rtpmap:102 H264", "rtpmap:102 X");
    assert!(parsed(&none).subscribed(&published).is_err());
}

#[test]
fn h264_without_parameters_takes_any() {
    let published = parsed(&offer("sendonly"));
    let published = published.published(&[VideoCodec::H264], None).unwrap();
    let bare = offer("recvonly")
        .replace(
            "a=fmtp:106 packetization-mode=1;profile-level-id=42e01f\r\n",
            "",
        )
        .replace("a=rtpmap:102 H264", "a=rtpmap:102 X");
    assert_eq!(
        video(&parsed(&bare).subscribed(&published).unwrap()).pt,
        106
    );
}

#[test]
fn a_pinned_codec_is_kept_with_its_profile() {
    let all = parsed(&offer("sendonly"));
    let first = all.published(&[VideoCodec::Vp9], None).unwrap();
    let again = all.published(&[VideoCodec::Vp8], Some(video(&first)));
    assert_eq!(video(&again.unwrap()).pt, 98);
}

#[test]
fn bundled_sections_with_port_0_are_live_and_others_are_not() {
    let bundled = offer("sendonly").replace("m=video 9", "m=video 0");
    let chosen = parsed(&bundled).published(&[VideoCodec::Vp8], None);
    assert!(chosen.unwrap().video.is_some());
    let rejected = bundled.replace("BUNDLE 0 1 2", "BUNDLE 0 2");
    let chosen = parsed(&rejected).published(&[VideoCodec::Vp8], None);
    assert!(chosen.unwrap().video.is_none());
}

#[test]
fn what_is_wrong_with_an_offer_is_said() {
    for (from, to, what) in [
        ("a=group:BUNDLE", "a=group:X", "max-bundle"),
        ("a=mid:1", "a=mid:with-hyphens", "letters and digits"),
        ("a=rtpmap:96", "a=rtpmap:111", "two meanings"),
        ("a=sendonly", "a=recvonly", "sends no audio or video"),
        ("m=video 9", "m=video", "port"),
    ] {
        let text = offer("sendonly").replace(from, to);
        let outcome =
            Offer::parse(&text).and_then(|offer| offer.published(&[VideoCodec::Vp8], None));
        let why = outcome.unwrap_err().to_string();
        assert!(why.contains(what), "{why}");
    }
}

#[test]
fn who_receives_no_audio_gets_a_silent_track_and_the_candidates() {
    let offered = parsed(&offer("recvonly"));
    let mut published = parsed(&offer("sendonly"))
        .published(&[VideoCodec::Vp8], None)
        .unwrap();
    published.audio = None;
    let selection = offered.subscribed(&published).unwrap();
    let answer = "v=0\r\na=group:BUNDLE 0 1 2\r\na=msid-semantic: WMS a b\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF\r\nc=IN IP4 0.0.0.0\r\na=candidate:1\r\na=mid:0\r\na=sendonly\r\na=msid:a t\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=setup:passive\r\na=mid:1\r\na=sendonly\r\na=msid:b u\r\na=ssrc:5 msid:b u\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\n";
    let shape = Shape {
        stream: "s",
        sends: true,
        receives: false,
        bitrate: None,
    };
    let published = fit(
        answer,
        &offered,
        &selection,
        &Shape {
            receives: true,
            ..shape
        },
    );
    assert!(
        published.contains("a=inactive") && !published.contains("silence"),
        "{published}"
    );
    let fitted = fit(answer, &offered, &selection, &shape);
    assert_eq!(
        fitted,
        "v=0\r\na=group:BUNDLE 0 1 2\r\na=msid-semantic: WMS s\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=setup:passive\r\na=candidate:1\r\na=mid:0\r\na=sendonly\r\na=msid:s silence\r\na=rtpmap:111 opus/48000/2\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=setup:passive\r\na=mid:1\r\na=sendonly\r\na=msid:s u\r\na=ssrc:5 msid:s u\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\n"
    );
}
