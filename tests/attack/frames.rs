//! Frames that are wrong, tiny, endless, or far too many.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::common::{PATIENCE, frame, wait_until};
use crate::scene::Scene;
use crate::wire::{Stream, WAYS, Way, close_code, flood, head, open, rest, say, upgrade};

/// Small, so that what they bound shows.
const LIMITS: &str = "message_bytes = 100_000\nqueue_messages = 100\nqueue_bytes = 100_000\nwrite = 2\nhandshake = 2";
/// Bytes of one message, as in [`LIMITS`].
const MESSAGE: u64 = 100_000;
const PING: u8 = 0x89;
const TEXT: u8 = 0x81;
/// A text of which more follows, a part of which more follows, and the last part.
const PARTS: (u8, u8, u8) = (0x01, 0x00, 0x80);

/// A message that the server answers: that it doesn't know the type.
const UNKNOWN: &[u8] = br#"{"message_type":"unheard-of"}"#;

/// The server has answered [`UNKNOWN`].
async fn is_answered(stream: &mut (impl Stream + ?Sized)) {
    let mut came = Vec::new();
    while !came.windows(5).any(|it| it == b"error") {
        let mut byte = [0];
        let read = tokio::io::AsyncReadExt::read_exact(stream, &mut byte);
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an answer in time")
            .unwrap();
        came.push(byte[0]);
    }
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn broken_frames_end_only_their_own_connection() {
    let mut scene = Scene::set(LIMITS, "").await;
    let long = |length: u64| {
        let mut bytes = vec![TEXT, 0xFF];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0; 4]);
        bytes
    };
    let close = |payload: &[u8]| frame(0x88, payload);
    let cases: Vec<(&str, Vec<u8>, Option<u16>)> = vec![
        ("no mask", vec![TEXT, 2, b'{', b'}'], Some(1002)),
        (
            "reserved bit 1, as of a compressed message",
            frame(0xC1, b"{}"),
            Some(1002),
        ),
        ("reserved bit 2", frame(0xA1, b"{}"), Some(1002)),
        ("reserved bit 3", frame(0x91, b"{}"), Some(1002)),
        ("an opcode for data to come", frame(0x83, b""), Some(1002)),
        (
            "an opcode for control to come",
            frame(0x8B, b""),
            Some(1002),
        ),
        ("a part of nothing", frame(0x80, b""), Some(1002)),
        (
            "a message within a message",
            [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
            Some(1002),
        ),
        ("a ping in parts", frame(0x09, b""), Some(1002)),
        ("a ping of 126 bytes", frame(PING, &[0; 126]), Some(1002)),
        ("text that is none", frame(TEXT, b"\xff\xfe"), Some(1007)),
        (
            "half a character at the end",
            frame(TEXT, b"\xe2\x82"),
            Some(1007),
        ),
        (
            "text that is none, in parts",
            [frame(0x01, b"\xe2"), frame(0x80, b"\xff")].concat(),
            Some(1007),
        ),
        ("a byte more than may be", long(MESSAGE + 1), Some(1009)),
        ("four gigabytes", long(1 << 32), Some(1009)),
        ("as much as there is", long(u64::MAX >> 1), Some(1009)),
        ("more than there is", long(u64::MAX), Some(1009)),
        ("a close with half a code", close(b"\x03"), Some(1002)),
        (
            "a close with a code of nobody",
            close(b"\x00\x07"),
            Some(1002),
        ),
        (
            "a close with a reserved code",
            close(b"\x03\xed"),
            Some(1002),
        ),
        (
            "a close with a reason that is no text",
            close(b"\x03\xe8\xff"),
            None,
        ),
        ("a close in parts", frame(0x08, b""), Some(1002)),
        ("a close, answered", close(b"\x03\xe8bye"), Some(1000)),
        (
            "two closes",
            [close(b"\x03\xe8"), close(b"\x03\xe9")].concat(),
            Some(1000),
        ),
        (
            "a message after the close",
            [close(b"\x03\xe8"), frame(TEXT, UNKNOWN)].concat(),
            Some(1000),
        ),
    ];
    for way in WAYS {
        for (name, bytes, code) in &cases {
            let mut stream = way.connect(&scene.server).await;
            open(&mut *stream, "/connect_client").await;
            say(&mut *stream, bytes).await;
            let _ = stream.shutdown().await;
            let came = rest(&mut *stream).await;
            if code.is_some() {
                assert_eq!(close_code(&came), *code, "{way:?}, {name}: {came:?}");
            }
        }
    }
    scene.is_calm_again().await;
}

