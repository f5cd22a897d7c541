"""What a configuration makes of the door."""

from pathlib import Path

import pytest

from tests.support import objects
from tests.unit.pure.kube import at, slice_of
from xds_server.base.address import Address, outward_addresses, parse_addresses
from xds_server.base.errors import UsageError
from xds_server.core.conditions import errors
from xds_server.core.objects import EndpointSlice, SlicePort
from xds_server.core.world import Upsert
from xds_server.server.config import SourceConfig
from xds_server.server.wiring import open_door, read_once

FILES = SourceConfig(manifests=(Path("manifests"),))
CLUSTER = SourceConfig()
LAPTOP = SourceConfig(allow_loopback_endpoints=True)


def admits(source: SourceConfig, text: str, port: int, *listening: Address, own: str = "10.0.0.9") -> bool:
    door = open_door(listening, loopback=source.loopback_endpoints, own=frozenset({own}), namespace="system")
    [change, *_] = door.admit([Upsert(slice_of("app", at(text), ports=[SlicePort(port=port)]))])
    assert isinstance(change, Upsert)
    assert isinstance(change.obj, EndpointSlice)
    return bool(change.obj.endpoints)


@pytest.mark.parametrize(("source", "admitted"), [(FILES, True), (LAPTOP, True), (CLUSTER, False)])
def test_loopback_is_for_files_and_for_who_says_so(source: SourceConfig, admitted: bool) -> None:
    assert admits(source, "127.0.0.1", 80) is admitted


def test_the_address_it_listens_on_is_no_endpoint_at_its_port() -> None:
    listening = Address("127.0.0.1", 18000), Address("192.0.2.1", 18080)
    assert not admits(FILES, "127.0.0.1", 18000, *listening)
    assert admits(FILES, "127.0.0.1", 18080, *listening)
    assert not admits(FILES, "192.0.2.1", 18080, *listening)
    assert admits(FILES, "192.0.2.1", 18000, *listening)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost"])
def test_a_wildcard_and_a_name_are_any_address_of_the_machine(host: str) -> None:
    listening = Address(host, 18000)
    for text in ("127.0.0.1", "127.0.0.9", *(each for each in outward_addresses() if "." in each)):
        assert not admits(FILES, text, 18000, listening)
        assert admits(FILES, text, 18001, listening)


def test_its_own_address_is_no_endpoint_at_any_port() -> None:
    assert not admits(CLUSTER, "10.0.0.5", 80, own="10.0.0.5")
    assert admits(CLUSTER, "10.0.0.6", 80, own="10.0.0.5")


async def test_what_is_read_once_passes_the_same_door(tmp_path: Path) -> None:
    documents = [
        objects.namespace(),
        objects.service(),
        *objects.endpoint_slice(
            "myapp", [("a", Address("127.0.0.1", 80)), ("b", Address("169.254.0.1", 80))]
        ),
    ]
    objects.write_documents(tmp_path / "all.yaml", documents)
    source = SourceConfig(manifests=(tmp_path,))
    published = await read_once(source, gateway_port=8080, expose_all=False)
    [problem] = errors(published.conditions())
    assert problem.reason == "InvalidAddress"
    assert "'169.254.0.1' is a link-local or cloud metadata address" in problem.message


def test_own_addresses_are_read_in_their_one_form() -> None:
    read = parse_addresses("10.0.0.5, FD00:0::5,", option="--own-addresses")
    assert read == frozenset({"10.0.0.5", "fd00::5"})
    assert parse_addresses("", option="--own-addresses") == frozenset()
    with pytest.raises(UsageError, match=r"--own-addresses: '010\.0\.0\.1' is not an IP address"):
        parse_addresses("10.0.0.5,010.0.0.1", option="--own-addresses")
