"""What somebody writes into a list costs others nothing: neither problems without a number nor messages
without a length, and no work that grows faster than the list does."""

from typing import Any

import pytest

from tests.unit.pure.kube import at, canary, namespace, pod, service, slice_of, world_of
from xds_server.core.annotations import BOUNDS, NAMES
from xds_server.core.conditions import errors
from xds_server.core.keys import PREFIX
from xds_server.core.objects import Object, ServicePort
from xds_server.core.plan import Plan
from xds_server.core.ports import ports_of
from xds_server.core.resolve import resolve
from xds_server.core.service_annotations import HOSTS_ALLOWED
from xds_server.core.transitions import transitions
from xds_server.core.world import World

MANY = 20_000
PORTS = (ServicePort(port=80, name="http"), ServicePort(port=53, name="dns", protocol="UDP"))


class Compared(str):
    """A text that counts how often one like it is compared."""

    __slots__ = ()
    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def names(count: int, form: str = "x{}") -> str:
    return ",".join(form.format(number) for number in range(count))


def test_however_many_ports_there_are_not_one_problem_names_the_first() -> None:
    found = ports_of(service("myapp", ports=PORTS, annotations={"http-ports": names(MANY)}))
    [mistake] = found.mistakes
    assert mistake.message == (
        f"Annotation {PREFIX}http-ports has 'x0', 'x1', 'x2', 'x3', 'x4' and 19995 more, which are not ports"
        " of this Service; its ports are 80 (http), 53 (dns)."
    )
    assert [http.name for http in found.routed] == ["http"]


def test_ports_of_other_protocols_are_another_problem() -> None:
    found = ports_of(service("myapp", ports=PORTS, annotations={"http-ports": "dns,dns, ,53,smtp,80"}))
    assert [each.message.partition(" has ")[2] for each in found.mistakes] == [
        "'smtp', which is not a port of this Service; its ports are 80 (http), 53 (dns).",
        "'dns', '53', which are UDP; only TCP ports are routed.",
    ]
    assert [http.name for http in found.routed] == ["http"]


def test_each_entry_is_looked_up_and_not_looked_for() -> None:
    ports = tuple(ServicePort(port=number, name=Compared(f"p{number}")) for number in range(1, 501))
    Compared.times = 0
    assert len(ports_of(service("myapp", ports=ports, annotations={"http-ports": names(MANY, "p{}")})).routed)
    assert Compared.times < 5 * (MANY + len(ports))


def test_however_many_annotations_are_not_known_the_first_are_named() -> None:
    found = resolve(world_of(service("myapp", annotations={f"a{n:04}": "" for n in range(2_000)})))
    messages = [problem.message for problem in errors(found.conditions())]
    assert [message.split()[1] for message in messages[:5]] == [f"{PREFIX}a{n:04}" for n in range(5)]
    assert messages[5] == f"The number of further unknown annotations is 1995; the first is {PREFIX}a0005."
    assert len(messages) == 6


OWN = ["gateways", "hosts", "http-ports"]
# One form for each way in which an entry can be read: a word, a path, a pair, a method, a place in a body,
# a Secret or Service.
FORMS = ["x{}", "/x{}", "x{}=y", "/x{}=/y", "X{}", "json:/x{}", "form:x{}", "x{}/key", "service/x{}", "-{}"]


def stage(
    of_service: dict[str, str], of_canary: dict[str, str], of_namespace: dict[str, str]
) -> list[Object]:
    asks: dict[str, Any] = of_canary
    return [
        namespace("staging", annotations=of_namespace),
        service("myapp", annotations=of_service),
        slice_of("myapp", at("10.0.0.1")),
        canary("myapp-canary", "myapp", **asks),
        pod("canary-1", "myapp-canary", "10.0.0.2"),
    ]


def said(objects: list[Object]) -> list[str]:
    """All sentences that come of these objects."""
    world = world_of(*objects)
    plan = resolve(world)
    reported = transitions((World(), Plan()), (world, plan), plan.services)
    messages = [condition.message for condition in plan.conditions()]
    messages += [shadow.message for shadow in plan.shadows()]
    return messages + [note.message for note in reported]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [*OWN, *NAMES, *BOUNDS, HOSTS_ALLOWED.name])
def test_no_list_makes_many_problems_or_long_messages(name: str, form: str) -> None:
    lists = {name: names(3_000, form)}
    asked = {"hosts": names(100, "h{}.test")}
    canarys = {"host": "h.test", "set-headers": "x-a=b", "credential-from-secret": "s/k", "methods": "GET"}
    cases = [
        stage(lists, {}, {}),
        stage(asked, {**lists} if name in NAMES else {}, {}),
        stage(asked, {key: text for key, text in canarys.items() if key != name}, lists),
        stage(asked, {"paths": "/a", "endpoints-from": "service/green"}, lists),
    ]
    for objects in cases:
        messages = said(objects)
        assert len(messages) <= 2 * 70
        assert max(map(len, messages), default=0) < 2_000
