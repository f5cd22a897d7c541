"""Apache APISIX's ApisixRoute with ApisixPluginConfigs."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from tests.support.originals.answers import NO_BACKEND, Answer, Asked, Doc, Target, documents, namespace_of

_GROUP = "apisix.apache.org"
_LOGS = ("prometheus", "zipkin", "http-logger")


def answers(docs: Sequence[Any], asked: Asked) -> list[Answer]:
    """The closest host, then an exact path, the longest, the highest priority."""
    found = []
    for doc in documents(docs, _GROUP, "ApisixRoute"):
        for route in doc["spec"].get("http", []):
            match = route.get("match", {})
            for host in match.get("hosts") or ["*"]:
                for path in match.get("paths") or ["/*"]:
                    if _meets(host, path, match, asked):
                        rank = (
                            host.startswith("*"),
                            -len(host),
                            path.endswith("*"),
                            -len(path),
                            -route.get("priority", 0),
                        )
                        found.append((rank, _routed(route, doc, docs)))
    found.sort(key=lambda each: each[0])
    return [found[0][1]] if found else [NO_BACKEND]


def _meets(host: str, path: str, match: Doc, asked: Asked) -> bool:
    if host not in ("*", asked.host) and not (host.startswith("*.") and asked.host.endswith(host[1:])):
        return False
    if not (asked.path.startswith(path[:-1]) if path.endswith("*") else asked.path == path):
        return False
    if asked.method not in (match.get("methods") or [asked.method]) or match.get("remoteAddrs"):
        return False
    return all(_expression(each, asked) for each in match.get("exprs", []))


def _expression(each: Doc, asked: Asked) -> bool:
    subject = each["subject"]
    value = (
        asked.header(subject["name"])
        if subject["scope"] == "Header"
        else dict(asked.query).get(subject["name"])
    )
    return bool(each["op"] == "Equal" and value == each["value"])


def _routed(route: Doc, doc: Doc, docs: Sequence[Any]) -> Answer:
    plugins = {each["name"]: each for each in _config(route, doc, docs)}
    plugins |= {each["name"]: each for each in route.get("plugins", [])}
    on = {name: each for name, each in plugins.items() if each.get("enable", True)}
    mirrors = {}
    if "proxy-mirror" in on:
        config = on["proxy-mirror"]["config"]
        mirrors[_target(config["host"], doc)] = 100 * config.get("sample_ratio", 1)
    changed = bool(on.keys() - {"proxy-mirror", *_LOGS}) or "authentication" in route
    changed |= "proxy-mirror" in on and "path" in on["proxy-mirror"]["config"]
    backends = frozenset(
        Target(namespace_of(doc), each["serviceName"])
        for each in route.get("backends", [])
        if each.get("weight", 100)
    )
    return Answer(backends, mirrors, changed=changed)


def _config(route: Doc, doc: Doc, docs: Sequence[Any]) -> list[Doc]:
    name = route.get("plugin_config_name")
    found: list[Doc] = []
    for each in documents(docs, _GROUP, "ApisixPluginConfig"):
        if (each["metadata"]["name"], namespace_of(each)) == (name, namespace_of(doc)):
            found += each["spec"]["plugins"]
    return found


def _target(address: str, doc: Doc) -> Target:
    url = urlsplit(address)
    name, _, rest = (url.hostname or "").partition(".")
    where = rest.removesuffix(".svc.cluster.local").removesuffix(".svc") or namespace_of(doc)
    return Target(where if url.scheme == "http" else f"outside {address}", name)
