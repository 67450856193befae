//! A timer finer than the event loop's own wait, to which the kernel adds its slack of 50 µs, and epoll a millisecond:
//! for the load tester, whose arrivals would otherwise come in bunches.

use std::{future::poll_fn, io, time::Duration};

use rustix::{
    io::read,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

use super::event::{Descriptor, EventLoop, Way};

/// One timer, reusable; belongs to one core and one waiter.
pub struct Alarm {
    timer: Descriptor,
}

impl Alarm {
    /// A timer that is not set.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn new(events: &EventLoop) -> io::Result<Alarm> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Alarm { timer: events.add(timer, true)? })
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
        self.timer.with(|fd| timerfd_settime(fd, TimerfdTimerFlags::empty(), &once))?;
        let mut times = [0; 8];
        poll_fn(|cx| self.timer.poll_io(Way::In, cx, |fd| read(fd, &mut times))).await.map(drop)
    }
}

fn timespec(wait: Duration) -> Timespec {
    let tv_sec = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: wait.subsec_nanos().into() }
}
