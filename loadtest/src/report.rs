//! The result of a run, as `--json` prints it and the tables show it. Times are microseconds.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    plan::Plan,
    run::Measured,
    schedule::Arrivals,
    tally::{Fault, Tally},
};

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The program's version.
    pub version: &'static str,
    /// The target.
    pub url: String,
    /// The direct upstream.
    pub direct_url: Option<String>,
    /// `even`, `random` or `replay`.
    pub arrivals: &'static str,
    /// Requests a second that were due, on each side.
    pub rate: f64,
    /// How long they were, on each side.
    pub duration_s: f64,
    /// Requests of one tick were due together; 0: each at its own time.
    pub tick_ms: f64,
    /// From the first request's due time to the last answer, all sides.
    pub elapsed_s: f64,
    /// Connections of a side.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// `io_uring` or `epoll`.
    pub driver: &'static str,
    /// Streams were asked for.
    pub stream: bool,
    /// What the target did.
    pub target: Side,
    /// What the direct upstream did.
    pub direct: Option<Side>,
    /// Target minus direct.
    pub added: Option<Added>,
    /// How late the load tester itself was. It is part of all times from a due time.
    pub tester_late: Spread,
    /// The load tester's own CPU time.
    pub tester_cpu_us_per_request: f64,
    /// The CPU time of the process that was named with `--pid`, for each request to the target.
    pub target_cpu_us_per_request: Option<f64>,
}

/// What one side did.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// Requests that were due.
    pub requests: u64,
    /// Those with a complete 2xx answer.
    pub ok: u64,
    /// Those without, by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Complete answers a second.
    pub answered_per_s: f64,
    /// Bytes of all answers.
    pub bytes: u64,
    /// Idle connections that the peer closed.
    pub reconnects: u64,
    /// Most requests that waited for a connection at once.
    pub backlog_max: u64,
    /// Times of whole answers.
    pub latency: Latency,
    /// Streams alone.
    pub streams: Option<Streams>,
}

/// Times of whole answers.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// From when they were due.
    pub corrected: Spread,
    /// From when they were sent: what a closed loop shows.
    pub uncorrected: Spread,
}

/// What streams did.
#[derive(Clone, Debug, Serialize)]
pub struct Streams {
    /// Answers that are streams.
    pub count: u64,
    /// Tokens, all together.
    pub tokens: u64,
    /// Streams without a proper end.
    pub truncated: u64,
    /// To the first token, from when the request was due.
    pub first_token: Spread,
    /// From token to token.
    pub gap: Spread,
}

/// A histogram in some figures, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// How many values.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// 90 % are no greater.
    pub p90: f64,
    /// 99 % are no greater.
    pub p99: f64,
    /// 99.9 % are no greater.
    pub p99_9: f64,
    /// 99.99 % are no greater.
    pub p99_99: f64,
    /// The greatest.
    pub max: f64,
}

/// What the target adds to the direct way, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Added {
    /// To whole answers, from when they were due.
    pub latency: Difference,
    /// To whole answers, from when they were sent.
    pub latency_uncorrected: Difference,
    /// To the first token.
    pub first_token: Option<Difference>,
    /// To the gap between tokens.
    pub gap: Option<Difference>,
}

/// Percentile minus percentile.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Difference {
    /// Of the means.
    pub mean: f64,
    /// Of the medians.
    pub p50: f64,
    /// Of the 90th percentiles.
    pub p90: f64,
    /// Of the 99th percentiles.
    pub p99: f64,
    /// Of the 99.9th percentiles.
    pub p99_9: f64,
}

impl Report {
    /// Sums a run up.
    #[must_use]
    pub fn new(plan: &Plan, measured: &Measured) -> Report {
        let seconds = if plan.sides.len() == 1 { measured.elapsed } else { plan.duration };
        let side = |number: usize| {
            measured.sides.get(number).map(|tally| Side::new(tally, seconds.max(plan.duration)))
        };
        let target = side(0).unwrap_or_else(|| Side::new(&Tally::default(), plan.duration));
        let direct = side(1);
        let total: u64 = measured.sides.iter().map(|side| side.requests).sum();
        let each = |cpu: Duration, requests: u64| cpu.as_secs_f64() * 1e6 / requests.max(1) as f64;
        let connections = plan.sides.first().map_or(0, |side| side.connections * plan.threads);
        Report {
            version: env!("CARGO_PKG_VERSION"),
            url: plan.urls.first().cloned().unwrap_or_default(),
            direct_url: plan.urls.get(1).cloned(),
            arrivals: match plan.arrivals {
                Arrivals::Even { .. } => "even",
                Arrivals::Random { .. } => "random",
                Arrivals::Listed(_) => "replay",
            },
            rate: plan.rate,
            duration_s: plan.duration.as_secs_f64(),
            tick_ms: plan.tick.as_secs_f64() * 1e3,
            elapsed_s: measured.elapsed.as_secs_f64(),
            connections,
            threads: plan.threads,
            driver: plan.driver.as_str(),
            stream: plan.stream,
            added: direct.as_ref().map(|direct| Added::new(&target, direct)),
            tester_late: lateness(&measured.sides),
            tester_cpu_us_per_request: each(measured.own_cpu, total),
            target_cpu_us_per_request: measured.target_cpu.map(|cpu| each(cpu, target.requests)),
            target,
            direct,
        }
    }
}

