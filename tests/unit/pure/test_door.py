"""The door: what may not become an endpoint is left out, and is a problem of its object."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pure.kube import at, namespace, pod, service, slice_of
from xds_server.core.conditions import Condition, Reason, Subject
from xds_server.core.door import Door, DoorRules
from xds_server.core.objects import (
    Container,
    ContainerPort,
    EndpointConditions,
    EndpointSlice,
    Kind,
    Object,
    Pod,
    PodSpec,
    Ref,
    Service,
    ServicePort,
    SliceEndpoint,
    SlicePort,
    ref_of,
)
from xds_server.core.world import Change, Delete, Report, Upsert, World

OWN = DoorRules(own=frozenset({"10.0.0.9", "fd00::9"}), namespace="system")
STRICT = DoorRules()


def admitted(obj: Object, rules: DoorRules = STRICT) -> tuple[Object, list[Condition]]:
    """The object as it gets into the world, and what is said of it."""
    world, _ = World().apply(Door(rules).admit([Upsert(obj)]))
    found = world.get(ref_of(obj))
    assert found is not None
    return found, [problem for problems in world.reports.values() for problem in problems]


def through(text: str, family: str = "IPv4", rules: DoorRules = STRICT, port: int = 80) -> str:
    """The address as it is admitted; "" if it is not, with one problem on its slice."""
    obj = slice_of("app", at(text), family=family, ports=[SlicePort(port=port)])
    cleaned, problems = admitted(obj, rules)
    assert isinstance(cleaned, EndpointSlice)
    if cleaned.endpoints:
        assert problems == []
        return cleaned.endpoints[0].addresses[0]
    [problem] = problems
    assert str(problem.subject) == "EndpointSlice staging/app-1"
    assert problem.reason == Reason.INVALID_ADDRESS
    assert problem.message.startswith("Its only address is left out: ")
    return ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("010.0.0.1", "is not an IPv4 address in its canonical form"),
        ("0177.0.0.1", "is not an IPv4 address in its canonical form"),
        ("10.1", "is not an IPv4 address in its canonical form"),
        ("0x0a000001", "is not an IPv4 address in its canonical form"),
        ("167772161", "is not an IPv4 address in its canonical form"),
        ("1.2.3.4%eth0", "is not an IPv4 address in its canonical form"),
        ("", "is not an IPv4 address in its canonical form"),
        ("10.0.0.1\n", "is not an IPv4 address in its canonical form"),
        (" 10.0.0.1", "is not an IPv4 address in its canonical form"),
        ("10.0.0.1:80", "is not an IPv4 address in its canonical form"),
        ("10.0.0.1,10.0.0.2", "is not an IPv4 address in its canonical form"),
        ("\u0661\u0660.0.0.1", "is not an IPv4 address in its canonical form"),
        ("10.0.0.256", "is not an IPv4 address in its canonical form"),
        ("app.example.com", "is not an IPv4 address in its canonical form"),
        ("fd00::1", "is not an IPv4 address in its canonical form"),
        ("127.0.0.1", "is a loopback address (--allow-loopback-endpoints admits these)"),
        ("127.255.255.254", "is a loopback address (--allow-loopback-endpoints admits these)"),
        ("168.63.129.16", "is a link-local or cloud metadata address"),
        ("169.254.169.254", "is a link-local or cloud metadata address"),
        ("0.0.0.0", "is the address of no host"),
        ("0.1.2.3", "is the address of no host"),
        ("224.0.0.1", "is a multicast or broadcast address"),
        ("239.255.255.255", "is a multicast or broadcast address"),
        ("255.255.255.255", "is a multicast or broadcast address"),
        ("10.0.0.9", "is the control plane's own"),
    ],
)
def test_what_is_left_out_of_an_ipv4_slice(text: str, why: str) -> None:
    cleaned, problems = admitted(slice_of("app", at("10.0.0.1"), at(text), at("10.0.0.2")), OWN)
    assert isinstance(cleaned, EndpointSlice)
    assert cleaned.endpoints == (at("10.0.0.1"), at("10.0.0.2"))
    [problem] = problems
    assert problem == Condition(
        Subject("EndpointSlice", "staging", "app-1"),
        Reason.INVALID_ADDRESS,
        f"One of its 3 addresses is left out: {text!r} {why}.",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.1", "is not an IPv6 address in its canonical form"),
        ("fe80::1%eth0", "is not an IPv6 address in its canonical form"),
        ("fd00::1::2", "is not an IPv6 address in its canonical form"),
        ("[fd00::1]", "is not an IPv6 address in its canonical form"),
        ("fd00:1:2:3:4:5:6:7:8", "is not an IPv6 address in its canonical form"),
        ("::1", "is a loopback address (--allow-loopback-endpoints admits these)"),
        ("0:0:0:0:0:0:0:1", "is a loopback address (--allow-loopback-endpoints admits these)"),
        ("::", "is the address of no host"),
        ("fe80::1", "is a link-local or cloud metadata address"),
        ("FEBF::1", "is a link-local or cloud metadata address"),
        ("fd00:ec2::254", "is a link-local or cloud metadata address"),
        ("ff02::1", "is a multicast or broadcast address"),
        ("::ffff:10.0.0.1", "is an IPv4 address written as IPv6"),
        ("::ffff:a00:1", "is an IPv4 address written as IPv6"),
        ("64:ff9b::a9fe:a9fe", "is a link-local or cloud metadata address"),
        ("64:ff9b:1::a9fe:a9fe", "is a link-local or cloud metadata address"),
        ("::169.254.169.254", "is a link-local or cloud metadata address"),
        ("::ffff:0:127.0.0.1", "is a loopback address (--allow-loopback-endpoints admits these)"),
        ("64:ff9b::7f00:1", "is a loopback address (--allow-loopback-endpoints admits these)"),
        ("2002:7f00:1::", "is a loopback address (--allow-loopback-endpoints admits these)"),
        ("fd00::9", "is the control plane's own"),
        ("FD00:0:0::9", "is the control plane's own"),
        ("64:ff9b::a00:9", "is the control plane's own"),
    ],
)
def test_what_is_left_out_of_an_ipv6_slice(text: str, why: str) -> None:
    cleaned, [problem] = admitted(slice_of("app", at(text), family="IPv6"), OWN)
    assert isinstance(cleaned, EndpointSlice)
    assert cleaned.endpoints == ()
    assert problem.message == f"Its only address is left out: {text!r} {why}."


@pytest.mark.parametrize(
    ("text", "family", "canonical"),
    [
        ("10.0.0.1", "IPv4", "10.0.0.1"),
        ("1.0.0.0", "IPv4", "1.0.0.0"),
        ("255.255.255.254", "IPv4", "255.255.255.254"),
        ("240.0.0.1", "IPv4", "240.0.0.1"),  # clouds give Pods such addresses
        ("169.253.0.1", "IPv4", "169.253.0.1"),
        ("fd00::1", "IPv6", "fd00::1"),
        ("FD00:0::0001", "IPv6", "fd00::1"),
        ("2001:db8::1:0:0:1", "IPv6", "2001:db8::1:0:0:1"),
        ("2001:db8:0:0:1:0:0:1", "IPv6", "2001:db8::1:0:0:1"),
        ("64:ff9b::8.8.8.8", "IPv6", "64:ff9b::808:808"),
        ("fd00:1:2:3:4:5:6::", "IPv6", "fd00:1:2:3:4:5:6:0"),
    ],
)
def test_what_can_be_an_endpoint_is_admitted_in_its_one_form(text: str, family: str, canonical: str) -> None:
    assert through(text, family) == canonical


def test_nothing_of_another_type_is_an_endpoint() -> None:
    cleaned, [problem] = admitted(slice_of("app", at("db.example.com"), family="FQDN"))
    assert isinstance(cleaned, EndpointSlice)
    assert cleaned.endpoints == ()
    assert problem.message == (
        "Its only address is left out: 'db.example.com' is of addressType 'FQDN', and only IPv4 and"
        " IPv6 are routed."
    )


def test_a_thousand_bad_addresses_are_one_problem() -> None:
    bad = [at(f"010.0.0.{number}") for number in range(1000)]
    _, [problem] = admitted(slice_of("app", *bad, at("10.0.0.1")))
    assert problem.message == (
        "1000 of its 1001 addresses are left out; the first: '010.0.0.0' is not an IPv4 address in its"
        " canonical form."
    )


def test_a_long_address_is_cut_in_the_message() -> None:
    _, [problem] = admitted(slice_of("app", at("a" * 5000)))
    assert len(problem.message) < 200


def test_an_endpoint_keeps_what_else_it_has() -> None:
    conditions = EndpointConditions(ready=False)
    two = SliceEndpoint(addresses=("010.0.0.1", "10.0.0.2"), conditions=conditions)
    cleaned, _ = admitted(slice_of("app", two))
    assert isinstance(cleaned, EndpointSlice)
    assert cleaned.endpoints == (SliceEndpoint(addresses=("10.0.0.2",), conditions=conditions),)


# Loopback, and the control plane's own


def test_loopback_is_admitted_where_it_is_allowed() -> None:
    rules = DoorRules(loopback=True)
    assert through("127.0.0.1", rules=rules) == "127.0.0.1"
    assert through("::1", "IPv6", rules=rules) == "::1"
    assert through("169.254.0.1", rules=rules) == ""
    assert through("::ffff:127.0.0.1", "IPv6", rules=rules) == ""


def test_where_the_control_plane_listens_is_no_endpoint() -> None:
    rules = DoorRules(
        loopback=True,
        listeners=frozenset({("127.0.0.1", 18000), ("192.0.2.7", 18081)}),
        everywhere=frozenset({18081}),
    )
    assert through("127.0.0.1", rules=rules, port=18000) == ""
    assert through("127.0.0.2", rules=rules, port=18000) == "127.0.0.2"
    assert through("127.0.0.1", rules=rules, port=18001) == "127.0.0.1"
    assert through("127.0.0.2", rules=rules, port=18081) == ""
    assert through("::1", "IPv6", rules=rules, port=18081) == ""
    assert through("192.0.2.7", rules=rules, port=18081) == ""
    assert through("192.0.2.7", rules=rules, port=80) == "192.0.2.7"


def test_the_other_replicas_are_the_control_plane_too() -> None:
    door = Door(OWN)
    attack = slice_of("app", at("10.0.0.8"), at("10.0.0.1"))
    victim = pod("evil", "app", "10.0.0.8")
    others = slice_of("web", at("10.0.0.7"), namespace="system")
    own = slice_of("xds-shadow", at("10.0.0.9"), at("10.0.0.8", ready=False), namespace="system")
    world, _ = World().apply(door.admit([Upsert(attack), Upsert(victim), Upsert(others)]))
    assert not world.reports

    world, _ = world.apply(door.admit([Upsert(own)]))
    assert {str(p.subject) for ps in world.reports.values() for p in ps} == {
        "EndpointSlice staging/app-1",
        "Pod staging/evil",
    }
    kept = world.get(ref_of(attack))
    assert isinstance(kept, EndpointSlice)
    assert kept.endpoints == (at("10.0.0.1"),)
    # The control plane's own slice is nobody's mistake, and no endpoint either.
    kept = world.get(ref_of(own))
    assert isinstance(kept, EndpointSlice)
    assert kept.endpoints == ()
    assert world.get(ref_of(others)) == others

    # A replica goes, and its address is free again.
    world, _ = world.apply(door.admit([Upsert(slice_of("xds-shadow", at("10.0.0.9"), namespace="system"))]))
    assert not world.reports
    assert world.get(ref_of(attack)) == attack
    world, _ = world.apply(door.admit([Upsert(own), Delete(ref_of(own))]))
    assert not world.reports
    assert world.get(ref_of(attack)) == attack
    assert world.get(ref_of(victim)) == victim


def test_a_slice_elsewhere_makes_nothing_the_control_planes() -> None:
    door = Door(OWN)
    world, _ = World().apply(door.admit([Upsert(slice_of("a", at("10.0.0.9"), at("10.0.0.8")))]))
    kept = world.get(Ref(Kind.ENDPOINT_SLICE, "staging", "a-1"))
    assert isinstance(kept, EndpointSlice)
    assert kept.endpoints == (at("10.0.0.8"),)


# Pods and ports


def test_a_pod_keeps_the_addresses_that_can_be_endpoints() -> None:
    cleaned, [problem] = admitted(pod("a", "app", "127.0.0.1", "FD00::1", "10.0.0.1"))
    assert isinstance(cleaned, Pod)
    assert cleaned.status.pod_ip == "fd00::1"
    assert [each.ip for each in cleaned.status.pod_ips or ()] == ["fd00::1", "10.0.0.1"]
    assert problem.message.startswith("One of its 3 addresses is left out: '127.0.0.1' is a loopback address")
    assert str(problem.subject) == "Pod staging/a"

    cleaned, _ = admitted(pod("a", "app", "169.254.169.254"))
    assert isinstance(cleaned, Pod)
    assert (cleaned.status.pod_ip, cleaned.status.pod_ips) == (None, ())


def test_a_pod_without_an_address_yet_is_no_mistake() -> None:
    waiting = pod("a", "app", ports={"http": 8080})
    assert admitted(waiting) == (waiting, [])


@pytest.mark.parametrize("number", [0, -1, 65536, 2**40])
def test_a_port_that_is_none_is_left_out(number: int) -> None:
    cleaned, [problem] = admitted(
        slice_of(
            "app", at("10.0.0.1"), ports=[SlicePort(port=number), SlicePort(port=80), SlicePort(port=None)]
        )
    )
    assert isinstance(cleaned, EndpointSlice)
    assert cleaned.ports == (SlicePort(port=80), SlicePort(port=None))
    assert problem == Condition(
        Subject("EndpointSlice", "staging", "app-1"),
        Reason.INVALID_PORT,
        f"One of its 2 ports is left out: {number} is not a number from 1 to 65535.",
    )
    ports = (ServicePort(port=number, name="a"), ServicePort(port=80, name="b"))
    found, [problem] = admitted(service("app", ports=ports))
    assert isinstance(found, Service)
    assert found.ports == ports[1:]
    assert problem.reason == Reason.INVALID_PORT
    container = Container(ports=(ContainerPort(container_port=number), ContainerPort(container_port=80)))
    cleaned, [problem] = admitted(
        Pod(metadata=pod("a", "app").metadata, spec=PodSpec(containers=(container,)))
    )
    assert isinstance(cleaned, Pod)
    assert cleaned.spec.containers == (Container(ports=(ContainerPort(container_port=80),)),)
    assert problem.reason == Reason.INVALID_PORT


def test_a_target_port_that_is_none_is_left_out_and_zero_is_the_ports_own_number() -> None:
    named = ServicePort(port=80, name="a", target_port="http")
    same = ServicePort(port=81, name="b", target_port=0)
    bad = ServicePort(port=82, name="c", target_port=70_000)
    found, [problem] = admitted(service("app", ports=(named, same, bad)))
    assert isinstance(found, Service)
    assert found.ports == (named, same)
    assert "70000" in problem.message


# Over time


def test_what_is_said_of_an_object_goes_with_the_mistake_and_with_the_object() -> None:
    door = Door()
    bad, good = slice_of("app", at("010.0.0.1")), slice_of("app", at("10.0.0.1"))
    ref = ref_of(bad)
    origin = f"door: {ref}"
    assert [type(change) for change in door.admit([Upsert(bad)])] == [Upsert, Report]
    assert door.admit([Upsert(good)]) == [Upsert(good), Report(origin, ())]
    assert door.admit([Upsert(good)]) == [Upsert(good)]
    door.admit([Upsert(bad)])
    assert door.admit([Delete(ref)]) == [Delete(ref), Report(origin, ())]
    assert door.admit([Delete(ref)]) == [Delete(ref)]


def test_what_else_comes_passes_unchanged() -> None:
    changes: list[Change] = [Report("a file", ()), Delete(Ref(Kind.DEPLOYMENT, "staging", "a"))]
    assert Door().admit(changes) == changes
    for other in (namespace("staging"), slice_of("app", at("10.0.0.1"))):
        [change] = Door().admit([Upsert(other)])
        assert isinstance(change, Upsert)
        assert change.obj is other


# Properties


def fit(text: str, version: int) -> bool:
    """Whether this is an address that can be an endpoint: said by `ipaddress`, independently of the door."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if address.version != version or "%" in text:
        return False
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped or text in ("fd00:ec2::254", "fd20:ce::254"):
            return False
        embedded = address.sixtofour
        if address.packed.startswith(bytes.fromhex("0064ff9b0000000000000000")):
            embedded = IPv4Address(address.packed[-4:])
        if embedded:
            return fit(str(embedded), 4)
    elif address.packed[0] == 0 or address == IPv4Address("255.255.255.255"):
        return False
    return not (
        address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    )


