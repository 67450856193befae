//! The copy of a past epoch that is kept beside the log.

use std::{fs::File, io::Read, path::Path};

use serde_json::Value;

use crate::base::limits;

/// A past epoch.
pub struct Copy {
    /// The digest of its configuration, in hexadecimal.
    pub digest: String,
    /// Its configuration, compiled and without secrets.
    pub config: Value,
}

/// Reads it; `Err`: why there is none.
pub fn read(log_dir: &Path, epoch: u64) -> Result<Copy, String> {
    let path = log_dir.join("epochs").join(format!("{epoch}.json"));
    let told = |why: String| format!("{}: {why}", path.display());
    let mut text = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(COPY_BYTES_MAX + 1).read_to_end(&mut text))
        .map_err(|error| told(error.to_string()))?;
    if text.len() as u64 > COPY_BYTES_MAX {
        return Err(told(format!("is larger than {COPY_BYTES_MAX} bytes")));
    }
    let mut copy: Value =
        serde_json::from_slice(&text).map_err(|error| told(format!("is no JSON: {error}")))?;
    let digest = copy.get("digest").and_then(Value::as_str).map(str::to_owned);
    match (digest, copy.get_mut("config").map(Value::take)) {
        (Some(digest), Some(config)) => Ok(Copy { digest, config }),
        _ => Err(told("is no copy of an epoch".to_owned())),
    }
}

/// A copy spells out what its file says in short: inheritance is resolved in it.
const COPY_BYTES_MAX: u64 = 64 * limits::CONFIG_FILE_BYTES_MAX as u64;
