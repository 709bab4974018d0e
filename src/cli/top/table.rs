//! Tables of text: columns, rows, their order.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::units::{clean, columns, cut};

/// The widest that a column's text may be; the last column has what is left.
const WIDEST: usize = 36;

/// How a table is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    /// Which column.
    pub(super) column: usize,
    /// Whether the greatest comes first.
    pub(super) down: bool,
}

/// A table, ready to be printed.
#[derive(Debug, PartialEq)]
pub(super) struct Table {
    columns: &'static [Column],
    pub(super) rows: Vec<Row>,
}

/// A column's name, and whether it holds numbers, which are set to the right.
pub(super) type Column = (&'static str, bool);

/// One row.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    /// What `k` puts out.
    pub(super) target: Option<Target>,
}

/// What can be put out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// In words.
    pub(super) name: String,
    /// What to DELETE.
    pub(super) path: String,
}

/// One field: as people read it, and as it is compared.
#[derive(Debug, PartialEq)]
pub(super) enum Cell {
    Text(String),
    Number(f64, String),
    Nothing,
}

impl Order {
    /// By the first column, upwards.
    pub(super) const FIRST: Self = Self {
        column: 0,
        down: false,
    };
}

impl Target {
    pub(super) fn new(name: String, parts: &[&str]) -> Self {
        let mut path = "/api".to_owned();
        for part in parts {
            path.push('/');
            for byte in part.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                        path.push(char::from(byte));
                    }
                    // Writing to a text doesn't fail. A dot, too: a part may be "..".
                    _ => drop(write!(path, "%{byte:02X}")),
                }
            }
        }
        Self {
            name: clean(&name),
            path,
        }
    }
}

impl Cell {
    pub(super) fn of(from: &Map<String, Value>, name: &str, print: fn(f64) -> String) -> Self {
        number(from, name).map_or(Self::Nothing, |it| Self::number(it, print))
    }

    pub(super) fn number(number: f64, print: impl Fn(f64) -> String) -> Self {
        Self::Number(number, print(number))
    }

    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(_, text) => text,
            Self::Nothing => "-",
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        match &*text {
            "" => Self::Nothing,
            text => Self::Text(clean(text)),
        }
    }
}

impl Table {
    /// Puts rows in order.
    pub(super) fn new(columns: &'static [Column], mut rows: Vec<Row>, order: Order) -> Self {
        rows.sort_by(|a, b| {
            let (a, b) = (a.cells.get(order.column), b.cells.get(order.column));
            compare(a, b, order.down)
        });
        Self { columns, rows }
    }

    /// The heads and the rows as lines, in columns; nothing is longer than `width`.
    pub(super) fn lines(&self, order: Option<Order>, width: usize) -> (String, Vec<String>) {
        let heads: Vec<String> = (self.columns.iter().enumerate())
            .map(|(at, (name, _))| match order {
                Some(Order { column, down }) if column == at => {
                    format!("{name}{}", if down { "↓" } else { "↑" })
                }
                _ => (*name).to_owned(),
            })
            .collect();
        let mut widths: Vec<usize> = heads.iter().map(|head| columns(head)).collect();
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(&row.cells) {
                *widest = columns(cell.text()).min(WIDEST).max(*widest);
            }
        }
        let heads = self.line(heads.iter().map(String::as_str), &widths, width);
        let rows = self.rows.iter();
        let rows = rows.map(|row| self.line(row.cells.iter().map(Cell::text), &widths, width));
        (heads, rows.collect())
    }

    fn line<'a>(
        &self,
        texts: impl Iterator<Item = &'a str>,
        widths: &[usize],
        width: usize,
    ) -> String {
        let mut line = String::new();
        let last = widths.len().saturating_sub(1);
        for (at, ((text, wide), (_, is_number))) in texts.zip(widths).zip(self.columns).enumerate()
        {
            if at == last && !is_number {
                line.push_str(text);
                break;
            }
            let text = cut(text, *wide);
            let pad = " ".repeat(wide.saturating_sub(columns(&text)));
            let (left, right) = if *is_number { (&*pad, "") } else { ("", &*pad) };
            line.extend([left, &text, right, "  "]);
        }
        cut(line.trim_end(), width)
    }
}

/// Nothing comes last in either order. Numbers and texts in one column are kept apart: sorting panics at an
/// order that contradicts itself, and a server may tell what it likes.
fn compare(a: Option<&Cell>, b: Option<&Cell>, down: bool) -> Ordering {
    let order = match (a, b) {
        (None | Some(Cell::Nothing), None | Some(Cell::Nothing)) => return Ordering::Equal,
        (None | Some(Cell::Nothing), _) => return Ordering::Greater,
        (_, None | Some(Cell::Nothing)) => return Ordering::Less,
        (Some(Cell::Text(a)), Some(Cell::Text(b))) => a.cmp(b),
        (Some(Cell::Number(a, _)), Some(Cell::Number(b, _))) => a.total_cmp(b),
        (Some(Cell::Number(..)), Some(Cell::Text(_))) => Ordering::Less,
        (Some(Cell::Text(_)), Some(Cell::Number(..))) => Ordering::Greater,
    };
    if down { order.reverse() } else { order }
}

/// A field as text; numbers are printed, and what isn't there is empty.
pub(super) fn text(from: &Map<String, Value>, name: &str) -> String {
    match from.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

pub(super) fn number(from: &Map<String, Value>, name: &str) -> Option<f64> {
    from.get(name)?.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_in_one_column_have_an_order() {
        let cells = || {
            [
                Cell::Text("b".to_owned()),
                Cell::number(1.0, |it| it.to_string()),
                Cell::Nothing,
                Cell::Text("a".to_owned()),
                Cell::number(2.0, |it| it.to_string()),
            ]
        };
        let sorted = |down| {
            let row = |cell| Row {
                cells: vec![cell],
                target: None,
            };
            // Enough of them for the sort to look at more than neighbours.
            let rows = (0..20).flat_map(|_| cells()).map(row).collect();
            let table = Table::new(&[("X", false)], rows, Order { column: 0, down });
            let texts = table.rows.iter().map(|row| row.cells[0].text().to_owned());
            let mut texts: Vec<_> = texts.collect();
            texts.dedup();
            texts.join(" ")
        };
        assert_eq!(sorted(false), "1 2 a b -");
        assert_eq!(sorted(true), "b a 2 1 -");
    }
}
