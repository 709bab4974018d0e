//! A site that has worker scripts.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// An HTTP server on loopback. It ends with the test.
pub(crate) struct Site {
    pub(crate) origin: String,
}

/// What is at a path.
#[derive(Debug, Clone)]
pub(crate) enum Page {
    Script(String),
    Moved(String),
    /// So many bytes of blanks.
    Huge(usize),
    /// No answer ever.
    Silent,
}

impl Site {
    /// A site with these scripts.
    pub(crate) async fn scripts(scripts: &[(&'static str, &str)]) -> Self {
        let pages = scripts.iter();
        Self::start(pages.map(|&(path, text)| (path, Page::Script(text.to_owned())))).await
    }

    pub(crate) async fn start(pages: impl IntoIterator<Item = (&'static str, Page)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let pages: Arc<HashMap<_, _>> = Arc::new(pages.into_iter().collect());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(answer(tcp, Arc::clone(&pages)));
            }
        });
        Self { origin }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }
}

async fn answer(mut tcp: TcpStream, pages: Arc<HashMap<&'static str, Page>>) -> Option<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(tcp.read_u8().await.ok()?));
    }
    let path = head.split(' ').nth(1)?;
    let body = match pages.get(path) {
        Some(Page::Script(text)) => text.clone(),
        Some(Page::Huge(bytes)) => " ".repeat(*bytes),
        Some(Page::Moved(to)) => {
            let moved =
                format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            return tcp.write_all(moved.as_bytes()).await.ok();
        }
        Some(Page::Silent) => {
            let _ = tcp.read_u8().await;
            return None;
        }
        None => {
            let gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            return tcp.write_all(gone).await.ok();
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: {length}\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).await.ok()?;
    tcp.write_all(body.as_bytes()).await.ok()
}
