//! The admin interface's bearer token: the configuration's, or one that is generated once and kept in a file that
//! only its owner may read.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    base::{limits, secret::Secret},
    config::Admin,
};

/// The generated token, and the question whether a presented one is right.
pub struct Tokens {
    path: PathBuf,
    kept: Mutex<Option<Secret>>,
}

impl Tokens {
    /// For a state directory. Nothing is read or made yet.
    #[must_use]
    pub fn new(state: &Path) -> Tokens {
        Tokens { path: state.join("admin-token"), kept: Mutex::default() }
    }

    /// Where the generated token is kept.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the kept token, or makes one and says so.
    ///
    /// # Errors
    /// If there is none and none can be kept; says what to do.
    pub fn make_sure(&self) -> Result<(), String> {
        self.kept().map(drop)
    }

    /// Whether this is the token that the configuration in force asks for. Takes as long for a wrong one.
    ///
    /// # Errors
    /// If the kept token, which it asks for, cannot be had.
    pub fn admits(&self, admin: &Admin, presented: &str) -> Result<bool, String> {
        let right = match &admin.token {
            Some(token) => token.clone(),
            None => self.kept()?,
        };
        let hash = |text: &str| -> [u8; 32] { Sha256::digest(text.as_bytes()).into() };
        Ok(hash(presented).ct_eq(&hash(right.reveal())).into())
    }

    fn kept(&self) -> Result<Secret, String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &*kept {
            return Ok(token.clone());
        }
        let told = |error: io::Error| {
            format!(
                "trunkline: the admin token in {} cannot be read or kept: {error}; make `state` in the file a \
                 writable directory, set `admin.token` there, or turn the admin interface off with --admin off",
                self.path.display()
            )
        };
        let token = match read(&self.path).map_err(told)? {
            Some(token) => token,
            None => self.make().map_err(told)?,
        };
        Ok(kept.insert(token).clone())
    }

    fn make(&self) -> io::Result<Secret> {
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(random.as_mut()).map_err(io::Error::other)?;
        let token = Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(*random)));
        keep(&self.path, &token)?;
        eprintln!(
            "trunkline: made a token for the admin interface, shown this once and kept in {}: {}",
            self.path.display(),
            token.reveal()
        );
        Ok(token)
    }
}

/// The kept token; `None`: there is none yet.
fn read(path: &Path) -> io::Result<Option<Secret>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        eprintln!(
            "trunkline: {} was open to others; now only its owner may read it",
            path.display()
        );
    }
    let mut text = Zeroizing::new(String::new());
    file.take(limits::ADMIN_TOKEN_FILE_BYTES_MAX).read_to_string(&mut text)?;
    let token = text.trim();
    if token.len() < limits::ADMIN_TOKEN_BYTES_MIN || !token.bytes().all(|b| b.is_ascii_graphic()) {
        let message = "it holds no token; delete it to have one made";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Some(Secret::new(token.to_owned())))
}

/// Writes the token beside its place and moves it there, so that no half of one is ever found.
fn keep(path: &Path, token: &Secret) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir)?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&beside)?;
    writeln!(file, "{}", token.reveal())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// What a generated token begins with, so that scanners for leaked keys can find it and nobody takes it for an API key.
const PREFIX: &str = "tl-admin-";
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_kept_for_its_owner_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("deep/state");
        let tokens = Tokens::new(&state);
        let made = tokens.kept().unwrap();
        assert_eq!(made.reveal().len(), PREFIX.len() + 43);
        let mode = fs::metadata(tokens.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing lies beside it");
        let again = Tokens::new(&state);
        let generated = Admin::default();
        assert_eq!(again.admits(&generated, made.reveal()), Ok(true));
        for wrong in ["", "tl-admin-", &made.reveal()[1..], &format!("{} ", made.reveal())] {
            assert_eq!(again.admits(&generated, wrong), Ok(false), "{wrong}");
        }
    }

    #[test]
    fn the_configured_token_wins_over_the_kept_one() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(dir.path());
        let kept = tokens.kept().unwrap();
        let admin = Admin { token: Some(Secret::new("from-the-file".into())), ..Admin::default() };
        assert_eq!(tokens.admits(&admin, "from-the-file"), Ok(true));
        assert_eq!(tokens.admits(&admin, kept.reveal()), Ok(false));
    }

    #[test]
    fn a_file_open_to_others_is_closed_and_one_without_a_token_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(dir.path());
        fs::write(tokens.path(), "a-token-of-some-length\n").unwrap();
        fs::set_permissions(tokens.path(), Permissions::from_mode(0o644)).unwrap();
        assert_eq!(tokens.kept().unwrap().reveal(), "a-token-of-some-length");
        let mode = fs::metadata(tokens.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for text in ["", "short", "a token of some length with spaces"] {
            fs::write(tokens.path(), text).unwrap();
            let refusal = Tokens::new(dir.path()).kept().unwrap_err();
            assert!(refusal.contains("delete it"), "{refusal}");
        }
    }
}