#[tokio::test]
async fn single_bytes_and_ten_thousand_parts_make_a_message_like_any_other() {
    let mut scene = Scene::set(LIMITS, "").await;
    for way in WAYS {
        let mut stream = way.connect(&scene.server).await;
        open(&mut *stream, "/connect_client").await;
        for byte in frame(TEXT, UNKNOWN) {
            say(&mut *stream, &[byte]).await;
        }
        is_answered(&mut *stream).await;

        // Empty ones too, and control frames in between.
        let mut bytes = frame(PARTS.0, b"");
        for number in 0..10_000_usize {
            bytes.extend(frame(PARTS.1, b" "));
            match number % 100 {
                0 => bytes.extend(frame(PING, b"in between")),
                50 => bytes.extend(frame(0x8A, b"unasked")),
                _ => {}
            }
        }
        bytes.extend(frame(PARTS.2, UNKNOWN));
        say(&mut *stream, &bytes).await;
        is_answered(&mut *stream).await;
    }
    scene.is_calm_again().await;
}

#[tokio::test]
async fn messages_that_never_end_take_no_more_than_a_message_each() {
    const CROWD: u64 = 200;
    let mut scene = Scene::set(LIMITS, "").await;
    scene.watch_memory();
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let way = WAYS[usize::from(number % 2 == 1)];
        let mut stream = way.connect(&scene.server).await;
        open(&mut *stream, "/connect_client").await;
        let pad = [b' '; 1000];
        let bytes = match number % 4 {
            // In one frame that is announced, and not sent but for a part.
            0 | 1 => frame(TEXT, &vec![b' '; 90_000])[..60_000].to_vec(),
            // In parts, of which the last never comes.
            _ => [frame(PARTS.0, b""), frame(PARTS.1, &pad).repeat(90)].concat(),
        };
        say(&mut *stream, &bytes).await;
        crowd.push(stream);
    }
    scene.innocents_go_on().await;
    // A message, as it came and as it is put together, which doubles as it grows.
    let most = CROWD * (3 * MESSAGE + 100_000);
    assert!(scene.grown_by() < most, "{} of {most}", scene.grown_by());
    // One byte too many, in parts.
    for stream in crowd.iter_mut().skip(2).step_by(4) {
        say(&mut **stream, &frame(PARTS.1, &vec![b' '; 10_001])).await;
        assert_eq!(close_code(&rest(&mut **stream).await), Some(1009));
    }
    drop(crowd);
    scene.is_calm_again().await;
}

#[tokio::test]
async fn floods_of_control_frames_that_nobody_reads_the_answers_of_are_bounded() {
    let mut scene = Scene::set(LIMITS, "").await;
    scene.watch_memory();
    let overflows = "switchboard_queue_overflows_total";
    for (number, way) in (1..).zip(WAYS) {
        let mut stream = way.connect(&scene.server).await;
        open(&mut *stream, "/connect_client").await;
        let pings = frame(PING, &[b'p'; 125]).repeat(500);
        // Ends when the server hangs up.
        let written = flood(&mut *stream, &pings, PATIENCE).await;
        assert!(written > 0);
        scene
            .server
            .wait_for_metric(overflows, f64::from(number))
            .await;
    }
    // The queue of one connection, and what the socket and TLS have of it.
    let most = 16 << 20;
    assert!(scene.grown_by() < most, "{} of {most}", scene.grown_by());

    // Who reads the answers may ask as often as it likes, at the rate that it may.
    let mut stream = Way::Plain.connect(&scene.server).await;
    open(&mut *stream, "/connect_client").await;
    for _ in 0..20 {
        say(&mut *stream, &frame(PING, b"p").repeat(100)).await;
        let mut pongs = [0; 300];
        let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut pongs[..3]);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        assert_eq!(&pongs[..3], b"\x8a\x01p");
    }
    say(&mut *stream, &frame(TEXT, UNKNOWN)).await;
    is_answered(&mut *stream).await;
    drop(stream);
    scene.is_calm_again().await;
}

