"""Consul: the route configuration of an escape hatch, which is Envoy's own."""

import json
from collections.abc import Sequence
from typing import Any

from tests.support.originals.answers import (
    NO_BACKEND,
    Answer,
    Asked,
    Doc,
    Target,
    closest,
    documents,
    namespace_of,
    regex,
    segment,
)

_GROUP = "consul.hashicorp.com"
_PARTS = {"HUNDRED": 1, "TEN_THOUSAND": 100, "MILLION": 10_000}


def answers(docs: Sequence[Any], asked: Asked) -> list[Answer]:
    """Of each listener the first route that the request meets."""
    found = []
    for doc in [*documents(docs, _GROUP, "ServiceDefaults"), *documents(docs, _GROUP, "ProxyDefaults")]:
        for text in _hatches(doc["spec"]):
            for host in _hosts(json.loads(text)):
                found += [_answer(host, doc, asked)] if closest(asked.host, host["domains"]) else []
    return found or [NO_BACKEND]


def _hatches(spec: Doc) -> list[str]:
    upstreams = spec.get("upstreamConfig", {})
    parts = [upstreams.get("defaults", {}), *upstreams.get("overrides", []), spec.get("config", {})]
    return [
        part[key]
        for part in parts
        for key in part
        if key in ("envoyListenerJSON", "envoy_public_listener_json")
    ]


def _hosts(listener: Doc) -> list[Doc]:
    return [
        host
        for chain in listener["filter_chains"]
        for each in chain["filters"]
        for host in each["typed_config"]["route_config"]["virtual_hosts"]
    ]


def _answer(host: Doc, doc: Doc, asked: Asked) -> Answer:
    for route in host["routes"]:
        if _meets(route["match"], asked):
            if "route" not in route:
                return NO_BACKEND
            action = route["route"]
            mirrors = {
                _target(each["cluster"], doc): _share(each)
                for each in action.get("request_mirror_policies", [])
            }
            changed = "prefix_rewrite" in action
            return Answer(frozenset({_target(action["cluster"], doc)}), mirrors, changed=changed)
    return NO_BACKEND


def _meets(match: Doc, asked: Asked) -> bool:
    for each in match.get("headers", []):
        value = asked.method if each["name"] == ":method" else asked.header(each["name"])
        if "string_match" in each and value != each["string_match"].get("exact"):
            return False
        if "present_match" in each and (value is not None) is not each["present_match"]:
            return False
    if "safe_regex" in match:
        return regex(match["safe_regex"]["regex"], asked.path)
    if "path" in match:
        return bool(asked.path == match["path"])
    if "path_separated_prefix" in match:
        return segment(match["path_separated_prefix"], asked.path)
    return asked.path.startswith(match["prefix"])


def _share(policy: Doc) -> float:
    value = policy.get("runtime_fraction", {}).get("default_value", {"numerator": 100})
    part = _PARTS.get(value.get("denominator", "HUNDRED"))
    return float(value["numerator"] / part) if part else 0.0


def _target(cluster: str, doc: Doc) -> Target:
    return Target(namespace_of(doc), cluster.partition(".")[0])
