"""List pages and watch events from raw bytes."""

import json
from typing import Any

import pytest

from tests.unit.kube.manifests import Doc, service
from xds_server.core.decode import DecodeError
from xds_server.core.objects import Kind, Ref
from xds_server.kube.watch_events import (
    Bookmark,
    Ended,
    Gone,
    Seen,
    Unreadable,
    decode_event,
    decode_listed,
    decode_page,
    decode_status,
)

WEB = Ref(Kind.SERVICE, "staging", "web")


def page(*items: Any, **metadata: str) -> bytes:
    return json.dumps({"kind": "ServiceList", "metadata": metadata, "items": list(items)}).encode()


def event(kind: str, obj: Doc, version: str = "7") -> bytes:
    obj["metadata"]["resourceVersion"] = version
    return json.dumps({"type": kind, "object": obj}).encode()


def test_a_page_gives_its_objects_and_where_it_goes_on() -> None:
    found = decode_page(Kind.SERVICE, page(service("web"), resourceVersion="5", **{"continue": "t"}), "")
    assert [obj.name for obj in found.objects] == ["web"]
    assert (found.resource_version, found.token, found.rejected) == ("5", "t", {})


def test_the_last_page_may_be_null() -> None:
    found = decode_page(Kind.SERVICE, b'{"metadata": {"resourceVersion": "5"}, "items": null}', "")
    assert (found.objects, found.token) == ([], "")


def test_one_bad_item_costs_no_other() -> None:
    body = page(service("web"), service("bad", port="x"), service("api"), resourceVersion="5")
    found = decode_page(Kind.SERVICE, body, "kube/Service")
    assert [obj.name for obj in found.objects] == ["web", "api"]
    (ref,) = found.rejected
    assert ref == Ref(Kind.SERVICE, "staging", "bad")
    assert str(found.rejected[ref].subject) == "Service staging/bad"
    assert found.resource_version == "5"


def test_own_annotations_are_all_that_both_ways_through_a_page_keep() -> None:
    noisy = service("web", annotations={"other.io/x": "1", "xds-shadow.io/hosts": "a"})
    for body in (page(noisy), page(noisy, service("bad", port="x"))):
        (obj,) = decode_page(Kind.SERVICE, body, "").objects
        assert obj.annotations == {"xds-shadow.io/hosts": "a"}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", page({"spec": {}}), page(service("a"), 7)])
def test_a_body_that_is_no_list_is_rejected_as_a_whole(body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_page(Kind.SERVICE, body, "kube/Service")


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED"])
def test_a_seen_object(kind: str) -> None:
    seen = decode_event(Kind.SERVICE, event(kind, service("web")), "")
    assert isinstance(seen, Seen)
    assert (seen.obj.name, seen.resource_version) == ("web", "7")


def test_a_deleted_object_needs_no_more_than_a_name() -> None:
    assert decode_event(Kind.SERVICE, event("DELETED", service("web", port="x")), "") == Gone("7", WEB)


def test_an_unreadable_object_still_moves_the_version() -> None:
    bad = decode_event(Kind.SERVICE, event("MODIFIED", service("web", port="x")), "kube/Service")
    assert isinstance(bad, Unreadable)
    assert (bad.resource_version, bad.ref, bad.problem.reason) == ("7", WEB, "DecodeFailed")


def test_a_bookmark_has_a_version_and_no_name() -> None:
    assert decode_event(Kind.SERVICE, event("BOOKMARK", {"metadata": {}}, "9"), "") == Bookmark("9")


def test_an_error_event_carries_a_status() -> None:
    line = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}'
    ended = decode_event(Kind.SERVICE, line, "")
    assert isinstance(ended, Ended)
    assert (ended.status.code, ended.status.reason, ended.status.message) == (410, "Expired", "too old")


@pytest.mark.parametrize("line", [b"", b"{", b"{}", b'{"type":"NEWS","object":{"metadata":{}}}', b"\xff\xfe"])
def test_a_line_that_is_no_event_is_rejected(line: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_event(Kind.SERVICE, line, "")


def test_an_error_page_of_a_proxy_is_an_empty_status() -> None:
    assert decode_status(b"<html>Bad gateway</html>").message == ""


@pytest.mark.parametrize(
    "line",
    [
        event("MODIFIED", service("web")),
        event("DELETED", service("web")),
        event("ADDED", service("web", port="x")),
        event("BOOKMARK", {"metadata": {}}),
    ],
    ids=["modified", "deleted", "unreadable", "bookmark"],
)
def test_the_first_part_of_a_streaming_list_has_any_event(line: bytes) -> None:
    assert decode_listed(Kind.SERVICE, line, "") == decode_event(Kind.SERVICE, line, "")


def test_an_object_of_the_first_part_comes_without_its_version() -> None:
    line = event("ADDED", service("web", annotations={"other": "x"}))
    seen = decode_event(Kind.SERVICE, line, "")
    assert isinstance(seen, Seen)
    assert decode_listed(Kind.SERVICE, line, "") == Seen("", seen.obj)
