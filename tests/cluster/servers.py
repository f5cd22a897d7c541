"""The processes of the control plane, and the credentials of their clients."""

import http.client
import json
import secrets
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from xds_server.local.demo.certificates import Authority

ADDRESS: Final = "10.77.0.1"
"""Of the API server and of the nodes. An API server rejects loopback addresses in EndpointSlices, so these
and the Pods' addresses are of other networks, which the network namespace makes local."""

SECOND_ADDRESS: Final = "10.77.0.2"
"""Of a second API server on the same etcd, which no Service leads to."""

LOCAL_NETWORKS: Final = ("10.77.0.0/16", "10.96.0.0/12")
"""Of nodes and Pods, and of cluster IPs."""

SYSTEM_SERVICES: Final = "default/kubernetes,xds-shadow-system/xds-shadow"
API_SERVER, SECOND_API_SERVER = "kube-apiserver", "kube-apiserver-2"

_ETCD: Final = "127.0.0.1:23790"
_USERS: Final = {"admin": "system:masters", "kube-controller-manager": "", "kube-scheduler": ""}
_READY_S: Final = 300.0
_STOP_S: Final = 20.0
_AUDIT: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts:xds-shadow-system"]},
        {"level": "None"},
    ],
}


class Servers:
    """The components by name, with their data and logs in `directory`."""

    def __init__(self, program: Path, directory: Path) -> None:
        self.directory = directory
        self.kubeconfig = directory / "admin.kubeconfig"
        self._program = program
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._tls: ssl.SSLContext

    def start_all(self) -> None:
        """Start every component and wait for the API server."""
        self._write_credentials()
        self.start("etcd")
        self.start(API_SERVER)
        self.start("kube-controller-manager")
        self.start("kube-scheduler")
        self.start("kubelet")

    def start(self, name: str, *options: str) -> None:
        """Start a component, with further options; an API server is ready on return."""
        command = [str(self._program), name.removesuffix("-2"), *self._arguments(name), *options]
        with (self.directory / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if name in (API_SERVER, SECOND_API_SERVER):
            self._until_ready(name)

    def stop(self, name: str, first: signal.Signals = signal.SIGTERM) -> None:
        """End a component and wait for its end."""
        process = self._running.pop(name)
        process.send_signal(first)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def runs(self, name: str) -> bool:
        """Whether a component was started and not stopped."""
        return name in self._running

    def stop_all(self) -> None:
        """End every component, the last started first."""
        for name in reversed(list(self._running)):
            self.stop(name)

    def compact(self) -> None:
        """Make etcd forget every revision before the current one."""
        revision = _etcd("range", {"key": "AA==", "limit": "1"})["header"]["revision"]
        _etcd("compaction", {"revision": revision, "physical": True})

    def requests(self) -> Iterable[dict[str, Any]]:
        """What the installation's ServiceAccounts have asked of the API server, from its audit log."""
        path = self.directory / "audit.log"
        return map(json.loads, path.read_text().splitlines()) if path.exists() else ()

    def _arguments(self, name: str) -> list[str]:
        match name:
            case "etcd":
                return [f"--client-url=http://{_ETCD}"]
            case "kube-apiserver":
                return [*_api_server(ADDRESS), "--audit-policy-file=audit.yaml", "--audit-log-path=audit.log"]
            case "kube-apiserver-2":
                return [*_api_server(SECOND_ADDRESS), "--endpoint-reconciler-type=none"]
            case "kube-controller-manager":
                return [
                    *_client(name),
                    "--use-service-account-credentials=true",
                    "--service-account-private-key-file=service-account.key",
                    "--root-ca-file=ca.crt",
                ]
            case "kube-scheduler":
                return _client(name)
            case "kubelet":
                programs = f"xds-shadow={Path(sys.executable).with_name('xds-shadow')}"
                return [f"--node-ip={ADDRESS}", f"--run={programs}", f"--proxy={SYSTEM_SERVICES}"]
            case _:
                raise ValueError(name)

    def _write_credentials(self) -> None:
        authority = Authority("test-cluster")
        (self.directory / "ca.crt").write_bytes(authority.pem)
        names = ["kubernetes.default.svc", "localhost"]
        addresses = [ADDRESS, SECOND_ADDRESS, "10.96.0.1"]
        authority.issue(dns=names, ips=addresses).write(self.directory, "apiserver")
        authority.issue(common_name="service-account").write(self.directory, "service-account")
        (self.directory / "audit.yaml").write_text(yaml.safe_dump(_AUDIT))
        self._tls = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        tokens = []
        for name, group in _USERS.items():
            token = secrets.token_hex(16)
            user = name if group else f"system:{name}"
            tokens.append(f"{token},{user},{user},{group}\n")
            self._write_kubeconfig(self.directory / f"{name}.kubeconfig", ADDRESS, token)
            if name == "admin":
                self._write_kubeconfig(self.second_kubeconfig, SECOND_ADDRESS, token)
        (self.directory / "tokens.csv").write_text("".join(tokens))

    @property
    def second_kubeconfig(self) -> Path:
        """For the second API server."""
        return self.directory / "admin-2.kubeconfig"

    def _write_kubeconfig(self, path: Path, address: str, token: str) -> None:
        cluster = {
            "server": f"https://{address}:6443",
            "certificate-authority": str(self.directory / "ca.crt"),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path.write_text(yaml.safe_dump(document))

    def _until_ready(self, name: str) -> None:
        address = ADDRESS if name == API_SERVER else SECOND_ADDRESS
        deadline = time.monotonic() + _READY_S
        while not self._is_ready(address):
            log = self.directory / f"{name}.log"
            assert self._running[name].poll() is None, f"{name} has ended:\n{log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"{name} is not ready:\n{log.read_text()[-4000:]}"
            time.sleep(0.2)

    def _is_ready(self, address: str) -> bool:
        try:
            with urllib.request.urlopen(
                f"https://{address}:6443/readyz", timeout=5, context=self._tls
            ) as response:
                return bool(response.status == 200)
        except OSError:
            return False


SERVERS: Final = pytest.StashKey[Servers]()
"""The control plane that the tests run on."""


def _api_server(address: str) -> list[str]:
    return [
        f"--etcd-servers=http://{_ETCD}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        "--tls-cert-file=apiserver.crt",
        "--tls-private-key-file=apiserver.key",
        "--token-auth-file=tokens.csv",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--service-account-key-file=service-account.crt",
        "--service-account-signing-key-file=service-account.key",
        "--service-cluster-ip-range=10.96.0.0/12",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
    ]


def _client(name: str) -> list[str]:
    """Faster than by default, which is made for a cluster that has other work."""
    return [
        f"--kubeconfig={name}.kubeconfig",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


def _etcd(call: str, body: dict[str, Any]) -> Any:
    connection = http.client.HTTPConnection(_ETCD, timeout=30)
    try:
        connection.request("POST", f"/v3/kv/{call}", json.dumps(body))
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    assert response.status == http.client.OK, text
    return json.loads(text)
