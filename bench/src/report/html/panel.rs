//! A chart in its place: heading, one line in words, the drawing, and its table folded away under it.

use std::fmt::Write as _;

use super::svg::escape;
use crate::report::row::Row;
use crate::report::words::count;

/// What stands around a drawing. All of it is plain text but `drawing`.
pub struct Panel<'a> {
    pub heading: &'a str,
    pub caption: &'a str,
    pub drawing: &'a str,
    pub headings: &'a [&'a str],
    /// As many cells as headings; the first names its row.
    pub rows: Vec<Vec<String>>,
}

impl Panel<'_> {
    pub fn html(&self) -> String {
        format!(
            "<figure><figcaption><h3>{}</h3><p>{}</p></figcaption>{}{}</figure>\n",
            escape(self.heading),
            escape(self.caption),
            self.drawing,
            self.table()
        )
    }

    fn table(&self) -> String {
        let mut rows = String::new();
        for row in &self.rows {
            rows.push_str("<tr>");
            for (index, cell) in row.iter().enumerate() {
                let cell = escape(cell);
                let _ = match index {
                    0 => write!(rows, r#"<th scope="row">{cell}</th>"#),
                    _ => write!(rows, "<td>{cell}</td>"),
                };
            }
            rows.push_str("</tr>");
        }
        let headings: String = self
            .headings
            .iter()
            .map(|heading| format!(r#"<th scope="col">{}</th>"#, escape(heading)))
            .collect();
        format!(
            r#"<details><summary>Figures</summary><div class="wide"><table><thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table></div></details>"#
        )
    }
}

/// How a section's panels lie, and what their marks mean.
pub enum Kind {
    Bars,
    Curves,
    Trends,
}

impl Kind {
    /// Classes, and the keys with their meaning.
    fn look(&self) -> (&'static str, &'static [(&'static str, &'static str)]) {
        match self {
            Self::Bars => ("panels packed", &[("relay", "relay"), ("floor", "floor"), ("goal", "goal")]),
            Self::Curves => ("panels", &[("line", "relay"), ("dashed", "floor")]),
            Self::Trends => ("panels small", &[("line", "relay"), ("level", "goal")]),
        }
    }
}

/// A section of panels, or nothing where there are none.
pub fn section(title: &str, intro: &str, kind: &Kind, panels: &[String]) -> String {
    if panels.is_empty() {
        return String::new();
    }
    let (title, intro, panels) = (escape(title), escape(intro), panels.concat());
    let (class, keys) = kind.look();
    let key = |(mark, word): &(&str, &str)| format!(r#"<span class="key {mark}"></span>{word}"#);
    let legend: String = keys.iter().map(key).collect();
    format!(
        r#"<section><h2>{title}</h2><p class="intro">{intro}</p><p class="legend">{legend}</p><div class="{class}">{panels}</div></section>"#
    ) + "\n"
}

/// Transport, connections and bytes of a row in a few words.
pub fn circumstances(row: &Row) -> String {
    let transport = match row.transport.as_str() {
        "websocket" => "WebSocket",
        "quic" => "QUIC",
        other => other,
    };
    let mut words = vec![transport.to_owned()];
    if row.n > 0 {
        words.push(format!("{} conn.", count(row.n)));
    }
    if row.payload > 0 {
        words.push(format!("{} B", count(row.payload)));
    }
    words.retain(|word| !word.is_empty());
    words.join(", ")
}
