//! Messages both ways, in both encodings (gecko.md B1).

use bytes::Bytes;
use serde_json::json;
use switchboard::worker::{Encoding, Event, Media, MediaCommand, MediaLine, Message, PostError};

use crate::{next, options, post, start, text};

const ECHO: &str = "onmessage = (event) => postMessage(event.data);";

#[tokio::test]
async fn json_values_come_back() {
    let (worker, mut events) = start(options(ECHO)).await;
    for value in [
        json!(null),
        json!("a\u{0}ä😀"),
        json!({"a": [1, 2.5, {"b": false}]}),
        json!([]),
    ] {
        post(&worker, value.clone()).await;
        assert_eq!(crate::json(&mut events).await, value);
    }
}

#[tokio::test]
async fn bytes_come_back_in_both_encodings() {
    for encoding in [Encoding::Json, Encoding::Raw] {
        let mut options = options(
            "onmessage = ({ data }) => {
               if (!(data instanceof ArrayBuffer)) throw data;
               postMessage(data); postMessage(new Uint16Array(data, 2, 1)); };",
        );
        options.encoding = encoding;
        let (worker, mut events) = start(options).await;
        let bytes = Bytes::from_static(&[0, 1, 2, 0xff]);
        worker.post(Message::Binary(bytes.clone())).await.unwrap();
        assert_eq!(
            next(&mut events).await,
            Event::Message(Message::Binary(bytes.clone()))
        );
        assert_eq!(
            next(&mut events).await,
            Event::Message(Message::Binary(bytes.slice(2..)))
        );
        worker.post(Message::Binary(Bytes::new())).await.unwrap();
        assert_eq!(
            next(&mut events).await,
            Event::Message(Message::Binary(Bytes::new()))
        );
    }
}

#[tokio::test]
async fn raw_text_is_a_string_and_other_values_are_refused() {
    let mut options = options(
        "onmessage = ({ data }) => {
           postMessage(typeof data + ' ' + data);
           try { postMessage({}); } catch (e) { postMessage(e.name); } };",
    );
    options.encoding = Encoding::Raw;
    let (worker, mut events) = start(options).await;
    worker.post(text("{\"not\": json")).await.unwrap();
    assert_eq!(
        next(&mut events).await,
        Event::Message(text("string {\"not\": json"))
    );
    assert_eq!(
        next(&mut events).await,
        Event::Message(text("DataCloneError"))
    );
}

#[tokio::test]
async fn what_json_cannot_carry_is_refused_where_it_is_posted() {
    let (_worker, mut events) = start(options(
        "const loop = {}; loop.loop = loop;
         for (const value of [() => 1, Symbol(), { f() {} }, loop, 1n, new Map(), [new Set()], { e: new Error('x') },
                              { b: new Uint8Array(1) }, Promise.resolve(), self]) {
           try { postMessage(value); postMessage('posted'); } catch (e) { postMessage(e.name); }
         }
         postMessage({ d: new Date(0), u: undefined, n: NaN, o: Object.create(null), c: new (class A { x = 1 })() });
         postMessage(undefined);",
    ))
    .await;
    for at in 0..11 {
        assert_eq!(
            crate::json(&mut events).await,
            json!("DataCloneError"),
            "{at}"
        );
    }
    let value = json!({"d": "1970-01-01T00:00:00.000Z", "n": null, "o": {}, "c": {"x": 1}});
    assert_eq!(crate::json(&mut events).await, value);
    assert_eq!(crate::json(&mut events).await, json!(null));
}

#[tokio::test]
async fn text_that_is_not_json_is_a_messageerror() {
    let (worker, mut events) = start(options(
        "onmessageerror = (e) => postMessage([e.type, e.data, e.isTrusted]);",
    ))
    .await;
    worker.post(text("{")).await.unwrap();
    assert_eq!(
        crate::json(&mut events).await,
        json!(["messageerror", null, true])
    );
}

#[tokio::test]
async fn every_listener_gets_the_message() {
    let (worker, mut events) = start(options(
        "function onmessage(e) { postMessage(['function', e.data]); }
         addEventListener('message', (e) => postMessage(['listener', e.data, e instanceof MessageEvent]));
         self.addEventListener('message', { handleEvent: () => postMessage('object') }, { once: true });",
    ))
    .await;
    post(&worker, json!(1)).await;
    assert_eq!(crate::json(&mut events).await, json!(["function", 1]));
    assert_eq!(crate::json(&mut events).await, json!(["listener", 1, true]));
    assert_eq!(crate::json(&mut events).await, json!("object"));
}

#[tokio::test]
async fn messages_keep_their_order_however_many() {
    const MESSAGES: u32 = 5000;
    let (worker, mut events) = start(options(ECHO)).await;
    let posting = async {
        for number in 0..MESSAGES {
            post(&worker, json!(number)).await;
        }
    };
    let taking = async {
        for number in 0..MESSAGES {
            assert_eq!(crate::json(&mut events).await, json!(number));
        }
    };
    tokio::join!(posting, taking);
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_on_both_sides() {
    let mut options = options(
        "try { postMessage('x'.repeat(5000)); } catch (e) { postMessage(e.name); }
         postMessage(new ArrayBuffer(4096));",
    );
    options.limits.message_bytes = 4096;
    let (worker, mut events) = start(options).await;
    assert_eq!(crate::json(&mut events).await, json!("DataCloneError"));
    assert!(
        matches!(next(&mut events).await, Event::Message(Message::Binary(it)) if it.len() == 4096)
    );
    let long = Message::Binary(vec![0; 4097].into());
    assert_eq!(worker.post(long).await, Err(PostError::TooLong));
}

#[tokio::test]
async fn the_script_sees_how_much_waits_in_the_channel() {
    let (worker, mut events) = start(options(
        "onbufferedamountlow = () => postMessage(['low', bufferedAmount]);
         onmessage = () => { bufferedAmountLowThreshold = 10; postMessage('x'.repeat(98)); postMessage(bufferedAmount); };",
    ))
    .await;
    post(&worker, json!(null)).await;
    next(&mut events).await;
    assert_eq!(crate::json(&mut events).await, json!(100));
    worker.buffered(50);
    worker.buffered(10);
    assert_eq!(crate::json(&mut events).await, json!(["low", 10]));
}

#[tokio::test]
async fn the_script_sees_and_steers_the_media() {
    let mut options = options(
        "media.onchange = () => postMessage([media.playing, media.recording]);
         media.addEventListener('error', (e) => postMessage(e.message));
         postMessage(media.lines);
         media.play('test'); media.stop(); media.record('a/b'); media.stopRecording();",
    );
    let line = MediaLine {
        kind: "video".to_owned(),
        plays: true,
        sends: false,
    };
    options.media.lines.push(line.clone());
    let (worker, mut events) = start(options).await;
    assert_eq!(
        crate::json(&mut events).await,
        json!([{"kind": "video", "plays": true, "sends": false}])
    );
    for command in [
        MediaCommand::Play("test".to_owned()),
        MediaCommand::Stop,
        MediaCommand::Record("a/b".to_owned()),
        MediaCommand::StopRecording,
    ] {
        assert_eq!(next(&mut events).await, Event::Media(command));
    }
    let mut media = Media {
        lines: vec![line],
        playing: Some("test".to_owned()),
        ..Media::default()
    };
    worker.media(media.clone()).await.unwrap();
    assert_eq!(crate::json(&mut events).await, json!(["test", null]));
    media.error = Some("there is no pipeline `x`".to_owned());
    worker.media(media).await.unwrap();
    assert_eq!(
        crate::json(&mut events).await,
        json!("there is no pipeline `x`")
    );
}
