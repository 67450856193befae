//! Where in a raw value a path leads, and a raw value with other texts in some places: edits of nested texts that
//! leave every other byte as it is.

use std::ops::Range;

use super::{
    prune::{PathStep, elements},
    scan::scan,
    text::{as_str, write_string},
};

/// Where the values stand that a path leads to, from front to back, added to `found`.
pub fn places(raw: &[u8], path: &[PathStep], found: &mut Vec<Range<usize>>) {
    walk(raw, 0..raw.len(), path, found);
}

/// As deep as the path is long.
fn walk(raw: &[u8], place: Range<usize>, path: &[PathStep], found: &mut Vec<Range<usize>>) {
    let Some((step, rest)) = path.split_first() else {
        found.push(place);
        return;
    };
    let Some(value) = raw.get(place.clone()) else { return };
    let within = |part: &Range<usize>| place.start + part.start..place.start + part.end;
    match step {
        PathStep::Key(key) => {
            let Ok(fields) = scan(value) else { return };
            if let Some(member) = fields.find(value, key) {
                walk(raw, within(&member.value()), rest, found);
            }
        }
        PathStep::Index(index) => {
            if let Some(element) = elements(value).as_ref().and_then(|all| all.get(*index)) {
                walk(raw, within(element), rest, found);
            }
        }
        PathStep::Every => {
            for element in elements(value).iter().flatten() {
                walk(raw, within(element), rest, found);
            }
        }
    }
}

/// The value with other texts where `other` has one for the text of a string that a path leads to; `None`: it has none
/// for any. What no path leads to stays the same bytes.
pub fn with_texts(
    raw: &[u8],
    paths: &[&[PathStep]],
    other: &mut dyn FnMut(&str) -> Option<String>,
) -> Option<Vec<u8>> {
    let mut found = Vec::new();
    for path in paths {
        places(raw, path, &mut found);
    }
    found.sort_by_key(|place| place.start);
    found.dedup();
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    for place in found {
        let text = raw.get(place.clone()).and_then(as_str);
        let Some(text) = text.and_then(|text| other(&text)) else { continue };
        out.extend_from_slice(raw.get(at..place.start)?);
        write_string(&text, &mut out);
        at = place.end;
    }
    if at == 0 {
        return None;
    }
    out.extend_from_slice(raw.get(at..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{ "model": "m", "messages": [ {"role":"user","content":"a\n1"}, {"content":[{"text":"b"},{"image":2},{"text":"c"}]} ] }"#;

    fn key(name: &str) -> PathStep {
        PathStep::Key(name.into())
    }

    #[test]
    fn texts_are_changed_where_paths_lead_and_nowhere_else() {
        let content = [key("messages"), PathStep::Every, key("content")];
        let parts =
            [key("messages"), PathStep::Every, key("content"), PathStep::Every, key("text")];
        let mut seen = Vec::new();
        let changed = with_texts(BODY.as_bytes(), &[&parts, &content], &mut |text| {
            seen.push(text.to_owned());
            (text != "b").then(|| text.to_uppercase())
        });
        assert_eq!(seen, ["a\n1", "b", "c"]);
        let wanted = BODY.replace(r"a\n1", r"A\n1").replace("\"c\"", "\"C\"");
        assert_eq!(changed.as_deref(), Some(wanted.as_bytes()));
    }

    #[test]
    fn what_is_not_there_changes_nothing() {
        for path in [vec![key("x")], vec![key("model"), PathStep::Every], vec![PathStep::Index(0)]]
        {
            assert_eq!(with_texts(BODY.as_bytes(), &[&path], &mut |_| Some("x".into())), None);
        }
        assert_eq!(with_texts(b"[", &[&[PathStep::Every]], &mut |_| Some("x".into())), None);
        assert_eq!(with_texts(BODY.as_bytes(), &[&[key("model")]], &mut |_| None), None);
    }
}
