//! What a run measured: one row for each shape, always beside the floor of the same run. Decides which figures a goal
//! or a recorded value may be about.

use serde::{Deserialize, Serialize};

/// One shape, measured on the relay and on its floor. A number that does not apply is 0 or NaN; times are
/// microseconds, memory is KiB, CPU is user and system time of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Unique in its run.
    pub shape: String,
    /// `websocket`, `quic` or `store`.
    pub transport: String,
    /// Connections.
    pub n: u64,
    /// Bytes of a body.
    pub payload: u64,
    /// `ephemeral`, `durable` or empty.
    pub kind: String,
    #[serde(with = "number")]
    pub cpu_us_per_delivery: f64,
    /// The floor's name.
    pub floor: String,
    #[serde(with = "number")]
    pub floor_cpu_us: f64,
    /// What the shape is about, relay over floor.
    #[serde(with = "number")]
    pub ratio: f64,
    /// Deliveries per second; connects per second where the shape is connecting, acks where it is storing.
    #[serde(with = "number")]
    pub dps: f64,
    #[serde(with = "number")]
    pub floor_dps: f64,
    #[serde(with = "number")]
    pub p50_us: f64,
    #[serde(with = "number")]
    pub p99_us: f64,
    #[serde(with = "number")]
    pub p999_us: f64,
    #[serde(with = "number")]
    pub max_us: f64,
    #[serde(with = "number")]
    pub floor_p50_us: f64,
    #[serde(with = "number")]
    pub floor_p99_us: f64,
    #[serde(with = "number")]
    pub floor_p999_us: f64,
    #[serde(with = "number")]
    pub floor_max_us: f64,
    #[serde(with = "number")]
    pub rss_kib_per_conn: f64,
    #[serde(with = "number")]
    pub floor_rss_kib_per_conn: f64,
    /// Runs whose median this is.
    pub runs: u64,
    /// Largest over smallest CPU of the relay in these runs.
    #[serde(with = "number")]
    pub spread: f64,
    /// The machine was too noisy for the row to be believed.
    pub noisy: bool,
    /// The goal in words, or empty.
    pub goal: String,
    pub met: Option<bool>,
    /// Which figure the goal is about, where it is one number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal_figure: Option<Figure>,
    /// The goal's number.
    #[serde(with = "number", skip_serializing_if = "absent")]
    pub goal_limit: f64,
    /// Delivery latency of the relay over all runs, in nanoseconds: HDR histogram, V2, base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hdr: String,
    /// The same of the floor.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub floor_hdr: String,
}

/// All rows of one run and where they were measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    pub commit: String,
    /// The working tree differed from the commit.
    pub dirty: bool,
    /// RFC 3339.
    pub date: String,
    pub machine: String,
    pub kernel: String,
    pub command: String,
    /// Profile of the build.
    pub profile: String,
    pub rows: Vec<Row>,
}

impl Row {
    /// Which way the figure of the row's goal improves.
    pub fn better(&self) -> Better {
        let at_least = self.goal.contains("at least") || self.goal.contains(['≥', '>']);
        match self.goal_figure {
            Some(Figure::Dps | Figure::DpsRatio) => Better::Higher,
            None | Some(Figure::Ratio) if at_least => Better::Higher,
            _ => Better::Lower,
        }
    }
}

/// Which way a figure improves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    #[default]
    Lower,
    Higher,
}

/// A number of a row that goals and recorded values are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The row's own `ratio`.
    Ratio,
    CpuRatio,
    DpsRatio,
    P50Ratio,
    P99Ratio,
    CpuUs,
    Dps,
    P99Us,
    RssKib,
}

impl Figure {
    /// The figure of a row; `None` where it was not measured.
    pub fn of(self, row: &Row) -> Option<f64> {
        match self {
            Self::Ratio => measured(row.ratio),
            Self::CpuRatio => over(row.cpu_us_per_delivery, row.floor_cpu_us),
            Self::DpsRatio => over(row.dps, row.floor_dps),
            Self::P50Ratio => over(row.p50_us, row.floor_p50_us),
            Self::P99Ratio => over(row.p99_us, row.floor_p99_us),
            Self::CpuUs => measured(row.cpu_us_per_delivery),
            Self::Dps => measured(row.dps),
            Self::P99Us => measured(row.p99_us),
            Self::RssKib => measured(row.rss_kib_per_conn),
        }
    }

    /// Its name in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ratio => "ratio to the floor",
            Self::CpuRatio => "CPU over the floor's",
            Self::DpsRatio => "rate over the floor's",
            Self::P50Ratio => "p50 over the floor's",
            Self::P99Ratio => "p99 over the floor's",
            Self::CpuUs => "CPU us per delivery",
            Self::Dps => "per second",
            Self::P99Us => "p99 us",
            Self::RssKib => "KiB per connection",
        }
    }
}

/// A number that applies: finite and not 0.
pub fn measured(number: f64) -> Option<f64> {
    (number.is_finite() && number != 0.0).then_some(number)
}

fn over(relay: f64, floor: f64) -> Option<f64> {
    Some(measured(relay)? / measured(floor)?)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn absent(number: &f64) -> bool {
    measured(*number).is_none()
}

/// Numbers in JSON: five significant digits, and `null` where there is none.
mod number {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if number.is_finite() {
            serializer.serialize_f64(format!("{number:.4e}").parse().unwrap_or(*number))
        } else {
            serializer.serialize_none()
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or_default())
    }
}
