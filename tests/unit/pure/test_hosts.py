"""The table of hosts: the older claim wins, whatever the order of the claims."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.ids import NamespacedName
from xds_server.core.hosts import Age, Claimed, HostTable

SERVICES = [NamespacedName(namespace, name) for namespace in "ab" for name in ("web", "api")]
HOSTS = ("one", "two", "three")

Claim = tuple[NamespacedName, str, tuple[str, ...]]
claims: st.SearchStrategy[Claim] = st.tuples(
    st.sampled_from(SERVICES),
    st.sampled_from(("", "2024", "2025")),
    st.lists(st.sampled_from(HOSTS), unique=True).map(tuple),
)


def claim(
    table: HostTable, service: NamespacedName, created: str, hosts: tuple[str, ...]
) -> set[NamespacedName]:
    exchanged, others = table.claim(service, _age(service, created), hosts)
    assert not exchanged & others
    return {*exchanged, *others} - {service}


def owners(table: HostTable) -> dict[str, NamespacedName | None]:
    return {host: table.owner(host) for host in HOSTS}


def _age(service: NamespacedName, created: str) -> Age:
    return (created, service.namespace, service.name)


@given(st.lists(claims, max_size=12))
def test_the_owner_is_the_oldest_of_those_that_claim_now(history: list[Claim]) -> None:
    table, standing = HostTable(), dict[NamespacedName, Claim]()
    for made in history:
        claim(table, *made)
        standing[made[0]] = made
        for host in HOSTS:
            ages = [_age(service, created) for service, created, hosts in standing.values() if host in hosts]
            expected = min(ages, default=None)
            assert table.owner(host) == (expected and NamespacedName(*expected[1:]))


@given(st.lists(claims, max_size=4, unique_by=lambda made: made[0]), st.randoms(use_true_random=False))
def test_the_order_of_claims_makes_no_difference(made: list[Claim], random: Random) -> None:
    one, other = HostTable(), HostTable()
    for each in made:
        claim(one, *each)
    random.shuffle(made)
    for each in made:
        claim(other, *each)
    assert owners(one) == owners(other)


@given(st.lists(claims, max_size=12))
def test_the_services_returned_are_the_other_claimants_of_hosts_that_changed_hands(
    history: list[Claim],
) -> None:
    table, standing = HostTable(), dict[NamespacedName, tuple[str, ...]]()
    for service, created, hosts in history:
        before = owners(table)
        reported = claim(table, service, created, hosts)
        standing[service] = hosts
        moved = {host for host, owner in owners(table).items() if owner != before[host]}
        assert reported == {s for s, theirs in standing.items() if moved & set(theirs)} - {service}


def test_a_repeated_claim_concerns_no_service() -> None:
    table = HostTable()
    web, api = SERVICES[:2]
    assert claim(table, web, "2025", ("one",)) == set()
    assert claim(table, api, "2024", ("one", "two")) == {web}
    assert claim(table, api, "2024", ("one", "two")) == set()
    # The age alone can hand a host over, and so can giving up all claims.
    assert claim(table, api, "2026", ("one", "two")) == {web}
    assert owners(table) == {"one": web, "two": api, "three": None}
    assert claim(table, web, "2025", ()) == {api}
    assert table.owner("one") == api


def test_services_that_must_change_in_the_same_step_are_separate_from_those_that_name_another_owner() -> None:
    table = HostTable()
    web, api, third = SERVICES[:3]
    claim(table, web, "2025", ("one",))
    claim(table, third, "2026", ("one",))
    expected = Claimed(frozenset({web, api}), frozenset({third}))
    assert table.claim(api, _age(api, "2024"), ("one",)) == expected
    assert table.claim(api, _age(api, "2024"), ()) == expected
