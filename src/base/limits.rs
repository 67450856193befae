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
/// Room that is made for a head that is written to an upstream, in bytes: most have 300.
pub const UPSTREAM_HEAD_BYTES_USUAL: usize = 512;
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
/// Members that the top level of a scanned object may have: duplicates are looked for among all of them, and no
/// provider knows a third of this.
pub const JSON_MEMBERS_MAX: usize = 256;
/// Longest top-level key of a scanned object, as written, in bytes; with the bound above it caps what the look for
/// duplicates may cost. Real keys stay under 64.
pub const JSON_KEY_BYTES_MAX: usize = 256;
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

/// Request heads that a core keeps to recognise: the SDKs of one service send a few different ones.
pub const SEEN_HEADS_MAX: usize = 64;
/// Longest request head that is kept, in bytes: most have 600, with an inline config 1,500.
pub const SEEN_HEAD_BYTES_MAX: usize = 2 * 1024;

/// Read buffer of a connection in use, in bytes.
pub const READ_BUFFER_BYTES: usize = 16 * 1024;
/// Longest head or body that is copied out of its read buffer, in bytes: twice what most requests have.
pub const COPIED_OUT_BYTES: usize = 4 * 1024;
/// Read buffers a core keeps for reuse.
pub const POOLED_BUFFERS_MAX: usize = 256;
/// Room for a read where messages are long, in bytes: most bodies that do not fit a read buffer fit here.
pub const LONG_BUFFER_BYTES: usize = 8 * READ_BUFFER_BYTES;
/// Such buffers that a core keeps for reuse, 4 MiB.
pub const POOLED_LONG_BUFFERS_MAX: usize = 32;

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

/// How long civil time is reckoned from one look at the system's: a clock that is set shows within that time.
pub const CIVIL_TIME_FOR: Duration = Duration::from_secs(1);
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
/// How long what a cut ends may still wait: for its client to take the last event, and to close.
pub const CUT_WITHIN: Duration = Duration::from_millis(300);
/// How long a process that was told to end at once waits for its log: a disk takes longer than the cut.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long the TLS handshake of a client may take; that of an upstream is part of connecting.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Empty lines skipped before a request line: RFC 9112 section 2.2 asks for one, old clients add one after a body.
pub const LEADING_EMPTY_LINES_MAX: u8 = 4;
/// Header names that `Connection` may list; each is compared with every header when a head is passed on.
pub const CONNECTION_NAMES_MAX: usize = 16;
/// Digits of a chunk size: all that a `u64` holds.
pub const CHUNK_DIGITS_MAX: u8 = 16;
/// Bytes of chunk-size lines beyond what the chunks' own data pays for, so that a byte of body cannot cost a
/// kilobyte of chunk extensions over and over.
pub const CHUNK_OVERHEAD_BYTES_MAX: u64 = 16 * 1024;
/// Largest token count believed of a provider: no request has a trillion tokens, and sums of eight still fit.
pub const TOKEN_COUNT_MAX: u64 = 1_000_000_000_000;
/// How much of a stream's error that is not JSON is shown to the caller, in bytes.
pub const ERROR_TEXT_BYTES_MAX: usize = 512;
/// Longest provider name that is looked up, in bytes: longer than any, and it keeps a hostile header from being copied.
pub const PROVIDER_NAME_BYTES_MAX: usize = 64;

const _: () = assert!(HEADER_NAME_BYTES_MAX < HEAD_BYTES_DEFAULT);
const _: () = assert!(READ_BUFFER_BYTES <= HEAD_BYTES_DEFAULT);
const _: () = assert!(COMMIT_BYTES_MAX <= EVENT_BYTES_MAX);
const _: () = assert!(INLINE_CONFIG_BYTES_MAX < HEAD_BYTES_DEFAULT);

