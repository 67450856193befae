"""Figures next to their bounds, and whether all of them were kept."""

from .figures import number


class Verdicts:
    """Prints each figure as it is known; `code` is the exit code for all of them."""

    def __init__(self):
        self.missed = 0

    def at_most(self, what, value, bound, unit="", beside=""):
        """A figure that must not be greater."""
        self._tell(what, value <= bound, f"{number(value)} {unit}".strip(), f"at most {number(bound)}", beside)

    def exactly(self, what, value, wanted, beside=""):
        """A count that must be this one."""
        self._tell(what, value == wanted, f"{value:,}", f"{wanted:,}", beside)

    def _tell(self, what, kept, value, bound, beside):
        self.missed += not kept
        note = f"; {beside}" if beside else ""
        print(f"{'kept  ' if kept else 'MISSED'}  {what}: {value} (bound: {bound}{note})", flush=True)

    def code(self):
        return 1 if self.missed else 0
