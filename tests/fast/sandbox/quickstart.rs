//! What quickstart sets up and prints: the lines are read by a real shell, and the sandbox answers what they send.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use trunkline::{
    control::quickstart::{Banner, banner, config_yaml, virtual_keys},
    sandbox::Sandbox,
};

use super::{Stage, post};

const KEY: &str = "tl-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

fn text(log_dir: Option<&Path>, through_cargo: bool, virtual_keys: &[&str]) -> String {
    let listen = "127.0.0.1:8787".parse().expect("an address");
    banner(&Banner { listen, api_key: KEY, log_dir, through_cargo, virtual_keys })
}

/// The commands of the banner, each as a shell hands its words on.
fn commands(banner: &str, name: &str) -> Vec<Vec<String>> {
    let lines = banner.replace("\\\n", "");
    let commands = lines.lines().filter(|line| line.trim_start().starts_with(name));
    commands.map(|line| words(line.trim())).collect()
}

fn words(line: &str) -> Vec<String> {
    let script = format!("set -eu\nset -f -- {line}\nprintf '%s\\n' \"$@\"");
    let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    assert!(output.status.success(), "the shell refuses {line}");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

fn after<'a>(words: &'a [String], option: &str) -> Vec<&'a str> {
    let pairs = words.windows(2).filter(|pair| pair[0] == option);
    pairs.map(|pair| pair[1].as_str()).collect()
}

fn config(sandbox_port: u16, variables: &[(&str, &str)]) -> (String, Value) {
    let env = |name: &str| {
        let found = variables.iter().find(|(each, _)| *each == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let yaml = config_yaml(sandbox_port, &"ab".repeat(32), &env);
    let parsed = serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    (yaml, parsed)
}

#[test]
fn every_curl_line_is_whole_and_answered() {
    let text = text(None, false, &[]);
    let curls = commands(&text, "curl ");
    assert_eq!(curls.len(), 4);
    let stage = Stage::new(Sandbox::new());
    for curl in &curls {
        let url = curl.iter().find(|word| word.starts_with("http://")).expect("a URL");
        let path = url.strip_prefix("http://127.0.0.1:8787").expect("the gateway");
        let headers = after(curl, "-H");
        assert!(headers.contains(&"content-type: application/json"), "{curl:?}");
        assert!(headers.iter().any(|header| header.ends_with(KEY)), "{curl:?}");
        let mut body: Value = serde_json::from_str(after(curl, "-d")[0]).expect("a JSON body");
        // The gateway takes the name of the virtual key off.
        let model = body["model"].as_str().expect("a model").rsplit('/').next().map(str::to_owned);
        body["model"] = json!(model);
        assert_eq!(stage.post(path, &body).status, 200, "{curl:?}");
    }
    let streamed = curls.iter().find(|curl| curl.contains(&"-N".to_owned())).expect("a stream");
    assert!(after(streamed, "-d")[0].contains(r#""stream": true"#));
    assert!(curls.iter().any(|curl| after(curl, "-H").contains(&"anthropic-version: 2023-06-01")));
}

#[test]
fn the_banner_is_short_and_fits_a_terminal() {
    let text = text(Some(Path::new("log")), true, &[]);
    assert!(text.contains(&format!("API key: {KEY}\n")));
    assert!(text.lines().count() <= 40, "{text}");
    assert!(text.lines().all(|line| line.len() <= 130 && line.trim_end() == line), "{text}");
}

#[test]
fn log_lines_name_the_command_at_hand_and_the_directory() {
    let dir = Path::new("/tmp/it's my log");
    let installed = commands(&text(Some(dir), false, &[]), "trunkline-dump");
    assert_eq!(installed[0], ["trunkline-dump", "/tmp/it's my log"]);
    assert_eq!(installed[1], ["trunkline-dump", "/tmp/it's my log", "--follow"]);
    let cargo = commands(&text(Some(dir), true, &[]), "cargo");
    let expected =
        ["cargo", "run", "--release", "--bin", "trunkline-dump", "--", "/tmp/it's my log"];
    assert_eq!(cargo[0], expected);
    assert!(text(None, false, &[]).contains("The request log is off."));
}

#[test]
fn the_config_points_at_the_sandbox_and_its_fallback_falls() {
    let (_, config) = config(4567, &[]);
    let keys = config["virtual_keys"].as_object().expect("virtual keys");
    assert_eq!(keys.len(), 2);
    assert!(keys.values().all(|key| key["base_url"] == "http://127.0.0.1:4567/v1"));
    assert_eq!(config["api_keys"][0]["key_sha256"], "ab".repeat(32));
    let configs = config["configs"].as_object().expect("configs");
    let default = config["api_keys"][0]["config"].as_str().expect("a config");
    assert_eq!(configs[default]["virtual_key"], "sandbox-openai");
    let targets = configs["sandbox-fallback"]["targets"].as_array().expect("targets");
    let stage = Stage::new(Sandbox::new());
    let statuses: Vec<u16> = targets
        .iter()
        .map(|target| {
            assert!(keys.contains_key(target["virtual_key"].as_str().expect("a virtual key")));
            let model = &target["override_params"]["model"];
            let body = json!({"model": model, "messages": super::user("x")});
            stage.send(post("/v1/chat/completions", "", &body)).reply().status
        })
        .collect();
    assert_eq!(statuses, [503, 200]);
    assert!(text(None, false, &[]).contains("x-portkey-config: sandbox-fallback"));
}

#[test]
fn variables_become_virtual_keys_without_their_values() {
    let secret = "sk-very-secret";
    let variables = [
        ("OPENAI_API_KEY", secret),
        ("MISTRAL_API_KEY", secret),
        ("GROQ_API_KEY", ""),
        ("DEEPSEEK_API_KEY", "two\nlines"),
    ];
    let (yaml, parsed) = config(1, &variables);
    assert!(!yaml.contains(secret));
    let openai = json!({"provider": "openai", "api_key": "${OPENAI_API_KEY}"});
    assert_eq!(parsed["virtual_keys"]["openai"], openai);
    assert_eq!(parsed["virtual_keys"]["mistral"]["provider"], "mistral-ai");
    assert_eq!(parsed["virtual_keys"].as_object().map(serde_json::Map::len), Some(4));
    let env = |name: &str| (name == "OPENAI_API_KEY").then(|| secret.to_owned());
    assert_eq!(virtual_keys(&env), ["openai"]);
    assert!(text(None, false, &virtual_keys(&env)).contains("\"@openai/MODEL\""));
}
