//! What a client asks, in words that every dialect can be read into and every provider written from.

/// One chat request. Fields that a dialect does not have stay at their defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model asked for.
    pub model: String,
    /// The conversation, system messages included, in the client's order.
    pub messages: Vec<Message>,
    /// Tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether and which tools must be called; `None`: the model decides.
    pub tool_choice: Option<ToolChoice>,
    /// Whether several tools may be called at once; `None`: the provider's default.
    pub parallel_tool_calls: Option<bool>,
    /// The form that the answer must have.
    pub format: Format,
    /// Most output tokens, reasoning included.
    pub max_tokens: Option<u64>,
    /// Sequences that end the answer.
    pub stop: Vec<String>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the client wants usage at the end of the stream.
    pub include_usage: bool,
    /// How hard to think: `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`.
    pub reasoning_effort: Option<String>,
    /// Anthropic's `thinking` object as JSON text, if the client speaks of it.
    pub thinking: Option<String>,
    /// The end user, as the client names it.
    pub user: Option<String>,
    /// Answers wanted; `None` is one.
    pub n: Option<u64>,
    /// Whether log probabilities are wanted.
    pub logprobs: bool,
    /// Alternatives to list with each log probability.
    pub top_logprobs: Option<u64>,
    /// Kinds of output wanted, e.g. `text`, `audio`; empty: text.
    pub modalities: Vec<String>,
    /// Voice and format of audio output, as JSON text.
    pub audio: Option<String>,
    /// Options of a built-in web search, as JSON text.
    pub web_search: Option<String>,
    /// What tunes sampling.
    pub sampling: Sampling,
    /// Known fields that change neither what is asked nor how it is sampled (storage, tiers, cache hints):
    /// name and JSON value.
    pub hints: Vec<(&'static str, String)>,
    /// Top-level fields that the dialect does not know: name and JSON value.
    pub unknown: Vec<(String, String)>,
}

/// What tunes sampling. `None`: the provider's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Randomness.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// Sample among the k likeliest.
    pub top_k: Option<u64>,
    /// Reproducibility.
    pub seed: Option<i64>,
    /// Penalty on repeated tokens.
    pub frequency_penalty: Option<f64>,
    /// Penalty on tokens that appeared at all.
    pub presence_penalty: Option<f64>,
    /// Bias a token, as JSON text.
    pub logit_bias: Option<String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The operator, in the older word.
    System,
    /// The operator, in OpenAI's newer word.
    Developer,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// The result of a tool, in OpenAI's form.
    Tool,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// Its place in the client's `messages`; `None`: it came from a top-level `system`.
    pub index: Option<usize>,
    /// The name of the speaker, among several of one role.
    pub name: Option<String>,
    /// What is said, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// The request field that this part came from, for messages to the caller.
    #[must_use]
    pub fn path(&self, part: &Part) -> String {
        let message = match self.index {
            Some(index) => format!("messages[{index}]"),
            None => "system".to_owned(),
        };
        match (part.at, self.index) {
            (At::Whole, _) => message,
            (At::Field(field), _) => format!("{message}.{field}"),
            (At::Content(at), Some(_)) => format!("{message}.content[{at}]"),
            (At::Content(at), None) => format!("{message}[{at}]"),
            (At::ToolCall(at), _) => format!("{message}.tool_calls[{at}]"),
        }
    }
}

/// One part of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub content: Content,
    /// Where in the message it stood.
    pub at: At,
    /// Anthropic's `cache_control`, as JSON text.
    pub cache_control: Option<String>,
}

/// Where in its message a part stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The message as a whole.
    Whole,
    /// A field of the message.
    Field(&'static str),
    /// An element of `content`.
    Content(usize),
    /// An element of `tool_calls`.
    ToolCall(usize),
}

/// What a part is, of a request or of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Text.
    Text(String),
    /// An image.
    Image {
        /// Where it is.
        source: Source,
        /// How closely to look: `auto`, `low`, `high`.
        detail: Option<String>,
    },
    /// A file, such as a PDF.
    Document {
        /// Where it is.
        source: Source,
        /// Its name.
        name: Option<String>,
    },
    /// Recorded speech.
    Audio {
        /// Base64.
        data: String,
        /// `wav`, `mp3` …
        format: String,
    },
    /// The model calls a tool.
    ToolCall {
        /// The id that its result names.
        id: String,
        /// The tool.
        name: String,
        /// The arguments as JSON text.
        arguments: String,
    },
    /// What a tool returned.
    ToolResult {
        /// The id of the call.
        id: String,
        /// What it returned.
        parts: Vec<Part>,
        /// Whether it failed.
        is_error: bool,
    },
    /// What the model thought.
    Thinking {
        /// In words; may be empty where the provider withholds it.
        text: String,
        /// The provider's seal, needed to send it back.
        signature: Option<String>,
    },
    /// What the model thought, encrypted by the provider.
    RedactedThinking(String),
    /// The model declines, and says so.
    Refusal(String),
    /// Something that this version has no word for.
    Other {
        /// Its `type`.
        kind: String,
        /// The whole of it, as JSON text.
        json: String,
    },
}

/// Where an image or a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Somewhere else.
    Url(String),
    /// Here, in Base64.
    Data {
        /// e.g. `image/png`.
        media_type: String,
        /// Base64.
        data: String,
    },
    /// Here, as plain text.
    Text(String),
    /// Uploaded to the provider before, under this id.
    File(String),
}

impl Source {
    /// A URL as clients write it: `data:` URLs with Base64 become [`Source::Data`].
    #[must_use]
    pub fn from_url(url: &str) -> Source {
        let Some(rest) = url.strip_prefix("data:") else { return Source::Url(url.to_owned()) };
        match rest.split_once(',') {
            Some((head, data)) if head.ends_with(";base64") => {
                let media_type = head.split(';').next().unwrap_or_default().to_ascii_lowercase();
                Source::Data { media_type, data: data.to_owned() }
            }
            _ => Source::Url(url.to_owned()),
        }
    }
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tool {
    /// A function of the client's.
    Function {
        /// Its name.
        name: String,
        /// What it does.
        description: Option<String>,
        /// JSON Schema of its arguments, as JSON text.
        parameters: Option<String>,
        /// Whether the arguments must match the schema exactly.
        strict: Option<bool>,
        /// Anthropic's `cache_control`, as JSON text.
        cache_control: Option<String>,
    },
    /// A tool of a provider's own.
    Other {
        /// Its `type`.
        kind: String,
        /// The whole of it, as JSON text.
        json: String,
    },
}

/// Whether and which tools must be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// No tool.
    None,
    /// Some tool.
    Required,
    /// This tool.
    Named(String),
    /// Only these tools.
    Allowed {
        /// Their names.
        names: Vec<String>,
        /// Whether one must be called.
        required: bool,
    },
}

/// The form that an answer must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Any text.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that matches a schema.
    JsonSchema {
        /// The schema's name.
        name: String,
        /// What the answer is for.
        description: Option<String>,
        /// JSON Schema, as JSON text.
        schema: String,
        /// Whether the answer must match it exactly.
        strict: Option<bool>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_urls_are_taken_apart_and_others_left_alone() {
        let data = Source::Data { media_type: "image/png".into(), data: "QUJD".into() };
        assert_eq!(Source::from_url("data:image/PNG;charset=x;base64,QUJD"), data);
        for url in ["https://a/b.png", "data:text/plain,hello", "data:", "data:;base64"] {
            assert_eq!(Source::from_url(url), Source::Url(url.into()));
        }
    }
}