/// Parts of one vectored write; the kernel refuses more than 1024 (IOV_MAX).
pub const IOVECS_MAX: usize = 1024;
/// Longest vectored write whose parts are copied together first, in bytes. To hold on to the read buffers of 10 KB
/// until they are sent costs 5 % more CPU a request than to copy them.
pub const JOINED_WRITE_BYTES: usize = 16 * 1024;
/// Written lists that a core keeps for reuse.
pub const POOLED_LISTS_MAX: usize = 64;
/// Parts that such a list has room for; one that grew beyond is let go.
pub const POOLED_LIST_PARTS_MAX: usize = 64;
/// Threads that run getaddrinfo: a name whose servers do not answer must not hold up the others.
pub const DNS_THREADS: usize = 4;
/// Addresses kept of one name.
pub const DNS_ADDRESSES_MAX: usize = 16;
/// Plaintext that lies in a session before more is opened, in bytes: a record. The session would refuse more than that
/// and one record.
pub const TLS_OPENED_BYTES_MAX: usize = 16 * 1024;
/// Plaintext sealed at a time, in bytes: four records, so that a large body is not doubled in memory.
pub const TLS_PIECE_BYTES: usize = 64 * 1024;

/// Descriptors that a core waits for at once: more than a process may have open by any usual limit.
pub const SOURCES_MAX: usize = 1 << 24;
/// Pieces of memory that a task may say it will look at.
pub const EXPECTED_EXTENTS: usize = 5;
/// Tasks that are polled before the driver is asked again: tasks that wake each other keep nobody from being read.
pub const TASKS_A_TURN: usize = 256;
/// Pages that are received ahead of a slow reader: then no more is taken from the socket until it has them, and the
/// peer must wait. What comes before the kernel has stopped is on top, a megabyte at most.
pub const PAGES_AHEAD_MAX: usize = 4;
/// Short messages in a row after which a connection that had long ones is taken for one of short ones again.
pub const DIRECT_MESSAGES: u8 = 8;
/// Room behind what a buffer holds from which on it is received into directly: a long body is on its way.
pub const DIRECT_READ_BYTES: usize = 2 * READ_BUFFER_BYTES;
/// What long messages bring in one turn before it is others' turn, in bytes. About what the processor's cache holds:
/// what was received is then sent on from there, and a request of 100 KB costs 8 % less CPU than without a bound.
pub const DIRECT_BYTES_A_TURN: usize = 512 * 1024;
/// Longest write that is left to the end of a turn, in bytes; a longer one is sent at once, and waited for.
pub const UNSENT_BYTES_MAX: usize = 4 * READ_BUFFER_BYTES;
/// Writes that are gathered before they are sent, so that the first stream of a burst does not wait for the last one's
/// turn.
pub const SENDS_GATHERED_MAX: usize = 64;
/// Longest wait of the epoll driver: longer ones need a system call that old kernels and filters do not have.
pub const EPOLL_WAIT_MAX: Duration = Duration::from_secs(3600);
/// Connections that are accepted before others have a turn: a flood of them keeps nobody from being served.
pub const ACCEPTS_A_TURN: usize = 64;
/// Rings of a core's bell that are taken in one read: more make the next one return at once.
pub const BELL_READ_BYTES: usize = 64;

/// Submission entries of a core's ring: what a turn has gathered goes to the kernel when they are full.
pub const RING_ENTRIES: u32 = 64;
/// Completions that a core takes before it works on them.
pub const COMPLETIONS_A_TURN: usize = 128;
/// Completion entries of a core's ring: a burst of this many is taken in one turn.
pub const RING_COMPLETIONS: u32 = 4096;
/// How long a core waits after a failed accept.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// How long the accept queue must be quiet before a draining core closes its listener.
pub const ACCEPT_DRAIN: Duration = Duration::from_millis(20);

/// How long a closing connection is read for, so that its client sees the answer and not a reset.
pub const LINGER_FOR: Duration = Duration::from_secs(2);
/// Bytes read and thrown away meanwhile.
pub const LINGER_BYTES_MAX: usize = 4 << 20;
/// How often idle upstream connections are looked through.
pub const POOL_SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Wait before the first retry of a target; each further one doubles it.
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// Longest wait between two tries of a target: reached at the fifth retry and kept from then on.
pub const BACK_OFF_LONGEST: Duration = Duration::from_secs(16);
/// Jitter adds at most one part in this many to a back-off: 20 %.
pub const BACK_OFF_JITTER_DIVISOR: u64 = 5;

