//! The house rules that a machine can check. Each complaint says what to do instead.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The layers, lowest first: a file may name only its own and those above it in this list.
const LAYERS: [&str; 13] = [
    "base", "wire", "chat", "provider", "dialect", "config", "policy", "journal", "io", "serve",
    "control", "sandbox", "dump",
];

/// What may be named only in its home, and why.
const CONFINED: &[(&str, &[&str], &str)] = &[
    (
        "io_uring::",
        &["io/event/"],
        "only io/event/ names the kernel's interface: go through io::net::Net",
    ),
    ("tokio::", &["control/"], "tokio lives in control/ alone"),
    ("axum::", &["control/"], "axum lives in control/ alone"),
    ("rustls::", &["io/tls.rs", "io/certificates.rs"], "TLS is io/tls.rs's affair"),
    ("unsafe ", &["io/event/"], "io/event/ is the one home of unsafe code"),
];

/// What the pure layers may not name: they get time, chance and bytes as arguments.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::thread",
    "std::net::Tcp",
    "Instant::now",
    "SystemTime",
    "async fn",
    ".await",
    "getrandom",
    "println!",
    "eprintln!",
];
const PURE_LAYERS: [&str; 8] =
    ["base", "wire", "chat", "provider", "dialect", "config", "policy", "journal"];

/// Files that are one table, and so may be long.
const TABLES: &[&str] = &["provider/compatible.rs", "base/limits.rs"];

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const COMMENT_COLUMNS_MAX: usize = 120;

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut complaints = Vec::new();
    for path in rust_files(&root) {
        let text = fs::read_to_string(&path).expect("a readable source file");
        let name = path.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        check(&name, &text, &mut complaints);
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a readable directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn check(name: &str, text: &str, complaints: &mut Vec<String>) {
    let mut complain =
        |line: usize, what: &str| complaints.push(format!("src/{name}:{line}: {what}"));
    if name != "lib.rs" && !text.starts_with("//! ") {
        complain(1, "open the file with a `//!` sentence that says what it is for");
    }
    let production = production_lines(text);
    if production.len() > FILE_LINES_MAX && !TABLES.contains(&name) {
        complain(
            FILE_LINES_MAX,
            "the file has more than 400 lines before its tests: make it two rooms",
        );
    }
    let layer = LAYERS.iter().position(|layer| name.split('/').next() == Some(layer));
    for (at, line) in production.iter().enumerate() {
        check_line(name, layer, line, &mut |what| complain(at + 1, what));
    }
    for (at, length) in long_functions(&production) {
        complain(at, &format!("the function has {length} lines, more than 70: split it"));
    }
}

/// The lines before the tests of a file.
fn production_lines(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).collect()
}

fn check_line(name: &str, layer: Option<usize>, line: &str, complain: &mut dyn FnMut(&str)) {
    let code = line.split("//").next().unwrap_or_default();
    let columns = line.chars().count();
    let is_comment = line.trim_start().starts_with("//");
    // Code is rustfmt's affair.
    if is_comment && columns > COMMENT_COLUMNS_MAX {
        complain("the comment is wider than 120 columns: wrap it");
    }
    for (word, homes, instead) in CONFINED {
        if code.contains(word) && !homes.iter().any(|home| name.starts_with(home)) {
            complain(instead);
        }
    }
    let Some(layer) = layer else { return };
    for upper in &LAYERS[layer + 1..] {
        if code.contains(&format!("crate::{upper}::")) {
            complain(&format!("`{upper}` is below this layer: move the piece, or pass it in"));
        }
    }
    if PURE_LAYERS.contains(&LAYERS[layer]) {
        for word in IMPURE {
            if code.contains(word) {
                complain(&format!("`{word}` in a pure layer: let the caller pass it in"));
            }
        }
    }
}

/// Functions over the limit: their first line and their length. Relies on rustfmt's indentation.
fn long_functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let is_function = ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(super) fn "]
            .iter()
            .any(|head| line.trim_start().starts_with(head));
        if !is_function || line.trim_end().ends_with(';') {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        let end = lines[start..].iter().position(|line| *line == close).unwrap_or(0);
        if end + 1 > FUNCTION_LINES_MAX {
            found.push((start + 1, end + 1));
        }
    }
    found
}

#[test]
fn a_layer_that_looks_down_is_complained_of() {
    let mut complaints = Vec::new();
    check("wire/x.rs", "//! X.\nuse crate::serve::Core;\n", &mut complaints);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    check("policy/x.rs", "//! X.\nlet now = Instant::now();\n", &mut complaints);
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    check("serve/x.rs", "use io_uring::IoUring;\n", &mut complaints);
    assert_eq!(complaints.len(), 4, "{complaints:?}");
}

/// Without these a request takes a tenth more instructions, and nothing says so.
#[test]
fn an_image_is_built_with_the_profile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let context =
        fs::read_to_string(root.join(".dockerignore")).expect("what an image is built of");
    for needed in [".cargo", "tuning/profile"] {
        let let_through = context.lines().any(|line| line.strip_prefix('!') == Some(needed));
        assert!(
            let_through && root.join(needed).exists(),
            "{needed} is no part of the image's build"
        );
    }
}
