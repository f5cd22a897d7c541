"""Worlds that refer to nothing outside, for the models of clients."""

from hypothesis import strategies as st

from tests.unit.xds.model import SECRET_NAMES, resource
from xds_server.base.ids import TypeUrl
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST

CLUSTERS = ("c0", "c1", "c2")
ROUTES = ("r0", "r1")
SPARE = ("spare0", "spare1")
LISTENERS = ("l0", "l1")
HOSTS = ("a", "b")
_revs = st.integers(0, 2)


def _keys(type_url: TypeUrl, names: list[str]) -> tuple[ResourceKey, ...]:
    return tuple(ResourceKey(type_url, name) for name in names)


@st.composite
def worlds(draw: st.DrawFn) -> list[Resource]:
    """Resources of all types that refer to nothing outside."""
    clusters = sorted(draw(st.sets(st.sampled_from(CLUSTERS))))
    targets = st.lists(st.sampled_from(clusters), max_size=2, unique=True) if clusters else st.just([])
    routes = sorted(draw(st.sets(st.sampled_from(ROUTES + SPARE))))
    followed = [name for name in routes if name in ROUTES]
    listeners = sorted(draw(st.sets(st.sampled_from(LISTENERS)))) if followed else []
    secrets = sorted(draw(st.sets(st.sampled_from(SECRET_NAMES))))
    used = st.lists(st.sampled_from(secrets), max_size=1) if secrets else st.just([])
    hosts = (
        sorted(draw(st.sets(st.sampled_from([f"{r}/{h}" for r in routes for h in HOSTS])))) if routes else []
    )
    return [
        *(
            resource(CLUSTER, name, draw(_revs), (*_keys(ENDPOINT, [name]), *_keys(SECRET, draw(used))))
            for name in clusters
        ),
        *(resource(ENDPOINT, name, draw(_revs)) for name in clusters),
        *(resource(SECRET, name, draw(_revs)) for name in secrets),
        *(resource(VIRTUAL_HOST, name, draw(_revs), _keys(CLUSTER, draw(targets))) for name in hosts),
        *(resource(ROUTE, name, draw(_revs), _keys(CLUSTER, draw(targets))) for name in routes),
        *(
            resource(LISTENER, name, draw(_revs), _keys(ROUTE, [draw(st.sampled_from(followed))]))
            for name in listeners
        ),
    ]


def after(snapshot: Snapshot, world: list[Resource]) -> Snapshot:
    """The snapshot with exactly these resources, as the pipeline makes it: unchanged types and resources are
    the same objects."""
    keep = {each.key for each in world}
    held = [each.key for of_type in snapshot.types.values() for each in of_type.resources.values()]
    return snapshot.updated(
        [each for each in world if snapshot.get(each.key) != each], [key for key in held if key not in keep]
    )


def touched(snapshot: Snapshot, keys: set[ResourceKey], rev: int) -> Snapshot:
    """The snapshot in which those resources of `keys` that exist have the content `rev`, and nothing else
    changed."""
    found = [each for key in keys if (each := snapshot.get(key)) is not None]
    return snapshot.updated([resource(each.key.type_url, each.name, rev, each.refs) for each in found], [])


some_keys = st.sets(
    st.sampled_from(
        [
            *_keys(CLUSTER, [*CLUSTERS]),
            *_keys(ENDPOINT, [*CLUSTERS]),
            *_keys(SECRET, [*SECRET_NAMES]),
            *_keys(ROUTE, [*ROUTES]),
            *_keys(VIRTUAL_HOST, [f"{route}/{host}" for route in ROUTES for host in HOSTS]),
            *_keys(LISTENER, [*LISTENERS]),
        ]
    ),
    min_size=1,
    max_size=3,
)
