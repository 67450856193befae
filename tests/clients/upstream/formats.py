"""The bodies and events that the puppet sends, in OpenAI's and Anthropic's format."""

import base64
import json
import struct

STATUS_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class OpenAI:
    def __init__(self, model):
        self.model = model

    def completion(self, text):
        message = {"role": "assistant", "content": text, "x_unknown": 12345678901234567890}
        return {
            "id": "chatcmpl-puppet",
            "object": "chat.completion",
            "created": 1,
            "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": self.usage(),
        }

    def usage(self):
        return {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}

    def error(self, status, message):
        return {"error": {"message": message, "type": kind(status), "param": None, "code": None}}

    def opening(self):
        return self.choice({"role": "assistant", "content": ""})

    def text_opening(self):
        return b""

    def piece(self, text):
        return self.choice({"content": text})

    def ending(self, include_usage):
        usage = self.event({"choices": [], "usage": self.usage()}) if include_usage else b""
        return self.choice({}, "stop") + usage + b"data: [DONE]\n\n"

    def error_event(self, status, message):
        return b"data: " + json.dumps(self.error(status, message)).encode() + b"\n\n"

    def choice(self, delta, finish_reason=None):
        return self.event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

    def event(self, fields):
        common = {"id": "chatcmpl-puppet", "object": "chat.completion.chunk", "created": 1, "model": self.model}
        return b"data: " + json.dumps(common | fields).encode() + b"\n\n"


class Anthropic:
    def __init__(self, model):
        self.model = model

    def completion(self, text):
        return {
            "id": "msg_puppet",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 11, "output_tokens": 7},
        }

    def error(self, status, message):
        return {"type": "error", "error": {"type": kind(status), "message": message}}

    def opening(self):
        message = self.completion("") | {"content": [], "stop_reason": None}
        return self.event("message_start", {"message": message}) + self.event("ping", {})

    def text_opening(self):
        return self.event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})

    def piece(self, text):
        return self.event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}})

    def ending(self, _include_usage):
        stop = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 7}}
        return (
            self.event("content_block_stop", {"index": 0})
            + self.event("message_delta", stop)
            + self.event("message_stop", {})
        )

    def error_event(self, status, message):
        return b"event: error\ndata: " + json.dumps(self.error(status, message)).encode() + b"\n\n"

    def event(self, name, fields):
        return b"event: " + name.encode() + b"\ndata: " + json.dumps({"type": name} | fields).encode() + b"\n\n"


def kind(status):
    return STATUS_TYPES.get(status, "api_error")


def last_user_text(request):
    content = [m for m in request["messages"] if m["role"] == "user"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def embeddings(request):
    inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
    vectors = [[0.25, -0.5, 0.125, float(i)] for i in range(len(inputs))]
    if request.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack("<4f", *v)).decode() for v in vectors]
    data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    return {"object": "list", "data": data, "model": request["model"], "usage": usage}


def model_list():
    data = [{"id": name, "object": "model", "created": 1, "owned_by": "puppet"} for name in ("echo", "drip")]
    return {"object": "list", "data": data}


def file_object(name):
    return {"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": name, "purpose": "batch"}
