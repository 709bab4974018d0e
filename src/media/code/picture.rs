//! A picture's mark: black and white blocks, at places that are relative to the picture's size.
//!
//! The picture is a grid of 20 columns and 15 rows. The four rows at the top hold 80 bits, white for 1,
//! from left to right and from top to bottom: 8 bits of the source, 24 of the number, 32 of the time
//! in milliseconds since the Unix epoch, and the checksum of these (CRC-16/CCITT-FALSE). The row at
//! the bottom holds the checksum again, and the last 4 bits of the number: a picture of which only
//! a part arrived doesn't pass for a whole one. At 160×120 pixels a block is 8×8. Blocks are read by the
//! middle of their brightness, against the middle of the darkest and the brightest one.

/// Columns of the grid.
const COLUMNS: usize = 20;
/// Rows of the grid.
const ROWS: usize = 15;
/// Rows at the top that hold the mark.
const TOP: usize = 4;
/// The blocks of the mark: those at the top, and those of the last row.
const BLOCKS: usize = (TOP + 1) * COLUMNS;
/// Black and white, in studio range.
const BLACK: u8 = 16;
const WHITE: u8 = 235;
/// Blocks are not flat, and not the same from picture to picture: libvpx's VP9 encoder at its highest
/// speeds leaves old blocks standing, the rather the larger and the flatter they are.
const GRAIN: [u8; 8] = [0, 3, 6, 9, 12, 9, 6, 3];
/// Pixels in the side of a block that make the grain stronger by its own amount, and how often at most.
/// Small blocks that had as much would cost more bits than there are.
const GRAIN_STEP: usize = 6;
const GRAIN_MOST: usize = 5;
/// White and black must differ by this to be a mark, whatever compression did to them.
const CONTRAST: u32 = 48;
/// Pixels of a block that are looked at, in a row and in a column, at most.
const SAMPLES: usize = 4;
/// Points of a picture's look, in a row and in a column.
const LOOK: (usize, usize) = (32, 24);

/// What a picture says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Which source painted it.
    pub(crate) source: u8,
    /// Its number: 24 bits.
    pub(crate) number: u32,
    /// When it left its source, in milliseconds since the Unix epoch: 32 bits.
    pub(crate) captured: u32,
}

/// The brightness of a picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Luma<'a> {
    pub(crate) data: &'a [u8],
    /// Bytes from one row to the next.
    pub(crate) stride: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// Paints a mark onto one plane of a picture: the first is the brightness, the others are colours.
/// Width and height are the plane's.
pub(crate) fn paint(
    mark: Mark,
    plane: &mut [u8],
    is_luma: bool,
    stride: usize,
    size: (usize, usize),
) {
    let blocks = mark.blocks();
    // By half a wave from picture to picture, so that light and dark change places.
    let phase = (mark.number as usize % 2) * (GRAIN.len() / 2);
    let strength = (size.0 / COLUMNS / GRAIN_STEP).clamp(1, GRAIN_MOST) as u8;
    for row in (0..TOP).chain([ROWS - 1]) {
        let first = row.min(TOP) * COLUMNS;
        for y in row * size.1 / ROWS..(row + 1) * size.1 / ROWS {
            let Some(line) = plane.get_mut(y * stride..y * stride + size.0) else {
                return;
            };
            if !is_luma {
                line.fill(128);
                continue;
            }
            for (column, white) in blocks.iter().skip(first).take(COLUMNS).enumerate() {
                let (from, to) = (column * size.0 / COLUMNS, (column + 1) * size.0 / COLUMNS);
                if let Some(pixels) = line.get_mut(from..to) {
                    for (x, pixel) in pixels.iter_mut().enumerate() {
                        let grain = strength * GRAIN[(x + y + phase) % GRAIN.len()];
                        *pixel = if *white { WHITE - grain } else { BLACK + grain };
                    }
                }
            }
        }
    }
}

/// Reads a picture's mark; `None` if there is none, or it isn't whole.
pub(crate) fn read(luma: &Luma<'_>) -> Option<Mark> {
    let mut means = [0; BLOCKS];
    for (at, mean) in means.iter_mut().enumerate() {
        let row = match at / COLUMNS {
            TOP => ROWS - 1,
            row => row,
        };
        *mean = luma.mean(at % COLUMNS, row)?;
    }
    let (darkest, brightest) = (means.iter().min()?, means.iter().max()?);
    if brightest - darkest < CONTRAST {
        return None;
    }
    let middle = u32::midpoint(*darkest, *brightest);
    Mark::from_blocks(&means.map(|mean| mean > middle))
}

