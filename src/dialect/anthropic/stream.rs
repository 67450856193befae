//! Streams for clients of Anthropic: neutral pieces become content blocks, one open at a time.

use super::write::{Meta, either, write_head, write_stop, write_usage};
use crate::{
    chat::{
        delta::{Delta, Piece},
        json::Json,
        reply::Finish,
        usage::Usage,
    },
    dialect::Writer,
};

/// Writes a stream of events. Only the first alternative is written: Anthropic's format has one.
pub struct AnthropicWriter {
    meta: Meta,
    started: bool,
    open: Option<Block>,
    blocks: u64,
    finish: Finish,
    usage: Usage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Text,
    Thinking,
    Tool,
}

impl AnthropicWriter {
    /// A writer for one stream.
    #[must_use]
    pub fn new(meta: Meta) -> AnthropicWriter {
        let (open, finish, usage) = (None, Finish::Stop, Usage::default());
        AnthropicWriter { meta, started: false, open, blocks: 0, finish, usage }
    }

    fn start(&mut self, id: &str, model: &str, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        event("message_start", out, |json| {
            json.key("message").open_object();
            write_head(either(id, &self.meta.id), either(model, &self.meta.model), json);
            json.key("content").open_array().close_array();
            json.key("stop_reason").null().key("stop_sequence").null().key("usage");
            write_usage(&Usage::default(), json);
            json.close_object();
        });
    }

    /// Makes sure that a block of this kind is open; `write` fills the block's first event.
    fn open(&mut self, block: Block, out: &mut Vec<u8>, write: impl FnOnce(&mut Json)) {
        self.start("", "", out);
        self.close(out);
        event("content_block_start", out, |json| {
            json.key("index").number(self.blocks).key("content_block").open_object();
            write(json);
            json.close_object();
        });
        self.open = Some(block);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            event("content_block_stop", out, |json| {
                json.key("index").number(self.blocks);
            });
            self.blocks += 1;
        }
    }

    fn block_delta(&self, kind: &str, key: &str, text: &str, out: &mut Vec<u8>) {
        event("content_block_delta", out, |json| {
            json.key("index").number(self.blocks).key("delta").open_object();
            json.key("type").text(kind).key(key).text(text).close_object();
        });
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        if self.open != Some(Block::Text) {
            self.open(Block::Text, out, |json| {
                json.key("type").text("text").key("text").text("");
            });
        }
        self.block_delta("text_delta", "text", text, out);
    }

    fn thinking(&mut self, text: &str, out: &mut Vec<u8>) {
        if self.open != Some(Block::Thinking) {
            self.open(Block::Thinking, out, |json| {
                json.key("type").text("thinking").key("thinking").text("");
                json.key("signature").text("");
            });
        }
        self.block_delta("thinking_delta", "thinking", text, out);
    }
}

impl Writer for AnthropicWriter {
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        if delta.choice != 0 {
            return;
        }
        match &delta.piece {
            Piece::Start { id, model } => self.start(id, model, out),
            Piece::Text(text) | Piece::Refusal(text) => self.text(text, out),
            Piece::Thinking(text) => self.thinking(text, out),
            Piece::Signature(seal) => {
                if self.open != Some(Block::Thinking) {
                    self.thinking("", out);
                }
                self.block_delta("signature_delta", "signature", seal, out);
                self.close(out);
            }
            Piece::RedactedThinking(data) => {
                self.open(Block::Thinking, out, |json| {
                    json.key("type").text("redacted_thinking").key("data").text(data);
                });
                self.close(out);
            }
            Piece::ToolCall { id, name, .. } => self.open(Block::Tool, out, |json| {
                json.key("type").text("tool_use").key("id").text(id).key("name").text(name);
                json.key("input").open_object().close_object();
            }),
            Piece::Arguments { text, .. } if self.open == Some(Block::Tool) => {
                self.block_delta("input_json_delta", "partial_json", text, out);
            }
            // Providers' readers let no piece through that belongs to another call than the last.
            Piece::Arguments { .. } => {}
            Piece::Finish(finish) => self.finish = finish.clone(),
            Piece::Usage(usage) => self.usage = *usage,
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.start("", "", out);
        self.close(out);
        event("message_delta", out, |json| {
            json.key("delta").open_object();
            write_stop(&self.finish, json);
            json.close_object().key("usage");
            write_usage(&self.usage, json);
        });
        event("message_stop", out, |_| {});
    }
}

fn event(name: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Json)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let mut json = Json::after(std::mem::take(out));
    json.open_object().key("type").text(name);
    write(&mut json);
    json.close_object();
    *out = json.into_bytes();
    out.extend_from_slice(b"\n\n");
}
