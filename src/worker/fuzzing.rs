//! For the targets of `fuzz/`: what a worker's process and its parent say to each other, and what scripts and
//! the servers that they load from may bring.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Purpose;
use super::fetch::{self, Origin, Origins};
use super::host::{memory, text, urls};
use super::wire::{FromHost, OVERHEAD, ToHost, split};
use crate::web::Answer;

/// Bytes come from a worker's process, or to it, in pieces.
///
/// # Panics
/// If a frame is read and written and then reads otherwise.
pub fn frames(pieces: &[&[u8]], to_host: bool) {
    let mut buffer = BytesMut::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match split(&mut buffer, OVERHEAD) {
                Ok(Some(frame)) if to_host => to_worker(frame),
                Ok(Some(frame)) => from_worker(frame),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(buffer.len() <= OVERHEAD + 4);
    }
}

fn to_worker(frame: Bytes) {
    if let Ok(read) = ToHost::parse(frame) {
        let mut written = BytesMut::new();
        read.put(&mut written);
        let again = whole(&mut written).and_then(|frame| ToHost::parse(frame).ok());
        assert_eq!(again, Some(read));
    }
}

fn from_worker(frame: Bytes) {
    if let Ok(read) = FromHost::parse(frame) {
        let mut written = BytesMut::new();
        read.put(&mut written);
        let again = whole(&mut written).and_then(|frame| FromHost::parse(frame).ok());
        assert_eq!(again, Some(read));
    }
}

fn whole(written: &mut BytesMut) -> Option<Bytes> {
    // What is printed may be longer than what was read.
    let frame = split(written, usize::MAX).ok()?;
    frame.filter(|_| written.is_empty())
}

/// A script decodes bytes, in two pieces.
///
/// # Panics
/// If the text depends on where they end.
pub fn decode(bytes: &[u8], cut: u16) {
    let whole = text::decode(bytes, false, false).map(|(text, _)| text);
    let (first, _) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let (begun, used) = text::decode(first, false, true).unwrap_or_default();
    let rest = text::decode(&bytes[used..], false, false).map(|(text, _)| text);
    assert_eq!(rest.map(|rest| begun + &rest), whole);
    let strict = text::decode(bytes, true, false).map(|(text, _)| text);
    assert_eq!(strict.as_deref(), str::from_utf8(bytes).ok());
}

/// A script looks at a URL, and changes it.
///
/// # Panics
/// If it isn't read again as it was written.
pub fn url(input: &str, base: Option<&str>, name: &str, value: &str) {
    if let Some(parts) = urls::parse(input, base) {
        let href = parts.first().map_or("", String::as_str);
        assert_eq!(urls::parse(href, None).as_ref(), Some(&parts));
        let _ = (urls::set(href, name, value), urls::origin(href));
    }
    let pairs = urls::parse_query(input);
    let again = urls::parse_query(&urls::format_query(&pairs));
    assert_eq!(again, pairs);
}

/// A script loads something, and the server answers so.
///
/// # Panics
/// If it is led to where it may not load from.
pub fn load(allowed: &str, url: &str, method: &str, header: (&str, &str), answer: (u16, &str)) {
    let origins = Origins {
        listed: allowed.parse::<Origin>().into_iter().collect(),
        ..Origins::default()
    };
    let (name, value) = (header.0.to_owned(), header.1.to_owned());
    let _ = (fetch::method(method), fetch::sendable(&[(name, value)]));
    let Ok(url) = fetch::parse(url) else {
        return;
    };
    if origins.allow(&url).is_ok() {
        let origin = url.origin().ascii_serialization();
        assert_eq!(
            origin.parse::<Origin>().ok().as_ref(),
            origins.listed.first()
        );
    }
    let (Ok(status), Ok(location)) = (
        StatusCode::from_u16(answer.0),
        answer.1.parse::<HeaderValue>(),
    ) else {
        return;
    };
    let names = [http::header::LOCATION, http::header::CONTENT_TYPE];
    let headers = names.map(|name: HeaderName| (name, location.clone()));
    let answer = Answer {
        status,
        headers: HeaderMap::from_iter(headers),
        body: Bytes::new(),
    };
    if let Ok(Some(next)) = fetch::redirect(&url, &answer) {
        assert!(matches!(next.scheme(), "http" | "https"));
    }
    let _ = fetch::respond(url, answer, Purpose::Module);
}

/// What the system says of a process's memory.
pub fn memory(mappings: &str) {
    let _ = memory::unchanged(mappings);
}
