//! Event streams: what a reader by the standard would see, however the stream is cut.

use trunkline::base::limits::EVENT_BYTES_MAX;
use trunkline::wire::sse::{Scanner, TooLong, write_event};

use crate::fuzz_wire::Dice;

/// An event and whether it has no data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    name: Vec<u8>,
    data: Vec<u8>,
    comment_only: bool,
}

fn seen(name: &str, data: &str) -> Seen {
    Seen { name: name.into(), data: data.into(), comment_only: false }
}

fn comment() -> Seen {
    Seen { name: Vec::new(), data: Vec::new(), comment_only: true }
}

/// The events of a stream that comes in these pieces, and the one its end cut short. Checks on the way that the slices
/// between the ends make up the stream.
pub fn events_in_pieces(pieces: &[&[u8]]) -> (Vec<Seen>, Option<Seen>) {
    let mut scanner = Scanner::new();
    let mut events = Vec::new();
    for piece in pieces {
        let mut last_end = 0;
        let pushed = scanner.push(piece, |event| {
            assert!(last_end <= event.end && event.end <= piece.len(), "ends go forward");
            last_end = event.end;
            events.push(Seen {
                name: event.name.to_vec(),
                data: event.data.to_vec(),
                comment_only: event.comment_only,
            });
        });
        assert_eq!(pushed, Ok(()));
        assert!(scanner.pending() >= piece.len() - last_end, "the rest is pending");
    }
    let pending = scanner.pending_data().map(|event| Seen {
        name: event.name.to_vec(),
        data: event.data.to_vec(),
        comment_only: event.comment_only,
    });
    (events, pending)
}

#[test]
fn events_are_what_the_standard_says() {
    let table: &[(&str, &[Seen], Option<Seen>)] = &[
        ("data: {\"a\":1}\n\n", &[seen("", "{\"a\":1}")], None),
        ("data:x\n\ndata:  y\n\n", &[seen("", "x"), seen("", " y")], None),
        ("data: YHOO\ndata: +2\ndata: 10\n\n", &[seen("", "YHOO\n+2\n10")], None),
        (
            "event: add\ndata: 1\n\nevent: gone\r\ndata\r\n\r\n",
            &[seen("add", "1"), seen("gone", "")],
            None,
        ),
        ("data\ndata\n\n", &[seen("", "\n")], None),
        ("data: a\rdata: b\r\rdata: c\r\n\r", &[seen("", "a\nb"), seen("", "c")], None),
        (": keep-alive\n\n: OPENROUTER PROCESSING\n\n", &[comment(), comment()], None),
        (": note\nid: 7\nretry: 10\ndata: x\nid\n\n", &[seen("", "x")], None),
        ("\u{feff}data: x\n\n\u{feff}data: y\n\n", &[seen("", "x"), comment()], None),
        ("\n\ndata: x\n\n", &[comment(), comment(), seen("", "x")], None),
        ("Data: x\ndata : y\ndatax: z\n\n", &[comment()], None),
        ("event: a\nevent: b\ndata: x:y\n\n", &[seen("b", "x:y")], None),
        ("data: x\n\ndata: [DONE]", &[seen("", "x")], Some(seen("", "[DONE]"))),
        ("event: e\ndata: [DONE]\n", &[], Some(seen("e", "[DONE]"))),
        (": nothing", &[], None),
        ("", &[], None),
    ];
    for (stream, events, pending) in table {
        let want = (events.to_vec(), pending.clone());
        assert_eq!(events_in_pieces(&[stream.as_bytes()]), want, "{stream:?}");
        for cut in 0..=stream.len() {
            let (front, back) = stream.as_bytes().split_at(cut);
            assert_eq!(events_in_pieces(&[front, b"", back]), want, "{stream:?} cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(events_in_pieces(&bytes), want, "{stream:?} byte by byte");
    }
}

#[test]
fn random_streams_are_read_as_a_plain_reading_has_it() {
    for seed in 0..300 {
        let stream = stream_text(&mut Dice::new(seed));
        let (events, _) = events_in_pieces(&[&stream]);
        let with_data: Vec<Seen> = events.into_iter().filter(|event| !event.comment_only).collect();
        assert_eq!(with_data, plain_reading(&stream), "seed {seed}: {}", stream.escape_ascii());
    }
}

/// The standard's algorithm, line by line.
fn plain_reading(stream: &[u8]) -> Vec<Seen> {
    let text = String::from_utf8(stream.to_vec()).expect("generated");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut name, mut data) = (Vec::new(), String::new(), Vec::new());
    let Some((whole, _)) = text.rsplit_once('\n') else {
        return events;
    };
    for line in whole.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                if !data.is_empty() {
                    events.push(seen(&name, &data.join("\n")));
                }
                name.clear();
                data.clear();
            }
            "event" => name = value.to_owned(),
            "data" => data.push(value.to_owned()),
            _ => {}
        }
    }
    events
}

