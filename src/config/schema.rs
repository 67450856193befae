//! The JSON Schema of the configuration file, for editors: every key with its type and what it does. It is built
//! from tables, because the checker that it describes reads a tree and not derived structs.

use serde_json::{Map, Value, json};

use super::{
    compile::keys::{Kind, SETTINGS},
    guardrail_schema,
    providers::provider_names,
};

/// The schema of the whole file.
#[must_use]
pub fn schema() -> Value {
    let mut root = object(TOP);
    let fields = root.as_object_mut().expect("object() makes an object");
    fields.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    fields.insert("title".into(), json!("Trunkline configuration"));
    fields.insert(
        "$defs".into(),
        json!({
            "duration": {
                "type": "string",
                "pattern": r"^[0-9]+(\.[0-9]+)? *(us|ms|s|m|h|d)$",
                "examples": ["200ms", "5s", "10m", "1h", "30d"],
            },
            "size": {
                "type": "string",
                "pattern": r"^[0-9]+(\.[0-9]+)? *([KMGT]i?B|kB|B)$",
                "examples": ["64KiB", "32MiB", "2GiB"],
            },
            "name": { "type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$" },
            "status": { "type": "integer", "minimum": 100, "maximum": 599 },
            "provider": { "anyOf": [
                { "enum": provider_names().collect::<Vec<_>>() },
                { "type": "string", "description": "Another spelling of one of them." },
            ] },
            "virtual_key": with_settings(VIRTUAL_KEY),
            "config": with_settings(CONFIG),
            "condition": object(CONDITION),
            "guardrail": guardrail_schema::short(),
            "hook": object(guardrail_schema::HOOK),
            "check": object(guardrail_schema::CHECK),
            "credential": { "anyOf": [{ "type": "string" }, object(CREDENTIAL)] },
            "api_key": object(API_KEY),
            "core": { "type": "integer", "minimum": 0, "maximum": 1023 },
        }),
    );
    root
}

/// A key, its type, and what it does.
pub(super) type Row = (&'static str, Type, &'static str);

