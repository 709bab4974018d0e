//! Taking TCP connections, and serving HTTP on each.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use tracing::{Span, debug, error_span, warn};

use super::addresses::Place;
use super::stream::Stream;
use super::tls::{self, Tls};
use super::{App, Bound, StartError, http};
use crate::config::Listen;
use crate::hub::ConnectionId;

/// Connections that the system keeps while none is accepted.
const BACKLOG: u32 = 4096;
/// Pauses after a failure to accept, doubling from the first to the last. Mostly there are no
/// descriptors left, and trying again at once would only heat the machine.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// A lasting failure to accept is logged this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// The most that the first byte of media may be: packets are shorter than 1 KiB then.
const MEDIA: u8 = 3;
/// Bytes of a request's head.
const MAX_HEAD: usize = 64 * 1024;

/// An address that is taken.
pub(super) struct Listener {
    pub(super) bound: Bound,
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// What a request knows of the connection that it came on.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) peer: SocketAddr,
    /// The connection's number, which its WebSocket has too.
    pub(super) number: ConnectionId,
    /// Whether it speaks TLS.
    pub(super) secure: bool,
    /// Who the client is by its certificate, if it has a good one.
    pub(super) certificate: Option<Arc<tls::Identity>>,
    /// Keeps the connection's place while an upgraded socket lives.
    pub(super) slot: Arc<Slot>,
}

/// A connection's place among [`Limits::connections`](crate::config::Limits::connections).
pub(super) struct Slot {
    app: Arc<App>,
    /// Its place among those of its address; a proxy has none.
    pub(super) place: Option<Place>,
    _permit: OwnedSemaphorePermit,
}

/// The sockets that systemd listens on for this process (`LISTEN_FDS`), each taken once.
pub(super) struct Inherited(Vec<std::net::TcpListener>);

impl Inherited {
    pub(super) fn take() -> Self {
        let mut passed = listenfd::ListenFd::from_env();
        let each = (0..passed.len()).map(|index| passed.take_tcp_listener(index));
        // What is no TCP listener is somebody else's.
        Self(each.filter_map(|taken| taken.ok().flatten()).collect())
    }

    /// The one that listens on an address.
    fn on(&mut self, address: SocketAddr) -> Option<std::net::TcpListener> {
        let is_meant = |it: &std::net::TcpListener| it.local_addr().ok() == Some(address);
        let index = self.0.iter().position(is_meant)?;
        Some(self.0.swap_remove(index))
    }
}

/// Takes an address, or the socket that systemd has on it.
pub(super) fn bind(
    listen: Listen,
    tls: Option<&Tls>,
    inherited: &mut Inherited,
) -> Result<Listener, StartError> {
    let Listen { address, tls: want } = listen;
    let tls = match (want, tls) {
        (false, _) => None,
        (true, Some(tls)) => Some(TlsAcceptor::from(Arc::clone(&tls.config))),
        (true, None) => return Err(StartError::NoTls(address)),
    };
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::InUse(address),
        io::ErrorKind::PermissionDenied => StartError::Forbidden(address),
        _ => StartError::Bind { address, source },
    };
    let tcp = match inherited.on(address) {
        Some(tcp) => tcp
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(tcp)),
        None => listen_on(address),
    };
    let tcp = tcp.map_err(failed)?;
    let bound = Bound {
        address: tcp.local_addr().map_err(failed)?,
        tls: want,
    };
    Ok(Listener { bound, tcp, tls })
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restarted server needn't wait for the old one's connections to fade.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until the server stops. No failure ends it.
pub(super) async fn accept(listener: Listener, app: Arc<App>) {
    let router = http::router(&app);
    let mut pause = PAUSES.0;
    let mut logged: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.tcp.accept() => accepted,
            () = app.stopped() => return,
        };
        let error = match accepted {
            Ok((tcp, peer)) => {
                pause = PAUSES.0;
                admit(tcp, peer, listener.tls.as_ref(), &router, &app);
                continue;
            }
            Err(error) => error,
        };
        app.metrics.accept_errors.inc();
        if is_about_one_connection(&error) {
            continue;
        }
        if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            warn!(%error, listener = %listener.bound, "cannot accept connections; trying again");
            logged = Some(Instant::now());
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
            () = app.stopped() => return,
        }
    }
}

