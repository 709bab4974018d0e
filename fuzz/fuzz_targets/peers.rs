//! What peers and tools read of servers, networks, other peers and their own workers, each kind by itself: no
//! panic, and what is written again reads the same.

#![no_main]

use std::net::IpAddr;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::fuzzing::{cli, doctor, media, peer, server, worker};
use switchboard::media::Codec;
use switchboard::probe::judge::Thresholds;
use switchboard::probe::suite::Suite;

#[derive(Debug, Arbitrary)]
enum Heard<'a> {
    Worker {
        pieces: Vec<&'a [u8]>,
        to_host: bool,
    },
    Decode {
        bytes: &'a [u8],
        cut: u16,
    },
    Url {
        input: &'a str,
        base: Option<&'a str>,
        name: u8,
        value: &'a str,
    },
    Load {
        allowed: &'a str,
        url: &'a str,
        method: &'a str,
        header: (&'a str, &'a str),
        answer: (u16, &'a str),
    },
    Memory(&'a str),
    Descriptions {
        offer: &'a str,
        answer: &'a str,
    },
    Candidates {
        ours: [&'a str; 2],
        theirs: [&'a str; 2],
        advertised: [IpAddr; 2],
        flags: u8,
    },
    IceServer {
        url: &'a str,
        name: &'a str,
        password: &'a str,
    },
    IceServers(&'a [u8]),
    Refusal {
        status: u16,
        body: &'a [u8],
        path: &'a str,
    },
    Datagram(&'a [u8]),
    Name {
        name: &'a str,
        bytes: &'a [u8],
    },
    Certificate(&'a [u8]),
    Picture {
        width: u16,
        height: u16,
        stride: u16,
        data: &'a [u8],
    },
    Sound {
        rate: u32,
        chunks: Vec<(u16, &'a [u8])>,
    },
    Pipeline {
        text: &'a str,
        variable: &'a str,
        value: &'a str,
    },
    Suite(&'a str),
    Thresholds(&'a str),
    Codec(&'a str),
    Top {
        looks: [(&'a str, [&'a str; 4]); 2],
        column: u8,
        down: bool,
    },
    Feedback(Vec<(u16, u32, Option<u32>, u16)>),
}

/// The parts of a URL that a script may change.
const PARTS: [&str; 9] = [
    "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash",
];

fuzz_target!(|heard: Heard<'_>| {
    match heard {
        Heard::Worker { pieces, to_host } => worker::frames(&pieces, to_host),
        Heard::Decode { bytes, cut } => worker::decode(bytes, cut),
        Heard::Url {
            input,
            base,
            name,
            value,
        } => {
            worker::url(input, base, PARTS[usize::from(name) % PARTS.len()], value);
        }
        Heard::Load {
            allowed,
            url,
            method,
            header,
            answer,
        } => {
            worker::load(allowed, url, method, header, answer);
        }
        Heard::Memory(mappings) => worker::memory(mappings),
        Heard::Descriptions { offer, answer } => media::descriptions(offer, answer),
        Heard::Candidates {
            ours,
            theirs,
            advertised,
            flags,
        } => {
            media::candidates(&ours, &theirs, &advertised, flags);
        }
        Heard::IceServer {
            url,
            name,
            password,
        } => media::ice_server(url, name, password),
        Heard::IceServers(body) => peer::ice_servers(body),
        Heard::Refusal { status, body, path } => peer::refusal(status, body, path),
        Heard::Datagram(bytes) => doctor::datagram(bytes),
        Heard::Name { name, bytes } => doctor::name(name, bytes),
        Heard::Certificate(der) => {
            doctor::certificate(der);
            server::certificate(der);
        }
        Heard::Picture {
            width,
            height,
            stride,
            data,
        } => {
            media::picture(data, width, height, stride);
        }
        Heard::Sound { rate, chunks } => media::sound(rate, &chunks),
        Heard::Pipeline {
            text,
            variable,
            value,
        } => media::pipeline(text, variable, value),
        Heard::Suite(text) => {
            if let Err(error) = Suite::parse(text) {
                assert!(!error.to_string().is_empty());
            }
        }
        Heard::Thresholds(text) => drop(toml::from_str::<Thresholds>(text)),
        Heard::Codec(name) => drop(name.parse::<Codec>()),
        Heard::Top {
            looks,
            column,
            down,
        } => cli::looks(&looks, column, down),
        Heard::Feedback(reports) => media::feedback(&reports),
    }
});
