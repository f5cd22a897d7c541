"""What holds for the whole run."""

from collections.abc import Iterator

import pytest

from tests.support.embedded import CALLS
from tests.support.installation import INSTALL, build
from tests.support.rbac import rules


@pytest.fixture(scope="session", autouse=True)
def only_what_the_manifests_permit() -> Iterator[None]:
    """No test made the control plane ask an API server for something that an installation does not permit."""
    yield
    if CALLS:
        docs = [*build(INSTALL / "cluster"), *build(INSTALL / "credential")]
        granted = {(rule.verb, rule.group, rule.resource) for rule in rules(docs)}
        assert {call for call in CALLS if (call.verb, call.group, call.resource) not in granted} == set()
