"""Says at the end what became of the blocks."""

from collections import Counter

import pytest

FATE = "block"
"""The property of a test's report that says it: `run`, `checked` …, and after it a reason."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    fates = [
        str(value)
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == FATE
    ]
    if not fates:
        return
    counts = Counter(fate.partition(":")[0] for fate in fates)
    terminalreporter.section("blocks of the documentation")
    terminalreporter.write_line(", ".join(f"{counts[fate]} {fate}" for fate in sorted(counts)))
    for fate in sorted(set(fates)):
        if fate.startswith("listed:"):
            terminalreporter.write_line(fate)
