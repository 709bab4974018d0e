//! The child's end of the socket. It blocks: a worker has nothing else to do.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::worker::wire::{FromHost, ToHost, WireError, split};

/// Bytes that are read, or written, at once.
const BATCH: usize = 64 * 1024;

/// Why nothing more can be carried.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("the parent is gone")]
    Gone,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the parent sent {0}")]
    Wire(#[from] WireError),
    /// The script waits for something, and more bytes came than may wait for the script.
    #[error("too many messages came meanwhile")]
    Overrun,
}

#[derive(Debug)]
pub(super) struct Link {
    socket: UnixStream,
    input: BytesMut,
    output: BytesMut,
    /// Frames that came while the script waited for another one, and their bytes.
    aside: VecDeque<(ToHost, usize)>,
    aside_bytes: usize,
    aside_bound: usize,
}

impl Link {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            input: BytesMut::with_capacity(BATCH),
            output: BytesMut::with_capacity(BATCH),
            aside: VecDeque::new(),
            aside_bytes: 0,
            aside_bound: 0,
        }
    }

    /// How many bytes may wait while the script waits for a certain frame.
    pub(super) fn bound_aside(&mut self, bytes: usize) {
        self.aside_bound = bytes;
    }

    /// The next frame; `None` if none came by then. What is to be sent is sent before it waits.
    pub(super) fn next(&mut self, until: Option<Instant>) -> Result<Option<ToHost>, LinkError> {
        if let Some((frame, bytes)) = self.aside.pop_front() {
            self.aside_bytes -= bytes;
            return Ok(Some(frame));
        }
        self.receive(until).map(|it| it.map(|(frame, _)| frame))
    }

    /// Waits for a frame. Those that come before it are kept for [`Self::next`].
    pub(super) fn wait_for<T>(
        &mut self,
        wanted: impl Fn(ToHost) -> Result<T, ToHost>,
    ) -> Result<T, LinkError> {
        loop {
            let Some((frame, bytes)) = self.receive(None)? else {
                continue;
            };
            match wanted(frame) {
                Ok(it) => return Ok(it),
                Err(other) => {
                    self.aside_bytes += bytes;
                    self.aside.push_back((other, bytes));
                }
            }
            if self.aside_bytes > self.aside_bound {
                return Err(LinkError::Overrun);
            }
        }
    }

    /// Sends a frame, sooner or later: [`Self::next`] does at the latest. Waits while the parent
    /// takes nothing.
    pub(super) fn send(&mut self, frame: &FromHost) -> Result<(), LinkError> {
        frame.put(&mut self.output);
        if self.output.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Sends what was not sent yet.
    pub(super) fn flush(&mut self) -> Result<(), LinkError> {
        self.socket.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// Whether the parent has gone.
    pub(super) fn is_cut(&self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::empty())];
        let at_once = Timespec::default();
        poll(&mut polled, Some(&at_once)).is_ok_and(|count| count > 0)
    }

    fn receive(&mut self, until: Option<Instant>) -> Result<Option<(ToHost, usize)>, LinkError> {
        loop {
            // The parent is trusted with lengths; what it sends is bounded there.
            if let Some(frame) = split(&mut self.input, usize::MAX)? {
                let bytes = frame.len();
                return Ok(Some((ToHost::parse(frame)?, bytes)));
            }
            self.flush()?;
            if !self.is_readable_by(until)? {
                return Ok(None);
            }
            self.read()?;
        }
    }

    fn is_readable_by(&self, until: Option<Instant>) -> Result<bool, LinkError> {
        loop {
            // Rounded up, so that it is not before its time when it wakes.
            let left = until.map(|it| it.saturating_duration_since(Instant::now()));
            let left = left.and_then(|it| Timespec::try_from(it).ok());
            let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut polled, left.as_ref()) {
                Ok(count) => return Ok(count > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(LinkError::Io(error.into())),
            }
        }
    }

    fn read(&mut self) -> Result<(), LinkError> {
        let had = self.input.len();
        self.input.resize(had + BATCH, 0);
        let read = self.socket.read(&mut self.input[had..]);
        self.input.truncate(had + read.as_ref().map_or(0, |it| *it));
        match read {
            Ok(0) => Err(LinkError::Gone),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a timer can wait for at most, so that an instant can hold it.
pub(super) const LONGEST: Duration = Duration::from_secs(1 << 31);

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::worker::Message;

    fn pair() -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Link::new(ours), theirs)
    }

    fn give(socket: &mut UnixStream, frames: &[ToHost]) {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|it| it.put(&mut bytes));
        socket.write_all(&bytes).unwrap();
    }

    fn message(bytes: usize) -> ToHost {
        ToHost::Message(Message::Binary(vec![1; bytes].into()))
    }

    fn loaded(frame: ToHost) -> Result<u32, ToHost> {
        match frame {
            ToHost::Loaded(id, _) => Ok(id),
            other => Err(other),
        }
    }

    #[test]
    fn what_comes_before_the_awaited_frame_is_kept_in_order() {
        let (mut link, mut parent) = pair();
        link.bound_aside(1000);
        let answer = ToHost::Loaded(7, Err(String::new()));
        give(&mut parent, &[message(1), message(2), answer, message(3)]);
        assert_eq!(link.wait_for(loaded).unwrap(), 7);
        for bytes in 1..=3 {
            assert_eq!(link.next(None).unwrap(), Some(message(bytes)));
        }
        assert_eq!(link.next(Some(Instant::now())).unwrap(), None);
    }

    #[test]
    fn only_so_much_is_kept() {
        let (mut link, mut parent) = pair();
        link.bound_aside(100);
        give(&mut parent, &[message(60), message(60)]);
        assert!(matches!(link.wait_for(loaded), Err(LinkError::Overrun)));
    }

    #[test]
    fn a_parent_that_is_gone_is_seen() {
        let (mut link, parent) = pair();
        assert!(!link.is_cut());
        drop(parent);
        assert!(link.is_cut());
        assert!(matches!(link.next(None), Err(LinkError::Gone)));
        let bytes = Message::Binary(Bytes::from(vec![0; BATCH]));
        assert!(link.send(&FromHost::Message(bytes)).is_err());
    }
}
