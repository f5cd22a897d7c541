"""Several selections on one Service: every request goes to exactly those that want it, by few routes."""

from collections.abc import Sequence
from itertools import product
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.pure.envoy_model import host_of, mirror, mirrored_to
from tests.unit.pure.kube import at, canary, namespace, pod, service, slice_of, world_of
from xds_server.core import branches as module
from xds_server.core.annotations import Selection
from xds_server.core.branches import (
    MAX_BRANCHES,
    Branch,
    TooManyConditionsError,
    branches,
)
from xds_server.core.conditions import Reason
from xds_server.core.objects import Object
from xds_server.core.plan import Match, State
from xds_server.core.resolve import resolve
from xds_server.core.terms import HeaderCondition, PathPrefix

METHODS = ("GET", "POST", "PUT")
PREFIXES = ("/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/c/")
CONDITIONS = tuple(HeaderCondition(name, value) for name in ("x-a", "x-b") for value in (None, "1", "2"))
PATHS = (
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/b/",
    "/a/bc",
    "/a/b/c",
    "/ab",
    "/abc",
    "/ab/a",
    "/c",
    "/c/",
    "/c/a",
    "/d",
)
HEADERS = [
    {name: value for name, value in (("x-a", a), ("x-b", b)) if value}
    for a, b in product((None, "1", "2", "3"), repeat=2)
]


def named(methods: Sequence[str] | None = None, **others: Sequence[str]) -> Selection:
    """A selection from plain texts; headers as ``name`` or ``name=value``."""
    headers = (each.partition("=") for each in others.get("headers", ()))
    return Selection(
        methods=None if methods is None else frozenset(methods),
        paths=frozenset(map(PathPrefix, others.get("paths", ()))),
        exclude_paths=frozenset(map(PathPrefix, others.get("exclude", ()))),
        headers=frozenset(HeaderCondition(name, value or None) for name, _, value in headers),
    )


def wanted(selection: Selection, method: str, path: str, headers: dict[str, str]) -> bool:
    """What the annotations mean, said directly."""

    def under(prefix: str) -> bool:
        return path.startswith(prefix) if prefix.endswith("/") else f"{path}/".startswith(f"{prefix}/")

    return (
        (selection.methods is None or method in selection.methods)
        and (not selection.paths or any(map(under, selection.paths)))
        and not any(map(under, selection.exclude_paths))
        and all(
            headers.get(condition.name) == condition.value if condition.value else condition.name in headers
            for condition in selection.headers
        )
    )


def consistent(headers: frozenset[HeaderCondition]) -> bool:
    """Whether no two values of one header are asked for: such annotations are rejected before."""
    valued = [condition.name for condition in headers if condition.value]
    return len(valued) == len(set(valued))


def some(of: Sequence[str]) -> st.SearchStrategy[frozenset[PathPrefix]]:
    return st.frozensets(st.sampled_from(of).map(PathPrefix), max_size=2)


selections = st.builds(
    Selection,
    methods=st.none() | st.frozensets(st.sampled_from(METHODS[:2]), min_size=1),
    paths=some(PREFIXES),
    exclude_paths=some(PREFIXES),
    headers=st.frozensets(st.sampled_from(CONDITIONS), max_size=2).filter(consistent),
)


@settings(max_examples=150)
@given(st.lists(selections, min_size=1, max_size=3))
def test_every_request_goes_to_exactly_those_that_want_it(several: list[Selection]) -> None:
    names = [f"c{number}" for number in range(len(several))]
    host = host_of(*(mirror(name, selection=each) for name, each in zip(names, several, strict=True)))
    for method, path, headers in product(METHODS, PATHS, HEADERS):
        expected = {
            name for name, each in zip(names, several, strict=True) if wanted(each, method, path, headers)
        }
        found = mirrored_to(host, method, headers=headers, path=path)
        assert found == expected, (method, path, headers)


@settings(max_examples=50)
@given(st.lists(selections, min_size=1, max_size=2))
def test_no_branch_can_be_left_out(several: list[Selection]) -> None:
    found = branches(tuple(several))
    for left_out in found[:-1]:
        rest = [branch for branch in found if branch is not left_out]
        assert any(
            taken(rest, method, path, headers) != taken(found, method, path, headers)
            for method, path, headers in product(METHODS, PATHS, HEADERS)
        ), left_out


def taken(found: Sequence[Branch], method: str, path: str, headers: dict[str, str]) -> tuple[int, ...]:
    """The canaries to which a request is mirrored, by the first branch that matches it."""
    for match, indices in ((branch.match, branch.wanted) for branch in found):
        exactly = Selection(
            methods=frozenset({match.method}) if match.method else None,
            paths=frozenset({match.path} if match.path else ()),
            headers=match.headers,
        )
        if wanted(exactly, method, path, headers):
            return indices
    raise AssertionError("the last branch takes what is left")


