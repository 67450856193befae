//! Retries of one target: what is retried, how long it waits, what `Retry-After` does, and what the header counts.

use std::time::Duration;

use trunkline::{
    config::policy::{RETRY_CODES_DEFAULT, Retry},
    policy::{
        attempt::{Network, Outcome, retry_after},
        condition::Facts,
        plan::plan,
    },
};

use super::make::{Tried, fallback, paths, policy, retrying, status, target, walk};

fn retry(attempts: u32) -> Retry {
    Retry { attempts, jitter: false, ..Retry::default() }
}

fn limited(seconds: u64) -> Outcome {
    Outcome::Status { code: 429, retry_after: Some(Duration::from_secs(seconds)) }
}

/// Runs one target against a script (its last entry repeats); the tries and the count of the header.
fn run(retry: Retry, script: &[Outcome]) -> (Vec<Tried>, i32) {
    let policy = policy(retrying(retry));
    let plan = plan(&policy, 1, &Facts::default());
    let mut script = script.iter().peekable();
    let (tried, shown) = walk(&plan, 0, |_, _| {
        let outcome = **script.peek().unwrap();
        if script.len() > 1 {
            script.next();
        }
        outcome
    });
    (tried, shown.unwrap().retry_attempt_count)
}

fn waits_secs(tried: &[Tried]) -> Vec<f64> {
    tried.iter().skip(1).map(|one| one.waited_nanos as f64 / 1e9).collect()
}

#[test]
fn waits_double_up_to_16_seconds() {
    let (tried, count) = run(retry(7), &[status(500)]);
    assert_eq!(waits_secs(&tried), [1.0, 2.0, 4.0, 8.0, 16.0, 16.0, 16.0]);
    assert_eq!(count, -1);
}

#[test]
fn jitter_adds_up_to_a_fifth() {
    let policy = policy(retrying(Retry { jitter: true, ..retry(5) }));
    let plan = plan(&policy, 1, &Facts::default());
    for (dice, factor) in [(0, 1.0), (u64::MAX / 2, 1.1), (u64::MAX, 1.2)] {
        let (tried, _) = walk(&plan, dice, |_, _| status(500));
        for (waited, plain) in waits_secs(&tried).iter().zip([1.0, 2.0, 4.0, 8.0, 16.0]) {
            assert!((waited - plain * factor).abs() < 1e-6, "{waited} for {plain} x {factor}");
            assert!(*waited < plain * 1.2 + 1e-9);
        }
    }
}

#[test]
fn each_default_code_is_retried_and_no_other() {
    for code in [200, 201, 204, 206, 246, 300, 400, 401, 403, 404, 408, 422, 446, 501] {
        assert_eq!(run(retry(1), &[status(code)]).0.len(), 1, "{code}");
    }
    for code in RETRY_CODES_DEFAULT {
        assert_eq!(run(retry(1), &[status(code)]).0.len(), 2, "{code}");
    }
}

#[test]
fn own_codes_replace_the_default() {
    let own = Retry { on_status_codes: vec![418, 200], ..retry(1) };
    assert_eq!(run(own.clone(), &[status(418)]).0.len(), 2);
    assert_eq!(run(own.clone(), &[status(500)]).0.len(), 1);
    assert_eq!(run(own, &[status(200)]).0.len(), 1, "a success is never thrown away");
}

#[test]
fn network_faults_are_retried_whatever_the_codes() {
    let none = Retry { on_status_codes: Vec::new(), ..retry(2) };
    for fault in [
        Network::Unreachable,
        Network::ConnectTimeout,
        Network::FirstByteTimeout,
        Network::Protocol,
        Network::Truncated,
    ] {
        let (tried, count) = run(none.clone(), &[Outcome::Network(fault)]);
        assert_eq!((tried.len(), count), (3, -1), "{fault:?}");
    }
    assert_eq!(run(retry(0), &[Outcome::Network(Network::Unreachable)]).0.len(), 1);
}

#[test]
fn an_error_event_at_the_start_of_a_stream_counts_as_its_status() {
    let event = |status| [Outcome::Network(Network::StreamError { status })];
    assert_eq!(run(retry(1), &event(529)).0.len(), 2);
    assert_eq!(run(retry(1), &event(400)).0.len(), 1);
    assert_eq!(run(retry(1), &event(200)).0.len(), 2, "an error without a status of its own: 500");
}

#[test]
fn a_request_timeout_is_retried_only_if_408_is_listed() {
    assert_eq!(run(retry(2), &[Outcome::RequestTimeout]).0.len(), 1);
    let listed = Retry { on_status_codes: vec![408], ..retry(2) };
    assert_eq!(run(listed, &[Outcome::RequestTimeout]).0.len(), 3);
}

