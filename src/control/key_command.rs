//! `trunkline key`: makes API keys, and the hashes of them that a configuration file holds.

use std::io::{self, Read};

use zeroize::Zeroizing;

use crate::policy::api_key;

/// Makes an API key, or the hash of one.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    trunkline key new\n  \
    printf %s \"$KEY\" | trunkline key hash")]
pub struct KeyArgs {
    /// What to make.
    #[command(subcommand)]
    pub what: KeyCommand,
}

/// What `trunkline key` makes.
#[derive(clap::Subcommand, Debug)]
pub enum KeyCommand {
    /// A new API key. It is shown once; only its hash is stored.
    New,
    /// The hash of a key that is read from standard input, so that no shell history keeps it.
    Hash,
}

/// Runs the command; the result is the exit code.
pub fn run(args: &KeyArgs) -> i32 {
    let made = match args.what {
        KeyCommand::New => new(),
        KeyCommand::Hash => hash(),
    };
    match &made {
        Ok(text) => super::put_out(text.as_bytes(), 0),
        Err(message) => {
            eprint!("{message}");
            1
        }
    }
}

fn new() -> Result<Zeroizing<String>, String> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(random.as_mut())
        .map_err(|error| format!("the system has no randomness to give: {error}\n"))?;
    let key = api_key::from_random(*random);
    let line = api_key::yaml_line(key.reveal());
    Ok(Zeroizing::new(format!("{}\n{line}\n", key.reveal())))
}

fn hash() -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    io::stdin()
        .lock()
        .take(KEY_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| format!("standard input cannot be read: {error}\n"))?;
    match text.trim() {
        "" => Err("nothing was read: write the key to standard input\n".to_owned()),
        key => Ok(Zeroizing::new(format!("{}\n", api_key::yaml_line(key)))),
    }
}

/// More than any header can carry.
const KEY_BYTES_MAX: u64 = 64 * 1024;
