"""Directories that change while they are watched, for real. No test waits for time to pass: each waits for
what the source says, and an edit that must not count is followed by one that must."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.recorder import running
from tests.unit.kube.manifests import Doc, canary, namespace, service
from xds_server.base.errors import SourceError
from xds_server.base.yaml_load import MAX_BYTES
from xds_server.core.objects import Kind
from xds_server.core.world import Report, Upsert
from xds_server.manifests.source import FileSource, _Scanner, read_once

FOREVER = 3600.0

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, *documents: Doc) -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump_all(documents))
        return path

    return write


def source(directory: Path, settle: float = 0.0, poll: float = 0.05) -> FileSource:
    return FileSource([directory], settle=settle, poll=poll)


async def test_the_first_sync_has_everything(tmp_path: Path, write: Write) -> None:
    write("a.yaml", namespace("staging"), service("web"))
    write("b.yml", canary("web-canary"))
    (tmp_path / "c.json").write_text('{"kind": "List", "items": []}')
    async with running(source(tmp_path)) as recorder:
        assert recorder.world_at_sync is recorder.world
        assert recorder.names(Kind.NAMESPACE) == {"staging"}
        assert recorder.names(Kind.SERVICE) == {"web"}
        assert recorder.names(Kind.DEPLOYMENT) == {"web-canary"}
        assert recorder.syncs == 1


async def test_edits_new_files_and_deletions_are_followed(tmp_path: Path, write: Write) -> None:
    path = write("a.yaml", service("web", labels={"v": "1"}))
    async with running(source(tmp_path)) as recorder:
        write("a.yaml", service("web", labels={"v": "2"}))
        await recorder.until(lambda: recorder.labels(Kind.SERVICE, "web") == {"v": "2"})
        write("b.yaml", service("api"))
        await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"web", "api"})
        path.unlink()
        await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"api"})


@asynccontextmanager
async def repeatedly(edit: Callable[[int], object]) -> AsyncIterator[None]:
    """Edit again and again, with another number each time: without polling, whatever happens before the watch
    is up may be missed."""

    async def keep_editing() -> None:
        for number in itertools.count(1):
            edit(number)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        editor = group.create_task(keep_editing())
        yield
        editor.cancel()


async def test_events_are_enough(tmp_path: Path, write: Write) -> None:
    async with running(source(tmp_path, poll=FOREVER)) as recorder:
        async with repeatedly(lambda number: write("a.yaml", service("web", port=number))):
            await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"web"})
        assert recorder.deletions == []


async def test_a_name_that_is_not_text_costs_nothing_else(tmp_path: Path, write: Write) -> None:
    write("a.yaml", service("web"))
    write(os.fsdecode(b"before\xff.yaml"), {"kind": "Service"})
    async with running(source(tmp_path)) as recorder:
        (problem,) = recorder.problems
        assert problem.origin.encode().endswith(b"before\\xff.yaml")
        # The watcher of events gives up over this one; polling goes on.
        write(os.fsdecode(b"while\xff.yaml"))
        write("b.yaml", service("api"))
        await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"web", "api"})


async def test_polling_is_enough(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    async def deaf(*_: object, **__: object) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield set()

    monkeypatch.setattr("xds_server.manifests.source.awatch", deaf)
    async with running(source(tmp_path)) as recorder:
        write("a.yaml", service("web"))
        await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"web"})


async def test_a_watch_that_cannot_be_had_is_no_failure(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def exhausted(*_: object, **__: object) -> AsyncIterator[Any]:
        raise OSError("inotify watch limit reached")
        yield set()

    monkeypatch.setattr("xds_server.manifests.source.awatch", exhausted)
    async with running(source(tmp_path)) as recorder:
        write("a.yaml", service("web"))
        await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"web"})


def test_a_file_just_written_is_read_again(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two edits of one size may share a time stamp; the signature below has stopped telling them apart."""
    write("a.yaml", service("web", port=1111))
    scanner = _Scanner([tmp_path])
    status = (tmp_path / "a.yaml").stat()
    before = scanner.scan()
    write("a.yaml", service("web", port=2222))
    monkeypatch.setattr(Path, "stat", lambda *_: status)
    assert scanner.scan() != before


