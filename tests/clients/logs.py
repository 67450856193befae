"""What the request logs must say after the tests: sound, and one attempt for each request that an upstream received."""

import json
import subprocess
import urllib.request

DUMP_SECONDS = 60
# Why an attempt was left although, or because, nothing of it was sent.
NOT_SENT = {"unfit", "no_credential", "host_refused", "unreachable", "timeout_connect"}


def upstream_counts(world):
    """The requests that each upstream received."""
    with urllib.request.urlopen(world["url"]["puppet"] + "/__puppet/count") as answer:
        puppet = int(answer.read())
    with urllib.request.urlopen(world["url"]["aimock"] + "/__aimock/journal?limit=0") as answer:
        mock = int(answer.headers["x-total-count"])
    return {"puppet": puppet, "mock": mock}


def check(trunkline, folders, received):
    """Prints what is wrong with the logs; true if nothing is."""
    records = []
    for folder in folders:
        dump = [trunkline, "dump", str(folder)]
        checked = subprocess.run([*dump, "--check"], capture_output=True, text=True, timeout=DUMP_SECONDS)
        print(checked.stdout.strip(), flush=True)
        if checked.returncode != 0:
            print(f"dump --check: exit code {checked.returncode}\n{checked.stderr}", flush=True)
            return False
        lines = subprocess.run([*dump, "--json"], capture_output=True, timeout=DUMP_SECONDS, check=True).stdout
        records += [json.loads(line) for line in lines.splitlines()]
    return all([is_one_each(records), is_as_received(records, received)])


def is_one_each(records):
    ids = {record["id"] for record in records}
    if len(ids) == len(records) > 0:
        return True
    print(f"{len(records)} records of {len(ids)} exchanges", flush=True)
    return False


def is_as_received(records, received):
    logged = dict.fromkeys(received, 0)
    for attempt in (attempt for record in records for attempt in sent_attempts(record)):
        # A caller's own credential, without a virtual key, is only ever sent to the puppet.
        logged[(attempt["virtual_key"] or "puppet-").partition("-")[0]] += 1
    print(f"attempts logged: {logged}, requests received: {received}", flush=True)
    return logged == received


def sent_attempts(record):
    attempts = [attempt for attempt in record["attempts"] if attempt["left"] not in NOT_SENT]
    left_before = record["client_gone"] and record["times"]["sent_ns"] is None
    return attempts[:-1] if left_before else attempts
