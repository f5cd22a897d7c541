"""What becomes of the blocks that are not simply run or read. A page may have what it needs in one line here.

A block of `sh`, and one that begins with ``$``, is run as it stands, in the page's directory (`laptop.py`);
what the latter shows has to be printed. A block of `yaml` is given to kubectl: a Kustomization is built,
other objects are applied to an API server that only says whether it would take them; one that begins with the
comment ``# NAME.yaml`` is a file of that name to the blocks after it. All else has an entry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docs.blocks import blocks_of
from tests.docs.laptop import Until, connected, is_ready
from tests.docs.readers import options_of_serve, patch_of_the_control_plane, policy
from xds_server.server.gateway_file import read_gateway


@dataclass(frozen=True)
class Run:
    """Commands that take more: what to type `before` them, what to type in place of parts of them
    (`instead`), and when they have done their work if they go on by themselves (`until`)."""

    before: str = ""
    instead: tuple[tuple[str, str], ...] = ()
    until: Until | None = None


@dataclass(frozen=True)
class Shows:
    """What these commands print."""

    commands: str
    before: str = ""


@dataclass(frozen=True)
class Read:
    """A file that this function of the program takes."""

    read: Callable[[Path], Any]


@dataclass(frozen=True)
class Checked:
    """By another test, given as pytest names it."""

    by: str


@dataclass(frozen=True)
class Listed:
    """It cannot be run here."""

    reason: str


How = Run | Shows | Read | Checked | Listed


@dataclass(frozen=True)
class Entry:
    """For the one block of `page` that has `part` in its text; for all that are of `language` if there is no
    `part`."""

    page: str
    part: str
    how: How
    language: str = ""


INSTEAD = (
    ("/tmp/xds-shadow-demo-…/kubeconfig", "{kubeconfig}"),  # noqa: S108 - as the page has it
    ("10.0.0.5:18000", "{xds}"),
    ("0.0.0.0:18000", "0.0.0.0:0"),
    ("http://127.0.0.1:8080/", "http://127.0.0.1:{gateway}/"),
    ("git clone <this repository> && cd xds-shadow", "cd {checkout}"),
    ("http://127.0.0.1:9900/", "http://127.0.0.1:{gateway}/"),
    ("127.0.0.1:18080", "{admin}"),
    ("127.0.0.1:18081", "{http}"),
    ("127.0.0.1:9901", "{envoy}"),
    ("grpcurl -plaintext", "PYTHONPATH={checkout} python -m tests.docs.grpcurl"),
    # What `make` would run, without running it: these tests are part of it.
    ("make ", "make --dry-run --directory {checkout} "),
    # What the Pod would run is run here, and what would lead to a gateway's Pod leads to the Envoy here.
    ("kubectl -n xds-shadow-system exec deployment/xds-shadow -- ", ""),
    ("kubectl -n xds-shadow-system port-forward service/xds-shadow-gateway 8080:80 &", ""),
)
"""What is typed in place of what only somebody else's machine has, in every block."""

PREPARE = """
kubectl -n staging create secret generic shadow-token --from-literal=authorization="Bearer of-the-canary"
for each in shop/httpbin shop/shop shop/foo-v1 test/podinfo default/orders default/www default/web; do
  namespace=${each%/*} name=${each#*/}
  kubectl get namespace $namespace || kubectl create namespace $namespace
  kubectl -n $namespace create service clusterip $name --tcp=80
done
for each in shop/httpbin-next shop/shop-next shop/foo-v2 test/podinfo default/orders-next default/www-next \
  default/web-next; do
  kubectl -n ${each%/*} create deployment ${each#*/} --image=backend
done
"""
"""What the cluster has besides the example: a Secret, and what docs/migration.md is about."""

MARK = "kubectl -n staging label deployment myapp-canary xds-shadow.io/shadow-of=myapp"
ACTIVE = f'{MARK}; until xds-shadow status | grep -q "Active *Configured"; do :; done'
REQUEST = "curl --silent --output /dev/null --header 'Host: myapp.staging' http://127.0.0.1:8080/"
MIRRORED = f'{MARK}; until xds-shadow status | grep -q "Active *Mirroring"; do {REQUEST}; done'
TOLD = f"{MARK}; until kubectl -n staging get events | grep -q ShadowMirroring; do {REQUEST}; done"
INSTALLED = """
kubectl apply -k manifests/install
for each in xds-shadow xds-shadow-gateway; do  # what their controller would report
  kubectl -n xds-shadow-system patch deployment $each --subresource=status --type=merge --patch \
    '{"status": {"observedGeneration": 9, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}}'
done
"""
ISTIO = next(block.text for block in blocks_of("docs/migration.md") if block.language == "yaml")
CONVERTED = f"""
cat > virtualservice.yaml <<'END'
{ISTIO}END
cat > deployments.yaml <<'END'
---
apiVersion: v1
kind: Service
metadata: {{name: httpbin-next, namespace: shop}}
spec: {{selector: {{app: httpbin-next}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: httpbin-next, namespace: shop}}
spec: {{template: {{metadata: {{labels: {{app: httpbin-next}}}}}}}}
END
"""
REJECTS = f"""{ACTIVE}
env --unset=XDS_SHADOW_NODE_GATEWAY_PORT xds-shadow bootstrap --node-id gateway-2 --xds-address {{xds}} \\
  --gateway-port $(echo {{http}} | cut -d: -f2) > rejects.yaml
envoy --config-path rejects.yaml > rejects.log 2>&1 &
until xds-shadow status | grep -q ERROR; do :; done
"""
OWN_LISTENER = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=a \\
  -addext subjectAltName=DNS:myapp.staging -keyout tls.key -out tls.crt