def test_an_old_file_is_not_read_again(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds_server.manifests.source._RACY", 0.0)
    path = write("a.yaml", service("web"))
    scanner = _Scanner([tmp_path])
    first = scanner.scan()[str(path)]
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("read again"))
    assert scanner.scan()[str(path)] is first


async def test_a_file_broken_in_an_edit_keeps_its_objects(tmp_path: Path, write: Write) -> None:
    path = write("a.yaml", service("web"))
    async with running(source(tmp_path)) as recorder:
        path.write_text("kind: [")
        await recorder.until(lambda: recorder.reasons == {"InvalidFile"})
        assert recorder.problems[0].origin == str(path)
        assert recorder.names(Kind.SERVICE) == {"web"}
        write("a.yaml", service("web"), service("api"))
        await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"web", "api"})
        assert recorder.changes[-1] == Report(str(path), ())
        assert recorder.deletions == []


async def test_a_broken_file_at_the_start_does_not_stop_the_sync(tmp_path: Path, write: Write) -> None:
    write("a.yaml", service("web"))
    (tmp_path / "b.yaml").write_text("kind: [")
    async with running(source(tmp_path)) as recorder:
        assert recorder.names(Kind.SERVICE) == {"web"}
        assert recorder.reasons == {"InvalidFile"}


@pytest.mark.parametrize("interrupt", ["truncate", "unlink", "cut"])
async def test_a_file_in_the_middle_of_a_save_is_no_deletion(
    tmp_path: Path, write: Write, interrupt: str
) -> None:
    path = write("a.yaml", service("web"), service("api"))
    async with running(source(tmp_path, settle=FOREVER)) as recorder:
        match interrupt:
            case "truncate":
                path.write_bytes(b"")
            case "unlink":
                path.unlink()
            case _:
                path.write_bytes(path.read_bytes().partition(b"---")[0])
        # One witness is read together with the interrupted file or after it, the next one surely after it.
        for witness in ("first", "second"):
            write(f"{witness}.yaml", service(witness))
            await recorder.until(lambda name=witness: name in recorder.names(Kind.SERVICE))  # type: ignore[misc]
        assert recorder.names(Kind.SERVICE) == {"web", "api", "first", "second"}
        write("a.yaml", service("web", labels={"saved": "yes"}), service("api"))
        await recorder.until(lambda: recorder.labels(Kind.SERVICE, "web") == {"saved": "yes"})
        assert recorder.deletions == []


async def test_what_stays_gone_is_gone(tmp_path: Path, write: Write) -> None:
    path = write("a.yaml", service("web"))
    write("b.yaml", service("api"))
    async with running(source(tmp_path, settle=0.05, poll=FOREVER)) as recorder:
        # With polling off, nothing but the second look that `settle` asks for can bring the deletion.
        async with repeatedly(lambda number: write("b.yaml", service("api", port=number))):
            await recorder.until(lambda: len(recorder.changes) > 2)
        path.write_bytes(b"")
        await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"api"})


async def test_an_editors_rename_is_one_edit(tmp_path: Path, write: Write) -> None:
    path = write("a.yaml", service("web"))
    async with running(source(tmp_path, settle=FOREVER)) as recorder:
        fresh = tmp_path / "4913"
        fresh.write_text(yaml.safe_dump(service("web", labels={"v": "2"})))
        fresh.replace(path)
        await recorder.until(lambda: recorder.labels(Kind.SERVICE, "web") == {"v": "2"})
        assert recorder.deletions == []


