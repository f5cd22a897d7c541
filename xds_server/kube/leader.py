"""Takes part in the leader election of the replicas: `lease` has the algorithm, this module the requests."""

import asyncio
import contextlib
from typing import Any

from xds_server.base.clock import Clock
from xds_server.kube.client import CONFLICT, NOT_FOUND, Call, KubeClient
from xds_server.kube.lease import Election, Terms
from xds_server.kube.writes import Answer, Obstacles, jittered, send


class Candidate:
    """One replica in the election for the Lease `namespace`/`name`. `obstacles` take what prevents it."""

    def __init__(
        self, identity: str, *, namespace: str, name: str, terms: Terms, clock: Clock, obstacles: Obstacles
    ) -> None:
        self._namespace = namespace
        self._name = name
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._terms = terms
        self._clock = clock
        self._obstacles = obstacles
        self._election = Election(identity, namespace=namespace, name=name, terms=terms)
        self.follows = False
        """Whether another replica led at the last look."""

    @property
    def leads(self) -> bool:
        """Whether this replica is the leader now."""
        return self._election.leads(self._clock.monotonic())

    async def step(self, client: KubeClient) -> float:
        """Look at the Lease, and acquire or renew it if possible; returns how many seconds to wait before the
        next step."""
        wait = await self._look(client)
        return max(jittered(self._terms.retry), wait)

    async def resign(self, client: KubeClient) -> None:
        """Give the Lease up if this replica has it, so that another acquires it at once."""
        lease = self._election.resign(self._clock.wall())
        if lease is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._terms.retry):
                    await self._write(client, lease)

    async def _look(self, client: KubeClient) -> float:
        election = self._election
        self.follows = False
        if not election.holds:
            seen = await self._send(client, Call(path=f"{self._path}/{self._name}"))
            if not (seen.ok or seen.status == NOT_FOUND):
                return self._obstacles.failed("get", "leases", self._namespace, seen)
            election.observe(seen.document() if seen.ok else None, self._clock.monotonic())
        asked = self._clock.monotonic()
        bid = election.bid(asked, self._clock.wall())
        if bid is None:
            self.follows = True
            self._obstacles.gone("leases")
            return 0.0
        exists = "resourceVersion" in bid["metadata"]
        answer = await self._write(client, bid)
        if answer.ok:
            election.won(answer.document(), asked)
            self._obstacles.gone("leases")
        elif answer.status == CONFLICT or (exists and answer.status == NOT_FOUND):
            election.observe(None, self._clock.monotonic())  # another replica wrote it: look again
        else:
            return self._obstacles.failed("update" if exists else "create", "leases", self._namespace, answer)
        return 0.0

    async def _write(self, client: KubeClient, lease: dict[str, Any]) -> Answer:
        exists = "resourceVersion" in lease["metadata"]
        path = f"{self._path}/{self._name}" if exists else self._path
        return await self._send(client, Call(method="PUT" if exists else "POST", path=path, body=lease))

    async def _send(self, client: KubeClient, call: Call) -> Answer:
        return await send(client, call, within=self._terms.renew / 2)
