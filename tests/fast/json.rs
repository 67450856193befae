//! JSON bodies: the scanner, the splicer and the tap against `serde_json`, and at their bounds.

use bytes::Bytes;
use serde_json::{Map, Value};
use trunkline::base::limits::{
    JSON_DEPTH_MAX, JSON_KEY_BYTES_MAX, JSON_MEMBERS_MAX, TAP_VALUE_BYTES_MAX,
};
use trunkline::wire::json::{
    Edit, JsonErrorKind, Tap, as_bool, as_str, as_u64, is_null, scan, splice, write_string,
};

use self::text::{JsonText, NAMES};
use crate::fuzz_wire::Dice;

pub mod text;

#[test]
fn scan_finds_what_a_full_parser_finds() {
    for seed in 0..400 {
        let text = JsonText::object(&mut Dice::new(seed));
        let want: Map<String, Value> = serde_json::from_str(&text).expect("generated");
        let body = text.as_bytes();
        let fields = scan(body).unwrap_or_else(|error| panic!("seed {seed}: {error}: {text}"));
        assert_eq!(fields.members().len(), want.len(), "seed {seed}: {text}");
        assert_eq!(fields.is_empty(), want.is_empty());
        for (member, (name, value)) in fields.members().iter().zip(&want) {
            assert_eq!(&*member.name(body), name.as_bytes(), "seed {seed}: {text}");
            let raw = fields.value(body, name).expect("present");
            assert_eq!(member.raw(body), Some(raw));
            assert_eq!(&serde_json::from_slice::<Value>(raw).expect("a value"), value);
            assert_eq!(as_str(raw).as_deref(), value.as_str());
            assert_eq!((as_bool(raw), is_null(raw)), (value.as_bool(), value.is_null()));
            if raw != b"-0" {
                assert_eq!(as_u64(raw), value.as_u64(), "seed {seed}: {}", raw.escape_ascii());
            }
        }
        assert_eq!(fields.value(body, "absent"), None);
    }
}

#[test]
fn scan_reads_nested_objects_too() {
    let body = br#" {"stream":true,"stream_options": {"include_usage":true} } "#;
    let fields = scan(body).unwrap();
    let [stream, options, model] = fields.values(body, ["stream", "stream_options", "model"]);
    assert_eq!((stream, model), (Some(&b"true"[..]), None));
    let options = options.unwrap();
    let inner = scan(options).unwrap();
    assert_eq!(inner.value(options, "include_usage").and_then(as_bool), Some(true));
}

