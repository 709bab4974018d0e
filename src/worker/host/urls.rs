//! URLs in the parts that the prelude's `URL` has (URL, section 6.1).

use url::form_urlencoded::{Serializer, parse as parse_form};
use url::{Url, quirks};

/// A URL's parts, in the order of the prelude's `PARTS`.
type Parts = Vec<String>;

pub(in crate::worker) fn parse(input: &str, base: Option<&str>) -> Option<Parts> {
    let base = base.map(Url::parse).transpose().ok()?;
    let url = Url::options().base_url(base.as_ref()).parse(input).ok()?;
    Some(parts(&url))
}

/// A changed URL's parts; `None` when the URL doesn't take the value, and stays as it was.
pub(in crate::worker) fn set(href: &str, name: &str, value: &str) -> Option<Parts> {
    let mut url = Url::parse(href).ok()?;
    // Each refuses by itself what doesn't fit.
    let _ = match name {
        "protocol" => quirks::set_protocol(&mut url, value),
        "username" => quirks::set_username(&mut url, value),
        "password" => quirks::set_password(&mut url, value),
        "host" => quirks::set_host(&mut url, value),
        "hostname" => quirks::set_hostname(&mut url, value),
        "port" => quirks::set_port(&mut url, value),
        "pathname" => {
            quirks::set_pathname(&mut url, value);
            Ok(())
        }
        "search" => {
            quirks::set_search(&mut url, value);
            Ok(())
        }
        "hash" => {
            quirks::set_hash(&mut url, value);
            Ok(())
        }
        _ => Err(()),
    };
    Some(parts(&url))
}

pub(in crate::worker) fn origin(href: &str) -> String {
    Url::parse(href).map_or_else(|_| "null".to_owned(), |url| quirks::origin(&url))
}

/// The pairs of a query.
pub(in crate::worker) fn parse_query(query: &str) -> Vec<Vec<String>> {
    parse_form(query.as_bytes())
        .map(|(name, value)| vec![name.into_owned(), value.into_owned()])
        .collect()
}

/// The query of pairs.
pub(in crate::worker) fn format_query(pairs: &[Vec<String>]) -> String {
    let pairs = pairs.iter().filter_map(|pair| match pair.as_slice() {
        [name, value] => Some((name, value)),
        _ => None,
    });
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn parts(url: &Url) -> Parts {
    let parts = [
        quirks::href(url),
        quirks::protocol(url),
        quirks::username(url),
        quirks::password(url),
        quirks::host(url),
        quirks::hostname(url),
        quirks::port(url),
        quirks::pathname(url),
        quirks::search(url),
        quirks::hash(url),
    ];
    parts.map(str::to_owned).into()
}
