"""The scenarios of a comparison: the load of one, and which figures come of it.

A round of one proxy is short, so that what disturbs the machine for seconds meets all of them, and a median does not
hang on it.
"""

import time
from dataclasses import dataclass, field
from statistics import median

from .tester import all_at_once, refuse_errors

# After a load, until a log is written and idle work has come to rest.
SETTLE_S = 0.25
STREAM_CHUNKS = 150


@dataclass
class Scenario:
    """Measures one proxy once; `figures` says what is shown of it: key, words, and whether CPU is in it."""

    name: str
    title: str
    # The first one is what rows are compared by.
    figures: list
    # What the gateway is held to: a figure, next to whose (`cheaper`: of the bare proxies), at most how many times it.
    bounds: list = field(default_factory=list)

    # What the fake provider is told.
    script = ""
    # How many times a round measures each proxy, by turns.
    turns = 1

    def measure(self, tester, proxy, upstream, brevity):
        """All figures of one proxy; `brevity`: how many times less than usual."""
        raise NotImplementedError

    def finish_round(self, results):
        """Figures that need those of all proxies."""


def _with_cpu(tester, proxy, upstream, flags, stream=False):
    """A load, and the CPU time that the proxy and the upstream used for it."""
    processes = {"proxy": proxy.process, "upstream": upstream}
    before = {name: process.cpu_ns() for name, process in processes.items()}
    result = tester.run(proxy.url(stream), *flags, headers=proxy.headers)
    time.sleep(SETTLE_S)
    used = {name: process.cpu_ns() - before[name] for name, process in processes.items()}
    refuse_errors(result, proxy.name)
    return result, used


def _a_request(result, used):
    """What each request of a plain load cost."""
    done = result["target"]["ok"]
    return {
        "cpu_us": used["proxy"] / 1e3 / done,
        "upstream_us": used["upstream"] / 1e3 / done,
        "tester_us": result["tester_cpu_us_per_request"],
        "requests": done,
    }


class Saturated(Scenario):
    """A request under way on each of 64 connections all the time, until a fixed number is answered."""

    def __init__(self, name, body_bytes, requests, bounds):
        super().__init__(
            name,
            f"{body_bytes // 1024} KB bodies, 64 connections, saturated: CPU µs a request",
            [("cpu_us", "CPU µs"), ("per_s", "requests/s"), ("tester_us", "tester's CPU µs")],
            bounds,
        )
        self.body_bytes, self.requests = body_bytes, requests

    def measure(self, tester, proxy, upstream, brevity):
        count = max(200, self.requests // proxy.slowness // brevity)
        flags = ["--connections", 64, "--body-bytes", self.body_bytes, *all_at_once(count)]
        result, used = _with_cpu(tester, proxy, upstream, flags)
        figures = _a_request(result, used)
        return figures | {"per_s": figures["requests"] / result["elapsed_s"]}


class Paced(Scenario):
    """A fixed rate below what any of the proxies can do: each request wakes everybody."""

    def __init__(self, rate=5000, seconds=1):
        super().__init__(
            "paced",
            f"1 KB bodies, {rate} requests/s, 64 connections: CPU µs a request",
            [("cpu_us", "CPU µs"), ("tester_us", "tester's CPU µs")],
        )
        self.rate, self.seconds = rate, seconds

    def measure(self, tester, proxy, upstream, brevity):
        rate = self.rate // proxy.slowness
        flags = ["--rate", rate, "--duration", f"{int(self.seconds * 1000 / brevity)}ms", "--connections", 64]
        result, used = _with_cpu(tester, proxy, upstream, flags)
        return _a_request(result, used)


class Streams(Scenario):
    """Streams whose events come one by one; the few requests that begin them are counted in."""

    script = f"chunks={STREAM_CHUNKS}&interval=20ms&chunk_bytes=8"

    def __init__(self, streams=500):
        super().__init__(
            "stream",
            f"{streams} streams of 280 B events at 20 ms: CPU µs a chunk",
            [("cpu_us", "CPU µs"), ("tester_us", "tester's CPU µs"), ("gap_p99_ms", "gap p99 ms")],
            [("cpu_us", "haproxy", 1.0)],
        )
        self.streams = streams

    def measure(self, tester, proxy, upstream, brevity):
        count = max(10, self.streams // proxy.slowness)
        flags = ["--stream", "--rate", count, "--duration", "1s", "--connections", count]
        result, used = _with_cpu(tester, proxy, upstream, flags, stream=True)
        streams = result["target"]["streams"]
        chunks = streams["tokens"]
        return {
            "cpu_us": used["proxy"] / 1e3 / chunks,
            "upstream_us": used["upstream"] / 1e3 / chunks,
            "tester_us": result["tester_cpu_us_per_request"] * result["target"]["requests"] / chunks,
            "gap_p99_ms": streams["gap"]["p99"] / 1e3,
            "chunks": chunks,
        }


class Latency(Scenario):
    """What a proxy adds to the direct way, both by turns in one run. The turns are short: a host that is slow for some
    seconds is so for all proxies alike."""

    turns = 5

    def __init__(self, rate=1000, seconds=0.3):
        super().__init__(
            "latency",
            f"{rate} requests/s, open loop, 1 KB bodies: µs added over direct",
            [("p50_us", "p50 µs"), ("p99_us", "p99 µs"), ("direct_p50_us", "direct p50 µs")],
            [("p50_us", "haproxy", 1.0), ("p99_us", "haproxy", 1.2)],
        )
        self.rate, self.seconds = rate, seconds

    def measure(self, tester, proxy, upstream, brevity):
        rate = self.rate // min(proxy.slowness, 20)
        direct = f"http://127.0.0.1:{upstream.port}"
        flags = ["--rate", rate, "--duration", f"{int(self.seconds * 1000 / brevity)}ms", "--slice", "150ms"]
        result = tester.run(proxy.url(), *flags, "--connections", 64, "--direct", direct, headers=proxy.headers)
        refuse_errors(result, proxy.name)
        through, straight = (result[side]["latency"]["corrected"] for side in ("target", "direct"))
        return {
            "through_p50_us": through["p50"],
            "through_p99_us": through["p99"],
            "direct_p50_us": straight["p50"],
            "direct_p99_us": straight["p99"],
            "late_p99_us": result["tester_late"]["p99"],
        }

    def finish_round(self, results):
        """The direct way is the same for all: the median of the round's direct figures is what all are held against."""
        for figure in ("p50_us", "p99_us"):
            direct = median(each[f"direct_{figure}"] for each in results.values())
            for each in results.values():
                each[figure] = each[f"through_{figure}"] - direct


ALL = [
    Saturated("1k", 1024, 20_000, [("cpu_us", "haproxy", 0.85), ("cpu_us", "cheaper", 0.80)]),
    Saturated("10k", 10 * 1024, 12_000, [("cpu_us", "cheaper", 0.90)]),
    Saturated("100k", 100 * 1024, 10_000, [("cpu_us", "cheaper", 0.90)]),
    Paced(),
    Streams(),
    Latency(),
]
