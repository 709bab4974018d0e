//! What all black-box tests share: the built binary as a server, and small clients for it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary compiles this file, and none uses all of it"
)]
#![allow(clippy::unwrap_used, reason = "a helper's failure is the test's")]

pub mod process;

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::{TokioAdapter, client_async};
use async_tungstenite::tungstenite::client::IntoClientRequest as _;
use async_tungstenite::tungstenite::{Error, Message};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use process::PATIENCE;
use process::Process;

/// A running server. Killed when dropped; its log is printed if the test fails.
pub struct Server {
    process: Process,
    /// `HOST:PORT` of each listener, in order.
    pub addresses: Vec<String>,
    _config: Option<tempfile::TempDir>,
}

/// A WebSocket to the server, over TCP or what lies on top of it.
pub struct Client<S = TcpStream> {
    pub socket: WebSocketStream<TokioAdapter<S>>,
}

/// An answer to an HTTP request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Server {
    /// Starts `switchboard serve --listen 127.0.0.1:0` with more arguments, and waits until it listens.
    pub async fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments);
        Self::spawn(command, None, 1).await
    }

    /// The same, with a configuration file.
    pub async fn configured(toml: &str, arguments: &[&str]) -> Self {
        Self::configured_in(tempfile::tempdir().unwrap(), toml, arguments).await
    }

    /// The same for a file of tokens that everybody needs one of, and more configuration.
    pub async fn guarded(tokens: &str, toml: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens.toml");
        std::fs::write(&file, tokens).unwrap();
        let toml = format!("[auth.static]\nfile = {file:?}\n{toml}");
        Self::configured_in(directory, &toml, &[]).await
    }

    async fn configured_in(directory: tempfile::TempDir, toml: &str, arguments: &[&str]) -> Self {
        let file = directory.path().join("switchboard.toml");
        std::fs::write(&file, toml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&file)
            .args(arguments);
        Self::spawn(command, Some(directory), 1).await
    }

    /// Runs a command that starts a server, and waits until it has said where its listeners are.
    pub async fn spawn(
        command: Command,
        config: Option<tempfile::TempDir>,
        listeners: usize,
    ) -> Self {
        let mut process = Process::spawn(command);
        let mut addresses = Vec::new();
        while addresses.len() < listeners {
            let address = process
                .line("listener", |line| {
                    let url = line.strip_prefix("listening on ")?;
                    let (_, address) = url.split_once("://")?;
                    Some(address.trim_end_matches('/').to_owned())
                })
                .await;
            addresses.push(address);
        }
        Self {
            process,
            addresses,
            _config: config,
        }
    }

    /// Waits until the server's log has a line with `text`.
    pub async fn logged(&self, text: &str) {
        self.process.logged(text).await;
    }

    /// What the server has logged until now.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The first listener's `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// The process, for looking at its memory.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    pub async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    /// Opens a WebSocket; panics if the server refuses.
    pub async fn ws(&self, path: &str) -> Client {
        self.try_ws(path, &[]).await.unwrap()
    }

    /// Opens a WebSocket with more request headers.
    pub async fn try_ws(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, Error> {
        let mut request = format!("ws://{}{path}", self.address()).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let tcp = self.tcp().await;
        let connecting = client_async(request, tcp);
        let (socket, _) = timeout(PATIENCE, connecting)
            .await
            .expect("an answer in time")?;
        Ok(Client { socket })
    }

    /// A device that is registered, after its `config`.
    pub async fn device(&self, id: &str) -> Client {
        let mut device = self.ws("/register_device").await;
        device.register(id).await;
        assert_eq!(device.recv_json().await["message_type"], "config");
        device
    }

    /// A client that is connected to a device, after its `device_info`.
    pub async fn viewer(&self, id: &str) -> Client {
        let mut viewer = self.ws("/connect_client").await;
        viewer
            .send_json(&serde_json::json!({"message_type": "connect", "device_id": id}))
            .await;
        assert_eq!(viewer.recv_json().await["message_type"], "config");
        assert_eq!(viewer.recv_json().await["message_type"], "device_info");
        viewer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "", "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(
            "POST",
            path,
            "Content-Type: application/json\r\n",
            &body.to_string(),
        )
        .await
    }

    /// One HTTP request; `headers` are whole lines with their ends.
    pub async fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut tcp = self.tcp().await;
        // HTTP/1.0: the body ends with the connection, and is never chunked.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            self.address(),
            body.len()
        );
        // A server that refuses a large body may answer and close before it has read everything.
        let _ = tcp.write_all(request.as_bytes()).await;
        Answer::read(&mut tcp).await
    }

    /// The value of a metric, by its whole name with labels; 0 if it isn't there yet.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.body;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has a value.
    pub async fn wait_for_metric(&self, name: &str, value: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.metric(name).await;
            if (now - value).abs() < f64::EPSILON {
                return;
            }
            assert!(Instant::now() < deadline, "{name} is {now}, not {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks the server to end, and waits for it.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.ended().await
    }

    /// Asks the server to end.
    pub fn ask_to_end(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Sends the process a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        self.process.signal(signal);
    }

    /// Waits for the server's end.
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.exit().await
    }
}

