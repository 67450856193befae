//! Everything about the process that is not a request: starting and ending it, reloading, commands.

pub mod admin;
pub mod check;
pub mod explain;
pub mod gateway;
pub mod key_command;
pub mod load;
pub mod quickstart;
pub mod reload;
pub mod slow;

use std::io::{self, Write};

/// Writes what a command found and returns its exit code. That a pipe is closed is its reader's choice; what else goes
/// wrong is said.
fn put_out(text: &[u8], code: i32) -> i32 {
    let mut out = io::stdout();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("error: the result cannot be written: {error}");
            1
        }
        _ => code,
    }
}
