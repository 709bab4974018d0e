//! What a certificate says of itself (RFC 5280).

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Names that are read; more are left out.
const NAMES: usize = 100;

/// What is looked at of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Its names and addresses (section 4.2.1.6).
    pub(super) names: Vec<String>,
    /// The first second in which it is good, since 1970.
    pub(super) from: i64,
    /// The last one.
    pub(super) until: i64,
    /// The day of that, as people write it.
    pub(super) last_day: String,
}

impl Certificate {
    /// Reads one; `None` if it is none.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = match certificate.subject_alternative_name() {
            Ok(Some(names)) => {
                let names = names.value.general_names.iter().filter_map(name);
                names.take(NAMES).collect()
            }
            _ => Vec::new(),
        };
        let validity = certificate.validity();
        let last = validity.not_after;
        Some(Self {
            names,
            from: validity.not_before.timestamp(),
            until: last.timestamp(),
            last_day: last.to_datetime().date().to_string(),
        })
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        // Only what is fit for a terminal.
        GeneralName::DNSName(name) if name.chars().all(|c| c.is_ascii_graphic()) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let ip = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            ip.ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_its_names_and_its_time() {
        let names = ["example.org", "192.0.2.1"].map(String::from);
        let mut wanted = rcgen::CertificateParams::new(names.clone()).unwrap();
        wanted.not_before = rcgen::date_time_ymd(2020, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(2020, 12, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = wanted.self_signed(&key).unwrap();
        let read = Certificate::read(made.der()).unwrap();
        let expected = Certificate {
            names: names.to_vec(),
            from: 1_577_836_800,
            until: 1_609_372_800,
            last_day: "2020-12-31".to_owned(),
        };
        assert_eq!(read, expected);
        assert_eq!(Certificate::read(b"nonsense"), None);
    }
}
