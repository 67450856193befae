//! `--follow`: the newest records, then whatever is written, across segments, restarts and torn tails.

use std::{fs, io, thread, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Args, NEWEST_DEFAULT, Outcome, Printer, Refusal, World,
    source::{self, SegmentRecords, Selection, Tail},
};
use crate::{
    io::log::disk::{Row, SegmentPath, segments},
    journal::view,
    wire::record::Record,
};

/// Ends only when its reader went away, or with an error.
pub(super) fn run(
    args: &Args,
    selection: &Selection,
    world: &World,
    printer: &mut Printer<'_>,
) -> Result<Outcome, Refusal> {
    let count = args.newest.unwrap_or(NEWEST_DEFAULT);
    let newest = source::newest(&args.dirs, selection, count)?;
    printer.print(&newest.records)?;
    printer.finish()?;
    let mut followers: Vec<_> = newest.tails.into_iter().map(Follower::new).collect();
    loop {
        let mut batch = Vec::new();
        for follower in &mut followers {
            follower.poll(selection, &mut batch)?;
        }
        if batch.is_empty() {
            match world.stdout {
                true if reader_left(POLL_EVERY) => return Err(Refusal::Closed),
                true => {}
                false => thread::park_timeout(POLL_EVERY),
            }
            continue;
        }
        batch.sort_by_key(view::ended_unix_nanos);
        printer.print(&batch)?;
        printer.finish()?;
    }
}

/// Waits, but no longer than whoever reads standard output is there: without news nothing is written that would fail.
fn reader_left(wait: Duration) -> bool {
    let stdout = io::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    let until = Timespec::try_from(wait).ok();
    match poll(&mut asked, until.as_ref()) {
        Ok(ready) => ready > 0,
        Err(_) => {
            thread::park_timeout(wait);
            false
        }
    }
}

/// Reads one directory's records as they come.
struct Follower {
    tail: Tail,
    /// Polls without news, after which the directory is listed.
    quiet_polls: u32,
}

impl Follower {
    fn new(tail: Tail) -> Follower {
        Follower { tail, quiet_polls: 0 }
    }

    fn poll(&mut self, selection: &Selection, batch: &mut Vec<Record>) -> Result<(), Refusal> {
        loop {
            let next = self.next_segment()?;
            let news = self.read(selection, batch)?;
            self.quiet_polls = if news { 0 } else { self.quiet_polls + 1 };
            // That the next one exists was seen before this one was read: it has got all it ever will.
            let Some(next) = next else { return Ok(()) };
            self.tail.segment = Some(next);
            self.tail.offset = 0;
        }
    }

    /// Appends what is new in the segment at hand.
    fn read(&mut self, selection: &Selection, batch: &mut Vec<Record>) -> Result<bool, Refusal> {
        let Some(segment) = &self.tail.segment else { return Ok(false) };
        let length = fs::metadata(&segment.path).map_or(0, |metadata| metadata.len());
        if length <= self.tail.offset {
            return Ok(false);
        }
        let Some(mut records) = SegmentRecords::open(&segment.path, self.tail.offset)? else {
            return Ok(false);
        };
        while let Some(record) = records.next(selection)? {
            batch.push(record);
        }
        let news = records.sound_until > self.tail.offset;
        self.tail.offset = records.sound_until;
        Ok(news)
    }

    /// The segment behind the one at hand: usually of the next number, after a recovery perhaps of a later one.
    fn next_segment(&self) -> Result<Option<SegmentPath>, Refusal> {
        let number = self.tail.segment.as_ref().map_or(0, |segment| segment.number);
        let next = SegmentPath::new(&self.tail.dir, Row::Records, number + 1);
        if next.path.exists() {
            return Ok(Some(next));
        }
        if !self.quiet_polls.is_multiple_of(LIST_EVERY_POLLS) {
            return Ok(None);
        }
        let all = segments(&self.tail.dir, Row::Records)?;
        Ok(all.into_iter().find(|segment| segment.number > number))
    }
}

const POLL_EVERY: Duration = Duration::from_millis(20);
/// Half a second.
const LIST_EVERY_POLLS: u32 = 25;
