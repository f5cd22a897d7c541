"""Documents of other projects, what `convert` prints for them, and whether that goes further than they did.

`Case` is one file of documents. `asked` are requests made of what its text names: hosts, paths, methods,
headers and query parameters, and variations of them. `exceeds` says what of an observed request the documents
did not do: another Service than theirs, or a mirrored request that they do not make.

The names that cluster DNS gives a Service are a case of their own. The documents of an ingress say nothing of
them; here they reach the Service, and what is mirrored must be what the documents mirror for one of their
hosts. Where documents name them (Istio's), a request that they reject may reach the Service itself,
unmirrored.
"""

import random
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.originals import apisix, consul, contour, emissary, gateway_api, istio, nginx
from tests.support.originals.answers import Answer, Asked, Target
from xds_server.cli.convert.convert import Converted, convert
from xds_server.manifests.documents import documents

DOCUMENTS = Path(__file__).parents[1] / "unit" / "convert" / "documents"
NAMES = sorted(path.stem for path in DOCUMENTS.glob("*.yaml"))
STRANGER = "stranger.example.org"

_ORIGINALS = {
    "networking.istio.io": istio,
    "flagger.app": istio,
    "gateway.networking.k8s.io": gateway_api,
    "projectcontour.io": contour,
    "getambassador.io": emissary,
    "networking.k8s.io": nginx,
    "apisix.apache.org": apisix,
    "consul.hashicorp.com": consul,
}
_METHODS = ("GET", "POST", "PUT", "HEAD", "OPTIONS")
_VALUES = ("blue", "1", "one", "yes-please", "other")
_FEW, _OWN, _SAID, _QUERY, _GET, _NAMED = 8, 0.35, 0.7, 0.2, 0.5, 0.4
_ALSO = (
    "/",
    "/other",
    "/v2/items",
    "/d1/x",
    "/fold/x",
    "/shop.v1.Cart/Get",
    "/shop.v1.Prices/List",
    "/x/Watch",
)

Object = tuple[str, str, str]
"""Kind, namespace and name."""


class Case:
    """A file of documents, or a `text` of some in Namespace `name`, with what is printed for it.
    Services that the documents name and do not have are made up, each with a Deployment."""

    def __init__(self, name: str, text: str = "") -> None:
        self.name = name
        self.text = text or (DOCUMENTS / f"{name}.yaml").read_text()
        self.docs: list[Any] = []
        self.docs += documents(self.name, self.text.encode())
        self.services: dict[tuple[str, str], Any] = {}
        self.deployments: dict[tuple[str, str], dict[str, str]] = {}
        for doc in self.docs:
            at = (doc["metadata"].get("namespace", "default"), doc["metadata"]["name"])
            if doc["kind"] == "Service":
                self.services[at] = doc["spec"]
            elif doc["kind"] == "Deployment":
                self.deployments[at] = doc["spec"]["template"]["metadata"]["labels"]
        for at, port in self._named().items():
            if at not in self.services:
                self.services[at] = {"selector": {"app": at[1]}, "ports": [{"name": "http", "port": port}]}
                self.deployments.setdefault(at, {"app": at[1]})
        self.own_hosts = {
            f"{name}.{namespace}{suffix}": (namespace, name)
            for namespace, name in self.services
            for suffix in ("", ".svc.cluster.local")
        }

    @cached_property
    def converted(self) -> Converted:
        return convert(self.docs)

    def _named(self) -> dict[tuple[str, str], int]:
        """The Services that its documents lead to, with their ports."""
        answers = [answer for asked in self.asked(200) for answer in self.answers(asked)]
        targets = {each for answer in answers for each in (*answer.backends, *answer.mirrors) if each.service}
        return {
            (each.namespace, each.service): each.port or 80 for each in targets if each.namespace == self.name
        }

    def answers(self, asked: Asked) -> list[Answer]:
        """What its documents do with a request; where several of its projects serve it, each of them."""
        groups = dict.fromkeys(str(doc["apiVersion"]).partition("/")[0] for doc in self.docs)
        modules = dict.fromkeys(_ORIGINALS[group] for group in groups if group in _ORIGINALS)
        found = [module.answers(self.docs, asked) for module in modules]
        served = [each for each in found if any(answer.backends for answer in each)]
        return [answer for each in served or found for answer in each]

    @cached_property
    def hosts(self) -> list[str]:
        found = set(re.findall(r"[\w*.-]+\.example\.[a-z]+|example\.net", self.text))
        return sorted({each.replace("*", "any") for each in found} | {STRANGER})

    @cached_property
    def _named_paths(self) -> list[str]:
        found = {path.rstrip("*") for path in re.findall(r"(?<=[\s\"'])/[\w./*-]*", self.text)}
        return sorted(path for path in found | {"/"} if "//" not in path and "*" not in path)

    @cached_property
    def _paths(self) -> list[str]:
        named = self._named_paths
        paths = {*_ALSO, *named}
        paths |= {f"{one.rstrip('/')}{other}" for one in named for other in named if len(named) <= _FEW}
        paths |= {each for path in paths for each in (f"{path}x", f"{path.rstrip('/')}/x", path.rstrip("/"))}
        return sorted(path for path in paths if path and "//" not in path and "*" not in path)

    @cached_property
    def _headers(self) -> dict[str, list[str]]:
        names = sorted({each.lower() for each in re.findall(r"\b[Xx]-[A-Za-z]+\b", self.text)})
        values = [each for each in _VALUES if each in self.text]
        return {name: [*values, "other"] for name in names}

    def asked(self, count: int) -> list[Asked]:
        """As many requests, the same ones each time."""
        chance = random.Random(self.name)  # noqa: S311 - no secret
        own = sorted(getattr(self, "own_hosts", ()))
        found = []
        for _ in range(count):
            host = chance.choice(own if own and chance.random() < _OWN else self.hosts)
            said = [
                (name, chance.choice(values))
                for name, values in self._headers.items()
                if chance.random() < _SAID
            ]
            query = [(name, "1") for name in ("debug", "q") if chance.random() < _QUERY]
            method = "GET" if chance.random() < _GET else chance.choice(_METHODS)
            path = chance.choice(self._named_paths if chance.random() < _NAMED else self._paths)
            found.append(Asked(host, method, path, tuple(query), tuple(said)))
        return found


