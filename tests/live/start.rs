//! Starts that are refused, the small commands, exit codes, and what goes to stdout.

use std::{
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::harness::{gateway, log::trunkline, tls::Authority};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Runs it in this directory.
fn run_in(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.current_dir(dir).args(arguments).stdin(Stdio::null()).output().expect("it runs")
}

/// What a refused start says; nothing of it on stdout.
fn refused(arguments: &[&str], config: Option<&str>, code: i32) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    if let Some(config) = config {
        std::fs::write(dir.path().join("trunkline.yaml"), config).expect("a file");
    }
    let output = run_in(dir.path(), arguments);
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn a_port_in_use_is_said_with_a_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    for driver in ["epoll", "auto"] {
        let arguments = ["serve", "--listen", &address, "--admin", "off", "--driver", driver];
        let said = refused(&arguments, None, 1);
        assert!(said.contains(&address) && said.contains("in use"), "{said}");
        assert!(said.contains("--listen"), "{said}");
    }
}

#[test]
fn a_second_gateway_does_not_share_the_port() {
    let gateway = crate::harness::Gateway::new(crate::harness::Driver::Epoll).start();
    let address = gateway.address.to_string();
    let said = refused(&["serve", "--listen", &address, "--admin", "off"], None, 1);
    assert!(said.contains("in use"), "{said}");
}

#[test]
fn two_gateways_do_not_share_a_log() {
    let gateway = crate::harness::Gateway::new(crate::harness::Driver::Epoll).start();
    let log = gateway.log_dir();
    let log = log.to_str().expect("text");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--log", log];
    let said = refused(&arguments, None, 1);
    assert!(said.contains("in use by another trunkline process"), "{said}");
}

#[test]
fn configs_that_cannot_be_used_are_said_with_their_lines() {
    let said = refused(&["serve", "--config", "nowhere.yaml"], None, 1);
    assert!(said.contains("nowhere.yaml"), "{said}");
    let wrong =
        "listen: 127.0.0.1:0\nvirtual_keys:\n  up: { provider: opnai, api_key: x }\nno_such: 1\n";
    let said = refused(&["serve"], Some(wrong), 1);
    assert!(said.contains("trunkline.yaml:3:") && said.contains("trunkline.yaml:4:"), "{said}");
    let said = refused(&["serve"], Some("listen: [\n"), 1);
    assert!(said.contains("trunkline.yaml:"), "{said}");
    let said = refused(
        &["serve"],
        Some("virtual_keys: { up: { provider: openai, api_key: \"${NO_SUCH_VARIABLE_HERE}\" } }"),
        1,
    );
    assert!(said.contains("NO_SUCH_VARIABLE_HERE"), "{said}");
}

#[test]
fn usage_errors_have_their_own_code() {
    for arguments in [
        &["serve", "--no-such-flag"][..],
        &["no-such-command"],
        &[],
        &["serve", "--listen", "not-an-address"],
        &["serve", "--driver", "kqueue"],
        &["check"],
        &["dump"],
        &["quickstart", "--config", "x.yaml"],
    ] {
        let said = refused(arguments, None, 2);
        assert!(!said.is_empty(), "{arguments:?}");
    }
}

#[test]
fn check_tells_all_mistakes_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("good.yaml"), gateway::simple(1)).expect("a file");
    let wrong = "virtual_keys:\n  a: { provider: nobody }\nconfigs:\n  b: { virtual_key: c }\n";
    std::fs::write(dir.path().join("bad.yaml"), wrong).expect("a file");
    let good = run_in(dir.path(), &["check", "good.yaml"]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    assert!(text(&good.stdout).contains("good.yaml: ok"), "{}", text(&good.stdout));
    let bad = run_in(dir.path(), &["check", "bad.yaml"]);
    assert_eq!((bad.status.code(), &*text(&bad.stdout)), (Some(1), ""));
    let said = text(&bad.stderr);
    assert!(said.contains("bad.yaml:2:") && said.contains("bad.yaml:4:"), "{said}");
    let schema = run_in(dir.path(), &["check", "--schema"]);
    serde_json::from_slice::<serde_json::Value>(&schema.stdout).expect("JSON");
}