/// Whether only the connection that was to be accepted is broken.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Serves a connection, if there is room for it.
pub(super) fn admit(
    tcp: TcpStream,
    peer: SocketAddr,
    tls: Option<&TlsAcceptor>,
    router: &Router,
    app: &Arc<App>,
) {
    let Ok(permit) = Arc::clone(&app.slots).try_acquire_owned() else {
        app.metrics.connections_refused.inc();
        debug!(%peer, "connection refused: the limit is reached");
        return;
    };
    // Behind a proxy each request says whose it is.
    let place = match app.addresses.is_proxy(peer) {
        true => None,
        false => match app.addresses.enter(peer.ip()) {
            Some(place) => Some(place),
            None => {
                app.metrics.address_refusals.inc();
                debug!(%peer, "connection refused: the address has as many as it may");
                return;
            }
        },
    };
    app.metrics.connections_accepted.inc();
    let slot = Slot::new(Arc::clone(app), place, permit);
    let origin = Origin {
        peer,
        number: app.switch.number(),
        secure: tls.is_some(),
        certificate: None,
        slot: Arc::new(slot),
    };
    tokio::spawn(serve(tcp, tls.cloned(), router.clone(), origin));
}

async fn serve(tcp: TcpStream, tls: Option<TlsAcceptor>, router: Router, mut origin: Origin) {
    let app = Arc::clone(&origin.slot.app);
    let limits = &app.config.limits;
    // Messages are batched by their writers; a small one must not wait for an acknowledgement.
    let _ = tcp.set_nodelay(true);
    // Whoever is gone without a goodbye is found out by the system too, where nothing is asked that
    // would have to be answered, as on a stream of events.
    let patience = limits.ping_after + limits.ping_timeout;
    let _ = socket2::SockRef::from(&tcp).set_tcp_user_timeout(Some(patience));
    let tcp = match timeout(limits.handshake, sort(tcp, &app)).await {
        Ok(Ok(Sorted::Http(tcp))) => tcp,
        Ok(Ok(Sorted::Media(tcp, first))) => {
            return origin.span().in_scope(|| hand_over(tcp, first, &app));
        }
        Ok(Err(_)) | Err(_) => {
            if tls.is_some() {
                app.metrics.tls_handshake_failures.inc();
            }
            return;
        }
    };
    let stream = match tls {
        None => Stream::plain(tcp, limits.write),
        Some(acceptor) => match secured(tcp, &acceptor, &mut origin).await {
            Some(stream) => stream,
            None => return,
        },
    };
    let (number, peer) = (origin.number, origin.peer);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(origin.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.handshake)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = app.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        span(number, peer).in_scope(|| debug!(%error, "HTTP connection failed"));
    }
}

/// Takes the TLS handshake, and who the client is by its certificate.
async fn secured(tcp: TcpStream, acceptor: &TlsAcceptor, origin: &mut Origin) -> Option<Stream> {
    let app = &origin.slot.app;
    let limits = &app.config.limits;
    let error = match timeout(limits.handshake, acceptor.accept(tcp)).await {
        Ok(Ok(tls)) => {
            let patience = limits.write;
            origin.certificate = tls::identity(tls.get_ref().1.peer_certificates());
            return Some(Stream::tls(tls, patience));
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "timeout".to_owned(),
    };
    app.metrics.tls_handshake_failures.inc();
    let span = origin.span();
    span.in_scope(|| debug!(error, "TLS handshake failed"));
    None
}

impl Origin {
    /// What log lines about the connection carry, before it is a WebSocket.
    pub(super) fn span(&self) -> Span {
        span(self.number, self.peer)
    }
}

fn span(number: ConnectionId, peer: SocketAddr) -> Span {
    error_span!("connection", id = number.0, %peer)
}

/// What a connection is for, by its first byte.
enum Sorted {
    /// HTTP or TLS.
    Http(TcpStream),
    /// Media, with its first packet.
    Media(TcpStream, Vec<u8>),
}

/// Requests begin with a letter and TLS with 22 (RFC 8446, section 5.1), so what begins with less is the
/// length of a packet of media (RFC 4571): the first is a connectivity check of a few hundred bytes.
async fn sort(mut tcp: TcpStream, app: &App) -> io::Result<Sorted> {
    let mut first = [0; 1];
    if !app.media.takes_tcp() || tcp.peek(&mut first).await? == 0 || first[0] > MEDIA {
        return Ok(Sorted::Http(tcp));
    }
    let length = tcp.read_u16().await?;
    let mut packet = vec![0; usize::from(length)];
    tcp.read_exact(&mut packet).await?;
    Ok(Sorted::Media(tcp, packet))
}

fn hand_over(tcp: TcpStream, first: Vec<u8>, app: &App) {
    match app.media.connect(tcp, first) {
        Ok(()) => {
            app.metrics.media_tcp_connections.inc();
        }
        Err(error) => {
            app.metrics.media_tcp_refused.inc();
            debug!(%error, "media over TCP was refused");
        }
    }
}

impl Slot {
    fn new(app: Arc<App>, place: Option<Place>, permit: OwnedSemaphorePermit) -> Self {
        app.metrics.connections.inc();
        Self {
            app,
            place,
            _permit: permit,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.app.metrics.connections.dec();
    }
}
