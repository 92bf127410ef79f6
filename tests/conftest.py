"""What every group of tests shares: a group that ran nothing is a failure, and a slow machine is none."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.integration.alarm_cases")

# Hypothesis' limits on time measure how busy the machine is. `make test` draws the same examples each time
# (profile "steady"); pytest by hand draws new ones, and prints how to draw a failing one again.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("steady", settings.get_profile("house"), derandomize=True, database=None)
settings.load_profile("house")

_COUNTER = "guestroom-ran"


class RanCounter:
    """Counts, per marker, the tests that really ran (passed or failed, not skipped), also under xdist."""

    def __init__(self, markers: list[str], any_test: bool) -> None:
        self.ran = dict.fromkeys(markers, 0)
        self.any_ran = None if not any_test else 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A skipped test never gets as far as an outcome of its call."""
        if report.when != "call" or report.skipped:
            return
        for marker in self.ran:
            self.ran[marker] += marker in report.keywords
        if self.any_ran is not None:
            self.any_ran += 1

    def missing(self) -> list[str]:
        """The groups of which no test ran."""
        missing = [f"no test marked {marker!r} ran" for marker, count in self.ran.items() if count == 0]
        return missing if self.any_ran != 0 else [*missing, "no test ran"]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which, above pytest's own last line."""
        for line in self.missing():
            terminalreporter.write_line(f"FAILED: {line} (skipped tests count as not run)", red=True)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn a green session red."""
        if self.missing() and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--must-run MARKER`` and ``--must-run-any``, used by ``tools/test.sh``."""
    group = parser.getgroup("guestroom")
    group.addoption("--must-run", action="append", default=[], metavar="MARKER", help="fail if no such test ran")
    group.addoption("--must-run-any", action="store_true", help="fail if no test ran")


def pytest_configure(config: pytest.Config) -> None:
    """Count where the reports come together, which with xdist is not in the workers."""
    if not hasattr(config, "workerinput"):
        counter = RanCounter(config.getoption("--must-run"), config.getoption("--must-run-any"))
        config.pluginmanager.register(counter, _COUNTER)
