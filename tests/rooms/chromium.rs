//! A real Chromium as a publisher and as a subscriber.

use serde_json::{Value, json};
use switchboard::rooms::Config;

use crate::driver::{Browser, Screen};
use crate::house::House;

/// Two connections in one page: `one` sends a moving picture and a tone, `two` receives. Each makes
/// its offer as the room client does: with a data channel where it sends, and without waiting for
/// candidates.
const PAGE: &str = "
    window.streams = new Set();
    window.codec = arguments[0];
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [1280, 720];
    const pen = canvas.getContext('2d');
    const draw = () => {
        for (let n = 0; n < 400; n++) {
            pen.fillStyle = `hsl(${Math.random() * 360} 90% 50%)`;
            pen.fillRect(Math.random() * 1280, Math.random() * 720, 90, 60);
        }
    };
    setInterval(draw, 40);
    const sound = new AudioContext(), tone = sound.createOscillator();
    const speaker = sound.createMediaStreamDestination();
    tone.connect(speaker); tone.start();
    const picture = canvas.captureStream(25).getVideoTracks()[0];
    const all = new MediaStream([picture, speaker.stream.getAudioTracks()[0]]);
    window.one = new RTCPeerConnection();
    for (const track of all.getTracks())
        one.addTransceiver(track, {
            direction: 'sendonly', streams: [all],
            sendEncodings: track.kind == 'video' ? arguments[1] : [{}],
        });
    window.chat = one.createDataChannel('chat');
    window.two = new RTCPeerConnection();
    for (const kind of ['audio', 'video']) two.addTransceiver(kind, {direction: 'recvonly'});
    const codecs = RTCRtpReceiver.getCapabilities('video').codecs;
    for (const pc of [one, two]) for (const t of pc.getTransceivers())
        if ((t.sender.track ?? t.receiver.track).kind == 'video')
            t.setCodecPreferences(codecs.filter(c => c.mimeType == 'video/' + codec || c.mimeType == 'video/rtx'));
    const video = document.createElement('video');
    video.muted = true;
    document.body.append(video);
    two.ontrack = event => {
        for (const stream of event.streams) {
            streams.add(stream.id);
            if (video.srcObject != stream) { video.srcObject = stream; video.play().catch(() => {}); }
        }
    };
    window.video = video;
    window.offer = async pc => { await pc.setLocalDescription(); return pc.localDescription.sdp; };";

async fn offer(browser: &Browser, which: &str) -> String {
    let offer = browser
        .run(&format!("return offer({which})"), Vec::new())
        .await;
    offer.as_str().unwrap().to_owned()
}

async fn answer(browser: &Browser, which: &str, sdp: String) {
    let script =
        format!("return {which}.setRemoteDescription({{type: 'answer', sdp: arguments[0]}})");
    browser.run(&script, vec![Value::String(sdp)]).await;
}

async fn page(codec: &str, encodings: Value) -> Browser {
    let browser = Browser::start(Screen::Desktop).await;
    browser.open("about:blank").await;
    browser.run(PAGE, vec![json!(codec), encodings]).await;
    browser
}

async fn joined(
    mut house: House,
    codec: &str,
    encodings: Value,
    fit: impl Fn(String) -> String,
) -> (House, Browser) {
    let browser = page(codec, encodings).await;
    let (key, sdp) = house.offer(&offer(&browser, "one").await, false);
    answer(&browser, "one", fit(sdp.unwrap())).await;
    let sdp = house.ask(key, &offer(&browser, "two").await).1;
    answer(&browser, "two", fit(sdp.unwrap())).await;
    (house, browser)
}

async fn plays_as_one_stream(codec: &str, encodings: Value) {
    let house = House::with(Config::default());
    let (_house, browser) = joined(house, codec, encodings, |sdp| sdp).await;
    plays(&browser).await;
}

async fn plays(browser: &Browser) {
    browser
        .until("video.videoWidth > 0 && video.currentTime > 0.5")
        .await;
    browser.until("chat.readyState == 'open'").await;
    assert_eq!(browser.run("return streams.size", vec![]).await, 1);
    let tracks = "return video.srcObject.getTracks().map(t => t.kind).sort().join()";
    assert_eq!(browser.run(tracks, vec![]).await, "audio,video");
}

#[tokio::test(flavor = "multi_thread")]
async fn vp8_plays_as_one_stream_with_sound() {
    plays_as_one_stream("VP8", json!([{}])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h264_plays_as_one_stream_with_sound() {
    plays_as_one_stream("H264", json!([{}])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simulcast_plays_as_one_stream_with_sound() {
    let encodings = json!([
        {"rid": "h"},
        {"rid": "m", "scaleResolutionDownBy": 2},
        {"rid": "l", "scaleResolutionDownBy": 4},
    ]);
    plays_as_one_stream("VP8", encodings).await;
}

/// Kurento's pages listen to each stream before they show it.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_without_sound_plays_as_a_stream_that_can_be_listened_to() {
    let mut house = House::with(Config::default());
    let browser = page("VP8", json!([{}])).await;
    let silent = offer(&browser, "one")
        .await
        .replacen("a=sendonly", "a=inactive", 1);
    let (key, sdp) = house.offer(&silent, false);
    answer(&browser, "one", sdp.unwrap()).await;
    let sdp = house.ask(key, &offer(&browser, "two").await).1;
    answer(&browser, "two", sdp.unwrap()).await;
    plays(&browser).await;
    let listen =
        "return new AudioContext().createMediaStreamSource(video.srcObject).numberOfOutputs";
    assert_eq!(browser.run(listen, vec![]).await, 1);
}

/// As where UDP is blocked: the answers name no candidates for it.
#[tokio::test(flavor = "multi_thread")]
async fn media_plays_over_tcp_alone() {
    let (house, _) = House::with_tcp(Config::default());
    let without_udp = |sdp: String| {
        let is_udp = |line: &&str| line.starts_with("a=candidate:") && line.contains(" udp ");
        let kept = sdp.lines().filter(|line| !is_udp(line));
        kept.flat_map(|line| [line, "\r\n"]).collect()
    };
    let (_house, browser) = joined(house, "VP8", json!([{}]), without_udp).await;
    plays(&browser).await;
    for which in ["one", "two"] {
        let used = "const stats = [...(await arguments[0].getStats()).values()];
            const used = stats.find(s => s.type == 'transport').selectedCandidatePairId;
            const pair = stats.find(s => s.id == used);
            return stats.find(s => s.id == pair.remoteCandidateId).protocol";
        let used = used.replace("arguments[0]", which);
        assert_eq!(browser.run(&used, vec![]).await, "tcp");
    }
}
