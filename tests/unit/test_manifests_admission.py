"""manifests/admission: who may write labels and annotations of ours. The expressions are evaluated by CEL
itself (its C++ runtime); what RBAC would answer them comes from the roles beside them."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import pytest
from cel_expr_python import cel
from kubernetes.aio.client import models

from tests.support.installation import REPOSITORY, Doc, build, named, of_kind
from xds_server.core.objects import WORKLOADS

ADMISSION = REPOSITORY / "manifests" / "admission"
STARTER, EXPOSER = "xds-shadow-starter", "xds-shadow-exposer"
MARK, NOTE = "xds-shadow.io/shadow-of", "xds-shadow.io/percent"

PLAIN: Final[Doc] = {"metadata": {"name": "a", "labels": {"app": "a"}}}
BARE: Final[Doc] = {"metadata": {"name": "a"}}
MARKED: Final[Doc] = {
    "metadata": {"name": "a", "labels": {"app": "a", MARK: "myapp"}, "annotations": {NOTE: "5"}}
}


@pytest.fixture(scope="module")
def documents() -> list[Doc]:
    return build(ADMISSION)


@pytest.fixture(scope="module")
def spec(documents: list[Doc]) -> Doc:
    return dict(named(documents, "ValidatingAdmissionPolicy", "xds-shadow-marks")["spec"])


@dataclass(frozen=True)
class User:
    """`roles` are bound in `namespace`; in the whole cluster if it is empty."""

    roles: tuple[str, ...] = ()
    namespace: str = ""

    def may(self, documents: list[Doc], check: dict[str, Any]) -> bool:
        return self.namespace in ("", check["namespace"]) and any(
            check["group"] in rule["apiGroups"]
            and check["resource"] in rule["resources"]
            and check["verb"] in rule["verbs"]
            for role in self.roles
            for rule in named(documents, "ClusterRole", role)["rules"]
        )


def environment(documents: list[Doc], user: User) -> cel.Env:
    """CEL with the API server's variables, and its `authorizer`: a mapping that its functions fill."""
    whatever, text, mapping = cel.Type.DYN, cel.Type.STRING, cel.Type.MAP

    def remembers(name: str) -> cel.FunctionDecl:
        key = "verb" if name == "check" else name
        impl = lambda check, value: {**check, key: value}  # noqa: E731
        return cel.FunctionDecl(name, [cel.Overload(f"{name}_", mapping, [mapping, text], True, impl)])  # noqa: FBT003

    def may(check: dict[str, Any]) -> bool:
        return user.may(documents, check)

    allowed = cel.Overload("allowed_", cel.Type.BOOL, [mapping], True, may)  # noqa: FBT003
    names = ("object", "oldObject", "request", "authorizer", "variables")
    return cel.NewEnv(
        variables=dict.fromkeys(names, whatever),
        functions=[
            *map(remembers, ("group", "resource", "namespace", "check")),
            cel.FunctionDecl("allowed", [allowed]),
        ],
    )


def rejection(
    documents: list[Doc],
    user: User,
    after: Doc,
    before: Doc | None = None,
    *,
    resource: str = "deployments",
    namespace: str = "staging",
) -> str:
    """What the policy answers to a request; empty if it lets it pass."""
    spec = named(documents, "ValidatingAdmissionPolicy", "xds-shadow-marks")["spec"]
    env = environment(documents, user)
    data: dict[str, Any] = {
        "object": deepcopy(after),
        "oldObject": deepcopy(before),
        "request": {
            "resource": {"resource": resource},
            "userInfo": {"username": "ann"},
            **({"namespace": namespace} if namespace else {}),
        },
        "authorizer": {},
        "variables": {},
    }

    def value(expression: str) -> Any:
        return env.compile(expression).eval(data=data).plain_value()

    for variable in spec["variables"]:
        data["variables"][variable["name"]] = value(variable["expression"])
    [validation] = spec["validations"]
    verdict = value(validation["expression"])
    assert isinstance(verdict, bool), verdict
    return "" if verdict else str(value(validation["messageExpression"]))


def test_kubernetes_own_models_know_every_field_of_it(documents: list[Doc]) -> None:
    for document in documents:
        model = getattr(models, f"V1{document['kind']}")
        model.model_validate(document, strict=True)
    wrong = deepcopy(named(documents, "ValidatingAdmissionPolicy", "xds-shadow-marks"))
    wrong["spec"]["validations"][0]["expresion"] = "true"
    with pytest.raises(ValueError, match="expresion"):
        models.V1ValidatingAdmissionPolicy.model_validate(wrong, strict=True)


def test_it_is_in_force_and_fails_closed(documents: list[Doc], spec: Doc) -> None:
    [binding] = of_kind(documents, "ValidatingAdmissionPolicyBinding")
    assert binding["spec"] == {"policyName": "xds-shadow-marks", "validationActions": ["Deny"]}
    assert spec["failurePolicy"] == "Fail"
    asked = {
        resource: set(rule["operations"])
        for rule in spec["matchConstraints"]["resourceRules"]
        for resource in rule["resources"]
    }
    assert set(map(frozenset, asked.values())) == {frozenset({"CREATE", "UPDATE"})}
    assert {"services", "namespaces", "secrets"} <= asked.keys()
    assert {f"{kind.lower()}s" for kind in WORKLOADS} <= asked.keys()
    assert {f"{kind.lower()}s/status" for kind in WORKLOADS} <= asked.keys()