impl Client {
    /// Lets it answer pings while the test does something else, until it is closed.
    pub fn stays(mut self) -> JoinHandle<(u16, String)> {
        tokio::spawn(async move {
            while let Some(message) = self.socket.next().await {
                match message {
                    Ok(Message::Close(frame)) => {
                        return frame.map_or((1005, String::new()), |frame| {
                            (frame.code.into(), frame.reason.to_string())
                        });
                    }
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
            (1006, String::new())
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A WebSocket over what is connected already.
    pub async fn over(stream: S, path: &str) -> Result<Self, Error> {
        let connecting = client_async(format!("ws://server{path}"), stream);
        let (socket, _) = timeout(PATIENCE, connecting)
            .await
            .expect("an answer in time")?;
        Ok(Self { socket })
    }

    pub async fn register(&mut self, id: &str) {
        let info = serde_json::json!({"hardware": {}});
        self.send_json(
            &serde_json::json!({"message_type": "register", "device_id": id, "device_info": info}),
        )
        .await;
    }

    pub async fn send(&mut self, message: Message) {
        timeout(PATIENCE, self.socket.send(message))
            .await
            .expect("sent in time")
            .unwrap();
    }

    pub async fn send_json(&mut self, message: &Value) {
        self.send(Message::text(message.to_string())).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    /// A `forward`, as a client sends it.
    pub async fn forward(&mut self, payload: &Value) {
        self.send_json(&serde_json::json!({"message_type": "forward", "payload": payload}))
            .await;
    }

    /// A `forward`, as a device sends it.
    pub async fn forward_to(&mut self, client: u32, payload: &Value) {
        self.send_json(&serde_json::json!({"message_type": "forward", "client_id": client, "payload": payload}))
            .await;
    }

    /// The next text message, as JSON.
    pub async fn recv_json(&mut self) -> Value {
        serde_json::from_str(&self.recv_text().await).unwrap()
    }

    /// The next text message, as it came.
    pub async fn recv_text(&mut self) -> String {
        loop {
            match self.next().await {
                Some(Ok(Message::Text(text))) => return text.as_str().to_owned(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no text message: {other:?}"),
            }
        }
    }

    /// The next message is this one.
    pub async fn expect(&mut self, message: Value) {
        assert_eq!(self.recv_json().await, message);
    }

    /// Waits for the close, and gives its code and reason; what comes before it is dropped. 1006
    /// is a connection that was lost without one.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    let code = (frame.code.into(), frame.reason.to_string());
                    // Answers the close, and waits until the server has closed the connection.
                    while let Some(Ok(_)) = self.next().await {}
                    return code;
                }
                Some(Ok(Message::Close(None))) => return (1005, String::new()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return (1006, String::new()),
            }
        }
    }

    /// The next message of any kind; `None` after the end.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        timeout(PATIENCE, self.socket.next())
            .await
            .expect("a message in time")
    }
}

impl Answer {
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut bytes = Vec::new();
        // A reset after the answer is no failure of the answer.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes))
            .await
            .expect("an answer in time");
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        Self {
            status: head
                .split(' ')
                .nth(1)
                .map_or(0, |status| status.parse().unwrap()),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Asks again and again until the answer is yes.
pub async fn wait_until(deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition().await {
        assert!(Instant::now() < end, "not in {deadline:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A WebSocket without a client library: the bytes are the test's own, and nothing is answered.
pub async fn raw_ws(server: &Server, path: &str) -> TcpStream {
    let mut tcp = server.tcp().await;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, tcp.read_u8())
            .await
            .expect("an answer in time");
        head.push(byte.unwrap());
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    tcp
}

/// A masked frame; the mask is zero, so that the payload is readable.
pub fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first_byte];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The next frame of a raw WebSocket that is short: its first byte and its payload.
pub async fn read_frame(tcp: &mut TcpStream) -> (u8, Vec<u8>) {
    let read = async {
        let first = tcp.read_u8().await.unwrap();
        let length = match tcp.read_u8().await.unwrap() {
            126 => usize::from(tcp.read_u16().await.unwrap()),
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        tcp.read_exact(&mut payload).await.unwrap();
        (first, payload)
    };
    timeout(PATIENCE, read).await.expect("a frame in time")
}
