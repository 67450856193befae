"""Turns the rounds of a comparison into tables and keeps a run with its set-up and raw data."""

import json

from . import machine
from .figures import number, paired, ratio_text, spread, table

BEGIN, END = "<!-- compare:begin -->", "<!-- compare:end -->"
BARE = ("haproxy", "nginx")
# A load average before the start from which a machine is not quiet.
BUSY = 1.0


def column(rounds, row, key):
    return [each[row][key] for each in rounds]


def cheaper(rounds, key):
    """The cheaper of the two bare proxies, by its median."""
    known = [row for row in BARE if row in rounds[0]]
    return min(known, key=lambda row: spread(column(rounds, row, key))["median"], default=None)


def scenario_table(scenario, rounds):
    """One scenario: a row a proxy."""
    key = scenario.figures[0][0]
    bare = cheaper(rounds, key)
    compared = [row for row in dict.fromkeys(["haproxy", bare]) if row in rounds[0]]
    header = ["", *(words for _, words in scenario.figures), "least"]
    header += [f"to {row}'s (quartiles)" for row in compared]
    second = scenario.figures[1] if scenario.figures[1][1].startswith("p99") else None
    if second:
        header += [f"{second[1]} to {row}'s" for row in compared]
    rows = []
    for row in rounds[0]:
        mine = column(rounds, row, key)
        cells = [row, *(number(spread(column(rounds, row, each))["median"]) for each, _ in scenario.figures)]
        cells.append(number(min(mine)))
        cells += [ratio_text(paired(mine, column(rounds, other, key))) for other in compared]
        if second:
            theirs = [paired(column(rounds, row, second[0]), column(rounds, other, second[0])) for other in compared]
            cells += [ratio_text(each) for each in theirs]
        rows.append(cells)
    return table(header, rows)


def tester_share(rounds):
    """The load tester's own CPU a request as a part of each gateway's, in the same rounds."""
    for row in rounds[0]:
        if row.startswith("gateway"):
            share = paired(column(rounds, row, "tester_us"), column(rounds, row, "cpu_us"))
            yield f"the load tester's own CPU: {ratio_text(share)} of {row}'s"


def verdicts(scenario, rounds):
    """Each bound of the scenario, for each row of the gateway, and whether it was kept."""
    lines = []
    for key, other, at_most in scenario.bounds:
        other = cheaper(rounds, key) if other == "cheaper" else other
        if other not in rounds[0]:
            continue
        words = dict(scenario.figures)[key]
        for row in rounds[0]:
            if row.startswith("gateway"):
                ratio = paired(column(rounds, row, key), column(rounds, other, key))
                kept = "kept" if ratio["median"] <= at_most else "MISSED"
                lines.append(f"- {kept}: {row}, {words}: {ratio_text(ratio)} of {other}'s, bound {at_most:.2f}")
    if "tester_us" in next(iter(rounds[0].values())):
        lines += [f"- {line}" for line in tester_share(rounds)]
    return "\n".join(lines)


def summary(set_up, results):
    """The whole run as Markdown."""
    parts = ["# Trunkline next to bare proxies, one core each", ""]
    parts += [f"- {name}: {text}" for name, text in set_up["versions"].items()]
    parts += [f"- {set_up['cpu']}, {set_up['cores']} cores, Linux {set_up['kernel']}", f"- commit {set_up['commit']}"]
    before, after = (set_up[f"load_average_at_{when}"][0] for when in ("start", "end"))
    busy = "" if before < BUSY else ": others used the machine, so trust ratios more than figures, and p99 least"
    parts += [f"- load average {before:.1f} before and {after:.1f} at the end{busy}"]
    parts += ["", "Medians of interleaved rounds; ratios are of figures of the same round, with their quartiles."]
    for scenario, rounds in results:
        parts += ["", f"## {scenario.title}", "", f"{len(rounds)} rounds.", "", scenario_table(scenario, rounds)]
        parts += ["", verdicts(scenario, rounds)]
    return "\n".join(parts) + "\n"


def readme_table(results, run_name):
    """The short form for the README."""
    names = list(dict.fromkeys(row for _, rounds in results for row in rounds[0]))
    header = ["median of interleaved rounds", *names, "gateway to haproxy", "gateway to the cheaper"]
    rows = []
    for scenario, rounds in results:
        keys = [("", scenario.figures[0][0])]
        if scenario.name == "latency":
            keys = [(", p50", "p50_us"), (", p99", "p99_us")]
        for suffix, key in keys:
            values = {row: column(rounds, row, key) for row in rounds[0]}
            mine = next((row for row in values if row.startswith("gateway")), None)
            cells = [scenario.title + suffix]
            cells += [number(spread(values[row])["median"]) if row in values else "" for row in names]
            for other in ("haproxy", cheaper(rounds, key)):
                known = mine and other in values
                cells.append(ratio_text(paired(values[mine], values[other])) if known else "")
            rows.append(cells)
    link = f"Set-up and raw data: [`loadtest/runs/{run_name}`](loadtest/runs/{run_name}/summary.md)."
    return f"{table(header, rows)}\n\n{link}"


def rewrite_readme(path, text):
    """Puts the text between the markers; says whether they were there."""
    before = path.read_text()
    if BEGIN not in before or END not in before:
        return False
    head, rest = before.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")
    return True


def save(directory, set_up, results, configs):
    """Writes a run: set-up, raw data, configurations, summary."""
    directory.mkdir(parents=True, exist_ok=True)
    raw = {scenario.name: {"title": scenario.title, "rounds": rounds} for scenario, rounds in results}
    (directory / "setup.json").write_text(json.dumps(set_up, indent=1) + "\n")
    (directory / "raw.json").write_text(json.dumps(raw, indent=1) + "\n")
    text = summary(set_up, results)
    (directory / "summary.md").write_text(text)
    for name, config in configs.items():
        if config:
            (directory / f"{name.replace(' ', '-')}.config").write_text(config.replace(f"{machine.ROOT}/", ""))
    return text
