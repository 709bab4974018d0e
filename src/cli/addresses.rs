//! The flags for addresses, with which peers and the server find their way through the same network.

use clap::Args;

use crate::net::{Advertise, InterfaceName, InterfaceRules};

/// Which addresses carry media, and what the other side is told.
#[derive(Debug, Args)]
pub(super) struct Addresses {
    /// Tell the other side to send media to this address instead of this machine's own (repeatable): an IP address, a
    /// host name, or `stun` for the one that a STUN server sees. For NATs that pass ports on unchanged
    #[arg(
        long,
        value_name = "IP|NAME|stun",
        env = "SWITCHBOARD_ADVERTISE",
        value_delimiter = ','
    )]
    pub(super) advertise: Vec<Advertise>,
    /// Use this network interface for media (repeatable), as in eth0 or wl* [default: all but bridges of containers]
    #[arg(
        long,
        value_name = "NAME",
        env = "SWITCHBOARD_INTERFACE",
        value_delimiter = ','
    )]
    interface: Vec<InterfaceName>,
    /// Don't use this network interface for media (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "SWITCHBOARD_NO_INTERFACE",
        value_delimiter = ','
    )]
    no_interface: Vec<InterfaceName>,
}

impl Addresses {
    /// The two lists of interfaces, and what to advertise.
    pub(super) fn into_rules(self) -> (InterfaceRules, Vec<Advertise>) {
        let rules = InterfaceRules {
            allow: self.interface,
            deny: self.no_interface,
        };
        (rules, self.advertise)
    }
}