def test_an_empty_map_stands_for_no_labels_also_to_the_type_checker() -> None:
    texts = cel.Type.Map(cel.Type.STRING, cel.Type.STRING)
    env = cel.NewEnv(variables={"labels": texts, "given": cel.Type.BOOL})
    assert env.compile("given ? labels : {}").return_type() == texts


def changed(change: dict[str, dict[str, str | None]], of: Doc = MARKED) -> Doc:
    """The object with some labels or annotations set, or taken away where None is given."""
    after = deepcopy(of)
    for section, values in change.items():
        kept = after["metadata"].setdefault(section, {})
        for key, value in values.items():
            kept.pop(key, None)
            kept.update({key: value} if value is not None else {})
    return after


@pytest.mark.parametrize(
    ("after", "before"),
    [
        pytest.param(MARKED, None, id="created with a mark"),
        pytest.param(MARKED, PLAIN, id="marked"),
        pytest.param(MARKED, BARE, id="marked, without a label before"),
        pytest.param(PLAIN, MARKED, id="unmarked"),
        pytest.param(BARE, MARKED, id="all labels taken away"),
        pytest.param(changed({"labels": {MARK: "other"}}), MARKED, id="another Service"),
        pytest.param(changed({"annotations": {NOTE: "100"}}), MARKED, id="more of it"),
        pytest.param(changed({"annotations": {NOTE: None}}), MARKED, id="a limit taken away"),
        pytest.param(changed({"annotations": {NOTE: "1"}}, PLAIN), PLAIN, id="annotated"),
    ],
)
def test_who_may_not_mark_changes_nothing_of_ours(
    documents: list[Doc], after: Doc, before: Doc | None
) -> None:
    said = rejection(documents, User(), after, before)
    assert said == (
        "ann may not write labels and annotations xds-shadow.io/ here: it lacks the verb mark for"
        " deployments.xds-shadow.io"
    )
    assert rejection(documents, User((EXPOSER,)), after, before)
    assert rejection(documents, User((STARTER,), "prod"), after, before)
    assert rejection(documents, User((STARTER,), "staging"), after, before) == ""
    assert rejection(documents, User((STARTER,)), after, before) == ""


@pytest.mark.parametrize(
    ("after", "before"),
    [
        pytest.param(PLAIN, None, id="created"),
        pytest.param(BARE, None, id="created bare"),
        pytest.param(BARE, BARE, id="bare"),
        pytest.param(MARKED, MARKED, id="the mark stays"),
        pytest.param(changed({"labels": {"app": "b", "team": "c"}}), MARKED, id="other labels"),
        pytest.param(
            changed({"annotations": {"deployment.kubernetes.io/revision": "2"}}), MARKED, id="a controller's"
        ),
        pytest.param(changed({"labels": {"not-xds-shadow.io/shadow-of": "x"}}, PLAIN), PLAIN, id="alike"),
    ],
)
def test_everything_else_is_everybodys(documents: list[Doc], after: Doc, before: Doc | None) -> None:
    assert rejection(documents, User(), after, before) == ""


@pytest.mark.parametrize("resource", ["services", "secrets"])
def test_what_may_be_shadowed_is_another_permission(documents: list[Doc], resource: str) -> None:
    after = changed({"labels": {"xds-shadow.io/expose": "true"}}, PLAIN)
    assert rejection(documents, User((STARTER,), "staging"), after, PLAIN, resource=resource)
    assert rejection(documents, User((EXPOSER,), "staging"), after, PLAIN, resource=resource) == ""


@pytest.mark.parametrize("namespace", ["staging", ""])
def test_guard_rails_of_a_namespace_are_for_who_may_in_the_whole_cluster(
    documents: list[Doc], namespace: str
) -> None:
    after = changed({"annotations": {"xds-shadow.io/percent-max": "100"}}, PLAIN)

    def reported(user: User) -> str:
        return rejection(documents, user, after, PLAIN, resource="namespaces", namespace=namespace)

    assert reported(User((STARTER,)))
    assert reported(User((EXPOSER,), "staging"))
    assert reported(User((EXPOSER,))) == ""


def made(doc: Doc, *, controls: bool = True) -> Doc:
    """A ReplicaSet that a Deployment has made."""
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1", "controller": controls}
    return {"metadata": {**doc["metadata"], "ownerReferences": [owner]}}


@pytest.mark.parametrize("kind", WORKLOADS)
def test_every_kind_that_can_be_marked_takes_the_verb(documents: list[Doc], kind: str) -> None:
    resource = f"{kind.lower()}s"
    assert f"lacks the verb mark for {resource}" in rejection(
        documents, User(), MARKED, PLAIN, resource=resource
    )
    assert rejection(documents, User((STARTER,), "staging"), MARKED, PLAIN, resource=resource) == ""


@pytest.mark.parametrize(
    ("after", "before", "passes"),
    [
        (made(MARKED), None, True),  # what the controller of Deployments does
        (made(MARKED), made(PLAIN), True),
        (made(PLAIN), made(MARKED), True),
        (made(MARKED, controls=False), None, False),
        (MARKED, made(MARKED), False),  # let go, and so a canary
        (PLAIN, made(PLAIN), True),
        (PLAIN, MARKED, False),
    ],
)
def test_what_a_deployment_gives_to_its_replica_sets_is_no_mark(
    documents: list[Doc], after: Doc, before: Doc | None, *, passes: bool
) -> None:
    assert (rejection(documents, User(), after, before, resource="replicasets") == "") is passes
    # Of the other kinds nothing is a gift.
    assert rejection(documents, User(), made(MARKED), PLAIN, resource="statefulsets")
