//! The flags for what all media sessions of a peer have in common.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::media::Metrics;
use crate::peer::ice::Ice;
use crate::peer::metrics;

/// How media is received, and what is counted.
#[derive(Debug, Args)]
pub(super) struct Sessions {
    /// How long received packets wait for late ones, in milliseconds: less is quicker, more is smoother
    /// on a network that delays some packets more than others
    #[arg(
        long,
        value_name = "MS",
        env = "SWITCHBOARD_LATENCY",
        default_value_t = metrics::DEFAULT_LATENCY_MS,
        value_parser = clap::value_parser!(u32).range(..=MOST_LATENCY_MS)
    )]
    latency: u32,
    /// Answer GET /metrics here, for Prometheus: a port of 127.0.0.1, or another address with a port
    #[arg(long, value_name = "[ADDR:]PORT", env = "SWITCHBOARD_PEER_METRICS", value_parser = address)]
    metrics: Option<SocketAddr>,
}

/// The longest wait that makes sense, in milliseconds: packets are kept in memory for so long.
const MOST_LATENCY_MS: i64 = 10_000;

impl Sessions {
    /// Gives the sessions of a peer what they have in common.
    pub(super) fn apply(self, ice: Ice) -> anyhow::Result<Ice> {
        let (latency, metrics) = self.start()?;
        Ok(ice.waiting(latency).counting(metrics))
    }

    /// Makes what several peers in one process need, which find their way without help.
    #[cfg(feature = "server")]
    pub(super) fn prepare(self) -> anyhow::Result<impl Fn() -> Ice> {
        let (latency, metrics) = self.start()?;
        let plain = move || Ice::new(Vec::new(), false);
        Ok(move || plain().waiting(latency).counting(metrics.clone()))
    }

    /// The latency, and the metrics if they are asked for; they are served from now on.
    fn start(self) -> anyhow::Result<(Duration, Option<Metrics>)> {
        let latency = Duration::from_millis(self.latency.into());
        let Some(address) = self.metrics else {
            return Ok((latency, None));
        };
        let metrics = Metrics::default();
        metrics.set_receive_latency(latency);
        let bound = metrics::serve(address, metrics.clone())
            .with_context(|| format!("--metrics cannot listen on {address}"))?;
        tracing::info!("metrics at http://{bound}/metrics");
        if !bound.ip().is_loopback() {
            tracing::warn!("whoever reaches {bound} can read the metrics");
        }
        Ok((latency, Some(metrics)))
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    let wrong =
        || "write a port, as in 9100, or an address with one, as in 0.0.0.0:9100".to_owned();
    text.parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_this_machine_only() {
        assert_eq!(address("9100").unwrap().to_string(), "127.0.0.1:9100");
        assert_eq!(address("[::]:1").unwrap().to_string(), "[::]:1");
        assert!(address("localhost").is_err());
    }
}
