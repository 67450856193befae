//! Name resolution off the cores: a few threads run the system's getaddrinfo (hosts file, search domains and all);
//! each core remembers the answers, refreshes them behind the back of the request, and asks once for many waiters.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{Arc, mpsc},
    task::{Poll, Waker},
};

use super::hub::{Mailbox, Message};
use crate::base::{limits, units::Instant};

/// A question to the resolver threads.
pub struct Question {
    host: String,
    asker: Arc<Mailbox>,
}

/// What the threads found, delivered to the asking core.
pub struct Answer {
    host: String,
    result: Result<Vec<IpAddr>, String>,
}

/// Starts the resolver threads; they end when the last core drops its sender.
pub fn start_threads() -> io::Result<mpsc::Sender<Question>> {
    let (sender, receiver) = mpsc::channel::<Question>();
    let receiver = Arc::new(std::sync::Mutex::new(receiver));
    for number in 0..limits::DNS_THREADS {
        let receiver = Arc::clone(&receiver);
        std::thread::Builder::new().name(format!("dns-{number}")).spawn(move || {
            loop {
                let question = receiver.lock().map(|queue| queue.recv());
                let Ok(Ok(Question { host, asker })) = question else { return };
                let result = look_up(&host);
                asker.post(Message::Resolved(Answer { host, result }));
            }
        })?;
    }
    Ok(sender)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the thread on which blocking on DNS is meant"
)]
fn look_up(host: &str) -> Result<Vec<IpAddr>, String> {
    use std::net::ToSocketAddrs;
    let found = (host, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|socket| socket.ip()).take(limits::DNS_ADDRESSES_MAX) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// One core's view of the names.
#[derive(Clone)]
pub struct Resolver {
    names: Rc<RefCell<HashMap<String, Name>>>,
    questions: mpsc::Sender<Question>,
    mailbox: Arc<Mailbox>,
}

#[derive(Default)]
struct Name {
    known: Option<Result<Vec<IpAddr>, String>>,
    known_since: Instant,
    asked: bool,
    waiters: Vec<Waker>,
}

impl Resolver {
    /// A resolver that asks the threads and gets its answers through the core's mailbox.
    #[must_use]
    pub fn new(questions: mpsc::Sender<Question>, mailbox: Arc<Mailbox>) -> Resolver {
        Resolver { names: Rc::default(), questions, mailbox }
    }

    /// All addresses of `host`; an address literal is its own answer.
    pub async fn resolve(
        &self,
        host: &str,
        port: u16,
        now: Instant,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(literal) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(literal, port)]);
        }
        let found = poll_fn(|cx| self.poll_name(host, now, cx.waker())).await;
        match found {
            Ok(addresses) => {
                Ok(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
            }
            Err(reason) => Err(io::Error::new(io::ErrorKind::NotFound, reason)),
        }
    }

    /// Takes an answer in and wakes whoever waits for it.
    pub fn answered(&self, answer: Answer, now: Instant) {
        let mut names = self.names.borrow_mut();
        let Some(name) = names.get_mut(&answer.host) else { return };
        name.asked = false;
        // A failed refresh does not push out addresses that worked; they are asked for again soon.
        let keep_old = answer.result.is_err() && matches!(name.known, Some(Ok(_)));
        if !keep_old {
            name.known = Some(answer.result);
        }
        name.known_since = now;
        name.waiters.drain(..).for_each(Waker::wake);
    }

    fn poll_name(
        &self,
        host: &str,
        now: Instant,
        waker: &Waker,
    ) -> Poll<Result<Vec<IpAddr>, String>> {
        let mut names = self.names.borrow_mut();
        if names.len() >= limits::DNS_NAMES_MAX && !names.contains_key(host) {
            names.retain(|_, name| name.asked);
        }
        let name = names.entry(host.to_owned()).or_default();
        let fresh_for = match name.known {
            Some(Ok(_)) => limits::DNS_FRESH_FOR,
            _ => limits::DNS_NEGATIVE_FOR,
        };
        let stale = name.known.is_none() || now.since(name.known_since) >= fresh_for;
        if stale && !name.asked {
            name.asked = true;
            let question = Question { host: host.to_owned(), asker: Arc::clone(&self.mailbox) };
            if self.questions.send(question).is_err() {
                return Poll::Ready(Err("the resolver has stopped".into()));
            }
        }
        match &name.known {
            Some(Ok(addresses)) => Poll::Ready(Ok(addresses.clone())),
            Some(Err(reason)) if !name.asked => Poll::Ready(Err(reason.clone())),
            _ => {
                name.waiters.push(waker.clone());
                Poll::Pending
            }
        }
    }
}
