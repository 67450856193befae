//! `trunkline-load upstream`: the library's sandbox as a provider to put behind a gateway, or, for benchmarks, one
//! that repeats the sandbox's bytes.

mod fast;
mod known;
mod request;

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use trunkline::{
    io::{event::Driver, worker},
    sandbox::{
        Sandbox, host,
        script::{Fault, KeepAlive, Latency, Script},
    },
};

use crate::args::{DriverFlag, UpstreamArgs};
pub use fast::start as start_fast;

/// Serves until the process is ended; says on `out` where, once it listens.
///
/// # Errors
/// What is wrong, in a sentence that says what to do.
pub fn run(args: &UpstreamArgs, mut out: impl Write) -> Result<(), String> {
    let address = start(args)?;
    // Whoever started it in the background may not read this.
    let _ = writeln!(out, "http://{address}").and_then(|()| out.flush());
    loop {
        std::thread::park();
    }
}

/// Starts the provider on a thread of its own and tells where it listens.
///
/// # Errors
/// As [`run`].
pub fn start(args: &UpstreamArgs) -> Result<SocketAddr, String> {
    if !args.listen.ip().is_loopback() && !args.allow_remote {
        return Err(format!(
            "--listen {}: a fake provider that others can reach answers anybody; say --allow-remote if that is meant",
            args.listen
        ));
    }
    let _ = worker::raise_descriptor_limit();
    let script = args.script.clone();
    let named = |error: io::Error| format!("--listen {}: {error}", args.listen);
    if args.fast {
        if let Some(why) = why_not_fast(&script) {
            return Err(format!("--fast repeats fixed bytes: {why}; leave --fast away"));
        }
        return fast::start(args.listen, script, args.freeze, args.driver.choose()).map_err(named);
    }
    if args.driver != DriverFlag::Auto && args.driver.choose() == Driver::Epoll {
        return Err("--driver epoll is for --fast; without it the sandbox chooses".into());
    }
    host::start(args.listen, move || Sandbox::new().scripted(script)).map_err(named)
}

/// What in a script needs more than fixed bytes.
fn why_not_fast(script: &Script) -> Option<&'static str> {
    if script.fault != Fault::default() {
        return Some("no faults (status, cut, stall, malformed, error_event)");
    }
    if !matches!(script.first_byte, Latency::Fixed(_)) {
        return Some("first_byte must be one time");
    }
    if script.slow_read.is_some() {
        return Some("no slow_read");
    }
    (script.keep_alive != KeepAlive::On).then_some("keep_alive must stay on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_need_chance_are_not_fast() {
        for (script, fast) in [
            ("", true),
            ("first_byte=20ms&chunks=3&interval=5ms&chunk_bytes=200", true),
            ("first_byte=~20ms", false),
            ("rate=0.1&status=503", false),
            ("cut=30", false),
            ("slow_read=100", false),
            ("keep_alive=drop", false),
        ] {
            let script = script.parse().expect("a script");
            assert_eq!(why_not_fast(&script).is_none(), fast, "{script:?}");
        }
    }
}
