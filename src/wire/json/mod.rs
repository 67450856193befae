//! JSON without a tree: the top-level members of a body as spans, edits as slices around them, values captured from
//! an answer that passes by in pieces, and the few helpers that read and write single values.
//!
//! Own code, because it is measured: a general parser costs three to ten times as much on a body of 10 KB, and
//! writing a parsed body again costs thirty times as much, and would not keep the caller's bytes.

mod error;
mod places;
mod prune;
mod scan;
mod splice;
mod tap;
mod text;
mod walk;
mod words;

pub use error::{JsonError, JsonErrorKind};
pub use places::{places, with_texts};
pub use prune::{Elements, PathStep, elements, prune};
pub use scan::{Fields, Member, each_member, scan};
pub use splice::{Edit, Spliced, splice};
pub use tap::Tap;
pub use text::{as_bool, as_str, as_u64, is_null, write_string};
pub use words::has_word;
