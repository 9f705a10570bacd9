//! A line chart, drawn on the server. Whoever draws one puts a table with the same numbers beside it.

use leptos::prelude::*;

/// Inner size of the picture.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 160.0;

/// One line: its name, and a value for each moment; `None` leaves a gap.
pub struct Line {
    /// Its name for programs.
    pub key: String,
    pub name: String,
    pub values: Vec<Option<f64>>,
}

/// Most lines of one chart that are told apart.
pub const LINES_MAX: usize = 3;

/// Draws it. `top` writes the largest value, for the corner.
pub fn chart(title: String, lines: &[Line], top: impl Fn(f64) -> String) -> AnyView {
    let largest = lines.iter().flat_map(|line| line.values.iter().flatten()).fold(0.0f64, |a, b| a.max(*b));
    let legend = lines.iter().take(LINES_MAX).enumerate().map(|(n, line)| {
        view! { <li><span class=format!("key line-{n}")></span>{line.name.clone()}</li> }
    });
    let legend = legend.collect_view();
    let drawn = lines.iter().take(LINES_MAX).enumerate().map(|(n, line)| {
        view! { <path d=path(&line.values, largest) class=format!("line line-{n}")></path> }
    });
    let drawn = drawn.collect_view();
    view! {
        <figure class="chart">
            <figcaption>{title.clone()}" · "{top(largest)}</figcaption>
            <svg viewBox=format!("0 -4 {WIDTH} {}", HEIGHT + 8.0) role="img" aria-label=title preserveAspectRatio="none">
                <path d=format!("M0 {HEIGHT}H{WIDTH}M0 0H{WIDTH}") class="frame"></path>
                {drawn}
            </svg>
            <ul class="legend">{legend}</ul>
        </figure>
    }
    .into_any()
}

fn path(values: &[Option<f64>], largest: f64) -> String {
    let step = WIDTH / (values.len().max(2) - 1) as f64;
    let scale = if largest > 0.0 { HEIGHT / largest } else { 0.0 };
    let (mut path, mut is_drawing) = (String::new(), false);
    for (n, value) in values.iter().enumerate() {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let (x, y) = (n as f64 * step, HEIGHT - value * scale);
        // A lone point is a dot, by its round end.
        path += &if is_drawing { format!("L{x:.1} {y:.1}") } else { format!("M{x:.1} {y:.1}h0") };
        is_drawing = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn gaps_stay_gaps() {
        let drawn = path(&[Some(0.0), Some(10.0), None, Some(5.0)], 10.0);
        assert_eq!(drawn, "M0.0 160.0h0L200.0 0.0M600.0 80.0h0");
        assert_eq!(path(&[], 0.0), "");
        assert_eq!(path(&[Some(0.0)], 0.0), "M0.0 160.0h0");
    }
}
