//! Data channels: ours and the other side's, by label.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gst::glib;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_webrtc::{WebRTCDataChannel, WebRTCDataChannelState};
use tokio::sync::Notify;

use super::events::{Emitter, SessionEvent};
use crate::media::MediaError;

/// Channels in one session. One more is closed at once.
const CHANNELS: usize = 64;
/// Bytes that may wait in one channel; a message beyond is refused.
const BUFFERED: u64 = 4 * 1024 * 1024;

/// How long a closing session waits for the other side to close its channels.
const GOODBYE: Duration = Duration::from_millis(250);

/// Why a message wasn't sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// There is no such channel, or it isn't open (any more).
    #[error("the channel `{0}` isn't open")]
    NotOpen(String),
    /// The other side takes messages too slowly.
    #[error("{buffered} bytes wait in the channel `{label}` already")]
    Full {
        /// Which channel.
        label: String,
        /// How many bytes wait.
        buffered: u64,
    },
    /// It is empty: webrtcbin 1.22 sends nothing, and never returns.
    #[error("an empty message can't be sent")]
    Empty,
    /// webrtcbin refused it.
    #[error("the channel `{label}` refused a message: {why}")]
    Refused {
        /// Which channel.
        label: String,
        /// What webrtcbin said.
        why: String,
    },
}

/// The open channels of a session.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    by_label: Arc<Mutex<HashMap<String, WebRTCDataChannel>>>,
    emitter: Emitter,
    /// Told when a channel was closed.
    closed: Arc<Notify>,
}

impl Channels {
    /// Listens for the other side's channels.
    pub(super) fn listen(webrtc: &gst::Element, emitter: Emitter) -> Self {
        let channels = Self {
            by_label: Arc::default(),
            emitter,
            closed: Arc::default(),
        };
        let theirs = channels.clone();
        // The handlers are attached inside this callback: attached later they miss the first messages.
        webrtc.connect("on-data-channel", false, move |values| {
            if let Some(channel) = values
                .get(1)
                .and_then(|value| value.get::<WebRTCDataChannel>().ok())
            {
                theirs.attach(&channel);
            }
            None
        });
        channels
    }

    /// Makes a channel: ordered, reliable, announced in-band (RFC 8832).
    pub(super) fn create(
        &self,
        webrtc: &gst::Element,
        label: &str,
        protocol: &str,
    ) -> Result<(), MediaError> {
        let options = gst::Structure::builder("options")
            .field("protocol", protocol)
            .build();
        let channel = webrtc
            .emit_by_name::<Option<WebRTCDataChannel>>("create-data-channel", &[&label, &options])
            .ok_or_else(|| MediaError::Build(format!("webrtcbin makes no channel `{label}`")))?;
        self.attach(&channel);
        Ok(())
    }

    /// Sends a text message.
    pub(super) fn send_text(&self, label: &str, text: &str) -> Result<(), ChannelError> {
        let channel = self.ready(label, text.len())?;
        channel
            .send_string_full(Some(text))
            .map_err(|error| refused(label, &error))
    }

    /// Sends a binary message.
    pub(super) fn send_binary(&self, label: &str, bytes: Bytes) -> Result<(), ChannelError> {
        let channel = self.ready(label, bytes.len())?;
        let bytes = glib::Bytes::from_owned(bytes);
        channel
            .send_data_full(Some(&bytes))
            .map_err(|error| refused(label, &error))
    }

    /// Bytes that wait to be sent.
    pub(super) fn buffered(&self, label: &str) -> Option<u64> {
        Some(self.get(label)?.buffered_amount())
    }

    /// What its maker calls the channel's protocol.
    pub(super) fn protocol(&self, label: &str) -> Option<String> {
        let protocol = self.get(label)?.protocol();
        Some(protocol.map(String::from).unwrap_or_default())
    }

    /// Closes one channel, without waiting.
    pub(super) fn close_one(&self, label: &str) {
        if let Some(channel) = self.get(label) {
            channel.close();
        }
    }

