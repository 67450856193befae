//! Which target of a balance: by weight, by a hash of the request, or by latency. Pure functions of the seed, the
//! hash and what is known of the targets.

use smallvec::SmallVec;

use crate::{
    base::limits,
    config::{
        condition::Fact,
        health::{HashBy, HashField},
    },
    wire::json::{self, Elements, Fields},
};

use super::{condition::Facts, health::Load};

/// A target that may be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'p> {
    /// Its name, else its place: the same for the same target, whatever stands beside it.
    pub name: &'p str,
    /// Above 0.
    pub weight: f64,
    /// What is known of it.
    pub load: Load,
}

/// Whether a request is one of this share of all, at this place of the config.
#[must_use]
pub fn is_drawn(seed: u64, path: &str, share: f64) -> bool {
    unit_interval(mix(seed ^ hash(path))) < share
}

/// Draws one of several weights: each with its share of their sum, weight 0 never. `None` if no weight is above 0.
/// A pure function of the seed and the node's path, so that two nodes of one request draw independently.
#[must_use]
pub fn draw(seed: u64, path: &str, weights: impl Iterator<Item = f64> + Clone) -> Option<usize> {
    let usable =
        || weights.clone().enumerate().filter(|(_, weight)| weight.is_finite() && *weight > 0.0);
    let sum: f64 = usable().map(|(_, weight)| weight).sum();
    let mut rest = unit_interval(mix(seed ^ hash(path))) * sum;
    let mut last = None;
    for (at, weight) in usable() {
        if rest < weight {
            return Some(at);
        }
        rest -= weight;
        last = Some(at); // rounding may leave a rest at the very end: it belongs to the last one
    }
    last
}

