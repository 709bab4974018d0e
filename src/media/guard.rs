//! Pipelines that always end, and the one clock that all of them share.

use std::sync::OnceLock;
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;

use super::MediaError;

/// How long a pipeline may take to stop before it is left to itself.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// The instant that every encoder and session calls zero.
static BASE_TIME: OnceLock<gst::ClockTime> = OnceLock::new();

/// The clock of every pipeline: the system's monotonic one.
pub(super) fn clock() -> gst::Clock {
    gst::SystemClock::obtain()
}

/// The base time of every encoder and session pipeline. One for all, so that a session can mix
/// streams of several sources, and a source can start again, without any time being converted.
pub(super) fn base_time() -> gst::ClockTime {
    *BASE_TIME.get_or_init(|| clock().time())
}

/// A pipeline that is set to NULL when it is dropped: to drop a running pipeline is a crash.
#[derive(Debug)]
pub(super) struct Guard(Option<gst::Pipeline>);

impl Guard {
    /// Takes over a pipeline, and gives it the common clock.
    pub(super) fn new(pipeline: gst::Pipeline) -> Self {
        pipeline.use_clock(Some(&clock()));
        Self(Some(pipeline))
    }

    /// Parses gst-launch text into a guarded pipeline.
    pub(super) fn launch(text: &str) -> Result<Self, MediaError> {
        let element = gst::parse::launch_full(text, None, gst::ParseFlags::FATAL_ERRORS)
            .map_err(|error| MediaError::Build(error.to_string()))?;
        let pipeline = match element.downcast::<gst::Pipeline>() {
            Ok(pipeline) => pipeline,
            Err(element) => {
                let pipeline = gst::Pipeline::new();
                pipeline
                    .add(&element)
                    .map_err(|error| MediaError::Build(error.to_string()))?;
                pipeline
            }
        };
        Ok(Self::new(pipeline))
    }

    /// Fixes the base time to the common one, before the pipeline starts.
    pub(super) fn use_common_time(&self) {
        if let Some(pipeline) = &self.0 {
            pipeline.set_start_time(gst::ClockTime::NONE);
            pipeline.set_base_time(base_time());
        }
    }

    /// The pipeline, while it isn't closed.
    pub(super) fn get(&self) -> Result<&gst::Pipeline, MediaError> {
        self.0.as_ref().ok_or(MediaError::Closed)
    }

    /// An element by its name.
    pub(super) fn find<T: IsA<gst::Element>>(&self, name: &str) -> Result<T, MediaError> {
        self.get()?
            .by_name(name)
            .and_then(|element| element.downcast::<T>().ok())
            .ok_or_else(|| MediaError::Build(format!("no element named {name} of the right kind")))
    }

    /// Changes the state.
    pub(super) fn set_state(
        &self,
        state: gst::State,
    ) -> Result<gst::StateChangeSuccess, MediaError> {
        let pipeline = self.get()?;
        pipeline
            .set_state(state)
            .map_err(|_| MediaError::Run(first_error(pipeline)))
    }

    /// Stops the pipeline away from the caller's thread and waits for it, up to a deadline.
    pub(super) async fn close(mut self) {
        let Some(pipeline) = self.0.take() else {
            return;
        };
        let name = pipeline.name();
        let stopped = tokio::task::spawn_blocking(move || stop(&pipeline));
        if tokio::time::timeout(STOP_DEADLINE, stopped).await.is_err() {
            tracing::warn!(pipeline = %name, "a pipeline didn't stop in time; it is left to itself");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(pipeline) = self.0.take() else {
            return;
        };
        // On a thread of its own: the change can wait for streaming threads. If there is no thread
        // to be had, the pipeline lives on; that leak is better than a crash.
        let keep = pipeline.clone();
        let spawned = std::thread::Builder::new()
            .name("media-stop".to_owned())
            .spawn(move || stop(&pipeline));
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread to stop a pipeline on");
            std::mem::forget(keep);
        }
    }
}

fn stop(pipeline: &gst::Pipeline) {
    if pipeline.set_state(gst::State::Null).is_err() {
        tracing::warn!(pipeline = %pipeline.name(), "a pipeline failed to stop");
    }
    if let Some(bus) = pipeline.bus() {
        // Messages hold references to elements.
        bus.set_flushing(true);
    }
}

/// What the first error on a pipeline's bus says.
pub(super) fn first_error(pipeline: &gst::Pipeline) -> String {
    pipeline
        .bus()
        .and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]))
        .map_or_else(
            || "it gave no reason".to_owned(),
            |message| describe(&message),
        )
}

/// What an error of an RTSP camera means; the camera itself says little.
fn meaning(from: &gst::Object, error: &gst::glib::Error) -> Option<&'static str> {
    let element = from.downcast_ref::<gst::Element>()?;
    if element.factory()?.name() != "rtspsrc" {
        return None;
    }
    match error.kind::<gst::ResourceError>()? {
        gst::ResourceError::NotAuthorized => {
            Some(" (the camera answers, but the user name or the password is wrong or missing)")
        }
        gst::ResourceError::NotFound => {
            Some(" (the camera answers, but has no stream at this path of the URL)")
        }
        gst::ResourceError::OpenReadWrite => {
            Some(" (nothing answers at the URL's address and port)")
        }
        _ => None,
    }
}

/// An error message in one line.
pub(super) fn describe(message: &gst::Message) -> String {
    match message.view() {
        gst::MessageView::Error(error) => {
            let from = message
                .src()
                .map(|src| src.name().to_string())
                .unwrap_or_default();
            let meaning = message.src().and_then(|src| meaning(src, &error.error()));
            format!("{from}: {}{}", error.error(), meaning.unwrap_or_default())
        }
        gst::MessageView::Eos(_) => "the media ended".to_owned(),
        _ => "it gave no reason".to_owned(),
    }
}