    /// Closes every channel, and waits a moment for the other side to agree: that is the only
    /// goodbye that it gets.
    pub(super) async fn close(&self) {
        let open: Vec<_> = self.lock().values().cloned().collect();
        for channel in open {
            if channel.ready_state() == WebRTCDataChannelState::Open {
                channel.close();
            }
        }
        let all_closed = async {
            loop {
                let closed = self.closed.notified();
                let open = self.lock().values().any(|channel| {
                    matches!(
                        channel.ready_state(),
                        WebRTCDataChannelState::Open | WebRTCDataChannelState::Closing
                    )
                });
                if !open {
                    return;
                }
                closed.await;
            }
        };
        if tokio::time::timeout(GOODBYE, all_closed).await.is_err() {
            tracing::debug!("the other side didn't say goodbye");
        }
    }

    fn ready(&self, label: &str, more: usize) -> Result<WebRTCDataChannel, ChannelError> {
        let channel = self
            .get(label)
            .filter(|channel| channel.ready_state() == WebRTCDataChannelState::Open)
            .ok_or_else(|| ChannelError::NotOpen(label.to_owned()))?;
        if more == 0 {
            return Err(ChannelError::Empty);
        }
        let buffered = channel.buffered_amount();
        if buffered > 0 && buffered.saturating_add(more as u64) > BUFFERED {
            return Err(ChannelError::Full {
                label: label.to_owned(),
                buffered,
            });
        }
        Ok(channel)
    }

    fn get(&self, label: &str) -> Option<WebRTCDataChannel> {
        self.lock().get(label).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, WebRTCDataChannel>> {
        self.by_label.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears what happens on a channel. A later channel of the same label takes the label over.
    fn attach(&self, channel: &WebRTCDataChannel) {
        let label = channel.label().map(String::from).unwrap_or_default();
        if !self.keep(&label, channel) {
            tracing::warn!(
                CHANNELS,
                "a viewer opens too many channels; this one is ignored"
            );
            return;
        }
        let opened = Arc::new(AtomicBool::new(false));
        let open = {
            let (emitter, label) = (self.emitter.clone(), label.clone());
            move || {
                // A channel can be open here already and still say so once more.
                if !opened.swap(true, Ordering::SeqCst) {
                    emitter.emit(SessionEvent::ChannelOpen {
                        label: label.clone(),
                    });
                }
            }
        };
        let on_open = open.clone();
        channel.connect_on_open(move |_| on_open());
        let (emitter, of, first) = (self.emitter.clone(), label.clone(), open.clone());
        channel.connect_on_message_string(move |_, text| {
            first();
            let text = text.unwrap_or_default().to_owned();
            emitter.emit(SessionEvent::Text {
                label: of.clone(),
                text,
            });
        });
        let (emitter, of, first) = (self.emitter.clone(), label.clone(), open.clone());
        channel.connect_on_message_data(move |_, bytes| {
            first();
            let bytes = bytes
                .map(|bytes| Bytes::copy_from_slice(bytes))
                .unwrap_or_default();
            emitter.emit(SessionEvent::Binary {
                label: of.clone(),
                bytes,
            });
        });
        self.notice_close(channel, label);
        if channel.ready_state() == WebRTCDataChannelState::Open {
            open();
        }
    }

    /// Remembers a channel, if there is room.
    fn keep(&self, label: &str, channel: &WebRTCDataChannel) -> bool {
        let mut channels = self.lock();
        let room = channels.len() < CHANNELS || channels.contains_key(label);
        if room {
            channels.insert(label.to_owned(), channel.clone());
        }
        room
    }

    fn notice_close(&self, channel: &WebRTCDataChannel, label: String) {
        let (emitter, closed) = (self.emitter.clone(), self.closed.clone());
        // Weak: the map owns the channel that owns this callback.
        let by_label = Arc::downgrade(&self.by_label);
        channel.connect_on_close(move |channel| {
            if let Some(by_label) = by_label.upgrade() {
                let mut channels = by_label.lock().unwrap_or_else(PoisonError::into_inner);
                if channels.get(&label) == Some(channel) {
                    channels.remove(&label);
                }
            }
            closed.notify_one();
            emitter.emit(SessionEvent::ChannelClosed {
                label: label.clone(),
            });
        });
    }
}

fn refused(label: &str, error: &glib::Error) -> ChannelError {
    ChannelError::Refused {
        label: label.to_owned(),
        why: error.message().to_owned(),
    }
}
