//! Crypto that hides nothing, for random input that shall get beyond it: as good as the peer's own. It costs
//! nothing either, where OpenSSL takes half a millisecond to begin with each connection.
//!
//! A datagram of DTLS is its content type (RFC 6347, section 4.1) and what it holds. All of a handshake is one
//! with the SHA-256 of the peer's certificate. SRTP is RTP with an empty tag (RFC 7714). The other end of
//! SCTP is here too, as far as the set-up goes, and heads what is sent to it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use str0m::config::DtlsVersion;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};
use str0m::crypto::{
    AeadAes128GcmCipher, CryptoError, CryptoProvider, Sha256Provider, SrtpProvider,
    SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80, from_feature_flags,
};

/// Content types: the peer closes; its handshake; chunks of SCTP without their head; and one that is ours, a
/// message for a data channel: stream, protocol (RFC 8831, section 8), bytes.
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const CHUNKS: u8 = 23;
pub(super) const MESSAGE: u8 = 24;
/// Bytes of a certificate's SHA-256.
pub(super) const FINGERPRINT: usize = 32;
/// Bytes of the tag.
pub(super) const TAG: usize = 16;

/// Only media over this is in plain text.
const PROFILE: SrtpProfile = SrtpProfile::AEAD_AES_128_GCM;

/// str0m's own crypto, but for what hides.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        srtp_provider: &Open,
        sha256_provider: &Open,
        dtls_provider: &Open,
        ..from_feature_flags()
    }
}

#[derive(Debug)]
struct Open;

impl DtlsProvider for Open {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        _: &DtlsCert,
        now: Instant,
        _: DtlsVersion,
        _: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        Ok(Box::new(Dtls {
            now,
            is_active: false,
            is_connected: false,
            is_closing: false,
            news: VecDeque::new(),
            sctp: Sctp::default(),
        }))
    }
}

impl Sha256Provider for Open {
    /// A peer names the hash of its certificate instead of the certificate.
    fn sha256(&self, data: &[u8]) -> [u8; FINGERPRINT] {
        let hash = || {
            digest(&SHA256, data)
                .as_ref()
                .try_into()
                .unwrap_or_default()
        };
        data.try_into().unwrap_or_else(|_| hash())
    }
}

impl SrtpProvider for Open {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        from_feature_flags().srtp_provider.aes_128_cm_sha1_80()
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Self
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        from_feature_flags().srtp_provider.aead_aes_256_gcm()
    }

    fn srtp_aes_128_ecb_round(&self, _: &[u8], _: &[u8], _: &mut [u8]) {}

    fn srtp_aes_256_ecb_round(&self, _: &[u8], _: &[u8], _: &mut [u8]) {}
}

impl SupportedAeadAes128Gcm for Open {
    fn create_cipher(&self, _: [u8; 16], _: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Self)
    }
}

impl AeadAes128GcmCipher for Open {
    fn encrypt(
        &mut self,
        _: &[u8; 12],
        _: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        copy(input, output).map(drop)
    }

    fn decrypt(
        &mut self,
        _: &[u8; 12],
        _: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let length = input.len().checked_sub(TAG).ok_or_else(short)?;
        copy(&input[..length], output)
    }
}

fn copy(from: &[u8], to: &mut [u8]) -> Result<usize, CryptoError> {
    let to = to.get_mut(..from.len()).ok_or_else(short)?;
    to.copy_from_slice(from);
    Ok(from.len())
}

fn short() -> CryptoError {
    CryptoError::Other("too short".to_owned())
}

/// Our end of a connection.
#[derive(Debug)]
struct Dtls {
    now: Instant,
    is_active: bool,
    is_connected: bool,
    is_closing: bool,
    /// What str0m isn't told yet.
    news: VecDeque<News>,
    sctp: Sctp,
}

#[derive(Debug)]
enum News {
    Connected,
    Certificate([u8; FINGERPRINT]),
    Keys,
    Closed,
    Sctp(Vec<u8>),
    Send(Vec<u8>),
}

