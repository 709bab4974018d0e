//! What is taken from a viewer that may only view: nothing but the wish for a picture.
//!
//! The server says who that is ([`Access`]), and relays what such a viewer negotiates as everybody's;
//! what comes over the data channels never passes the server, so that it is held here. Sound and
//! pictures of viewers need no gate: a device takes none from anybody.

use crate::dialect::cuttlefish::channels::{self, Control, Setting};
use crate::hub::{Access, CallNumber};
use crate::media::Metrics;

/// One viewer's gate.
pub(super) struct Gate {
    access: Access,
    client: CallNumber,
    metrics: Option<Metrics>,
    /// Messages that weren't taken.
    refused: u64,
    /// The channels on which that was logged.
    told: Vec<&'static str>,
}

impl Gate {
    pub(super) const fn new(access: Access, client: CallNumber, metrics: Option<Metrics>) -> Self {
        Self {
            access,
            client,
            metrics,
            refused: 0,
            told: Vec::new(),
        }
    }

    /// Whether the viewer may only view.
    pub(super) fn is_shut(&self) -> bool {
        self.access == Access::View
    }

    /// Messages that weren't taken.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether a text on this channel is taken.
    pub(super) fn takes_text(&mut self, label: &str, text: &str) -> bool {
        !self.is_shut() || only_views(label, text) || self.refuse(label)
    }

    /// Whether bytes on this channel are taken.
    pub(super) fn takes_binary(&mut self, label: &str) -> bool {
        !self.is_shut() || self.refuse(label)
    }

    /// Counts it, and logs the first of each channel. Always false.
    fn refuse(&mut self, label: &str) -> bool {
        let channel = channels::known(label);
        self.refused += 1;
        if let Some(metrics) = &self.metrics {
            metrics.control_refused(channel);
        }
        if !self.told.contains(&channel) {
            self.told.push(channel);
            tracing::info!(client = %self.client, channel, "not taken: this viewer may only view");
        }
        false
    }
}

fn only_views(label: &str, text: &str) -> bool {
    label == channels::DEVICE_CONTROL
        && matches!(
            serde_json::from_str(text),
            Ok(Control::Setting(Setting::RefreshDisplay { .. }))
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNELS: [&str; 5] = [
        channels::INPUT,
        channels::DEVICE_CONTROL,
        channels::ADB,
        "sensors-channel",
        "whatever",
    ];

    #[test]
    fn who_controls_may_send_anything() {
        let mut gate = Gate::new(Access::Control, CallNumber(1), None);
        for label in CHANNELS {
            assert!(gate.takes_text(label, "{}") && gate.takes_binary(label));
        }
        assert_eq!(gate.refused(), 0);
    }

    #[test]
    fn who_views_may_ask_for_a_picture_and_nothing_else() {
        let metrics = Metrics::default();
        let mut gate = Gate::new(Access::View, CallNumber(1), Some(metrics.clone()));
        let refresh = r#"{"command":"display","refresh_display":0}"#;
        assert!(gate.takes_text(channels::DEVICE_CONTROL, refresh));
        assert!(!gate.takes_text(channels::INPUT, refresh));
        let power = r#"{"command":"power","button_state":"down"}"#;
        let add = r#"{"command":"add-display","width":1,"height":1,"dpi":1,"refresh_rate_hz":1}"#;
        for text in [power, add, "", "nonsense"] {
            assert!(!gate.takes_text(channels::DEVICE_CONTROL, text), "{text}");
        }
        for label in CHANNELS {
            assert!(!gate.takes_binary(label), "{label}");
        }
        assert_eq!(gate.refused(), 10);
        let text = metrics.text();
        for line in [
            "switchboard_peer_controls_refused_total{channel=\"device-control\"} 5",
            "switchboard_peer_controls_refused_total{channel=\"other\"} 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
