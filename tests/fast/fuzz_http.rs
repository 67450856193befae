//! Fuzzes the HTTP/1.1 codec with mutated conversations. It names nothing of the other tests, so that a soak test
//! can take this file in and run it for as long as it likes.

use bytes::{Bytes, BytesMut};
use trunkline::wire::{
    body::{BodyError, BodyReader, Pulled},
    head::{
        Framing, HeadError, HeadLimits, HeaderList, Method, Progress, parse_request, parse_response,
    },
    render::{HeadWriter, RenderError},
};

/// More of it, for a soak: `FUZZ_SEED=1 FUZZ_ITERATIONS=1000000 cargo test --release --test fast more_conversations --
/// --ignored`.
#[test]
#[ignore = "takes as long as it is told to"]
fn more_conversations_are_read_the_same_however_they_are_cut() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    run(number("FUZZ_SEED", 1), number("FUZZ_ITERATIONS", 1_000_000));
}

/// Mutates `iterations` conversations made from `seed` and checks each: no panic, the same outcome however the bytes
/// are cut, and no head that means something else once it is written again.
pub fn run(seed: u64, iterations: u64) {
    for iteration in 0..iterations {
        let mut dice = Dice::new(seed.wrapping_add(iteration));
        let side = if dice.roll(3) == 0 { Side::Response(Method::Get) } else { Side::Request };
        let mut bytes = conversation(&mut dice, side);
        for _ in 0..dice.roll(4) {
            mutate(&mut dice, &mut bytes);
        }
        check(&mut dice, side, &bytes, &format!("seed {seed} + {iteration}"));
    }
}

fn check(dice: &mut Dice, side: Side, bytes: &[u8], label: &str) {
    let limits = HeadLimits { head_bytes: [64, 300, 65_536, 65_536, 65_536][dice.roll(5)] };
    let whole = read(side, limits, [bytes]);
    let split = read(side, limits, random_split(dice, bytes));
    assert_eq!(whole, split, "{label}: the cuts changed the outcome of {}", bytes.escape_ascii());
    if dice.roll(4) == 0 {
        let bytewise = read(side, limits, bytes.chunks(1));
        assert_eq!(whole, bytewise, "{label}: bytewise differs on {}", bytes.escape_ascii());
    }
}

/// Who sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client.
    Request,
    /// An upstream, asked with that method.
    Response(Method),
}

/// Names and values of a head.
pub type HeaderPairs = Vec<(Bytes, Bytes)>;

/// What was read from a connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The headers and the body of each message, the last one perhaps incomplete.
    pub messages: Vec<(HeaderPairs, Vec<u8>)>,
    /// Why reading stopped.
    pub end: End,
}

/// Why reading stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// In a head, with these bytes of it there.
    InHead(Bytes),
    /// In a body.
    InBody,
    /// The head was refused.
    Head(HeadError),
    /// The body was refused.
    Body(BodyError),
}

/// Reads messages off a connection, one after the other, as the bytes arrive.
pub fn read<'a>(
    side: Side,
    limits: HeadLimits,
    arrivals: impl IntoIterator<Item = &'a [u8]>,
) -> Transcript {
    let mut buffer = BytesMut::new();
    let mut messages = Vec::new();
    let mut progress = Progress::default();
    let mut body: Option<BodyReader> = None;
    for arrival in arrivals {
        buffer.extend_from_slice(arrival);
        loop {
            let Some(reader) = &mut body else {
                match take_head(side, limits, &mut buffer, &mut progress) {
                    Ok(None) => break,
                    Ok(Some((headers, framing))) => {
                        messages.push((headers, Vec::new()));
                        body = Some(BodyReader::new(framing));
                        continue;
                    }
                    Err(error) => return Transcript { messages, end: End::Head(error) },
                }
            };
            match reader.pull(&mut buffer) {
                Ok(Pulled::Data(data)) => {
                    assert!(!data.is_empty(), "a piece of data has at least one byte");
                    messages.last_mut().expect("its head came first").1.extend_from_slice(&data);
                }
                Ok(Pulled::NeedMore) => break,
                Ok(Pulled::Done) => body = None,
                Err(error) => return Transcript { messages, end: End::Body(error) },
            }
        }
    }
    let end = if body.is_some() { End::InBody } else { End::InHead(buffer.freeze()) };
    Transcript { messages, end }
}

fn take_head(
    side: Side,
    limits: HeadLimits,
    buffer: &mut BytesMut,
    progress: &mut Progress,
) -> Result<Option<(HeaderPairs, Framing)>, HeadError> {
    let (len, framing, headers) = match side {
        Side::Request => {
            let Some(head) = parse_request(buffer, progress, &limits)? else { return Ok(None) };
            assert!(head.len <= limits.head_bytes);
            assert!(head.target.of(buffer).iter().all(u8::is_ascii_graphic));
            assert!(!head.path.of(buffer).is_empty());
            (head.len, head.framing, own(&head, buffer))
        }
        Side::Response(method) => {
            let Some(head) = parse_response(buffer, progress, method)? else { return Ok(None) };
            assert!((100..=999).contains(&head.status));
            (head.len, head.framing, own(&head, buffer))
        }
    };
    let head = buffer.split_to(len);
    assert!(head.ends_with(b"\r\n\r\n"));
    check_lines(&head);
    check_rendering(&headers);
    Ok(Some((headers, framing)))
}

