"""What an object is here: the JSON document that a client sent, with nothing decoded.

A `Doc` that is in the store, or came out of it, is never changed in place: whoever needs another makes one,
and shares what stays the same.
"""

from typing import Any

Doc = dict[str, Any]
"""One JSON object."""


def metadata(doc: Doc) -> Doc:
    """The object's `metadata`; empty where it has none, or something else in its place."""
    found = doc.get("metadata")
    return found if isinstance(found, dict) else {}


def with_metadata(doc: Doc, **changes: object) -> Doc:
    """`doc` with entries of its metadata replaced; None takes one away."""
    merged = metadata(doc) | changes
    return doc | {"metadata": {name: value for name, value in merged.items() if value is not None}}


def mapping(doc: Doc, *path: str) -> Doc:
    """The mapping at `path`; empty where there is none, or something else in its place."""
    at: object = doc
    for name in path:
        at = at.get(name) if isinstance(at, dict) else None
    return at if isinstance(at, dict) else {}
