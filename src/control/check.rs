//! `trunkline check`: says everything that is wrong with a configuration file, or prints its JSON Schema.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::load;
use crate::{
    base::{limits, units::counted},
    config::{
        check::{Checked, check},
        report::Mistake,
        schema::schema,
        variables::Variables,
    },
};

/// Checks a configuration file: all mistakes at once, each with its line, column and path.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    trunkline check trunkline.yaml\n  \
    trunkline check trunkline.yaml --no-env    (where the variables are not set, e.g. in CI)\n  \
    trunkline check --schema > trunkline.schema.json")]
pub struct CheckArgs {
    /// The file to check; `-` reads standard input.
    #[arg(required_unless_present = "schema")]
    pub file: Option<PathBuf>,
    /// Do not look variables up: a value that names one may be anything. Nor are files of certificates read.
    #[arg(long)]
    pub no_env: bool,
    /// Print a JSON Schema of the file instead.
    #[arg(long, conflicts_with = "file")]
    pub schema: bool,
}

/// Runs the command; the result is the exit code.
pub fn run(args: &CheckArgs) -> i32 {
    let (out, errors, code) = match &args.file {
        _ if args.schema => (format!("{:#}\n", schema()), String::new(), 0),
        Some(file) => of_file(file, args.no_env),
        None => (String::new(), "name the file to check\n".to_owned(), 2),
    };
    let _ = io::stderr().write_all(errors.as_bytes());
    super::put_out(out.as_bytes(), code)
}

fn of_file(file: &Path, no_env: bool) -> (String, String, i32) {
    let text = match read(file) {
        Ok(text) => text,
        Err(message) => return (String::new(), format!("{}: {message}\n", file.display()), 1),
    };
    let environment = |name: &str| std::env::var(name).ok();
    let variables = match no_env {
        true => Variables::Unknown,
        false => Variables::Lookup(&environment),
    };
    let mut checked = check(&text, variables);
    // Without the variables there is no configuration, and the files need not be here either.
    if let Some(Err(mistake)) = checked.config.as_ref().map(load::certificates) {
        checked.mistakes.push(mistake.placed_in(&text));
    }
    verdict(&file.display().to_string(), &checked)
}

/// Reads a file, but no more of it than a configuration may have.
pub fn read(file: &Path) -> Result<String, String> {
    let most = limits::CONFIG_FILE_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let result = if file == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    result.map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|error| {
        format!("byte {} is not UTF-8; save the file as UTF-8", error.utf8_error().valid_up_to())
    })
}

fn verdict(name: &str, checked: &Checked) -> (String, String, i32) {
    let mut errors = lines(name, "warning: ", &checked.warnings);
    if checked.mistakes.is_empty() {
        return (format!("{name}: ok{}\n", summary(checked)), errors, 0);
    }
    errors.push_str(&lines(name, "", &checked.mistakes));
    let count = counted(checked.mistakes.len() as u64, "mistake", "mistakes");
    let _ = writeln!(errors, "{name}: {count}");
    (String::new(), errors, 1)
}

/// One line a mistake, in the form that editors and terminals make links of: `FILE:LINE:COLUMN: …`.
#[must_use]
pub fn lines(name: &str, label: &str, mistakes: &[Mistake]) -> String {
    let mut out = String::new();
    for Mistake { line, column, path, message } in mistakes {
        let _ = match line {
            0 => write!(out, "{name}: "),
            _ => write!(out, "{name}:{line}:{column}: "),
        };
        let colon = if path.is_empty() { "" } else { ": " };
        let _ = writeln!(out, "{label}{path}{colon}{message}");
    }
    out
}

fn summary(checked: &Checked) -> String {
    let Some(config) = &checked.config else { return String::new() };
    let count = |n: usize, one: &str, many: &str| counted(n as u64, one, many);
    format!(
        " ({}, {}, {}; digest {})",
        count(config.virtual_keys.len(), "virtual key", "virtual keys"),
        count(config.configs.len(), "config", "configs"),
        count(config.api_keys.len(), "API key", "API keys"),
        hex::encode(&config.digest[..6]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_lines_that_an_editor_can_follow() {
        let checked = check("log: off\nlisen: x\nworkers: 0\n", Variables::Unknown);
        let (out, errors, code) = verdict("t.yaml", &checked);
        assert_eq!((out.as_str(), code), ("", 1));
        assert_eq!(
            errors,
            "t.yaml:2:1: lisen: there is no such key; did you mean \"listen\"?\n\
             t.yaml:3:10: workers: expected a whole number from 1 to 1024, found 0\n\
             t.yaml: 2 mistakes\n"
        );
    }

    #[test]
    fn a_good_file_says_what_it_defines() {
        let text = "virtual_keys: { a: { provider: openai, api_key: k } }\n\
                    configs: { c: { virtual_key: a, cache: { mode: simple } } }\n";
        let (out, errors, code) = verdict("t.yaml", &check(text, Variables::Lookup(&|_| None)));
        assert!(
            out.starts_with("t.yaml: ok (1 virtual key, 1 config, 0 API keys; digest "),
            "{out}"
        );
        assert!(errors.starts_with("t.yaml:2:33: warning: configs.c.cache: "), "{errors}");
        assert_eq!(code, 0);
    }
}
