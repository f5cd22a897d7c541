"""`kubectl apply`, by the client and by the server, and what belongs to it."""

from pathlib import Path

import pytest
import yaml

from tests.kubectl.client import Kubectl
from tests.kubectl.test_read import here
from tests.unit.kubeapi.objects import config_map, deployment, service
from xds_server.local.kubeapi.doc import Doc


def web(image: str = "example/main:1", *, replicas: int | None = 2, **env: str) -> Doc:
    doc = deployment("web", labels={"app": "web"})
    if replicas is not None:
        doc["spec"]["replicas"] = replicas
    [container] = doc["spec"]["template"]["spec"]["containers"]
    container |= {"image": image, "env": [{"name": name, "value": value} for name, value in env.items()]}
    [doc] = here(doc)
    return doc


async def apply(kube: Kubectl, *docs: Doc, options: str = "") -> str:
    return await kube("apply", *options.split(), "-f", "-", stdin=[*docs])


async def container(kube: Kubectl) -> Doc:
    found: Doc = (await kube.get("deployment", "web"))["spec"]["template"]["spec"]["containers"][0]
    return found


async def managers(kube: Kubectl) -> list[tuple[str, str]]:
    doc = yaml.safe_load(await kube("get", "deployment", "web", "-o", "yaml", "--show-managed-fields"))
    return [(each["manager"], each["operation"]) for each in doc["metadata"]["managedFields"]]


class TestByTheClient:
    async def test_created_unchanged_configured(self, kube: Kubectl) -> None:
        assert await apply(kube, web()) == "deployment.apps/web created\n"
        assert await apply(kube, web()) == "deployment.apps/web unchanged\n"
        assert await apply(kube, web("example/main:2")) == "deployment.apps/web configured\n"
        assert (await container(kube))["image"] == "example/main:2"

    async def test_what_is_no_longer_said_goes_and_what_others_said_stays(self, kube: Kubectl) -> None:
        await apply(kube, web(A="1", B="2"))
        await kube("set", "env", "deployment/web", "THEIRS=3")
        await kube("annotate", "deployment", "web", "theirs=1")
        await apply(kube, web(B="2", C="4"))
        assert {each["name"] for each in (await container(kube))["env"]} == {"B", "C", "THEIRS"}
        annotations = (await kube.get("deployment", "web"))["metadata"]["annotations"]
        assert annotations["theirs"] == "1"

    async def test_fields_fall_back_to_their_defaults(self, kube: Kubectl) -> None:
        await apply(kube, web(replicas=3))
        await apply(kube, web(replicas=None))
        assert (await kube.get("deployment", "web"))["spec"]["replicas"] == 1

    async def test_objects_that_were_made_otherwise(self, kube: Kubectl) -> None:
        await kube("create", "-f", "-", stdin=web())
        said = await kube.run("apply", "-f", "-", stdin=web(replicas=5))
        assert said.out == "deployment.apps/web configured\n"
        assert "missing the kubectl.kubernetes.io/last-applied-configuration annotation" in said.err

    @pytest.mark.parametrize(("where", "said"), [("server", "(server dry run)"), ("client", "(dry run)")])
    async def test_a_dry_run_changes_nothing(self, kube: Kubectl, where: str, said: str) -> None:
        await apply(kube, web())
        reported = await apply(kube, web(replicas=5), options=f"--dry-run={where}")
        assert reported == f"deployment.apps/web configured {said}\n"
        assert (await kube.get("deployment", "web"))["spec"]["replicas"] == 2

    async def test_diff(self, kube: Kubectl) -> None:
        await apply(kube, web())
        same = await kube.run("diff", "-f", "-", stdin=web())
        assert (same.code, same.out) == (0, "")
        other = await kube.run("diff", "-f", "-", stdin=web(replicas=5))
        assert other.code == 1
        assert "-  replicas: 2\n+  replicas: 5\n" in other.out

    async def test_what_was_applied_last(self, kube: Kubectl) -> None:
        await apply(kube, web())
        last = yaml.safe_load(await kube("apply", "view-last-applied", "deployment/web"))
        assert last["spec"] == web()["spec"]


class TestValidation:
    async def test_a_field_that_is_misspelt(self, kube: Kubectl) -> None:
        doc = web()
        doc["spec"]["replica"] = 3
        rejected = await kube.fails("apply", "-f", "-", stdin=doc)
        assert 'strict decoding error: unknown field "spec.replica"' in rejected
        warned = await kube.run("apply", "--validate=warn", "-f", "-", stdin=doc)
        assert (warned.code, warned.err) == (0, 'Warning: unknown field "spec.replica"\n')
        assert "replica" not in (await kube.get("deployment", "web"))["spec"]

    async def test_a_value_of_another_type(self, kube: Kubectl) -> None:
        doc = web()
        doc["spec"]["replicas"] = "two"
        rejected = await kube.fails("apply", "-f", "-", stdin=doc)
        assert "Error from server (BadRequest)" in rejected
        assert "spec.replicas" in rejected

    async def test_a_selector_is_for_ever(self, kube: Kubectl) -> None:
        await apply(kube, web())
        doc = web()
        doc["spec"]["selector"]["matchLabels"] = {"other": "label"}
        doc["spec"]["template"]["metadata"]["labels"] |= {"other": "label"}
        assert "field is immutable" in await kube.fails("apply", "-f", "-", stdin=doc)


