//! A participant's own keys: with them it can send within its session what no honest program sends.

use std::sync::{Arc, Mutex, PoisonError};

use str0m::crypto::{
    AeadAes256GcmCipher, CryptoError, CryptoProvider, SrtpProvider, SupportedAeadAes128Gcm,
    SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

/// What encryption adds to a packet (RFC 7714, section 13).
const TAG: usize = 16;
/// Of RTCP, what isn't encrypted: the first header and its source.
const RTCP_HEAD: usize = 8;
/// Marks RTCP that is encrypted (RFC 3711, section 3.4).
const ENCRYPTED: u32 = 1 << 31;

/// The keys by which a client encrypts what it sends: of RTP, and of RTCP. Known once it has sent some.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys(Arc<Mutex<[Option<Key>; 2]>>);

#[derive(Debug, Clone, Copy)]
struct Key {
    secret: [u8; 32],
    salt: [u8; 12],
}

/// What a packet is encrypted by, beside the key (RFC 7714, sections 8.1 and 9.1).
#[derive(Debug, Clone, Copy)]
enum Place {
    Rtp { ssrc: [u8; 4], seq: [u8; 2] },
    Rtcp { ssrc: [u8; 4], index: [u8; 4] },
}

impl Keys {
    /// Encrypts for a client, and tells by which keys.
    pub(crate) fn new() -> (Self, Arc<CryptoProvider>) {
        let keys = Self::default();
        let real = str0m::crypto::from_feature_flags();
        // A provider lives as long as the process.
        let ciphers: &'static Ciphers = Box::leak(Box::new(Ciphers(keys.clone())));
        let provider = CryptoProvider {
            srtp_provider: Box::leak(Box::new(Tapped(ciphers))),
            ..real
        };
        (keys, Arc::new(provider))
    }

    /// Whether it is known how RTP and RTCP are encrypted.
    pub(crate) fn are_known(&self) -> [bool; 2] {
        self.lock().map(|key| key.is_some())
    }

    /// A packet of media, with everything before the payload as it is to be sent. Sequence numbers must not
    /// have begun anew.
    pub(crate) fn rtp(&self, head: &[u8], payload: &[u8]) -> Vec<u8> {
        let sealed = self.seal(Place::of_rtp(head), head, payload);
        [head, &sealed].concat()
    }

    /// RTCP, which may be of several parts. Each packet needs an index of its own.
    pub(crate) fn rtcp(&self, index: u32, plain: &[u8]) -> Vec<u8> {
        let (head, rest) = plain.split_at(RTCP_HEAD);
        let index = (ENCRYPTED | index).to_be_bytes();
        let extra = [head, &index].concat();
        let sealed = self.seal(Place::of_rtcp(&extra), &extra, rest);
        [head, &sealed, &index].concat()
    }

    fn seal(&self, place: Place, extra: &[u8], plain: &[u8]) -> Vec<u8> {
        let Key { secret, salt } = self.lock()[place.kind()].expect("something was sent before");
        let mut sealed = vec![0; plain.len() + TAG];
        let mut cipher = real().aead_aes_256_gcm().create_cipher(secret, true);
        let done = cipher.encrypt(&place.with(salt), extra, plain, &mut sealed);
        done.unwrap();
        sealed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [Option<Key>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Of a packet, by what of it isn't encrypted: with RTCP that ends with the index.
    fn of(extra: &[u8]) -> Self {
        // RFC 5761, section 4.
        match (64..96).contains(&(extra[1] & 0x7f)) {
            true => Self::of_rtcp(extra),
            false => Self::of_rtp(extra),
        }
    }

    fn of_rtp(head: &[u8]) -> Self {
        Self::Rtp {
            ssrc: head[8..12].try_into().unwrap(),
            seq: head[2..4].try_into().unwrap(),
        }
    }

    fn of_rtcp(extra: &[u8]) -> Self {
        let [.., a, b, c, d] = *extra else {
            panic!("RTCP without an index");
        };
        let index = u32::from_be_bytes([a, b, c, d]) & !ENCRYPTED;
        Self::Rtcp {
            ssrc: extra[4..8].try_into().unwrap(),
            index: index.to_be_bytes(),
        }
    }

    /// The place of its key.
    const fn kind(self) -> usize {
        match self {
            Self::Rtp { .. } => 0,
            Self::Rtcp { .. } => 1,
        }
    }

    /// The salt becomes the initialization vector, and that the salt.
    fn with(self, mut salt: [u8; 12]) -> [u8; 12] {
        let (ssrc, number) = match self {
            Self::Rtp { ssrc, seq: [a, b] } => (ssrc, [0, 0, 0, 0, a, b]),
            Self::Rtcp {
                ssrc,
                index: [a, b, c, d],
            } => (ssrc, [0, 0, a, b, c, d]),
        };
        let known = ssrc.into_iter().chain(number);
        for (byte, known) in salt[2..].iter_mut().zip(known) {
            *byte ^= known;
        }
        salt
    }
}

fn real() -> &'static dyn SrtpProvider {
    str0m::crypto::from_feature_flags().srtp_provider
}

/// Everything as usual, but for the one cipher that two of ours agree on.
#[derive(Debug)]
struct Tapped(&'static Ciphers);

#[derive(Debug)]
struct Ciphers(Keys);

#[derive(Debug)]
struct Cipher {
    real: Box<dyn AeadAes256GcmCipher>,
    secret: [u8; 32],
    keys: Keys,
}

impl SrtpProvider for Tapped {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        real().aes_128_cm_sha1_80()
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        real().aead_aes_128_gcm()
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        self.0
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        real().srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        real().srtp_aes_256_ecb_round(key, input, output);
    }
}

impl SupportedAeadAes256Gcm for Ciphers {
    fn create_cipher(&self, secret: [u8; 32], encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Cipher {
            real: real().aead_aes_256_gcm().create_cipher(secret, encrypt),
            secret,
            keys: self.0.clone(),
        })
    }
}

impl AeadAes256GcmCipher for Cipher {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        extra: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        let place = Place::of(extra);
        let key = Key {
            secret: self.secret,
            salt: place.with(*iv),
        };
        self.keys.lock()[place.kind()].get_or_insert(key);
        self.real.encrypt(iv, extra, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        extra: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.real.decrypt(iv, extra, input, output)
    }
}
