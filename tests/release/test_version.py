"""The version is in pyproject.toml; what repeats it says the same."""

import re
import tomllib

import pytest
import yaml

from tests.support.locks import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_manifests_name_the_image_of_this_version() -> None:
    base = yaml.safe_load((ROOT / "manifests" / "install" / "base" / "kustomization.yaml").read_text())
    assert [image["newTag"] for image in base["images"] if image["name"] == "xds-shadow"] == [VERSION]


@pytest.mark.parametrize("pattern", [r"newTag: (\S+)", r"`xds-shadow:(\S+)`"])
def test_so_does_the_page_about_installing(pattern: str) -> None:
    found = re.findall(pattern, (ROOT / "docs" / "install.md").read_text())
    assert set(found) <= {VERSION}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("Dockerfile", f"ARG VERSION={VERSION}\n"),
        ("docker-compose.yml", f":-xds-shadow:{VERSION}}}"),
        ("docker-compose.yml", f":-xds-shadow-demo:{VERSION}}}"),
    ],
)
def test_so_do_the_containers(file: str, text: str) -> None:
    assert text in (ROOT / file).read_text()


def test_the_program_has_no_version_of_its_own() -> None:
    texts = {path: path.read_text() for path in (ROOT / "xds_server").rglob("*.py")}
    assert [path for path, text in texts.items() if f'"{VERSION}"' in text] == []
