"""What is printed never goes further than the documents, also for documents at random."""

import random

import pytest
import yaml

from tests.support.converted import Case, Seen, exceeds, typed
from tests.support.originals import ours
from tests.support.random_documents import MAKERS, NAMESPACE, world

ROUNDS = 40
REQUESTS = 120


@pytest.mark.parametrize("project", MAKERS)
def test_no_other_service_and_nothing_more_mirrored(project: str) -> None:
    mirrored_requests = 0
    for seed in range(ROUNDS):
        docs = [*MAKERS[project](random.Random(f"{project} {seed}")), *world()]  # noqa: S311 - no secret
        case = Case(NAMESPACE, yaml.safe_dump_all(docs))
        edits = typed(case.converted.lines)
        for asked in case.asked(REQUESTS if case.converted.running else 0):
            service, mirrored = ours.live(case, edits, asked), ours.mirrored(case, edits, asked)
            live = Seen(*service) if service else None
            mirrored_requests += bool(mirrored)
            assert not (why := exceeds(case, asked, live, mirrored)), f"{project} {seed}, {asked}: {why}"
    assert mirrored_requests > ROUNDS
