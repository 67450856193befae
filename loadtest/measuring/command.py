"""What all measuring commands do alike: their common flags, a place for their files, their exit codes."""

import argparse
import sys
import tempfile
from pathlib import Path

from . import machine
from .processes import Failed, Processes, free_ports, raise_descriptor_limit
from .proxies import Gateway, Place
from .tester import Tester

DRIVERS = ("io_uring", "epoll")


def parser(documentation):
    """A parser that knows where the programs are."""
    known = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known.add_argument("--gateway", metavar="PROGRAM", help="the gateway (target/release/trunkline)")
    known.add_argument("--tester", metavar="PROGRAM", help="the load tester (target/release/trunkline-load)")
    known.add_argument("--driver", choices=DRIVERS, default="io_uring", help="the gateway's (io_uring)")
    return known


def binary(given, name):
    return str(Path(given or machine.release(name)).resolve())


class Bench:
    """A gateway and what stands around it, in a directory of its own that goes when it is done."""

    def __init__(self, args, proxy_core=1, load_core=0):
        raise_descriptor_limit()
        self.args, self.proxy_core = args, proxy_core
        self.program = binary(args.gateway, "trunkline")
        self.tester = Tester(binary(args.tester, "trunkline-load"), load_core)

    def __enter__(self):
        machine.TARGET.mkdir(parents=True, exist_ok=True)
        self._directory = tempfile.TemporaryDirectory(prefix="measure-", dir=machine.TARGET)
        self.directory = Path(self._directory.name)
        self.processes = Processes().__enter__()
        return self

    def __exit__(self, *reason):
        self.processes.__exit__(*reason)
        self._directory.cleanup()

    def upstream(self, script="", fast=True):
        """A fake provider; its port."""
        port = free_ports(1)[0]
        self.tester.upstream(self.processes, port, script, self.directory / f"upstream-{port}", fast)
        return port

    def gateway(self, upstream_port, name="gateway", more_upstreams=None):
        """A gateway with everything on."""
        port, admin = free_ports(2)
        gateway = Gateway(name, self.program, self.args.driver, admin, more_upstreams)
        gateway.start(self.processes, Place(self.directory, upstream_port, self.proxy_core), port)
        return gateway

    def dump(self, gateway, *flags):
        """What `trunkline dump` says of its log, and its exit code."""
        return machine.output_and_code(self.program, "dump", str(gateway.log_dir()), *flags)


def main(run, known):
    """Runs a command to its exit code."""
    name = Path(sys.argv[0]).name
    args = known.parse_args()
    try:
        return run(args)
    except Failed as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: stopped; everything it started is ended", file=sys.stderr)
        return 130