class TestByTheServer:
    async def test_applied_again_and_changed(self, kube: Kubectl) -> None:
        for doc in (web(), web(), web("example/main:2")):
            assert (
                await apply(kube, doc, options="--server-side") == "deployment.apps/web serverside-applied\n"
            )
        assert (await container(kube))["image"] == "example/main:2"
        assert await managers(kube) == [("kubectl", "Apply")]

    async def test_what_is_no_longer_said_goes(self, kube: Kubectl) -> None:
        await apply(kube, web(A="1", B="2"), options="--server-side")
        await kube("set", "env", "deployment/web", "THEIRS=3")
        await apply(kube, web(B="2"), options="--server-side")
        assert {each["name"] for each in (await container(kube))["env"]} == {"B", "THEIRS"}

    async def test_two_managers_share_an_object(self, kube: Kubectl) -> None:
        await apply(kube, web(replicas=None), options="--server-side")
        scaling = {**web(), "spec": {"replicas": 7}}
        await apply(kube, scaling, options="--server-side --field-manager=scaler")
        await apply(kube, web("example/main:2", replicas=None), options="--server-side")
        doc = await kube.get("deployment", "web")
        assert (doc["spec"]["replicas"], (await container(kube))["image"]) == (7, "example/main:2")

    async def test_a_conflict_is_explained_and_can_be_forced(self, kube: Kubectl) -> None:
        await apply(kube, web(), options="--server-side")
        await kube("scale", "deployment", "web", "--replicas=5")
        rejected = await kube.fails("apply", "--server-side", "-f", "-", stdin=web())
        assert rejected.startswith(
            'error: Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" '
            "using apps/v1: .spec.replicas\n"
        )
        assert "--force-conflicts" in rejected
        await apply(kube, web(), options="--server-side --force-conflicts")
        assert (await kube.get("deployment", "web"))["spec"]["replicas"] == 2
        await apply(kube, web(replicas=3), options="--server-side")

    async def test_going_over_from_the_client(self, kube: Kubectl) -> None:
        await apply(kube, web(A="1", B="2"))
        await apply(kube, web(B="2"), options="--server-side")
        assert [each["name"] for each in (await container(kube))["env"]] == ["B"]
        assert ("kubectl", "Apply") in await managers(kube)
        assert ("kubectl-client-side-apply", "Update") not in await managers(kube)

    async def test_a_dry_run_changes_nothing(self, kube: Kubectl) -> None:
        await apply(kube, web(), options="--server-side")
        said = await apply(kube, web(replicas=5), options="--server-side --dry-run=server")
        assert said == "deployment.apps/web serverside-applied (server dry run)\n"
        assert (await kube.get("deployment", "web"))["spec"]["replicas"] == 2

    async def test_a_field_that_is_misspelt(self, kube: Kubectl) -> None:
        doc = web()
        doc["spec"]["replica"] = 3
        rejected = await kube.fails("apply", "--server-side", "-f", "-", stdin=doc)
        assert 'unknown field "spec.replica"' in rejected


class TestManyObjects:
    async def test_a_directory(self, kube: Kubectl, tmp_path: Path) -> None:
        for name, doc in (("1-config", config_map("c")), ("2-web", web()), ("3-service", service("web"))):
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(here(doc)[0]))
        said = await kube("apply", "-f", str(tmp_path))
        assert said.splitlines() == [
            "configmap/c created",
            "deployment.apps/web created",
            "service/web created",
        ]
        await kube("delete", "-f", str(tmp_path))
        assert await kube("get", "all,configmaps", "-o", "name") == ""

    async def test_a_kustomization(self, kube: Kubectl, tmp_path: Path) -> None:
        (tmp_path / "web.yaml").write_text(yaml.safe_dump_all(here(web(), service("web"))))
        kustomization = {
            "resources": ["web.yaml"],
            "namePrefix": "my-",
            "namespace": kube.namespace,
            "labels": [{"pairs": {"part-of": "it"}}],
            "images": [{"name": "example/main", "newTag": "9"}],
            "configMapGenerator": [{"name": "settings", "literals": ["a=b"]}],
        }
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        said = await kube("apply", "-k", str(tmp_path))
        assert "deployment.apps/my-web created" in said
        assert "unchanged" in await kube("apply", "-k", str(tmp_path))
        images = await kube("get", "deployment", "-l", "part-of=it", "-o", "jsonpath={..image}")
        assert images == "example/main:9"
        await kube("delete", "-k", str(tmp_path))
        assert await kube("get", "all,configmaps", "-o", "name") == ""

    async def test_what_is_no_longer_in_the_set_is_pruned(self, kube: Kubectl) -> None:
        options = "--prune -l set=it --prune-allowlist=core/v1/ConfigMap"
        first, second = here(config_map("a"), config_map("b"))
        for doc in (first, second):
            doc["metadata"]["labels"] = {"set": "it"}
        await apply(kube, first, second, options=options)
        said = await apply(kube, second, options=options)
        assert said.splitlines() == ["configmap/b unchanged", "configmap/a pruned"]

    async def test_an_apply_set(self, kube: Kubectl) -> None:
        options = ["--prune", "--applyset=configmaps/set", "-f", "-"]
        alpha = {"KUBECTL_APPLYSET": "true"}
        await kube("apply", *options, stdin=here(config_map("a"), service("web")), **alpha)
        await kube("apply", *options, stdin=here(config_map("a")), **alpha)
        names = (await kube("get", "configmaps,services", "-o", "name")).split()
        assert names == ["configmap/a", "configmap/set"]