rm -f authorization && mkfifo authorization
PYTHONPATH={checkout} python -m tests.support.own_listener > authorization 2> authorization.log &
read -r authorization < authorization
sed -e "s/port_value: 9901/port_value: 0/" -e "s/port_value: 8443/port_value: $XDS_SHADOW_GATEWAY_PORT/" \\
  -e "s/port_value: 9191/port_value: $authorization/" \\
  {checkout}/envoy/own-listener.yaml > envoy/own-listener.yaml
"""
ROUTES_ONLY = "xds-shadow bootstrap --routes-only --node-id edge-1 --xds-address {xds} > xds-shadow.yaml\n"
OWN_ENVOY = f"""{OWN_LISTENER}{ROUTES_ONLY}{ACTIVE}
envoy --config-path envoy/own-listener.yaml --config-yaml "$(cat xds-shadow.yaml)" > own.log 2>&1 &
until xds-shadow status | grep -q "routes only"; do :; done
own=https://127.0.0.1:$XDS_SHADOW_GATEWAY_PORT/
until curl --silent --fail --insecure --header "Host: myapp.staging" $own; do :; done
"""
CERTIFICATE = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=a \\
  -addext subjectAltName=DNS:a -keyout tls.key -out tls.crt
"""
CONTAINERS = "tests/compose/test_compose.py"
HERE = "tests/docs/test_command_blocks.py"

