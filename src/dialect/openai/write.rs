//! Answers for clients of OpenAI chat: whole, and as a stream of chunks.

use crate::{
    chat::{
        delta::{Delta, Piece},
        json::Json,
        reply::{Choice, Finish, Reply},
        request::Content,
        usage::Usage,
    },
    dialect::Writer,
};

/// What an answer says beside the model's words.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// The id, where the provider gave none.
    pub id: String,
    /// The model, where the provider names none.
    pub model: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Whether the client asked for usage at the end of a stream.
    pub include_usage: bool,
    /// Whether only OpenAI's own fields may appear; otherwise thinking is shown in blocks, too.
    pub strict: bool,
}

/// Writes a whole answer.
#[must_use]
pub fn write_reply(reply: &Reply, meta: &Meta) -> Vec<u8> {
    let mut json = Json::new();
    json.open_object().key("id").text(either(&reply.id, &meta.id));
    json.key("object").text("chat.completion").key("created").number(meta.created);
    json.key("model").text(either(&reply.model, &meta.model)).key("choices").open_array();
    for (index, choice) in (0..).zip(&reply.choices) {
        json.open_object().key("index").number(index).key("message");
        write_message(choice, meta.strict, &mut json);
        json.key("logprobs").null();
        json.key("finish_reason").text(finish_reason(&choice.finish)).close_object();
    }
    json.close_array();
    if let Some(usage) = &reply.usage {
        json.key("usage");
        write_usage(usage, meta.strict, &mut json);
    }
    json.close_object();
    json.into_bytes()
}

fn either<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

fn write_message(choice: &Choice, strict: bool, json: &mut Json) {
    let text = joined(choice, |content| match content {
        Content::Text(text) => Some(text),
        _ => None,
    });
    let refusal = joined(choice, |content| match content {
        Content::Refusal(text) => Some(text),
        _ => None,
    });
    let thinking = joined(choice, |content| match content {
        Content::Thinking { text, .. } if !text.is_empty() => Some(text),
        _ => None,
    });
    json.open_object().key("role").text("assistant");
    json.key("content").optional_text(text.as_deref());
    json.key("refusal").optional_text(refusal.as_deref());
    if let Some(thinking) = thinking {
        json.key("reasoning_content").text(&thinking);
    }
    write_tool_calls(choice, json);
    if !strict {
        write_blocks(choice, json);
    }
    json.close_object();
}

/// All texts of one kind in one. `None`: there is none.
fn joined(choice: &Choice, pick: impl Fn(&Content) -> Option<&String>) -> Option<String> {
    let mut texts = choice.content.iter().filter_map(pick);
    let mut joined = texts.next()?.clone();
    texts.for_each(|text| joined.push_str(text));
    Some(joined)
}

fn write_tool_calls(choice: &Choice, json: &mut Json) {
    let mut open = false;
    for content in &choice.content {
        let Content::ToolCall { id, name, arguments } = content else { continue };
        if !open {
            json.key("tool_calls").open_array();
            open = true;
        }
        json.open_object().key("id").text(id).key("type").text("function");
        json.key("function").open_object().key("name").text(name);
        json.key("arguments").text(arguments).close_object().close_object();
    }
    if open {
        json.close_array();
    }
}

/// Thinking with its seal, in the provider's own blocks, so that a client can send it back. Tool calls stand elsewhere.
fn write_blocks(choice: &Choice, json: &mut Json) {
    let sealed = |content: &Content| {
        matches!(
            content,
            Content::Thinking { .. } | Content::RedactedThinking(_) | Content::Other { .. }
        )
    };
    if !choice.content.iter().any(sealed) {
        return;
    }
    json.key("content_blocks").open_array();
    for content in &choice.content {
        match content {
            Content::Text(text) => {
                json.open_object().key("type").text("text").key("text").text(text).close_object();
            }
            Content::Thinking { text, signature } => {
                json.open_object().key("type").text("thinking").key("thinking").text(text);
                if let Some(signature) = signature {
                    json.key("signature").text(signature);
                }
                json.close_object();
            }
            Content::RedactedThinking(data) => {
                json.open_object().key("type").text("redacted_thinking");
                json.key("data").text(data).close_object();
            }
            Content::Other { json: block, .. } => {
                json.raw(block);
            }
            _ => {}
        }
    }
    json.close_array();
}

fn finish_reason(finish: &Finish) -> &str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) | Finish::Paused | Finish::Other(_) => "stop",
        Finish::Length | Finish::ContextFull => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::Filtered => "content_filter",
    }
}

