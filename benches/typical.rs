//! A log record as most are.

use trunkline::wire::record::{AttemptRef, RecordRef, Times, UsageRecord};

/// A record of about 380 bytes, with one attempt.
pub fn with_typical(core: u16, process: u64, sequence: u64, use_it: impl FnOnce(&RecordRef<'_>)) {
    let attempts = [AttemptRef {
        target: "config.targets[0]",
        provider: "openai",
        virtual_key: "openai-prod",
        credential: "",
        model: "gpt-4o-mini",
        status: 200,
        started: 40_000,
        ended: 900_000_000,
        left: "",
        detail: "",
        role: "",
    }];
    use_it(&RecordRef {
        core,
        sequence,
        process,
        request_id: u128::from(sequence) << 64 | 0x5eed,
        accepted_unix_nanos: 1_776_945_600_000_000_000 + sequence,
        times: Times {
            head: 10_000,
            body: 20_000,
            planned: 30_000,
            connected: 1_000_000,
            sent: 1_100_000,
            first_byte: 250_000_000,
            first_token: 260_000_000,
            last_byte: 900_000_000,
            flushed: 900_100_000,
        },
        api_key: "support-team",
        config: "support",
        epoch: 3,
        seed: 0x1234_5678_9abc_def0,
        dialect: "openai",
        method: "POST",
        path: "/v1/chat/completions",
        requested_model: "gpt-4o-mini",
        served_model: "gpt-4o-mini-2024-07-18",
        provider: "openai",
        virtual_key: "openai-prod",
        status: 200,
        attempts: &attempts,
        cache_status: "MISS",
        usage: Some(UsageRecord { input: 812, output: 164, ..UsageRecord::default() }),
        cost_pico_usd: Some(220_200_000),
        cost_status: "exact",
        price_table: "2026-04",
        client_bytes_in: 1_400,
        client_bytes_out: 9_000,
        client_address: "10.1.2.3:50123",
        trace_id: "0af7651916cd43dd8448eb211c80319c",
        metadata: &[("team", "support"), ("user", "u-4711")],
        stream: true,
        ..RecordRef::default()
    });
}