fn lateness(sides: &[Tally]) -> Spread {
    let mut all = Tally::default();
    sides.iter().for_each(|side| all.merge(side));
    Spread::of(&all.lateness)
}

impl Side {
    fn new(tally: &Tally, time: Duration) -> Side {
        let errors = Fault::ALL.into_iter().map(|fault| (fault.name(), tally.failed(fault)));
        let streams = (tally.streams > 0).then(|| Streams {
            count: tally.streams,
            tokens: tally.tokens,
            truncated: tally.failed(Fault::Truncated),
            first_token: Spread::of(&tally.first_token),
            gap: Spread::of(&tally.gap),
        });
        Side {
            requests: tally.requests,
            ok: tally.ok,
            errors: errors.filter(|(_, count)| *count > 0).collect(),
            statuses: tally.statuses.clone(),
            answered_per_s: tally.ok as f64 / time.as_secs_f64().max(1e-9),
            bytes: tally.bytes,
            reconnects: tally.reconnects,
            backlog_max: tally.backlog_max,
            latency: Latency {
                corrected: Spread::of(&tally.corrected),
                uncorrected: Spread::of(&tally.uncorrected),
            },
            streams,
        }
    }
}

impl Spread {
    fn of(histogram: &Histogram<u64>) -> Spread {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Spread {
            count: histogram.len(),
            min: micros(if histogram.is_empty() { 0 } else { histogram.min() }),
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: micros(histogram.max()),
        }
    }
}

impl Added {
    fn new(target: &Side, direct: &Side) -> Added {
        let streams = target.streams.as_ref().zip(direct.streams.as_ref());
        let (through, straight) = (&target.latency, &direct.latency);
        Added {
            latency: Difference::of(&through.corrected, &straight.corrected),
            latency_uncorrected: Difference::of(&through.uncorrected, &straight.uncorrected),
            first_token: streams.map(|(a, b)| Difference::of(&a.first_token, &b.first_token)),
            gap: streams.map(|(a, b)| Difference::of(&a.gap, &b.gap)),
        }
    }
}

impl Difference {
    fn of(target: &Spread, direct: &Spread) -> Difference {
        Difference {
            mean: target.mean - direct.mean,
            p50: target.p50 - direct.p50,
            p90: target.p90 - direct.p90,
            p99: target.p99 - direct.p99,
            p99_9: target.p99_9 - direct.p99_9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Outcome;
    use trunkline::base::units::Instant;

    fn tally(extra_micros: u64) -> Tally {
        let mut tally = Tally::default();
        for micros in 1..=1000_u64 {
            let ended = Instant { nanos: (micros + extra_micros) * 1000 };
            let begun = Some(Instant::default());
            let due = Instant::default();
            let status = Some(200);
            tally.note(&Outcome { due, begun, ended, status, bytes: 1, result: Ok(()) });
        }
        tally
    }

    fn near(value: f64, wanted: f64) -> bool {
        (value - wanted).abs() <= wanted.abs() * 0.002 + 0.01
    }

    #[test]
    fn percentiles_are_microseconds() {
        let spread = Spread::of(&tally(0).corrected);
        assert_eq!(spread.count, 1000);
        for (value, wanted) in [
            (spread.min, 1.0),
            (spread.mean, 500.5),
            (spread.p50, 500.0),
            (spread.p90, 900.0),
            (spread.p99, 990.0),
            (spread.p99_9, 999.0),
            (spread.max, 1000.0),
        ] {
            assert!(near(value, wanted), "{value} is not {wanted}");
        }
        let none = Spread::of(&Tally::default().gap);
        assert_eq!((none.count, none.min, none.max), (0, 0.0, 0.0));
        assert!(none.mean.abs() < f64::EPSILON);
    }

    #[test]
    fn what_the_target_adds_is_the_difference() {
        let side = |extra| Side::new(&tally(extra), Duration::from_secs(2));
        let added = Added::new(&side(70), &side(20));
        assert!((added.latency.p50 - 50.0).abs() < 1.0, "{added:?}");
        assert!((added.latency.p99 - 50.0).abs() < 1.5, "{added:?}");
        assert!((side(0).answered_per_s - 500.0).abs() < 1e-6);
        assert!(added.first_token.is_none());
    }
}
