"""Prints plans as kubectl commands or as patches for GitOps. What is not converted is printed as comments."""

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import yaml

from xds_server.base.ids import NamespacedName
from xds_server.base.text import plain
from xds_server.cli.convert.form import Output
from xds_server.cli.convert.plans import Finding, Plan
from xds_server.core.keys import EXPOSE, HOSTS, PREFIX, SHADOW_OF

_LONGEST: Final = 1000
_LONGEST_WORD: Final = 32_768


def block(finding: Finding, output: Output) -> Iterator[str]:
    """The output for one mirror."""
    yield comment(finding.origin)
    yield from map(comment, finding.assumed)
    yield from (comment(f"lost: {each}") for each in finding.less)
    yield from (comment(f"does not run: {each}") for each in finding.stopped)
    if isinstance(finding, Plan):
        yield from (comment(f"host not added: {each}") for each in finding.not_hosts)
        lines = _kubectl(finding) if output is Output.KUBECTL else _patches(finding)
        yield from lines if finding.runs else map(comment, lines)


def _kubectl(plan: Plan) -> Iterator[str]:
    """The label of the Service comes last, because it starts all mirrors of the Service."""
    where = ("kubectl", "-n", plan.service.namespace)
    if its := plan.said():
        said = [f"{PREFIX}{name}={value}" for name, value in sorted(its.items())]
        yield _line(*where, "annotate", "deployment", plan.deployment, *said)
    yield _line(*where, "label", "deployment", plan.deployment, f"{SHADOW_OF}={plan.service.name}")
    if plan.hosts:
        yield _line(*where, "annotate", "service", plan.service.name, f"{HOSTS}={_hosts(plan)}")
    yield _line(*where, "label", "service", plan.service.name, f"{EXPOSE}=true")


def _patches(plan: Plan) -> Iterator[str]:
    """Patches for the ``patches`` of a kustomization."""
    said = {PREFIX + name: value for name, value in sorted(plan.said().items())}
    hosts = {HOSTS: _hosts(plan)} if plan.hosts else {}
    namespace = plan.service.namespace
    deployment = {"name": plan.deployment, "namespace": namespace, "labels": {SHADOW_OF: plan.service.name}}
    service = {"name": plan.service.name, "namespace": namespace, "labels": {EXPOSE: "true"}}
    yield from _patch("apps/v1", "Deployment", deployment, said)
    yield from _patch("v1", "Service", service, hosts)


def _patch(
    version: str, kind: str, metadata: Mapping[str, object], annotations: Mapping[str, str]
) -> Iterator[str]:
    shown = {**metadata, **({"annotations": annotations} if annotations else {})}
    document = {"apiVersion": version, "kind": kind, "metadata": _printable(shown)}
    yield "---"
    yield from yaml.safe_dump(document, sort_keys=False, width=math.inf).splitlines()


def _printable(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _printable(each) for key, each in value.items()}
    return _short(str(value))


def merged(plans: Sequence[Plan]) -> None:
    """Move the hosts of a Service to the first of its mirrors that runs. A second command would overwrite
    them."""
    first: dict[NamespacedName, Plan] = {}
    for plan in plans:
        if plan.runs:
            before = first.setdefault(plan.service, plan)
            if before is not plan:
                before.hosts += [each for each in plan.hosts if each not in before.hosts]
                before.not_hosts += [each for each in plan.not_hosts if each not in before.not_hosts]
                plan.hosts, plan.not_hosts = [], []


def comments(title: str, lines: Iterable[str]) -> Iterator[str]:
    """The output for a whole document."""
    yield comment(title)
    yield from (comment(f"not converted: {line}") for line in lines)


def comment(text: str) -> str:
    """A comment on one line. Line breaks in `text` are replaced."""
    return f"# {plain(text, _LONGEST)}"


def _hosts(plan: Plan) -> str:
    return ",".join(sorted(plan.hosts))


def _line(*words: str) -> str:
    return " ".join(shlex.quote(_short(word)) for word in words)


def _short(text: str) -> str:
    return plain(text, _LONGEST_WORD)
