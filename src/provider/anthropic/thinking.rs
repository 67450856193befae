//! Thinking, and what Anthropic allows beside it: how hard to think becomes a budget or an effort, and sampling and
//! forced tools give way or make thinking give way.

use super::model::{Claude, Thinking};
use crate::chat::request::{Content, Request, Role, ToolChoice};

/// What a request says about thinking and sampling in Anthropic's words.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// The `thinking` object as JSON text.
    pub thinking: Option<String>,
    /// `output_config.effort`.
    pub effort: Option<&'static str>,
    /// `temperature`.
    pub temperature: Option<f64>,
    /// `top_p`.
    pub top_p: Option<f64>,
    /// `top_k`.
    pub top_k: Option<u64>,
    /// What gave way.
    pub dropped: Vec<&'static str>,
}

/// Decides it all. `max_tokens` is the limit that will be sent.
#[must_use]
pub fn plan(request: &Request, claude: Claude, max_tokens: u64) -> Plan {
    let mut plan = Plan::default();
    let forced = matches!(
        request.tool_choice,
        Some(
            ToolChoice::Required
                | ToolChoice::Named(_)
                | ToolChoice::Allowed { required: true, .. }
        )
    );
    if let Some(thinking) = &request.thinking {
        plan.thinking = Some(thinking.clone());
        if request.reasoning_effort.is_some() {
            plan.dropped.push("reasoning_effort");
        }
    } else {
        plan_effort(&mut plan, request, claude, max_tokens, forced);
    }
    plan_sampling(&mut plan, request, claude);
    plan
}

