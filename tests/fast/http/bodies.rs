//! Message bodies: where they end, what may stand between their bytes, and every refusal by its name.

use trunkline::base::limits::{CHUNK_LINE_BYTES_MAX, CHUNK_OVERHEAD_BYTES_MAX, TRAILER_BYTES_MAX};
use trunkline::wire::{
    body::{BodyError, BodyReader, Piece},
    head::Framing,
};

use super::{read_body, read_chunks};

#[test]
fn a_chunked_body_is_read_to_its_end_and_no_further() {
    let body =
        read_chunks(b"5\r\nhello\r\n1;ext=\"v\"\r\n \r\nA \t; x\r\n0123456789\r\n000\r\n\r\nGET /");
    assert_eq!(body.data, b"hello 0123456789");
    assert_eq!((body.end, &body.left[..]), (Ok(true), &b"GET /"[..]));
}

#[test]
fn trailers_are_skipped() {
    let body = read_chunks(b"1\r\na\r\n0;last\r\nX-Sum: 1\r\nEmpty:\r\n\r\nrest");
    assert_eq!((&body.data[..], body.end, &body.left[..]), (&b"a"[..], Ok(true), &b"rest"[..]));
}

#[test]
fn a_body_of_known_length_leaves_what_follows() {
    let body = read_body(Framing::Length(5), [&b"he"[..], b"l", b"loGET"]);
    assert_eq!((&body.data[..], body.end, &body.left[..]), (&b"hello"[..], Ok(true), &b"GET"[..]));
}

#[test]
fn no_body_takes_no_bytes() {
    for framing in [Framing::None, Framing::Length(0)] {
        assert!(BodyReader::new(framing).is_done());
        let body = read_body(framing, [&b"next"[..]]);
        assert_eq!((body.end, &body.left[..]), (Ok(true), &b"next"[..]));
    }
}

#[test]
fn a_body_until_close_takes_everything_and_may_end_at_any_time() {
    let mut reader = BodyReader::new(Framing::UntilClose);
    assert_eq!(reader.next(b""), Ok(Piece::NeedMore { skip: 0 }));
    assert_eq!(reader.next(b"abc"), Ok(Piece::Data { skip: 0, len: 3 }));
    assert_eq!(reader.end_of_input(), Ok(()));
    assert!(!reader.is_done(), "its connection is never used again");
}

#[test]
fn pieces_are_spans_of_what_arrived() {
    let mut reader = BodyReader::new(Framing::Chunked);
    assert_eq!(reader.next(b"5\r\nhel"), Ok(Piece::Data { skip: 3, len: 3 }));
    assert_eq!(reader.next(b"lo\r\n2\r\nab"), Ok(Piece::Data { skip: 0, len: 2 }));
    assert_eq!(reader.next(b"\r\n2\r\nab"), Ok(Piece::Data { skip: 5, len: 2 }));
    assert_eq!(reader.next(b"\r\n0\r"), Ok(Piece::NeedMore { skip: 4 }));
    assert_eq!(reader.next(b"\n\r\nX"), Ok(Piece::Done { skip: 3 }));
    assert!(reader.is_done());
    assert_eq!(reader.next(b"X"), Ok(Piece::Done { skip: 0 }));
}

#[test]
fn a_cut_body_is_truncated_wherever_it_is_cut() {
    let text = b"5\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for cut in 0..text.len() {
        let mut reader = BodyReader::new(Framing::Chunked);
        let mut rest = &text[..cut];
        while let Ok(Piece::Data { skip, len }) = reader.next(rest) {
            rest = &rest[skip + len..];
        }
        assert_eq!(reader.end_of_input(), Err(BodyError::Truncated), "cut at {cut}");
        assert!(!reader.is_done());
    }
    let mut reader = BodyReader::new(Framing::Length(5));
    assert!(reader.next(b"hell").is_ok());
    assert_eq!(reader.end_of_input(), Err(BodyError::Truncated));
}

