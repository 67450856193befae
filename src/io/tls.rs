//! TLS as a pump: rustls does the protocol, the halves of the connection below move the bytes.
//! One client configuration a process and trust store, so that sessions resume; only HTTP/1.1 is offered.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::poll_fn,
    io::{self, BufRead, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
pub use rustls::{ClientConfig, ServerConfig};
use rustls::{
    ClientConnection, Connection, RootCertStore, ServerConnection,
    pki_types::ServerName,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{
    buffer::WriteList,
    certificates::{FileFault, add_roots, certificates, private_key},
    net::{Reader, Writer},
};
use crate::{base::limits, config::TlsFiles};

/// What upstream certificates are checked against: the system's roots, and for each private root file those too.
#[derive(Clone)]
pub struct Trust {
    by_file: HashMap<Option<PathBuf>, Arc<ClientConfig>>,
}

impl Trust {
    /// Loads the system's roots and each of `files`. An error is that of one of them.
    pub fn load<'a>(files: impl Iterator<Item = &'a Path>) -> Result<Trust, FileFault<&'a Path>> {
        let mut system = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        system.add_parsable_certificates(found.certs);
        let mut by_file = HashMap::from([(None, client_config(system.clone()))]);
        for file in files {
            let mut roots = system.clone();
            add_roots(&mut roots, file).map_err(|message| FileFault { of: file, message })?;
            by_file.insert(Some(file.to_owned()), client_config(roots));
        }
        Ok(Trust { by_file })
    }

    /// The configuration for an upstream, given its private root file if it has one.
    #[must_use]
    pub fn client(&self, file: Option<&Path>) -> Option<Arc<ClientConfig>> {
        self.by_file.get(&file.map(Path::to_owned)).map(Arc::clone)
    }
}

fn client_config(roots: RootCertStore) -> Arc<ClientConfig> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect("ring supports the default protocol versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Loads the listener's certificate and key. An error is that of the file of a key of `tls`.
pub fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, FileFault<&'static str>> {
    let of = |of| move |message| FileFault { of, message };
    let chain = certificates(&files.cert).map_err(of("cert"))?;
    let key = private_key(&files.key).map_err(of("key"))?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions");
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(verifier(path).map_err(of("client_ca"))?),
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| does_not_fit(files, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    add_roots(&mut roots, path)?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| format!("{} cannot be used: {error}", path.display()))
}

/// Both can be read, and do not make one identity.
fn does_not_fit(files: &TlsFiles, error: &rustls::Error) -> FileFault<&'static str> {
    let (cert, key) = (files.cert.display(), files.key.display());
    match error {
        rustls::Error::InconsistentKeys(_) => FileFault {
            of: "key",
            message: format!(
                "{key} is not the key of the certificate in {cert}; write the path of the one that is"
            ),
        },
        error => FileFault {
            of: "cert",
            message: format!(
                "{cert} and {key} cannot be used: {error}; write the paths of a certificate and its key"
            ),
        },
    }
}

/// A receiving half, in the clear or under TLS.
pub enum MaybeTlsReader<R> {
    /// In the clear.
    Plain(R),
    /// Under TLS.
    Tls(Box<TlsReader<R>>),
}

/// A sending half, in the clear or under TLS.
pub enum MaybeTlsWriter<W> {
    /// In the clear.
    Plain(W),
    /// Under TLS.
    Tls(Box<TlsWriter<W>>),
}

impl<R: Reader> Reader for MaybeTlsReader<R> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            MaybeTlsReader::Plain(reader) => reader.poll_read(cx, buffer),
            MaybeTlsReader::Tls(reader) => reader.poll_read(cx, buffer),
        }
    }
}

impl<W: Writer> Writer for MaybeTlsWriter<W> {
    fn poll_write(&mut self, cx: &mut Context<'_>, list: &mut WriteList) -> Poll<io::Result<()>> {
        match self {
            MaybeTlsWriter::Plain(writer) => writer.poll_write(cx, list),
            MaybeTlsWriter::Tls(writer) => writer.poll_write(cx, list),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            MaybeTlsWriter::Plain(writer) => writer.poll_shutdown(cx),
            MaybeTlsWriter::Tls(writer) => writer.poll_shutdown(cx),
        }
    }
}

/// The receiving half of a TLS connection.
pub struct TlsReader<R> {
    below: R,
    session: Rc<RefCell<Connection>>,
    sealed: BytesMut,
}

/// The sending half of a TLS connection.
pub struct TlsWriter<W> {
    below: W,
    session: Rc<RefCell<Connection>>,
    /// Records on their way to the peer.
    sealed: WriteList,
}

/// Shakes hands as the server, given what was `received` already.
pub async fn accept<R: Reader, W: Writer>(
    config: Arc<ServerConfig>,
    reader: R,
    writer: W,
    received: BytesMut,
) -> io::Result<(MaybeTlsReader<R>, MaybeTlsWriter<W>)> {
    let session = ServerConnection::new(config).map_err(io::Error::other)?;
    handshake(Connection::Server(session), reader, writer, received).await
}

