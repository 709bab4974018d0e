//! For the targets of `fuzz/`: what a server tells `switchboard top`.

use super::client::list;
use super::model::{Look, Model, View};
use super::table::Order;
use super::units::columns;

/// Lines are no wider.
const WIDTH: usize = 80;

/// A server tells what it does, in so many looks: as `GET /api/server`, and each list.
///
/// # Panics
/// If what it tells would steer a terminal, or a line is too long.
pub fn looks(looks: &[(&str, [&str; 4])], column: u8, down: bool) {
    let mut model = Model::default();
    for (at, (server, lists)) in (1_u32..).zip(looks) {
        let told = |(view, text): (View, &&str)| {
            let told = serde_json::from_str(text).ok()?;
            Some((view, list(told, view.name())))
        };
        model.take(Look {
            at: at.into(),
            server: serde_json::from_str(server).unwrap_or_default(),
            lists: View::ALL.into_iter().zip(lists).filter_map(told).collect(),
        });
    }
    let mut lines = model.head("http://127.0.0.1:8080");
    for view in View::ALL {
        let column = usize::from(column) % view.columns().len();
        let order = Order { column, down };
        let (head, rows) = model.table(view, order).lines(Some(order), WIDTH);
        for line in rows.iter().chain([&head]) {
            assert!(columns(line) <= WIDTH, "{line}");
        }
        lines.push(model.count(view));
        lines.extend(rows);
    }
    for line in lines {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    let _ = model.json();
}
