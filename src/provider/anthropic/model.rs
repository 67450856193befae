//! What each generation of Claude accepts. Anthropic answers 400 to a setting that a model no longer knows, so a
//! request that other providers take as it is must be fitted to the model. Facts from Anthropic's public
//! model pages and
//! migration guides, as of November 2026. A name that is not understood is taken for the newest generation.

/// What one model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claude {
    /// Most output tokens; what is asked for where the client names no limit, as OpenAI does.
    pub output_tokens_max: u64,
    /// How thinking is asked for.
    pub thinking: Thinking,
    /// `temperature`, `top_p` and `top_k`: gone since 4.7.
    pub sampling: bool,
    /// `temperature` and `top_p` in one request: refused since 4.1.
    pub both_temperature_and_top_p: bool,
    /// A tool call can be demanded: refused since Opus 5.5, Sonnet 5.5 and Fable 5.1.
    pub forced_tools: bool,
    /// What turns thinking off where it is on by default.
    pub thinking_off: Option<&'static str>,
    /// `output_config.effort` goes beyond `high`.
    pub xhigh_effort: bool,
    /// `strict` tools.
    pub strict_tools: bool,
}

/// How a model is asked to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// It cannot.
    Never,
    /// `{"type":"enabled","budget_tokens":N}`.
    Budget,
    /// `{"type":"adaptive"}` and `output_config.effort`.
    Adaptive,
}

/// What the model of this name accepts.
#[must_use]
pub fn claude(name: &str) -> Claude {
    let (family, version) = parse(name);
    let always_thinks = matches!(family, Family::Fable | Family::Mythos);
    Claude {
        output_tokens_max: output_tokens_max(family, version),
        thinking: match version {
            (0..=2, _) | (3, 0..=6) => Thinking::Never,
            (3, _) | (4, 0..=5) => Thinking::Budget,
            _ => Thinking::Adaptive,
        },
        sampling: version < (4, 7),
        both_temperature_and_top_p: version < (4, 1),
        forced_tools: !refuses_forced_tools(family, version),
        thinking_off: match (family, version) {
            (_, NEWEST) => None,
            (Family::Opus | Family::Sonnet, (5, 0)) | (Family::Haiku, (5.., _)) => Some("disabled"),
            (Family::Sonnet, (5.., _)) => Some("between_tools"),
            _ => None,
        },
        xhigh_effort: version >= (4, 7) || always_thinks,
        strict_tools: version >= (4, 5),
    }
}

fn output_tokens_max(family: Family, version: (u32, u32)) -> u64 {
    match (family, version) {
        (Family::Unknown, _) | (_, (0..=2, _) | (3, 0..=4)) => 4096,
        // These refuse a limit that does not fit into the window beside the prompt, so the whole maximum would.
        (_, (3, _) | (4, 0..=4)) => 8192,
        (_, (4, 5)) | (Family::Sonnet, (4, _)) | (_, NEWEST) => 64_000,
        _ => 128_000,
    }
}

fn refuses_forced_tools(family: Family, version: (u32, u32)) -> bool {
    let since = match family {
        Family::Opus | Family::Sonnet => (5, 5),
        Family::Fable | Family::Mythos => (5, 1),
        Family::Haiku | Family::Unknown => return false,
    };
    version >= since && version < NEWEST
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Opus,
    Sonnet,
    Haiku,
    Fable,
    Mythos,
    Unknown,
}

