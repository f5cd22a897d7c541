"""Every block in README.md, CONTRIBUTING.md and docs/ is run for real, or `table.py` says why it cannot."""

import ast
import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import typer
import yaml

from tests.docs.blocks import PAGES, ROOT, Block, all_blocks, missing
from tests.docs.conftest import FATE
from tests.docs.laptop import Laptop, laptop
from tests.docs.table import INSTEAD, PREPARE, TABLE, Checked, Entry, How, Listed, Read, Run, Shows
from xds_server.cli import cli
from xds_server.local.kubeapi.resources import of_kind

BLOCKS = all_blocks()


def entries_of(block: Block) -> list[Entry]:
    """What the table has for a block: by its text, else by its language."""
    of_page = [entry for entry in TABLE if entry.page == block.page]
    named = [entry for entry in of_page if entry.part and entry.part in block.text]
    return named or [entry for entry in of_page if not entry.part and entry.language == block.language]


def how(block: Block) -> How | None:
    """What is to become of a block; None for YAML, whose kinds decide.

    Raises:
        AssertionError: nobody has said it.
    """
    found = entries_of(block)
    if found:
        return found[0].how
    if block.language == "sh" or block.is_session:
        return Run()
    assert block.language == "yaml", f"{block} is neither of sh nor of yaml; say in table.py what it is"
    return None


def typed(text: str, where: Laptop, instead: tuple[tuple[str, str], ...] = ()) -> str:
    """Commands with what is to be typed in place of their parts."""
    for old, new in instead:
        assert old in text, f"{old!r} is not there"
        text = text.replace(old, new)
    for old, new in INSTEAD:
        text = text.replace(old, new)
    for place, is_at in where.places.items():
        text = text.replace(f"{{{place}}}", is_at)
    return text


def needed(script: str) -> None:
    """Skip the test if a machine may lack what a script needs, and this one does."""
    for tool in ("curl", "make", "openssl"):
        if re.search(rf"^{tool} ", script, re.MULTILINE) and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on this machine")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def laptops(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Callable[[str], Laptop]]:
    async with laptop(tmp_path_factory.mktemp("docs"), PREPARE) as of_page:
        yield of_page


@pytest.mark.envoy
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("block", BLOCKS, ids=str)
async def test_a_block(
    block: Block, laptops: Callable[[str], Laptop], record_property: Callable[[str, object], None]
) -> None:
    where = laptops(block.page)
    for earlier in BLOCKS:
        if earlier.file and earlier.page == block.page and earlier.line < block.line:
            written(where, earlier)
    match how(block):
        case Listed(reason):
            record_property(FATE, f"listed: {block}: {reason}")
        case Checked(by):
            assert exists(by), by
            record_property(FATE, "checked by another test")
        case Read(read):
            read(written(where, block, "read.yaml"))
            record_property(FATE, "read by the program")
        case Shows(commands, before):
            await where.tidy()
            printed = await where.run(typed(f"{before}\n{commands}", where))
            assert missing(block.output(), printed) == [], printed
            record_property(FATE, "shown as printed")
        case Run() as work:
            await where.tidy()
            await run(where, block, work)
            record_property(FATE, "run")
        case None:
            await give_to_kubectl(where, block)
            record_property(FATE, "given to kubectl")


async def run(where: Laptop, block: Block, work: Run) -> None:
    script = typed(f"{work.before}\n{typed(block.commands(), where, work.instead)}", where)
    needed(script)
    if work.until:
        await where.run_until(script, work.until)
        return
    printed = await where.run(script)
    if block.is_session:
        assert missing(block.output(), printed) == [], printed


async def give_to_kubectl(where: Laptop, block: Block) -> None:
    documents = list(yaml.safe_load_all(block.text))
    assert all(isinstance(each, dict) and each.keys() >= {"apiVersion", "kind"} for each in documents), (
        f"{block} has no objects of Kubernetes; say in table.py what it is"
    )
    if documents[0]["kind"] == "Kustomization":
        written(where, block, "kustomization.yaml")
        await where.run("kubectl kustomize .")
        return
    unknown = [each["kind"] for each in documents if of_kind(each["apiVersion"], each["kind"]) is None]
    assert unknown == [], f"{block}: the embedded API has no {unknown}; say in table.py what becomes of it"
    file = written(where, block, "objects.yaml")
    await where.run(f"kubectl apply --dry-run=server -f {file.name}")


def written(where: Laptop, block: Block, name: str = "") -> Path:
    """The block as a file, of the name that it gives itself, else of this one."""
    path = where.directory / (block.file or name)
    path.write_text(block.text)
    return path


def exists(test: str) -> bool:
    """Whether there is a test of this name."""
    path, _, name = test.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(node, functions) and node.name == name for node in tree.body)


def test_every_fence_is_part_of_a_block() -> None:
    for page in PAGES:
        fences = len(re.findall(r"^ *(```|~~~)", (ROOT / page).read_text(), re.MULTILINE))
        assert fences == 2 * sum(block.page == page for block in BLOCKS), page


def test_every_block_is_run_or_has_an_entry() -> None:
    for block in BLOCKS:
        how(block)


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: f"{entry.page} {entry.part or entry.language}")
def test_an_entry_has_its_block(entry: Entry) -> None:
    found = [block for block in BLOCKS if entry in entries_of(block)]
    assert len(found) == 1 if entry.part else found, [str(block) for block in found]
    assert all(len(entries_of(block)) == 1 for block in found)


@pytest.mark.parametrize("old", [old for old, _ in INSTEAD])
def test_what_is_typed_in_place_of_something_is_needed(old: str) -> None:
    assert any(old in block.text for block in BLOCKS)


def test_a_block_that_is_new_and_neither_fails() -> None:
    with pytest.raises(AssertionError, match=r"say in table\.py"):
        how(Block("README.md", 1, "", "something\n"))
    assert how(Block("README.md", 1, "sh", "xds-shadow new\n")) == Run()


def test_what_is_shown_and_not_printed_is_missing() -> None:
    block = Block("README.md", 1, "", "$ a\nNAME  AGE\nx     5s\n…\ny     7s\n")
    assert block.commands() == "a"
    assert missing(block.output(), "NAME AGE\nx   51s\nz 1s\ny 2s\n") == []
    assert missing(block.output(), "NAME AGE\ny 2s\nx 3s\n") == ["y #s"]


def test_the_synopsis_names_the_real_commands_and_options() -> None:
    [synopsis] = [block.text for block in BLOCKS if block.text.startswith("xds-shadow serve   ")]
    parts = re.split(r"^xds-shadow ", synopsis, flags=re.MULTILINE)[1:]
    commands: dict[str, Any] = typer.main.get_command(cli).commands  # type: ignore[attr-defined]
    assert [part.split()[0] for part in parts] == list(commands)
    for part in parts:
        name = part.split()[0]
        without_examples = re.sub(r"`[^`]*`", "", part)
        known = {option for param in commands[name].params for option in (*param.opts, *param.secondary_opts)}
        named = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", without_examples))
        assert named <= known, name
        if "source options" not in part:
            missing = [
                param.opts
                for param in commands[name].params
                if param.param_type_name == "option"
                and not param.hidden
                and named.isdisjoint({*param.opts, *param.secondary_opts})
            ]
            assert missing == [], name