const REFUSED: &[(&str, BodyError)] = &[
    ("\r\n", BodyError::EmptyChunkSize),
    ("\n", BodyError::EmptyChunkSize),
    ("1\r\na\r\n\r\n", BodyError::EmptyChunkSize),
    ("g\r\n", BodyError::BadChunkSize),
    ("-1\r\n", BodyError::BadChunkSize),
    ("+1\r\n", BodyError::BadChunkSize),
    ("0x1\r\na\r\n", BodyError::BadChunkSize),
    (" 1\r\na\r\n", BodyError::BadChunkSize),
    (";a\r\n", BodyError::BadChunkSize),
    ("1 \r\na\r\n", BodyError::BadChunkSize),
    ("1 1\r\na\r\n", BodyError::BadChunkSize),
    ("1_0\r\na\r\n", BodyError::BadChunkSize),
    ("1\0\r\na\r\n", BodyError::BadChunkSize),
    ("10000000000000000\r\n", BodyError::ChunkSizeTooLong),
    ("00000000000000001\r\na", BodyError::ChunkSizeTooLong),
    ("1\na\r\n", BodyError::BareLf),
    ("1;x\na\r\n", BodyError::BareLf),
    ("1 \na\r\n", BodyError::BareLf),
    ("1\rXa", BodyError::BareCr),
    ("1;x\rXa", BodyError::BareCr),
    ("1;\0\r\na", BodyError::BadChunkExtension),
    ("1\r\nab\r\n", BodyError::BadChunkEnd),
    ("1\r\na\n", BodyError::BadChunkEnd),
    ("1\r\na\rX", BodyError::BadChunkEnd),
    ("1\r\na0\r\n\r\n", BodyError::BadChunkEnd),
    ("0\r\nGET / HTTP/1.1\r\n", BodyError::BadTrailer),
    ("0\r\n: x\r\n", BodyError::BadTrailer),
    ("0\r\nX\r\n", BodyError::BadTrailer),
    ("0\r\nX : y\r\n", BodyError::BadTrailer),
    ("0\r\nX: y\r\n z\r\n", BodyError::BadTrailer),
    ("0\r\nX: \0\r\n", BodyError::BadTrailer),
    ("0\r\nX: y\n\r\n", BodyError::BareLf),
    ("0\r\n\n", BodyError::BareLf),
    ("0\r\nX: y\rZ", BodyError::BareCr),
    ("0\r\n\rX", BodyError::BareCr),
];

#[test]
fn every_malformed_body_is_refused_by_name_and_stays_refused() {
    for &(text, expected) in REFUSED {
        assert_eq!(read_chunks(text.as_bytes()).end, Err(expected), "{text:?}");
        let bytewise = text.as_bytes().chunks(1);
        assert_eq!(read_body(Framing::Chunked, bytewise).end, Err(expected), "{text:?} bytewise");
        assert!(expected.message().ends_with('.'));
    }
    let mut reader = BodyReader::new(Framing::Chunked);
    assert_eq!(reader.next(b"x"), Err(BodyError::BadChunkSize));
    assert_eq!(reader.next(b"0\r\n\r\n"), Err(BodyError::BadChunkSize));
    assert_eq!(reader.end_of_input(), Err(BodyError::BadChunkSize));
}

#[test]
fn the_largest_chunk_size_is_taken_without_overflow() {
    let body = read_chunks(b"ffffffffffffffff\r\nabc");
    assert_eq!((&body.data[..], body.end), (&b"abc"[..], Ok(false)));
    assert_eq!(read_chunks(b"0000000000000001\r\na\r\n0\r\n\r\n").end, Ok(true));
}

#[test]
fn the_size_line_limit_holds_to_the_byte() {
    let text = |len: usize| format!("1{}\r\na\r\n0\r\n\r\n", ";".repeat(len - 1));
    assert_eq!(read_chunks(text(CHUNK_LINE_BYTES_MAX).as_bytes()).end, Ok(true));
    let too_long = read_chunks(text(CHUNK_LINE_BYTES_MAX + 1).as_bytes());
    assert_eq!(too_long.end, Err(BodyError::ChunkLineTooLong));
}

#[test]
fn the_trailer_limit_holds_to_the_byte() {
    let line = "X: yyyyyyyyyyyyy\r\n";
    let text = |len: usize| {
        let full = line.repeat(len / line.len() - 1);
        let last = "Z:".to_string() + &"z".repeat(len - full.len() - 6) + "\r\n\r\n";
        format!("0\r\n{full}{last}")
    };
    assert_eq!(read_chunks(text(TRAILER_BYTES_MAX).as_bytes()).end, Ok(true));
    let too_long = read_chunks(text(TRAILER_BYTES_MAX + 1).as_bytes());
    assert_eq!(too_long.end, Err(BodyError::TrailersTooLong));
}

#[test]
fn chunk_extensions_cannot_outweigh_the_data_forever() {
    let greedy = format!("1;{}\r\na\r\n", "x".repeat(1000)).repeat(100);
    assert_eq!(read_chunks(greedy.as_bytes()).end, Err(BodyError::TooMuchOverhead));
    // Upload signatures of 80 bytes on chunks of 8 KiB, and tokens in tiny bare chunks, are usual.
    let signed = format!("2000;chunk-signature={}\r\n{}\r\n", "f".repeat(64), "d".repeat(0x2000));
    assert_eq!(read_chunks(signed.repeat(300).as_bytes()).end, Ok(false));
    let tiny = "1\r\na\r\n".repeat(2 * usize::try_from(CHUNK_OVERHEAD_BYTES_MAX).unwrap());
    assert_eq!(read_chunks(tiny.as_bytes()).end, Ok(false));
}
