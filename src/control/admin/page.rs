//! A page in Prometheus' text format, as it grows.

use std::fmt::{Display, Write};

use crate::journal::histogram::Distribution;

/// The text format's own content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The kind of a family of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// A level.
    Gauge,
    /// A distribution.
    Histogram,
}

/// Labels with their values, which are ours and hold nothing that must be escaped.
pub type Labels<'a> = &'a [(&'static str, &'a dyn Display)];

/// The page. Writing into a string cannot fail.
pub struct Page(String);

impl Page {
    /// An empty one.
    pub fn new() -> Page {
        Page(String::with_capacity(32 * 1024))
    }

    /// What was written.
    pub fn text(self) -> String {
        self.0
    }

    /// Begins a family: its samples follow.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample of the family begun last.
    pub fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{text}\"");
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{after} {value}");
    }

    /// A family of one sample.
    pub fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// A histogram of the family begun last, in seconds.
    pub fn histogram(&mut self, name: &str, labels: Labels<'_>, read: &Distribution) {
        let bucket = format!("{name}_bucket");
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        for (bound, up_to) in &read.up_to {
            let bound = seconds(*bound);
            let labels: Vec<_> = labels.iter().copied().chain([("le", &bound as _)]).collect();
            self.sample(&bucket, &labels, up_to);
        }
        let labels_of_all: Vec<_> = labels.iter().copied().chain([("le", &"+Inf" as _)]).collect();
        self.sample(&bucket, &labels_of_all, read.count);
        self.sample(&format!("{name}_sum"), labels, seconds(read.sum_nanos));
        self.sample(&format!("{name}_count"), labels, read.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_cumulative_buckets_in_seconds() {
        let mut page = Page::new();
        let read = Distribution {
            up_to: vec![(250_000, 1), (1_000_000_000, 3)],
            count: 4,
            sum_nanos: 2_500_000_000,
        };
        page.histogram("x_seconds", &[("worker", &0)], &read);
        assert_eq!(
            page.text(),
            "x_seconds_bucket{worker=\"0\",le=\"0.00025\"} 1\n\
             x_seconds_bucket{worker=\"0\",le=\"1\"} 3\n\
             x_seconds_bucket{worker=\"0\",le=\"+Inf\"} 4\n\
             x_seconds_sum{worker=\"0\"} 2.5\n\
             x_seconds_count{worker=\"0\"} 4\n"
        );
    }
}
