//! How full the log's queues are, for metrics.

use super::LogCounters;
use crate::base::limits;

/// How full a queue of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLevel {
    /// Bytes that it holds: records in whole pages, bodies as they are.
    pub bytes: usize,
    /// Bytes that it may hold.
    pub bytes_max: usize,
}

impl LogCounters {
    /// The queues of records, one a core.
    pub fn queues(&self) -> impl Iterator<Item = QueueLevel> {
        self.lanes
            .iter()
            .map(|lane| QueueLevel { bytes: lane.held_bytes(), bytes_max: lane.held_bytes_max() })
    }

    /// The queue of bodies; `None`: they are not logged.
    #[must_use]
    pub fn body_queue(&self) -> Option<QueueLevel> {
        let bytes_max = limits::LOG_BODY_QUEUE_BYTES_MAX;
        self.bodies.as_ref().map(|bodies| QueueLevel { bytes: bodies.held_bytes(), bytes_max })
    }
}
