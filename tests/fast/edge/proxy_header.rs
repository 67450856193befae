//! The PROXY protocol's headers, each cut at every byte.

use std::net::SocketAddr;

use trunkline::{
    base::limits::PROXY_HEADER_BYTES_MAX,
    wire::proxy::{Prefix, ProxyError, look},
};

/// A header of version 2.
fn binary(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([version_command, family]);
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn block_v4() -> Vec<u8> {
    let mut body = vec![192, 0, 2, 1, 192, 0, 2, 2];
    body.extend(56_324_u16.to_be_bytes());
    body.extend(443_u16.to_be_bytes());
    body
}

fn block_v6() -> Vec<u8> {
    let mut body = vec![0; 36];
    body[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    body[15] = 7;
    body[32..34].copy_from_slice(&4711_u16.to_be_bytes());
    body
}

fn client(text: &str) -> Option<SocketAddr> {
    Some(text.parse().expect("an address"))
}

/// All headers that are right, with the client that they name.
fn good() -> Vec<(Vec<u8>, Option<SocketAddr>)> {
    let with_fields = [&block_v4()[..], b"\x04\0\x03abc\xee\0\0"].concat();
    vec![
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(), client("192.0.2.1:56324")),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 0 0\r\n".to_vec(), client("192.0.2.1:0")),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n".to_vec(), client("[2001:db8::7]:4711")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff::ffff anything at all\r\n".to_vec(), None),
        (binary(0x21, 0x11, &block_v4()), client("192.0.2.1:56324")),
        (binary(0x21, 0x11, &with_fields), client("192.0.2.1:56324")),
        (binary(0x21, 0x21, &block_v6()), client("[2001:db8::7]:4711")),
        (binary(0x20, 0x00, b""), None),
        (binary(0x20, 0x11, &block_v4()), None),
        (binary(0x20, 0x99, b"whatever"), None),
        (binary(0x21, 0x00, b"\x03\0\x04abcd"), None),
        (binary(0x21, 0x31, &[b'/'; 216]), None),
        (binary(0x21, 0x12, &block_v4()), None),
    ]
}

#[test]
fn a_header_names_its_client_however_it_is_cut() {
    for (header, client) in good() {
        for follows in [&b""[..], b"GET / HTTP/1.1\r\n", b"PROXY TCP4 ", &[0x16, 3, 1]] {
            let bytes = [&header[..], follows].concat();
            for cut in 0..header.len() {
                assert_eq!(look(&bytes[..cut]), Ok(Prefix::NeedMore), "{header:?} at {cut}");
            }
            for end in header.len()..=bytes.len() {
                let len = header.len();
                assert_eq!(look(&bytes[..end]), Ok(Prefix::Header { len, client }), "{header:?}");
            }
        }
    }
}

#[test]
fn what_begins_otherwise_is_no_header() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PROXI TCP4",
        b"PROXY\t",
        b"proxy TCP4 ",
        b"\r\nGET / HTTP/1.1\r\n",
        b"\r\n\r\nPROXY ",
        b"\r\n\r\n\0\r\nQUIT\r",
        &[0x16, 3, 1, 2, 0],
    ] {
        assert_eq!(look(bytes), Ok(Prefix::Absent), "{bytes:?}");
    }
}

#[test]
fn lines_that_are_none_are_refused() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 1\r\n",
        "PROXY TCP4 192.0.2.1  192.0.2.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 \r\n",
        "PROXY TCP4 2001:db8::7 ::1 56324 443\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 443\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 443\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 443\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 443\r\n",
    ] {
        assert_eq!(look(line.as_bytes()), Err(ProxyError::BadLine), "{line:?}");
    }
    assert_eq!(look(b"PROXY TCP4 \xff\r\n"), Err(ProxyError::BadLine));
}

#[test]
fn a_line_that_ends_with_a_line_feed_alone_is_refused_at_once() {
    for line in [
        &b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\n"[..],
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\nGET / HTTP/1.1\r\n",
        b"PROXY UNKNOWN\n",
        b"PROXY UNKNOWN \nGET / HTTP/1.1\r\n",
        b"PROXY \n",
        b"PROXY \n\r\n",
    ] {
        let at = line.iter().position(|byte| *byte == b'\n').expect("a line feed");
        assert_eq!(look(&line[..at]), Ok(Prefix::NeedMore), "{line:?}");
        for end in at + 1..=line.len() {
            assert_eq!(look(&line[..end]), Err(ProxyError::BareLineFeed), "{line:?}");
        }
    }
}

#[test]
fn a_line_ends_within_its_bound() {
    let line = |bytes: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(bytes - 16)).into_bytes();
    assert_eq!(look(&line(107)), Ok(Prefix::Header { len: 107, client: None }));
    assert_eq!(look(&line(108)), Err(ProxyError::LineTooLong));
    assert_eq!(look(&line(108)[..106]), Ok(Prefix::NeedMore));
    assert_eq!(look(&line(108)[..107]), Err(ProxyError::LineTooLong));
}

#[test]
fn binary_headers_that_are_none_are_refused_by_their_first_bytes() {
    for (header, error) in [
        (binary(0x11, 0x11, &block_v4()), ProxyError::BadPreamble),
        (binary(0x22, 0x11, &block_v4()), ProxyError::BadPreamble),
        (binary(0x21, 0x13, &block_v4()), ProxyError::BadPreamble),
        (binary(0x21, 0x41, &block_v4()), ProxyError::BadPreamble),
        (binary(0x21, 0x11, &[0; PROXY_HEADER_BYTES_MAX]), ProxyError::TooLong),
    ] {
        assert_eq!(look(&header[..15]), Ok(Prefix::NeedMore));
        assert_eq!(look(&header[..16]), Err(error));
    }
    for (family, body) in [(0x11, 11), (0x21, 35), (0x11, 0)] {
        let header = binary(0x21, family, &vec![1; body]);
        assert_eq!(look(&header), Err(ProxyError::BadLength), "{family:x}");
    }
}

#[test]
fn fields_behind_the_addresses_are_bounded() {
    let most = PROXY_HEADER_BYTES_MAX - 16;
    let mut body = block_v4();
    body.resize(most, 0xee);
    let header = binary(0x21, 0x11, &body);
    let len = header.len();
    assert_eq!(len, PROXY_HEADER_BYTES_MAX);
    assert_eq!(look(&header), Ok(Prefix::Header { len, client: client("192.0.2.1:56324") }));
    body.push(0);
    assert_eq!(look(&binary(0x21, 0x11, &body)), Err(ProxyError::TooLong));
}
