"""docs/annotations.md: every annotation with an example, and the Envoy configuration that comes of it."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.support import objects
from xds_server.base.address import Address
from xds_server.base.sizes import MIB
from xds_server.core.annotations import BOUNDS, NAMES, OF_SHADOW
from xds_server.core.layers import Layer
from xds_server.core.limits import DEFAULT
from xds_server.core.objects import WORKLOADS
from xds_server.core.plan import State
from xds_server.core.policy import check_defaults
from xds_server.core.ports import OTHER_PROTOCOLS
from xds_server.core.rows import Annotation
from xds_server.core.service_annotations import HOSTS_ALLOWED, LIMITS, OF_SERVICE
from xds_server.manifests.policy_file import read_policy
from xds_server.manifests.source import read_once
from xds_server.server.config import RenderFormat
from xds_server.server.pipeline import Pipeline
from xds_server.server.render import render

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "annotations.md").read_text()
OMITTED = "…"
PREFIX = "xds-shadow.io/"
SECTIONS = {
    match[1]: match[2]
    for match in re.finditer(r"^### `(\S+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def annotated(section: str, what: str = "deployment myapp-canary") -> dict[str, str]:
    """What the section's commands say of the canary, or of something else."""
    found: dict[str, str] = {}
    for line in "".join(blocks(section, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if f"annotate {what}" in line:
            keys = [word for word in words if word.startswith(PREFIX)]
            found |= dict(word.removeprefix(PREFIX).split("=", 1) for word in keys)
    return found


def rendered(directory: Path, annotations: dict[str, str]) -> tuple[State, str]:
    """The state of the canary with these annotations, and everything that Envoy is sent."""
    http = [{"port": 80, "targetPort": 8080}]
    documents = [
        objects.namespace(),
        objects.service("myapp", ports=http),
        *objects.endpoint_slice("myapp", [("stable-1", Address("10.0.0.1", 8080))], port_name=""),
        objects.service("myapp-green", ports=http, labels={f"{PREFIX}expose": "false"}),
        *objects.endpoint_slice("myapp-green", [("green-1", Address("10.0.2.1", 8080))], port_name=""),
        objects.canary(selects=None, **annotations),
        objects.pod("myapp-canary-1", Address("10.0.1.1", 8080)),
        objects.secret("shadow-token", authorization="Bearer of-the-canary"),
    ]
    (directory / "all.yaml").write_text(yaml.safe_dump_all(documents))
    published = Pipeline(gateway_port=8080, expose_all=False).step(read_once([directory]), now=0.0)
    [shadow] = published.plan.shadows()
    return shadow.state, render(published.snapshot, RenderFormat.YAML)


def missing(fragment: str, configuration: str) -> str:
    """The first part of the fragment that does not follow in the configuration, at any indentation."""
    lines = configuration.splitlines()
    at = 0
    for part in re.split(rf"^ *{OMITTED}\n", fragment, flags=re.MULTILINE):
        wanted = part.splitlines()
        indent = min((len(line) - len(line.lstrip()) for line in wanted if line), default=0)
        wanted = [line[indent:] for line in wanted]
        while at < len(lines) and not _begins(lines[at:], wanted):
            at += 1
        if at == len(lines):
            return part
        at += len(wanted)
    return ""


def _begins(lines: list[str], wanted: list[str]) -> bool:
    """Whether these lines begin with the wanted ones; the first may stand behind a dash."""
    before = lines[0].removesuffix(wanted[0])
    if before == lines[0] or before.strip(" -"):
        return False
    rest = [line.removeprefix(" " * len(before)) for line in lines[1 : len(wanted)]]
    return rest == wanted[1:]


def test_every_name_that_is_not_http_is_listed() -> None:
    [listed] = re.findall(r"or its name is one of these.*?\n\n(.*?)\.\n", PAGE, re.DOTALL)
    assert re.findall(r"`(.+?)`", listed) == sorted(OTHER_PROTOCOLS)


def test_every_kind_of_workload_is_listed() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\S+)` \|", PAGE, re.MULTILINE)
    assert rows == [(kind.value, kind.api_version) for kind in WORKLOADS]


def test_every_annotation_has_its_section() -> None:
    assert set(SECTIONS) == set(NAMES)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_example_gives_the_configuration_that_is_shown(name: str, tmp_path: Path) -> None:
    annotations = annotated(SECTIONS[name])
    assert name in annotations
    state, configuration = rendered(tmp_path, annotations)
    assert state is (State.PAUSED if name == "paused" else State.ACTIVE)
    [fragment] = blocks(SECTIONS[name], "yaml")
    assert missing(fragment, configuration) == ""
    # It is this annotation that makes it.
    without = tmp_path / "without"
    without.mkdir()
    if name != "until":
        assert missing(fragment, rendered(without, {})[1]) != ""


@pytest.mark.parametrize("row", [row for row in OF_SHADOW.values() if "`" in row.written])
def test_a_default_is_what_its_text_means(row: Annotation[object]) -> None:
    assert row.read(row.written.strip("`")) == row.default


def test_every_example_of_a_services_annotation_is_a_list() -> None:
    assert {row.name: row.read(row.example) for row in OF_SERVICE} == {
        "gateways": ("internal",),
        "hosts": ("app.example.com",),
        "http-ports": ("web", "9001"),
    }


def test_what_is_not_there_is_missing() -> None:
    assert missing("a:\n  b: 1\n", "x:\n- a:\n    b: 1\n") == ""
    assert missing("a:\n  b: 2\n", "x:\n- a:\n    b: 1\n") == "a:\n  b: 2\n"
    assert missing("b: 1\n…\na: 1\n", "a: 1\nb: 1\n") == "a: 1\n"


def test_every_bound_is_listed_with_a_value_that_can_be_one(tmp_path: Path) -> None:
    rows = dict(re.findall(r"^\| `(\S+)` \|.*\| `(\S+)` \|$", PAGE, re.MULTILINE))
    assert set(rows) == BOUNDS.keys() | LIMITS.keys() | {HOSTS_ALLOWED.name}
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(rows))
    check_defaults(read_policy(file))


def test_the_limits_of_services_are_those_that_are_said() -> None:
    rows = dict(re.findall(r"^\| `(\S+)-max` \|.*\| ([0-9,]+(?: [MK]iB)?) \| `\S+` \|$", PAGE, re.MULTILINE))
    assert {f"{name}-max" for name in rows} == set(LIMITS)
    for name, text in rows.items():
        number, _, unit = text.replace(",", "").partition(" ")
        assert (
            getattr(DEFAULT, name.replace("-", "_")) == int(number) * {"": 1, "KiB": 1024, "MiB": MIB}[unit]
        )


def test_the_policy_file_that_is_shown_is_one(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(blocks(PAGE, "yaml")[-1])
    assert set(read_policy(file).values) == {"percent-max", "methods-allowed", "remove-headers"}


def test_two_commands_limit_each_risk(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "risks.md").read_text()
    risks = re.findall(r"^## (.*?)\n.*?```sh\n(.*?)```", page, re.MULTILINE | re.DOTALL)
    assert len(risks) == 4
    for number, (_, commands) in enumerate(risks):
        assert len(commands.splitlines()) == 2
        directory = tmp_path / str(number)
        directory.mkdir()
        said = annotated(f"```sh\n{commands}```")
        allowed = annotated(f"```sh\n{commands}```", "namespace staging")
        assert said
        check_defaults(Layer("Namespace staging", allowed))
        assert rendered(directory, said)[0] is State.ACTIVE
