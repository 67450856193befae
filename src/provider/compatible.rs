//! Hosts that speak OpenAI's format, one row each: name, base URL and what is peculiar. The adapter itself is
//! [`super::openai`]; a row only says where to go.
//!
//! `takes_usage` stands where the host, or the software behind it (vLLM, llama.cpp, Ollama, LM Studio, Xinference), is
//! known to accept `stream_options.include_usage`. Mistral refuses the field with a 422; it and many others send usage
//! unasked. Where nothing is known it is not asked for: a refused stream is worse than an estimated count. Renames that
//! would change a value's meaning, such as a frequency penalty turned into a repetition penalty (whose neutral value is
//! 1, not 0), are not made.

use super::openai::Host;

/// Every row, `openai` first.
pub static HOSTS: &[Host] = &[
    host("openai", "https://api.openai.com/v1").takes_usage().passes(OPENAI_HEADERS),
    host("anyscale", "https://api.endpoints.anyscale.com/v1").renames(OLDER_LIMIT),
    host("together-ai", "https://api.together.xyz").below("/v1").renames(OLDER_LIMIT).takes_usage(),
    host("perplexity-ai", "https://api.perplexity.ai").renames(OLDER_LIMIT),
    host("mistral-ai", "https://api.mistral.ai/v1").renames(MISTRAL),
    host("deepinfra", "https://api.deepinfra.com/v1/openai").renames(OLDER_LIMIT),
    host("ncompass", "https://api.ncompass.tech/v1").renames(OLDER_LIMIT),
    host("groq", "https://api.groq.com/openai/v1").takes_usage(),
    host("fireworks-ai", "https://api.fireworks.ai/inference/v1")
        .renames(OLDER_LIMIT)
        .takes_usage(),
    host("moonshot", "https://api.moonshot.cn").below("/v1").renames(OLDER_LIMIT),
    host("openrouter", "https://openrouter.ai/api")
        .below("/v1")
        .renames(OLDER_LIMIT)
        .takes_usage()
        .passes(OPENROUTER_HEADERS)
        .sends(&[("x-title", "Trunkline")]),
    host("lingyi", "https://api.lingyiwanwu.com").below("/v1").renames(OLDER_LIMIT),
    host("zhipu", "https://open.bigmodel.cn/api/paas/v4"),
    host("novita-ai", "https://api.novita.ai/v3/openai").below("/v1").renames(OLDER_LIMIT),
    host("monsterapi", "https://llm.monsterapi.ai/v1"),
    host("deepseek", "https://api.deepseek.com").below("/v1").renames(OLDER_LIMIT).takes_usage(),
    host("deepbricks", "https://api.deepbricks.ai/v1").renames(OLDER_LIMIT),
    host("siliconflow", "https://api.siliconflow.cn/v1").renames(OLDER_LIMIT),
    host("cerebras", "https://api.cerebras.ai/v1")
        .sends(&[("user-agent", concat!("Trunkline/", env!("CARGO_PKG_VERSION")))]),
    host("inference-net", "https://api.inference.net/v1"),
    host("sambanova", "https://api.sambanova.ai").below("/v1"),
    host("lemonfox-ai", "https://api.lemonfox.ai/v1"),
    host("upstage", "https://api.upstage.ai/v1/solar"),
    host("lambda", "https://api.lambdalabs.com/v1"),
    host("dashscope", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1").takes_usage(),
    host("x-ai", "https://api.x.ai/v1"),
    host("nebius", "https://api.studio.nebius.ai/v1"),
    host("lepton", "https://api.lepton.ai").below("/api/v1"),
    host("kluster-ai", "https://api.kluster.ai/v1"),
    host("nscale", "https://inference.api.nscale.com/v1"),
    host("hyperbolic", "https://api.hyperbolic.xyz").below("/v1"),
    host("featherless-ai", "https://api.featherless.ai/v1"),
    host("krutrim", "https://cloud.olakrutrim.com/v1"),
    host("302ai", "https://api.302.ai").below("/v1"),
    host("cometapi", "https://api.cometapi.com/v1"),
    host("matterai", "https://api.matterai.so/v1"),
    host("nextbit", "https://api.nextbit256.com/v1"),
    host("modal", "https://api.modal.com/v1"),
    host("z-ai", "https://api.z.ai/api/paas/v4"),
    host("iointelligence", "https://api.intelligence.io.solutions/api/v1"),
    host("aibadgr", "https://aibadgr.com/api/v1"),
    host("ovhcloud", "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1"),
    host("publicai", "https://api.publicai.co/v1").renames(OLDER_LIMIT),
    host("helicone", "https://ai-gateway.helicone.ai"),
    host("veniceai", "https://api.venice.ai/api/v1"),
    host("xiaomi_mimo", "https://api.xiaomimimo.com/v1").renames(OLDER_LIMIT),
    host("scaleway", "https://api.scaleway.ai/v1"),
    host("synthetic", "https://api.synthetic.new/openai/v1").renames(OLDER_LIMIT),
    host("apertis", "https://api.stima.tech/v1").renames(OLDER_LIMIT),
    host("nano-gpt", "https://nano-gpt.com/api/v1").renames(OLDER_LIMIT),
    host("poe", "https://api.poe.com/v1").renames(OLDER_LIMIT),
    host("chutes", "https://llm.chutes.ai/v1").renames(OLDER_LIMIT),
    host("abliteration", "https://api.abliteration.ai/v1"),
    host("llamagate", "https://api.llamagate.dev/v1").renames(OLDER_LIMIT),
    host("gmi", "https://api.gmi-serving.com/v1"),
    host("sarvam", "https://api.sarvam.ai/v1").renames(OLDER_LIMIT),
    host("assemblyai", "https://llm-gateway.assemblyai.com/v1"),
    host("charity_engine", "https://api.charityengine.services/remotejobs/v2/inference")
        .renames(OLDER_LIMIT),
    host("aihubmix", "https://aihubmix.com/v1"),
    host("crusoe", "https://managed-inference-api-proxy.crusoecloud.com/v1").renames(OLDER_LIMIT),
    host("darkbloom", "https://api.darkbloom.dev/v1").renames(OLDER_LIMIT),
    host("neosantara", "https://api.neosantara.xyz/v1").renames(OLDER_LIMIT),
    host("tensormesh", "https://serverless.tensormesh.ai/v1").renames(OLDER_LIMIT),
    host("parasail", "https://api.parasail.io/v1"),
    host("libertai", "https://api.libertai.io/v1").renames(OLDER_LIMIT),
    host("empiriolabs", "https://api.empiriolabs.ai/v1").renames(OLDER_LIMIT),
    host("meta", "https://api.meta.ai/v1"),
    host("cognition", "https://api.cognition.ai/v1"),
    host("cortecs", "https://api.cortecs.ai/v1"),
    host("pinstripes", "https://pinstripes.io/v1").renames(OLDER_LIMIT),
    host("scx-ai", "https://api.scx.ai/v1").renames(OLDER_LIMIT),
    host("prism", "https://api.prisminference.com/v1"),
    host("sail", "https://api.sailresearch.com/v1"),
    host("reka", "https://api.reka.ai/v1"),
    host("nvidia_nim", "https://integrate.api.nvidia.com/v1"),
    host("friendliai", "https://api.friendli.ai/serverless/v1"),
    host("meta_llama", "https://api.llama.com/compat/v1"),
    host("modelscope", "https://api-inference.modelscope.cn/v1"),
    host("v0", "https://api.v0.dev/v1"),
    host("morph", "https://api.morphllm.com/v1"),
    host("inception", "https://api.inceptionlabs.ai/v1"),
    host("vercel_ai_gateway", "https://ai-gateway.vercel.sh/v1"),
    host("wandb", "https://api.inference.wandb.ai/v1"),
    host("clarifai", "https://api.clarifai.com/v2/ext/openai/v1"),
    host("edenai", "https://api.edenai.run/v3"),
    host("galadriel", "https://api.galadriel.ai/v1"),
    host("empower", "https://app.empower.dev/api/v1"),
    host("codestral", "https://codestral.mistral.ai/v1"),
    host("moonshot-intl", "https://api.moonshot.ai/v1"),
    host("dashscope-cn", "https://dashscope.aliyuncs.com/compatible-mode/v1").takes_usage(),
    host("vllm", "http://localhost:8000/v1").takes_usage().optional_key(),
    host("ollama", "http://localhost:11434/v1").takes_usage().optional_key(),
    host("lm_studio", "http://localhost:1234/v1").takes_usage().optional_key(),
    host("llamafile", "http://localhost:8080/v1").takes_usage().optional_key(),
    host("xinference", "http://localhost:9997/v1").takes_usage().optional_key(),
    host("openai-compatible", "").optional_key(),
];

/// Other spellings that users bring along, and the row that they mean. `_` and `-` are the same, as is case.
pub static ALIASES: &[(&str, &str)] = &[
    ("custom-openai", "openai-compatible"),
    ("openai-like", "openai-compatible"),
    ("fireworks", "fireworks-ai"),
    ("friendli", "friendliai"),
    ("hosted-vllm", "vllm"),
    ("io-intelligence", "iointelligence"),
    ("kimi", "moonshot-intl"),
    ("lambda-ai", "lambda"),
    ("lemonfox", "lemonfox-ai"),
    ("llama-api", "meta_llama"),
    ("lmstudio", "lm_studio"),
    ("mistral", "mistral-ai"),
    ("nanogpt", "nano-gpt"),
    ("novita", "novita-ai"),
    ("nvidia", "nvidia_nim"),
    ("perplexity", "perplexity-ai"),
    ("together", "together-ai"),
    ("venice", "veniceai"),
    ("venice-ai", "veniceai"),
    ("xai", "x-ai"),
    ("zai", "z-ai"),
    ("zhipuai", "zhipu"),
];

const fn host(name: &'static str, base_url: &'static str) -> Host {
    Host::new(name, base_url)
}

/// Hosts that know only the older name of the token limit.
const OLDER_LIMIT: &[(&str, &str)] = &[("max_completion_tokens", "max_tokens")];
const MISTRAL: &[(&str, &str)] = &[
    ("max_completion_tokens", "max_tokens"),
    ("seed", "random_seed"),
    ("safe_mode", "safe_prompt"),
];
/// The header sent, and the client's headers that it is taken from, in order.
const OPENAI_HEADERS: &[(&str, &[&str])] = &[
    (
        "openai-organization",
        &[
            "x-trunkline-openai-organization",
            "x-portkey-openai-organization",
            "openai-organization",
        ],
    ),
    (
        "openai-project",
        &["x-trunkline-openai-project", "x-portkey-openai-project", "openai-project"],
    ),
    ("openai-beta", &["x-trunkline-openai-beta", "x-portkey-openai-beta", "openai-beta"]),
];
const OPENROUTER_HEADERS: &[(&str, &[&str])] =
    &[("http-referer", &["http-referer"]), ("x-title", &["x-title"])];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::provider::{Adapter, Endpoint, by_name};

    #[test]
    fn every_base_url_is_a_plain_url_without_a_trailing_slash() {
        for host in HOSTS {
            let Some(base) = host.base_url() else {
                assert_eq!(host.name(), "openai-compatible");
                continue;
            };
            let url = url::Url::parse(base).expect(base);
            assert!(!base.ends_with('/') && url.query().is_none() && url.username().is_empty());
            let local = url.host_str() == Some("localhost");
            assert_eq!(url.scheme(), if local { "http" } else { "https" }, "{base}");
            assert_eq!(host.credential_optional(), local, "{base}");
            let path = host.path(Endpoint::ChatCompletions, "/chat/completions");
            assert!(path.starts_with('/') && path.ends_with("/chat/completions"), "{path}");
        }
    }

    #[test]
    fn names_and_places_are_unique_and_aliases_point_somewhere() {
        let names: HashSet<&str> = HOSTS.iter().map(Adapter::name).collect();
        assert_eq!(names.len(), HOSTS.len());
        assert!(HOSTS.len() > 95);
        for (alias, name) in ALIASES {
            assert!(names.contains(name) && !names.contains(alias), "{alias}");
            assert_eq!(by_name(alias).map(Adapter::name), Some(*name));
        }
    }

    #[test]
    fn no_header_names_another_gateway() {
        for host in HOSTS {
            let mut seen = String::new();
            host.headers(Some("K"), &|_| None, &mut |name, value| {
                seen.push_str(&format!("{name}: {value}\n"));
            });
            assert!(seen.contains("authorization: Bearer K"), "{seen}");
            for other in ["portkey", "litellm", "helicone"] {
                assert!(!seen.to_lowercase().contains(other), "{}: {seen}", host.name());
            }
        }
    }

    #[test]
    fn a_prefix_holds_for_every_endpoint() {
        let together = by_name("together").expect("a row");
        assert_eq!(together.path(Endpoint::ChatCompletions, "/x"), "/v1/chat/completions");
        assert_eq!(together.path(Endpoint::Other, "/files/a"), "/v1/files/a");
        assert_eq!(by_name("openai").expect("a row").path(Endpoint::Other, "/files/a"), "/files/a");
    }
}
