"""What the installation may do in a cluster: all that the control plane asks for, and nothing more."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.installation import INSTALL, SYSTEM, Doc, build, named, namespaces_of, of_kind, snippets
from tests.support.rbac import Rule, rules
from xds_server.core.objects import Kind
from xds_server.kube.query import Query
from xds_server.kube.source import _queries

READ = {"list", "watch"}


@pytest.fixture(scope="module")
def cluster() -> list[Doc]:
    return build(INSTALL / "cluster")


@pytest.fixture(scope="module")
def namespaced() -> list[Doc]:
    return build(INSTALL / "namespaced")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the manifests, for a test that changes them as a user would."""
    return Path(shutil.copytree(INSTALL, tmp_path / "install"))


def allows(rule: Rule, verb: str, query: Query) -> bool:
    group = query.path.split("/")[2] if query.path.startswith("/apis/") else ""
    return rule.allows(verb, group, query.path.rpartition("/")[2], query.namespace, query.name)


def queries(namespaces: tuple[str, ...]) -> list[Query]:
    """Everything that the control plane lists and watches."""
    pods = [Query(Kind.POD, namespace, labels="app=canary") for namespace in namespaces or ("anywhere",)]
    return [*_queries(namespaces), *pods]


def test_cluster_wide_it_may_read_what_it_asks_for_and_nothing_more(cluster: list[Doc]) -> None:
    granted, asked = list(rules(cluster)), queries(())
    for query in asked:
        assert all(any(allows(rule, verb, query) for rule in granted) for verb in READ), query
    assert {(rule.verb, rule.resource) for rule in granted if rule.verb in READ} == {
        (verb, query.path.rpartition("/")[2]) for verb in READ for query in asked
    }


@pytest.mark.parametrize("directory", ["cluster", "namespaced"])
def test_it_may_write_events_and_its_lease_alone(directory: str) -> None:
    docs = build(INSTALL / directory)
    assert {rule for rule in rules(docs) if rule.verb not in READ} == {
        *(
            Rule(verb, "", "events", namespace, "")
            for verb in ("create", "patch")
            for namespace in namespaces_of(named(docs, "Deployment", "xds-shadow")) or ("",)
        ),
        Rule("create", "coordination.k8s.io", "leases", SYSTEM, ""),
        Rule("get", "coordination.k8s.io", "leases", SYSTEM, "xds-shadow"),
        Rule("update", "coordination.k8s.io", "leases", SYSTEM, "xds-shadow"),
    }


def test_for_some_namespaces_it_may_read_those_alone(namespaced: list[Doc]) -> None:
    granted = list(rules(namespaced))
    namespaces = namespaces_of(named(namespaced, "Deployment", "xds-shadow"))
    assert namespaces == ("staging",)
    assert {rule.namespace for rule in granted if rule.verb in READ} == {"staging"}
    for query in queries(namespaces):
        allowed = all(any(allows(rule, verb, query) for rule in granted) for verb in READ)
        assert allowed == (query.kind is not Kind.NAMESPACE), query
    assert not of_kind(namespaced, "ClusterRole")
    assert {doc["metadata"]["name"] for doc in of_kind(namespaced, "Namespace")} == {SYSTEM}


def test_the_component_adds_its_namespaces_by_name(copy: Path) -> None:
    kustomization = copy / "namespaced" / "kustomization.yaml"
    text = kustomization.read_text()
    changed = text.replace("# components:\n#   - namespace-labels", "components:\n  - namespace-labels")
    assert changed != text
    kustomization.write_text(changed)
    granted = list(rules(build(copy / "namespaced")))
    for query in queries(("staging",)):
        assert all(any(allows(rule, verb, query) for rule in granted) for verb in READ), query
    assert not any(allows(rule, "list", Query(Kind.NAMESPACE, name="other")) for rule in granted)
    assert not any(allows(rule, "list", Query(Kind.NAMESPACE)) for rule in granted)


def test_a_secret_is_read_by_its_name_in_its_namespace() -> None:
    granted = set(rules(build(INSTALL / "credential")))
    query = Query(Kind.SECRET, "staging", labels="xds-shadow.io/allow=true", name="shadow-token")
    assert {rule.verb for rule in granted if allows(rule, rule.verb, query)} == READ
    assert len(granted) == len(READ)


def test_no_installation_reads_secrets_unless_the_component_is_added() -> None:
    for directory in (INSTALL, INSTALL / "cluster", INSTALL / "namespaced"):
        assert "secrets" not in {rule.resource for rule in rules(build(directory))}


def test_a_namespace_is_added_as_the_page_says(copy: Path) -> None:
    root = copy / "namespaced"
    shutil.copytree(root / "staging", root / "prod")
    prod = root / "prod" / "kustomization.yaml"
    prod.write_text(prod.read_text().replace("namespace: staging", "namespace: prod"))
    [operation] = [block for block in snippets() if "--namespace=prod" in block]
    kustomization = yaml.safe_load((root / "kustomization.yaml").read_text())
    kustomization["resources"].append("prod")
    kustomization["patches"][0]["patch"] += "\n" + operation
    (root / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    docs = build(root)
    assert namespaces_of(named(docs, "Deployment", "xds-shadow")) == ("staging", "prod")
    assert {rule.namespace for rule in rules(docs) if rule.verb in READ} == {"staging", "prod"}
