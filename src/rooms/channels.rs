//! An endpoint's data channels by their labels.

use str0m::channel::ChannelId;

/// Channels of one endpoint that are relayed; more stay silent.
const CHANNELS: usize = 32;
/// Bytes in a label.
const LABEL: usize = 256;

/// Open channels.
#[derive(Debug, Default)]
pub(super) struct Channels(Vec<(ChannelId, String)>);

impl Channels {
    /// A channel opened.
    pub(super) fn open(&mut self, id: ChannelId, label: String) {
        if self.0.len() < CHANNELS && label.len() <= LABEL {
            self.0.push((id, label));
        }
    }

    /// A channel closed.
    pub(super) fn closed(&mut self, id: ChannelId) {
        self.0.retain(|(other, _)| *other != id);
    }

    /// The label of a channel.
    pub(super) fn label(&self, id: ChannelId) -> Option<&str> {
        let (_, label) = self.0.iter().find(|(other, _)| *other == id)?;
        Some(label)
    }

    /// The first channel with a label.
    pub(super) fn id(&self, label: &str) -> Option<ChannelId> {
        let (id, _) = self.0.iter().find(|(_, other)| other == label)?;
        Some(*id)
    }
}
