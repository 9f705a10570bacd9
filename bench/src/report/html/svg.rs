//! Draws: lines, bars, text and the scales under them, as inline SVG. Colours and type come from the style sheet by
//! class, so that one drawing serves light, dark and paper.

use std::fmt::Write as _;

/// A drawing in CSS pixels.
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = write!(
            self.body,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    pub fn rect(&mut self, corner: (f64, f64), size: (f64, f64), class: &str) {
        let ((x, y), (width, height)) = (corner, size);
        let _ = write!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{:.1}" height="{:.1}"/>"#,
            width.max(0.0),
            height.max(0.0)
        );
    }

    /// Text whose baseline begins (or by class `mid` and `end` is centred, ends) at a point.
    pub fn text(&mut self, at: (f64, f64), class: &str, text: &str) {
        let (x, y) = at;
        let text = escape(text);
        let _ = write!(self.body, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#);
    }

    pub fn path(&mut self, points: &[(f64, f64)], class: &str) {
        let mut steps = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let _ = write!(steps, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
        }
        let _ = write!(self.body, r#"<path class="{class}" d="{steps}"/>"#);
    }

    /// A dot that says what it is when pointed at.
    pub fn dot(&mut self, at: (f64, f64), class: &str, title: &str) {
        let (x, y) = at;
        let title = escape(title);
        let _ = write!(
            self.body,
            r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="3.5"><title>{title}</title></circle>"#
        );
    }

    /// The drawing, with what it shows in words for those who can't see it.
    pub fn finish(self, label: &str) -> String {
        let Self { width, height, body } = self;
        let label = escape(label);
        format!(r#"<svg viewBox="0 0 {width:.0} {height:.0}" role="img" aria-label="{label}">{body}</svg>"#)
    }
}

/// Text that can stand in HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// About how wide a text is, rather too much than too little.
pub fn width_of(text: &str, size_px: f64) -> f64 {
    text.chars().count() as f64 * size_px * 0.6
}

/// From values to places.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    domain: (f64, f64),
    range: (f64, f64),
    log: bool,
}

impl Scale {
    pub fn linear(domain: (f64, f64), range: (f64, f64)) -> Self {
        Self { domain, range, log: false }
    }

    /// By powers of ten, the domain widened to round numbers (1, 2, 5).
    pub fn log(domain: (f64, f64), range: (f64, f64)) -> Self {
        let low = domain.0.max(1e-3);
        let high = domain.1.max(low * 1.01);
        Self { domain: (round_down(low), round_up(high)), range, log: true }
    }

    pub fn at(&self, value: f64) -> f64 {
        let place = |value: f64| if self.log { value.max(1e-9).log10() } else { value };
        let (low, high) = (place(self.domain.0), place(self.domain.1));
        let part = ((place(value) - low) / (high - low)).clamp(0.0, 1.0);
        self.range.0 + part * (self.range.1 - self.range.0)
    }

    /// Round values to label, at most about `most`.
    pub fn ticks(&self, most: usize) -> Vec<f64> {
        if self.log { self.log_ticks(most) } else { self.linear_ticks(most) }
    }

    fn linear_ticks(&self, most: usize) -> Vec<f64> {
        let (low, high) = self.domain;
        let step = round_up((high - low) / most.max(1) as f64);
        let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
        (first..=last).map(|index| index as f64 * step).collect()
    }

    fn log_ticks(&self, most: usize) -> Vec<f64> {
        let (low, high) = (self.domain.0 * 0.999, self.domain.1 * 1.001);
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let of = |steps: &[f64]| -> Vec<f64> {
            let all =
                decades.clone().flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
            all.filter(|tick| (low..=high).contains(tick)).collect()
        };
        [&[1.0, 2.0, 5.0][..], &[1.0, 3.0]]
            .into_iter()
            .map(of)
            .find(|ticks| ticks.len() <= most)
            .unwrap_or_else(|| of(&[1.0]))
    }
}

fn round_up(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|step| step * decade)
        .find(|round| *round >= value * 0.999_999)
        .unwrap_or(10.0 * decade)
}

fn round_down(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0]
        .into_iter()
        .map(|step| step * decade)
        .find(|round| *round <= value * 1.000_001)
        .unwrap_or(decade)
}