/// CR and LF stand only together in what was accepted.
fn check_lines(head: &[u8]) {
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\r' => assert_eq!(head.get(at + 1), Some(&b'\n')),
            b'\n' => assert_eq!(at.checked_sub(1).map(|before| head[before]), Some(b'\r')),
            _ => {}
        }
    }
}

fn own(list: &HeaderList, head: &[u8]) -> HeaderPairs {
    let owned = Bytes::copy_from_slice;
    list.headers(head).map(|(name, value)| (owned(name), owned(value))).collect()
}

/// What was accepted can be written, and reads back as the same headers.
fn check_rendering(headers: &[(Bytes, Bytes)]) {
    let mut out = BytesMut::new();
    let mut writer = HeadWriter::response(&mut out, 200).expect("a good status");
    let mut expected = Vec::new();
    for (name, value) in headers {
        match writer.header(name, value) {
            Ok(()) => expected.push((name.clone(), value.clone())),
            Err(error) => assert_eq!(error, RenderError::Framing),
        }
    }
    writer.finish();
    let again = parse_response(&out, &mut Progress::default(), Method::Get);
    let again = again.expect("accepted once").expect("complete");
    assert_eq!((own(&again, &out), again.len), (expected, out.len()));
}

/// Some messages in a row, mostly valid.
pub fn conversation(dice: &mut Dice, side: Side) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=dice.roll(3) {
        let body = dice.text(0, 40);
        match side {
            Side::Request => bytes.extend(request_line(dice).as_bytes()),
            Side::Response(_) => {
                if dice.roll(3) == 0 {
                    let status = ["204 ", "304 X", "103 Y"][dice.roll(3)];
                    bytes.extend(format!("HTTP/1.1 {status}\r\nA: b\r\n\r\n").as_bytes());
                }
                bytes.extend(["HTTP/1.1 200 OK\r\n", "HTTP/1.1 529\r\n"][dice.roll(2)].as_bytes());
            }
        }
        for _ in 0..dice.roll(6) {
            let line = format!("{}:{}{}\r\n", dice.token(), dice.blanks(), dice.text(0, 20));
            bytes.extend(line.as_bytes());
        }
        finish_message(dice, &body, &mut bytes);
    }
    bytes
}

fn request_line(dice: &mut Dice) -> String {
    let leading = "\r\n".repeat(dice.roll(6).saturating_sub(3));
    let method = ["GET", "POST", "OPTIONS", "x-y"][dice.roll(4)];
    let target = ["/", "/v1/a?b=c", "http://h:1/x?y", "//"][dice.roll(4)];
    let host = ["h", "h:80", ""][dice.roll(3)];
    format!("{leading}{method} {target} HTTP/1.1\r\nHost: {host}\r\n")
}

fn finish_message(dice: &mut Dice, body: &str, bytes: &mut Vec<u8>) {
    match dice.roll(3) {
        0 => bytes.extend(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()),
        1 => {
            bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
            bytes.extend(in_chunks(dice, body.as_bytes()));
        }
        _ => bytes.extend(b"\r\n"),
    }
}

/// The body in chunks of random sizes, with extensions and trailers now and then.
pub fn in_chunks(dice: &mut Dice, mut body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !body.is_empty() {
        let (chunk, rest) = body.split_at(1 + dice.roll(body.len()));
        let extension = ["", "", ";a", " ;b=\"c\""][dice.roll(4)];
        bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
        body = rest;
    }
    bytes.extend(["0\r\n\r\n", "00\r\n\r\n", "0;z\r\nA: b\r\n\r\n"][dice.roll(3)].as_bytes());
    bytes
}

/// Cuts the bytes into arrivals of random sizes, some of them empty.
pub fn random_split<'a>(dice: &mut Dice, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let (part, rest) = bytes.split_at(dice.roll(bytes.len().min(60) + 1));
        parts.push(part);
        bytes = rest;
    }
    parts
}

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    const SPICE: &[&[u8]] = &[
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"0",
        b"f",
        b"\x7f",
        b"\xff",
        b"Content-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close, x\r\n",
        b"Host: x\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff",
    ];
    let at = dice.roll(bytes.len() + 1);
    let upto = at + dice.roll((bytes.len() - at).min(8) + 1);
    match dice.roll(4) {
        0 if at < bytes.len() => bytes[at] = dice.byte(),
        1 => drop(bytes.drain(at..upto)),
        2 => {
            let part = bytes[at..upto].to_vec();
            let target = dice.roll(bytes.len() + 1);
            bytes.splice(target..target, part);
        }
        _ => drop(bytes.splice(at..at, SPICE[dice.roll(SPICE.len())].iter().copied())),
    }
}

/// Random numbers that depend on the seed alone (SplitMix64).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of that seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `sides`, which is at least one.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).expect("below 256")
    }

    fn text(&mut self, min: usize, max: usize) -> String {
        let len = min + self.roll(max - min + 1);
        (0..len).map(|_| char::from(b"abc {}\":,;=0189~"[self.roll(16)])).collect()
    }

    fn token(&mut self) -> String {
        let len = 1 + self.roll(12);
        (0..len).map(|_| char::from(b"abcXYZ-_019!"[self.roll(12)])).collect()
    }

    fn blanks(&mut self) -> &'static str {
        ["", " ", " \t "][self.roll(3)]
    }
}

#[test]
fn mutated_conversations_hold() {
    run(1, 20_000);
}
