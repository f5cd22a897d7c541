"""However many canaries a namespace has, it is followed with a few connections."""

import json
from typing import Any

import pytest

from tests.support.recorder import Recorder, running
from tests.support.waiting import eventually
from tests.unit.kube.api_server import ApiServer, source
from tests.unit.kube.manifests import Doc, canary, deployment, namespace, pod, secret, service
from xds_server.core.decode import decode_object
from xds_server.core.objects import Kind
from xds_server.core.world import Upsert, World
from xds_server.kube.demand import SECRETS_MAX, SELECTORS_MAX, Wanted
from xds_server.kube.query import Query
from xds_server.kube.source import read_once_kube

FROM_SECRET = "xds-shadow.io/credential-from-secret"  # noqa: S105 - a name
NAMES = [f"canary-{n}" for n in range(40)]
FEW = NAMES[:SELECTORS_MAX]
WHOLE = Query(Kind.POD, "staging")


def watched(api: ApiServer) -> list[str]:
    """The selectors of the open watches of Pods; nothing for all of a namespace."""
    return sorted(
        each.request.parameters.get("labelSelector", "")
        for each in api.watchers
        if each.request.kind == "Pod" and not each.transport.is_closing()
    )


async def until_watched(api: ApiServer, *selectors: str) -> None:
    await eventually(lambda: watched(api) == sorted(selectors))


def awaited(recorder: Recorder) -> frozenset[str]:
    return recorder.world.view("staging").awaited


def canaries(*names: str) -> list[Doc]:
    return [canary(name) for name in names]


def pods(*names: str) -> list[Doc]:
    return [pod(f"pod-of-{name}", app=name) for name in names]


class TestPods:
    async def test_those_of_many_canaries_take_one_watch_from_the_start(self, api: ApiServer) -> None:
        api.put(namespace("staging"), *canaries(*NAMES), *pods(*NAMES), pod("stable", app="web"))
        async with running(source(api)) as recorder:
            await until_watched(api, "")
            assert awaited(recorder) == frozenset()
            assert {f"pod-of-{name}" for name in NAMES} <= recorder.names(Kind.POD)
            assert api.count("list", "Pod") == api.count("watch", "Pod") == 1
            api.put(canary("another"))
            await recorder.until(lambda: "another" in recorder.names(Kind.DEPLOYMENT))
            assert awaited(recorder) == frozenset(), "all Pods are known"

    async def test_a_few_are_known_by_their_own_until_there_is_the_list_of_all(self, api: ApiServer) -> None:
        api.put(namespace("staging"), *canaries(*FEW), *pods(*NAMES))
        own = [f"app={name}" for name in FEW]
        async with running(source(api)) as recorder:
            await until_watched(api, *own)
            await api.until_watched("Deployment")
            api.reject["list", "Pod"] = 503
            api.put(*canaries(*NAMES))
            await recorder.until(lambda: recorder.names(Kind.DEPLOYMENT) == {*NAMES})
            assert awaited(recorder) == {f"app={name}" for name in NAMES[SELECTORS_MAX:]}
            api.put(pod("later", app=FEW[0]))
            await recorder.until(lambda: "later" in recorder.names(Kind.POD))
            assert watched(api) == sorted(own)
            api.put(deployment(FEW[1]))
            await until_watched(api, *[each for each in own if each != f"app={FEW[1]}"])
            api.reject.clear()
            await until_watched(api, "")
            assert awaited(recorder) == frozenset()
            assert recorder.names(Kind.POD) == {"later", *(f"pod-of-{name}" for name in NAMES)}
            assert {ref.name for ref in recorder.deletions} == {FEW[1], f"pod-of-{FEW[1]}"}
            api.delete(pod("later"))
            await recorder.until(lambda: "later" not in recorder.names(Kind.POD))

    async def test_they_are_followed_together_until_no_canary_is_left(self, api: ApiServer) -> None:
        api.put(namespace("staging"), *canaries(*NAMES), *pods(*NAMES))
        async with running(source(api)) as recorder:
            await until_watched(api, "")
            await api.until_watched("Deployment")
            for name in NAMES[1:]:
                api.delete(canary(name))
            await recorder.until(lambda: recorder.names(Kind.DEPLOYMENT) == {NAMES[0]})
            assert watched(api) == [""]
            api.delete(canary(NAMES[0]))
            await recorder.until(lambda: recorder.names(Kind.POD) == set())
            await until_watched(api)
            api.put(*canaries(NAMES[0]))
            await recorder.until(lambda: recorder.names(Kind.POD) == {f"pod-of-{NAMES[0]}"})
            await until_watched(api, f"app={NAMES[0]}")

    @pytest.mark.parametrize("status", [403, 404])
    async def test_read_once_awaits_all_that_it_could_not_list(self, api: ApiServer, status: int) -> None:
        api.put(namespace("staging"), *canaries(*NAMES))
        api.reject["list", "Pod"] = status
        world, _ = World().apply(await read_once_kube(api.connect))
        assert world.view("staging").awaited == {f"app={name}" for name in NAMES}


def using(number: int, **metadata: Any) -> Upsert:
    document = canary(f"canary-{number}")
    document["metadata"] |= {"annotations": {FROM_SECRET: f"token-{number}/key"}, **metadata}
    return Upsert(decode_object(Kind.DEPLOYMENT, json.dumps(document).encode()))


class TestSecrets:
    async def test_a_namespace_has_so_many_watches_of_them(self, api: ApiServer) -> None:
        many = [canary(f"canary-{n}") for n in range(SECRETS_MAX + 6)]
        for n, document in enumerate(many):
            document["metadata"]["annotations"] = {FROM_SECRET: f"token-{n}/key"}
        api.put(*many, *(secret(f"token-{n}", key="a") for n in range(len(many))))
        async with running(source(api)) as recorder:
            api.put(service("witness"))
            await recorder.until(lambda: len(recorder.names(Kind.SECRET)) == SECRETS_MAX)
            asked = {each.parameters["fieldSelector"] for each in api.requests if each.kind == "Secret"}
            assert len(asked) == SECRETS_MAX

    def test_those_of_the_oldest_canaries_are_followed(self) -> None:
        wanted = Wanted({})
        young, old = "2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"
        wanted.note(using(0, creationTimestamp=young))
        for number in range(1, SECRETS_MAX + 1):
            wanted.note(using(number, creationTimestamp=old))
        names = {query.name for query in wanted.queries() if query.kind is Kind.SECRET}
        assert names == {f"token-{number}" for number in range(1, SECRETS_MAX + 1)}
        assert WHOLE in wanted.queries()
        assert wanted.covered_by(WHOLE) == {f"app=canary-{number}" for number in range(SECRETS_MAX + 1)}
