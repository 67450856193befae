//! Files of certificates and keys, in PEM form: read whole, and what is wrong with one said with its path.

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};

/// A file that cannot be used, and of what it is.
#[derive(Debug)]
pub struct FileFault<T> {
    /// Whose file it is.
    pub of: T,
    /// What is wrong with it, and what to do: it names the file.
    pub message: String,
}

/// Adds all certificates of a file to `roots`.
pub fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| {
            format!("{} holds a certificate that cannot be read: {error}", path.display())
        })?;
    }
    Ok(())
}

/// All certificates of a file, in order: at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found =
        found.and_then(|all| if all.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(all) });
    found.map_err(|error| unusable(path, "certificate", &error))
}

/// The first private key of a file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        let mut told = unusable(path, "private key", &error);
        if matches!(error, pem::Error::NoItemsFound) {
            told.push_str("; one under a pass phrase cannot be read: decrypt it");
        }
        told
    })
}

fn unusable(path: &Path, what: &str, error: &pem::Error) -> String {
    let path = path.display();
    match error {
        pem::Error::Io(error) => format!(
            "{path} cannot be read: {error}; write the path of a PEM file with the {what} that this user may read"
        ),
        pem::Error::NoItemsFound => {
            format!("{path} holds no {what} in PEM form; write the path of a PEM file that does")
        }
        error => format!("{path} is no sound PEM file: {error}; write it anew with the {what}"),
    }
}