const _: () = assert!(BACK_OFF_FIRST.as_secs() <= BACK_OFF_LONGEST.as_secs());
const _: () = assert!(BACK_OFF_LONGEST.as_secs() < RETRY_AFTER_MAX.as_secs());
// -- the request log --
/// Longest text of a log record, in bytes; a longer one is cut and ends in `…`. Paths and messages stay far below.
pub const LOG_TEXT_BYTES_MAX: usize = 4 * 1024;
/// Entries of one list of a log record.
pub const LOG_LIST_MAX: usize = 256;
/// Longest log record, in bytes: the most a reader must hold. Lists stop growing before it is reached.
pub const LOG_RECORD_BYTES_MAX: usize = 256 * 1024;
/// Payload at which a block of the log is closed, in bytes: what one flipped byte can cost.
pub const LOG_BLOCK_BYTES: usize = 64 * 1024;
/// Longest logged body, in bytes; a longer one is cut and marked so.
pub const LOG_BODY_BYTES_MAX: usize = 32 << 20;
/// Longest payload of any block, in bytes: a compressed body and its head.
pub const LOG_PAYLOAD_BYTES_MAX: usize = LOG_BODY_BYTES_MAX + (1 << 20);
/// Size at which a segment is closed and the next begun, in bytes: one is read in a third of a second.
pub const LOG_SEGMENT_BYTES_MAX: u64 = 256 << 20;
/// Segments are not made smaller than this for a small retention, in bytes.
pub const LOG_SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Age at which a segment is closed even if it is small, so that retention by age has days to delete.
pub const LOG_SEGMENT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Page of a core's log queue, in bytes.
pub const LOG_PAGE_BYTES: usize = 64 * 1024;
/// Most that one core's log queue holds, in bytes: two seconds at 40,000 records of 400 bytes a second.
pub const LOG_QUEUE_BYTES_MAX: usize = 32 << 20;
/// Most that all cores' log queues hold together, in bytes.
pub const LOG_QUEUES_BYTES_MAX: usize = 512 << 20;
/// Least that one core's log queue may hold, in bytes, however many cores there are.
pub const LOG_QUEUE_BYTES_MIN: usize = 4 << 20;
/// A disk that refuses is complained of once in that time.
pub const LOG_COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// How often old segments are looked for.
pub const LOG_SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Bodies that wait to be logged, over all cores, in bytes.
pub const LOG_BODY_QUEUE_BYTES_MAX: usize = 64 << 20;

const _: () = assert!(LOG_RECORD_BYTES_MAX < LOG_PAYLOAD_BYTES_MAX);
const _: () = assert!(LOG_RECORD_BYTES_MAX < LOG_QUEUE_BYTES_MIN / 8);
const _: () = assert!(LOG_BLOCK_BYTES < LOG_PAYLOAD_BYTES_MAX);
/// How long a client may take to read an answer of Trunkline's own.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Largest error body of an upstream that is read to be wrapped or translated, in bytes.
pub const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;
/// How long an upstream may take to accept a piece of an upload.
pub const UPLOAD_WRITE_WITHIN: Duration = Duration::from_secs(60);
/// How often an exchange that waits for room in the log looks again.
pub const LOG_ROOM_PAUSE: Duration = Duration::from_millis(1);
/// Characters of an upstream's unreadable error that the client is shown.
pub const ERROR_EXCERPT_CHARS_MAX: usize = 2000;
/// Longest log filter, in bytes: the admin interface takes them from callers.
pub const FILTER_BYTES_MAX: usize = 4 * 1024;
/// Nesting of a log filter.
pub const FILTER_DEPTH_MAX: usize = 32;
/// Memory that one regular expression of a filter may compile to, in bytes.
pub const FILTER_REGEX_BYTES_MAX: usize = 1 << 20;
/// Largest request body that the sandbox keeps whole, in bytes: as much as the gateway buffers by default.
pub const SANDBOX_BODY_BYTES_MAX: usize = 32 << 20;
/// How much of an upload the sandbox keeps, to find the file's name in, in bytes; all of it is counted.
pub const SANDBOX_UPLOAD_KEPT_BYTES: usize = 64 * 1024;
/// Chunks that a sandbox script may ask for: a day at more than ten a second.
pub const SANDBOX_CHUNKS_MAX: usize = 1_000_000;
/// Bytes of one chunk that a sandbox script may ask for.
pub const SANDBOX_CHUNK_BYTES_MAX: usize = 1 << 20;
/// Text of a plain sandbox answer, in bytes: it is built whole. A stream is not, and may be longer.
pub const SANDBOX_TEXT_BYTES_MAX: u64 = 64 << 20;
/// Longest wait that a sandbox script may ask for.
pub const SANDBOX_WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Tool calls, choices, interim answers and the like of one sandbox answer.
pub const SANDBOX_REPEAT_MAX: usize = 128;
/// Numbers of one embedding of the sandbox.
pub const SANDBOX_DIMENSIONS_MAX: u64 = 4096;
/// Inputs of one embeddings request to the sandbox, the bound that OpenAI has.
pub const SANDBOX_INPUTS_MAX: usize = 2048;
/// Requests and disconnects that the sandbox remembers.
pub const SANDBOX_RECORDS_MAX: usize = 1024;
/// Bytes of a remembered request body.
pub const SANDBOX_RECORDED_BODY_BYTES_MAX: usize = 1 << 20;
/// How long the sandbox reads on after it refused a request, so that the refusal is not lost to a reset.
pub const SANDBOX_LINGER_FOR: Duration = Duration::from_secs(2);
/// First byte of the sandbox of `quickstart`.
pub const SANDBOX_FIRST_BYTE: Duration = Duration::from_millis(150);
/// Time between two chunks of the sandbox of `quickstart`.
pub const SANDBOX_INTERVAL: Duration = Duration::from_millis(30);

