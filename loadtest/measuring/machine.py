"""The machine and the programs: what they are, and how they get there if they are absent."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

from .processes import Failed

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "loadtest" / "runs"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
POLICY = Path("/usr/sbin/policy-rc.d")


def output(*command):
    """What a command prints, or an empty text."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).strip()


def output_and_code(*command, within_s=300):
    """What a command prints on stdout, and its exit code."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]} did not end within {within_s} s") from error
    return done.stdout.strip(), done.returncode


def say(text):
    print(text, flush=True)


def need_programs(*names):
    """Installs Debian packages whose program is absent."""
    absent = [name for name in names if not find(name)]
    if not absent:
        return
    if not shutil.which("apt-get"):
        raise Failed(f"{', '.join(absent)} are absent and this is no Debian: install them")
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    say(f"installing from Debian: {' '.join(absent)}")
    # The usual way to have a package without the service that it would start.
    guarded = not become and not POLICY.exists()
    if guarded:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = [*become, "apt-get", "install", "-y", "-q", "--no-install-recommends", *absent]
        done = subprocess.run(install, env=environment, check=False)
        if done.returncode != 0:
            subprocess.run([*become, "apt-get", "update", "-q"], check=False)
            done = subprocess.run(install, env=environment, check=False)
    finally:
        if guarded:
            POLICY.unlink()
    if done.returncode != 0:
        raise Failed(f"apt-get could not install {' '.join(absent)}; as root: apt-get install {' '.join(absent)}")


def find(name):
    """A program, also where root's programs are."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")


def release(name):
    """A release binary of this workspace, built if it is absent."""
    path = TARGET / "release" / name
    if not path.exists():
        say(f"building {name} (release)")
        command = ["cargo", "build", "--release", "-p", "trunkline", "-p", "trunkline-loadtest"]
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            raise Failed(f"cargo could not build {name}")
    return path


def set_up(programs):
    """What a run was made on and with: `programs` is name to command that tells a version."""
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    with open("/proc/meminfo") as file:
        memory = file.readline().split(":", 1)[1].strip()
    commit = output("git", "-C", str(ROOT), "rev-parse", "HEAD")
    changed = output("git", "-C", str(ROOT), "status", "--porcelain", "--", "src", "loadtest/src", "Cargo.lock")
    return {
        "commit": commit + (" and uncommitted changes" if changed else ""),
        "kernel": platform.release(),
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory": memory,
        "versions": {
            name: (output(*command).splitlines() or ["unknown"])[0]
            for name, command in programs.items()
        },
        "load_average_at_start": os.getloadavg(),
    }
