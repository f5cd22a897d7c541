"""Parses and validates request parameters by the rules of the API server's ListOptions. Pure."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from xds_server.local.kubeapi.doc import Doc, mapping
from xds_server.local.kubeapi.errors import StatusError, bad_request, invalid_options
from xds_server.local.kubeapi.history import Key
from xds_server.local.kubeapi.registry import DeleteOptions, WriteOptions
from xds_server.local.kubeapi.schemas import IGNORE, STRICT, WARN

EXACT: Final = "Exact"
NOT_OLDER: Final = "NotOlderThan"
_LONGEST: Final = 86_400
"""The most seconds that a watch may last."""

Parameters = Mapping[str, str]
"""The parameters of a URL's query."""


class Token(msgspec.Struct):
    """Where a list continues: after a key, at the version of its first page."""

    version: int
    namespace: str
    name: str

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)

    def text(self) -> str:
        """The encoded token. Clients must not interpret it."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode()

    @classmethod
    def parse(cls, text: str) -> "Token":
        """Raises 400."""
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(text), type=cls)
        except (ValueError, msgspec.MsgspecError) as error:
            raise bad_request("continue key is not valid") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Parameters of a list or a watch. `version` is None if the client does not set it; 0 means any
    version."""

    labels: str = ""
    fields: str = ""
    limit: int = 0
    token: Token | None = None
    version: int | None = None
    match: str = ""
    watch: bool = False
    bookmarks: bool = False
    initial: bool | None = None  # sendInitialEvents
    timeout: int | None = None  # seconds


def list_options(query: Parameters, *, streams: bool) -> ListOptions:
    """`streams` says whether streaming lists are supported. Raises 400 and 422."""
    version = query.get("resourceVersion", "")
    token = query.get("continue", "")
    options = ListOptions(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=_number(query, "limit") or 0,
        token=Token.parse(token) if token else None,
        version=_version(version) if version else None,
        match=query.get("resourceVersionMatch", ""),
        watch=_flag(query, "watch") or False,
        bookmarks=_flag(query, "allowWatchBookmarks") or False,
        initial=_flag(query, "sendInitialEvents"),
        timeout=_number(query, "timeoutSeconds"),
    )
    problems = _watch_problems(options, streams=streams) if options.watch else _list_problems(options)
    for field, message in problems:
        raise invalid_options("ListOptions", field, message)
    return options


def _list_problems(options: ListOptions) -> Iterator[tuple[str, str]]:
    match = "resourceVersionMatch"
    if options.initial is not None:
        yield "sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list"
    if options.token and options.version:
        yield "resourceVersion", "Forbidden: specifying resource version is not allowed when using continue"
    if not options.match:
        return
    if options.token:
        yield match, "Forbidden: resourceVersionMatch is forbidden when continue is provided"
    if options.version is None:
        yield match, "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
    if options.match not in (EXACT, NOT_OLDER):
        yield match, f'Unsupported value: "{options.match}": supported values: "", "{EXACT}", "{NOT_OLDER}"'
    if options.match == EXACT and not options.version:
        yield match, 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'


def _watch_problems(options: ListOptions, *, streams: bool) -> Iterator[tuple[str, str]]:
    match = "resourceVersionMatch"
    if options.initial is None:
        if options.match:
            yield match, f"Forbidden: {match} is forbidden for watch unless sendInitialEvents is provided"
        return
    if options.match != NOT_OLDER:
        yield match, f"Forbidden: sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER}"
    if not streams:
        gate = "the WatchList feature gate is enabled"
        yield "sendInitialEvents", f"Forbidden: sendInitialEvents is forbidden for watch unless {gate}"
    if options.initial and not options.bookmarks:
        yield "allowWatchBookmarks", "Forbidden: sendInitialEvents requires allowWatchBookmarks"


def write_options(query: Parameters, user_agent: str) -> WriteOptions:
    """If no field manager is given, it is the program in the User-Agent. Raises 400."""
    return WriteOptions(
        manager=query.get("fieldManager") or user_agent.partition("/")[0] or "unknown",
        dry_run=_dry_run(query.get("dryRun", "")),
        force=_flag(query, "force") or False,
        validation=_validation(query.get("fieldValidation", "")),
    )


def delete_options(query: Parameters, body: Doc) -> DeleteOptions:
    """From the parameters and the DeleteOptions that may be in the body. Options for controllers are ignored.
    Raises 400."""
    values = body.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    preconditions = mapping(body, "preconditions")
    return DeleteOptions(
        uid=str(preconditions.get("uid") or ""),
        version=str(preconditions.get("resourceVersion") or ""),
        dry_run=any(_dry_run(str(each)) for each in values),
    )


def _validation(text: str) -> str:
    known = ("", IGNORE, WARN, STRICT)
    if text not in known:
        supported = ", ".join(f'"{each}"' for each in known)
        message = f'Unsupported value: "{text}": supported values: {supported}'
        raise invalid_options("WriteOptions", "fieldValidation", message)
    return text or WARN


def _dry_run(text: str) -> bool:
    if text not in ("", "All"):
        raise invalid_options(
            "WriteOptions", "dryRun", f'Unsupported value: "{text}": supported values: "All"'
        )
    return text == "All"


def _flag(query: Parameters, name: str) -> bool | None:
    text = query.get(name, "")
    if text in ("true", "True", "TRUE", "1", "t", "T"):
        return True
    if text in ("false", "False", "FALSE", "0", "f", "F"):
        return False
    if text:
        raise _unreadable(name, text)
    return True if name in query and name == "watch" else None  # ?watch without a value means true


def _number(query: Parameters, name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise _unreadable(name, text)
    return min(int(text), _LONGEST) if name == "timeoutSeconds" else int(text)


def _version(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise invalid_options("ListOptions", "resourceVersion", f'Invalid value: "{text}": must be a number')
    return int(text)


def _unreadable(name: str, text: str) -> StatusError:
    return bad_request(f"the parameter {name} cannot be read: {text!r}")
