//! What `trunkline quickstart` sets up and prints: a ready config around the sandbox, and lines to paste that work
//! as printed. Pure text.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

/// Looks an environment variable up.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The configuration file of quickstart: a sandbox listening on loopback at this port, one API key, and a virtual key
/// for each provider whose usual variable is set. Credentials appear as `${NAME}`, never as their values.
#[must_use]
pub fn config_yaml(sandbox_port: u16, api_key_sha256: &str, env: Env<'_>) -> String {
    let mut yaml = format!(
        r#"virtual_keys:
  sandbox-openai:    {{ provider: openai, base_url: "http://127.0.0.1:{sandbox_port}/v1", api_key: sandbox }}
  sandbox-anthropic: {{ provider: anthropic, base_url: "http://127.0.0.1:{sandbox_port}/v1", api_key: sandbox }}
"#
    );
    for known in found(env) {
        let Known { variable, virtual_key, provider } = known;
        // Writing to a String cannot fail.
        let _ = writeln!(
            yaml,
            "  {virtual_key}: {{ provider: {provider}, api_key: \"${{{variable}}}\" }}"
        );
    }
    let _ = write!(
        yaml,
        r#"
configs:
  {DEFAULT_CONFIG}: {{ virtual_key: sandbox-openai }}
  {FALLBACK_CONFIG}:
    strategy: {{ mode: fallback }}
    targets:
      - {{ virtual_key: sandbox-openai, override_params: {{ model: sandbox-fail-503 }} }}
      - {{ virtual_key: sandbox-anthropic, override_params: {{ model: sandbox-chat }} }}

api_keys:
  - name: quickstart
    key_sha256: "{api_key_sha256}"
    config: {DEFAULT_CONFIG}
"#
    );
    yaml
}

/// The names of the virtual keys that [`config_yaml`] adds for this environment.
#[must_use]
pub fn virtual_keys(env: Env<'_>) -> Vec<&'static str> {
    found(env).map(|known| known.virtual_key).collect()
}

/// What the banner tells.
#[derive(Clone, Copy, Debug)]
pub struct Banner<'a> {
    /// Where Trunkline listens.
    pub listen: SocketAddr,
    /// The API key, in full: it is shown this once.
    pub api_key: &'a str,
    /// The request log; `None`: it is off.
    pub log_dir: Option<&'a Path>,
    /// Whether Trunkline was started by cargo: then `trunkline-dump` is, too.
    pub through_cargo: bool,
    /// Virtual keys besides the sandbox's, from [`virtual_keys`].
    pub virtual_keys: &'a [&'a str],
}

/// What quickstart prints: the API key, and lines to paste into another terminal.
#[must_use]
pub fn banner(banner: &Banner<'_>) -> String {
    let base = base_url(banner.listen);
    let chat = format!("{base}/v1/chat/completions");
    let bearer = format!("authorization: Bearer {}", banner.api_key);
    let json = "content-type: application/json";
    let mut text = format!(
        "Trunkline listens on {base}; its built-in sandbox answers in a provider's place.\n\
         API key: {}\n",
        banner.api_key
    );
    let plain = curl(&["curl"], &chat, &[&bearer, json], PLAIN_BODY);
    section(&mut text, "A plain call:", &plain);
    let stream = curl(&["curl", "-N"], &chat, &[&bearer, json], STREAM_BODY);
    section(&mut text, "A stream:", &stream);
    let config = format!("x-portkey-config: {FALLBACK_CONFIG}");
    let fallback = curl(&["curl", "-i"], &chat, &[&bearer, json, &config], PLAIN_BODY);
    section(&mut text, FALLBACK_TITLE, &fallback);
    let key = format!("x-api-key: {}", banner.api_key);
    let headers: [&str; 3] = [&key, "anthropic-version: 2023-06-01", json];
    let messages = curl(&["curl"], &format!("{base}/v1/messages"), &headers, MESSAGES_BODY);
    section(&mut text, "A call as Anthropic's SDKs make it:", &messages);
    match banner.log_dir {
        Some(dir) => section(&mut text, LOG_TITLE, &log_lines(dir, banner.through_cargo)),
        None => text.push_str("\nThe request log is off.\n"),
    }
    if let Some(first) = banner.virtual_keys.first() {
        let names = banner.virtual_keys.join(", ");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\nReal providers found in the environment: {names}.\n\
             Name one before the model, for example \"model\": \"@{first}/MODEL\"."
        );
    }
    text
}