/// The same number for pictures that look exactly the same, at some hundreds of points.
pub(crate) fn look(luma: &Luma<'_>) -> u64 {
    let points = (0..LOOK.1).flat_map(|row| (0..LOOK.0).map(move |column| (column, row)));
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (column, row) in points {
        let x = (2 * column + 1) * luma.width / (2 * LOOK.0);
        let y = (2 * row + 1) * luma.height / (2 * LOOK.1);
        let pixel = luma.data.get(y * luma.stride + x).copied();
        hash = (hash ^ u64::from(pixel.unwrap_or_default())).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

impl Mark {
    fn blocks(self) -> [bool; BLOCKS] {
        let word = self.word();
        let sum = checksum(word);
        let top = (u128::from(word) << 16) | u128::from(sum);
        let bottom = (u128::from(sum) << 4) | u128::from(self.number & 0xf);
        let all = (top << COLUMNS) | bottom;
        std::array::from_fn(|at| all >> (BLOCKS - 1 - at) & 1 == 1)
    }

    fn from_blocks(blocks: &[bool; BLOCKS]) -> Option<Self> {
        let bits = |from: usize, count: usize| {
            let bits = blocks.iter().skip(from).take(count);
            bits.fold(0_u32, |sum, bit| sum << 1 | u32::from(*bit))
        };
        let mark = Self {
            source: u8::try_from(bits(0, 8)).ok()?,
            number: bits(8, 24),
            captured: bits(32, 32),
        };
        (mark.blocks() == *blocks).then_some(mark)
    }

    fn word(self) -> u64 {
        u64::from(self.source) << 56
            | u64::from(self.number & 0xff_ffff) << 32
            | u64::from(self.captured)
    }
}

impl Luma<'_> {
    /// The mean brightness of the middle of a block.
    fn mean(&self, column: usize, row: usize) -> Option<u32> {
        let middle = |at: usize, count: usize, size: usize| {
            let (from, to) = (at * size / count, (at + 1) * size / count);
            let side = to - from;
            (from + side / 4, (side / 2).max(1))
        };
        let (left, width) = middle(column, COLUMNS, self.width);
        let (top, height) = middle(row, ROWS, self.height);
        let (columns, rows) = (width.min(SAMPLES), height.min(SAMPLES));
        let mut sum = 0;
        for y in (0..rows).map(|at| top + at * height / rows) {
            let line = self.data.get(y * self.stride..)?;
            for x in (0..columns).map(|at| left + at * width / columns) {
                sum += u32::from(*line.get(x)?);
            }
        }
        Some(sum / u32::try_from(columns * rows).ok()?)
    }
}

/// CRC-16/CCITT-FALSE.
fn checksum(word: u64) -> u16 {
    word.to_be_bytes().iter().fold(0xffff, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| {
            let shifted = sum << 1;
            if sum & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark {
        source: 3,
        number: 0xab_cdef,
        captured: 0x1234_5678,
    };

    fn painted(mark: Mark, width: usize, height: usize) -> Vec<u8> {
        let mut plane = vec![77; width * height];
        paint(mark, &mut plane, true, width, (width, height));
        plane
    }

    const fn luma(data: &[u8], width: usize, height: usize) -> Luma<'_> {
        Luma {
            data,
            stride: width,
            width,
            height,
        }
    }

    #[test]
    fn a_mark_is_read_at_any_size() {
        for (width, height) in [(160, 120), (160, 90), (176, 144), (333, 217), (1920, 1080)] {
            let plane = painted(MARK, width, height);
            assert_eq!(
                read(&luma(&plane, width, height)),
                Some(MARK),
                "{width}×{height}"
            );
            // The middle is left to the picture.
            assert_eq!(plane[width * (height / 2) + width / 2], 77);
        }
    }

    #[test]
    fn any_block_that_is_wrong_spoils_the_mark() {
        let plane = painted(MARK, 160, 120);
        for row in [0, 1, 2, 3, 14] {
            for column in 0..COLUMNS {
                let mut spoilt = plane.clone();
                for y in row * 8..(row + 1) * 8 {
                    for pixel in &mut spoilt[y * 160 + column * 8..y * 160 + column * 8 + 8] {
                        *pixel = 251 - *pixel;
                    }
                }
                assert_eq!(read(&luma(&spoilt, 160, 120)), None, "{row} {column}");
            }
        }
    }

    #[test]
    fn what_carries_no_mark_is_not_read() {
        for pixels in [
            vec![16; 19200],
            vec![235; 19200],
            (0..19200).map(|at| ((at * 7919) >> 3) as u8).collect(),
        ] {
            assert_eq!(read(&luma(&pixels, 160, 120)), None);
        }
        assert_eq!(read(&luma(&[1, 2, 3], 160, 120)), None);
        assert_eq!(read(&luma(&[], 0, 0)), None);
    }

    #[test]
    fn a_look_changes_with_the_picture() {
        let plane = painted(MARK, 160, 120);
        let next = Mark { number: 1, ..MARK };
        let other = painted(next, 160, 120);
        let of = |plane: &[u8]| look(&luma(plane, 160, 120));
        assert_eq!(of(&plane), of(&plane.clone()));
        assert_ne!(of(&plane), of(&other));
    }
}
