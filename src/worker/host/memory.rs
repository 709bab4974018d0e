//! What of a process's memory is as in the files that it comes from.

use std::ops::Range;

/// The mappings of files that can't be written to and are as in the file (Linux,
/// Documentation/filesystems/proc.rst).
pub(in crate::worker) fn unchanged(mappings: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut current = None;
    for line in mappings.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(first), second) = (words.next(), words.next().unwrap_or_default()) else {
            continue;
        };
        match first {
            // The last line of each.
            "VmFlags:" => found.extend(current.take()),
            "Private_Dirty:" | "Shared_Dirty:" | "Anonymous:" | "Swap:" if second != "0" => {
                current = None;
            }
            _ if first.ends_with(':') => {}
            _ => {
                let is_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
                let is_fixed = second.starts_with("r-") && second.ends_with('p');
                current = range(first).filter(|_| is_file && is_fixed);
            }
        }
    }
    found
}

/// `START-END`, in hexadecimal digits.
fn range(text: &str) -> Option<Range<usize>> {
    let (start, end) = text.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(head: &str, anonymous: usize) -> String {
        format!(
            "{head}\nSize: 8 kB\nShared_Dirty: 0 kB\nPrivate_Dirty: 0 kB\nAnonymous: {anonymous} kB\n\
             Swap: 0 kB\nVmFlags: rd mr mw me\n"
        )
    }

    #[test]
    fn only_what_is_as_in_its_file_and_stays_so_is_let_go() {
        let kept = [
            mapping("2000-3000 rw-p 00001000 fe:00 12 /usr/lib/lib a.so", 0),
            mapping("3000-4000 r--p 00002000 fe:00 12 /usr/lib/lib a.so", 4),
            mapping("4000-5000 r-xp 00000000 00:00 0 [vdso]", 0),
            mapping("5000-6000 r--p 00000000 00:00 0", 0),
            mapping("6000-7000 r--s 00000000 fe:00 13 /usr/lib/cache", 0),
        ];
        let text = mapping("1000-2000 r-xp 00000000 fe:00 12 /usr/lib/lib a.so", 0);
        let all = text + &kept.concat();
        assert_eq!(unchanged(&all), vec![0x1000..0x2000; 1]);
    }
}
