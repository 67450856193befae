"""Starts the upstreams and the gateway, runs the test runners of both languages, and ends what it started.

    drive.py [pytest|node]      with TRUNKLINE_BIN=the gateway, or TRUNKLINE_DIRECT=1 for none

Called by `run`, which installs what is needed first.
"""

import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "upstream")]
import logs  # noqa: E402
import world as worlds  # noqa: E402

START_SECONDS = 20
STOP_SECONDS = 10
TOTAL_SECONDS = 600
LOG_TAIL_LINES = 60
GATEWAYS = ("gateway", "open")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    direct = os.environ.get("TRUNKLINE_DIRECT") == "1"
    suites = sys.argv[1:] or ["pytest", "node"]
    deadline = time.monotonic() + TOTAL_SECONDS
    with (
        tempfile.TemporaryDirectory(prefix="trunkline-clients-") as folder,
        Processes(pathlib.Path(folder)) as processes,
    ):
        world = start(processes, pathlib.Path(folder), direct)
        file = str(pathlib.Path(folder) / "world.json")
        env = os.environ | {"TRUNKLINE_WORLD": file, "PYTHONDONTWRITEBYTECODE": "1"}
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "PORTKEY_API_KEY"):
            env.pop(name, None)
        results = {suite: run_suite(suite, env, deadline) for suite in suites}
        results |= {f"{name} died during the tests": False for name in processes.died()}
        received = {} if direct or len(results) > len(suites) else logs.upstream_counts(world)
        results |= {f"{name} did not end cleanly": False for name in processes.stop() if name.startswith("gateway")}
        if received:
            folders = [pathlib.Path(folder) / name / "log" for name in GATEWAYS]
            results["request logs"] = logs.check(os.environ["TRUNKLINE_BIN"], folders, received)
        failed = [name for name, good in results.items() if not good]
        if failed:
            processes.print_logs()
    print(f"client tests: {'FAILED: ' + ', '.join(failed) if failed else 'all passed'}", flush=True)
    return 1 if failed else 0


def start(processes, folder, direct):
    """Starts everything; returns what is written into world.json."""
    ports = dict(zip(("aimock", "puppet", *GATEWAYS), free_ports(4)))
    world = worlds.make(ports, direct)
    worlds.write(folder / "world.json", world)
    worlds.write(folder / "fixtures.json", worlds.fixtures(json.loads((HERE / "upstream/fixtures.json").read_text())))
    emulator = HERE / "node_modules/@copilotkit/aimock/dist/cli.js"
    options = ["-p", str(ports["aimock"]), "-f", str(folder / "fixtures.json"), "--strict", "--log-level", "warn"]
    options += ["--journal-max", "0"]  # counted at the end
    processes.start("aimock", ["node", str(emulator), *options, "--validate-on-load"])
    processes.start("puppet", [sys.executable, str(HERE / "upstream/puppet.py"), str(ports["puppet"])])
    processes.await_ok("aimock", world["url"]["aimock"] + "/health")
    processes.await_ok("puppet", world["url"]["puppet"] + "/__puppet/seen")
    if not direct:
        worlds.write(folder / "trunkline.json", worlds.gateway_config(world))
        start_gateway(processes, world, folder, "gateway", ["--config", str(folder / "trunkline.json")])
        start_gateway(processes, world, folder, "open", [])
    return world


def start_gateway(processes, world, folder, name, options):
    """One gateway in a directory of its own; without `--config` it finds no file there and so runs open."""
    home = folder / name
    home.mkdir()
    listen = world["url"][name].removeprefix("http://")
    common = ["serve", "--listen", listen, "--admin", "off", "--log", str(home / "log")]
    common += shlex.split(os.environ.get("TRUNKLINE_FLAGS", ""))
    label = "gateway-" + name
    processes.start(label, [os.environ["TRUNKLINE_BIN"], *common, *options], cwd=home)
    processes.await_ok(label, world["url"][name] + "/readyz")


def run_suite(suite, env, deadline):
    """Runs one test runner with its output on ours; true if it passed in time."""
    node_tests = sorted(str(p) for p in (HERE / "node").glob("*.test.mjs"))
    command = {
        "pytest": [sys.executable, "-m", "pytest", "-c", str(HERE / "python/pytest.ini"), str(HERE / "python")],
        "node": ["node", "--test", "--test-reporter=spec", *node_tests],
    }[suite]
    print(f"-- {suite} --", flush=True)
    runner = subprocess.Popen(command, cwd=HERE, env=env, stdin=subprocess.DEVNULL)
    try:
        return runner.wait(max(1, deadline - time.monotonic())) == 0
    except subprocess.TimeoutExpired:
        print(f"{suite}: not done after {TOTAL_SECONDS} s in all", flush=True)
        return False
    finally:
        end(runner)


class Processes:
    """The processes that we started, by handle; leaving the block ends exactly these."""

    def __init__(self, folder):
        self.folder, self.running, self.kept = folder, {}, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self, name, command, cwd=None):
        log = open(self.folder / f"{name}.out", "wb")
        self.kept.append(name)
        self.running[name] = subprocess.Popen(
            command, cwd=cwd, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )

    def await_ok(self, name, url):
        give_up = time.monotonic() + START_SECONDS
        while not answers(url):
            if self.running[name].poll() is not None or time.monotonic() > give_up:
                self.print_logs()
                sys.exit(f"{name} did not come up at {url}")
            time.sleep(0.05)

    def died(self):
        return [name for name, process in self.running.items() if process.poll() is not None]

    def stop(self):
        """Ends all in the order of their start, reversed; returns those that needed force or ended with an error."""
        unclean = [name for name, process in reversed(self.running.items()) if not end(process)]
        self.running.clear()
        return unclean

    def print_logs(self):
        for name in self.kept:
            lines = (self.folder / f"{name}.out").read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
            print(f"-- last lines of {name} --", *lines, sep="\n", flush=True)


def end(process):
    """SIGTERM, then SIGKILL; true if it ended by itself with 0."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(STOP_SECONDS) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=1).status == 200
    except (urllib.error.URLError, OSError):
        return False


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


if __name__ == "__main__":
    sys.exit(main())
