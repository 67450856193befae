//! Takes nested members and elements out of a raw value by their paths. What no path names stays the same bytes.

use std::ops::Range;

use smallvec::SmallVec;

use super::{
    scan::{Fields, scan},
    walk::{NestWalk, StringWalk, Walked},
};

/// One step of a path into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// The member of this key, decoded.
    Key(String),
    /// The element of this index.
    Index(usize),
    /// Each element.
    Every,
}

/// The value without what the path leads to; `None`: it leads nowhere, or through something that is no JSON.
#[must_use]
pub fn prune(raw: &[u8], path: &[PathStep]) -> Option<Vec<u8>> {
    let mut cuts = Vec::new();
    find(raw, 0..raw.len(), path, &mut cuts);
    if cuts.is_empty() {
        return None;
    }
    let mut kept = Vec::with_capacity(raw.len());
    let mut at = 0;
    for cut in cuts {
        kept.extend_from_slice(raw.get(at..cut.start)?);
        at = cut.end;
    }
    kept.extend_from_slice(raw.get(at..)?);
    Some(kept)
}

/// Notes what is to be cut out of the value at `place`, from front to back. As deep as the path is long.
fn find(raw: &[u8], place: Range<usize>, path: &[PathStep], cuts: &mut Vec<Range<usize>>) {
    let Some((step, rest)) = path.split_first() else { return };
    let Some(value) = raw.get(place.clone()) else { return };
    match step {
        PathStep::Key(key) => {
            let Ok(fields) = scan(value) else { return };
            let Some(index) = fields.position(value, key) else { return };
            if rest.is_empty() {
                cuts.push(within(&place, &member_with_comma(&fields, index)));
            } else {
                find(raw, within(&place, &fields.members[index].value()), rest, cuts);
            }
        }
        PathStep::Index(index) => {
            let Some(elements) = elements(value) else { return };
            let Some(element) = elements.get(*index) else { return };
            if rest.is_empty() {
                cuts.push(within(&place, &element_with_comma(&elements, *index)));
            } else {
                find(raw, within(&place, element), rest, cuts);
            }
        }
        PathStep::Every => {
            let Some(elements) = elements(value) else { return };
            match (elements.first(), elements.last()) {
                (Some(first), Some(last)) if rest.is_empty() => {
                    cuts.push(within(&place, &(first.start..last.end)));
                }
                _ => elements.iter().for_each(|one| find(raw, within(&place, one), rest, cuts)),
            }
        }
    }
}

fn within(place: &Range<usize>, part: &Range<usize>) -> Range<usize> {
    place.start + part.start..place.start + part.end
}

fn member_with_comma(fields: &Fields, index: usize) -> Range<usize> {
    let this = &fields.members[index];
    match (index.checked_sub(1), fields.members.get(index + 1)) {
        (Some(before), _) => fields.members[before].value().end..this.value().end,
        (None, Some(next)) => this.key().start..next.key().start,
        (None, None) => this.key().start..this.value().end,
    }
}

fn element_with_comma(elements: &[Range<usize>], index: usize) -> Range<usize> {
    let this = &elements[index];
    match (index.checked_sub(1), elements.get(index + 1)) {
        (Some(before), _) => elements[before].end..this.end,
        (None, Some(next)) => this.start..next.start,
        (None, None) => this.clone(),
    }
}

/// Where the elements of a raw array stand; `None`: it is none.
#[must_use]
pub fn elements(raw: &[u8]) -> Option<SmallVec<[Range<usize>; 16]>> {
    let mut found = SmallVec::new();
    let mut walk = Elements::of(raw)?;
    while let Some(element) = walk.next_element()? {
        found.push(element);
    }
    Some(found)
}

/// Walks over the elements of an array, one after the other.
pub struct Elements<'a> {
    raw: &'a [u8],
    at: usize,
    any: bool,
}

