//! Which of several credentials behind one virtual key: by weight among those that work.

use super::balance::draw;

/// A credential that may be used.
#[derive(Clone, Copy, Debug)]
pub struct Usable {
    /// Its weight.
    pub weight: f64,
    /// For how long it is out of quota or refused; 0: it is not.
    pub out_for_nanos: u64,
    /// This exchange has tried it already.
    pub tried: bool,
}

/// The credential of a try: drawn by weight among those that work and were not tried; if none is left, the one that
/// works again first. A pure function of the seed and of what is known.
#[must_use]
pub fn choose(seed: u64, virtual_key: &str, all: &[Usable]) -> usize {
    let works = |one: &Usable| !one.tried && one.out_for_nanos == 0;
    let weights = all.iter().map(|one| if works(one) { one.weight } else { 0.0 });
    if let Some(drawn) = draw(seed, virtual_key, weights) {
        return drawn;
    }
    // One of weight 0 is for that: it works when no other does.
    let order = |one: &Usable| (one.tried, one.out_for_nanos);
    (0..all.len()).min_by_key(|&at| all.get(at).map(order)).unwrap_or(0)
}

/// Whether another credential could do better after an answer of this status.
#[must_use]
pub fn another_helps(status: u16, all: &[Usable]) -> bool {
    matches!(status, 401 | 403 | 429) && all.iter().any(|one| !one.tried && one.out_for_nanos == 0)
}