fn plan_effort(plan: &mut Plan, request: &Request, claude: Claude, max_tokens: u64, forced: bool) {
    let Some(effort) = request.reasoning_effort.as_deref() else {
        plan.thinking = off_for_forced_tool(claude, forced);
        return;
    };
    let is_off = effort == "none";
    match claude.thinking {
        Thinking::Never if is_off => {}
        Thinking::Budget if is_off => {}
        Thinking::Never => plan.dropped.push("reasoning_effort"),
        // Anthropic refuses thinking beside a forced tool; the tool is what was asked, thinking only how.
        Thinking::Budget | Thinking::Adaptive if forced => {
            plan.thinking = off_for_forced_tool(claude, forced);
            plan.dropped.push("reasoning_effort");
        }
        Thinking::Budget => match budget_tokens(effort, max_tokens) {
            Some(budget) if !resumes_without_thinking(request) => {
                plan.thinking = Some(format!(r#"{{"type":"enabled","budget_tokens":{budget}}}"#));
            }
            _ => plan.dropped.push("reasoning_effort"),
        },
        Thinking::Adaptive if is_off => match (claude.thinking_off, claude.sampling) {
            (Some(off), _) => plan.thinking = Some(format!(r#"{{"type":"{off}"}}"#)),
            // 4.6 thinks only when asked.
            (None, true) => {}
            (None, false) => plan.effort = Some("low"),
        },
        Thinking::Adaptive => {
            // The newer models leave the words of their thinking out unless asked for them.
            let display = if claude.sampling { "" } else { r#","display":"summarized""# };
            plan.thinking = Some(format!(r#"{{"type":"adaptive"{display}}}"#));
            plan.effort = Some(effort_word(effort, claude.xhigh_effort));
        }
    }
}

fn off_for_forced_tool(claude: Claude, forced: bool) -> Option<String> {
    let off = claude.thinking_off.filter(|_| forced && claude.forced_tools)?;
    Some(format!(r#"{{"type":"{off}"}}"#))
}

fn effort_word(effort: &str, xhigh: bool) -> &'static str {
    match effort {
        "minimal" | "low" => "low",
        "medium" => "medium",
        "xhigh" if xhigh => "xhigh",
        "max" => "max",
        _ => "high",
    }
}

/// At least 1024, and at most half of the limit, which covers thinking and answer together.
fn budget_tokens(effort: &str, max_tokens: u64) -> Option<u64> {
    let wanted = match effort {
        "minimal" | "low" => BUDGET_TOKENS_MIN,
        "medium" => 4096,
        "high" => 16_384,
        _ => 32_000,
    };
    (max_tokens > BUDGET_TOKENS_MIN).then(|| wanted.min(max_tokens / 2).max(BUDGET_TOKENS_MIN))
}

/// Whether the conversation stops in the middle of a tool loop whose thinking the client did not keep: such a turn
/// must not be continued with a thinking budget.
fn resumes_without_thinking(request: &Request) -> bool {
    let turn = request.messages.iter().rev().take_while(|message| match message.role {
        Role::User => {
            message.parts.iter().all(|part| matches!(part.content, Content::ToolResult { .. }))
        }
        _ => true,
    });
    turn.filter(|message| message.role == Role::Assistant).any(|message| {
        let is_thought = |content: &Content| {
            matches!(
                content,
                Content::Thinking { signature: Some(_), .. } | Content::RedactedThinking(_)
            )
        };
        let calls =
            message.parts.iter().any(|part| matches!(part.content, Content::ToolCall { .. }));
        calls && !message.parts.iter().any(|part| is_thought(&part.content))
    })
}

fn plan_sampling(plan: &mut Plan, request: &Request, claude: Claude) {
    let sampling = &request.sampling;
    let thinks = plan.thinking.as_deref().is_some_and(|json| !json.contains("\"disabled\""));
    plan.temperature = sampling.temperature.map(|value| value.clamp(0.0, 1.0));
    plan.top_p = sampling.top_p;
    plan.top_k = sampling.top_k;
    // A value that is the default already, or that Anthropic takes as it is, loses nothing.
    let mut lost_temperature = plan.temperature != sampling.temperature;
    if !claude.sampling || thinks {
        lost_temperature |= plan.temperature.take().is_some_and(|value| value < 1.0);
    }
    if lost_temperature {
        plan.dropped.push("temperature");
    }
    let crowded = plan.temperature.is_some() && !claude.both_temperature_and_top_p;
    if !claude.sampling || crowded || (thinks && plan.top_p.is_some_and(|value| value < 0.95)) {
        drop_unless_default(plan.top_p.take().map(|value| value < 1.0), "top_p", &mut plan.dropped);
    }
    if !claude.sampling || thinks {
        drop_unless_default(plan.top_k.take().map(|_| true), "top_k", &mut plan.dropped);
    }
}

fn drop_unless_default(lost: Option<bool>, name: &'static str, dropped: &mut Vec<&'static str>) {
    if lost == Some(true) {
        dropped.push(name);
    }
}

/// Anthropic's smallest thinking budget.
const BUDGET_TOKENS_MIN: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chat::request::Sampling, provider::anthropic::model::claude};

    fn ask(model: &str, effort: &str) -> (Option<String>, Option<&'static str>, Vec<&'static str>) {
        let request = Request { reasoning_effort: Some(effort.into()), ..Request::default() };
        let plan = plan(&request, claude(model), 8192);
        (plan.thinking, plan.effort, plan.dropped)
    }

    #[test]
    fn effort_becomes_a_budget_or_an_effort() {
        let budget = |n| Some(format!(r#"{{"type":"enabled","budget_tokens":{n}}}"#));
        assert_eq!(ask("claude-sonnet-4-5", "low"), (budget(1024), None, vec![]));
        assert_eq!(ask("claude-sonnet-4-5", "max"), (budget(4096), None, vec![]));
        assert_eq!(ask("claude-sonnet-4-5", "none"), (None, None, vec![]));
        assert_eq!(ask("claude-3-5-sonnet", "low"), (None, None, vec!["reasoning_effort"]));
        let adaptive = Some(r#"{"type":"adaptive"}"#.to_owned());
        assert_eq!(ask("claude-opus-4-6", "xhigh"), (adaptive, Some("high"), vec![]));
        let shown = Some(r#"{"type":"adaptive","display":"summarized"}"#.to_owned());
        assert_eq!(ask("claude-opus-5-5", "xhigh"), (shown, Some("xhigh"), vec![]));
        assert_eq!(ask("claude-opus-5-5", "none"), (None, Some("low"), vec![]));
        let between = Some(r#"{"type":"between_tools"}"#.to_owned());
        assert_eq!(ask("claude-sonnet-5-5", "none"), (between, None, vec![]));
    }

    #[test]
    fn a_limit_too_small_for_a_budget_and_a_forced_tool_win_over_thinking() {
        let mut request = Request { reasoning_effort: Some("high".into()), ..Request::default() };
        assert_eq!(plan(&request, claude("claude-opus-4-5"), 1024).dropped, ["reasoning_effort"]);
        assert_eq!(
            plan(&request, claude("claude-opus-4-5"), 1025).thinking.as_deref(),
            Some(r#"{"type":"enabled","budget_tokens":1024}"#)
        );
        request.tool_choice = Some(ToolChoice::Required);
        let planned = plan(&request, claude("claude-opus-4-5"), 9999);
        assert_eq!((planned.thinking, planned.dropped), (None, vec!["reasoning_effort"]));
        let planned = plan(&request, claude("claude-opus-5"), 9999);
        assert_eq!(planned.thinking.as_deref(), Some(r#"{"type":"disabled"}"#));
    }

    #[test]
    fn sampling_gives_way_where_the_model_or_thinking_demands_it() {
        let sampling = Sampling {
            temperature: Some(1.5),
            top_p: Some(0.5),
            top_k: Some(3),
            ..Sampling::default()
        };
        let mut request = Request { sampling, ..Request::default() };
        let planned = plan(&request, claude("claude-3-7-sonnet"), 9999);
        assert_eq!(
            (planned.temperature, planned.top_p, planned.top_k),
            (Some(1.0), Some(0.5), Some(3))
        );
        assert_eq!(planned.dropped, ["temperature"]);
        let planned = plan(&request, claude("claude-sonnet-4-5"), 9999);
        assert_eq!((planned.temperature, planned.top_p), (Some(1.0), None));
        assert_eq!(planned.dropped, ["temperature", "top_p"]);
        let planned = plan(&request, claude("claude-opus-4-7"), 9999);
        assert_eq!(planned.dropped, ["temperature", "top_p", "top_k"]);
        request.sampling =
            Sampling { temperature: Some(1.0), top_p: Some(1.0), ..Sampling::default() };
        let planned = plan(&request, claude("claude-opus-5-5"), 9999);
        assert_eq!((planned.temperature, planned.dropped), (None, vec![]));
    }
}
