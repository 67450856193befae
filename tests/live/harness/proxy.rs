//! An HTTP proxy that opens tunnels (CONNECT), always to this machine: names are its own affair.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use super::{DEADLINE, http::find};

/// A proxy that runs as long as the test process.
pub struct Proxy {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// A proxy that takes this `proxy-authorization` alone, or any caller.
    pub fn start(wanted: Option<&'static str>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let proxy = Proxy { port, asked: Arc::default() };
        let asked = Arc::clone(&proxy.asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let asked = Arc::clone(&asked);
                thread::spawn(move || serve(stream, wanted, &asked));
            }
        });
        proxy
    }

    /// The heads that came.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a lock").clone()
    }
}

fn serve(mut stream: TcpStream, wanted: Option<&str>, asked: &Mutex<Vec<String>>) {
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let mut head = Vec::new();
    while find(&head, b"\r\n\r\n").is_none() {
        let mut piece = [0; 1024];
        let Ok(count @ 1..) = stream.read(&mut piece) else { return };
        head.extend_from_slice(&piece[..count]);
    }
    let head = String::from_utf8(head).expect("a head of text");
    asked.lock().expect("a lock").push(head.clone());
    if wanted.is_some_and(|wanted| !head.contains(&format!("proxy-authorization: {wanted}\r\n"))) {
        let _ = stream.write_all(b"HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n");
        return;
    }
    let port = head.split(' ').nth(1).and_then(|target| target.rsplit(':').next()?.parse().ok());
    let Some(up) = port.and_then(|port: u16| TcpStream::connect(("127.0.0.1", port)).ok()) else {
        let _ = stream.write_all(b"HTTP/1.1 502 Nobody there\r\ncontent-length: 0\r\n\r\n");
        return;
    };
    if stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").is_ok() {
        let (from, to) = (stream.try_clone().expect("a socket"), up.try_clone().expect("a socket"));
        thread::spawn(move || pass(from, to));
        pass(up, stream);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    // Both ways end with either: whoever is still there sees it.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