/// The better of two different ones that are drawn by weight: the one whose latency times the requests that it would
/// then be answering is smaller.
#[must_use]
pub fn better_of_two(seed: u64, path: &str, candidates: &[Candidate<'_>]) -> Option<usize> {
    let (first, second) = two_drawn(seed, path, candidates)?;
    let cost = |at: usize| candidates.get(at).map_or(u128::MAX, |one| cost(one.load));
    Some(second.filter(|second| cost(*second) < cost(first)).unwrap_or(first))
}

/// Two different ones that are drawn by weight; only one if no other has a weight.
pub(super) fn two_drawn(
    seed: u64,
    path: &str,
    candidates: &[Candidate<'_>],
) -> Option<(usize, Option<usize>)> {
    let weights = candidates.iter().map(|candidate| candidate.weight);
    let first = draw(seed, path, weights.clone())?;
    let others = weights.enumerate().map(|(at, weight)| if at == first { 0.0 } else { weight });
    Some((first, draw(mix(seed), path, others)))
}

fn cost(load: Load) -> u128 {
    let latency_nanos = match load {
        // Nobody knows yet: the first to ask finds out, and no others until then.
        Load { latency_nanos: 0, in_flight: 0 } => return 0,
        Load { latency_nanos: 0, .. } => limits::LATENCY_UNKNOWN.as_nanos(),
        Load { latency_nanos, .. } => u128::from(latency_nanos),
    };
    latency_nanos * (u128::from(load.in_flight) + 1)
}

/// The target that a hash belongs to (weighted rendezvous hashing: when a target comes or goes, only what belongs to
/// it moves). Bounded: one that already runs more than its share passes the request on to the next best.
#[must_use]
pub fn belongs_to(hash: u64, candidates: &[Candidate<'_>], bounded: bool) -> Option<usize> {
    let mut order: SmallVec<[(f64, usize); 8]> =
        candidates.iter().enumerate().map(|(at, candidate)| (score(hash, candidate), at)).collect();
    order.sort_by(|one, other| other.0.total_cmp(&one.0));
    if bounded {
        let running: u64 = candidates.iter().map(|candidate| candidate.load.in_flight).sum();
        let weights: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let has_room = |&&(_, at): &&(f64, usize)| {
            candidates.get(at).is_some_and(|candidate| {
                let share = (running + 1) as f64 * candidate.weight / weights;
                let most = (share * limits::AFFINITY_LOAD_MAX).ceil();
                candidate.load.in_flight as f64 + 1.0 <= most
            })
        };
        if let Some((_, at)) = order.iter().find(has_room) {
            return Some(*at);
        }
    }
    order.first().map(|(_, at)| *at)
}

/// Of exponentials with the weights for rates, each is the smallest with its share of the weights.
fn score(hash: u64, candidate: &Candidate<'_>) -> f64 {
    let uniform = unit_interval(mix(hash ^ self::hash(candidate.name)));
    // Above 0 and below 1, so that the logarithm is neither infinite nor 0.
    let uniform = uniform.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON);
    candidate.weight / -uniform.ln()
}

/// The hash of what belongs together. `None`: the request has nothing of it.
#[must_use]
pub fn hash_of(by: &HashBy, facts: &Facts<'_>) -> Option<u64> {
    let mut hasher = Hasher::default();
    let mut any = false;
    for field in &by.fields {
        let mut room = by.bytes_max;
        any |= match field {
            HashField::Conversation => facts.params.is_some_and(|(body, fields)| {
                conversation(body, fields, &mut |bytes| hasher.feed(bytes, &mut room))
            }),
            HashField::Fact(Fact::Param(name)) => {
                let raw = facts.params.and_then(|(body, fields)| fields.value(body, name));
                raw.map(|raw| hasher.feed(raw, &mut room)).is_some()
            }
            HashField::Fact(fact) => {
                let text = facts.text(fact);
                text.map(|text| hasher.feed(text.as_bytes(), &mut room)).is_some()
            }
        };
        hasher.end_field();
    }
    any.then(|| hasher.finish())
}

/// Feeds the part of a conversation that stays the same while it goes on: the system prompt, and what comes up to the
/// first word of the user. False: there is none.
fn conversation(body: &[u8], fields: &Fields, feed: &mut dyn FnMut(&[u8])) -> bool {
    let mut any = false;
    for name in ["system", "instructions", "prompt"] {
        if let Some(raw) = fields.value(body, name) {
            any = true;
            feed(raw);
        }
    }
    for name in ["messages", "input"] {
        let Some(raw) = fields.value(body, name) else { continue };
        any = true;
        let Some(mut messages) = Elements::of(raw) else {
            feed(raw);
            continue;
        };
        for _ in 0..limits::HASH_MESSAGES_MAX {
            let Some(Some(place)) = messages.next_element() else { break };
            let Some(message) = raw.get(place) else { break };
            feed(message);
            if is_of_user(message) {
                break;
            }
        }
    }
    any
}

fn is_of_user(message: &[u8]) -> bool {
    let role = json::scan(message).ok().and_then(|fields| fields.value(message, "role"));
    role == Some(b"\"user\"")
}

/// Eight bytes a step; of fields, each with its end.
#[derive(Default)]
struct Hasher {
    state: u64,
    length: u64,
}

impl Hasher {
    /// Takes as much as there is room for.
    fn feed(&mut self, bytes: &[u8], room: &mut usize) {
        let bytes = bytes.get(..*room).unwrap_or(bytes);
        *room -= bytes.len();
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.state = mix(self.state ^ u64::from_le_bytes(word));
        }
        self.length += bytes.len() as u64;
    }

    fn end_field(&mut self) {
        self.state = mix(self.state ^ mix(self.length));
    }

    fn finish(self) -> u64 {
        mix(self.state)
    }
}

/// SplitMix64's step and finalizer: close seeds give unrelated numbers.
fn mix(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// FNV-1a, mixed: sibling paths differ in one character only.
fn hash(path: &str) -> u64 {
    let mut bits = 0xcbf2_9ce4_8422_2325;
    for byte in path.bytes() {
        bits = (bits ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(bits)
}

/// The upper 53 bits as a number in [0, 1): all that an `f64` holds exactly.
fn unit_interval(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
