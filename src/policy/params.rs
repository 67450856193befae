//! What a config makes of a body: defaults where the client sent none, then overrides, then what is taken out. All of
//! it edits of the client's own bytes.

use smallvec::SmallVec;

use crate::{
    config::policy::{DropPath, Leaf},
    wire::json::{self, Edit, Fields},
};

/// New values of fields of which only a part is taken out.
pub type Pruned<'l> = SmallVec<[(&'l str, Vec<u8>); 1]>;

/// The fields of which a part is taken out, with what is left of each.
#[must_use]
pub fn pruned<'l>(leaf: &'l Leaf, body: &[u8], fields: &Fields) -> Pruned<'l> {
    let mut pruned = Pruned::new();
    for DropPath { field, rest } in leaf.drop_params.iter().filter(|path| !path.rest.is_empty()) {
        let known = pruned.iter().position(|(name, _)| *name == field);
        let value = match known.and_then(|at| pruned.get(at)) {
            Some((_, value)) => Some(value.as_slice()),
            None => before_drop(leaf, body, fields, field),
        };
        let Some(left) = value.and_then(|value| json::prune(value, rest)) else { continue };
        match known.and_then(|at| pruned.get_mut(at)) {
            Some((_, value)) => *value = left,
            None => pruned.push((field, left)),
        }
    }
    pruned
}

/// The edits that a config asks for, in the order in which they are to be applied. Most ask for none.
#[must_use]
pub fn edits<'e>(
    leaf: &'e Leaf,
    body: &[u8],
    fields: &Fields,
    pruned: &'e Pruned<'_>,
) -> Vec<Edit<'e>> {
    let set = |(name, raw): &'e (String, String)| Edit::Set { name, raw_json: raw.as_bytes() };
    let missing = |(name, _): &&(String, String)| fields.find(body, name).is_none();
    let defaults = leaf.default_params.iter().filter(missing).map(set);
    let mut edits: Vec<Edit<'e>> = defaults.collect();
    edits.extend(leaf.override_params.iter().map(set));
    edits.extend(pruned.iter().map(|(name, value)| Edit::Set { name, raw_json: value }));
    let whole = leaf.drop_params.iter().filter(|path| path.rest.is_empty());
    edits.extend(whole.map(|path| Edit::Remove { name: &path.field }));
    edits
}

/// The raw value that a top-level field has after the config's edits of whole fields.
#[must_use]
pub fn effective<'v>(
    leaf: &'v Leaf,
    body: &'v [u8],
    fields: &Fields,
    name: &str,
) -> Option<&'v [u8]> {
    if drops(leaf, name) { None } else { before_drop(leaf, body, fields, name) }
}

/// Whether a top-level field is taken out.
#[must_use]
pub fn drops(leaf: &Leaf, name: &str) -> bool {
    leaf.drop_params.iter().any(|path| path.field == name && path.rest.is_empty())
}

fn before_drop<'v>(
    leaf: &'v Leaf,
    body: &'v [u8],
    fields: &Fields,
    name: &str,
) -> Option<&'v [u8]> {
    let of = |params: &'v [(String, String)]| {
        params.iter().rev().find(|(known, _)| known == name).map(|(_, raw)| raw.as_bytes())
    };
    of(&leaf.override_params)
        .or_else(|| fields.value(body, name))
        .or_else(|| of(&leaf.default_params))
}
