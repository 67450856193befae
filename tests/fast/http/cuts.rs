//! However a connection's bytes are cut on their way, the same messages come out: checked on generated conversations
//! of pipelined messages, each with every cut in two.

use trunkline::wire::head::{HeadLimits, Method, Progress, parse_request};

use super::good_request;
use crate::fuzz_http::{Dice, End, Side, conversation, in_chunks, random_split, read};

#[test]
fn a_generated_conversation_reads_the_same_however_it_is_cut() {
    for seed in 0..150 {
        let mut dice = Dice::new(seed);
        let side = if seed % 3 == 0 { Side::Response(Method::Get) } else { Side::Request };
        let bytes = conversation(&mut dice, side);
        let limits = HeadLimits::default();
        let whole = read(side, limits, [&bytes[..]]);
        for cut in 0..=bytes.len() {
            let (front, back) = bytes.split_at(cut);
            assert_eq!(read(side, limits, [front, back]), whole, "seed {seed}, cut at {cut}");
        }
        assert_eq!(read(side, limits, bytes.chunks(1)), whole, "seed {seed}, bytewise");
        let split = random_split(&mut dice, &bytes);
        assert_eq!(read(side, limits, split), whole, "seed {seed}, split");
    }
}

#[test]
fn a_generated_chunked_body_yields_the_body_that_went_in() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let body: Vec<u8> = (0..dice.roll(200)).map(|_| b"\r\n0;a "[dice.roll(6)]).collect();
        let mut bytes =
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        bytes.extend(in_chunks(&mut dice, &body));
        for arrivals in [vec![&bytes[..]], random_split(&mut dice, &bytes)] {
            let transcript = read(Side::Request, HeadLimits::default(), arrivals);
            assert_eq!(transcript.messages[0].1, body, "seed {seed}");
            assert_eq!(transcript.end, End::InHead(Default::default()), "seed {seed}");
        }
    }
}

#[test]
fn pipelined_requests_come_apart() {
    let bytes = b"GET /one HTTP/1.1\r\nHost: h\r\n\r\n\
        POST /two HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\r\n\
        POST /three HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n\
        GET /four HTTP/1.1\r\nHost: h\r\n\r\nGET /fi";
    let transcript = read(Side::Request, HeadLimits::default(), [&bytes[..]]);
    let bodies: Vec<&[u8]> = transcript.messages.iter().map(|(_, body)| &body[..]).collect();
    assert_eq!(bodies, [&b""[..], b"abc", b"de", b""]);
    assert_eq!(transcript.end, End::InHead(b"GET /fi"[..].into()));
}

#[test]
fn a_progress_is_ready_for_the_next_head_once_a_head_is_done() {
    let bytes = b"GET /one HTTP/1.1\r\nHost: h\r\n\r\nGET /two HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut progress = Progress::default();
    let limits = HeadLimits::default();
    let one = parse_request(bytes, &mut progress, &limits).unwrap().unwrap();
    let rest = &bytes[one.len..];
    let two = parse_request(rest, &mut progress, &limits).unwrap().unwrap();
    assert_eq!((two.path.of(rest), two), (&b"/two"[..], good_request(rest)));
}

#[test]
fn a_progress_kept_across_shrunken_bytes_does_not_panic() {
    let mut progress = Progress::default();
    let limits = HeadLimits::default();
    let text = b"GET / HTTP/1.1\r\nHost: h\r\nX: y";
    assert_eq!(parse_request(text, &mut progress, &limits), Ok(None));
    assert_eq!(parse_request(b"", &mut progress, &limits), Ok(None));
    let longer = [&b"\n"[..]; 99].concat();
    assert!(parse_request(&longer, &mut progress, &limits).is_err());
}
