"""Reads what a Service asks for: whether it is exposed, its HTTP ports, and the hosts that it claims."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from xds_server.base.ids import NamespacedName
from xds_server.base.text import SOME, shown
from xds_server.core.annotations import NAMES
from xds_server.core.conditions import Condition, Reason, Severity, about
from xds_server.core.hosts import CLUSTER_DOMAINS, Age, own_hosts
from xds_server.core.keys import EXPOSE, PREFIX
from xds_server.core.limits import DEFAULT, Limits
from xds_server.core.objects import Kind, Ref, Service
from xds_server.core.plan import GATEWAY
from xds_server.core.ports import HttpPort, no_http_port, ports_of
from xds_server.core.service_annotations import GATEWAYS, HOSTS, OF_SERVICE
from xds_server.core.values import is_host_name
from xds_server.core.world import NamespaceView

_KEYS: Final = tuple(row.key for row in OF_SERVICE)


class Offer(msgspec.Struct, frozen=True):
    """What one Service asks for. `age` orders claims of a host: the oldest claim wins. `hosts` are in the
    order of claiming, without repetition. There are none if the Service is not exposed, or has no ports or no
    `gateways`."""

    age: Age
    exposed: bool
    ports: tuple[HttpPort, ...] = ()
    hosts: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    gateways: tuple[str, ...] = (GATEWAY,)

    @property
    def claims(self) -> tuple[str, ...]:
        """The hosts that no younger Service may have. A Service that is not routed still claims its own
        name."""
        return self.hosts or own_hosts(NamespacedName(*self.age[1:]))[:1]


def age_of(service: Service) -> Age:
    """The sort key of Services, the oldest first."""
    return (service.created, service.namespace, service.name)


def offer_of(
    view: NamespaceView,
    service: Service,
    *,
    expose_all: bool,
    limits: Limits = DEFAULT,
    host_rejected: Callable[[str], str] = lambda _: "",
    served: bool = False,
    gateways: tuple[str, ...] = (GATEWAY,),
    routed_on: tuple[str, ...] = (),
    cluster_domains: Sequence[str] = CLUSTER_DOMAINS,
) -> Offer:
    """Read what `service` asks for; mistakes become `Offer.conditions`. `host_rejected` returns why it may
    not have a host besides its own, or "". `served` is whether it is routed now, and `routed_on` are those of
    the `gateways` that route it."""
    age = age_of(service)
    exposed, problems = _exposed(view, service, expose_all=expose_all)
    problems += _unknown_annotations(service)
    if not (served if exposed is None else exposed):
        return Offer(age, exposed=False, conditions=tuple(problems))
    ports, mistakes, unrouted, assumed = ports_of(service)
    on, bad_gateways = _gateways(service, gateways, routed_on)
    if exposed is None and not (ports and on):
        # A Service that cannot be served must not stay, or resolving again would give another plan.
        return Offer(age, exposed=False, conditions=tuple(problems))
    problems += mistakes
    if not ports:
        if EXPOSE in service.labels or (not service.ports and service.spec.type != "ExternalName"):
            problems.append(_problem(service, Reason.NO_HTTP_PORT, no_http_port(service)))
            unrouted = ""  # the condition has the same information
        notices = _notices(service, unrouted, "")
        return Offer(age, exposed=True, conditions=(*problems, *notices))
    problems += bad_gateways
    if not on:
        return Offer(age, exposed=True, conditions=tuple(problems), gateways=())
    if len(ports) > limits.ports:
        problems.append(_too_many_ports(service, ports, limits.ports))
        ports = ports[: limits.ports]
    hosts, bad_hosts = _hosts(service, limits.hosts, host_rejected, cluster_domains)
    return Offer(
        age,
        exposed=True,
        ports=ports,
        hosts=hosts,
        conditions=(*problems, *bad_hosts, *_notices(service, unrouted, assumed)),
        gateways=on,
    )


def _notices(service: Service, unrouted: str, assumed: str) -> tuple[Condition, ...]:
    found = ((Reason.PORT_ASSUMED_HTTP, assumed), (Reason.PORTS_NOT_ROUTED, unrouted))
    return tuple(
        Condition(about(service), reason, message, Severity.INFO) for reason, message in found if message
    )


def _too_many_ports(service: Service, ports: Sequence[HttpPort], most: int) -> Condition:
    message = (
        f"It has {len(ports)} HTTP ports, and ports-max is {most}; those after port"
        f" {ports[most - 1].port.port} are not routed."
    )
    return _problem(service, Reason.TOO_MANY_PORTS, message)


def _exposed(
    view: NamespaceView, service: Service, *, expose_all: bool
) -> tuple[bool | None, list[Condition]]:
    """Whether the Service is exposed, by its own label, else by its Namespace's, else by the installation's
    default. A label that is neither true nor false counts as absent; if no other label decides, the Service
    stays as it is (None). A typo must neither stop traffic to a Service nor expose it."""
    problems: list[Condition] = []
    for whose, owner in (("Label", service), ("Its Namespace's label", view.namespace)):
        value = owner.labels.get(EXPOSE) if owner else None
        if value is not None and value.lower() in ("true", "false"):
            return value.lower() == "true", problems
        if value is not None:
            message = f"{whose} {EXPOSE} is {shown(value)}, neither true nor false; it counts as absent."
            problems.append(_problem(service, Reason.INVALID_LABEL, message))
    return expose_all or (None if problems else False), problems


def _unknown_annotations(service: Service) -> list[Condition]:
    """A condition for each of the first unknown annotations, and one with the number of the others."""
    if not service.annotations:
        return []
    unknown = sorted(key for key in service.annotations if key.startswith(PREFIX) and key not in _KEYS)
    messages = [f"Annotation {key} {_misplaced(key)}" for key in unknown[:SOME]]
    if more := unknown[SOME:]:
        messages.append(f"The number of further unknown annotations is {len(more)}; the first is {more[0]}.")
    return [_problem(service, Reason.INVALID_ANNOTATION, message) for message in messages]


def _misplaced(key: str) -> str:
    if key == EXPOSE:
        return "is a label: set it with kubectl label."
    if key.removeprefix(PREFIX) in NAMES:
        return "belongs to the canary's Deployment, or to its Namespace as a default."
    *others, last = _KEYS
    return f"is not known here; known are {', '.join(others)} and {last}."


def _hosts(
    service: Service, most: int, rejected: Callable[[str], str], cluster_domains: Sequence[str]
) -> tuple[tuple[str, ...], list[Condition]]:
    own = own_hosts(NamespacedName(service.namespace, service.name), cluster_domains)
    if HOSTS.key not in service.annotations:
        return own, []
    hosts = dict.fromkeys(own)
    problems: list[Condition] = []
    for entry in HOSTS.read(service.annotations[HOSTS.key]):
        host = entry.lower()
        if not host or host in hosts:
            continue
        if len(hosts) - len(own) + len(problems) >= most:
            message = (
                f"Annotation {HOSTS.key} has more hosts than hosts-max, {most}; {shown(host)} and those after"
                " it are left out."
            )
            problems.append(_problem(service, Reason.TOO_MANY_HOSTS, message))
            break
        mistake = _mistake(host, cluster_domains)
        if mistake:
            message = f"Annotation {HOSTS.key} has {shown(entry)}, {mistake}"
            problems.append(_problem(service, Reason.INVALID_HOST, message))
        elif why := rejected(host):
            problems.append(_problem(service, Reason.NOT_ALLOWED, why))
        else:
            hosts[host] = None
    return tuple(hosts), problems


def _gateways(
    service: Service, there_are: tuple[str, ...], routed_on: tuple[str, ...]
) -> tuple[tuple[str, ...], list[Condition]]:
    """The gateways that the Service names; all of them without the annotation. An unknown name is left out. A
    Service that names no known gateway stays on those that route it. A typo must neither stop traffic to a
    Service nor expose it elsewhere."""
    text = service.annotations.get(GATEWAYS.key)
    if text is None:
        return there_are, []
    names = set(GATEWAYS.read(text))
    known = tuple(name for name in there_are if name in names)
    unknown = sorted(names - {*known})
    if not unknown:
        return known, []
    message = (
        f"Annotation {GATEWAYS.key} has {shown(unknown[0])}, which is not a known gateway. Known:"
        f" {', '.join(there_are)}. Without the annotation it is routed on all of them."
    )
    stays = known or tuple(name for name in there_are if name in routed_on)
    if stays and not known:
        message += f" It stays on {', '.join(stays)}, but a control plane that starts now does not route it."
    return stays, [_problem(service, Reason.UNKNOWN_GATEWAY, message)]


def _mistake(host: str, cluster_domains: Sequence[str]) -> str:
    """Why a host is not valid, or ""."""
    if host.endswith((".svc", *(f".svc.{domain}" for domain in cluster_domains))):
        return "the form of a cluster's own names; each of these belongs to the Service that it names."
    if not is_host_name(host):
        return (
            "which is not a host name; write names such as app.example.com, separated by commas, without"
            " wildcard, scheme or port."
        )
    return ""


def _problem(service: Service, reason: Reason, message: str) -> Condition:
    return problem_of(NamespacedName(service.namespace, service.name), reason, message)


def problem_of(service: NamespacedName, reason: Reason, message: str) -> Condition:
    """A condition of a Service that has to be corrected."""
    return Condition(about(Ref(Kind.SERVICE, service.namespace, service.name)), reason, message)


def host_conflict(
    service: NamespacedName, host: str, owner: NamespacedName, cluster_domains: Sequence[str]
) -> Condition:
    """The condition of a Service that claims `host` while another Service owns it."""
    why = "is the cluster's name of" if host in own_hosts(owner, cluster_domains) else "belongs to the older"
    message = f"Host {host} {why} Service {owner}; requests for it do not reach this Service."
    return problem_of(service, Reason.HOST_CONFLICT, message)
