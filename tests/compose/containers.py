"""`docker-compose.yml` under way."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.request import Request, urlopen

from tests.compose.engine import Engine, run
from tests.compose.images import ROOT
from tests.support.installation import kubectl
from tests.support.waiting import PATIENCE_S
from xds_server.local.demo.backend import BACKEND_HEADER
from xds_server.local.demo.stage import HOST

GATEWAYS = ("gateway-delta", "gateway-sotw")
REPLICAS = ("control-plane-1", "control-plane-2")
_PORTS = ("KUBE_PORT", "PAGE_PORT", "PAGE_PORT_2", "GATEWAY_PORT", "GATEWAY_PORT_2")


class Containers:
    """One project of docker-compose."""

    def __init__(self, engine: Engine, images: Mapping[str, str], *, project: str) -> None:
        self.engine = engine
        self.project = project
        self.image = f"{project}:test"
        self._command = [*engine.compose, "--project-name", project]
        self._environment = {
            **engine.environment,
            **images,
            **dict.fromkeys(_PORTS, "0"),
            "XDS_SHADOW_IMAGE": self.image,
            "XDS_SHADOW_DEMO_IMAGE": f"{project}-demo:test",
        }

    def __call__(self, *arguments: str) -> str:
        """What docker-compose prints; it must succeed."""
        return run([*self._command, *arguments], self._environment, cwd=ROOT)

    def up(self) -> None:
        """As docs/try.md says, and in the background."""
        self("up", "--build", "--detach")

    def down(self) -> None:
        """Take everything away again, the images too."""
        self("down", "--volumes", "--timeout", "10")
        self.engine.docker("image", "rm", "--force", self.image, f"{self.project}-demo:test")

    # What follows calls docker: docker-compose of Debian 12 needs a second of processor time for a command.

    def ids(self, service: str = "") -> list[str]:
        """The containers of a service, of all services if none is named."""
        labels = [f"project={self.project}", *([f"service={service}"] if service else [])]
        filters = [f"--filter=label=com.docker.compose.{label}" for label in labels]
        return self.engine.docker("ps", "--all", "--quiet", *filters).split()

    def id(self, service: str) -> str:
        """The container of a service."""
        [found] = self.ids(service)
        return found

    def start(self, service: str) -> None:
        """Start its container if it is stopped."""
        self.engine.docker("start", self.id(service))

    def execute(self, service: str, *command: str) -> str:
        """What a command in a container prints."""
        return self.engine.docker("exec", self.id(service), *command)

    def address(self, service: str, port: int) -> str:
        """Where the host reaches a container's port."""
        return self.engine.docker("port", self.id(service), f"{port}/tcp").strip()

    def state(self, service: str) -> dict[str, Any]:
        """What the engine says of a container."""
        [found] = json.loads(self.engine.docker("inspect", self.id(service)))
        return dict(found["State"])

    def health(self, service: str) -> str:
        """What its health check says: starting, healthy, unhealthy; empty if the container is not running."""
        state = self.state(service)
        return str(state["Health"]["Status"]) if state["Running"] else ""

    def kubectl(self, *arguments: str) -> str:
        """A line of kubectl as one types it on the host, but for the port."""
        kubeconfig = ROOT / "manifests" / "compose" / "kubeconfig"
        server = f"--server=http://{self.address('kube', 18082)}"
        return run([kubectl(), f"--kubeconfig={kubeconfig}", server, *arguments], self._environment)

    def shadows(self, replica: str) -> dict[str, str]:
        """States by name, as a replica's live page has them."""
        with urlopen(f"http://{self.address(replica, 18081)}/api/v1/shadows") as answer:
            found = json.load(answer)["shadows"]
        return {f"{each['namespace']}/{each['name']}": each["state"] for each in found}

    def answered_by(self, gateway: str, requests: int) -> set[str]:
        """The versions that answer so many requests from the host."""
        request = Request(f"http://{self.address(gateway, 8080)}/", headers={"Host": HOST})
        found = set()
        for _ in range(requests):
            with urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310 - a fixed scheme
                found.add(str(answer.headers[BACKEND_HEADER]))
        return found

    def reported(self, service: str, pattern: str) -> tuple[int, ...]:
        """The numbers in the last line of a container's log that the pattern matches; zeros if none does."""
        matches = list(re.finditer(pattern, self.engine.docker("logs", "--tail", "50", self.id(service))))
        if not matches:
            return (0,) * re.compile(pattern).groups
        return tuple(int(each) for each in matches[-1].groups())

    def mirrored(self) -> int:
        """The mirrored requests that the canary received."""
        return self.reported("myapp-canary", r"(\d+) mirrored")[0]

    def requests_at_the_canary(self) -> int:
        """The requests of clients that the canary received: must stay 0."""
        return self.reported("myapp-canary", r"(\d+) from clients")[0]

    def clients(self) -> tuple[int, ...]:
        """Responses to clients from the stable version, from the canary, and failures."""
        pattern = r"(\d+) from the stable version, (\d+) from the canary version; failed: (\d+)"
        return self.reported("clients", pattern)
