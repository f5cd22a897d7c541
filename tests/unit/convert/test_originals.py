"""What is printed never goes further than the documents, compared request by request.

What the documents do is told by an interpreter of each project (`tests/support/originals`), what the lines
do by one of this project's labels and annotations.

`tests/envoy/test_converted.py` asks a real Envoy.
"""

from collections import Counter

import pytest

from tests.support.converted import NAMES, Case, Seen, case_of, exceeds, patched, typed
from tests.support.originals import ours
from xds_server.cli.convert.convert import convert
from xds_server.cli.convert.form import Output

REQUESTS = 400
PROJECTS = ("apisix", "consul", "contour", "emissary", "flagger", "gateway", "istio", "nginx")


def holders(case: Case, service: tuple[str, str]) -> list[Seen]:
    """Whoever is behind a Service, but for what is mirrored to."""
    selector = case.services[service]["selector"]
    marked = {each[2] for each in typed(case.converted.lines).labels if each[0] == "Deployment"}
    return [
        Seen(namespace, name)
        for (namespace, name), labels in case.deployments.items()
        if namespace == service[0] and selector.items() <= labels.items() and name not in marked
    ]


@pytest.mark.parametrize("name", NAMES)
def test_no_other_service_and_nothing_more_mirrored(name: str) -> None:
    case = case_of(name)
    edits = typed(case.converted.lines)
    for asked in case.asked(REQUESTS):
        service, mirrored = ours.live(case, edits, asked), ours.mirrored(case, edits, asked)
        for seen in holders(case, service) if service else [None]:
            assert not (why := exceeds(case, asked, seen, mirrored)), f"{asked}: {why}"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_whole_mirrors_no_less(name: str) -> None:
    case = case_of(name)
    if not case.converted.whole:
        return
    edits = typed(case.converted.lines)
    for asked in case.asked(REQUESTS):
        for answer in case.answers(asked):
            mirrored = ours.mirrored(case, edits, asked)
            assert len(mirrored) == len(answer.mirrors) or asked.host in case.own_hosts, asked


def test_the_cases_mirror() -> None:
    """The comparison means something only where there is something to compare."""
    running: Counter[str] = Counter()
    for case in map(case_of, NAMES):
        edits = typed(case.converted.lines)
        count = sum(bool(ours.mirrored(case, edits, asked)) for asked in case.asked(REQUESTS))
        assert bool(count) == bool(case.converted.running), case.name
        running[case.name.partition("-")[0]] += bool(count)
    assert len(NAMES) >= 60
    assert all(running[project] >= 2 for project in PROJECTS), running
    assert sum(running.values()) >= 45


@pytest.mark.parametrize("name", NAMES)
def test_patches_say_what_the_lines_say(name: str) -> None:
    case = case_of(name)
    assert patched(convert(case.docs, Output.YAML).lines) == typed(case.converted.lines)