/// A random stream with every kind of line and line break.
pub fn stream_text(dice: &mut Dice) -> Vec<u8> {
    let mut text = String::new();
    if dice.below(4) == 0 {
        text.push('\u{feff}');
    }
    let line_break = dice.pick(&["\n", "\r\n", "\r"]);
    for _ in 0..dice.below(20) {
        text.push_str(dice.pick(&[
            "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}",
            "data:[DONE]",
            "data",
            "event: content_block_delta",
            "event:",
            ": keep-alive",
            "id: 3",
            "retry: 1000",
            "",
            "",
            "",
            "é: x",
        ]));
        text.push_str(if dice.below(8) == 0 {
            dice.pick(&["\n", "\r\n", "\r"])
        } else {
            line_break
        });
    }
    text.into_bytes()
}

#[test]
fn data_within_one_span_is_lent_not_copied() {
    let span = b"data: one\n\nevent: e\ndata: two\n\n";
    let mut lent = 0;
    let pushed = Scanner::new().push(span, |event| {
        assert!(span.as_ptr_range().contains(&event.data.as_ptr()));
        lent += 1;
    });
    assert_eq!((pushed, lent), (Ok(()), 2));
}

#[test]
fn slices_between_the_ends_make_up_the_stream() {
    let stream = b"data: 1\r\n\r\n: c\n\ndata: 2\ndata: 3\r\rdata: 4\n\n";
    for cut in 0..=stream.len() {
        let (mut scanner, mut passed, mut held) = (Scanner::new(), Vec::new(), Vec::new());
        for piece in [&stream[..cut], &stream[cut..]] {
            let mut start = 0;
            let mut ends = Vec::new();
            scanner.push(piece, |event| ends.push(event.end)).unwrap();
            for end in ends {
                passed.append(&mut held);
                passed.extend_from_slice(&piece[start..end]);
                start = end;
            }
            held.extend_from_slice(&piece[start..]);
            assert_eq!(held.len(), scanner.pending(), "cut at {cut}");
        }
        assert_eq!((&passed[..], &held[..]), (&stream[..], &b""[..]), "cut at {cut}");
    }
}

#[test]
fn an_event_that_is_too_long_is_passed_over() {
    let event = |length: usize| {
        let mut event = b"data: ".to_vec();
        event.resize(length - 2, b'x');
        event.extend_from_slice(b"\n\n");
        event
    };
    for (length, want) in [(EVENT_BYTES_MAX, 3), (EVENT_BYTES_MAX + 1, 2)] {
        let stream = [b"data: before\n\n", &event(length)[..], b"data: after\n\n"].concat();
        for piece_bytes in [100_000, usize::MAX] {
            let (mut scanner, mut events, mut refused) = (Scanner::new(), Vec::new(), 0);
            for piece in stream.chunks(piece_bytes) {
                let pushed = scanner.push(piece, |event| events.push(event.data.to_vec()));
                refused += usize::from(pushed == Err(TooLong));
                assert!(scanner.pending() <= EVENT_BYTES_MAX);
            }
            assert_eq!((events.len(), refused), (want, 3 - want));
            assert_eq!(events.last().map(Vec::as_slice), Some(&b"after"[..]));
        }
    }
}

#[test]
fn written_events_are_read_as_they_were() {
    let cases: &[(Option<&str>, &str, &str)] = &[
        (None, "{\"a\":1}", "data: {\"a\":1}\n\n"),
        (Some("error"), "x", "event: error\ndata: x\n\n"),
        (Some("e\r\ndata: forged\n\n"), "x", "event: edata: forged\ndata: x\n\n"),
        (None, "a\nb\r\nc\rd", "data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (None, "", "data: \n\n"),
        (None, "a\n", "data: a\ndata: \n\n"),
        (None, " padded", "data:  padded\n\n"),
    ];
    for (name, data, want) in cases {
        let mut out = Vec::new();
        write_event(*name, data.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out.clone()).unwrap(), *want);
        let (events, _) = events_in_pieces(&[&out]);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].data, data.replace("\r\n", "\n").replace('\r', "\n").into_bytes());
    }
}