#[test]
fn scan_says_what_is_wrong_and_where() {
    use JsonErrorKind::*;
    let table: &[(&str, JsonErrorKind, usize)] = &[
        ("", NotAnObject, 0),
        (" [1]", NotAnObject, 1),
        ("\u{feff}{}", ByteOrderMark, 0),
        ("{", Truncated, 1),
        (r#"{"a":1"#, Truncated, 6),
        (r#"{"a":1,}"#, ExpectedKey, 7),
        (r#"{,"a":1}"#, ExpectedKey, 1),
        (r#"{a:1}"#, ExpectedKey, 1),
        (r#"{"a" 1}"#, ExpectedColon, 5),
        (r#"{"a":}"#, ExpectedValue, 5),
        (r#"{"a":'b'}"#, ExpectedValue, 5),
        (r#"{"a":1 "b":2}"#, ExpectedCommaOrEnd, 7),
        (r#"{"a":1]"#, ExpectedCommaOrEnd, 6),
        (r#"{"a":01}"#, BadScalar, 5),
        (r#"{"a":NaN}"#, BadScalar, 5),
        (r#"{"a":tru}"#, BadScalar, 5),
        (r#"{"\x":1}"#, BadEscape, 1),
        ("{\"a\":\"x\ny\"}", ControlInString, 7),
        ("{\"a\":[\"x\ty\"]}", ControlInString, 8),
        (r#"{"a":["x]}"#, Truncated, 10),
        (r#"{"a":"x\"}"#, Truncated, 10),
        (r#"{"a":[1}"#, WrongBracket, 7),
        (r#"{"a":{"b":[}]}"#, WrongBracket, 11),
        (r#"{"a":[1/*"*/]}"#, Stray, 7),
        (r#"{"a":1}{"a":2}"#, TrailingBytes, 7),
        (r#"{"a":1},"#, TrailingBytes, 7),
    ];
    for (text, kind, at) in table {
        let error = scan(text.as_bytes()).expect_err(text);
        assert_eq!((error.kind, error.at), (*kind, *at), "{text}");
    }
    let error = scan(b"{\"a\":\"\xff\"}").unwrap_err();
    assert_eq!((error.kind, error.at), (NotUtf8, 6));
    let message = scan(br#"{"a":1,}"#).unwrap_err().message();
    assert_eq!(message, "the body is not valid JSON: a key in double quotes is missing at byte 7");
}

#[test]
fn a_key_twice_is_refused_however_it_is_written() {
    for text in [
        r#"{"model":"a","n":1,"model":"b"}"#,
        r#"{"model":"a","\u006dodel":"b"}"#,
        r#"{"\u006Dodel":"a","model":"b"}"#,
        r#"{"mo\u0064el":"a","m\u006fdel":"b"}"#,
        r#"{"😀":1,"\ud83d\ude00":2}"#,
        r#"{"":1,"":2}"#,
    ] {
        assert_eq!(scan(text.as_bytes()).unwrap_err().kind, JsonErrorKind::DuplicateKey, "{text}");
    }
    let apart = br#"{"\ud800":1,"\ud801":2,"model":3,"Model":4,"models":5,"metadata":{"model":6}}"#;
    let fields = scan(apart).expect("different keys");
    assert!(fields.has_case_twin(apart, "model"));
    assert!(!fields.has_case_twin(apart, "models"));
}

#[test]
fn a_wanted_key_is_found_when_it_is_escaped() {
    let body = br#"{"\u006dodel":"\u0040vk\/gpt"}"#;
    let raw = scan(body).unwrap().value(body, "model").unwrap();
    assert_eq!(as_str(raw).as_deref(), Some("@vk/gpt"));
}

#[test]
fn bounds_hold_and_are_reached() {
    let members = |count: usize| {
        let members: Vec<_> = (0..count).map(|i| format!("\"k{i}\":{i}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let key = |length: usize| format!("{{\"{}\":1}}", "k".repeat(length));
    let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    for (good, bad, kind) in [
        (members(JSON_MEMBERS_MAX), members(JSON_MEMBERS_MAX + 1), JsonErrorKind::TooManyMembers),
        (key(JSON_KEY_BYTES_MAX), key(JSON_KEY_BYTES_MAX + 1), JsonErrorKind::KeyTooLong),
        (deep(JSON_DEPTH_MAX - 1), deep(JSON_DEPTH_MAX), JsonErrorKind::TooDeep),
    ] {
        assert!(scan(good.as_bytes()).is_ok(), "{kind:?}");
        assert_eq!(scan(bad.as_bytes()).unwrap_err().kind, kind);
    }
}

#[test]
fn single_values_are_read_strictly() {
    assert_eq!(as_u64(b"18446744073709551615"), Some(u64::MAX));
    for raw in [&b"18446744073709551616"[..], b"", b"01", b"1.0", b"1e3", b"-1", b"+1", b"\"1\""] {
        assert_eq!(as_u64(raw), None);
    }
    for raw in [&b"\"a"[..], b"a\"", b"\"", b"\"a\"b\"", b"null", b"", b"\"\\q\"", b"\"\xff\""] {
        assert_eq!(as_str(raw), None, "{}", raw.escape_ascii());
    }
    assert!(matches!(as_str(b"\"plain\""), Some(std::borrow::Cow::Borrowed("plain"))));
}

#[test]
fn written_strings_are_read_as_they_were() {
    let every: String = (0..0x300).filter_map(char::from_u32).chain("\u{2028}😀".chars()).collect();
    for text in ["", "plain", "\"", "a\\", &every] {
        let mut out = b"x".to_vec();
        write_string(text, &mut out);
        assert_eq!(serde_json::from_slice::<String>(&out[1..]).expect("JSON"), text);
        assert_eq!(as_str(&out[1..]).as_deref(), Some(text));
    }
}

fn spliced(text: &str, edits: &[Edit<'_>]) -> String {
    let body = Bytes::copy_from_slice(text.as_bytes());
    let spliced = splice(&body, &scan(&body).expect("an object"), edits);
    let bytes = spliced.pieces.concat();
    assert_eq!(bytes.len(), spliced.length);
    assert!(spliced.pieces.iter().all(|piece| !piece.is_empty()));
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn splices_touch_only_what_they_name() {
    let set = |name, raw: &'static str| Edit::Set { name, raw_json: raw.as_bytes() };
    let remove = |name| Edit::Remove { name };
    let rename = Edit::Rename { from: "max_completion_tokens", to: "max_tokens" };
    let cases: &[(&str, &[Edit<'_>], &str)] = &[
        (r#" { "a" : 1 } "#, &[], r#" { "a" : 1 } "#),
        (r#"{"a": 1,"b":2}"#, &[set("a", "[3]")], r#"{"a": [3],"b":2}"#),
        (r#"{"a": 1 }"#, &[set("b", "2")], r#"{"b":2,"a": 1 }"#),
        (r#"{ }"#, &[set("b", "2"), set("c\"", "3")], r#"{"b":2,"c\"":3 }"#),
        (r#"{"a":1}"#, &[set("b", "2"), set("b", "3")], r#"{"b":3,"a":1}"#),
        (r#"{"a":1, "b":2, "c":3}"#, &[remove("a")], r#"{"b":2, "c":3}"#),
        (r#"{"a":1, "b":2, "c":3}"#, &[remove("b")], r#"{"a":1, "c":3}"#),
        (r#"{"a":1, "b":2, "c":3 }"#, &[remove("c")], r#"{"a":1, "b":2 }"#),
        (r#"{"a":1, "b":2, "c":3}"#, &[remove("a"), remove("b")], r#"{"c":3}"#),
        (r#"{"a":1, "b":2, "c":3}"#, &[remove("c"), remove("b")], r#"{"a":1}"#),
        (r#"{"a":1, "b":2}"#, &[remove("a"), remove("b"), set("c", "3")], r#"{"c":3}"#),
        (r#"{"a":1}"#, &[remove("a"), remove("a"), remove("z")], r#"{}"#),
        (r#"{"a":1,"b":2}"#, &[remove("a"), set("a", "3")], r#"{"a":3,"b":2}"#),
        (r#"{"max_completion_tokens" :9}"#, &[rename], r#"{"max_tokens" :9}"#),
        (r#"{"max_tokens":8,"max_completion_tokens":9}"#, &[rename], r#"{"max_tokens":8}"#),
        (
            r#"{"max_completion_tokens":9}"#,
            &[rename, set("max_tokens", "7")],
            r#"{"max_tokens":7}"#,
        ),
        (r#"{"\u0061":1}"#, &[set("a", "2")], r#"{"\u0061":2}"#),
    ];
    for (text, edits, want) in cases {
        assert_eq!(spliced(text, edits), *want, "{text} {edits:?}");
    }
}

#[test]
fn splices_do_not_copy_the_body() {
    let body = Bytes::from_static(br#"{"model":"gpt","messages":["long"]}"#);
    let edits = [Edit::Set { name: "model", raw_json: b"\"x\"" }];
    let spliced = splice(&body, &scan(&body).unwrap(), &edits);
    let [front, value, back] = &spliced.pieces[..] else {
        panic!("{:?}", spliced.pieces);
    };
    assert_eq!((front.as_ptr(), &value[..]), (body.as_ptr(), &b"\"x\""[..]));
    assert_eq!(back.as_ptr_range().end, body.as_ptr_range().end);
}

#[test]
fn splices_mean_what_edits_of_a_tree_mean() {
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let text = JsonText::object(&mut dice);
        let mut want: Map<String, Value> = serde_json::from_str(&text).expect("generated");
        let mut edits = Vec::new();
        for _ in 0..dice.below(6) {
            let (name, to) = (dice.pick(NAMES), dice.pick(NAMES));
            edits.push(match dice.below(3) {
                0 => Edit::Set { name, raw_json: br#"{"new":[1]}"# },
                1 => Edit::Remove { name },
                _ => Edit::Rename { from: name, to },
            });
            edit_tree(&mut want, edits.last().expect("just pushed"));
        }
        let result = spliced(&text, &edits);
        let got: Map<String, Value> = serde_json::from_str(&result)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}: {text} {edits:?} {result}"));
        assert_eq!(got, want, "seed {seed}: {text} {edits:?} {result}");
        same_bytes_elsewhere(seed, &text, &result, &edits);
    }
}

fn edit_tree(tree: &mut Map<String, Value>, edit: &Edit<'_>) {
    match *edit {
        Edit::Set { name, raw_json } => {
            tree.insert(name.to_owned(), serde_json::from_slice(raw_json).expect("JSON"));
        }
        Edit::Remove { name } => drop(tree.remove(name)),
        Edit::Rename { from, to } if from != to => {
            if let Some(value) = tree.remove(from) {
                tree.entry(to).or_insert(value);
            }
        }
        Edit::Rename { .. } => {}
    }
}

/// Members that no edit names keep the bytes of their key, their value and what is between the two.
fn same_bytes_elsewhere(seed: u64, before: &str, after: &str, edits: &[Edit<'_>]) {
    let named = |name: &[u8]| {
        edits.iter().any(|edit| match edit {
            Edit::Set { name: one, .. } | Edit::Remove { name: one } => one.as_bytes() == name,
            Edit::Rename { from, to } => from.as_bytes() == name || to.as_bytes() == name,
        })
    };
    let untouched = |text: &str| -> Vec<String> {
        let fields = scan(text.as_bytes()).expect("an object");
        let members =
            fields.members().iter().filter(|member| !named(&member.name(text.as_bytes())));
        members.map(|member| text[member.key().start..member.value().end].to_owned()).collect()
    };
    assert_eq!(untouched(before), untouched(after), "seed {seed}");
}

/// What a tap for `NAMES` told.
pub struct Tapped {
    tap: Tap,
    values: Vec<Vec<u8>>,
}

impl Tapped {
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        let index = NAMES.iter().position(|known| *known == name)?;
        let value = self.values[index].as_slice();
        (!value.is_empty() && !self.tap.is_lost()).then_some(value)
    }

    pub fn complete(&self) -> bool {
        self.tap.complete()
    }
}

/// The names of `NAMES`, tapped from these pieces.
pub fn tap_in_pieces(pieces: &[&[u8]]) -> Tapped {
    let mut tap = Tap::new(NAMES);
    let mut values = vec![Vec::new(); NAMES.len()];
    for piece in pieces {
        tap.push(piece, |index, value| values[index] = value.to_vec());
    }
    Tapped { tap, values }
}

#[test]
fn taps_capture_the_same_wherever_the_answer_is_cut() {
    for seed in 0..40 {
        let text = JsonText::object(&mut Dice::new(seed)).into_bytes();
        if text.len() > 800 {
            continue;
        }
        let fields = scan(&text).expect("generated");
        for cut in 0..=text.len() {
            let (front, back) = text.split_at(cut);
            let tap = tap_in_pieces(&[front, b"", back]);
            assert!(tap.complete(), "seed {seed}, cut {cut}");
            for name in NAMES {
                assert_eq!(tap.value(name), fields.value(&text, name), "seed {seed}, cut {cut}");
            }
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        let tap = tap_in_pieces(&bytes);
        assert!(NAMES.iter().all(|name| tap.value(name) == fields.value(&text, name)));
    }
}

#[test]
fn taps_know_a_whole_answer_from_a_cut_one() {
    let tap = |text: &str| tap_in_pieces(&[text.as_bytes()]);
    let whole = tap(r#"{"usage":{"n":1},"model":"m"}"#);
    assert!(whole.complete());
    for text in ["", "{", r#"{"usage":{"n":1},"model":"m""#, r#"{"usage":{"n":1}"#] {
        assert!(!tap(text).complete(), "{text}");
    }
    let cut = tap(r#"{"usage":{"n":1},"model":"m"#);
    assert_eq!((cut.value("usage"), cut.value("model")), (Some(&br#"{"n":1}"#[..]), None));
    let again = tap(r#"{"usage":1,"usage":2}"#);
    assert_eq!(again.value("usage"), Some(&b"2"[..]));
}

#[test]
fn taps_capture_nothing_of_what_is_not_json() {
    for text in [
        "<html>",
        "[{\"usage\":1}]",
        "\u{feff}{\"usage\":1}",
        "{\"usage\":1} x",
        "{\"usage\":1}{}",
        "{\"usage\":1,}",
        "{\"usage\":[1}",
        "{\"usage\":12x3}",
        "{\"usage\":1 2}",
        "{usage:1}",
    ] {
        let tap = tap_in_pieces(&[text.as_bytes()]);
        assert_eq!((tap.value("usage"), tap.complete()), (None, false), "{text}");
    }
}

#[test]
fn taps_hold_no_more_than_their_bound() {
    let answer = |length: usize| format!(r#"{{"a":"{}","usage":1}}"#, "x".repeat(length - 2));
    for piece_bytes in [1000, usize::MAX] {
        let tap = |length: usize| {
            let answer = answer(length);
            tap_in_pieces(&answer.as_bytes().chunks(piece_bytes).collect::<Vec<_>>())
        };
        assert_eq!(tap(TAP_VALUE_BYTES_MAX).value("a").map(<[u8]>::len), Some(TAP_VALUE_BYTES_MAX));
        let over = tap(TAP_VALUE_BYTES_MAX + 1);
        assert_eq!((over.value("a"), over.value("usage")), (None, Some(&b"1"[..])));
    }
    let answer = format!(r#"{{"{}":1,"usage":2}}"#, "k".repeat(JSON_KEY_BYTES_MAX * 100));
    assert_eq!(tap_in_pieces(&[answer.as_bytes()]).value("usage"), Some(&b"2"[..]));
}
