//! `switchboard demo`: a server and test peers in one process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::Args;

use super::device::{self, Media};
use super::serve::{self, Listen};
use super::{Failure, Outcome, interrupted, say};
use crate::hub::EndpointId;
use crate::peer::link::{Dialer, ServerUrl, Trust};
use crate::server::Bound;

/// Run a server and a test device, and print the page to open
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Values for the pipelines' variables
    #[arg(value_name = "KEY=VALUE")]
    variables: Vec<String>,
    #[command(flatten)]
    listen: Listen,
    /// The device's id
    #[arg(long, default_value = "demo", value_parser = device::id)]
    id: EndpointId,
    #[command(flatten)]
    media: Media,
}

pub(super) async fn run(flags: Flags) -> Outcome {
    let id = flags.id.to_string();
    let device = flags
        .media
        .prepare(flags.id, &flags.variables)
        .await
        .map_err(Failure::Usage)?;
    let server = serve::start(flags.listen.into_overrides()).await?;
    let Some(bound) = server.addresses().into_iter().next() else {
        return Err(Failure::Usage(anyhow::anyhow!(
            "there is no address to listen on"
        )));
    };
    let page = local_url(&bound);
    let url = ServerUrl::new(&page, crate::peer::device::PATH).map_err(Failure::usage)?;
    // The server's own certificate needs no check within one process.
    let trust = Trust {
        ca: None,
        anyone: true,
    };
    let dialer = Dialer::new(url, &trust).map_err(Failure::usage)?;
    let interrupted = interrupted();
    say(format_args!(
        "open {}#device={}",
        page,
        percent_encoded(&id)
    ));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let until = |mut stopped: tokio::sync::watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let interrupt = async {
        interrupted.await;
        let _ = stop.send(true);
    };
    tokio::join!(
        interrupt,
        device.run(dialer, until(stopped.clone())),
        server.run(until(stopped)),
    );
    Ok(())
}

/// The URL under which this machine reaches a server's address.
fn local_url(bound: &Bound) -> String {
    let mut bound = *bound;
    match bound.address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => bound.address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => bound.address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    bound.to_string()
}

/// Percent-encodes what a URL's fragment can't hold (RFC 3986 section 3.5).
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
