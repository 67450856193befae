//! The built-in sandbox as an upstream, with what it remembers.

use std::net::SocketAddr;

use serde_json::Value;
use trunkline::sandbox::{Sandbox, host};

use super::Conn;

/// A sandbox of its own for one test; it lives as long as the test process.
#[derive(Clone, Copy)]
pub struct Box {
    pub address: SocketAddr,
}

impl Box {
    pub fn start() -> Box {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = host::start(loopback, || Sandbox::new().recording()).expect("a sandbox");
        Box { address }
    }

    pub fn port(self) -> u16 {
        self.address.port()
    }

    /// What it has received so far.
    pub fn journal(self) -> Value {
        let mut conn = Conn::to(self.address);
        conn.ask(b"GET /sandbox/journal HTTP/1.1\r\nhost: sandbox\r\n\r\n").json()
    }

    /// Requests that came, the looks into the journal left out.
    pub fn requests(self) -> Vec<Value> {
        let journal = self.journal();
        let all = journal["requests"].as_array().expect("a list").iter();
        all.filter(|request| request["path"] != "/sandbox/journal").cloned().collect()
    }
}
