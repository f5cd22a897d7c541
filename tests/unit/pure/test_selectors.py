"""Label selectors, as the API server matches and writes them."""

from collections.abc import Mapping

import pytest

from xds_server.core.objects import LabelRequirement, LabelSelector
from xds_server.core.selectors import as_query, matches

X = {"app": "x", "tier": "web"}


def where(*terms: tuple[str, str] | tuple[str, str, tuple[str, ...]]) -> LabelSelector:
    requirements = tuple(
        LabelRequirement(key=term[0], operator=term[1], values=term[2] if len(term) > 2 else None)
        for term in terms
    )
    return LabelSelector(match_expressions=requirements)


@pytest.mark.parametrize(
    ("selector", "labels"),
    [
        (LabelSelector(match_labels={"app": "x"}), X),
        (LabelSelector(match_labels={"app": "x", "tier": "web"}), X),
        (LabelSelector(match_labels={"app": ""}), {"app": ""}),
        (where(("app", "In", ("y", "x"))), X),
        (where(("app", "NotIn", ("y",))), X),
        (where(("gone", "NotIn", ("y",))), X),
        (where(("app", "Exists")), X),
        (where(("gone", "DoesNotExist")), X),
        (where(("app", "Exists"), ("gone", "DoesNotExist")), X),
        (
            LabelSelector(
                match_labels={"app": "x"}, match_expressions=where(("tier", "Exists")).match_expressions
            ),
            X,
        ),
    ],
)
def test_it_matches(selector: LabelSelector, labels: Mapping[str, str]) -> None:
    assert matches(selector, labels)


@pytest.mark.parametrize(
    "selector",
    [
        LabelSelector(match_labels={"app": "y"}),
        LabelSelector(match_labels={"app": "x", "tier": "db"}),
        LabelSelector(match_labels={"gone": ""}),
        where(("app", "In", ("y", "z"))),
        where(("app", "In")),
        where(("gone", "In", ("x",))),
        where(("app", "NotIn", ("x",))),
        where(("gone", "Exists")),
        where(("app", "DoesNotExist")),
        where(("app", "Exists"), ("tier", "DoesNotExist")),
        where(("app", "Gt", ("1",))),
        LabelSelector(
            match_labels={"app": "y"}, match_expressions=where(("tier", "Exists")).match_expressions
        ),
        LabelSelector(
            match_labels={"app": "x"}, match_expressions=where(("gone", "Exists")).match_expressions
        ),
        # The whole namespace, by mistake: never.
        LabelSelector(),
        LabelSelector(match_labels={}, match_expressions=()),
    ],
)
def test_it_does_not_match(selector: LabelSelector) -> None:
    assert not matches(selector, X)


@pytest.mark.parametrize(
    ("selector", "query"),
    [
        (LabelSelector(), ""),
        (LabelSelector(match_labels={"b": "2", "a": "1"}), "a=1,b=2"),
        (where(("k", "In", ("y", "x"))), "k in (x,y)"),
        (where(("k", "NotIn", ("y", "x"))), "k notin (x,y)"),
        (where(("b", "Exists"), ("a", "DoesNotExist")), "!a,b"),
        (where(("k", "Gt", ("1",))), ""),
        (
            LabelSelector(
                match_labels={"z": "1"}, match_expressions=where(("a", "Exists")).match_expressions
            ),
            "z=1,a",
        ),
    ],
)
def test_it_is_written_in_a_stable_order(selector: LabelSelector, query: str) -> None:
    assert as_query(selector) == query
