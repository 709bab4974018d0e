//! What the host's functions share with its loop.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rquickjs::{Ctx, Persistent, Value};

use super::errors;
use super::link::{LONGEST, Link, LinkError};
use super::sandbox::{Cpu, Memory};
use crate::worker::wire::{FromHost, Sent, Start, ToHost};
use crate::worker::{Ended, Message, Overrun, Purpose, Request, Response};

/// An interrupt of the interpreter in so many looks after the parent.
const LOOK_EVERY: u32 = 16;

/// A promise that was rejected while nobody handled it, and why.
pub(super) type Rejection = (Persistent<Value<'static>>, Persistent<Value<'static>>);

pub(super) struct State {
    pub(super) start: Start,
    pub(super) cpu: Cpu,
    pub(super) memory: Memory,
    link: RefCell<Link>,
    /// Why the worker is over, once it is.
    end: Cell<Option<Overrun>>,
    is_closed: Cell<bool>,
    /// When the next timer is due.
    wake: Cell<Option<Instant>>,
    /// Bytes of messages that the script has posted.
    posted: Cell<u64>,
    sent: Cell<Sent>,
    last_load: Cell<u32>,
    fetches: Cell<usize>,
    interrupts: Cell<u32>,
    pub(super) rejections: RefCell<Vec<Rejection>>,
    /// The last script that could not be loaded, and why.
    pub(super) failed_load: RefCell<Option<(String, String)>>,
    /// Where modules came from, if not from the URL in their name.
    pub(super) redirects: RefCell<HashMap<String, String>>,
}

impl State {
    pub(super) fn new(start: Start, link: Link, cpu: Cpu, memory: Memory) -> Rc<Self> {
        Rc::new(Self {
            start,
            cpu,
            memory,
            link: RefCell::new(link),
            end: Cell::default(),
            is_closed: Cell::default(),
            wake: Cell::default(),
            posted: Cell::default(),
            sent: Cell::default(),
            last_load: Cell::default(),
            fetches: Cell::default(),
            interrupts: Cell::default(),
            rejections: RefCell::default(),
            failed_load: RefCell::default(),
            redirects: RefCell::default(),
        })
    }

    /// Sends a frame, and waits while the parent takes nothing. Without a parent it is all over.
    pub(super) fn send(&self, frame: &FromHost) {
        if self.link.borrow_mut().send(frame).is_err() {
            leave();
        }
    }

    /// The last words.
    pub(super) fn finish(&self, frame: &FromHost) -> ! {
        self.send(frame);
        // Without a parent there is nobody to tell.
        let _ = self.link.borrow_mut().flush();
        leave();
    }

    /// The next frame; `None` when a timer is due before one comes.
    pub(super) fn next(&self) -> Option<ToHost> {
        match self.link.borrow_mut().next(self.wake.get()) {
            Ok(frame) => frame,
            Err(_) => leave(),
        }
    }

    pub(super) fn close(&self) {
        self.is_closed.set(true);
    }

    pub(super) fn overrun(&self, what: Overrun) {
        self.end.set(self.end.get().or(Some(what)));
    }

    /// Which limit was overrun. Nothing of the script may run any more then.
    pub(super) fn overran(&self) -> Option<Overrun> {
        self.end.get()
    }