/// OpenAI's convention: cached input and reasoning lie inside the totals.
fn write_usage(usage: &Usage, strict: bool, json: &mut Json) {
    let (input, output) = (usage.input_total(), usage.output_total());
    json.open_object().key("prompt_tokens").number(input);
    json.key("completion_tokens").number(output).key("total_tokens").number(input + output);
    json.key("prompt_tokens_details").open_object();
    json.key("cached_tokens").number(usage.cache_read);
    json.key("audio_tokens").number(usage.audio_in).close_object();
    json.key("completion_tokens_details").open_object();
    json.key("reasoning_tokens").number(usage.reasoning);
    json.key("audio_tokens").number(usage.audio_out).close_object();
    let written = usage.cache_write_5m + usage.cache_write_1h;
    if !strict && usage.cache_read + written > 0 {
        json.key("cache_read_input_tokens").number(usage.cache_read);
        json.key("cache_creation_input_tokens").number(written);
    }
    json.close_object();
}

/// Writes a stream of chunks.
pub struct OpenAiWriter {
    meta: Meta,
    /// What every chunk begins with, up to its choices.
    head: Vec<u8>,
    usage: Option<Usage>,
    block: u64,
}

impl OpenAiWriter {
    /// A writer for one stream.
    #[must_use]
    pub fn new(meta: Meta) -> OpenAiWriter {
        let mut writer = OpenAiWriter { meta, head: Vec::new(), usage: None, block: 0 };
        writer.set_head("", "");
        writer
    }

    fn set_head(&mut self, id: &str, model: &str) {
        let mut json = Json::after(b"data: ".to_vec());
        json.open_object().key("id").text(either(id, &self.meta.id));
        json.key("object").text("chat.completion.chunk").key("created").number(self.meta.created);
        json.key("model").text(either(model, &self.meta.model)).key("choices").open_array();
        self.head = json.into_bytes();
    }

    /// One chunk with one choice, whose delta `write` fills.
    fn chunk(
        &self,
        choice: u32,
        finish: Option<&Finish>,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Json),
    ) {
        out.extend_from_slice(&self.head);
        let mut json = Json::after(std::mem::take(out));
        json.open_object().key("index").number(u64::from(choice)).key("delta").open_object();
        write(&mut json);
        json.close_object().key("logprobs").null();
        json.key("finish_reason").optional_text(finish.map(finish_reason)).close_object();
        json.close_array();
        if self.meta.include_usage {
            json.key("usage").null();
        }
        json.close_object();
        *out = json.into_bytes();
        out.extend_from_slice(b"\n\n");
    }

    fn thinking(&self, choice: u32, text: &str, out: &mut Vec<u8>) {
        self.chunk(choice, None, out, |json| {
            json.key("reasoning_content").text(text);
            if !self.meta.strict {
                self.write_block_piece("thinking", text, json);
            }
        });
    }

    /// What seals or replaces thinking, and ends its block.
    fn seal(&mut self, choice: u32, key: &str, text: &str, out: &mut Vec<u8>) {
        if !self.meta.strict {
            self.chunk(choice, None, out, |json| self.write_block_piece(key, text, json));
            self.block += 1;
        }
    }

    /// A piece of a thinking block, for clients that want the provider's own.
    fn write_block_piece(&self, key: &str, text: &str, json: &mut Json) {
        json.key("content_blocks").open_array().open_object().key("index").number(self.block);
        json.key("delta").open_object().key(key).text(text).close_object();
        json.close_object().close_array();
    }
}

impl Writer for OpenAiWriter {
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        let choice = delta.choice;
        match &delta.piece {
            Piece::Start { id, model } => {
                self.set_head(id, model);
                self.chunk(choice, None, out, |json| {
                    json.key("role").text("assistant").key("content").text("");
                });
            }
            Piece::Text(text) => self.chunk(choice, None, out, |json| {
                json.key("content").text(text);
            }),
            Piece::Thinking(text) => self.thinking(choice, text, out),
            Piece::Refusal(text) => self.chunk(choice, None, out, |json| {
                json.key("refusal").text(text);
            }),
            Piece::ToolCall { index, id, name } => self.chunk(choice, None, out, |json| {
                json.key("tool_calls").open_array().open_object();
                json.key("index").number(u64::from(*index)).key("id").text(id);
                json.key("type").text("function").key("function").open_object();
                json.key("name").text(name).key("arguments").text("").close_object();
                json.close_object().close_array();
            }),
            Piece::Arguments { index, text } => self.chunk(choice, None, out, |json| {
                json.key("tool_calls").open_array().open_object();
                json.key("index").number(u64::from(*index)).key("function").open_object();
                json.key("arguments").text(text).close_object();
                json.close_object().close_array();
            }),
            Piece::Signature(seal) => self.seal(choice, "signature", seal, out),
            Piece::RedactedThinking(data) => self.seal(choice, "data", data, out),
            Piece::Finish(finish) => self.chunk(choice, Some(finish), out, |_| {}),
            Piece::Usage(usage) => self.usage = Some(*usage),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if let (true, Some(usage)) = (self.meta.include_usage, &self.usage) {
            out.extend_from_slice(&self.head);
            let mut json = Json::after(std::mem::take(out));
            json.close_array().key("usage");
            write_usage(usage, self.meta.strict, &mut json);
            json.close_object();
            *out = json.into_bytes();
            out.extend_from_slice(b"\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}
