"""For how long the watches of a kind have said nothing."""

import asyncio
from functools import partial

from tests.support.recorder import running
from tests.support.waiting import eventually
from tests.unit.kube.api_server import ApiServer, source
from tests.unit.kube.manifests import secret, service
from tests.unit.kube.test_secrets import using
from xds_server.core.objects import Kind
from xds_server.kube.source import KubeSource

_ROUNDING_S = 0.001


def heard(followed: KubeSource, kind: Kind) -> float:
    """When a watch of the kind last said something."""
    return asyncio.get_running_loop().time() - followed.health().silence[kind]


async def test_an_event_a_bookmark_and_going_on_end_the_silence(api: ApiServer) -> None:
    followed = source(api)
    async with running(followed):
        await api.until_watched("Service", "Namespace")
        for something in (
            partial(api.put, service("web")),
            partial(api.bookmark, "Service"),
            partial(api.end, "Service"),
        ):
            said = asyncio.get_running_loop().time() + _ROUNDING_S
            await eventually(lambda at=said: asyncio.get_running_loop().time() > at)  # type: ignore[misc]
            something()
            await eventually(lambda at=said: heard(followed, Kind.SERVICE) > at)  # type: ignore[misc]
        assert heard(followed, Kind.NAMESPACE) < said, "nothing was said of these"


async def test_only_what_is_followed_can_be_silent(api: ApiServer) -> None:
    followed = source(api)
    assert followed.health().silence == {}
    async with running(followed):
        always = {*Kind} - {Kind.SECRET}
        assert followed.health().silence.keys() == always
        api.put(using("canary", "token/key"), secret("token", key="t"))
        await eventually(lambda: followed.health().silence.keys() == {*always, Kind.SECRET})


async def test_a_server_that_does_not_answer_is_silent(api: ApiServer) -> None:
    followed = source(api)
    async with running(followed):
        await api.until_watched("Service")
        api.down = True
        api.cut()
        asked = len(api.requests)
        await eventually(lambda: len(api.requests) > asked + 4)
        last = heard(followed, Kind.SERVICE)
        await eventually(lambda: len(api.requests) > asked + 12)
        assert abs(heard(followed, Kind.SERVICE) - last) < _ROUNDING_S


async def test_a_rejection_is_an_answer(api: ApiServer) -> None:
    """That nothing is followed then is what `outages` says."""
    followed = source(api)
    async with running(followed):
        await api.until_watched("Service")
        api.reject["watch", "Service"] = 403
        api.end("Service")
        await api.until_asked("watch", "Service", 3)
        last = heard(followed, Kind.SERVICE)
        await eventually(lambda: heard(followed, Kind.SERVICE) > last + _ROUNDING_S)
        assert followed.health().outages[Kind.SERVICE] > 0
