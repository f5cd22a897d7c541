"""Objects as rows for `kubectl get` (meta.k8s.io/v1 Table). Pure; the time is an argument."""

from collections.abc import Sequence
from datetime import datetime

from xds_server.local.kubeapi.columns import Column, columns
from xds_server.local.kubeapi.doc import Doc, metadata
from xds_server.local.kubeapi.resources import Resource


def table(
    resource: Resource,
    docs: Sequence[Doc],
    *,
    now: datetime,
    include: str,
    version: str,
    continue_: str = "",
    remaining: int | None = None,
) -> Doc:
    """A Table of objects of one kind. `include` says what a row has besides its cells: the "Object", its
    "Metadata", or "None". `continue_` and `remaining` are those of a list that continues."""
    shown = columns(resource)
    meta: Doc = {"resourceVersion": version}
    if continue_:
        meta["continue"] = continue_
    if remaining is not None:
        meta["remainingItemCount"] = remaining
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": [_definition(column) for column in shown],
        "rows": [_row(shown, doc, include, now) for doc in docs],
    }


def _definition(column: Column) -> Doc:
    return {
        "name": column.name,
        "type": column.kind,
        "format": "name" if column.name == "Name" else "",
        "description": "",
        "priority": column.priority,
    }


def _row(shown: Sequence[Column], doc: Doc, include: str, now: datetime) -> Doc:
    row: Doc = {"cells": [column.cell(doc, now) for column in shown]}
    match include:
        case "Object":
            row["object"] = doc
        case "Metadata":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata(doc),
            }
    return row
