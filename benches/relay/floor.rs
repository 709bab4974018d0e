//! The floor: what is left of a relay without everything that a signaling server is for. A
//! connection's first message names a pair; what the second one of that name sends goes to the
//! first, and the other way round.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::{TokioAdapter, accept_async_with_config};
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use futures_util::{Sink as _, Stream as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The same as the server's.
const READ_BUFFER: usize = 2048;

/// What waits for one connection.
#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    waker: Option<Waker>,
}

type Line = Arc<Mutex<Queue>>;
type Waiting = Arc<Mutex<HashMap<String, (Line, Line)>>>;

pub(crate) fn run() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("listening on http://{}/", listener.local_addr().unwrap());
        let waiting = Waiting::default();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            tokio::spawn(serve(tcp, Arc::clone(&waiting)));
        }
    });
}

async fn serve(tcp: TcpStream, waiting: Waiting) -> Option<()> {
    // With the library's own 128 KiB it is slower: they are zeroed before every read.
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let mut socket = accept_async_with_config(tcp, Some(config)).await.ok()?;
    let name = socket.next().await?.ok()?.into_text().ok()?.to_string();
    let (mine, theirs) = match waiting.lock().unwrap().remove(&name) {
        Some((first, second)) => (second, first),
        None => (Line::default(), Line::default()),
    };
    if Arc::strong_count(&mine) == 1 {
        let lines = (Arc::clone(&mine), Arc::clone(&theirs));
        waiting.lock().unwrap().insert(name, lines);
    }
    socket.send(Message::text("ok")).await.ok()?;
    relay(socket, mine, theirs).await
}

async fn relay(
    mut socket: WebSocketStream<TokioAdapter<TcpStream>>,
    mine: Line,
    theirs: Line,
) -> Option<()> {
    let mut unflushed = false;
    poll_fn(|cx| {
        loop {
            let mut idle = true;
            match Pin::new(&mut socket).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    let mut queue = theirs.lock().unwrap();
                    queue.messages.push_back(message);
                    let waker = queue.waker.take();
                    drop(queue);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    idle = false;
                }
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            let messages = {
                let mut queue = mine.lock().unwrap();
                if queue.messages.is_empty() {
                    queue.waker = Some(cx.waker().clone());
                }
                std::mem::take(&mut queue.messages)
            };
            for message in messages {
                if Pin::new(&mut socket).start_send(message).is_err() {
                    return Poll::Ready(None);
                }
                (idle, unflushed) = (false, true);
            }
            if unflushed {
                match Pin::new(&mut socket).poll_flush(cx) {
                    Poll::Ready(Ok(())) => unflushed = false,
                    Poll::Ready(Err(_)) => return Poll::Ready(None),
                    Poll::Pending => {}
                }
            }
            if idle {
                return Poll::Pending;
            }
        }
    })
    .await
}
