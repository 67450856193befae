//! A way to an upstream through the egress proxy: connect to it, ask for a tunnel (CONNECT), and go on inside. A host
//! that a request named is resolved and checked here, and the proxy is told the checked address; one that the file
//! declares is for the proxy to resolve.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::{
    dial::{self, Halves, first_of, secured},
    upstream::{Attempt, any_address, unreachable},
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        limits,
        units::Instant,
    },
    config::edge::EgressProxy,
    io::{
        buffer::WriteList,
        net::{Net, Reader, Writer},
    },
    wire::{
        head::{Method, Progress, ResponseHead, parse_response},
        render::{HeadWriter, RenderError, reason},
    },
};

/// Opens a connection to the attempt's upstream through `proxy`.
pub async fn open<N: Net>(
    net: &N,
    attempt: &Attempt<'_>,
    proxy: &EgressProxy,
    deadline: Instant,
) -> Result<Halves<N>, Fault> {
    let route = &attempt.route;
    let found = net.resolve(&proxy.host, proxy.port).await;
    let proxies =
        found.map_err(|error| lost(proxy, &format!("its name has no address: {error}")))?;
    let way = Way { net, attempt, proxy, proxies: &proxies };
    if !route.guarded {
        let named = match route.host.contains(':') {
            true => format!("[{}]:{}", route.host, route.port),
            false => format!("{}:{}", route.host, route.port),
        };
        return way.to(&named, deadline).await;
    }
    let found = net.resolve(&route.host, route.port).await;
    let addresses = found
        .map_err(|error| unreachable(attempt, &format!("its name has no address: {error}")))?;
    let to = async |address: SocketAddr, by: Instant| match proxy.leads_to_address(address.ip()) {
        true => way.to(&address.to_string(), by).await,
        false => dial::connect_one(net, attempt, address).await,
    };
    first_of(net, attempt, &addresses, attempt.allowed, deadline, to).await
}

/// The way through one proxy.
struct Way<'a, N: Net> {
    net: &'a N,
    attempt: &'a Attempt<'a>,
    proxy: &'a EgressProxy,
    proxies: &'a [SocketAddr],
}

impl<N: Net> Way<'_, N> {
    /// A tunnel to `target`, a host or address with its port, and TLS inside it.
    async fn to(&self, target: &str, deadline: Instant) -> Result<Halves<N>, Fault> {
        let Way { net, attempt, proxies, .. } = *self;
        let request = connect_request(target, self.proxy)
            .map_err(|error| unreachable(attempt, &format!("no proxy can be asked: {error}")))?;
        let through = async |address: SocketAddr, _: Instant| {
            let connected = net.connect(address).await;
            let (mut reader, mut writer) =
                connected.map_err(|error| lost(self.proxy, &error.to_string()))?;
            self.ask(&mut reader, &mut writer, request.clone()).await?;
            secured::<N>(attempt, reader, writer).await
        };
        first_of(net, attempt, proxies, &any_address, deadline, through).await
    }

    /// Asks for a tunnel and reads the answer's head.
    async fn ask(
        &self,
        reader: &mut N::Reader,
        writer: &mut N::Writer,
        request: Bytes,
    ) -> Result<(), Fault> {
        let broke = |why: &str| lost(self.proxy, why);
        let (sent, _) = writer.write(WriteList::of(request)).await;
        sent.map_err(|error| broke(&format!("it broke off: {error}")))?;
        let mut heads = Heads::default();
        let mut buffer = BytesMut::new();
        loop {
            let (read, filled) = reader.read(buffer).await;
            buffer = filled;
            match read {
                Ok(1..) => {}
                Ok(_) => return Err(broke("it closed without an answer")),
                Err(error) => return Err(broke(&format!("it broke off: {error}"))),
            }
            if let Some(head) = heads.next(&mut buffer).map_err(broke)? {
                return self.judge(head.status, &buffer);
            }
        }
    }

    fn judge(&self, status: u16, early: &[u8]) -> Result<(), Fault> {
        match status {
            200..300 if early.is_empty() => Ok(()),
            // Whoever speaks first in a tunnel is not the upstream.
            200..300 => Err(lost(self.proxy, "it sent bytes into a tunnel that nobody had used")),
            407 if self.proxy.credential.is_some() => {
                Err(self.refused("407: it does not take the user name and password of its URL"))
            }
            407 => Err(self.refused("407: it wants a user name and password in its URL")),
            status => Err(self.refused(format!("{status} {}", reason(status)).trim_end())),
        }
    }

    fn refused(&self, why: &str) -> Fault {
        let authority = &self.proxy.authority;
        let why = format!("the egress proxy {authority} opened no tunnel and answered {why}");
        unreachable(self.attempt, &why)
    }
}

/// Takes heads off a buffer until the real one.
#[derive(Default)]
struct Heads {
    progress: Progress,
    interim: usize,
}

impl Heads {
    fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<ResponseHead>, &'static str> {
        loop {
            let parsed = parse_response(buffer, &mut self.progress, Method::Other);
            let Some(head) = parsed.map_err(|error| error.message())? else { return Ok(None) };
            let _ = buffer.split_to(head.len);
            if !head.is_interim() {
                return Ok(Some(head));
            }
            self.progress = Progress::default();
            self.interim += 1;
            if self.interim > limits::INTERIM_RESPONSES_MAX {
                return Err("it sent 1xx answers without end");
            }
        }
    }
}

fn connect_request(target: &str, proxy: &EgressProxy) -> Result<Bytes, RenderError> {
    let mut out = BytesMut::with_capacity(256);
    let mut head = HeadWriter::connect(&mut out, target)?;
    head.header("host", target)?;
    if let Some(credential) = &proxy.credential {
        head.header("proxy-authorization", credential.reveal())?;
    }
    head.finish();
    Ok(out.freeze())
}

/// The proxy itself could not be used.
fn lost(proxy: &EgressProxy, why: &str) -> Fault {
    let message = format!("the egress proxy {} could not be used: {why}", proxy.authority);
    Fault::new(Stage::Connect, Source::Network, Kind::Unreachable, message)
}
