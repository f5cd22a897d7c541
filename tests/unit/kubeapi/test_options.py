"""The parameters of requests, and which contradict each other."""

import pytest

from xds_server.local.kubeapi.errors import StatusError
from xds_server.local.kubeapi.options import (
    ListOptions,
    Token,
    delete_options,
    list_options,
    write_options,
)
from xds_server.local.kubeapi.registry import DeleteOptions, WriteOptions

TOKEN = Token(7, "x", "web").text()
STREAM = {"watch": "1", "sendInitialEvents": "true", "allowWatchBookmarks": "true"}


def test_nothing_said() -> None:
    assert list_options({}, streams=True) == ListOptions()


def test_everything_said() -> None:
    query = {
        "labelSelector": "a=b",
        "fieldSelector": "metadata.name=x",
        "limit": "500",
        "continue": TOKEN,
        "timeoutSeconds": "30",
    }
    assert list_options(query, streams=True) == ListOptions(
        labels="a=b", fields="metadata.name=x", limit=500, token=Token(7, "x", "web"), timeout=30
    )


@pytest.mark.parametrize("text", ["", "1", "true"])
def test_a_watch(text: str) -> None:
    options = list_options({"watch": text, "resourceVersion": "0"}, streams=True)
    assert (options.watch, options.version) == (True, 0)


def test_a_streaming_list() -> None:
    options = list_options(STREAM | {"resourceVersionMatch": "NotOlderThan"}, streams=True)
    assert (options.initial, options.bookmarks) == (True, True)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            {"sendInitialEvents": "true"},
            "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
        ),
        (
            {"continue": TOKEN, "resourceVersion": "5"},
            "resourceVersion: Forbidden: specifying resource version",
        ),
        (
            {"continue": TOKEN, "resourceVersionMatch": "Exact"},
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
        ),
        (
            {"resourceVersionMatch": "Exact"},
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion",
        ),
        (
            {"resourceVersionMatch": "Newest", "resourceVersion": "5"},
            'resourceVersionMatch: Unsupported value: "Newest"',
        ),
        (
            {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
            'resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
        ),
        ({"resourceVersion": "new"}, 'resourceVersion: Invalid value: "new"'),
        (
            {"watch": "1", "resourceVersionMatch": "NotOlderThan"},
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (STREAM, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
        (
            STREAM | {"resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "false"},
            "allowWatchBookmarks: Forbidden: sendInitialEvents requires allowWatchBookmarks",
        ),
    ],
)
def test_contradictions(query: dict[str, str], message: str) -> None:
    with pytest.raises(StatusError) as caught:
        list_options(query, streams=True)
    assert caught.value.code == 422
    assert caught.value.message.startswith('ListOptions.meta.k8s.io "" is invalid: ')
    assert message in caught.value.message


def test_a_server_without_streaming_lists() -> None:
    with pytest.raises(StatusError, match="unless the WatchList feature gate is enabled") as caught:
        list_options(STREAM | {"resourceVersionMatch": "NotOlderThan"}, streams=False)
    assert caught.value.code == 422


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "-1"},
        {"limit": "many"},
        {"limit": "²"},
        {"watch": "maybe"},
        {"continue": "?"},
        {"continue": "e30="},
        {"continue": "é"},
        {"continue": "WzEsMl0="},
    ],
)
def test_parameters_that_cannot_be_read(query: dict[str, str]) -> None:
    with pytest.raises(StatusError) as caught:
        list_options(query, streams=True)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")


def test_a_watch_does_not_last_for_ever() -> None:
    assert list_options({"timeoutSeconds": "9" * 30}, streams=True).timeout == 86_400


def test_writes() -> None:
    assert write_options({}, "kubectl/v1.32 (linux)") == WriteOptions(manager="kubectl")
    assert write_options({}, "") == WriteOptions(manager="unknown")
    query = {"fieldManager": "me", "dryRun": "All", "force": "true"}
    assert write_options(query, "kubectl") == WriteOptions(manager="me", dry_run=True, force=True)
    with pytest.raises(StatusError, match="dryRun: Unsupported value") as caught:
        write_options({"dryRun": "Some"}, "")
    assert caught.value.code == 422


def test_deletes() -> None:
    body = {"preconditions": {"uid": "u", "resourceVersion": "5"}, "propagationPolicy": "Foreground"}
    assert delete_options({}, body) == DeleteOptions(uid="u", version="5")
    assert delete_options({"dryRun": "All"}, {}).dry_run
    assert delete_options({}, {"dryRun": ["All"]}).dry_run
    with pytest.raises(StatusError, match="dryRun"):
        delete_options({}, {"dryRun": ["Some"]})