async def test_a_mounted_config_map_is_followed(tmp_path: Path) -> None:
    """The kubelet swaps a symbolic link; the names in the directory never change."""
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        manifest = yaml.safe_dump(service("web", labels={"v": version}))
        (tmp_path / f"..{version}" / "a.yaml").write_text(manifest)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    async with running(source(tmp_path)) as recorder:
        assert recorder.labels(Kind.SERVICE, "web") == {"v": "1"}
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        await recorder.until(lambda: recorder.labels(Kind.SERVICE, "web") == {"v": "2"})
        assert recorder.deletions == []


async def test_a_directory_that_goes_away_deletes_nothing_and_may_come_back(tmp_path: Path) -> None:
    directory, aside, other = tmp_path / "manifests", tmp_path / "aside", tmp_path / "other"
    directory.mkdir()
    other.mkdir()
    (directory / "a.yaml").write_text(yaml.safe_dump(service("web")))
    async with running(FileSource([directory, other], settle=0.0, poll=0.05)) as recorder:
        directory.rename(aside)
        await recorder.until(lambda: recorder.reasons == {"UnreadableFile"})
        assert recorder.problems[0].origin == str(directory)
        (other / "b.yaml").write_text(yaml.safe_dump(service("witness")))
        await recorder.until(lambda: "witness" in recorder.names(Kind.SERVICE))
        assert recorder.names(Kind.SERVICE) == {"web", "witness"}
        aside.rename(directory)
        await recorder.until(lambda: recorder.reasons == set())
        assert recorder.deletions == []


async def test_one_object_in_two_directories(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for directory, version in ((first, "1"), (second, "2")):
        directory.mkdir()
        (directory / "a.yaml").write_text(yaml.safe_dump(service("web", labels={"v": version})))
    async with running(FileSource([second, first], settle=0.0, poll=0.05)) as recorder:
        assert recorder.labels(Kind.SERVICE, "web") == {"v": "1"}
        assert recorder.reasons == {"DuplicateObject"}
        (first / "a.yaml").unlink()
        await recorder.until(lambda: recorder.labels(Kind.SERVICE, "web") == {"v": "2"})
        assert recorder.reasons == set()
        assert recorder.deletions == []


async def test_a_missing_directory_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        await source(tmp_path / "nowhere").run(None)  # type: ignore[arg-type]
    file = tmp_path / "a.yaml"
    file.touch()
    with pytest.raises(SourceError, match="is not a directory"):
        read_once([file])


class TestReadOnce:
    def test_it_says_what_is_there_now(self, tmp_path: Path, write: Write) -> None:
        write("a.yaml", service("web"))
        broken = tmp_path / "b.yaml"
        broken.write_text("kind: [")
        first, second = read_once([tmp_path])
        assert isinstance(first, Upsert)
        assert isinstance(second, Report)
        assert second.origin == str(broken)

    def test_other_files_hidden_files_and_folders_are_not_read(self, tmp_path: Path, write: Write) -> None:
        for name in ("a.txt", ".a.yaml", "a.yaml~", ".#a.yaml"):
            write(name, service("web"))
        (tmp_path / "folder.yaml").mkdir()
        (tmp_path / "folder.yaml" / "a.yaml").write_text(yaml.safe_dump(service("web")))
        assert read_once([tmp_path]) == []

    def test_an_enormous_file_is_not_read(self, tmp_path: Path) -> None:
        with (tmp_path / "a.yaml").open("wb") as file:
            file.truncate(MAX_BYTES + 1)
        (report,) = read_once([tmp_path])
        assert isinstance(report, Report)
        assert "larger than 16 MiB" in report.problems[0].message

    def test_a_named_pipe_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.yaml")
        (report,) = read_once([tmp_path])
        assert isinstance(report, Report)
        assert report.problems[0].reason == "UnreadableFile"

    def test_a_dangling_link_is_no_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").symlink_to("nowhere")
        assert read_once([tmp_path]) == []

    def test_a_link_that_leads_to_itself_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").symlink_to("a.yaml")
        (report,) = read_once([tmp_path])
        assert isinstance(report, Report)
        assert report.problems[0].reason == "UnreadableFile"
