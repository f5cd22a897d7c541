"""What `status` prints, whatever there is to say."""

import io

import pytest
from rich.console import Console

from xds_server.pb import status_pb2
from xds_server.server.display import explanation_view, status_view

MANY = 4_000


def test_of_one_namespace_only_its_shadows_are_shown() -> None:
    found = status_pb2.GetStatusResponse(server={"versions": {"LDS": "1"}})
    for namespace in ("staging", "production"):
        found.shadows.add(namespace=namespace, name="web-canary")
    out = io.StringIO()
    Console(file=out, width=120).print(status_view(found, "staging"))
    assert "staging/web-canary" in out.getvalue()
    assert "production" not in out.getvalue()


@pytest.mark.parametrize(("severity", "what"), [("Error", "problems"), ("Info", "notices")])
@pytest.mark.parametrize(
    ("count", "rest"), [(20, ""), (21, "and 1 more {}: see"), (MANY, "and 3980 more {}: see")]
)
def test_a_table_has_the_first_rows_and_says_how_many_there_are(
    severity: str, what: str, count: int, rest: str
) -> None:
    row = {"reason": "InvalidHost", "message": "It is no host. " * 20}
    found = status_pb2.GetStatusResponse()
    for number in range(count):
        found.conditions.add(subject=f"Service staging/app-{number}", severity=severity, **row)
    out = io.StringIO()
    Console(file=out, width=120).print(status_view(found))
    text = out.getvalue()
    assert "staging/app-19 " in text
    assert "staging/app-20 " not in text
    assert (f" more {what}" in text) is bool(rest)
    assert rest.format(what) in text
    assert len(text) < 20_000


@pytest.mark.parametrize(
    ("percent", "methods", "shown"),
    [("", [], "unknown"), ("100", [], "all"), ("100", ["GET", "HEAD"], "GET, HEAD")],
)
def test_the_methods_of_a_policy_that_cannot_be_read_are_unknown(
    percent: str, methods: list[str], shown: str
) -> None:
    shadow = status_pb2.Shadow(namespace="staging", name="myapp-canary", percent=percent, methods=methods)
    out = io.StringIO()
    Console(file=out, width=200).print(explanation_view(status_pb2.ExplainResponse(shadow=shadow)))
    assert f"Methods           {shown} " in out.getvalue()
    out = io.StringIO()
    status = status_pb2.GetStatusResponse(shadows=[shadow], server={"versions": {"LDS": "1"}})
    Console(file=out, width=200).print(status_view(status))
    assert f" {shown.replace(' ', '')} " in out.getvalue()
