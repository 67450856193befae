//! What the live tests share: the gateway as a child process, a client, upstreams, the log, certificates.

pub mod gateway;
pub mod http;
pub mod log;
pub mod proxy;
pub mod sandbox;
pub mod tls;
pub mod upstream;

use std::{
    thread,
    time::{Duration, Instant},
};

pub use gateway::{Gateway, KEY};
pub use http::{Answer, Conn, End};
pub use upstream::Upstream;

/// No wait of these tests is longer; none of them is won or lost by time.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The event interface that a gateway is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    Epoll,
    Uring,
}

impl Driver {
    pub fn flag(self) -> &'static str {
        match self {
            Driver::Epoll => "epoll",
            Driver::Uring => "io_uring",
        }
    }

    /// Whether this machine has it; a missing one is said, so that a skipped test is no silent success.
    pub fn is_there(self) -> bool {
        let there = self == Driver::Epoll || trunkline::io::event::uring_works();
        if !there {
            println!("skipped: the kernel or container forbids io_uring");
        }
        there
    }
}

/// Makes one test of each function a driver.
macro_rules! on_both_drivers {
    ($($name:ident),* $(,)?) => {
        mod epoll {
            $(#[test] fn $name() { super::$name(crate::harness::Driver::Epoll); })*
        }
        mod io_uring {
            $(#[test] fn $name() {
                if crate::harness::Driver::Uring.is_there() {
                    super::$name(crate::harness::Driver::Uring);
                }
            })*
        }
    };
}
pub(crate) use on_both_drivers;

/// Asks until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < until, "waited {DEADLINE:?} in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Gives others time to do what they should not do.
pub fn pause(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}
