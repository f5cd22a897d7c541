"""What holds for the whole run: examples, tests that are left out, parallel processes, permissions."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.embedded import CALLS
from tests.support.installation import INSTALL, build
from tests.support.rbac import rules

CLUSTER, THOROUGH = "cluster", "thorough"

settings.register_profile(
    "quick",
    derandomize=True,  # the same examples in every run
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    THOROUGH, parent=settings.get_profile("quick"), derandomize=False, max_examples=2000, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.hookimpl(optionalhook=True)  # scripts/test-lowest runs without pytest-xdist
def pytest_xdist_auto_num_workers() -> int:
    """Two processes more than there are processors: tests on Envoys spend part of their time waiting."""
    return len(os.sched_getaffinity(0)) + 2


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that take minutes and tests on a cluster run only where ``-m`` names their marker: whatever
    `KUBECONFIG` says, no other run connects to a cluster."""
    for marker in (CLUSTER, THOROUGH):
        left_out = [item for item in items if item.get_closest_marker(marker)]
        if left_out and marker not in config.option.markexpr:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if THOROUGH not in config.option.markexpr:
        terminalreporter.write_line(
            "Tests with the marker `thorough` were not run; make test-thorough runs them."
        )


@pytest.fixture(scope="session", autouse=True)
def only_what_the_manifests_permit() -> Iterator[None]:
    """No test made the control plane ask an API server for something that an installation does not permit."""
    yield
    if CALLS:
        docs = [*build(INSTALL / "cluster"), *build(INSTALL / "credential")]
        granted = {(rule.verb, rule.group, rule.resource) for rule in rules(docs)}
        assert {call for call in CALLS if (call.verb, call.group, call.resource) not in granted} == set()
