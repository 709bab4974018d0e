//! A TCP proxy whose connections can be cut.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Stands before a server. What goes through it ends with it.
pub(crate) struct Proxy {
    pub(crate) address: String,
    /// Counted up with each cut; whether new connections are taken.
    cuts: watch::Sender<(u32, bool)>,
}

impl Proxy {
    /// Takes connections for a server.
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cuts, cut) = watch::channel((0, true));
        let server = server.to_owned();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, mut cut) = (server.clone(), cut.clone());
                if !cut.borrow_and_update().1 {
                    continue;
                }
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, cuts }
    }

    /// Cuts all connections; `open` says whether new ones are taken.
    pub(crate) fn cut(&self, open: bool) {
        self.cuts.send_modify(|(cuts, is_open)| {
            *cuts += 1;
            *is_open = open;
        });
    }
}
