"""The representation of an object: the JSON document that a client sent, with nothing decoded.

A `Doc` in or from the store is never changed in place. Changes create a new one that shares the unchanged
parts.
"""

from typing import Any

Doc = dict[str, Any]
"""One JSON object."""


def metadata(doc: Doc) -> Doc:
    """The object's `metadata`; empty if it is missing or not a mapping."""
    found = doc.get("metadata")
    return found if isinstance(found, dict) else {}


def with_metadata(doc: Doc, **changes: object) -> Doc:
    """`doc` with entries of its metadata replaced; None removes an entry."""
    merged = metadata(doc) | changes
    return doc | {"metadata": {name: value for name, value in merged.items() if value is not None}}


def mapping(doc: Doc, *path: str) -> Doc:
    """The mapping at `path`; empty if it is missing or not a mapping."""
    at: object = doc
    for name in path:
        at = at.get(name) if isinstance(at, dict) else None
    return at if isinstance(at, dict) else {}