#[test]
fn the_header_counts_as_portkey_does() {
    for (attempts, script, expected) in [
        (0, vec![status(200)], 0),
        (0, vec![status(500)], 0),
        (3, vec![status(200)], 0),
        (3, vec![status(400)], 0),
        (3, vec![status(500), status(200)], 1),
        (3, vec![status(500), status(500), status(200)], 2),
        (3, vec![status(500), status(500), status(500), status(200)], 3),
        (3, vec![status(500), status(400)], 1),
        (3, vec![status(500)], -1),
        (1, vec![Outcome::Network(Network::Unreachable)], -1),
        (1, vec![Outcome::Network(Network::Unreachable), status(200)], 1),
    ] {
        assert_eq!(run(retry(attempts), &script).1, expected, "{attempts}: {script:?}");
    }
}

#[test]
fn the_count_is_of_the_target_that_is_shown() {
    let policy = policy(fallback(vec![retrying(retry(2)), target()]));
    let plan = plan(&policy, 1, &Facts::default());
    let (tried, shown) = walk(&plan, 0, |path, _| match path {
        "config.targets[0]" => status(500),
        _ => status(200),
    });
    let first = "config.targets[0]";
    assert_eq!(paths(&tried), [first, first, first, "config.targets[1]"]);
    assert_eq!(tried[3].waited_nanos, 0, "the next target is tried at once");
    assert_eq!(shown.map(|shown| shown.retry_attempt_count), Some(0));
}

#[test]
fn retry_after_sets_the_wait_of_a_429() {
    let obeying = Retry { use_retry_after: true, ..retry(3) };
    let (tried, _) = run(obeying.clone(), &[limited(20), limited(3), status(200)]);
    assert_eq!(waits_secs(&tried), [20.0, 3.0]);
    let (tried, _) = run(retry(3), &[limited(20), limited(3), status(200)]);
    assert_eq!(waits_secs(&tried), [1.0, 2.0], "off by default");
    let (tried, _) = run(obeying.clone(), &[status(429), status(200)]);
    assert_eq!(waits_secs(&tried), [1.0], "no header: the normal back-off");
    let of_503 = Outcome::Status { code: 503, retry_after: Some(Duration::from_secs(9)) };
    let (tried, _) = run(obeying, &[of_503, status(200)]);
    assert_eq!(waits_secs(&tried), [1.0], "only a 429's");
}

#[test]
fn retry_after_of_a_minute_or_more_stops_at_once() {
    let obeying = Retry { use_retry_after: true, ..retry(3) };
    assert_eq!(run(obeying.clone(), &[limited(59), status(200)]).0.len(), 2);
    let (tried, count) = run(obeying.clone(), &[limited(60)]);
    assert_eq!((tried.len(), count), (1, -1));
    let (tried, count) = run(obeying, &[limited(u64::MAX)]);
    assert_eq!((tried.len(), count), (1, -1));
}

#[test]
fn retry_after_stops_when_the_waits_add_up_to_more_than_a_minute() {
    let obeying = Retry { use_retry_after: true, ..retry(5) };
    let (tried, count) = run(obeying.clone(), &[limited(30), limited(30), status(200)]);
    assert_eq!((tried.len(), count), (3, 2), "60 s in all are allowed");
    let (tried, count) = run(obeying, &[limited(30), limited(31), status(200)]);
    assert_eq!((tried.len(), count), (2, -1));
}

#[test]
fn each_target_has_a_minute_of_its_own() {
    let obeying = Retry { use_retry_after: true, ..retry(1) };
    let policy = policy(fallback(vec![retrying(obeying.clone()), retrying(obeying)]));
    let plan = plan(&policy, 1, &Facts::default());
    let (tried, _) = walk(&plan, 0, |_, _| limited(40));
    assert_eq!(waits_secs(&tried), [40.0, 0.0, 40.0]);
}

#[test]
fn a_long_retry_after_goes_on_to_the_next_target() {
    let obeying = Retry { use_retry_after: true, ..retry(3) };
    let policy = policy(fallback(vec![retrying(obeying), target()]));
    let plan = plan(&policy, 1, &Facts::default());
    let (tried, _) = walk(&plan, 0, |path, _| match path {
        "config.targets[0]" => limited(300),
        _ => status(200),
    });
    assert_eq!(paths(&tried), ["config.targets[0]", "config.targets[1]"]);
}

#[test]
fn retry_after_headers_are_read_in_portkeys_order() {
    let millis = |headers: &[(&str, &'static str)]| {
        let headers = headers.to_vec();
        let lookup = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, v)| *v);
        retry_after(&lookup).map(|wait| wait.as_millis())
    };
    for (headers, expected) in [
        (&[][..], None),
        (&[("retry-after", "7")], Some(7_000)),
        (&[("retry-after", " 7 ")], Some(7_000)),
        (&[("retry-after", "0")], Some(0)),
        (&[("retry-after-ms", "250")], Some(250)),
        (&[("retry-after", "7"), ("x-ms-retry-after-ms", "250")], Some(250)),
        (&[("x-ms-retry-after-ms", "9"), ("retry-after-ms", "250")], Some(250)),
        (&[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")], None),
        (&[("retry-after-ms", "soon"), ("retry-after", "7")], None),
        (&[("retry-after", "-7")], None),
        (&[("retry-after", "")], None),
        (&[("retry-after", "99999999999999999999999")], Some(u128::from(u64::MAX))),
    ] {
        assert_eq!(millis(headers), expected, "{headers:?}");
    }
}
