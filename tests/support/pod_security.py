"""The Pod Security Standard `restricted`, as its page lists the controls; what applies to Linux."""

from collections.abc import Iterator
from typing import Any

Doc = dict[str, Any]

_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
    "secret",
}  # fmt: skip
_SECCOMP = {"RuntimeDefault", "Localhost"}


def containers_of(pod: Doc) -> list[Doc]:
    """All of them, sidecars and other init containers first."""
    return [*pod.get("initContainers", ()), *pod["containers"]]


def violations(pod: Doc) -> list[str]:
    """What keeps a Pod's spec from a namespace that enforces `restricted`."""
    return [*_of_the_pod(pod), *(each for c in containers_of(pod) for each in _of_container(c, pod))]


def _of_the_pod(pod: Doc) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield field
    for volume in pod.get("volumes", ()):
        if not volume.keys() - {"name"} <= _VOLUMES:
            yield f"volume {volume['name']}"
    if pod.get("securityContext", {}).get("sysctls"):
        yield "sysctls"


def _of_container(container: Doc, pod: Doc) -> Iterator[str]:
    of_pod, own, name = (
        pod.get("securityContext", {}),
        container.get("securityContext", {}),
        container["name"],
    )
    both = {**of_pod, **own}
    if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: privileges"
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield f"{name}: root"
    if both.get("seccompProfile", {}).get("type") not in _SECCOMP:
        yield f"{name}: seccomp"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()) or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield f"{name}: host port"
    if {"seLinuxOptions", "procMount", "appArmorProfile", "windowsOptions"} & both.keys():
        yield f"{name}: an option that this check does not know"
