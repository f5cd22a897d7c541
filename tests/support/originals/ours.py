"""What labels and annotations of this project do with a request, as docs/annotations.md says it."""

from collections.abc import Mapping

from tests.support.converted import Case, Edits, Seen
from tests.support.originals.answers import Asked, segment

PREFIX = "xds-shadow.io/"


def live(case: Case, edits: Edits, asked: Asked) -> tuple[str, str] | None:
    """The Service that gets it."""
    for (kind, namespace, name), labels in edits.labels.items():
        if kind == "Service" and labels.get(f"{PREFIX}expose") == "true":
            hosts = edits.annotations.get((kind, namespace, name), {}).get(f"{PREFIX}hosts", "").split(",")
            own = [host for host, of in case.own_hosts.items() if of == (namespace, name)]
            if asked.host in [*hosts, *own]:
                return namespace, name
    return None


def mirrored(case: Case, edits: Edits, asked: Asked) -> dict[Seen, float]:
    """The Deployments that get it, too, with the share in percent."""
    service = live(case, edits, asked)
    found = {}
    for (kind, namespace, name), labels in edits.labels.items():
        said = edits.annotations.get((kind, namespace, name), {})
        policy = {key.removeprefix(PREFIX): value for key, value in said.items()}
        marked = kind == "Deployment" and service == (namespace, labels.get(f"{PREFIX}shadow-of"))
        if marked and _selected(policy, asked):
            holder = _holder(case, namespace, name, policy)
            found[Seen(namespace, holder)] = float(policy.get("percent", 100))
    return found


def _holder(case: Case, namespace: str, name: str, policy: Mapping[str, str]) -> str:
    """Whose Pods get it: the Deployment's own, or those behind another Service."""
    if "endpoints-from" not in policy:
        return name
    source = policy["endpoints-from"].removeprefix("service/")
    selector = case.services[namespace, source]["selector"]
    return next(its for (_, its), labels in case.deployments.items() if selector.items() <= labels.items())


def _selected(policy: Mapping[str, str], asked: Asked) -> bool:
    paths, excluded = _list(policy, "paths"), _list(policy, "exclude-paths")
    if (paths and not any(_under(each, asked.path) for each in paths)) or any(
        _under(each, asked.path) for each in excluded
    ):
        return False
    if policy.get("methods") and asked.method not in _list(policy, "methods"):
        return False
    for each in _list(policy, "headers"):
        name, equals, value = each.partition("=")
        if asked.header(name) is None or (equals and asked.header(name) != value):
            return False
    return True


def _list(policy: Mapping[str, str], name: str) -> list[str]:
    return [each for each in policy.get(name, "").split(",") if each]


def _under(prefix: str, path: str) -> bool:
    return path.startswith(prefix) if prefix.endswith("/") else segment(prefix, path)
