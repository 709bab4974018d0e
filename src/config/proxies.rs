//! The `[proxy]` section: who in front of the server says where requests come from.

use std::net::IpAddr;

use http::HeaderName;
use serde::Deserialize;
use toml::Spanned;

use super::accounts::Wrong;

/// Proxies that are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxies {
    /// The header with the addresses, the client's first and the last proxy's peer last.
    pub header: HeaderName,
    trusted: Vec<(IpAddr, u8)>,
}

/// The section as it was typed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    header: Option<Spanned<String>>,
    trusted: Vec<Spanned<String>>,
}

impl Section {
    pub(super) fn check(self) -> Result<Proxies, Wrong> {
        let header = match self.header {
            None => HeaderName::from_static("x-forwarded-for"),
            Some(typed) => header(typed.get_ref()).map_err(|e| (typed.span(), e))?,
        };
        let trusted = self.trusted.iter().map(|typed| {
            network(typed.get_ref()).map_err(|e| (typed.span(), format!("proxy.trusted: {e}")))
        });
        Ok(Proxies {
            header,
            trusted: trusted.collect::<Result<_, _>>()?,
        })
    }
}

impl Proxies {
    /// A header's name, and addresses or networks as in `10.0.0.0/8`.
    ///
    /// # Errors
    /// What is wrong.
    pub fn parse(name: &str, trusted: &[&str]) -> Result<Self, String> {
        Ok(Self {
            header: header(name)?,
            trusted: trusted
                .iter()
                .map(|it| network(it))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether what this address says of others is believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted
            .iter()
            .any(|&(network, bits)| match (network, address) {
                (IpAddr::V4(network), IpAddr::V4(address)) => {
                    let shift = u32::from(32 - bits);
                    let prefix = |bits: u32| bits.checked_shr(shift).unwrap_or_default();
                    prefix(network.to_bits()) == prefix(address.to_bits())
                }
                (IpAddr::V6(network), IpAddr::V6(address)) => {
                    let shift = u32::from(128 - bits);
                    let prefix = |bits: u128| bits.checked_shr(shift).unwrap_or_default();
                    prefix(network.to_bits()) == prefix(address.to_bits())
                }
                _ => false,
            })
    }
}

fn header(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| {
        format!("proxy.header: \"{name}\" is no header; write it as in x-forwarded-for")
    })
}

fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let parsed = match text.split_once('/') {
        None => text.parse().ok().map(|address: IpAddr| (address, None)),
        Some((address, bits)) => address.parse().ok().zip(bits.parse().ok().map(Some)),
    };
    let most = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
    parsed
        .map(|(address, bits)| (address, bits.unwrap_or(most(address))))
        .filter(|&(address, bits)| bits <= most(address))
        .ok_or_else(|| {
            format!(
                "\"{text}\" is no address and no network; write them as in 127.0.0.1 or 10.0.0.0/8"
            )
        })
}
