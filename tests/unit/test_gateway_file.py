"""The file of --gateway: read at the start, and looked at again; what cannot be used changes nothing."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.waiting import eventually
from xds_server.base.errors import UsageError
from xds_server.core.conditions import NO_SUBJECT, Condition, Reason
from xds_server.server import gateway_file
from xds_server.server.gateway_file import follow_gateway, read_gateway
from xds_server.translate.gateway import HARDENED, TRANSPARENT, GatewayConfig

RENAMED = (
    "listeners: public has port 8080, at which gateway listens; keep the name, or change the port first."
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "gateway.yaml"
    found.write_text("profile: transparent")
    return found


def test_no_file_and_one_without_keys_are_the_transparent_profile(file: Path) -> None:
    assert read_gateway(None) is TRANSPARENT
    file.write_text("# nothing yet\n")
    assert read_gateway(file) == TRANSPARENT
    file.write_text("profile: hardened")
    assert read_gateway(file) == HARDENED


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("profil: x", "'profil' is not a key of a gateway file; did you mean profile?"),
        ("http10: no", "http10: 'no' is neither true nor false"),
        (
            "http10: true\nprofile: hardened\nhttp10: false",
            "this is not valid YAML: line 3, column 1: the key 'http10' is repeated; keep one",
        ),
        (
            "listeners: [{port: 1, port: 2}]",
            "this is not valid YAML: line 1, column 23: the key 'port' is repeated; keep one",
        ),
        ("a: [", "this is not valid YAML: "),
        ("", "the file is empty; for the defaults write profile: transparent"),
        ("profile: hardened # " + "x" * 70_000, "it has 70020 bytes, and 65536 are the most"),
    ],
)
def test_an_invalid_file_is_rejected_with_file_and_key(file: Path, text: str, wrong: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError) as rejection:
        read_gateway(file)
    assert str(rejection.value).startswith(f"--gateway {file}: {wrong}")


def test_two_listeners_have_not_the_same_port_by_way_of_the_option(file: Path) -> None:
    file.write_text("listeners: [{}, {name: internal, port: 8081}]")
    assert len(read_gateway(file, 8080).listeners) == 2
    with pytest.raises(UsageError, match=f"{file}: listeners: gateway and internal have the port 8081, that"):
        read_gateway(file, 8081)


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    file.unlink()
    with pytest.raises(UsageError, match=rf"--gateway {file}: No such file or directory"):
        read_gateway(file)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_read(file: Path, kind: str) -> None:
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)  # nobody writes to it
    else:
        file.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match=rf"^--gateway {file}: this is not a regular file$"):
        read_gateway(file)


class Followed:
    """A file that is followed, and what was found in it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: list[tuple[GatewayConfig, tuple[Condition, ...]]] = []

    def take(self, known: GatewayConfig, problems: tuple[Condition, ...]) -> None:
        self.found.append((known, problems))

    async def until_found(self, text: str | None) -> tuple[GatewayConfig, tuple[Condition, ...]]:
        """What comes of the file with this text, None being none."""
        before = len(self.found)
        if text is None:
            self.file.unlink()
        else:
            part = self.file.with_suffix(".part")
            part.write_text(text)
            part.replace(self.file)
        await eventually(lambda: len(self.found) > before, what=f"what comes of {text}")
        return self.found[before]


@pytest_asyncio.fixture
async def followed(file: Path) -> AsyncIterator[Followed]:
    followed = Followed(file)
    following = asyncio.create_task(follow_gateway(file, TRANSPARENT, followed.take, port=8080, pause=0.001))
    yield followed
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following


async def test_the_last_good_configuration_stays(followed: Followed) -> None:
    assert await followed.until_found("profile: hardened") == (HARDENED, ())
    stays = "The last valid gateway configuration stays in use."
    for text, wrong in (
        ("profile: open", "profile: 'open' is none of transparent, hardened."),
        ("profile: hardened\nhttp1: true", "'http1' is not a key of a gateway file; did you mean http10?"),
        ("", "the file is empty; for the defaults write profile: transparent."),
        (
            "listeners: [{port: 8081}, {name: public, port: 8080}]",
            RENAMED,
        ),
        (None, "No such file or directory."),
    ):
        known, problems = await followed.until_found(text)
        message = f"--gateway {followed.file}: {wrong} {stays}"
        assert known == HARDENED
        assert problems == (
            Condition(NO_SUBJECT, Reason.INVALID_GATEWAY, message, origin=str(followed.file)),
        )
    assert await followed.until_found("profile: hardened # as before") == (HARDENED, ())
    assert await followed.until_found("profile: transparent") == (TRANSPARENT, ())


async def test_what_is_there_for_one_look_only_changes_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [HARDENED, TRANSPARENT, HARDENED, TRANSPARENT, HARDENED, HARDENED]
    found: list[GatewayConfig] = []

    def read(_: Path, __: int, ___: GatewayConfig) -> GatewayConfig:
        return looks.pop(0)

    monkeypatch.setattr(gateway_file, "read_gateway", read)
    with pytest.raises(IndexError):  # there are no more looks
        await follow_gateway(file, TRANSPARENT, lambda known, _: found.append(known), pause=0.0)
    assert found == [HARDENED]
