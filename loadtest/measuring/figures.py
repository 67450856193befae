"""Medians, spreads and paired ratios."""

from math import isfinite, nan
from statistics import median, quantiles


def spread(values):
    """Median, minimum and quartiles of some values."""
    values = sorted(values)
    if not values:
        return dict.fromkeys(("median", "min", "q1", "q3"), nan) | {"n": 0}
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": median(values), "min": values[0], "q1": low, "q3": high, "n": len(values)}


def paired(values, others):
    """The ratios of values that were measured in the same rounds: what slows a whole round down cancels out."""
    return spread([mine / other for mine, other in zip(values, others) if other > 0])


def number(value, digits=3):
    """Three digits that count."""
    if value == 0 or not isfinite(value):
        return f"{value:.0f}"
    places = max(0, digits - 1 - int(f"{abs(value):e}".split("e")[1]))
    return f"{value:.{places}f}"


def ratio_text(ratio):
    """A ratio with its quartiles."""
    return f"{ratio['median']:.2f} ({ratio['q1']:.2f}–{ratio['q3']:.2f})"


def table(header, rows):
    """A Markdown table whose columns are as wide as their widest cell."""
    lines = [header, *rows]
    widths = [max(len(str(line[at])) for line in lines) for at in range(len(header))]
    text = ["| " + " | ".join(str(cell).ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)