/// Shakes hands as the client of `host`.
pub async fn connect<R: Reader, W: Writer>(
    config: Arc<ClientConfig>,
    host: &str,
    reader: R,
    writer: W,
) -> io::Result<(MaybeTlsReader<R>, MaybeTlsWriter<W>)> {
    let name = match host.parse::<IpAddr>() {
        Ok(address) => ServerName::from(address),
        Err(_) => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
    };
    let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
    handshake(Connection::Client(session), reader, writer, BytesMut::new()).await
}

async fn handshake<R: Reader, W: Writer>(
    mut session: Connection,
    reader: R,
    writer: W,
    received: BytesMut,
) -> io::Result<(MaybeTlsReader<R>, MaybeTlsWriter<W>)> {
    // What is written is bounded by each call below, and encrypted at once: no bound is needed inside.
    session.set_buffer_limit(None);
    let session = Rc::new(RefCell::new(session));
    let mut reader = TlsReader { below: reader, session: Rc::clone(&session), sealed: received };
    let mut writer = TlsWriter { below: writer, session, sealed: WriteList::new() };
    // What came before the handshake was begun is its beginning.
    let mut early = (!reader.sealed.is_empty()).then(|| reader.open());
    loop {
        poll_fn(|cx| writer.poll_flush(cx)).await?;
        if !reader.session.borrow().is_handshaking() {
            break;
        }
        let outcome = match early.take() {
            Some(opened) => opened.map(|()| true),
            None => poll_fn(|cx| reader.poll_receive(cx)).await,
        };
        if let Err(error) = outcome {
            // The alert says to the peer what was wrong; whether it arrives changes nothing here.
            let _ = poll_fn(|cx| writer.poll_flush(cx)).await;
            return Err(error);
        }
        if outcome.is_ok_and(|open| !open) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((MaybeTlsReader::Tls(Box::new(reader)), MaybeTlsWriter::Tls(Box::new(writer))))
}

impl<R: Reader> TlsReader<R> {
    /// Opens what was read from below, or reads more first; `Ok(false)`: the peer closed the connection below.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.sealed.is_empty() && ready!(self.below.poll_read(cx, &mut self.sealed))? == 0 {
            return Poll::Ready(Ok(false));
        }
        self.open()?;
        Poll::Ready(Ok(true))
    }

    /// Opens the records that were read, as far as the session holds what was in them: the rest once that is taken.
    fn open(&mut self) -> io::Result<()> {
        let mut session = self.session.borrow_mut();
        let mut rest = &self.sealed[..];
        let mut opened = 0;
        while !rest.is_empty() && opened < limits::TLS_OPENED_BYTES_MAX {
            session.read_tls(&mut rest)?;
            let state = session
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            opened = state.plaintext_bytes_to_read();
        }
        let taken = self.sealed.len() - rest.len();
        self.sealed.advance(taken);
        Ok(())
    }

    /// Moves opened bytes into `buffer`. `Ok(None)`: there are none yet; `Ok(Some(0))`: the peer ended the session.
    fn take_opened(&self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        let mut session = self.session.borrow_mut();
        let mut opened = session.reader();
        match opened.fill_buf() {
            Ok(chunk) => {
                let count = chunk.len();
                buffer.extend_from_slice(chunk);
                opened.consume(count);
                Ok(Some(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<R: Reader> Reader for TlsReader<R> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(count) = self.take_opened(buffer)? {
                return Poll::Ready(Ok(count));
            }
            // A close without close_notify may be an attacker's cut: it is an error, not an end.
            if !ready!(self.poll_receive(cx))? {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

impl<W: Writer> TlsWriter<W> {
    /// Sends what the session has to say.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut session = self.session.borrow_mut();
        if session.wants_write() {
            let mut sealed = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut sealed)?;
            }
            self.sealed.push(Bytes::from(sealed));
        }
        drop(session);
        if self.sealed.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.below.poll_write(cx, &mut self.sealed)
    }

    /// Seals the front of the list. Small writes share a record and a send: a head with its body, a chunk with its
    /// framing.
    fn seal(&mut self, list: &mut WriteList) -> io::Result<()> {
        let mut session = self.session.borrow_mut();
        let mut room = limits::TLS_PIECE_BYTES;
        while room > 0
            && let Some(part) = list.rest().first()
        {
            let count = part.len().min(room);
            session.writer().write_all(&part[..count])?;
            list.advance(count);
            room -= count;
        }
        Ok(())
    }
}

impl<W: Writer> Writer for TlsWriter<W> {
    fn poll_write(&mut self, cx: &mut Context<'_>, list: &mut WriteList) -> Poll<io::Result<()>> {
        loop {
            // First what an earlier call has sealed and could not send.
            ready!(self.poll_flush(cx))?;
            if list.is_empty() {
                list.clear();
                return Poll::Ready(Ok(()));
            }
            self.seal(list)?;
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.borrow_mut().send_close_notify();
        ready!(self.poll_flush(cx))?;
        self.below.poll_shutdown(cx)
    }
}