const _: () = assert!(SANDBOX_BODY_BYTES_MAX as u64 >= BODY_BYTES_DEFAULT);
const _: () = assert!(SANDBOX_UPLOAD_KEPT_BYTES <= SANDBOX_BODY_BYTES_MAX);

/// Connections that the kernel queues for a worker.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Descriptors kept for files, resolvers and the ring when connections are bounded from RLIMIT_NOFILE. Each client
/// connection may need one upstream connection too.
pub const DESCRIPTORS_KEPT: usize = 256;
/// What "unlimited" is taken for.
pub const DESCRIPTORS_UNLIMITED: usize = 1 << 20;
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

/// A pooled connection that ends so soon after a request was written had been closed by its peer before: the request
/// was not served and is sent again. One that ends later had the request.
pub const STALE_WITHIN: Duration = Duration::from_secs(1);
/// The slowest that an upstream may take a request, in bytes a second, after the time that its first byte may take.
pub const SEND_BYTES_PER_SECOND_MIN: u64 = 64 * 1024;
// -- conditions --
/// Nesting of `$and` and `$or` in a condition. Written ones need two.
pub const CONDITION_DEPTH_MAX: usize = 16;
/// Compiled size of one regular expression in a condition of the file, in bytes.
pub const CONDITION_REGEX_BYTES_MAX: usize = 1 << 20;
/// The same in an inline config, which is compiled for one request.
pub const INLINE_REGEX_BYTES_MAX: usize = 128 << 10;
/// Regular expressions of one inline config: what a request may cost before it is sent.
pub const INLINE_REGEXES_MAX: usize = 16;
/// How much of a text the regular expressions of conditions read, in bytes: a body field may have millions, and the
/// request that brings them may bring the expressions too.
pub const CONDITION_TEXT_BYTES_MAX: usize = 64 << 10;
/// How much of a request's or answer's body the exchange keeps for the log, in bytes; of a longer one the beginning.
pub const BODY_BYTES_LOGGED_MAX: usize = 1 << 20;

const _: () = assert!(BODY_BYTES_LOGGED_MAX <= LOG_BODY_BYTES_MAX);

// -- parameters --
/// Paths that `drop_params` may name for one target: each may walk through the whole body.
pub const DROP_PARAMS_MAX: usize = 64;
/// Steps of such a path, the top-level field included; written ones need four.
pub const DROP_PATH_STEPS_MAX: usize = 8;

