"""Starts and ends processes, pins them to cores, and reads from /proc what they use. Whatever is started is ended."""

import contextlib
import ctypes
import os
import random
import resource
import signal
import socket
import subprocess
import time

# Outside the range from which the kernel takes the ports of outgoing connections.
PORTS = range(20_000, 32_000)
START_WITHIN_S = 20.0
STOP_WITHIN_S = 10.0
DESCRIPTORS = 500_000
PRIORITY = -15


class Failed(Exception):
    """A measurement cannot be made; the text says why and what to do."""


def free_ports(count):
    """Ports of the loopback interface on which nobody listens."""
    found = []
    for port in random.sample(PORTS, 500):
        with socket.socket() as probe:
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
        if len(found) == count:
            return found
    raise Failed(f"there are no {count} free ports between {PORTS.start} and {PORTS.stop}")


def raise_descriptor_limit():
    """As many descriptors as the system gives, and how many that is; children inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for wanted in (max(DESCRIPTORS, hard), hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            break
    return descriptor_limit()


def descriptor_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def prepare_child():
    """Runs in a child before its program does."""
    # Even if this program is killed outright, nothing of it stays behind (PR_SET_PDEATHSIG).
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    # Ahead of whatever else the machine does, where that is allowed. Where the kernel groups processes by session,
    # the group's priority is what counts.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
        with open("/proc/self/autogroup", "w") as file:
            file.write(str(PRIORITY))


class Process:
    """One process of a measurement, in a group of its own, and its children."""

    def __init__(self, name, command, core=None, log=None, environment=None, directory=None):
        self.name = name
        self.log = log
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        with open(log or os.devnull, "ab") as out:
            self.child = subprocess.Popen(
                pinned + [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=directory,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                preexec_fn=prepare_child,
            )
        self.pid = self.child.pid

    def wait_for_port(self, port, within_s=START_WITHIN_S):
        """Returns when somebody answers there."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if self.child.poll() is not None:
                raise Failed(f"{self.name} ended at its start: {self.said()}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            time.sleep(0.01)
        raise Failed(f"{self.name} does not listen on port {port}: {self.said()}")

    def said(self):
        """The end of what it wrote."""
        if not self.log:
            return "it said nothing"
        with open(self.log, errors="replace") as file:
            return file.read()[-2000:].strip() or "it said nothing"

    def everyone(self):
        """Its process number and those of all its descendants."""
        found, rest = [], [self.pid]
        while rest:
            pid = rest.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children") as file:
                        rest += [int(word) for word in file.read().split()]
        return found

    def cpu_ns(self):
        """CPU time of all its threads so far, kernel threads that work for it included."""
        total = 0
        for pid in self.everyone():
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    with contextlib.suppress(OSError):
                        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                            total += int(file.read().split()[0])
        return total

    def cores(self):
        """The cores on which its threads may run, as /proc writes them."""
        found = set()
        for pid in self.everyone():
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/status") as file:
                        found |= {line.split()[1] for line in file if line.startswith("Cpus_allowed_list")}
        return found

    def memory_kib(self):
        """Anonymous and all resident memory of it and its children."""
        anonymous = resident = 0
        for pid in self.everyone():
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/status") as file:
                    fields = dict(line.split(":", 1) for line in file if ":" in line)
                anonymous += int(fields["RssAnon"].split()[0])
                resident += int(fields["VmRSS"].split()[0])
        return anonymous, resident

    def descriptors(self):
        """How many it has open."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.everyone())

    def stop(self):
        """SIGTERM, and SIGKILL if that is not heard; its exit code."""
        if self.child.poll() is None:
            self.child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.child.wait(STOP_WITHIN_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.child.wait()


class Processes:
    """All processes of a measurement; as a context it ends them, whatever happens."""

    def __init__(self):
        self.running = []

    def start(self, *args, **kwargs):
        process = Process(*args, **kwargs)
        self.running.append(process)
        return process

    def __enter__(self):
        # Ctrl-C and SIGTERM both leave through here.
        signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            with contextlib.suppress(Exception):
                process.stop()
