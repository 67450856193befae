//! The request log as a user reads it: through `trunkline dump` and `trunkline-dump`.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use super::{Gateway, wait_for};

/// Runs the program with these arguments.
pub fn trunkline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trunkline")).args(arguments).output().expect("it runs")
}

/// All records, oldest first.
pub fn records(dir: &Path) -> Vec<Value> {
    let dir = dir.to_str().expect("text");
    let output = trunkline(&["dump", dir, "--json"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

/// `trunkline-dump --check`: whether it found nothing, and what it said.
pub fn check(dir: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_trunkline-dump"))
        .args([dir.as_os_str(), "--check".as_ref()])
        .output()
        .expect("it runs");
    (output.status.success(), String::from_utf8(output.stdout).expect("UTF-8"))
}

impl Gateway {
    /// Waits until the log holds `count` records, and tells them.
    pub fn records(&self, count: usize) -> Vec<Value> {
        let mut last = Vec::new();
        wait_for(&format!("{count} records"), || {
            last = if self.log_dir().is_dir() { records(&self.log_dir()) } else { Vec::new() };
            (last.len() >= count).then_some(())
        });
        assert_eq!(last.len(), count, "{last:#?}");
        last
    }

    /// Waits for the one record.
    pub fn record(&self) -> Value {
        self.records(1).remove(0)
    }
}
