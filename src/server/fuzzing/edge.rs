//! The edge as a whole: connections to a server, on which anything comes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use socket2::SockRef;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::super::media::Media;
use super::super::metrics::Metrics;
use super::super::{App, http, listener};
use crate::config::{Config, Cuttlefish, Proxies};

/// Turns that all tasks get after each step.
const TURNS: usize = 8;
/// How long all connections may take to end.
const END: Duration = Duration::from_secs(20);

/// What all servers have in common. Made once: it takes long.
struct Shared {
    runtime: Runtime,
    media: Arc<Media>,
    listener: TcpListener,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let shared = || -> Result<_, Box<dyn std::error::Error>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let metrics = Arc::new(Metrics::new());
        // What it says of its media nobody hears.
        let (media, _) = runtime.block_on(Media::start(&Config::default(), &[], metrics))?;
        Ok(Shared {
            runtime,
            media: Arc::new(media),
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        })
    };
    shared().unwrap_or_else(|error| panic!("{error}"))
});

/// A server without listeners, and its clients.
pub struct Edge {
    app: Arc<App>,
    router: Router,
    clients: Vec<Option<TcpStream>>,
}

impl Edge {
    /// With room for so many clients, who come by a proxy or not.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn new(clients: usize, has_proxy: bool) -> Self {
        let proxies = Proxies::parse("x-forwarded-for", &["127.0.0.0/8"]).ok();
        let config = Config {
            proxies: proxies.filter(|_| has_proxy),
            // Nothing else of this machine is to be asked.
            cuttlefish: Cuttlefish {
                device_files: false,
                ..Cuttlefish::default()
            },
            origins: Some(Vec::new()),
            ..Config::default()
        };
        let media = Arc::clone(&SHARED.media);
        let app = App::new(config, media, Arc::new(Metrics::new()));
        let app = Arc::new(app.unwrap_or_else(|error| panic!("{error}")));
        Self {
            router: http::router(&app),
            app,
            clients: std::iter::repeat_with(|| None).take(clients).collect(),
        }
    }

    /// One of the clients says this, on a new connection if it has none.
    ///
    /// # Panics
    /// If the server fails.
    pub fn send(&mut self, who: u8, bytes: &[u8]) {
        let place = usize::from(who) % self.clients.len();
        let client = self.clients[place].take();
        let mut client = client.unwrap_or_else(|| self.connect());
        // More than the system takes at once is lost.
        let _ = client.write(bytes);
        self.turn();
        self.clients[place] = hear(&mut client).then_some(client);
    }

    /// One of the clients goes, with or without a word.
    pub fn close(&mut self, who: u8, word: bool) {
        let place = usize::from(who) % self.clients.len();
        if let Some(client) = self.clients[place].take() {
            if word {
                let _ = client.shutdown(Shutdown::Write);
                self.turn();
            }
            drop(client);
            self.turn();
        }
    }

    /// All go, and nothing of them stays.
    ///
    /// # Panics
    /// If something does.
    pub fn end(mut self) {
        self.clients.clear();
        let slots = self.app.slots.acquire_many(self.app.slot_count);
        let ended = SHARED.runtime.block_on(async { timeout(END, slots).await });
        assert!(ended.is_ok(), "a connection doesn't end");
        let counts = self.app.switch.counts();
        assert_eq!((counts.endpoints, counts.rooms, counts.probes), (0, 0, 0));
    }

    fn connect(&self) -> TcpStream {
        let connect = || {
            let client = TcpStream::connect(SHARED.listener.local_addr()?)?;
            client.set_nonblocking(true)?;
            // There are many, and none shall wait for its last packets.
            SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
            let (server, peer) = SHARED.listener.accept()?;
            server.set_nonblocking(true)?;
            Ok::<_, std::io::Error>((client, server, peer))
        };
        let (client, server, peer) = connect().unwrap_or_else(|error| panic!("{error}"));
        self.admit(server, peer);
        client
    }

    fn admit(&self, server: TcpStream, peer: SocketAddr) {
        SHARED.runtime.block_on(async {
            let server = tokio::net::TcpStream::from_std(server);
            let server = server.unwrap_or_else(|error| panic!("{error}"));
            listener::admit(server, peer, None, &self.router, &self.app);
        });
    }

    fn turn(&self) {
        SHARED.runtime.block_on(async {
            for _ in 0..TURNS {
                yield_now().await;
            }
        });
    }
}

/// Takes what the server says. False: it has closed.
fn hear(client: &mut TcpStream) -> bool {
    let mut buffer = [0; 16 * 1024];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) => {
                let failed = buffer[..length].starts_with(b"HTTP/1.1 500");
                assert!(!failed, "{}", buffer[..length].escape_ascii());
            }
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}