TABLE = (
    Entry("README.md", "callers ----", Listed("a drawing")),
    Entry(
        "docs/try.md",
        "first mirrored request at the canary",
        Checked("tests/envoy/test_commands.py::test_the_demo_tells_its_story_and_ends_all_that_it_started"),
    ),
    Entry(
        "docs/try.md",
        "docker compose up",
        Checked(f"{CONTAINERS}::test_a_replica_that_is_killed_fails_no_request"),
    ),
    Entry("README.md", "xds-shadow serve --kubeconfig", Run(until=is_ready)),
    Entry("README.md", "> envoy.yaml\n", Run(until=connected("gateway-1"))),
    Entry("README.md", "envoy/own-listener.yaml", Run(before=OWN_LISTENER, until=connected("edge-1"))),
    Entry("README.md", "xds-shadow status\n", Run(before=ACTIVE)),
    Entry("README.md", "SHADOW   ", Shows("xds-shadow status", before=MIRRORED)),
    Entry("README.md", "$ kubectl -n staging get events", Run(before=TOLD)),
    Entry(
        "docs/commands.md",
        "xds-shadow serve      run",
        Checked(f"{HERE}::test_the_synopsis_names_the_real_commands_and_options"),
    ),
    Entry(
        "docs/commands.md",
        "--wait --for 15m && kubectl apply",
        Checked("tests/unit/test_verdict_command.py::test_waiting_ends_with_the_verdict"),
    ),
    Entry(
        "docs/commands.md",
        "type: confirm-promotion",
        Checked("tests/unit/test_api.py::test_the_webhooks_of_the_page_hold_and_count"),
    ),
    Entry(
        "docs/commands.md",
        "failureCondition",
        Checked("tests/unit/test_api.py::test_one_verdict_is_found_by_a_path_of_json"),
    ),
    Entry(
        "docs/commands.md",
        "kubectl shadow start",
        Run(
            before="kubectl config set-context --current --namespace=staging",
            instead=(
                ("kubectl shadow verdict myapp-canary --wait --for 15m", "kubectl shadow verdict --help"),
                (
                    "[--methods GET,HEAD] [--set NAME=VALUE]... [--expose] [-n NAMESPACE]",
                    "--methods GET,HEAD",
                ),
                (
                    "kubectl shadow status | top | explain myapp-canary",
                    "kubectl shadow status\nkubectl shadow top --help\nkubectl shadow explain myapp-canary",
                ),
            ),
        ),
    ),
    Entry(
        "docs/annotations.md",
        "",
        Checked(
            "tests/unit/test_annotations_page.py::test_the_example_gives_the_configuration_that_is_shown"
        ),
        language="yaml",
    ),
    Entry("docs/gateway.md", "xds-shadow serve --gateway", Run(until=is_ready)),
    Entry("docs/gateway.md", "", Read(read_gateway), language="yaml"),
    Entry("docs/internals/architecture.md", "kube, manifests ", Listed("a drawing")),
    Entry("docs/install.md", "docker build", Checked(f"{CONTAINERS}::test_the_image_is_for_production")),
    Entry(
        "docs/install.md",
        "patch deployment flagger",
        Run(
            before="kubectl create namespace flagger-system\n"
            "kubectl -n flagger-system create deployment flagger --image=flagger"
        ),
    ),
    Entry("docs/install.md", "rollout status", Run(before=INSTALLED)),
    Entry("docs/install.md", "- op: add\n  path: /spec/template", Read(patch_of_the_control_plane)),
    Entry("docs/install.md", "--tls-cert=server.crt", Read(options_of_serve)),
    # The embedded API has none of cert-manager's kinds.
    Entry(
        "docs/install.md",
        "tls/cert-manager\n",
        Run(instead=(("apply -k xds-shadow/", "kustomize xds-shadow/"),)),
    ),
    Entry(
        "docs/install.md",
        "kind: Certificate",
        Checked(
            "tests/unit/test_manifests_components.py::test_the_certificates_are_for_the_secrets_that_pods_mount"
        ),
    ),
    Entry(
        "docs/migration.md",
        "xds-shadow convert -f",
        Run(
            before=CONVERTED,
            instead=(
                (
                    "kubectl get httproutes,services,deployments -A -o yaml",
                    "cat virtualservice.yaml deployments.yaml",
                ),
            ),
        ),
    ),
    Entry(
        "docs/migration.md",
        "",
        Checked("tests/unit/convert/test_convert.py::test_the_page_shows_what_is_printed"),
        language="yaml",
    ),
    Entry("docs/operate.md", "kubectl -n staging describe deployment", Run(before=ACTIVE)),
    Entry(
        "docs/operate.md",
        "xds-shadow verdict\n",
        # Nothing was mirrored yet.
        Run(before=ACTIVE, instead=(("myapp-canary\n", "myapp-canary || test $? -eq 3\n"),)),
    ),
    Entry("docs/operate.md", "$ xds-shadow status", Run(before=REJECTS)),
    Entry("docs/operate.md", "explain staging/myapp-canary --config", Run(before=ACTIVE)),
    Entry("docs/operate.md", "rollout status", Run(before=INSTALLED)),
    # The embedded API has none of prometheus-operator's kinds.
    Entry(
        "docs/operate.md",
        "kubectl apply -k manifests/monitoring",
        Run(instead=(("kubectl apply -k", "kubectl kustomize"),)),
    ),
    Entry("docs/operate.md", "openssl x509", Run(before=CERTIFICATE)),
    Entry("docs/operate.md", '"event": "envoy connected"', Shows("cat {log}")),
    Entry(
        "docs/own-listener.md",
        "",
        Checked("tests/envoy/test_own_listener.py::test_the_example_has_what_is_printed"),
        language="yaml",
    ),
    Entry(
        "docs/own-listener.md",
        "--route-config internal",
        Run(instead=(("serve", "serve --xds-address 127.0.0.1:0"),), until=is_ready),
    ),
    Entry(
        "docs/own-listener.md",
        "envoy --config-path",
        Run(before=f"{OWN_LISTENER}{ROUTES_ONLY}", until=connected("edge-1")),
    ),
    Entry(
        "docs/own-listener.md",
        "$ curl",
        Run(before=OWN_ENVOY, instead=(("127.0.0.1:8443", "127.0.0.1:$XDS_SHADOW_GATEWAY_PORT"),)),
    ),
    Entry("docs/internals/releasing.md", "git tag --sign", Listed("a release is signed by who makes it")),
    Entry(
        "docs/internals/releasing.md",
        "pip install 'xds-shadow[demo]",
        Checked("tests/release/test_archives.py::test_an_installation_with_the_extra_shows_the_demo"),
    ),
    # The embedded API has no admission policies; tests/unit/test_manifests_admission.py evaluates this one.
    Entry(
        "docs/security.md",
        "kubectl apply -k manifests/admission",
        Run(instead=(("kubectl apply -k", "kubectl kustomize"),)),
    ),
    Entry("docs/security.md", "kubectl auth can-i", Listed("only an API server with RBAC answers it")),
    Entry("docs/security.md", "percent-max:", Read(policy)),
    Entry(
        "docs/verdict.md",
        "xds-shadow verdict staging/myapp-canary\n",
        # Nothing was mirrored yet.
        Run(before=ACTIVE, instead=(("myapp-canary\nxds", "myapp-canary || test $? -eq 3\nxds"),)),
    ),
    Entry("docs/security.md", "profile: hardened", Read(read_gateway)),
)