// -- the health of targets --
/// Failures and requests count for a breaker for so long, at least for half of it.
pub const BREAKER_WINDOW: Duration = Duration::from_secs(60);
/// Shortest time that a breaker stays open; Portkey's bound.
pub const BREAKER_COOLDOWN_MIN: Duration = Duration::from_secs(30);
/// From so many requests on the share of failures counts, where the config does not say.
pub const BREAKER_REQUESTS_MIN: u32 = 10;
/// Largest number of failures or requests that a breaker may ask for: its counters hold a little more.
pub const BREAKER_REQUESTS_MAX: u32 = 1_000_000;
/// How much of each hashed field counts, in bytes, where the config does not say: a long system prompt.
pub const HASH_BYTES_DEFAULT: usize = 4 * 1024;
/// The most that may count: it is read on each request.
pub const HASH_BYTES_MAX: usize = 64 * 1024;
/// Fields that are hashed.
pub const HASH_FIELDS_MAX: usize = 16;
/// Messages that are looked through for the first of the user: system prompts are few.
pub const HASH_MESSAGES_MAX: usize = 32;
/// With affinity, a target may run this much more than its share: five fourths.
pub const AFFINITY_LOAD_MAX: f64 = 1.25;
/// A latency that is not confirmed loses two thirds of its weight in that time.
pub const LATENCY_FADES_IN: Duration = Duration::from_secs(10);
/// What a try that failed is taken to have lasted: a target that fails fast must not look fast.
pub const LATENCY_OF_FAILURE: Duration = Duration::from_secs(10);
/// What a target is taken to need while its first answer is awaited, so that one nobody knows is not flooded.
pub const LATENCY_UNKNOWN: Duration = Duration::from_secs(1);
/// How often a core tells the others what it learnt, failures apart, which it tells at once.
pub const HEALTH_TOLD_EVERY: Duration = Duration::from_millis(100);
/// Targets and credentials of the file whose health is kept.
pub const HEALTH_TARGETS_MAX: usize = 64 * 1024;
/// Targets of configs that came with requests whose health is kept; the longest unused make room.
pub const HEALTH_INLINE_TARGETS_MAX: usize = 4 * 1024;
/// How long they are kept while nobody asks: longer than most breakers stay open.
pub const HEALTH_INLINE_FOR: Duration = Duration::from_secs(600);
/// The smallest share of hedges that a config may name: below it there would be next to none.
pub const HEDGE_RATIO_MIN: f64 = 0.001;
/// The share of hedges where a config names none.
pub const HEDGE_RATIO_DEFAULT: f64 = 0.05;
/// Hedges that a target may have saved up, so that a slow moment finds some. Where just as many answers are slow as may
/// be hedged, chance leaves one slow answer in a hundred without a hedge; with ten saved up it is one in twenty.
pub const HEDGES_SAVED_MAX: f64 = 50.0;
/// Answers of which a target's p95 is known; with fewer it is not hedged.
pub const HEDGE_ANSWERS_MIN: u32 = 20;
/// Answers after which the older ones count half.
pub const HEDGE_ANSWERS_MAX: u32 = 1000;
/// What a hedged try gets beyond its total before it is given up: it should have ended itself.
pub const HEDGE_GRACE: Duration = Duration::from_secs(1);
/// What a client that is slow to take its answer gets beyond the total, to take what was sent and be told why it ends.
pub const TOTAL_GRACE: Duration = Duration::from_secs(5);
/// Copies for mirrors that a core has under way; over it none is begun.
pub const MIRRORS_IN_FLIGHT_MAX: usize = 256;
/// How long a credential that was refused (401, 403) is left alone.
pub const CREDENTIAL_DEAD_FOR: Duration = Duration::from_secs(60);
/// How long a target or credential is left alone after a 429 that does not say for how long.
pub const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(5);
/// The longest that a provider's word on its quota is believed.
pub const RATE_LIMIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Credentials behind one virtual key: which were tried is kept in one word.
pub const CREDENTIALS_MAX: usize = 64;

const _: () = assert!(BREAKER_WINDOW.as_secs() >= BREAKER_COOLDOWN_MIN.as_secs());
const _: () = assert!(CREDENTIALS_MAX <= u64::BITS as usize);

