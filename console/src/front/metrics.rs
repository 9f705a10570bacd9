//! Counts and durations of requests, by method, route and status, in Prometheus' text form (version 0.0.4).
//! Routes are patterns, so the number of series is bounded by the route table.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

/// Upper bounds of the duration buckets, in microseconds.
const BUCKETS_US: [u64; 12] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
];
/// Methods with a name of their own in labels.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// All series.
#[derive(Default)]
pub struct Metrics {
    series: Mutex<Series>,
    beside: Mutex<BTreeMap<&'static str, String>>,
}

#[derive(Default)]
struct Series {
    requests: BTreeMap<(&'static str, String, u16), u64>,
    durations: BTreeMap<(&'static str, String), Durations>,
}

#[derive(Default)]
struct Durations {
    buckets: [u64; BUCKETS_US.len()],
    count: u64,
    sum_us: u64,
}

impl Metrics {
    /// One request was answered.
    pub fn record(&self, method: &str, route: &str, status: u16, took: Duration) {
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("OTHER");
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut series = self.series.lock().expect("nothing panics while counting");
        *series.requests.entry((method, route.to_owned(), status)).or_insert(0) += 1;
        let durations = series.durations.entry((method, route.to_owned())).or_default();
        durations.count += 1;
        durations.sum_us = durations.sum_us.saturating_add(us);
        for (bucket, bound) in durations.buckets.iter_mut().zip(BUCKETS_US) {
            *bucket += u64::from(us <= bound);
        }
    }

    /// Takes the text of what was looked at beside requests, in place of what was there under that name.
    pub fn beside(&self, name: &'static str, text: String) {
        self.beside.lock().expect("nothing panics while counting").insert(name, text);
    }

    /// Everything, as `/metrics` shows it.
    pub fn render(&self) -> String {
        let series = self.series.lock().expect("nothing panics while counting");
        let mut out = String::from("# HELP http_requests_total Requests answered by the account API.\n");
        out.push_str("# TYPE http_requests_total counter\n");
        for ((method, route, status), count) in &series.requests {
            let _ = writeln!(
                out,
                r#"http_requests_total{{method="{method}",route="{route}",status="{status}"}} {count}"#
            );
        }
        out.push_str("# HELP http_request_duration_seconds Time from request to answer.\n");
        out.push_str("# TYPE http_request_duration_seconds histogram\n");
        for ((method, route), durations) in &series.durations {
            durations.render(&mut out, &format!(r#"method="{method}",route="{route}""#));
        }
        let beside = self.beside.lock().expect("nothing panics while counting");
        beside.values().for_each(|text| out.push_str(text));
        out
    }
}

impl Durations {
    fn render(&self, out: &mut String, labels: &str) {
        const NAME: &str = "http_request_duration_seconds";
        for (count, bound) in self.buckets.iter().zip(BUCKETS_US) {
            let le = bound as f64 / 1e6;
            let _ = writeln!(out, r#"{NAME}_bucket{{{labels},le="{le}"}} {count}"#);
        }
        let _ = writeln!(out, r#"{NAME}_bucket{{{labels},le="+Inf"}} {}"#, self.count);
        let _ = writeln!(out, "{NAME}_sum{{{labels}}} {}", self.sum_us as f64 / 1e6);
        let _ = writeln!(out, "{NAME}_count{{{labels}}} {}", self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_unknown_methods_share_a_label() {
        let metrics = Metrics::default();
        metrics.record("GET", "/a/{id}", 200, Duration::from_millis(3));
        metrics.record("GET", "/a/{id}", 200, Duration::from_secs(60));
        metrics.record("BREW", "unmatched", 404, Duration::ZERO);
        let text = metrics.render();
        assert!(
            text.contains(r#"http_requests_total{method="GET",route="/a/{id}",status="200"} 2"#),
            "{text}"
        );
        assert!(text.contains(r#"method="OTHER",route="unmatched",status="404"} 1"#));
        assert!(text.contains(r#"_bucket{method="GET",route="/a/{id}",le="0.0025"} 0"#));
        assert!(text.contains(r#"_bucket{method="GET",route="/a/{id}",le="0.005"} 1"#));
        assert!(text.contains(r#"_bucket{method="GET",route="/a/{id}",le="10"} 1"#));
        assert!(text.contains(r#"_bucket{method="GET",route="/a/{id}",le="+Inf"} 2"#));
        assert!(text.contains(r#"_sum{method="GET",route="/a/{id}"} 60.003"#));
    }

    #[test]
    fn what_stands_beside_is_the_newest_of_each() {
        let metrics = Metrics::default();
        for (name, text) in [("cases", "old 1\n"), ("servers", "up 1\n"), ("cases", "new 2\n")] {
            metrics.beside(name, text.to_owned());
        }
        assert!(metrics.render().ends_with("new 2\nup 1\n"), "{}", metrics.render());
    }
}