case_of = lru_cache(Case)
"""Cases are read once."""


@dataclass
class Edits:
    """What the printed lines write, by object."""

    labels: dict[Object, dict[str, str]] = field(default_factory=dict)
    annotations: dict[Object, dict[str, str]] = field(default_factory=dict)


def typed(lines: Sequence[str]) -> Edits:
    """What lines of kubectl do. A second line that writes another value is rejected, as by kubectl."""
    edits = Edits()
    for line in lines:
        if line and not line.startswith("#"):
            _, _, namespace, verb, kind, name, *said = shlex.split(line)
            where = edits.labels if verb == "label" else edits.annotations
            _write(where, (kind.capitalize(), namespace, name), dict(each.split("=", 1) for each in said))
    return edits


def patched(lines: Sequence[str]) -> Edits:
    """What patches do."""
    edits = Edits()
    for doc in yaml.safe_load_all("\n".join(lines)):
        if doc:
            metadata = doc["metadata"]
            target = (doc["kind"], metadata["namespace"], metadata["name"])
            for where, said in ((edits.labels, "labels"), (edits.annotations, "annotations")):
                if said in metadata:
                    _write(where, target, metadata[said])
    return edits


def _write(where: dict[Object, dict[str, str]], target: Object, said: Mapping[str, str]) -> None:
    before = where.setdefault(target, {})
    assert all(before.get(key, value) == value for key, value in said.items()), (
        f"{target}: {before} and {said}"
    )
    before.update(said)


@dataclass(frozen=True)
class Seen:
    """A Deployment that got a request, and by which of its Service's ports (the first: 0); None: any."""

    namespace: str
    deployment: str
    port: int | None = None


def exceeds(case: Case, asked: Asked, live: Seen | None, mirrored: Mapping[Seen, float]) -> str:
    """What became of a request that the documents did not do; nothing if they did all of it. `mirrored`: who
    may get it, with the share in percent."""
    own = case.own_hosts.get(asked.host)
    if own and not _mesh_names(case, own):
        if live and not _is(case, live, Target(*own)):
            return f"{asked.host} reached {live}"
        known = [*case.hosts, *(host for host, of in case.own_hosts.items() if _mesh_names(case, of))]
        hosts = [host for host in known if not _mirrored(case, _as(asked, host), mirrored)]
        return "" if hosts or not mirrored else f"no host has all of the mirrors {dict(mirrored)}"
    for answer in case.answers(_full(asked, own)):
        if live and not any(_is(case, live, target) for target in answer.backends):
            rejected = not answer.backends and own and _is(case, live, Target(*own))
            if not rejected:
                return f"{live} got it, and not one of {set(answer.backends)}"
        if live and not own and (answer.changed or answer.guarded):
            return f"{live} got it without what is done to it there"
    return _mirrored(case, _full(asked, own), mirrored)


def _mirrored(case: Case, asked: Asked, mirrored: Mapping[Seen, float]) -> str:
    for answer in case.answers(asked):
        for seen, share in mirrored.items():
            most = max(
                (each for target, each in answer.mirrors.items() if _is(case, seen, target)), default=0
            )
            if share > most or answer.changed:
                return f"{seen} gets {share} percent, and got {0 if answer.changed else most}"
    return ""


def _mesh_names(case: Case, own: tuple[str, str]) -> bool:
    """Whether a VirtualService or a Canary is for a Service's own name."""
    full = f"{own[1]}.{own[0]}.svc.cluster.local"
    for doc in case.docs:
        hosts = doc.get("spec", {}).get("hosts", []) if doc["kind"] == "VirtualService" else []
        if doc["kind"] == "Canary":
            hosts = [doc["spec"].get("service", {}).get("name", doc["spec"]["targetRef"]["name"])]
        if full in [istio.full(host, doc) for host in hosts]:
            return True
    return False


def _full(asked: Asked, own: tuple[str, str] | None) -> Asked:
    return _as(asked, f"{own[1]}.{own[0]}.svc.cluster.local") if own else asked


def _as(asked: Asked, host: str) -> Asked:
    return Asked(host, asked.method, asked.path, asked.query, asked.headers)


def _is(case: Case, seen: Seen, target: Target) -> bool:
    """Whether a Deployment's Pods are of a target."""
    if seen.namespace != target.namespace:
        return False
    if target.deployment:
        return seen.deployment == target.deployment
    spec = case.services.get((target.namespace, target.service))
    if spec is None:
        return False
    port = spec["ports"][seen.port]["port"] if seen.port is not None else target.port
    labels = case.deployments[seen.namespace, seen.deployment]
    wanted = {**spec["selector"], **dict(target.labels)}
    return wanted.items() <= labels.items() and target.port in (0, port)