impl DtlsInstance for Dtls {
    fn set_active(&mut self, active: bool) {
        self.is_active = active;
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        let Some((kind, content)) = packet.split_first() else {
            return Ok(());
        };
        match *kind {
            HANDSHAKE if !self.is_connected => {
                let Ok(fingerprint) = content.try_into() else {
                    return Err(DtlsImplError::ConnectionClosed);
                };
                self.is_connected = true;
                self.news
                    .extend([News::Connected, News::Certificate(fingerprint), News::Keys]);
                // str0m begins there where it has begun here.
                if !self.is_active {
                    self.news.push_back(News::Sctp(self.sctp.begin()));
                }
            }
            ALERT if self.is_connected => {
                self.is_closing = true;
                self.news.push_back(News::Closed);
            }
            ALERT => return Err(DtlsImplError::ConnectionClosed),
            CHUNKS if self.is_connected => {
                self.news.push_back(News::Sctp(self.sctp.head(content)));
            }
            MESSAGE if self.is_connected => {
                self.news.extend(self.sctp.message(content).map(News::Sctp));
            }
            _ => {}
        }
        Ok(())
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        match self.news.pop_front() {
            None => DtlsOutput::Timeout(self.now + Duration::from_secs(3600)),
            Some(News::Connected) => DtlsOutput::Connected,
            Some(News::Certificate(it)) => DtlsOutput::PeerCert(put(buffer, &it)),
            Some(News::Keys) => {
                let none = vec![0; PROFILE.keying_material_len()];
                DtlsOutput::KeyingMaterial(KeyingMaterial::new(&none), PROFILE)
            }
            Some(News::Closed) => DtlsOutput::CloseNotify,
            Some(News::Sctp(packet)) => DtlsOutput::ApplicationData(put(buffer, &packet)),
            Some(News::Send(packet)) => DtlsOutput::Packet(put(buffer, &packet)),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<(), DtlsImplError> {
        if !self.is_connected {
            return Err(DtlsImplError::HandshakePending);
        }
        self.news
            .push_back(News::Send([&[CHUNKS][..], data].concat()));
        self.news.extend(self.sctp.answer(data).map(News::Sctp));
        Ok(())
    }

    fn is_active(&self) -> bool {
        self.is_active
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        Some(ProtocolVersion::DTLS1_2)
    }

    fn is_closing(&self) -> bool {
        self.is_closing
    }

    fn is_closed(&self) -> bool {
        self.is_closing && self.news.is_empty()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.is_closing = true;
        Ok(())
    }
}

/// As much as there is room for; datagrams are shorter.
fn put<'a>(buffer: &'a mut [u8], bytes: &[u8]) -> &'a [u8] {
    let length = bytes.len().min(buffer.len());
    buffer[..length].copy_from_slice(&bytes[..length]);
    &buffer[..length]
}

/// The peer's end of an association (RFC 9260).
#[derive(Debug, Default)]
struct Sctp {
    /// By which the other end knows what is for it (section 8.5).
    tag: u32,
    /// Messages until now.
    messages: u32,
}

/// Chunks (RFC 9260, section 3.2), and the parameter of one.
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const STATE_COOKIE: u16 = 7;
/// A whole message that needs no order (section 3.3.1).
const WHOLE: u8 = 7;
/// The port of data channels.
const PORT: u16 = 5000;
/// Bytes before the chunks, and before the parameters of INIT and INIT ACK (sections 3.1 and 3.3.2).
const HEAD: usize = 12;
const FIXED: usize = 16;

impl Sctp {
    /// The first packet.
    fn begin(&self) -> Vec<u8> {
        self.head(&chunk(INIT, 0, &beginning()))
    }

    /// The answer to what the other end sends, if the set-up needs one.
    fn answer(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let (&[kind, _, high, low], content) = packet.get(HEAD..)?.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low])).checked_sub(4)?;
        let content = content.get(..length)?;
        let answer = match kind {
            INIT => {
                self.tag = u32::from_be_bytes(*content.first_chunk()?);
                let cookie = parameter(STATE_COOKIE, b"cookie!!");
                chunk(INIT_ACK, 0, &[beginning(), cookie].concat())
            }
            INIT_ACK => {
                self.tag = u32::from_be_bytes(*content.first_chunk()?);
                chunk(COOKIE_ECHO, 0, cookie(content.get(FIXED..)?)?)
            }
            COOKIE_ECHO => chunk(COOKIE_ACK, 0, &[]),
            _ => return None,
        };
        Some(self.head(&answer))
    }

    /// A message for a channel.
    fn message(&mut self, content: &[u8]) -> Option<Vec<u8>> {
        let (&[stream, protocol], bytes) = content.split_first_chunk()?;
        self.messages += 1;
        let head = [
            &self.messages.to_be_bytes()[..],
            &[0, stream, 0, 0, 0, 0, 0, protocol],
        ];
        let data = [&head.concat()[..], bytes].concat();
        Some(self.head(&chunk(DATA, WHOLE, &data)))
    }

    /// A packet of these chunks (section 3.1).
    fn head(&self, chunks: &[u8]) -> Vec<u8> {
        let port = PORT.to_be_bytes();
        let tag = self.tag.to_be_bytes();
        let mut packet = [&port[..], &port, &tag, &[0; 4], chunks].concat();
        let sum = crc32c(&packet).to_le_bytes();
        packet[8..HEAD].copy_from_slice(&sum);
        packet
    }
}

/// INIT and INIT ACK up to their parameters: the tag, the window, the streams, and the first number.
fn beginning() -> Vec<u8> {
    [1_u32, 1 << 20, 0xffff_ffff, 1]
        .map(u32::to_be_bytes)
        .concat()
}

fn chunk(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = length(content);
    padded([&[kind, flags, high, low][..], content].concat())
}

fn parameter(kind: u16, content: &[u8]) -> Vec<u8> {
    padded([&kind.to_be_bytes()[..], &length(content), content].concat())
}

/// Of a chunk or parameter with its head.
fn length(content: &[u8]) -> [u8; 2] {
    u16::try_from(content.len() + 4)
        .unwrap_or(u16::MAX)
        .to_be_bytes()
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The cookie among parameters.
fn cookie(mut parameters: &[u8]) -> Option<&[u8]> {
    loop {
        let (&[kind_high, kind_low, high, low], rest) = parameters.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low])).checked_sub(4)?;
        if u16::from_be_bytes([kind_high, kind_low]) == STATE_COOKIE {
            return rest.get(..length);
        }
        parameters = rest.get(length.next_multiple_of(4)..)?;
    }
}

/// RFC 9260, appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 * (sum & 1))
        })
    })
}
