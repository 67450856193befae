"""The proxies that are measured, one core each: how each is configured and started."""

import hashlib
from dataclasses import dataclass

from .machine import find
from .processes import Failed, descriptor_limit
from .tester import API_KEY

CREDENTIAL = "sk-upstream"


@dataclass
class Place:
    """Where a proxy may put things, and what stands behind it."""

    directory: object
    upstream_port: int
    core: int


class Proxy:
    """One row of a comparison."""

    # Requests of one run are divided by this: rows that are much slower would take minutes.
    slowness = 1
    headers = ()

    def __init__(self, name):
        self.name = name
        self.process = None
        self.config_text = ""

    def url(self, stream=False):
        """Where it takes plain requests, or streams."""
        del stream
        return f"http://127.0.0.1:{self.port}"

    def connections_max(self):
        """Client connections that it takes with the descriptors there are."""
        return descriptor_limit() - 1000

    def start(self, processes, place, port):
        """Starts it and waits until it listens."""
        self.port = port
        self.directory = place.directory / self.name.replace(" ", "-")
        self.directory.mkdir(parents=True)
        command = self.command(place)
        self.config_path.write_text(self.config_text)
        log = self.directory / "said"
        self.process = processes.start(self.name, command, core=place.core, log=log, directory=self.directory,
                                       environment=self.environment())
        self.process.wait_for_port(port, self.start_within_s)
        if self.process.cores() != {str(place.core)}:
            raise Failed(f"{self.name} runs on cores {self.process.cores()}, not on {place.core} alone")

    start_within_s = 20.0

    def environment(self):
        return {}

    @property
    def config_path(self):
        return self.directory / "config"


GATEWAY = """\
listen: 127.0.0.1:{port}
admin: {{ listen: 127.0.0.1:{admin}, token: measuring-measuring-measuring }}
workers: [{core}]
state: {directory}/state
limits: {{ connections: {connections} }}
virtual_keys:
  up: {{ provider: openai, api_key: {credential}, base_url: "http://127.0.0.1:{upstream}/v1" }}
{more_keys}configs:
  measured: {{ strategy: {{ mode: fallback }}, retry: {{ attempts: 2 }}, targets: [ {{ virtual_key: up }} ] }}
api_keys:
  - {{ name: load, key_sha256: {key}, config: measured, metadata: {{ team: load }} }}
log: {{ dir: {directory}/log }}
"""


MORE_KEY = """\
  {name}: {{ provider: openai, api_key: sk-more, base_url: "http://127.0.0.1:{port}/v1" }}
"""


class Gateway(Proxy):
    """Trunkline with an API key, a virtual key, a named config, accounting and the log on; one worker."""

    def __init__(self, name, program, driver, admin_port, more_upstreams=None):
        super().__init__(name)
        self.program, self.driver, self.admin_port = program, driver, admin_port
        # Virtual keys besides `up`, by name: the port behind each.
        self.more_upstreams = more_upstreams or {}

    def command(self, place):
        more = (MORE_KEY.format(name=name, port=port) for name, port in self.more_upstreams.items())
        self.config_text = GATEWAY.format(
            # Idle connections have none upstream, so that this is more than the half that is the default.
            connections=self.connections_max(),
            more_keys="".join(more),
            port=self.port,
            # The gateway pins its workers itself: told only how many, it would take core 0, the load tester's.
            core=place.core,
            admin=self.admin_port,
            directory=self.directory,
            credential=CREDENTIAL,
            upstream=place.upstream_port,
            key=hashlib.sha256(API_KEY.encode()).hexdigest(),
        )
        return [self.program, "serve", "--config", self.config_path, "--driver", self.driver]

    def log_dir(self):
        return self.directory / "log"


HAPROXY = """\
global
  nbthread 1
  maxconn {connections}
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  http-reuse always
frontend plain
  bind 127.0.0.1:{port}
  default_backend plain
backend plain
  http-request set-header authorization "Bearer {credential}"
  server up 127.0.0.1:{upstream}
frontend streams
  bind 127.0.0.1:{stream_port}
  option http-no-delay
  default_backend streams
backend streams
  option http-no-delay
  http-request set-header authorization "Bearer {credential}"
  server up 127.0.0.1:{upstream}
"""


class Streaming(Proxy):
    """A bare proxy that needs to be told to pass events on at once, and so has another port for streams."""

    def __init__(self, name, stream_port):
        super().__init__(name)
        self.stream_port = stream_port

    def url(self, stream=False):
        return f"http://127.0.0.1:{self.stream_port if stream else self.port}"


class Haproxy(Streaming):
    """One thread, upstream connections pooled, one header set, no log; without `http-no-delay` it holds events back
    for up to 200 ms, which saves CPU and is no stream."""

    def connections_max(self):
        # It does not start with fewer than two descriptors for each.
        return min(40_000, descriptor_limit() // 2 - 100)

    def command(self, place):
        self.config_text = HAPROXY.format(
            port=self.port,
            stream_port=self.stream_port,
            upstream=place.upstream_port,
            credential=CREDENTIAL,
            connections=self.connections_max(),
        )
        return [find("haproxy"), "-db", "-f", self.config_path]


NGINX = """\
worker_processes 1;
pid {directory}/pid;
error_log {directory}/errors;
events {{ worker_connections 50000; }}
http {{
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_max_body_size 64m;
  client_body_buffer_size 256k;
  client_body_temp_path {directory}/temp1;
  proxy_temp_path {directory}/temp2;
  fastcgi_temp_path {directory}/temp3;
  uwsgi_temp_path {directory}/temp4;
  scgi_temp_path {directory}/temp5;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 1000; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://up;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer {credential}";
    }}
  }}
  server {{
    listen 127.0.0.1:{stream_port} backlog=4096;
    location / {{
      proxy_pass http://up;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer {credential}";
      proxy_buffering off;
    }}
  }}
}}
"""


class Nginx(Streaming):
    """One worker, upstream connections kept alive, one header set, no access log; streams without buffering."""

    def command(self, place):
        self.config_text = NGINX.format(
            port=self.port,
            stream_port=self.stream_port,
            upstream=place.upstream_port,
            credential=CREDENTIAL,
            directory=self.directory,
        )
        return [find("nginx"), "-p", self.directory, "-c", self.config_path, "-g", "daemon off;"]
