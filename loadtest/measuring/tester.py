"""Runs the load tester and the fake provider, pinned, and reads their results."""

import json
import subprocess
from dataclasses import dataclass, field

from .processes import Failed, prepare_child

API_KEY = "tl-measuring"
AUTHORIZATION = f"authorization: Bearer {API_KEY}"
# Far more than any run takes.
RUN_WITHIN_S = 300


@dataclass
class Tester:
    """Where the load tester is and on which core it runs."""

    program: str
    core: int
    headers: list = field(default_factory=list)

    def upstream(self, processes, port, script="", log=None, fast=True):
        """The fake provider; fast: from fixed bytes, else as the script's dice fall."""
        command = [self.program, "upstream", "--listen", f"127.0.0.1:{port}", "--script", script]
        command += ["--fast"] if fast else []
        process = processes.start("the upstream", command, core=self.core, log=log)
        process.wait_for_port(port)
        return process

    def run(self, url, *flags, headers=(), may_fail=False):
        """One load; its result as the load tester prints it with --json."""
        command = ["taskset", "-c", str(self.core), self.program, url, "--json", *map(str, flags)]
        own = [] if any(header.startswith("authorization:") for header in headers) else [AUTHORIZATION]
        for header in [*own, *self.headers, *headers]:
            command += ["--header", header]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=RUN_WITHIN_S,
                check=False,
                start_new_session=True,
                preexec_fn=prepare_child,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"the load tester did not end within {RUN_WITHIN_S} s") from error
        if done.returncode != 0 and not (may_fail and done.stdout):
            raise Failed(f"the load tester failed: {done.stderr.strip()}")
        return json.loads(done.stdout)


def all_at_once(requests):
    """Flags that make all requests due within a few milliseconds: every connection always has one under way."""
    return ["--rate", "10000000", "--duration", f"{max(requests // 10, 1)}us", "--timeout", "120s"]


def refuse_errors(result, what):
    """A run with errors measures something else."""
    for side in ("target", "direct"):
        figures = result.get(side)
        if figures and figures["ok"] != figures["requests"]:
            raise Failed(f"{what}: {figures['ok']} of {figures['requests']} answered well: {figures['errors']}")
