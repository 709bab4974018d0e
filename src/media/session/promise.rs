//! What webrtcbin is asked, and its answers, each within a deadline. Negotiation and statistics go
//! through here.

use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_sdp::SDPMessage;
use gstreamer_webrtc::{WebRTCSDPType, WebRTCSessionDescription};
use tokio::sync::oneshot;

use super::stats::Reply;
use crate::media::MediaError;

/// How long webrtcbin may take for one step.
const STEP: Duration = Duration::from_secs(10);

/// Lets webrtcbin make a description: `create-offer` or `create-answer`.
///
/// # Errors
/// [`MediaError::Negotiation`].
pub(super) async fn create(
    webrtc: &gst::Element,
    step: &'static str,
) -> Result<String, MediaError> {
    let options: Option<gst::Structure> = None;
    let reply = ask(webrtc, step, |webrtc, promise| {
        webrtc.emit_by_name::<()>(step, &[&options, promise]);
    })
    .await?;
    let failed = |why: String| MediaError::Negotiation { step, why };
    let field = step.trim_start_matches("create-");
    let description: WebRTCSessionDescription = reply
        .get(field)
        .map_err(|error| failed(error.to_string()))?;
    let text = description.sdp().as_text();
    text.map_err(|error| failed(error.to_string()))
}

/// Gives webrtcbin a description: `set-local-description` or `set-remote-description`.
///
/// # Errors
/// [`MediaError::Description`], [`MediaError::Negotiation`].
pub(super) async fn set(
    webrtc: &gst::Element,
    step: &'static str,
    kind: WebRTCSDPType,
    text: &str,
) -> Result<(), MediaError> {
    let sdp = SDPMessage::parse_buffer(text.as_bytes())
        .map_err(|error| MediaError::Description(error.to_string()))?;
    let description = WebRTCSessionDescription::new(kind, sdp);
    ask(webrtc, step, |webrtc, promise| {
        webrtc.emit_by_name::<()>(step, &[&description, promise]);
    })
    .await
    .map(|_| ())
}

/// Asks webrtcbin for its statistics.
///
/// # Errors
/// [`MediaError::Negotiation`].
pub(super) async fn statistics(webrtc: &gst::Element) -> Result<Reply, MediaError> {
    let pad: Option<gst::Pad> = None;
    let reply = ask(webrtc, "get-stats", |webrtc, promise| {
        webrtc.emit_by_name::<()>("get-stats", &[&pad, promise]);
    })
    .await?;
    Ok(Reply::new(&reply))
}

/// Emits a signal that answers through a promise, and waits for the answer with a deadline.
async fn ask(
    webrtc: &gst::Element,
    step: &'static str,
    emit: impl FnOnce(&gst::Element, &gst::Promise),
) -> Result<gst::Structure, MediaError> {
    let (sender, receiver) = oneshot::channel();
    // Not `Promise::new_future`: that one panics when webrtcbin goes away without an answer.
    let promise = gst::Promise::with_change_func(move |reply| {
        let reply = match reply {
            Ok(Some(reply)) => Ok(reply.to_owned()),
            Ok(None) => Ok(gst::Structure::new_empty("empty")),
            Err(error) => Err(format!("{error:?}")),
        };
        // Nobody may wait any more.
        let _ = sender.send(reply);
    });
    emit(webrtc, &promise);
    let failed = |why: String| MediaError::Negotiation { step, why };
    let reply = tokio::time::timeout(STEP, receiver)
        .await
        .map_err(|_| failed(format!("no answer within {} s", STEP.as_secs())))?
        .map_err(|_| failed("webrtcbin went away".to_owned()))?
        .map_err(failed)?;
    match reply.get::<gst::glib::Error>("error") {
        Ok(error) => Err(failed(error.message().to_owned())),
        Err(_) => Ok(reply),
    }
}