// -- the admin interface --
/// Connections to the admin interface at once: a person, a scraper and a few scripts. More wait in the kernel.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Largest request head of the admin interface, in bytes; hyper takes no smaller bound.
pub const ADMIN_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines of a request to the admin interface.
pub const ADMIN_HEADERS_MAX: usize = 64;
/// How long a client of the admin interface may take to send a head, the wait between two requests included.
pub const ADMIN_HEAD_WITHIN: Duration = Duration::from_secs(15);
/// How long one connection to the admin interface lives: a client that reads nothing must not keep its place.
pub const ADMIN_CONNECTION_FOR: Duration = Duration::from_secs(600);
/// Largest request body that the admin interface admits, in bytes: one that describes a request to be explained.
pub const ADMIN_BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long the admin interface waits after a failed accept.
pub const ADMIN_ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Largest file that is taken for a kept admin token, in bytes.
pub const ADMIN_TOKEN_FILE_BYTES_MAX: u64 = 1024;
/// Shortest kept admin token that is believed, in bytes.
pub const ADMIN_TOKEN_BYTES_MIN: usize = 16;
/// Epochs that the admin interface tells of.
pub const EPOCHS_TOLD_MAX: usize = 32;
/// A credential must be this long before its last 4 characters are shown, so that they tell nothing worth having.
pub const CREDENTIAL_BYTES_SHOWN_MIN: usize = 16;

const _: () = assert!(ADMIN_CONNECTIONS_MAX < DESCRIPTORS_KEPT / 2);
/// How long a client may take at least for what was read of an answer at once, however short `timeouts.idle` is.
pub const CLIENT_TAKES_WITHIN: Duration = Duration::from_secs(60);

// -- admission, and what the gateway tells of itself --
/// Default ceiling of the memory that is accounted, in bytes.
pub const MEMORY_BYTES_DEFAULT: u64 = 2 << 30;
/// Smallest such ceiling, in bytes: a few hundred exchanges and some bodies.
pub const MEMORY_BYTES_MIN: u64 = 16 << 20;
/// Largest such ceiling, in bytes: no machine has more, and sums of it cannot overflow.
pub const MEMORY_BYTES_MAX: u64 = 1 << 50;
/// What an exchange is taken to hold besides the bodies that are counted, in bytes: its task, its heads, a read buffer.
/// Most hold less; one with a buffer on either side, more.
pub const EXCHANGE_BYTES: u64 = READ_BUFFER_BYTES as u64;
/// What `limits.in_flight: auto` is: no bound of its own, since each exchange has a connection and memory.
pub const IN_FLIGHT_AUTO: u64 = 1 << 40;
/// Exchanges that a core takes from the process's ceiling at a time.
pub const IN_FLIGHT_LEASE_MAX: u64 = 64;
/// Bytes that a core takes from the process's ceiling at a time.
pub const MEMORY_LEASE_BYTES_MAX: u64 = 1 << 20;
/// A core takes at most one part in this many of a ceiling, divided by the cores, at a time: what idles as change on
/// some cores while another is refused stays below an eighth.
pub const LEASE_DIVISOR: u64 = 16;
/// Seconds after which a client that was refused is asked to come back, at least.
pub const RETRY_AFTER_SECONDS: u64 = 1;
/// Seconds of chance on top, so that those refused together do not come back together.
pub const RETRY_AFTER_JITTER_SECONDS: u64 = 2;
/// How often a core's event loop is timed, and what goes with it: ten samples a second show a stall of 100 ms always,
/// and cost nothing.
pub const LAG_SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// The longest lag is told of the last one to two of these spans.
pub const LAG_RECENT_FOR: Duration = Duration::from_secs(5);
/// Slow requests of one core that wait to be told; older ones give way.
pub const SLOW_WAITING_MAX: usize = 64;
/// Slow requests that the admin interface tells of.
pub const SLOW_KEPT_MAX: usize = 128;
/// Attempts of a slow request that are told.
pub const SLOW_ATTEMPTS_MAX: usize = 16;
/// Characters of each text of a slow request that are told.
pub const SLOW_TEXT_CHARS_MAX: usize = 96;
/// Slow requests written on stderr in each [`SLOW_SAID_EVERY`]; the others are counted.
pub const SLOW_SAID_MAX: usize = 20;
/// See [`SLOW_SAID_MAX`].
pub const SLOW_SAID_EVERY: Duration = Duration::from_secs(10);

const _: () = assert!(EXCHANGE_BYTES * 64 < MEMORY_BYTES_MIN);
const _: () = assert!(MEMORY_BYTES_MAX < i64::MAX as u64 / 2);
const _: () = assert!(IN_FLIGHT_AUTO < i64::MAX as u64 / 2);

