"""A namespace is awaited exactly while something is known in it and its Namespace is not, in whatever order
they came.
"""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pure import worlds
from xds_server.core.world import Change, World
from xds_server.kube.namespaces import Namespaces

GIVEN_UP = st.sets(st.sampled_from(["a", "b"]))


@given(worlds.histories(), GIVEN_UP, st.integers(0, 6))
def test_what_is_awaited_follows_from_what_is_known(
    history: list[list[Change]], given_up: set[str], when: int
) -> None:
    namespaces, world = Namespaces(), World()
    excused: set[str] = set()
    for index, batch in enumerate(history):
        changes = [*batch, *namespaces.note(batch)]
        if index == when:
            excused = given_up
            changes += [change for name in sorted(given_up) for change in namespaces.give_up(name)]
        world, _ = world.apply(changes)
        for name, view in world.namespaces.items():
            unknown = view.namespace is None and bool(view.services or view.workloads)
            assert view.awaited == ({""} if unknown and name not in excused else set())
