//! A timer finer than the event loop's own, which rounds every wait up to a whole millisecond: for the load tester,
//! whose arrivals would otherwise come in bunches.

use std::{io, os::fd::OwnedFd, os::unix::net::UnixStream as StdUnixStream, time::Duration};

use monoio::net::UnixStream;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// One timer, reusable; belongs to one core and one waiter.
pub struct Alarm {
    timer: OwnedFd,
    /// The same timer, as the one kind of descriptor whose readiness both drivers can be asked for.
    waited_for: UnixStream,
}

impl Alarm {
    /// A timer that is not set. To be made on the thread that runs the event loop.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn new() -> io::Result<Alarm> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let waited_for = UnixStream::from_std(StdUnixStream::from(timer.try_clone()?))?;
        Ok(Alarm { timer, waited_for })
    }

    /// Waits for so long, to within some microseconds.
    ///
    /// # Errors
    /// If the system refuses the timer.
    pub async fn wait(&self, wait: Duration) -> io::Result<()> {
        if wait.is_zero() {
            return Ok(());
        }
        let once = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(wait) };
        // Setting it also takes back that it went off before.
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.waited_for.readable(false).await
    }
}

fn timespec(wait: Duration) -> Timespec {
    let tv_sec = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: wait.subsec_nanos().into() }
}