/// The types of values.
pub(super) enum Type {
    Flag,
    Text,
    Texts,
    Number(u64, u64),
    Duration,
    Size,
    Statuses,
    Metadata,
    Anything,
    Reference(&'static str),
    Choice(&'static [&'static str]),
    Object(&'static [Row]),
    ListOf(&'static str),
    MapOf(&'static str),
    Either(&'static [Type]),
}

pub(super) fn object(rows: &[Row]) -> Value {
    let properties: Map<String, Value> =
        rows.iter().map(|row| (row.0.into(), field(row))).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn field((_, kind, description): &Row) -> Value {
    let mut value = type_of(kind);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("description".into(), json!(description));
    }
    value
}

fn type_of(kind: &Type) -> Value {
    match kind {
        Type::Flag => json!({ "type": "boolean" }),
        Type::Text => json!({ "type": "string" }),
        Type::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Type::Number(least, most) => json!({ "type": "number", "minimum": least, "maximum": most }),
        Type::Duration => reference("duration"),
        Type::Size => reference("size"),
        Type::Statuses => json!({ "type": "array", "items": reference("status") }),
        Type::Metadata => json!({
            "type": "object", "maxProperties": 16,
            "additionalProperties": { "type": "string", "maxLength": 128 },
        }),
        Type::Anything => json!({ "type": "object" }),
        Type::Reference(name) => reference(name),
        Type::Choice(words) => json!({ "enum": words }),
        Type::Object(rows) => object(rows),
        Type::ListOf(name) => json!({ "type": "array", "items": reference(name) }),
        Type::MapOf(name) => json!({
            "type": "object", "propertyNames": reference("name"),
            "additionalProperties": reference(name),
        }),
        Type::Either(kinds) => json!({ "anyOf": kinds.iter().map(type_of).collect::<Vec<_>>() }),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// An object that may also hold provider settings.
fn with_settings(rows: &[Row]) -> Value {
    let mut value = object(rows);
    let Some(properties) = value.get_mut("properties").and_then(Value::as_object_mut) else {
        return value;
    };
    for setting in SETTINGS.iter().filter(|setting| setting.honoured) {
        let what = match setting.kind {
            Kind::Secret => "a credential",
            Kind::Plain | Kind::Account | Kind::HostPart | Kind::Url => "a setting",
        };
        let description = format!("The provider's header {}, {what}.", setting.header);
        let field = json!({ "type": "string", "description": description });
        properties.insert(setting.key.into(), field);
    }
    value
}

const TOP: &[Row] = &[
    ("listen", Type::Text, "Address and port for clients; 127.0.0.1:8787 if not given."),
    ("tls", Type::Object(TLS), "Serve clients over TLS."),
    (
        "admin",
        Type::Either(&[Type::Object(ADMIN), Type::Choice(&["off"])]),
        "The admin interface and /metrics.",
    ),
    (
        "workers",
        Type::Either(&[Type::Choice(&["auto"]), Type::Number(1, 1024), Type::ListOf("core")]),
        "Worker threads: auto is one a core; a list names the cores to pin to.",
    ),
    ("state", Type::Text, "Directory for what the admin API changes and for counters."),
    ("auth", Type::Choice(&["open"]), "open: serve requests that bring no API key."),
    ("virtual_keys", Type::MapOf("virtual_key"), "Names for provider credentials."),
    ("configs", Type::MapOf("config"), "Named routing policies, as Portkey's config objects."),
    ("api_keys", Type::ListOf("api_key"), "What applications present, and what they may do."),
    ("log", Type::Either(&[Type::Object(LOG), Type::Choice(&["off"])]), "The request log."),
    ("limits", Type::Object(LIMITS), "Bounds on what clients send."),
    ("timeouts", Type::Object(TIMEOUTS), "Deadlines that hold where a config sets none."),
    ("custom_hosts", Type::Object(CUSTOM_HOSTS), "Which hosts requests may name."),
    (
        "trusted_proxies",
        Type::Texts,
        "Networks (CIDR) and addresses whose X-Forwarded-For and PROXY protocol are believed.",
    ),
    ("cors", Type::Object(CORS), "Which web pages may call from a browser."),
    (
        "egress_proxy",
        Type::Either(&[Type::Text, Type::Object(EGRESS_PROXY)]),
        "The HTTP proxy through which upstreams are reached, by CONNECT: its URL, or a map.",
    ),
    ("prices", Type::Object(PRICES), "What a call costs."),
    (
        "slow_request",
        Type::Either(&[Type::Reference("duration"), Type::Choice(&["off"])]),
        "Tell of requests whose first token, or whole answer, took longer; off if not given.",
    ),
];

const TLS: &[Row] = &[
    ("cert", Type::Text, "Certificate chain, a PEM file."),
    ("key", Type::Text, "Private key, a PEM file."),
    ("client_ca", Type::Text, "Clients must present a certificate signed by one of these."),
];

const ADMIN: &[Row] = &[
    ("listen", Type::Text, "Address and port; 127.0.0.1:8788 if not given."),
    ("token", Type::Text, "Bearer token; one is generated and kept in state if not given."),
    ("insecure", Type::Flag, "Accept that it is reachable beyond loopback without TLS."),
    ("metrics", Type::Choice(&["open", "token"]), "open: /metrics needs no token."),
];

const LOG: &[Row] = &[
    ("dir", Type::Text, "Directory; ./log if not given."),
    ("bodies", Type::Flag, "Log request and answer bodies too, in files of their own."),
    ("retention", Type::Object(RETENTION), "When old files are deleted."),
    ("sync", Type::Duration, "How often the log reaches the disk; 200ms if not given."),
    ("on_full", Type::Choice(&["drop", "wait"]), "What a full queue does."),
];

const RETENTION: &[Row] = &[
    ("days", Type::Number(1, 36_500), "Age; 30 if not given, null for no bound."),
    ("size", Type::Size, "Total size; 20GiB if not given, null for no bound."),
];

const LIMITS: &[Row] = &[
    ("head", Type::Size, "Largest request head; 64KiB if not given."),
    ("body", Type::Size, "Largest body that is held in memory; 32MiB if not given."),
    ("upload", Type::Size, "Largest body that is passed through; 1GiB if not given."),
    (
        "connections",
        Type::Either(&[Type::Choice(&["auto"]), Type::Number(1, 10_000_000)]),
        "Client connections at once; auto is what the open-file limit allows.",
    ),
    (
        "in_flight",
        Type::Either(&[Type::Choice(&["auto"]), Type::Number(1, 10_000_000)]),
        "Requests at once; auto is what connections and memory allow.",
    ),
    ("memory", Type::Size, "Memory for requests at once, as accounted; 2GiB if not given."),
];

const TIMEOUTS: &[Row] = &[
    ("connect", Type::Duration, "Resolve, connect and TLS handshake; 5s if not given."),
    ("first_byte", Type::Duration, "Until the answer's head; 600s if not given."),
    ("first_token", Type::Duration, "Until a stream's first content; no bound if not given."),
    ("idle", Type::Duration, "Between two reads of the answer; 300s if not given."),
    ("total", Type::Duration, "The whole exchange with all attempts; 3600s if not given."),
];

const CUSTOM_HOSTS: &[Row] = &[
    ("trusted", Type::Texts, "Names or addresses that pass the guard: exact, or *.suffix."),
    ("allow_private", Type::Flag, "Whether requests may name hosts of private networks."),
];

const CORS: &[Row] =
    &[("origins", Type::Texts, "Origins, e.g. https://app.example.com; or * alone for all.")];

const EGRESS_PROXY: &[Row] = &[
    ("url", Type::Text, "http://HOST:PORT, with USER:PASSWORD@ before the host if it wants them."),
    ("no_proxy", Type::Texts, "Hosts reached without it: names, *.suffix, addresses, networks."),
];

const PRICES: &[Row] = &[("unpriced", Type::Choice(&["allow"]), "Serve models without a price.")];

const VIRTUAL_KEY: &[Row] = &[
    ("provider", Type::Reference("provider"), "Who runs the models."),
    ("api_key", Type::Text, "The provider's credential; write ${NAME} for a variable."),
    ("api_keys", Type::ListOf("credential"), "Several, used by weight; a refused one is left out."),
    ("base_url", Type::Text, "Where its API lives, if not at the provider's own address."),
    ("models", Type::Texts, "Models served, as globs; all if not given."),
    ("ca", Type::Text, "Private root certificates (PEM file) trusted for this upstream."),
    ("allow_custom_host", Type::Texts, "Hosts that requests may lead this credential to."),
];

const CONFIG: &[Row] = &[
    ("strategy", Type::Object(STRATEGY), "How a target is chosen."),
    ("targets", Type::ListOf("config"), "What the strategy chooses among."),
    ("name", Type::Text, "Its name in the log."),
    ("weight", Type::Number(0, 1_000_000_000), "Its share under loadbalance; 1 if not given."),
    ("virtual_key", Type::Reference("name"), "The virtual key of this target."),
    ("provider", Type::Text, "The provider, or @NAME for a virtual key."),
    ("api_key", Type::Text, "The provider's credential, where no virtual key is named."),
    ("custom_host", Type::Text, "Where to go instead of the provider's address."),
    ("forward_headers", Type::Texts, "Client headers passed on."),
    ("request_timeout", Type::Number(0, 86_400_000), "Milliseconds to the answer's head, a try."),
    ("override_params", Type::Anything, "Fields set in the request body."),
    ("default_params", Type::Anything, "Fields set in the body where the client sent none."),
    ("drop_params", Type::Texts, "Paths taken out of the body, e.g. messages[*].name."),
    ("strict_open_ai_compliance", Type::Flag, "Whether answers keep to OpenAI's fields."),
    ("retry", Type::Object(RETRY), "Extra tries of the same target."),
    ("timeouts", Type::Object(TIMEOUTS), "Deadlines of this part; total bounds all of it."),
    ("cache", Type::Anything, "Loads without effect in this version."),
    ("cb_config", Type::Object(BREAKER), "The circuit breaker of each target."),
    ("affinity", Type::Object(AFFINITY), "loadbalance: what belongs together stays together."),
    ("rate_limit_aware", Type::Flag, "Pass over a target that said that it is out of quota."),
    ("hedge", Type::Object(HEDGE), "A second target is asked if the first is slow."),
    ("mirror", Type::Object(MIRROR), "A copy of requests to another target, its answer dropped."),
    ("input_guardrails", Type::ListOf("guardrail"), "What is checked of requests."),
    ("output_guardrails", Type::ListOf("guardrail"), "What is checked of answers."),
    ("input_mutators", Type::ListOf("guardrail"), "What rewrites requests."),
    ("output_mutators", Type::ListOf("guardrail"), "What rewrites answers."),
    ("before_request_hooks", Type::ListOf("hook"), "input_guardrails in Portkey's long form."),
    ("after_request_hooks", Type::ListOf("hook"), "output_guardrails in Portkey's long form."),
    ("default_input_guardrails", Type::ListOf("guardrail"), "For every target; at the top only."),
    ("default_output_guardrails", Type::ListOf("guardrail"), "For every target; at the top only."),
];

const STRATEGY: &[Row] = &[
    (
        "mode",
        Type::Choice(&["single", "fallback", "loadbalance", "conditional", "latency"]),
        "The first, in order, by weight, by what the request says, the faster of two drawn.",
    ),
    ("on_status_codes", Type::Statuses, "fallback: only these lead to the next target."),
    ("conditions", Type::ListOf("condition"), "conditional: the first that holds decides."),
    ("default", Type::Text, "conditional: the name of the target if no condition holds."),
    ("sticky", Type::Object(STICKY), "loadbalance: equal fields, equal target."),
    ("cb_config", Type::Object(BREAKER), "The circuit breaker of each target."),
];

const CREDENTIAL: &[Row] = &[
    ("key", Type::Text, "The provider's credential; write ${NAME} for a variable."),
    ("weight", Type::Number(0, 1_000_000_000), "Its share of the requests; 1 if not given."),
];

const BREAKER: &[Row] = &[
    ("failure_threshold", Type::Number(1, 1_000_000), "Failures in a minute that open it."),
    ("failure_threshold_percentage", Type::Number(0, 100), "The same as a share of requests."),
    ("minimum_requests", Type::Number(1, 1_000_000), "The share counts from so many on; 10."),
    ("cooldown_interval", Type::Number(30_000, 86_400_000), "Milliseconds until a probe; 30000."),
    ("failure_status_codes", Type::Statuses, "What is a failure; 500 and above if not given."),
];

const STICKY: &[Row] = &[
    ("enabled", Type::Flag, "Whether requests of equal fields take the same target."),
    ("hash_fields", Type::Texts, "metadata.NAME, params.NAME, url.pathname, conversation."),
    ("ttl", Type::Number(1, 31_536_000_000), "Seconds for which that holds at least."),
];

const AFFINITY: &[Row] = &[
    ("fields", Type::Texts, "As hash_fields of sticky; the conversation if not given."),
    ("prefix_bytes", Type::Number(16, 65_536), "How much of each counts; 4096 if not given."),
];

const HEDGE: &[Row] = &[
    (
        "after",
        Type::Either(&[Type::Reference("duration"), Type::Choice(&["p95"])]),
        "How long the first may take; p95: as long as 95 of 100 of its answers took lately.",
    ),
    ("max_ratio", Type::Number(0, 1), "The most hedges a request; 0.05 if not given."),
];

const MIRROR: &[Row] = &[
    ("target", Type::Reference("config"), "One target."),
    ("sample", Type::Number(0, 1), "The share of requests; 1 if not given."),
];

const CONDITION: &[Row] = &[
    (
        "query",
        Type::Anything,
        "What must hold of metadata.NAME, params.NAME and url.pathname: values, or $eq $ne $gt $gte $lt $lte $in $nin \
         $regex; $and and $or take lists of queries.",
    ),
    ("then", Type::Text, "The name of the target that is chosen."),
];

const RETRY: &[Row] = &[
    ("attempts", Type::Number(0, 10), "Extra tries."),
    ("on_status_codes", Type::Statuses, "What is tried again; 429, 500, 502, 503, 504, 529."),
    ("use_retry_after_header", Type::Flag, "A 429's retry-after sets the wait."),
    ("use_retry_after_headers", Type::Flag, "The same, in the other spelling."),
    ("jitter", Type::Flag, "false: the back-off gets nothing on top."),
];

const API_KEY: &[Row] = &[
    ("name", Type::Text, "Its name in the log."),
    ("key_sha256", Type::Text, "From `trunkline key new`: 64 hexadecimal digits."),
    ("expires", Type::Text, "When it stops working, e.g. 2027-01-31T00:00:00Z."),
    ("config", Type::Reference("name"), "The config used when a request names none."),
    ("metadata", Type::Metadata, "Metadata that wins over the request's."),
    ("allow", Type::Object(ALLOW), "What it may use; anything if not given."),
];

const ALLOW: &[Row] = &[
    ("configs", Type::Texts, "Named configs; naming any turns inline configs off."),
    ("virtual_keys", Type::Texts, "Virtual keys."),
    ("providers", Type::Texts, "Providers."),
    ("models", Type::Texts, "Models, as globs."),
    ("inline", Type::Flag, "Configs in request headers."),
];
