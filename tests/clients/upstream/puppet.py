"""A scripted upstream for what an emulator does not do: it keeps the exact bytes that it received and sent, notes
when a client goes away, and misbehaves on demand.

The request's `model` is the script: `SCENARIO.TOKEN`, e.g. `status-429.k3x9`. The token finds the exchange again:
`GET /__puppet/seen?TOKEN` lists every request whose bytes contain it, `/__puppet/count` counts them all. Paths that
end in `/messages` are answered in Anthropic's format, all others in OpenAI's.
"""

import asyncio
import base64
import json
import re
import socket
import struct
import sys
import time

import formats

SEEN_MAX = 4000
PIECE_CHARACTERS = 16
PIECES_MAX = 1000
SEEN = []
TALLY = {"received": 0}


async def main():
    server = await asyncio.start_server(connection, "127.0.0.1", int(sys.argv[1]), limit=1 << 20)
    await server.serve_forever()


async def connection(reader, writer):
    try:
        while await exchange(reader, writer):
            pass
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def exchange(reader, writer):
    """Serves one request; false when the connection is over."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return False
    body = await read_body(reader, head)
    method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    if path.startswith("/__puppet/seen"):
        return await tell(writer, path.partition("?")[2].encode())
    if path == "/__puppet/count":
        return await write_json(writer, TALLY["received"])
    record = {"method": method, "path": path, "head": head, "body": body, "sent": b"", "gone_at": None}
    record["at"] = time.time()
    TALLY["received"] += 1
    SEEN.append(record)
    del SEEN[:-SEEN_MAX]
    return await Answer(reader, writer, record).give()


async def read_body(reader, head):
    length = re.search(rb"\r\ncontent-length:\s*(\d+)", head.lower())
    if length:
        return await reader.readexactly(int(length[1]))
    if not re.search(rb"\r\ntransfer-encoding:\s*chunked", head.lower()):
        return b""
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


async def tell(writer, token):
    found = [r for r in SEEN if token and (token in r["body"] or token in r["head"])]
    plain = [{k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in r.items()} for r in found]
    return await write_json(writer, plain)


async def write_json(writer, value):
    data = json.dumps(value).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data) + data)
    await writer.drain()
    return True


class Answer:
    """One answer. The `do_` methods are the scenarios; each returns whether the connection may be used again."""

    def __init__(self, reader, writer, record):
        self.reader, self.writer, self.record = reader, writer, record
        self.path = record["path"].partition("?")[0]
        model = re.search(rb'"model"\s*:\s*"([^"]*)"', record["body"])
        self.model = model[1].decode() if model else "echo"
        self.scenario, _, self.argument = self.model.partition(".")[0].partition("-")
        self.format = (formats.Anthropic if self.path.endswith("/messages") else formats.OpenAI)(self.model)

    async def give(self):
        if not self.path.endswith(("/chat/completions", "/messages")):
            return await self.resource(self.record["method"])
        script = getattr(self, "do_" + self.scenario, None)
        if not script:
            return await self.json(404, self.format.error(404, "no such model: " + self.model))
        return await script(json.loads(self.record["body"]))

    async def do_echo(self, request):
        """Answers with the last user message: plain, or streamed in small pieces."""
        text = formats.last_user_text(request)
        if not request.get("stream"):
            return await self.json(200, self.format.completion(text))
        await self.open_stream()
        step = max(PIECE_CHARACTERS, len(text) // PIECES_MAX)
        for start in range(0, len(text), step):
            await self.chunk(self.format.piece(text[start : start + step]))
        await self.chunk(self.format.ending((request.get("stream_options") or {}).get("include_usage")))
        return await self.chunk(b"")

    async def do_status(self, _request):
        """`status-429`: that status with a proper error; a 429 says `retry-after: 7`."""
        status = int(self.argument)
        extra = {"retry-after": "7", "x-ratelimit-remaining-requests": "0"} if status == 429 else {}
        return await self.json(status, self.format.error(status, f"the puppet says {status}"), extra)

    async def do_html(self, _request):
        """`html-502`: that status with a body that is not JSON."""
        return await self.raw(int(self.argument), b"<html><h1>Bad Gateway</h1></html>", "text/html")

    async def do_flaky(self, request):
        """`flaky-2-429`: the first two requests of this token fail with 429, later ones are echoed."""
        times, status = map(int, self.argument.split("-"))
        before = sum(self.model.encode() in r["body"] for r in SEEN) - 1
        if before >= times:
            return await self.do_echo(request)
        return await self.json(status, self.format.error(status, "not yet"), {"retry-after-ms": "50"})

    async def do_slow(self, request):
        """`slow-3000`: that many milliseconds before the first byte."""
        if await self.client_gone_within(int(self.argument) / 1000):
            return False
        return await self.do_echo(request)

    async def do_drip(self, _request):
        """A stream without end, a piece each 20 ms, until the client goes away."""
        await self.open_stream()
        while not await self.client_gone_within(0.02):
            await self.chunk(self.format.piece("drip "))
        return False

    async def do_cut(self, _request):
        """Some content, then the connection is reset in mid-stream."""
        await self.open_stream()
        await self.chunk(self.format.piece("one ") + self.format.piece("two "))
        await asyncio.sleep(0.1)
        linger_off = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_off)
        self.writer.transport.abort()
        return False

    async def do_stop(self, _request):
        """Some content, then a proper end of the body without the protocol's own (`[DONE]`, `message_stop`)."""
        await self.open_stream()
        await self.chunk(self.format.piece("one ") + self.format.piece("two "))
        return await self.chunk(b"")

    async def do_nodone(self, _request):
        """A whole answer whose stream ends without `[DONE]`, as some hosts' do."""
        await self.open_stream()
        await self.chunk(self.format.piece("one ") + self.format.piece("two "))
        await self.chunk(self.format.ending(False).removesuffix(b"data: [DONE]\n\n"))
        return await self.chunk(b"")

    async def do_firsterror(self, _request):
        """`firsterror-529`: status 200, and the stream says that error before any content."""
        await self.open_stream(with_text=False)
        return await self.end_with_error()

    async def do_lateerror(self, _request):
        """`lateerror-529`: content, then that error as an event."""
        await self.open_stream()
        await self.chunk(self.format.piece("one ") + self.format.piece("two "))
        return await self.end_with_error()

    async def resource(self, method):
        """Everything that is not a model call."""
        if self.path.endswith("/embeddings"):
            return await self.json(200, formats.embeddings(json.loads(self.record["body"])))
        if self.path.endswith("/count_tokens"):
            return await self.json(200, {"input_tokens": 42})
        if self.path.endswith("/models"):
            return await self.json(200, formats.model_list())
        if self.path.endswith("/files") and method == "POST":
            name = re.search(rb'filename="([^"]*)"', self.record["body"])
            return await self.json(200, formats.file_object("file-" + name[1].decode()))
        if self.path.endswith("/content"):
            return await self.raw(200, bytes(range(256)) * 16, "application/octet-stream")
        if "/files/" in self.path:
            deleted = {"deleted": True} if method == "DELETE" else {}
            return await self.json(200, formats.file_object(self.path.rsplit("/", 1)[1]) | deleted)
        return await self.json(404, self.format.error(404, "no such route: " + self.path))

    async def open_stream(self, with_text=True):
        fields = "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\nx-request-id: puppet-1\r\n"
        self.writer.write(f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode())
        await self.chunk(self.format.opening() + (self.format.text_opening() if with_text else b""))

    async def end_with_error(self):
        status = int(self.argument)
        await self.chunk(self.format.error_event(status, f"the stream says {status}"))
        return await self.chunk(b"")

    async def chunk(self, data):
        """One chunk of the body; the empty one ends it."""
        self.record["sent"] += data
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        try:
            await self.writer.drain()
        except ConnectionError:
            self.record["gone_at"] = self.record["gone_at"] or time.time()
            raise
        return True

    async def json(self, status, value, extra=None):
        # Odd spacing on purpose: a gateway that parses and prints the answer again does not reproduce it.
        text = json.dumps(value, ensure_ascii=False, separators=(" , ", " :  "))
        return await self.raw(status, text.encode(), "application/json", extra)

    async def raw(self, status, data, content_type, extra=None):
        self.record["sent"] += data
        fields = {
            "content-type": content_type,
            "content-length": len(data),
            "x-request-id": "puppet-1",
            **(extra or {}),
        }
        head = f"HTTP/1.1 {status} Scripted\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
        self.writer.write(head.encode() + data)
        await self.writer.drain()
        return True

    async def client_gone_within(self, seconds):
        """Waits; true, and noted, if the client closed or reset the connection meanwhile."""
        try:
            gone = await asyncio.wait_for(self.reader.read(1), seconds) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            gone = True
        if gone:
            self.record["gone_at"] = time.time()
        return gone


if __name__ == "__main__":
    asyncio.run(main())