    /// Whether this was thrown for want of memory. The worker is over then: it could not even tell
    /// what is wrong.
    pub(super) fn look_for_memory<'js>(&self, ctx: &Ctx<'js>, thrown: &Value<'js>) -> bool {
        let has_taken_most = || self.memory.has_taken_most(&self.start.limits);
        let is_out = errors::is_out_of_memory(ctx, thrown, has_taken_most);
        if is_out {
            self.overrun(Overrun::Memory);
        }
        is_out
    }

    /// Why the worker is over, once it is.
    pub(super) fn ended(&self) -> Option<Ended> {
        match self.end.get() {
            Some(what) => Some(Ended::Overrun(what)),
            None => self.is_closed.get().then_some(Ended::Closed),
        }
    }

    /// Called by the interpreter every so often: whether to stop what runs.
    pub(super) fn interrupts(&self) -> bool {
        let count = self.interrupts.get().wrapping_add(1);
        self.interrupts.set(count);
        if self.cpu.is_used_up() {
            self.overrun(Overrun::Cpu);
            return true;
        }
        // What a long turn has said is sent meanwhile; and it ends with its parent.
        if count.is_multiple_of(LOOK_EVERY)
            && let Ok(mut link) = self.link.try_borrow_mut()
            && (link.is_cut() || link.flush().is_err())
        {
            leave();
        }
        false
    }

    pub(super) fn wake_in(&self, milliseconds: f64) {
        let seconds = milliseconds.max(0.0) / 1000.0;
        let wait = Duration::try_from_secs_f64(seconds).ok();
        let wait = wait.filter(|it| *it <= LONGEST);
        self.wake.set(wait.map(|it| Instant::now() + it));
    }

    pub(super) fn has_timer_due(&self) -> bool {
        self.wake.get().is_some_and(|it| it <= Instant::now())
    }

    /// Posts a message of the script. Says how much waits now, or `None` if it is too long.
    pub(super) fn post(&self, message: Message) -> Option<u64> {
        let bytes = message.len();
        if bytes > self.start.limits.message_bytes {
            return None;
        }
        self.posted.set(self.posted.get() + bytes as u64);
        // After the script has closed itself nobody listens any more.
        if !self.is_closed.get() {
            self.send(&FromHost::Message(message));
        }
        Some(self.buffered())
    }

    /// Bytes of the script's messages that have not left the owner's data channel.
    pub(super) fn buffered(&self) -> u64 {
        let sent = self.sent.get();
        self.posted.get().saturating_sub(sent.taken) + sent.held
    }

    pub(super) fn sent(&self, sent: Sent) -> u64 {
        self.sent.set(sent);
        self.buffered()
    }

    /// Asks for something from outside, whose answer comes as a frame.
    pub(super) fn fetch(&self, request: Request) -> Result<u32, &'static str> {
        let body = request.body.as_ref().map_or(0, Bytes::len);
        let head: usize = request.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
        if body > self.start.limits.message_bytes || head + request.url.len() > LONGEST_HEAD {
            return Err("the request is too long");
        }
        // One place is left for an import.
        if self.fetches.get() + 1 >= self.start.limits.loads {
            return Err("too many requests wait for an answer");
        }
        self.fetches.set(self.fetches.get() + 1);
        Ok(self.request(request))
    }

    /// An answer to [`Self::fetch`] came.
    pub(super) fn fetched(&self) {
        self.fetches.set(self.fetches.get().saturating_sub(1));
    }

    /// Loads a script, and waits for it.
    pub(super) fn load(&self, purpose: Purpose, url: &str) -> Result<Response, String> {
        if url.len() > LONGEST_HEAD {
            return Err("the URL is too long".to_owned());
        }
        let id = self.request(Request {
            purpose,
            url: url.to_owned(),
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: None,
        });
        let answer = self.link.borrow_mut().wait_for(|frame| match frame {
            ToHost::Loaded(of, outcome) if of == id => Ok(outcome),
            other => Err(other),
        });
        let response = match answer {
            Ok(outcome) => outcome?,
            Err(LinkError::Overrun) => {
                self.finish(&FromHost::Ended(Ended::Overrun(Overrun::Queue)))
            }
            Err(_) => leave(),
        };
        match response.status {
            200..=299 => Ok(response),
            status => Err(format!("the server answered with status {status}")),
        }
    }

    fn request(&self, request: Request) -> u32 {
        let id = self.last_load.get().wrapping_add(1);
        self.last_load.set(id);
        self.send(&FromHost::Load(id, request));
        id
    }
}

/// Bytes of a request's URL and headers. They fit into a frame in every form.
const LONGEST_HEAD: usize = 8 * 1024;

/// Ends the process. The interpreter is left as it is: the kernel cleans up faster, and a script
/// has no say in it.
fn leave() -> ! {
    std::process::exit(0)
}