fn section(text: &mut String, title: &str, lines: &str) {
    text.push('\n');
    text.push_str(title);
    text.push('\n');
    for line in lines.lines() {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
}

/// One command over several lines, each but the last continued.
fn curl(command: &[&str], url: &str, headers: &[&str], body: &str) -> String {
    let mut line = format!("{} {}", command.join(" "), quoted(url));
    for header in headers {
        line.push_str(" \\\n  -H ");
        line.push_str(&quoted(header));
    }
    line.push_str(" \\\n  -d ");
    line.push_str(&quoted(body));
    line
}

fn log_lines(dir: &Path, through_cargo: bool) -> String {
    let command = match through_cargo {
        true => "cargo run --release --bin trunkline-dump --",
        false => "trunkline-dump",
    };
    let dir = quoted(&dir.to_string_lossy());
    format!("{command} {dir}\n{command} {dir} --follow")
}

/// Where to connect to what listens there: an unspecified address is reached on loopback.
fn base_url(listen: SocketAddr) -> String {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(host, listen.port()))
}

/// One word of a POSIX shell; as it is where that is safe, else in single quotes.
fn quoted(word: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"/:.,_-+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A provider whose credential has a usual variable.
#[derive(Clone, Copy, Debug)]
struct Known {
    variable: &'static str,
    virtual_key: &'static str,
    provider: &'static str,
}

/// Variables that hold what can be a credential. Others would make a config that is refused.
fn found(env: Env<'_>) -> impl Iterator<Item = Known> {
    let usable =
        |value: &str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    let known = KNOWN.iter().map(|(variable, virtual_key, provider)| Known {
        variable,
        virtual_key,
        provider,
    });
    known.filter(move |known| env(known.variable).is_some_and(|value| usable(&value)))
}

/// The config of the API key.
const DEFAULT_CONFIG: &str = "sandbox";
/// A config whose first target always fails.
const FALLBACK_CONFIG: &str = "sandbox-fallback";

const FALLBACK_TITLE: &str = "A fallback: the first target fails with a 503, the second one answers (see the x-portkey- headers):";
const LOG_TITLE: &str = "The log of these calls, from another terminal while Trunkline runs:";
const PLAIN_BODY: &str =
    r#"{"model": "sandbox-chat", "messages": [{"role": "user", "content": "Hello"}]}"#;
const STREAM_BODY: &str = r#"{"model": "sandbox-chat", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}"#;
const MESSAGES_BODY: &str = r#"{"model": "@sandbox-anthropic/sandbox-chat", "max_tokens": 200, "messages": [{"role": "user", "content": "Hello"}]}"#;

/// Variable, name of the virtual key, provider.
const KNOWN: &[(&str, &str, &str)] = &[
    ("OPENAI_API_KEY", "openai", "openai"),
    ("ANTHROPIC_API_KEY", "anthropic", "anthropic"),
    ("GROQ_API_KEY", "groq", "groq"),
    ("MISTRAL_API_KEY", "mistral", "mistral-ai"),
    ("DEEPSEEK_API_KEY", "deepseek", "deepseek"),
    ("OPENROUTER_API_KEY", "openrouter", "openrouter"),
    ("TOGETHER_API_KEY", "together", "together-ai"),
    ("FIREWORKS_API_KEY", "fireworks", "fireworks-ai"),
    ("CEREBRAS_API_KEY", "cerebras", "cerebras"),
    ("XAI_API_KEY", "xai", "x-ai"),
    ("PERPLEXITY_API_KEY", "perplexity", "perplexity-ai"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell_where_needed() {
        assert_eq!(quoted("/var/log/trunkline"), "/var/log/trunkline");
        assert_eq!(quoted("my log"), "'my log'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("$HOME"), "'$HOME'");
    }

    #[test]
    fn unspecified_addresses_are_reached_on_loopback() {
        let url = |text: &str| base_url(text.parse().expect("an address"));
        assert_eq!(url("0.0.0.0:8787"), "http://127.0.0.1:8787");
        assert_eq!(url("[::]:8787"), "http://[::1]:8787");
        assert_eq!(url("10.1.2.3:80"), "http://10.1.2.3:80");
    }
}