// -- what stands before and behind --
/// Longest header of the PROXY protocol, in bytes: its addresses take 52, and the rest that balancers add, the name
/// and certificate fields of TLS among it, fits many times over.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 * 1024;
/// Networks that may be listed as trusted proxies: each request of theirs is compared with all.
pub const TRUSTED_PROXIES_MAX: usize = 256;
/// Hops of `X-Forwarded-For` that are walked: no real chain has a third of this, and a caller may write thousands.
pub const FORWARDED_HOPS_MAX: usize = 32;
/// Origins that may be listed for CORS: each request of a browser is compared with all.
pub const CORS_ORIGINS_MAX: usize = 256;
/// How long a browser may remember the answer to a preflight; a change of the file is seen that much later.
pub const CORS_MAX_AGE: Duration = Duration::from_secs(600);
/// Entries of `egress_proxy.no_proxy`: each attempt is compared with all.
pub const NO_PROXY_MAX: usize = 256;

// -- guardrails --
/// Guardrails of one target, each way. Written configs have three.
pub const GUARDRAILS_MAX: usize = 32;
/// Checks of one guardrail.
pub const GUARDRAIL_CHECKS_MAX: usize = 32;
/// Words, keys, models and the like of one check.
pub const GUARDRAIL_WORDS_MAX: usize = 1024;
/// Checks that all guardrails of one inline config may have together: they are compiled and made for one request.
pub const INLINE_GUARDRAIL_CHECKS_MAX: usize = 64;
/// Compiled size of one regular expression of a guardrail of the file, in bytes.
pub const GUARDRAIL_REGEX_BYTES_MAX: usize = 4 << 20;
/// Longest text that guardrails judge, in bytes: half a million tokens. A longer one has not passed.
pub const GUARDRAIL_TEXT_BYTES_MAX: usize = 2 << 20;
/// Characters of a text that results quote.
pub const GUARDRAIL_EXCERPT_CHARS_MAX: usize = 100;
/// JSON values that are looked for in one text: each may be walked through once.
pub const GUARDRAIL_JSON_VALUES_MAX: usize = 64;
/// How long a webhook may take where its check does not say; Portkey's.
pub const WEBHOOK_WITHIN: Duration = Duration::from_secs(3);
/// The longest that a check may say.
pub const WEBHOOK_WITHIN_MAX: Duration = Duration::from_secs(60);
/// Largest answer of a webhook, in bytes: it may hold the rewritten body.
pub const WEBHOOK_ANSWER_BYTES_MAX: usize = 4 << 20;
/// Largest `data` of a webhook's that is handed on in results, in bytes.
pub const WEBHOOK_DATA_BYTES_MAX: usize = 16 << 10;
/// Headers that one webhook may be sent.
pub const WEBHOOK_HEADERS_MAX: usize = 32;
/// What calls of webhooks that nobody waits for may hold, a core, in bytes: a thousand small ones.
pub const WEBHOOKS_UNAWAITED_BYTES_MAX: usize = 16 << 20;
/// URLs of one text that `validUrls` looks at; a text with more has not passed.
pub const GUARDRAIL_URLS_MAX: usize = 16;
/// Bytes of events that a guarded stream holds back: about a thousand tokens as OpenAI sends them.
pub const STREAM_HELD_BYTES_MAX: usize = 256 << 10;
/// Text that a stream holds back when it is judged as it goes, in bytes: what is looked for must not be longer to be
/// found before its beginning is out.
pub const STREAM_WINDOW_BYTES: usize = 1 << 10;
/// Alternatives of one stream whose texts are kept apart; further ones are judged as part of the last.
pub const STREAM_CHOICES_MAX: usize = 16;
/// Subschemas of one JSON Schema.
pub const SCHEMA_NODES_MAX: usize = 2048;
/// Rules of a JSON Schema that are looked at for one value: a few milliseconds.
pub const SCHEMA_STEPS_MAX: usize = 200_000;
/// Ways in which a value does not fit that are told.
pub const SCHEMA_MISFITS_MAX: usize = 16;

const _: () = assert!(STREAM_WINDOW_BYTES < STREAM_HELD_BYTES_MAX);
const _: () = assert!(STREAM_HELD_BYTES_MAX < GUARDRAIL_TEXT_BYTES_MAX);
const _: () = assert!(WEBHOOK_DATA_BYTES_MAX < WEBHOOK_ANSWER_BYTES_MAX);