#[test]
fn certificates_are_read_by_check_as_by_serve() {
    let authority = Authority::new("a");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--log", "off"];
    let tls = "tls: { cert: server.pem, key: server.key }\n";
    let ca = "virtual_keys:\n  up: { provider: openai, api_key: x, ca: roots.pem }\n";
    for (config, files, at, message) in [
        (tls, &[][..], "1:14: tls.cert: ", "server.pem cannot be read: No such file"),
        (tls, &[("server.pem", "x")], "1:14: tls.cert: ", "server.pem holds no certificate"),
        (tls, &[("server.key", "x")], "1:31: tls.key: ", "server.key holds no private key"),
        (tls, &[("server.key", "")], "1:31: tls.key: ", "is not the key of the certificate in"),
        (ca, &[], "2:43: virtual_keys.up.ca: ", "roots.pem cannot be read: No such file"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("trunkline.yaml"), config).expect("a file");
        if !files.is_empty() {
            authority.issue(&["localhost"]).write(dir.path(), "server");
        }
        for (name, text) in files {
            match *text {
                "" => {
                    authority.issue(&["localhost"]).write(dir.path(), "other");
                    std::fs::rename(dir.path().join("other.key"), dir.path().join(name))
                        .expect("a file");
                }
                text => std::fs::write(dir.path().join(name), text).expect("a file"),
            }
        }
        let checked = run_in(dir.path(), &["check", "trunkline.yaml"]);
        let said = text(&checked.stderr);
        assert_eq!((checked.status.code(), &*text(&checked.stdout)), (Some(1), ""), "{said}");
        assert!(said.starts_with(&format!("trunkline.yaml:{at}")), "{said}");
        assert!(said.contains(message) && said.contains("; write the path of"), "{said}");
        let served = run_in(dir.path(), &serve);
        let path = at.split_once(": ").expect("a path").1;
        let same = said.lines().next().and_then(|line| line.split_once(path)).expect("a line").1;
        assert_eq!(served.status.code(), Some(1));
        let told = text(&served.stderr);
        assert!(told.ends_with(&format!("trunkline: {path}{same}\n")), "{told}");
        // Where the variables are not, neither are the files.
        let elsewhere = run_in(dir.path(), &["check", "--no-env", "trunkline.yaml"]);
        assert_eq!(elsewhere.status.code(), Some(0), "{}", text(&elsewhere.stderr));
    }
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("good.yaml"), tls).expect("a file");
    authority.issue(&["localhost"]).write(dir.path(), "server");
    let good = run_in(dir.path(), &["check", "good.yaml"]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
}

#[test]
fn keys_are_made_and_hashed() {
    let made = trunkline(&["key", "new"]);
    assert!(made.status.success());
    let made = text(&made.stdout);
    let mut lines = made.lines();
    let key = lines.next().expect("a key");
    assert!(key.starts_with("tl-") && key.len() > 40, "{made}");
    let mut hash = Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(["key", "hash"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    hash.stdin.take().expect("a pipe").write_all(key.as_bytes()).expect("it reads");
    let hash = text(&hash.wait_with_output().expect("it ends").stdout);
    assert!(made.contains(hash.trim()), "{hash} in {made}");
    assert_ne!(text(&trunkline(&["key", "new"]).stdout), made);
}

#[test]
fn help_and_version_go_to_stdout() {
    for command in [&[][..], &["serve"], &["quickstart"], &["check"], &["key"], &["dump"]] {
        let output = trunkline(&[command, &["--help"]].concat());
        assert_eq!((output.status.code(), &*text(&output.stderr)), (Some(0), ""), "{command:?}");
        let help = text(&output.stdout);
        assert!(help.contains("Usage:"), "{help}");
        assert!(help.contains("Examples:"), "{command:?}:\n{help}");
    }
    let version = text(&trunkline(&["--version"]).stdout);
    assert_eq!(version.trim(), concat!("trunkline ", env!("CARGO_PKG_VERSION")));
    let dump = Command::new(env!("CARGO_BIN_EXE_trunkline-dump")).arg("--version").output();
    let version = text(&dump.expect("it runs").stdout);
    assert_eq!(version.trim(), concat!("trunkline-dump ", env!("CARGO_PKG_VERSION")));
}
