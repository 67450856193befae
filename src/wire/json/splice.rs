//! Edits of an object's top level as a list of slices: the caller's bytes stay where they are, and only what an edit
//! names is cut out or put in.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::scan::Fields;
use super::text::write_string;

/// One change of an object's top level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// Gives the member a value; where there is none, it becomes the first of the object.
    Set {
        /// The key, decoded.
        name: &'a str,
        /// The value, as JSON.
        raw_json: &'a [u8],
    },
    /// Takes the member out, if it is there.
    Remove {
        /// The key, decoded.
        name: &'a str,
    },
    /// Gives the member another key and lets its value be. Where the object has a member of that key already, that one
    /// stays and the other goes.
    Rename {
        /// The key it has.
        from: &'a str,
        /// The key it gets.
        to: &'a str,
    },
}

/// An edited body in pieces, to be written one after the other.
#[derive(Clone, Debug, Default)]
pub struct Spliced {
    /// None of them is empty.
    pub pieces: SmallVec<[Bytes; 8]>,
    /// Their bytes together.
    pub length: usize,
}

/// Applies the edits, one after the other, to the object that `fields` were scanned from. What no edit names is the
/// same bytes as before. Costs no more than edits times members; both are small.
#[must_use]
pub fn splice(body: &Bytes, fields: &Fields, edits: &[Edit<'_>]) -> Spliced {
    let mut draft = Draft::new(body, fields);
    for edit in edits {
        draft.apply(edit);
    }
    draft.cut()
}

/// The object as the edits so far leave it.
struct Draft<'a> {
    body: &'a Bytes,
    fields: &'a Fields,
    /// What became of each member that was there.
    fates: SmallVec<[Fate<'a>; 16]>,
    added: SmallVec<[Added<'a>; 4]>,
}

#[derive(Clone, Copy, Default)]
struct Fate<'a> {
    removed: bool,
    name: Option<&'a str>,
    value: Option<&'a [u8]>,
}

struct Added<'a> {
    name: &'a str,
    value: &'a [u8],
}

#[derive(Clone, Copy)]
enum Place {
    Member(usize),
    Added(usize),
}

impl<'a> Draft<'a> {
    fn new(body: &'a Bytes, fields: &'a Fields) -> Draft<'a> {
        let fates = SmallVec::from_elem(Fate::default(), fields.members.len());
        Draft { body, fields, fates, added: SmallVec::new() }
    }

    fn apply(&mut self, edit: &Edit<'a>) {
        match *edit {
            Edit::Set { name, raw_json } => match self.find(name) {
                Some(Place::Member(index)) => self.fates[index].value = Some(raw_json),
                Some(Place::Added(index)) => self.added[index].value = raw_json,
                None => self.added.push(Added { name, value: raw_json }),
            },
            Edit::Remove { name } => {
                if let Some(place) = self.find(name) {
                    self.remove(place);
                }
            }
            Edit::Rename { from, to } if from != to => {
                if let Some(place) = self.find(from) {
                    match (self.find(to), place) {
                        (Some(_), _) => self.remove(place),
                        (None, Place::Member(index)) => self.fates[index].name = Some(to),
                        (None, Place::Added(index)) => self.added[index].name = to,
                    }
                }
            }
            Edit::Rename { .. } => {}
        }
    }

    /// The member that has this key by now.
    fn find(&self, name: &str) -> Option<Place> {
        if let Some(index) = self.added.iter().position(|added| added.name == name) {
            return Some(Place::Added(index));
        }
        let renamed = |fate: &Fate<'_>| !fate.removed && fate.name == Some(name);
        if let Some(index) = self.fates.iter().position(renamed) {
            return Some(Place::Member(index));
        }
        let index = self.fields.position(self.body, name)?;
        let there = !self.fates[index].removed && self.fates[index].name.is_none();
        there.then_some(Place::Member(index))
    }

    fn remove(&mut self, place: Place) {
        match place {
            Place::Member(index) => self.fates[index].removed = true,
            Place::Added(index) => drop(self.added.remove(index)),
        }
    }

    /// Cuts the body where the edits touch it.
    fn cut(&self) -> Spliced {
        let mut cuts = Cuts::default();
        let first_kept = self.fates.iter().position(|fate| !fate.removed);
        self.add(&mut cuts, first_kept.is_some());
        for index in 0..self.fates.len() {
            if self.fates[index].removed {
                cuts.replace(self.removal(index, first_kept), |_| {});
            } else {
                self.change(&mut cuts, index);
            }
        }
        cuts.assemble(self.body)
    }

    /// Puts the new members behind the opening brace.
    fn add(&self, cuts: &mut Cuts, others_follow: bool) {
        let Some(last) = self.added.len().checked_sub(1) else {
            return;
        };
        cuts.replace(self.fields.opened..self.fields.opened, |text| {
            for (index, added) in self.added.iter().enumerate() {
                write_string(added.name, text);
                text.push(b':');
                text.extend_from_slice(added.value);
                if index < last || others_follow {
                    text.push(b',');
                }
            }
        });
    }

    fn change(&self, cuts: &mut Cuts, index: usize) {
        let (fate, member) = (&self.fates[index], &self.fields.members[index]);
        if let Some(name) = fate.name {
            cuts.replace(member.key(), |text| write_string(name, text));
        }
        if let Some(value) = fate.value {
            cuts.replace(member.value(), |text| text.extend_from_slice(value));
        }
    }

    /// The bytes to take out for a member and one comma: the comma before it if a member stays before it, else the
    /// one behind it, if there is any.
    fn removal(&self, index: usize, first_kept: Option<usize>) -> Range<usize> {
        let members = &self.fields.members;
        let this = &members[index];
        if first_kept.is_some_and(|first| first < index) {
            return members[index - 1].value().end..this.value().end;
        }
        let end = members.get(index + 1).map_or(this.value().end, |next| next.key().start);
        this.key().start..end
    }
}

/// What is taken out of a body and what stands there instead, from front to back.
#[derive(Default)]
struct Cuts {
    /// Pairs of a range of the body and a range of `text`.
    list: SmallVec<[(Range<usize>, Range<usize>); 8]>,
    text: Vec<u8>,
}

impl Cuts {
    fn replace(&mut self, old: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        self.list.push((old, start..self.text.len()));
    }

    fn assemble(self, body: &Bytes) -> Spliced {
        let text = Bytes::from(self.text);
        let mut spliced = Spliced::default();
        let mut at = 0;
        for (old, new) in self.list {
            spliced.push(body, at..old.start);
            spliced.push(&text, new);
            at = old.end;
        }
        spliced.push(body, at..body.len());
        spliced
    }
}

impl Spliced {
    fn push(&mut self, whole: &Bytes, part: Range<usize>) {
        if !part.is_empty() && part.end <= whole.len() {
            self.length += part.len();
            self.pieces.push(whole.slice(part));
        }
    }
}
