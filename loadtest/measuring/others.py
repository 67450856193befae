"""Other gateways as optional rows: pinned versions from their registries, installed below target/, nothing elsewhere."""

import os
import shutil
import subprocess
import sys

from .machine import TARGET, say
from .processes import Failed
from .proxies import CREDENTIAL, Proxy
from .tester import API_KEY

PORTKEY = "@portkey-ai/gateway@1.15.2"
LITELLM = "litellm[proxy]==1.80.0"
PLACE = TARGET / "compared"
INSTALL_WITHIN_S = 900


class Absent(Failed):
    """A row that cannot be had here; the others go on without it."""


def install(name, proof, commands):
    """Runs the commands unless what they make is there."""
    if proof.exists():
        return
    say(f"installing {name} into {PLACE}")
    proof.parent.mkdir(parents=True, exist_ok=True)
    for command in commands:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_WITHIN_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Absent(f"{name} is left out: {command[0]}: {error}") from error
        if done.returncode != 0:
            raise Absent(f"{name} is left out, it could not be installed: {done.stderr.strip()[-500:]}")
    if not proof.exists():
        raise Absent(f"{name} is left out: its installation has no {proof}")


class Portkey(Proxy):
    """Portkey's open-source gateway; it knows no API keys, so the request brings the provider's address."""

    slowness = 10

    def __init__(self, name="portkey"):
        super().__init__(name)
        self.program = PLACE / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
        if not shutil.which("node"):
            raise Absent("portkey is left out: there is no node")
        install(PORTKEY, self.program, [["npm", "install", "--prefix", str(PLACE / "portkey"), PORTKEY]])

    def command(self, place):
        self.headers = ["x-portkey-provider: openai", f"x-portkey-custom-host: http://127.0.0.1:{place.upstream_port}/v1"]
        self.config_text = "\n".join(self.headers) + "\n"
        return ["node", self.program, f"--port={self.port}", "--headless"]

    def environment(self):
        return {"NODE_ENV": "production"}


LITELLM_CONFIG = """\
model_list:
  - model_name: gpt-4o-mini
    litellm_params:
      model: openai/gpt-4o-mini
      api_key: {credential}
      api_base: http://127.0.0.1:{upstream}/v1
general_settings:
  master_key: sk-{key}
litellm_settings:
  telemetry: false
"""


class Litellm(Proxy):
    """LiteLLM's proxy with one model and a master key, one worker, no database."""

    slowness = 60
    start_within_s = 120.0

    def __init__(self, name="litellm"):
        super().__init__(name)
        self.program = PLACE / "litellm/bin/litellm"
        python = self.program.parent / "python"
        commands = [
            [sys.executable, "-m", "venv", str(PLACE / "litellm")],
            [str(python), "-m", "pip", "install", "--quiet", LITELLM],
        ]
        install(LITELLM, self.program, commands)

    def command(self, place):
        self.config_text = LITELLM_CONFIG.format(
            credential=CREDENTIAL, upstream=place.upstream_port, key=API_KEY
        )
        self.headers = [f"authorization: Bearer sk-{API_KEY}"]
        return [self.program, "--config", self.config_path, "--host", "127.0.0.1", "--port", self.port]

    @property
    def config_path(self):
        return self.directory / "config.yaml"

    def environment(self):
        return {"LITELLM_LOG": "ERROR", "PATH": f"{self.program.parent}:{os.environ.get('PATH', '')}"}
