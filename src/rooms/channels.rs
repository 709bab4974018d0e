//! An endpoint's data channels by their labels.

use str0m::channel::ChannelId;

/// Channels of one endpoint that are relayed; more stay silent.
const CHANNELS: usize = 32;
/// Bytes in a label.
const LABEL: usize = 256;

/// What an endpoint's data channels are for. Neither, unless it publishes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelUse {
    /// What it says there is passed on.
    pub says: bool,
    /// It gets what the others say.
    pub hears: bool,
}

/// Open channels.
#[derive(Debug, Default)]
pub(super) struct Channels {
    open: Vec<(ChannelId, String)>,
    pub(super) permitted: ChannelUse,
}

impl Channels {
    /// A channel opened.
    pub(super) fn open(&mut self, id: ChannelId, label: String) {
        if self.open.len() < CHANNELS && label.len() <= LABEL {
            self.open.push((id, label));
        }
    }

    /// A channel closed.
    pub(super) fn closed(&mut self, id: ChannelId) {
        self.open.retain(|(other, _)| *other != id);
    }

    /// The label of a channel whose messages are passed on.
    pub(super) fn says(&self, id: ChannelId) -> Option<&str> {
        let (_, label) = self
            .open
            .iter()
            .filter(|_| self.permitted.says)
            .find(|(other, _)| *other == id)?;
        Some(label)
    }

    /// The first channel with a label, if it gets what the others say.
    pub(super) fn hears(&self, label: &str) -> Option<ChannelId> {
        let (id, _) = self
            .open
            .iter()
            .filter(|_| self.permitted.hears)
            .find(|(_, other)| other == label)?;
        Some(*id)
    }
}
