//! Certificates of an authority of the test's own, a client under TLS, and a proxy that ends TLS before an upstream.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::{Conn, DEADLINE};

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key, in PEM form.
pub struct Identity {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for these names.
    pub fn issue(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { cert: cert.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    /// Writes `NAME.pem` and `NAME.key`.
    pub fn write(&self, dir: &Path, name: &str) {
        std::fs::write(dir.join(format!("{name}.pem")), &self.cert).expect("a file");
        std::fs::write(dir.join(format!("{name}.key")), &self.key).expect("a file");
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("PEM")]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM")
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client that trusts `authority`, with or without a certificate of its own.
pub fn client(authority: &Authority, own: Option<&Identity>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("PEM"))
        .expect("a root");
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_auth_cert(own.chain(), own.key()).expect("a certificate"),
    })
}

pub type TlsConn = Conn<StreamOwned<ClientConnection, TcpStream>>;

/// Connects to `localhost` at this address; the handshake happens with the first bytes.
pub fn connect(config: &Arc<ClientConfig>, address: SocketAddr) -> TlsConn {
    let tcp = TcpStream::connect(address).expect("the gateway takes connections");
    tcp.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(Arc::clone(config), name).expect("a connection");
    Conn::over(StreamOwned::new(tls, tcp))
}

/// The same where these bytes go before the handshake, and with its beginning in one write.
pub fn connect_after(first: &[u8], config: &Arc<ClientConfig>, address: SocketAddr) -> TlsConn {
    let mut tcp = TcpStream::connect(address).expect("the gateway takes connections");
    tcp.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(Arc::clone(config), name).expect("a connection");
    let mut bytes = first.to_vec();
    tls.write_tls(&mut bytes).expect("a hello");
    tcp.write_all(&bytes).expect("the gateway reads");
    Conn::over(StreamOwned::new(tls, tcp))
}

/// Ends TLS in front of a plain port.
pub struct Front {
    pub port: u16,
    pub full: Arc<AtomicUsize>,
    pub resumed: Arc<AtomicUsize>,
}

impl Front {
    pub fn start(identity: &Identity, to: u16) -> Front {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(identity.chain(), identity.key())
            .expect("a certificate");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let front = Front { port, full: Arc::default(), resumed: Arc::default() };
        let (full, resumed) = (Arc::clone(&front.full), Arc::clone(&front.resumed));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let tls = ServerConnection::new(Arc::clone(&config)).expect("a connection");
                let (full, resumed) = (Arc::clone(&full), Arc::clone(&resumed));
                thread::spawn(move || one_after_the_other(tls, stream, to, &full, &resumed));
            }
        });
        front
    }
}

/// Passes on a request, then its answer, and closes: enough for a client that asks once a connection.
fn one_after_the_other(
    mut tls: ServerConnection,
    mut stream: TcpStream,
    to: u16,
    full: &AtomicUsize,
    resumed: &AtomicUsize,
) {
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    if tls.complete_io(&mut stream).is_err() {
        return;
    }
    match tls.handshake_kind() {
        Some(HandshakeKind::Resumed) => resumed.fetch_add(1, Ordering::SeqCst),
        _ => full.fetch_add(1, Ordering::SeqCst),
    };
    let Ok(mut plain) = TcpStream::connect(("127.0.0.1", to)) else { return };
    let mut over = StreamOwned::new(tls, stream);
    let mut piece = [0; 16 * 1024];
    let Ok(count @ 1..) = over.read(&mut piece) else { return };
    if plain.write_all(&piece[..count]).is_err() || plain.shutdown(Shutdown::Write).is_err() {
        return;
    }
    while let Ok(count @ 1..) = plain.read(&mut piece) {
        if over.write_all(&piece[..count]).is_err() {
            return;
        }
        let _ = over.flush();
    }
    over.conn.send_close_notify();
    let _ = over.flush();
}