#[tokio::test]
async fn control_frames_and_parts_count_for_who_sends_too_fast() {
    let limits = "messages_per_second = 1000\nbytes_per_second = 1_000_000";
    let mut scene = Scene::set(limits, "").await;
    let kinds = [
        ("pongs", vec![], frame(0x8A, &[0; 125]).repeat(500)),
        (
            "parts",
            frame(PARTS.0, b""),
            frame(PARTS.1, b"").repeat(10_000),
        ),
    ];
    for (name, start, bytes) in kinds {
        let before = scene.server.metric("switchboard_held_back_total").await;
        let mut stream = Way::Plain.connect(&scene.server).await;
        open(&mut *stream, "/connect_client").await;
        say(&mut *stream, &start).await;
        let seconds = 2;
        let taken = flood(&mut *stream, &bytes, Duration::from_secs(seconds)).await;
        // A second's worth at once, and what the sockets hold on both sides.
        let most = (seconds + 2) * 1_000_000 + (12 << 20);
        assert!(taken < most, "{name}: {taken} of {most}");
        wait_until(PATIENCE, async || {
            scene.server.metric("switchboard_held_back_total").await > before
        })
        .await;
    }
    scene.is_calm_again().await;
}

#[tokio::test]
async fn nothing_is_ever_unpacked() {
    let mut scene = Scene::set(LIMITS, "").await;
    for way in WAYS {
        let mut stream = way.connect(&scene.server).await;
        let offers = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame\r\n";
        say(&mut *stream, upgrade("/connect_client", offers).as_bytes()).await;
        let head = head(&mut *stream).await.to_ascii_lowercase();
        assert!(
            head.starts_with("http/1.1 101") && !head.contains("extensions"),
            "{head}"
        );
        // A kilobyte that would be a megabyte.
        say(&mut *stream, &frame(0xC1, &[0x62; 1000])).await;
        assert_eq!(close_code(&rest(&mut *stream).await), Some(1002));

        let mut stream = way.connect(&scene.server).await;
        let body = "\x1f\u{8b}";
        let request = format!(
            "POST /connect HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nAccept-Encoding: gzip\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        say(&mut *stream, request.as_bytes()).await;
        let answer = String::from_utf8(rest(&mut *stream).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(
            !answer.to_ascii_lowercase().contains("content-encoding"),
            "{answer}"
        );
    }
    scene.is_calm_again().await;
}

#[tokio::test]
async fn who_goes_on_after_the_goodbye_is_cut_off() {
    let mut scene = Scene::set(LIMITS, "").await;
    for way in WAYS {
        // The server says goodbye, for a message that is too big, and hears no end of it.
        let mut stream = way.connect(&scene.server).await;
        open(&mut *stream, "/connect_client").await;
        let endless = frame(TEXT, &vec![b' '; 200_000]);
        flood(&mut *stream, &endless, PATIENCE).await;
        // The attacker says it, and then everything but.
        let mut stream = way.connect(&scene.server).await;
        open(&mut *stream, "/connect_client").await;
        say(&mut *stream, &frame(0x88, b"\x03\xe8")).await;
        let _ = stream.write_all(&frame(PING, b"").repeat(1000)).await;
        flood(&mut *stream, &frame(0x88, b"\x03\xe8"), PATIENCE).await;
        // It says it, and then neither reads nor closes: the server does.
        let mut stream = way.connect(&scene.server).await;
        open(&mut *stream, "/connect_client").await;
        say(&mut *stream, &frame(0x88, b"")).await;
        scene
            .server
            .wait_for_metric("switchboard_connections", 3.0)
            .await;
    }
    scene.is_calm_again().await;
}
