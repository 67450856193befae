//! Every bound of the program that is not a setting, with its reason. Settings have their defaults here too.

use std::time::Duration;

/// Default and largest request head, in bytes: room for 16 metadata pairs, an inline config and cookies.
pub const HEAD_BYTES_DEFAULT: usize = 64 * 1024;
/// Header lines a head may have: httparse fills a fixed table, and no SDK sends a third of this.
pub const HEADERS_MAX: usize = 100;
/// Longest header name in bytes. Real names stay under 64.
pub const HEADER_NAME_BYTES_MAX: usize = 256;
/// Longest response head taken from an upstream, in bytes.
pub const UPSTREAM_HEAD_BYTES_MAX: usize = 64 * 1024;
/// 1xx answers skipped before the real one; more is a broken peer.
pub const INTERIM_RESPONSES_MAX: usize = 16;

/// Default bound on a buffered request body, in bytes.
pub const BODY_BYTES_DEFAULT: u64 = 32 << 20;
/// Default bound on a streamed upload, in bytes.
pub const UPLOAD_BYTES_DEFAULT: u64 = 1 << 30;
/// Longest chunk-size line, extensions included, in bytes.
pub const CHUNK_LINE_BYTES_MAX: usize = 1024;
/// Longest trailer section, in bytes.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Nesting of JSON that the scanner follows before it refuses the body.
pub const JSON_DEPTH_MAX: usize = 128;
/// Longest single event of a stream that is held whole for inspection, in bytes. A longer one on a same-format
/// stream passes uninspected; on a translated one it is a broken upstream.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// Bytes held back before a stream is committed to the client.
pub const COMMIT_BYTES_MAX: usize = 64 * 1024;
/// Events held back before a stream is committed to the client.
pub const COMMIT_EVENTS_MAX: usize = 64;
/// Largest plain answer that is buffered for translation, in bytes.
pub const REPLY_BYTES_MAX: usize = 32 << 20;
/// Largest captured value (usage, model, error) of a plain answer that passes through, in bytes.
pub const TAP_VALUE_BYTES_MAX: usize = 16 * 1024;

/// Read buffer of a connection in use, in bytes.
pub const READ_BUFFER_BYTES: usize = 16 * 1024;
/// Read buffers a core keeps for reuse.
pub const POOLED_BUFFERS_MAX: usize = 1024;

/// Nesting of a routing policy.
pub const POLICY_DEPTH_MAX: usize = 10;
/// Leaves of a routing policy; bounds the attempts of one exchange together with `RETRY_ATTEMPTS_MAX`.
pub const POLICY_LEAVES_MAX: usize = 256;
/// Retries of one target. Portkey documents 5; the contract allows 10.
pub const RETRY_ATTEMPTS_MAX: u32 = 10;
/// Longest total wait that `Retry-After` may cause in one exchange.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Inline config header, in bytes.
pub const INLINE_CONFIG_BYTES_MAX: usize = 32 * 1024;

/// Metadata pairs of one request.
pub const METADATA_PAIRS_MAX: usize = 16;
/// Characters of a metadata key or value.
pub const METADATA_CHARS_MAX: usize = 128;
/// Visible ASCII characters of a trace id.
pub const TRACE_ID_BYTES_MAX: usize = 128;

/// Idle upstream connections a core keeps for one origin.
pub const POOL_IDLE_PER_ORIGIN_MAX: usize = 128;
/// Origins a core keeps idle connections for.
pub const POOL_ORIGINS_MAX: usize = 512;
/// How long an upstream connection may idle before it is closed: below the 60 s of common load balancers.
pub const POOL_IDLE_FOR: Duration = Duration::from_secs(55);

/// How long a resolved name is used before it is asked for again.
pub const DNS_FRESH_FOR: Duration = Duration::from_secs(30);
/// How long a failed look-up is remembered.
pub const DNS_NEGATIVE_FOR: Duration = Duration::from_secs(2);
/// Names a core remembers.
pub const DNS_NAMES_MAX: usize = 1024;

/// How long a client may idle between requests.
pub const KEEP_ALIVE_FOR: Duration = Duration::from_secs(75);
/// How long a client may take to send a head, once begun.
pub const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long a client may pause while it sends a body.
pub const BODY_IDLE_FOR: Duration = Duration::from_secs(30);
/// How long running exchanges may go on after SIGTERM.
pub const DRAIN_FOR: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take, on either side.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

const _: () = assert!(HEADER_NAME_BYTES_MAX < HEAD_BYTES_DEFAULT);
const _: () = assert!(READ_BUFFER_BYTES <= HEAD_BYTES_DEFAULT);
const _: () = assert!(COMMIT_BYTES_MAX <= EVENT_BYTES_MAX);
const _: () = assert!(INLINE_CONFIG_BYTES_MAX < HEAD_BYTES_DEFAULT);

/// Configuration file, in bytes: thousands of virtual keys and API keys stay under 2 MiB.
pub const CONFIG_FILE_BYTES_MAX: usize = 16 << 20;
/// Nesting of the configuration file: a policy at its deepest takes two levels a node, below `configs.NAME`.
pub const CONFIG_FILE_DEPTH_MAX: usize = 64;
/// Nodes of the configuration file once aliases are expanded: a "billion laughs" file ends here.
pub const CONFIG_FILE_NODES_MAX: usize = 250_000;
/// Mistakes reported at once; a reader of more has the wrong file.
pub const MISTAKES_MAX: usize = 1000;
/// Characters of a found value that a message shows.
pub const SHOWN_CHARS_MAX: usize = 60;
/// Longest name of a virtual key, config or API key: names are columns of the log.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest deadline a configuration may set.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Smallest request head limit: SDKs send about 1 KiB of headers.
pub const HEAD_BYTES_MIN: usize = 4 * 1024;
/// Largest buffered body limit: a body is held in memory whole.
pub const BODY_BYTES_MAX: u64 = 4 << 30;
/// Largest upload limit: a bound so that sizes cannot overflow.
pub const UPLOAD_BYTES_MAX: u64 = 1 << 50;
/// Most client connections that may be set: more than one address's ports.
pub const CONNECTIONS_MAX: usize = 10_000_000;
/// Most workers, and the highest core number plus one: the size of a `cpu_set_t`.
pub const WORKERS_MAX: usize = 1024;
/// Bounds on `log.sync`: below, the disk does nothing else; above, a power loss costs too much.
pub const LOG_SYNC_MIN: Duration = Duration::from_millis(1);
/// See [`LOG_SYNC_MIN`].
pub const LOG_SYNC_MAX: Duration = Duration::from_secs(60);
/// Largest weight of a target, so that a sum of weights stays finite.
pub const WEIGHT_MAX: f64 = 1e9;
/// Bytes of `override_params` that all leaves of one inline config may hold together: a parent's are copied into
/// each leaf, so that a small header could otherwise take megabytes.
pub const INLINE_OVERRIDE_BYTES_MAX: usize = 1 << 20;
/// Headers that one target may pass on.
pub const FORWARD_HEADERS_MAX: usize = 64;
/// Labels of a custom host's name.
pub const HOST_LABELS_MAX: usize = 10;
/// Characters of a custom host's name.
pub const HOST_BYTES_MAX: usize = 253;

const _: () = assert!(CONFIG_FILE_DEPTH_MAX > 2 * POLICY_DEPTH_MAX + 8);
