//! The rows for machines: one JSON document a line.

use super::row::{Row, Run};

/// One line for each row; histograms only where they are asked for.
pub fn lines(run: &Run, with_hdr: bool) -> String {
    let line = |row: &Row| {
        let row = if with_hdr { row.clone() } else { without_hdr(row) };
        serde_json::to_string(&row).expect("a row is plain data") + "\n"
    };
    run.rows.iter().map(line).collect()
}

/// The row without its histograms.
pub fn without_hdr(row: &Row) -> Row {
    Row { hdr: String::new(), floor_hdr: String::new(), ..row.clone() }
}
