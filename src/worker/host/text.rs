//! UTF-8 from bytes (Encoding, "UTF-8 decoder").

/// Decodes what is complete, and says how many bytes that was: with `stream`, a character that may
/// go on in the next bytes is left. `None` if `fatal` and the bytes aren't UTF-8.
pub(in crate::worker) fn decode(
    bytes: &[u8],
    fatal: bool,
    stream: bool,
) -> Option<(String, usize)> {
    let used = if stream { complete(bytes) } else { bytes.len() };
    let bytes = &bytes[..used];
    let text = if fatal {
        str::from_utf8(bytes).ok()?.to_owned()
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    };
    Some((text, used))
}

/// How many bytes come before a character that is not there as a whole.
fn complete(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    for at in (tail..bytes.len()).rev() {
        let needed = match bytes[at] {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let is_open = str::from_utf8(&bytes[at..]).is_err_and(|error| error.error_len().is_none());
        return if is_open && at + needed > bytes.len() {
            at
        } else {
            bytes.len()
        };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_in_pieces_decodes_as_the_whole_does() {
        let cases: [&[u8]; 5] = [
            "aä€😀z".as_bytes(),
            b"\xff\xf0\x9f\x98",
            b"\xe2\x28\xa1\xe2\x82",
            b"\xed\xa0\x80a",
            b"\xc0\xaf\xf5\x80",
        ];
        for bytes in cases {
            let whole = decode(bytes, false, false).unwrap().0;
            for size in 1..=bytes.len() {
                let (mut text, mut kept) = (String::new(), Vec::new());
                for piece in bytes.chunks(size) {
                    kept.extend_from_slice(piece);
                    let (part, used) = decode(&kept, false, true).unwrap();
                    text += &part;
                    kept.drain(..used);
                }
                text += &decode(&kept, false, false).unwrap().0;
                assert_eq!(text, whole, "{bytes:x?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn fatal_refuses_what_is_not_utf_8_but_awaits_what_may_become_it() {
        assert_eq!(decode(b"a\xff", true, false), None);
        assert_eq!(decode(b"a\xe2\x82", true, false), None);
        assert_eq!(decode(b"a\xe2\x82", true, true), Some(("a".into(), 1)));
    }
}