/// Family and version of names such as `claude-opus-4-5-20251101`, `claude-3-7-sonnet-latest`,
/// `anthropic/claude-sonnet-4.6` and `us.anthropic.claude-haiku-4-5-20251001-v1:0`.
fn parse(name: &str) -> (Family, (u32, u32)) {
    let Some(at) = name.find("claude-") else { return (Family::Unknown, NEWEST) };
    let mut family = Family::Unknown;
    let mut numbers = Vec::with_capacity(2);
    for word in name[at + "claude-".len()..].split(['-', '.', '_', '@', ':', '[']).take(WORDS_MAX) {
        match FAMILIES.iter().find(|(known, _)| *known == word) {
            Some((_, found)) => family = *found,
            // Longer numbers are dates; what follows them is not the version.
            None if word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_digit()) => break,
            None => match word.parse() {
                Ok(number) => numbers.push(number),
                Err(_) if numbers.is_empty() => {}
                Err(_) => break,
            },
        }
    }
    let version = match numbers[..] {
        [] => NEWEST,
        [major] => (major, 0),
        [major, minor, ..] => (major, minor),
    };
    (family, version)
}

const FAMILIES: &[(&str, Family)] = &[
    ("opus", Family::Opus),
    ("sonnet", Family::Sonnet),
    ("haiku", Family::Haiku),
    ("fable", Family::Fable),
    ("mythos", Family::Mythos),
];
/// The version of a name that names none.
const NEWEST: (u32, u32) = (u32::MAX, 0);
/// Words of a model name that are looked at.
const WORDS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_every_spelling() {
        for (name, family, version) in [
            ("claude-opus-4-20250514", Family::Opus, (4, 0)),
            ("claude-opus-4-1-20250805", Family::Opus, (4, 1)),
            ("claude-3-7-sonnet-20250219", Family::Sonnet, (3, 7)),
            ("claude-3-opus-latest", Family::Opus, (3, 0)),
            ("claude-sonnet-4-0", Family::Sonnet, (4, 0)),
            ("anthropic/claude-sonnet-4.6", Family::Sonnet, (4, 6)),
            ("us.anthropic.claude-haiku-4-5-20251001-v1:0", Family::Haiku, (4, 5)),
            ("claude-opus-5", Family::Opus, (5, 0)),
            ("claude-fable-5-1", Family::Fable, (5, 1)),
            ("claude-sonnet-4-5[1m]", Family::Sonnet, (4, 5)),
            ("claude-2.1", Family::Unknown, (2, 1)),
            ("claude-mythos-preview", Family::Mythos, NEWEST),
            ("claude-", Family::Unknown, NEWEST),
            ("my-model", Family::Unknown, NEWEST),
        ] {
            assert_eq!(parse(name), (family, version), "{name}");
        }
    }

    #[test]
    fn each_generation_gets_what_it_accepts() {
        let old = claude("claude-3-5-haiku-20241022");
        assert_eq!(
            (old.thinking, old.sampling, old.output_tokens_max),
            (Thinking::Never, true, 8192)
        );
        let budget = claude("claude-sonnet-4-5");
        assert_eq!((budget.thinking, budget.output_tokens_max), (Thinking::Budget, 64_000));
        assert!(budget.sampling && !budget.both_temperature_and_top_p && budget.forced_tools);
        assert_eq!(claude("claude-opus-4-6").thinking, Thinking::Adaptive);
        assert!(claude("claude-opus-4-6").sampling && !claude("claude-opus-4-7").sampling);
        assert_eq!(claude("claude-opus-4-7").output_tokens_max, 128_000);
        assert!(claude("claude-opus-5").forced_tools && !claude("claude-opus-5-5").forced_tools);
        assert!(claude("claude-haiku-5-5").forced_tools && claude("my-alias").forced_tools);
        for (name, off) in [
            ("claude-opus-4-8", None),
            ("claude-opus-5", Some("disabled")),
            ("claude-opus-5-5", None),
            ("claude-haiku-5-5", Some("disabled")),
            ("claude-sonnet-5", Some("disabled")),
            ("claude-sonnet-5-5", Some("between_tools")),
            ("claude-fable-5", None),
            ("claude-haiku-4-5", None),
        ] {
            assert_eq!(claude(name).thinking_off, off, "{name}");
        }
        assert_eq!(claude("my-alias").output_tokens_max, 4096);
    }
}