impl<'a> Elements<'a> {
    /// The elements of a raw value; `None`: it is no array.
    #[must_use]
    pub fn of(raw: &'a [u8]) -> Option<Elements<'a>> {
        (raw.first() == Some(&b'[')).then_some(Elements { raw, at: 1, any: false })
    }

    /// Where the next element stands. The inner `None`: that was all; the outer: this is no JSON.
    pub fn next_element(&mut self) -> Option<Option<Range<usize>>> {
        let mut byte = self.skip_blanks()?;
        if byte == b']' {
            return Some(None);
        }
        if self.any {
            self.at += 1;
            let comma = std::mem::replace(&mut byte, self.skip_blanks()?);
            (comma == b',').then_some(())?;
        }
        self.any = true;
        let start = self.at;
        let walked = match byte {
            b'"' => StringWalk::default().feed(self.raw, start + 1),
            b'{' | b'[' => NestWalk::new(0, false).feed(self.raw, start),
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                let length = self.raw.get(start..)?.iter().position(ends)?;
                if length == 0 { Walked::More } else { Walked::Done(start + length) }
            }
        };
        let Walked::Done(end) = walked else { return None };
        self.at = end;
        Some(Some(start..end))
    }

    fn skip_blanks(&mut self) -> Option<u8> {
        loop {
            match self.raw.get(self.at)? {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                byte => return Some(*byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pruned(raw: &str, path: &[PathStep]) -> Option<String> {
        prune(raw.as_bytes(), path).map(|kept| String::from_utf8(kept).expect("text"))
    }

    fn key(name: &str) -> PathStep {
        PathStep::Key(name.into())
    }

    #[test]
    fn a_member_goes_with_one_comma_and_the_rest_stays() {
        for (raw, kept) in [
            (r#"{"a":1}"#, "{}"),
            (r#"{ "a" : 1 , "b":2 }"#, r#"{ "b":2 }"#),
            (r#"{"b": [ 2 ] , "a" : {"c":"}"} }"#, r#"{"b": [ 2 ] }"#),
            (r#"{"b":1,"a":2,"c":3}"#, r#"{"b":1,"c":3}"#),
            (r#"{"\u0061":1,"c":3}"#, r#"{"c":3}"#),
        ] {
            assert_eq!(pruned(raw, &[key("a")]).as_deref(), Some(kept), "{raw}");
        }
    }

    #[test]
    fn elements_go_one_by_one_or_all_together() {
        let raw = r#"[ {"n":1} , "a,]" , 3 ]"#;
        assert_eq!(pruned(raw, &[PathStep::Index(0)]).as_deref(), Some(r#"[ "a,]" , 3 ]"#));
        assert_eq!(pruned(raw, &[PathStep::Index(1)]).as_deref(), Some(r#"[ {"n":1} , 3 ]"#));
        assert_eq!(pruned(raw, &[PathStep::Index(2)]).as_deref(), Some(r#"[ {"n":1} , "a,]" ]"#));
        assert_eq!(pruned(raw, &[PathStep::Every]).as_deref(), Some("[  ]"));
        assert_eq!(pruned(raw, &[PathStep::Index(3)]), None);
        assert_eq!(pruned("[]", &[PathStep::Every]), None);
    }

    #[test]
    fn a_path_leads_into_each_element_that_has_it() {
        let raw = r#"[{"role":"user","name":"n"},{"role":"tool"},7,{"name":[1],"x":{"name":2}}]"#;
        let kept = r#"[{"role":"user"},{"role":"tool"},7,{"x":{"name":2}}]"#;
        assert_eq!(pruned(raw, &[PathStep::Every, key("name")]).as_deref(), Some(kept));
        let deep = [PathStep::Index(3), key("x"), key("name")];
        assert!(pruned(raw, &deep).is_some_and(|kept| kept.ends_with(r#""x":{}}]"#)));
    }

    #[test]
    fn what_is_no_json_or_has_no_such_place_is_left_alone() {
        for raw in ["7", "\"a\"", "[1 2]", "[1,,2]", "[1,", "[", "{\"a\"}", "[}", "[1,]", ""] {
            assert_eq!(pruned(raw, &[PathStep::Every]), None, "{raw}");
            assert_eq!(pruned(raw, &[key("a")]), None, "{raw}");
        }
        assert_eq!(pruned(r#"{"a":1}"#, &[]), None);
        assert_eq!(pruned(r#"{"a":1}"#, &[key("a"), key("b")]), None);
    }
}
