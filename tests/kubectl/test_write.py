"""What kubectl changes with a command: create, label, patch, scale, edit, replace, delete, wait."""

import asyncio
from pathlib import Path

import pytest

from tests.kubectl.client import Kubectl
from tests.kubectl.test_read import create, here
from tests.support.waiting import PATIENCE_S
from tests.unit.kubeapi.objects import config_map, deployment, pod, secret, service

PATIENT = f"--timeout={PATIENCE_S:g}s"

EDITOR = "#!/bin/sh\nsed -i '{}' \"$1\"\n"


def editor(directory: Path, script: str) -> str:
    """A program that edits as a user would."""
    path = directory / "editor"
    path.write_text(EDITOR.format(script))
    path.chmod(0o755)
    return str(path)


class TestCreate:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ("deployment web --image=example/main:1 --replicas=2", "deployment.apps/web created"),
            ("service clusterip web --tcp=80:8080", "service/web created"),
            ("secret generic s --from-literal=a=b", "secret/s created"),
            ("configmap c --from-literal=a=b", "configmap/c created"),
            ("serviceaccount bot", "serviceaccount/bot created"),
            ("role r --verb=get --resource=pods", "role.rbac.authorization.k8s.io/r created"),
            (
                "rolebinding b --role=r --serviceaccount=default:bot",
                "rolebinding.rbac.authorization.k8s.io/b created",
            ),
            ("pdb p --selector=app=web --min-available=1", "poddisruptionbudget.policy/p created"),
        ],
        ids=lambda each: each.split()[0],
    )
    async def test_by_command(self, kube: Kubectl, arguments: str, said: str) -> None:
        assert await kube("create", *arguments.split()) == f"{said}\n"

    async def test_run_and_expose(self, kube: Kubectl) -> None:
        await kube("run", "p", "--image=example/p:1", "--port=80", "--labels=app=p")
        assert await kube("expose", "pod", "p", "--port=80", "--target-port=8080") == "service/p exposed\n"
        spec = (await kube.get("svc", "p"))["spec"]
        assert (spec["selector"], spec["ports"][0]["targetPort"]) == ({"app": "p"}, 8080)

    async def test_what_is_there_already(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        rejected = await kube.fails("create", "-f", "-", stdin=here(deployment("web")))
        assert 'Error from server (AlreadyExists): error when creating "STDIN"' in rejected
        assert 'deployments.apps "web" already exists' in rejected

    async def test_a_generated_name(self, kube: Kubectl) -> None:
        doc = config_map("")
        doc["metadata"] = {"generateName": "c-"}
        name = (await kube("create", "-f", "-", "-o", "name", stdin=doc)).strip()
        assert len(name.removeprefix("configmap/c-")) == 5

    async def test_in_a_namespace_that_is_not_there(self, kube: Kubectl) -> None:
        rejected = await kube.within("nowhere").fails("create", "configmap", "c")
        assert 'namespaces "nowhere" not found' in rejected

    async def test_what_is_invalid(self, kube: Kubectl) -> None:
        doc = deployment("web")
        doc["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
        rejected = await kube.fails("create", "-f", "-", stdin=here(doc))
        assert 'The Deployment "web" is invalid: spec.template.metadata.labels: Invalid value' in rejected
        assert "`selector` does not match template `labels`" in rejected

    @pytest.mark.parametrize("where", ["server", "client"])
    async def test_a_dry_run_makes_nothing(self, kube: Kubectl, where: str) -> None:
        said = await kube("create", "deployment", "web", "--image=x", f"--dry-run={where}")
        assert said.startswith("deployment.apps/web created (")
        assert "NotFound" in await kube.fails("get", "deployment", "web")


class TestChange:
    async def test_labels(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        assert await kube("label", "deployment", "web", "a/b=1") == "deployment.apps/web labeled\n"
        assert "--overwrite is false" in await kube.fails("label", "deployment", "web", "a/b=2")
        await kube("label", "deployment", "web", "a/b=2", "--overwrite")
        assert (await kube.get("deployment", "web"))["metadata"]["labels"] == {"a/b": "2"}
        assert await kube("label", "deployment", "web", "a/b-") == "deployment.apps/web unlabeled\n"
        assert "labels" not in (await kube.get("deployment", "web"))["metadata"]
        rejected = await kube.fails("label", "deployment", "web", "a=b c")
        assert "a valid label must" in rejected

    async def test_annotations(self, kube: Kubectl) -> None:
        await create(kube, service("web"))
        assert await kube("annotate", "service", "web", "x/y=z") == "service/web annotated\n"
        assert (await kube.get("service", "web"))["metadata"]["annotations"] == {"x/y": "z"}

    @pytest.mark.parametrize(
        ("kind", "patch"),
        [
            ("strategic", '{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"new"}]}}}}'),
            ("merge", '{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"new"}]}}}}'),
            ("json", '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"new"}]'),
        ],
    )
    async def test_patches(self, kube: Kubectl, kind: str, patch: str) -> None:
        doc = deployment("web")
        doc["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "example/side"})
        await create(kube, doc)
        said = await kube("patch", "deployment", "web", f"--type={kind}", "-p", patch)
        assert said == "deployment.apps/web patched\n"
        images = await kube("get", "deployment", "web", "-o", "jsonpath={..image}")
        assert images == ("new" if kind == "merge" else "new example/side")  # one replaces lists whole
        again = await kube("patch", "deployment", "web", f"--type={kind}", "-p", patch)
        assert again == "deployment.apps/web patched (no change)\n"

    async def test_a_patch_that_does_not_fit(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        test = '[{"op":"test","path":"/spec/replicas","value":7}]'
        rejected = await kube.fails("patch", "deployment", "web", "--type=json", "-p", test)
        assert rejected == "The request is invalid: patch: testing value /spec/replicas failed\n"

    async def test_the_status_is_changed_apart(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        patch = '{"spec":{"replicas":9},"status":{"replicas":1,"readyReplicas":1}}'
        await kube("patch", "deployment", "web", "--subresource=status", "--type=merge", "-p", patch)
        [_, row] = await kube.rows("deployment", "web")
        assert row[1] == "1/1"

    async def test_scale(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        said = await kube("scale", "deployment", "web", "--replicas=3", "--current-replicas=1")
        assert said == "deployment.apps/web scaled\n"
        assert (await kube.get("deployment", "web"))["spec"]["replicas"] == 3
        rejected = await kube.fails("scale", "deployment", "web", "--replicas=4", "--current-replicas=1")
        assert "Expected replicas to be 1, was 3" in rejected

    async def test_set(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        await kube("set", "image", "deployment/web", "main=example/main:2")
        await kube("set", "env", "deployment/web", "A=1", "B=2")
        await kube("set", "env", "deployment/web", "A-")
        [container] = (await kube.get("deployment", "web"))["spec"]["template"]["spec"]["containers"]
        assert (container["image"], container["env"]) == ("example/main:2", [{"name": "B", "value": "2"}])

    async def test_rollout(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        await kube("rollout", "restart", "deployment/web")
        doc = await kube.get("deployment", "web")
        assert "kubectl.kubernetes.io/restartedAt" in doc["spec"]["template"]["metadata"]["annotations"]
        await kube("rollout", "pause", "deployment/web")
        assert (await kube.get("deployment", "web"))["spec"]["paused"] is True
        await kube("rollout", "resume", "deployment/web")
        assert "paused" not in (await kube.get("deployment", "web"))["spec"]

    async def test_edit(self, kube: Kubectl, tmp_path: Path) -> None:
        await create(kube, deployment("web"))
        with_editor = editor(tmp_path, "s/replicas: 1/replicas: 5/")
        said = await kube("edit", "deployment", "web", KUBE_EDITOR=with_editor)
        assert said == "deployment.apps/web edited\n"
        assert (await kube.get("deployment", "web"))["spec"]["replicas"] == 5

    async def test_an_edit_that_changes_nothing(self, kube: Kubectl) -> None:
        await create(kube, service("web"))
        said = await kube.run("edit", "service", "web", KUBE_EDITOR="true")
        assert "Edit cancelled, no changes made." in said.out + said.err

    async def test_replace(self, kube: Kubectl) -> None:
        await create(kube, config_map("c", a="1"))
        said = await kube("replace", "-f", "-", stdin=here(config_map("c", b="2")))
        assert said == "configmap/c replaced\n"
        assert (await kube.get("configmap", "c"))["data"] == {"b": "2"}
        before = (await kube.get("configmap", "c"))["metadata"]["uid"]
        await kube("replace", "--force", "-f", "-", stdin=here(config_map("c", c="3")))
        assert (await kube.get("configmap", "c"))["metadata"]["uid"] != before

    async def test_replace_of_an_older_version_is_a_conflict(self, kube: Kubectl) -> None:
        await create(kube, config_map("c", a="1"))
        old = await kube.get("configmap", "c")
        await kube("label", "configmap", "c", "a=b")
        rejected = await kube.fails("replace", "-f", "-", stdin=old)
        assert "Error from server (Conflict)" in rejected
        assert "the object has been modified" in rejected


class TestDelete:
    async def test_by_name(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        said = await kube("delete", "deployment", "web")
        assert said.startswith('deployment.apps "web" deleted')
        assert "NotFound" in await kube.fails("delete", "deployment", "web")
        await kube("delete", "deployment", "web", "--ignore-not-found")

    async def test_by_manifest_label_and_all(self, kube: Kubectl) -> None:
        labels = {"app": "x"}
        await create(kube, service("a"), service("b", labels=labels), pod("c", labels=labels), secret("d"))
        await kube("delete", "-f", "-", stdin=here(service("a")))
        await kube("delete", "pods,services", "-l", "app=x")
        await kube("delete", "secrets", "--all")
        kinds = "services,pods,secrets"
        assert await kube("get", kinds, "-o", "name") == ""

    @pytest.mark.parametrize("where", ["server", "client"])
    async def test_a_dry_run_deletes_nothing(self, kube: Kubectl, where: str) -> None:
        await create(kube, service("web"))
        assert "dry run" in await kube("delete", "service", "web", f"--dry-run={where}")
        assert await kube("get", "service", "web", "-o", "name") == "service/web\n"

    async def test_it_waits_for_finalizers(self, kube: Kubectl) -> None:
        await create(kube, config_map("c") | {"metadata": {"name": "c", "finalizers": ["example.io/hold"]}})
        deleting = asyncio.create_task(kube("delete", "configmap", "c"))
        await kube("wait", "configmap/c", "--for=jsonpath={.metadata.deletionTimestamp}", PATIENT)
        assert not deleting.done()
        await kube("patch", "configmap", "c", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        assert (await deleting).startswith('configmap "c" deleted')

    async def test_a_namespace_goes_with_what_it_holds(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        await kube("delete", "namespace", kube.namespace)
        assert "NotFound" in await kube.fails("get", "namespace", kube.namespace)
        assert "NotFound" in await kube.fails("get", "deployment", "web")


class TestWait:
    async def test_for_what_is_so(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        said = await kube("wait", "deployment/web", "--for=jsonpath={.spec.replicas}=1", PATIENT)
        assert said == "deployment.apps/web condition met\n"

    async def test_for_a_condition_that_comes(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        waiting = asyncio.create_task(kube("wait", "deployment/web", "--for=condition=Available", PATIENT))
        patch = '{"status":{"conditions":[{"type":"Available","status":"True"}]}}'
        await kube("patch", "deployment", "web", "--subresource=status", "--type=merge", "-p", patch)
        assert await waiting == "deployment.apps/web condition met\n"

    async def test_for_deletion(self, kube: Kubectl) -> None:
        await create(kube, service("web"))
        waiting = asyncio.create_task(kube("wait", "service/web", "--for=delete", PATIENT))
        await kube("delete", "service", "web")
        await waiting

    async def test_in_vain(self, kube: Kubectl) -> None:
        await create(kube, service("web"))
        rejected = await kube.fails("wait", "service/web", "--for=delete", "--timeout=1s")
        assert "timed out waiting for the condition on services/web" in rejected
