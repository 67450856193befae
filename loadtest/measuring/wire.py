"""A client's side of HTTP/1.1, as little as the measurements need: one socket, one request, one answer."""

import json
import socket

from .processes import Failed
from .tester import API_KEY

# Connections from one address to one port: less than the ports that the kernel gives out.
CONNECTIONS_AN_ADDRESS = 5000
ANSWER_WITHIN_S = 10


def source(number):
    """The loopback address from which the connection of this number comes."""
    return f"127.0.0.{2 + number // CONNECTIONS_AN_ADDRESS}"


def chat(stream=False, headers=(), text="Hello"):
    """A chat request, head and body."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}
    if stream:
        body["stream"] = True
    body = json.dumps(body)
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: localhost",
        f"authorization: Bearer {API_KEY}",
        "content-type: application/json",
        *headers,
        f"content-length: {len(body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Connection:
    """One connection to a proxy."""

    def __init__(self, port, number=0):
        self.socket = socket.socket()
        self.socket.settimeout(ANSWER_WITHIN_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The port is chosen when it connects, which is much quicker (IP_BIND_ADDRESS_NO_PORT).
        self.socket.setsockopt(socket.IPPROTO_IP, 24, 1)
        self.socket.bind((source(number), 0))
        self.socket.connect(("127.0.0.1", port))
        self.held = b""

    def send(self, request):
        self.socket.sendall(request)

    def read(self):
        try:
            piece = self.socket.recv(65536)
        except TimeoutError as error:
            raise Failed(f"nothing came within {ANSWER_WITHIN_S} s, after {self.held[:200]!r}") from error
        if not piece:
            raise Failed(f"the connection ended early, after {self.held[:200]!r}")
        self.held += piece

    def head(self):
        """The status and the fields of an answer's head."""
        while b"\r\n\r\n" not in self.held:
            self.read()
        head, self.held = self.held.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(":", 1) for line in lines)
        return int(first.split()[1]), {name: value.strip() for name, value in fields.items()}

    def answer(self):
        """Reads a plain answer; its status."""
        status, fields = self.head()
        if "content-length" in fields:
            length = int(fields["content-length"])
            while len(self.held) < length:
                self.read()
            self.held = self.held[length:]
        else:
            while not self.held.endswith(b"0\r\n\r\n"):
                self.read()
            self.held = b""
        return status

    def first_event(self):
        """Reads a stream's head and its first event; its status."""
        status, _ = self.head()
        while b"\n\n" not in self.held:
            self.read()
        self.held = b""
        return status

    def close(self):
        self.socket.close()