@pytest.mark.parametrize(
    ("several", "count"),
    [
        ([named()], 1),
        ([named(), named()], 1),
        ([named(["GET"])], 2),
        ([named(["GET", "HEAD"])], 3),
        ([named(["GET"]), named(["POST"])], 3),
        ([named(paths=["/api"])], 2),
        ([named(paths=["/"])], 1),
        ([named(paths=["/api", "/api/v1", "/api/"])], 2),
        ([named(exclude=["/admin"])], 2),
        ([named(paths=["/api"], exclude=["/api/admin"])], 3),
        ([named(["GET"], paths=["/api"])], 2),
        ([named(["GET"]), named(paths=["/api"])], 4),
        ([named(headers=["x-a=1", "x-b"])], 2),
        ([named(headers=["x-a=1"]), named(headers=["x-a=2"])], 3),
        ([named(headers=["x-a"]), named(headers=["x-a=1"])], 3),
        ([named(headers=["x-a"]), named(headers=["x-b"])], 4),
        ([named(["GET"], paths=["/a"]), named(["POST"], headers=["x-a"]), named(exclude=["/b"])], 5),
    ],
)
def test_how_many_branches_it_takes(several: list[Selection], count: int) -> None:
    assert len(branches(tuple(several))) == count


def test_grpc_services_are_selected_by_the_path_of_their_methods() -> None:
    found = branches((named(paths=["/shop.v1.Cart/Get", "/shop.v1.Prices/"]),))
    assert [(branch.match.path, branch.wanted) for branch in found] == [
        ("/shop.v1.Cart/Get", (0,)),
        ("/shop.v1.Prices/", (0,)),
        (None, ()),
    ]


# Limits


def spread(letter: str, count: int, **others: Sequence[str]) -> Selection:
    return named([f"{letter}{number}" for number in range(count)], **others)


@pytest.mark.parametrize(
    "several",
    [
        # More branches than Envoy should try,
        [spread("A", MAX_BRANCHES)],
        # more classes than should be looked at,
        [spread("A", 16, paths=[f"/{number}" for number in range(16)], headers=["x-a", "x-b", "x-c"])] * 2
        + [named(headers=["x-a"]), named(headers=["x-b"]), named(headers=["x-c"])],
        # and more sets of headers than should be counted.
        [named(headers=[f"x-{number}"]) for number in range(11)],
    ],
)
def test_too_many_conditions(several: list[Selection]) -> None:
    with pytest.raises(TooManyConditionsError):
        branches(tuple(several))


def test_as_many_branches_as_there_may_be() -> None:
    assert len(branches((spread("A", MAX_BRANCHES - 1),))) == MAX_BRANCHES


def test_many_classes_are_tried_in_one_order_alone() -> None:
    several = (spread("A", 15), named(paths=[f"/{number}" for number in range(16)]))
    with mock.patch.object(module, "_pruned", wraps=module._pruned) as pruned:
        with pytest.raises(TooManyConditionsError):
            branches(several)
        assert pruned.call_count == 1
    assert len(branches((named(["GET"]), named(paths=["/a"])))) == 4


def objects(*canaries: Object) -> list[Object]:
    return [
        namespace("staging"),
        service("myapp"),
        slice_of("myapp", at("10.0.0.1")),
        *canaries,
        *(pod(f"{each.name}-1", each.name, f"10.0.1.{number}") for number, each in enumerate(canaries, 1)),
    ]


def test_the_youngest_is_rejected_if_the_conditions_are_too_many() -> None:
    def apart(letter: str) -> str:
        return ",".join(f"{letter}{number}" for number in range(10))

    def under(letter: str) -> str:
        return ",".join(f"/{letter}{number}" for number in range(10))

    found = resolve(
        world_of(
            *objects(
                canary("elder", "myapp", methods=apart("A"), created="2026-01-01T00:00:00Z"),
                canary("second", "myapp", paths=under("a"), created="2026-01-02T00:00:00Z"),
                canary("third", "myapp", methods="GET", created="2026-01-03T00:00:00Z"),
            )
        )
    )
    states = {shadow.canary: shadow for shadow in found.shadows()}
    assert {name: shadow.state for name, shadow in states.items()} == {
        "elder": State.ACTIVE,
        "second": State.REJECTED,
        "third": State.REJECTED,
    }
    assert states["second"].reason is Reason.TOO_MANY_CONDITIONS
    assert states["second"].message == (
        "Its conditions and those of the older shadows of Service staging/myapp would take more than 64"
        " branches, 512 routes or 512Ki of configuration (virtual-host-bytes-max); ask for fewer methods,"
        " paths and headers, or omit max-rps."
    )
    # Whoever is younger waits: looking at each would be work without end.
    assert states["third"].message == (
        "The older shadow second of Service staging/myapp has more conditions than fit, and the younger ones"
        " wait until it asks for fewer."
    )


def test_independent_samples_of_many_conditions_are_too_many_routes() -> None:
    sampled = {
        f"s{number}": canary(
            f"s{number}", "myapp", percent=f"{number}5", created=f"2026-01-0{number}T00:00:00Z"
        )
        for number in range(1, 5)
    }
    wide = canary(
        "wide",
        "myapp",
        methods=",".join(f"A{number}" for number in range(16)),
        exclude_paths="/a,/b",
        created="2026-02-01T00:00:00Z",
    )
    found = resolve(world_of(*objects(*sampled.values(), wide)))
    rejected = [shadow for shadow in found.shadows() if shadow.state is State.REJECTED]
    assert [(shadow.canary, shadow.reason) for shadow in rejected] == [("wide", Reason.TOO_MANY_CONDITIONS)]


def test_everything_is_one_branch_without_conditions() -> None:
    assert branches((named(), named())) == (Branch(Match(), (0, 1)),)
