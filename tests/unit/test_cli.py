"""The command line: output, exit codes, messages."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import objects
from tests.support.cli import run
from xds_server.base.address import Address


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    documents = [
        objects.namespace(),
        objects.service(),
        objects.canary(),
        objects.canary("bad", percent="lots"),
    ]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(documents))
    (tmp_path / "broken.yaml").write_text("a: [")
    return tmp_path


def test_help_names_every_command() -> None:
    found = run("--help")
    assert found.returncode == 0
    for command in ("serve", "demo", "bootstrap", "render", "status", "explain"):
        assert command in found.stdout


@pytest.mark.parametrize("command", ["serve", "demo", "bootstrap", "render", "status", "explain"])
def test_every_option_is_an_environment_variable_and_has_help(command: str) -> None:
    found = run(command, "--help")
    assert found.returncode == 0
    assert "XDS_SHADOW_" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["serve", "--manifests", "x", "--xds-address", "nowhere"], 2, "--xds-address: 'nowhere'"),
        (["serve", "--manifests", "/does/not/exist", "--xds-address", "127.0.0.1:0"], 1, "/does/not/exist"),
        (["serve", "--manifests", "x", "--kubeconfig", "y"], 2, "one of the two"),
        (["serve", "--manifests", "x", "--gateway", "/none.yaml"], 2, "--gateway /none.yaml: No such file"),
        (["render", "--manifests", "/does/not/exist"], 1, "/does/not/exist"),
        (["status", "--server", "127.0.0.1:1"], 1, "no xds-shadow server responds at 127.0.0.1:1"),
        (["serve", "--lgo-level", "debug"], 2, "--lgo-level (Possible options: --log-level)"),
        (["status", "--server", "foo"], 2, "--server: 'foo' is not HOST:PORT, such as 127.0.0.1:18080 or"),
        (["render", "--manifests", "x", "-n", "staging"], 2, "--namespace selects namespaces of a cluster"),
        (["render", "-n", "Bad_NS"], 2, "--namespace 'Bad_NS': the name of a namespace has at most 63"),
        (["bootstrap", "--node-id", "a", "--namespace", "A"], 2, "--namespace 'A': the name of a namespace"),
        (["bootstrap", "--node-id", "a", "--stats-address", "::"], 2, "--stats-address needs --stats-port"),
        (["status", "--watch", "-o", "json"], 2, "--watch prints a table"),
        (["explain", "myapp-canary"], 2, "NAMESPACE/NAME"),
        (["demo", "--once", "--gateway-port", "1234"], 2, "--gateway-port"),
        (["demo", "--once", "--manifests", "/does/not/exist"], 2, "4-canary.yaml"),
        (["bootstrap", "--node-id", "a", "--gateway-address", "localhost"], 2, "not an IP address"),
        (["serve", "--manifests", "x", "--route-config", "In_x"], 2, "--route-config 'In_x': a name has"),
        (["render", "--manifests", "x", "--route-config", "A"], 2, "--route-config 'A': a name has at most"),
        (["bootstrap", "--node-id", "a", "--routes-only", "--route-config", ""], 2, "such as internal"),
        (["bootstrap", "--node-id", "a", "--stats-address", "pod"], 2, "--stats-address: 'pod' is not an IP"),
        (
            ["bootstrap", "--node-id", "a", "--stats-port", "9", "--admin-port", "0"],
            2,
            "--admin-port, and not 0",
        ),
        (["no-such-command"], 2, "No such command"),
    ],
)
def test_an_error_says_what_is_wrong_and_exits_accordingly(
    arguments: list[str], code: int, message: str
) -> None:
    found = run(*arguments, XDS_SHADOW_ADMIN_ADDRESS="127.0.0.1:0")
    assert (found.returncode, message in found.stderr) == (code, True), found.stderr
    assert "Traceback" not in found.stderr


def test_bootstrap_may_name_replicas_and_limit_namespaces() -> None:
    addresses = ("--xds-address", "a.example:1", "--xds-address", "b.example:2")
    namespaces = ("--namespace", "staging", "--namespace", "production")
    bootstrap = yaml.safe_load(run("bootstrap", "--node-id", "a", *addresses, *namespaces).stdout)
    assert bootstrap["node"]["metadata"] == {
        "xds-shadow.io/access-logs": "true",
        "xds-shadow.io/namespaces": "staging,production",
    }
    cluster, bodies = bootstrap["static_resources"]["clusters"]
    [locality] = cluster["load_assignment"]["endpoints"]
    assert _hosts(locality) == [("a.example", 1), ("b.example", 2)]
    # All bodies of a request have to reach one replica.
    first, second = bodies["load_assignment"]["endpoints"]
    assert (_hosts(first), _hosts(second)) == ([("a.example", 1)], [("b.example", 2)])
    assert (first.get("priority", 0), second["priority"]) == (0, 1)


def _hosts(locality: dict[str, Any]) -> list[tuple[str, int]]:
    hosts = [host["endpoint"]["address"]["socket_address"] for host in locality["lb_endpoints"]]
    return [(host["address"], host["port_value"]) for host in hosts]


def test_bootstrap_beside_an_application() -> None:
    options = ("--gateway-address", "127.0.0.1", "--ready-port", "9902")
    bootstrap = yaml.safe_load(run("bootstrap", "--node-id", "a", *options).stdout)
    assert bootstrap["node"]["metadata"] == {
        "xds-shadow.io/access-logs": "true",
        "xds-shadow.io/gateway-address": "127.0.0.1",
    }
    [listener] = bootstrap["static_resources"]["listeners"]
    assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 9902}
    for of in ("lds_config", "cds_config"):
        assert bootstrap["dynamic_resources"][of]["initial_fetch_timeout"] == "0s"


@pytest.mark.parametrize(("mode", "api"), [("delta", "DELTA_GRPC"), ("sotw", "GRPC")])
def test_bootstrap_for_listeners_of_ones_own(mode: str, api: str) -> None:
    options = ("--routes-only", "--mode", mode, "--namespace", "staging", "--route-config", "internal")
    parts, stanza = yaml.safe_load_all(run("bootstrap", "--node-id", "a", *options).stdout)
    assert parts["node"] == {
        "id": "a",
        "cluster": "xds-shadow",
        "metadata": {"xds-shadow.io/namespaces": "staging"},
    }
    waiting = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    assert parts["dynamic_resources"]["ads_config"]["api_type"] == api
    assert parts["dynamic_resources"]["cds_config"] == waiting
    assert parts.keys() == {"node", "static_resources", "dynamic_resources", "cluster_manager"}
    assert [each["name"] for each in parts["static_resources"]["clusters"]] == [
        "xds-shadow",
        "xds-shadow-bodies",
    ]
    limits, router = stanza.pop("http_filters")
    [log] = router["typed_config"]["upstream_log"]
    service = log["typed_config"]["common_config"]["grpc_service"]
    assert service == {"envoy_grpc": {"cluster_name": "xds-shadow"}}
    assert (limits["name"], limits["disabled"]) == ("xds-shadow.max-rps", True)
    assert stanza == {"rds": {"route_config_name": "internal", "config_source": waiting}}


def test_bootstrap_for_listeners_of_ones_own_has_none_of_others() -> None:
    of_listeners = ("--gateway-port", "9", "--gateway-address", "127.0.0.1", "--ready-port", "8")
    own = ("bootstrap", "--node-id", "a", "--routes-only")
    assert run(*own, *of_listeners).stdout == run(*own).stdout
    assert "route_config_name: gateway" in run(*own).stdout
    tls = ("--tls-cert", "/tls/tls.crt", "--tls-key", "/tls/tls.key", "--tls-ca", "/tls/ca.crt")
    with tempfile.TemporaryDirectory() as directory:
        secured = run(*own, *tls, "--sds-dir", directory)
    for cluster in next(yaml.safe_load_all(secured.stdout))["static_resources"]["clusters"]:
        assert cluster["transport_socket"]["name"] == "envoy.transport_sockets.tls"


def test_bootstrap_names_the_sds_files_where_envoy_finds_them(tmp_path: Path) -> None:
    tls = ("--tls-cert", "/tls/tls.crt", "--tls-key", "/tls/tls.key", "--tls-ca", "/tls/ca.crt")
    found = run("bootstrap", "--node-id", "a", *tls, "--sds-dir", str(tmp_path), "--sds-mount", "/etc/envoy")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["certificate.yaml", "roots.yaml"]
    assert "path: /etc/envoy/certificate.yaml" in found.stdout
    assert "path: /etc/envoy/roots.yaml" in found.stdout
    assert str(tmp_path) not in found.stdout


def test_bootstrap_takes_its_options_from_the_environment_too() -> None:
    by_option = run("bootstrap", "--node-id", "a", "--mode", "sotw", "--gateway-port", "8081")
    by_variable = run(
        "bootstrap", XDS_SHADOW_NODE_ID="a", XDS_SHADOW_MODE="sotw", XDS_SHADOW_NODE_GATEWAY_PORT="8081"
    )
    assert by_option.stdout == by_variable.stdout
    bootstrap = yaml.safe_load(by_option.stdout)
    assert bootstrap["node"] == {
        "id": "a",
        "cluster": "xds-shadow",
        "metadata": {"xds-shadow.io/access-logs": "true", "xds-shadow.io/gateway-port": "8081"},
    }
    assert bootstrap["dynamic_resources"]["ads_config"]["api_type"] == "GRPC"


def test_render_prints_resources_and_reports_problems_apart(manifests: Path) -> None:
    found = run("render", "--manifests", str(manifests), "-o", "json")
    assert found.returncode == 0
    resources = json.loads(found.stdout)
    assert [cluster["name"] for cluster in resources["clusters"]] == ["staging/myapp/http"]
    assert "broken.yaml" in found.stderr
    assert "InvalidFile" in found.stderr
    assert (
        "Deployment staging/bad: Rejected: InvalidPolicy: Annotation xds-shadow.io/percent:" in found.stderr
    )


def test_render_reports_notices_apart(tmp_path: Path) -> None:
    cache = objects.service("cache", ports=[{"name": "redis", "port": 6379}])
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([objects.namespace(), cache]))
    found = run("render", "--manifests", str(tmp_path))
    assert found.returncode == 0
    assert "Service staging/cache: notice: PortsNotRouted: Port 6379 (redis) is not routed" in found.stderr


def test_render_expose_all_routes_what_is_not_exposed(tmp_path: Path) -> None:
    (tmp_path / "service.yaml").write_text(yaml.safe_dump(objects.service()))
    hidden = run("render", "--manifests", str(tmp_path))
    shown = run("render", "--manifests", str(tmp_path), "--expose-all")
    assert "staging/myapp/http" not in hidden.stdout
    assert "staging/myapp/http" in shown.stdout


def test_render_keeps_to_the_policy_file(manifests: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("percent-max: lots\n")
    rejected = run("render", "--manifests", str(manifests), "--policy", str(policy))
    assert (rejected.returncode, rejected.stdout) == (2, "")
    assert f"--policy {policy}: percent-max: 'lots' is not a percentage" in " ".join(
        rejected.stderr.replace("│", " ").split()
    )
    (manifests / "canary.yaml").write_text(
        yaml.safe_dump_all(
            [
                objects.canary(percent="20"),
                objects.canary("modest", selects={"app": "modest"}),
                objects.pod("modest-1", Address("10.0.1.1", 80), labels={"app": "modest"}),
            ]
        )
    )
    policy.write_text("percent-max: 10\n")
    found = run("render", "--manifests", str(manifests), "--policy", str(policy))
    assert found.returncode == 0
    assert "staging/myapp/http/shadow/modest" in found.stdout
    assert "staging/myapp/http/shadow/myapp-canary" not in found.stdout


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (
            ["--xds-address", "0.0.0.0:18000"],
            "--xds-address 0.0.0.0:18000 is not on loopback, and without TLS every client that reaches it",
        ),
        (["--xds-address", "envoys.example:18000"], "--xds-address envoys.example:18000 is not on loopback"),
        (["--tls-cert", "a.pem"], "--tls-cert, --tls-key and --tls-client-ca go together"),
        (["--tls-clients", "a.yaml"], "--tls-clients needs --tls-cert, --tls-key and --tls-client-ca"),
        (
            ["--tls-cert", "gone.pem", "--tls-key", "b", "--tls-client-ca", "c"],
            "--tls-cert gone.pem: No such file or directory",
        ),
    ],
)
def test_serve_is_not_open_by_accident(manifests: Path, options: list[str], wrong: str) -> None:
    found = run("serve", "--manifests", str(manifests), *options)
    assert found.returncode == 2
    assert wrong in " ".join(found.stderr.replace("│", " ").split())


def test_bootstrap_writes_what_envoy_takes_new_certificates_by(tmp_path: Path) -> None:
    files = ["--tls-cert", "/tls/a.crt", "--tls-key", "/tls/a.key", "--tls-ca", "/tls/ca.crt"]
    sds = tmp_path / "deep" / "sds"
    address = ["--xds-address", "xds.example:18000"]
    found = run("bootstrap", "--node-id", "a", *address, *files, "--sds-dir", str(sds))
    assert found.returncode == 0
    cluster, bodies = yaml.safe_load(found.stdout)["static_resources"]["clusters"]
    assert bodies["transport_socket"] == cluster["transport_socket"]
    assert cluster["transport_socket"]["typed_config"]["sni"] == "xds.example"
    assert {path.name for path in sds.iterdir()} == {"certificate.yaml", "roots.yaml"}
    [secret] = yaml.safe_load((sds / "certificate.yaml").read_text())["resources"]
    assert secret["tls_certificate"]["private_key"] == {"filename": "/tls/a.key"}
    assert secret["tls_certificate"]["watched_directory"] == {"path": "/tls"}


def test_bootstrap_takes_all_of_the_certificates_or_none() -> None:
    found = run("bootstrap", "--node-id", "a", "--tls-cert", "a.crt")
    assert found.returncode == 2
    assert "--tls-cert, --tls-key and --tls-ca go together" in found.stderr


def test_bootstrap_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files = ["--tls-cert", "a.crt", "--tls-key", "a.key", "--tls-ca", "ca.crt"]
    found = run("bootstrap", "--node-id", "a", *files, "--sds-dir", str(tmp_path / "file"))
    assert found.returncode == 2
    assert "File exists" in found.stderr


DOCUMENTS = Path(__file__).parent / "convert" / "documents"


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        (["gateway-plain"], 0, "mirrors: 1, converted: 1\n"),
        (["gateway-plain", "istio-closer-header"], 3, "mirrors: 2, converted: 1\n"),
        (["istio-closer-header"], 1, "mirrors: 1, converted: 0\n"),
    ],
)
def test_convert_prints_commands_and_its_exit_code_says_whether_all_is_converted(
    files: list[str], code: int, said: str
) -> None:
    found = run("convert", *(word for each in files for word in ("-f", str(DOCUMENTS / f"{each}.yaml"))))
    assert (found.returncode, found.stderr) == (code, said)
    expected = "".join((DOCUMENTS / f"{each}.txt").read_text() for each in files if len(files) == 1)
    assert expected in (found.stdout, "")
    assert "xds-shadow.io/shadow-of=shop" in found.stdout


def test_convert_prints_patches() -> None:
    found = run("convert", "-o", "yaml", "-f", str(DOCUMENTS / "gateway-plain.yaml"))
    deployment, service = (each for each in yaml.safe_load_all(found.stdout) if each)
    assert deployment["metadata"]["labels"] == {"xds-shadow.io/shadow-of": "shop"}
    assert service["metadata"]["labels"] == {"xds-shadow.io/expose": "true"}


@pytest.mark.parametrize(
    ("text", "code", "wrong"),
    [
        ("kind: Service\n", 1, "no mirror found in 1 document; supported kinds: VirtualService"),
        ("a: b: c", 1, "The file is not valid YAML (line 1, column 5"),
        (None, 2, "No such file or directory"),
    ],
)
def test_convert_says_what_it_could_not_read(tmp_path: Path, text: str | None, code: int, wrong: str) -> None:
    path = tmp_path / "a.yaml"
    if text is not None:
        path.write_text(text)
    found = run("convert", "-f", str(path))
    assert (found.returncode, found.stdout) == (code, "")
    assert wrong in " ".join(found.stderr.replace("│", " ").split())
