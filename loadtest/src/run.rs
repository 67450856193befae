//! Runs a plan: starts the threads, shows the progress, gathers the tallies.

use std::{
    io::{self, IsTerminal},
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use trunkline::{
    base::units::Instant,
    io::{clock::Clock, worker},
};

use crate::{
    cpu,
    lane::{self, Gate, Job, Live},
    plan::Plan,
    schedule::Schedule,
    tally::Tally,
};

/// What a run measured.
pub struct Measured {
    /// A tally for each side of the plan.
    pub sides: Vec<Tally>,
    /// When the load began, on the clock of the tallies.
    pub start: Instant,
    /// From the beginning of the load to the last answer.
    pub elapsed: Duration,
    /// The CPU time that the load tester used meanwhile.
    pub own_cpu: Duration,
    /// The CPU time that the watched process used meanwhile.
    pub target_cpu: Option<Duration>,
}

/// Runs the load to its end.
///
/// # Errors
/// If a thread cannot do its work: no event loop, no descriptors.
pub fn run(plan: &Plan) -> io::Result<Measured> {
    let _ = worker::raise_descriptor_limit();
    let (clock, live) = (Clock::start(), Arc::new(Live::default()));
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let sides = plan.sides.len();
    let job = Job {
        sides: plan.sides.clone(),
        schedule: Schedule::new(&plan.arrivals, nanos(plan.duration), sides, nanos(plan.slice))
            .bunched(nanos(plan.tick)),
        threads: plan.threads,
        timeout: plan.timeout,
        driver: plan.driver,
        clock,
        gate: Arc::new(Gate::new(plan.threads)),
        live: Arc::clone(&live),
    };
    let gate = Arc::clone(&job.gate);
    let before = (cpu::own(), plan.pid.and_then(cpu::of));
    let results = start_threads(&job)?;
    drop(job);
    let bar = bar(plan);
    let mut tallies = vec![Tally::default(); sides];
    let mut missing = plan.threads;
    while missing > 0 {
        match results.recv_timeout(PROGRESS_EVERY) {
            Ok(done) => {
                missing -= 1;
                tallies.iter_mut().zip(&done?).for_each(|(sum, each)| sum.merge(each));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => show(&bar, &gate, clock, &live),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("a thread of the load ended before its time"));
            }
        }
    }
    bar.finish_and_clear();
    let start = gate.start().unwrap_or_default();
    let end = tallies.iter().map(|tally| tally.last_end).max().unwrap_or_default();
    Ok(Measured {
        sides: tallies,
        start,
        elapsed: end.since(start),
        own_cpu: cpu::own().saturating_sub(before.0),
        target_cpu: plan
            .pid
            .and_then(cpu::of)
            .zip(before.1)
            .map(|(now, then)| now.saturating_sub(then)),
    })
}

fn start_threads(job: &Job) -> io::Result<mpsc::Receiver<io::Result<Vec<Tally>>>> {
    let (sender, results) = mpsc::channel();
    for number in 0..job.threads {
        let (job, sender) = (job.clone(), sender.clone());
        thread::Builder::new().name(format!("load-{number}")).spawn(move || {
            // Nobody listens any more if another thread has failed.
            let _ = sender.send(lane::run(job, number));
        })?;
    }
    Ok(results)
}

/// The bar of a run; it is silent where stderr is no terminal.
fn bar(plan: &Plan) -> ProgressBar {
    let total = plan.duration.saturating_mul(u32::try_from(plan.sides.len()).unwrap_or(1));
    let length = u64::try_from(total.as_millis()).unwrap_or(u64::MAX);
    let hidden = !io::stderr().is_terminal();
    let target =
        if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, gate: &Gate, clock: Clock, live: &Live) {
    if bar.is_hidden() {
        return;
    }
    let Some(start) = gate.start() else {
        bar.set_message("connecting");
        return;
    };
    let elapsed = clock.now().since(start);
    let (done, failed) = (live.done.load(Ordering::Relaxed), live.failed.load(Ordering::Relaxed));
    bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
    bar.set_message(format!("{:.0} s, {done} answered, {failed} failed", elapsed.as_secs_f64()));
}

/// How often the progress is looked at.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
