//! The faults for which monoio-http was left out, as questions to each codec. A case is run in a process of its own: one
//! that panics, hangs or eats memory is an answer too.

use bytes::Bytes;

use crate::{
    codec::{Codec, Seen},
    feed::Feed,
    hyper_http::Hyper,
    monoio_http::{self, MonoioHttp},
    ours::Ours,
};

/// One question.
pub struct Case {
    /// Its name, for `case CODEC NAME`.
    pub name: &'static str,
    /// What is sent, for the table.
    pub sent: &'static str,
    /// What a codec should do.
    pub wanted: &'static str,
    ask: Ask,
}

enum Ask {
    /// As a server: what arrives, one piece a read, and what is right.
    Serve(fn() -> Vec<Bytes>, fn(&Seen) -> bool),
    /// As a client: methods with the answers that come, whether the connection closes then, and what is right.
    Call(&'static [(&'static str, &'static str)], bool, fn(&Seen) -> bool),
    /// Something else; the answer is right, wrong, or no question to this codec.
    Other(fn(&str) -> Option<(bool, String)>),
}

/// Asks this process's codec. The first word is `good`, `FAULT` or `none`.
pub fn answer(codec: &str, case: &Case) -> String {
    let told = match codec {
        Ours::NAME => ask::<Ours>(case),
        MonoioHttp::NAME => ask::<MonoioHttp>(case),
        _ => ask::<Hyper>(case),
    };
    match told {
        None => "none -".to_owned(),
        Some((true, told)) => format!("good {told}"),
        Some((false, told)) => format!("FAULT {told}"),
    }
}

fn ask<C: Codec>(case: &Case) -> Option<(bool, String)> {
    match &case.ask {
        Ask::Serve(pieces, is_good) => {
            let seen = C::serve(&Feed::of(pieces()), &Bytes::from_static(b"ok"));
            Some((is_good(&seen), seen.told()))
        }
        Ask::Call(rounds, closes, is_good) => {
            let feed = Feed::default();
            if *closes {
                feed.close_after(rounds.len());
            }
            let rounds: Vec<_> = rounds
                .iter()
                .map(|(method, answer)| (*method, Bytes::from_static(answer.as_bytes())))
                .collect();
            let seen = C::ask(&feed, &rounds);
            Some((is_good(&seen), seen.told()))
        }
        Ask::Other(ask) => ask(C::NAME),
    }
}

fn text(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

fn refused(seen: &Seen) -> bool {
    seen.messages.is_empty() && seen.refused.is_some()
}

fn statuses(seen: &Seen, expected: &[&str]) -> bool {
    seen.messages.iter().map(|message| &message.what[..]).eq(expected.iter().copied())
}

/// The cases, under the numbers of the tests in `tests/fast/monoio_http_faults.rs`.
pub const CASES: &[Case] = &[
    Case {
        name: CONTROL,
        sent: "nothing wrong: a request with a body, then another",
        wanted: "both",
        ask: Ask::Serve(
            || {
                text(
                    "POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
                     GET /two HTTP/1.1\r\nHost: a\r\n\r\n",
                )
            },
            |seen| statuses(seen, &["/one", "/two"]) && seen.messages[0].body == b"abc",
        ),
    },
    Case {
        name: "01-huge-name",
        sent: "a header name of 70,000 bytes",
        wanted: "refused",
        ask: Ask::Serve(
            || {
                vec![
                    format!("GET / HTTP/1.1\r\nHost: a\r\n{}: x\r\n\r\n", "n".repeat(70_000))
                        .into(),
                ]
            },
            refused,
        ),
    },
    Case {
        name: "02-endless-head",
        sent: "16 MiB of head without an end, 4 KiB a read",
        wanted: "refused at a limit",
        ask: Ask::Serve(
            || {
                let mut pieces = text("GET / HTTP/1.1\r\nHost: a\r\nX: ");
                pieces.resize(4096, Bytes::from(vec![b'a'; 4096]));
                pieces
            },
            refused,
        ),
    },
    Case {
        name: "03-interim",
        sent: "103, then the answer, then another answer",
        wanted: "200, 200",
        ask: Ask::Call(
            &[
                (
                    "GET",
                    "HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalice",
                ),
                ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbob"),
            ],
            false,
            |seen| statuses(seen, &["200", "200"]) && seen.messages[1].body == b"bob",
        ),
    },
    Case {
        name: "04-not-modified",
        sent: "304 with a content-length, then another answer",
        wanted: "304, 200",
        ask: Ask::Call(
            &[("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"), NEXT],
            false,
            |seen| statuses(seen, &["304", "200"]),
        ),
    },
    Case {
        name: "04-head",
        sent: "an answer to HEAD with a content-length, then another",
        wanted: "200, 200",
        ask: Ask::Call(
            &[("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), NEXT],
            false,
            |seen| statuses(seen, &["200", "200"]) && seen.messages[1].body == b"next",
        ),
    },
    Case {
        name: "04-no-content",
        sent: "204 with transfer-encoding, then another answer",
        wanted: "204, 200",
        ask: Ask::Call(
            &[("GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"), NEXT],
            false,
            |seen| statuses(seen, &["204", "200"]),
        ),
    },
    Case {
        name: "05-until-close",
        sent: "an answer that ends where the connection does",
        wanted: "its 8 bytes",
        ask: Ask::Call(&[("GET", "HTTP/1.1 200 OK\r\nX: y\r\n\r\nthe body")], true, |seen| {
            statuses(seen, &["200"]) && seen.messages[0].body == b"the body"
        }),
    },
    Case {
        name: "06-bare-lf",
        sent: "`/one` with bare LFs, then `/two`, then `/three`",
        wanted: "refused, or all of them",
        ask: Ask::Serve(
            || {
                text(
                    "GET /one HTTP/1.1\nHost: a\n\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n\
                      GET /three HTTP/1.1\r\nHost: a\r\n\r\n",
                )
            },
            |seen| refused(seen) || statuses(seen, &["/one", "/two", "/three"]),
        ),
    },
    doubtful("07-length-and-chunked", "content-length and transfer-encoding", || {
        text(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        )
    }),
    doubtful("07-two-lengths", "two different content-lengths", || {
        text("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde")
    }),
    doubtful(
        "07-identity-and-chunked",
        "transfer-encoding: identity, and another one: chunked",
        || {
            text(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\
              Content-Length: 4\r\n\r\n0\r\n\r\n",
            )
        },
    ),
    doubtful("07-chunked-1.0", "transfer-encoding in HTTP/1.0", || {
        text("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    }),
    doubtful("07-no-host", "no host", || text("GET / HTTP/1.1\r\nAccept: x\r\n\r\n")),
    doubtful("08-empty-size", "an empty chunk-size line, then another request", || {
        text(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n\
              GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        )
    }),
    Case {
        name: "08-extension",
        sent: "a chunk with an extension",
        wanted: "its 3 bytes",
        ask: Ask::Serve(
            || {
                text(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
                )
            },
            |seen| seen.messages.first().is_some_and(|message| message.body == b"abc"),
        ),
    },
    Case {
        name: "09-huge-chunk",
        sent: "the first bytes of an answer's chunk of 1 GB",
        wanted: "handed on at once",
        ask: Ask::Call(
            &[("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\nabc")],
            false,
            |seen| seen.partial == 3,
        ),
    },
    Case {
        name: "10-small-chunk",
        sent: "a stream whose first piece is one byte",
        wanted: "it leaves at once",
        ask: Ask::Other(|codec| {
            let written = match codec {
                Ours::NAME => Ours::begin_stream(),
                MonoioHttp::NAME => MonoioHttp::begin_stream(),
                _ => Hyper::begin_stream(),
            };
            let left = written.ends_with(b"\r\n\r\n1\r\nt\r\n");
            Some((left, format!("{} bytes have left", written.len())))
        }),
    },
    Case {
        name: "12-unread-body",
        sent: "64 MiB of body that nobody reads",
        wanted: "the peer waits",
        ask: Ask::Other(|codec| {
            // Trunkline's codec is pulled by its user, and hyper's connection stops where its user does.
            if codec != MonoioHttp::NAME {
                return None;
            }
            let mut pieces =
                text("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            pieces.resize(1025, Bytes::from([&b"fffc\r\n"[..], &[b'a'; 0xfffc], b"\r\n"].concat()));
            let taken = monoio_http::unread_body(&Feed::of(pieces));
            Some((taken < 1 << 20, format!("{} MiB taken into memory", taken >> 20)))
        }),
    },
    Case {
        name: "13-clone",
        sent: "(an error is cloned)",
        wanted: "a copy",
        ask: Ask::Other(|codec| {
            (codec == MonoioHttp::NAME).then(|| (true, monoio_http::clones_an_error()))
        }),
    },
    Case {
        name: "14-continue",
        sent: "expect: 100-continue, and no body until then",
        wanted: "told to go on, or the server is told",
        ask: Ask::Other(|codec| {
            let request =
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
            let feed = Feed::of(text(request));
            let answer = Bytes::from_static(b"ok");
            match codec {
                Ours::NAME => {
                    return Some((
                        Ours::sees_expectation(request.as_bytes()),
                        "the head says so".to_owned(),
                    ));
                }
                MonoioHttp::NAME => drop(MonoioHttp::serve(&feed, &answer)),
                _ => drop(Hyper::serve(&feed, &answer)),
            }
            let told = feed.written().starts_with(b"HTTP/1.1 100 ");
            Some((told, if told { "100 Continue" } else { "waits for ever" }.to_owned()))
        }),
    },
    Case {
        name: "15-trailers",
        sent: "trailers, then another request",
        wanted: "both",
        ask: Ask::Serve(
            || {
                text(
                    "POST /one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n\
                      GET /two HTTP/1.1\r\nHost: a\r\n\r\n",
                )
            },
            |seen| statuses(seen, &["/one", "/two"]),
        ),
    },
    Case {
        name: "16-cancelled-read",
        sent: "a head in two pieces, the read given up between them",
        wanted: "the request",
        ask: Ask::Other(|codec| {
            (codec == MonoioHttp::NAME).then(|| {
                let seen = monoio_http::survives_a_cancelled_read();
                (seen == "/one", seen)
            })
        }),
    },
    Case {
        name: "19-message",
        sent: "a head that is no HTTP",
        wanted: "an error about HTTP/1",
        ask: Ask::Serve(
            || text("\u{1}\u{2}\r\n\r\n"),
            |seen| {
                seen.refused.as_ref().is_some_and(|error| !error.to_lowercase().contains("http2"))
            },
        ),
    },
];

/// The case that every codec must pass, or the comparison itself is broken.
pub const CONTROL: &str = "00-control";

/// A request that two readers could understand differently.
const fn doubtful(name: &'static str, sent: &'static str, pieces: fn() -> Vec<Bytes>) -> Case {
    Case { name, sent, wanted: "refused", ask: Ask::Serve(pieces, refused) }
}

const NEXT: (&str, &str) = ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext");