def spelled(address: IPv4Address | IPv6Address) -> st.SearchStrategy[str]:
    return st.sampled_from([str(address), address.exploded, str(address).upper(), address.exploded.upper()])


GROUPS = st.sampled_from(["0", "1", "ffff", "fe80", "64", "ff9b", "2002", ""])
V4 = st.one_of(st.ip_addresses(v=4).map(str), st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,3}){1,4}\Z"))
V6 = st.one_of(
    st.ip_addresses(v=6).flatmap(spelled),
    st.lists(
        st.sampled_from(["0", "1", "ffff", "fe80", "64", "ff9b", "2002", ""]), min_size=2, max_size=9
    ).map(":".join),
)
ANY = st.one_of(V4, V6, st.text(max_size=20))


@given(ANY, st.sampled_from(["IPv4", "IPv6"]))
def test_nothing_bad_gets_through_and_nothing_good_is_lost(text: str, family: str) -> None:
    found = through(text, family)
    assert bool(found) == fit(text, int(family[-1]))
    assert not found or found == str(ip_address(text))


@given(st.lists(ANY, max_size=8), st.sampled_from(["IPv4", "IPv6"]))
def test_each_address_is_decided_by_itself(texts: list[str], family: str) -> None:
    cleaned, problems = admitted(slice_of("app", *map(at, texts), family=family))
    assert isinstance(cleaned, EndpointSlice)
    kept = [each.addresses[0] for each in cleaned.endpoints or ()]
    assert kept == [found for text in texts if (found := through(text, family))]
    assert len(problems) == (len(kept) < len(texts))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | ANY), max_size=12))
def test_reports_are_those_of_the_objects_that_there_are(steps: list[tuple[str, str | None]]) -> None:
    door, world, latest = Door(), World(), dict[str, str]()
    for name, text in steps:
        obj = slice_of("app", at(text or ""), name=name)
        change: Change = Delete(ref_of(obj)) if text is None else Upsert(obj)
        world, _ = world.apply(door.admit([change]))
        latest.pop(name, None)
        if text is not None:
            latest[name] = text
    assert {str(p.subject) for ps in world.reports.values() for p in ps} == {
        f"EndpointSlice staging/{name}" for name, text in latest.items() if not through(text)
    }
