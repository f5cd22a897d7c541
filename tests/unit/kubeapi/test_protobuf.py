"""Bodies as kubectl's create commands send them."""

import pytest

from xds_server.local.kubeapi import protobuf
from xds_server.local.kubeapi.codec import UnreadableError
from xds_server.local.kubeapi.doc import Doc


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(kind: str, raw: bytes, api_version: str = "v1") -> bytes:
    about = field(1, api_version) + field(2, kind)
    return b"k8s\x00" + field(1, about) + field(2, raw) + field(3, "") + field(4, "")


def pair(key: str, value: bytes | str) -> bytes:
    return field(1, key) + field(2, value)


METADATA = field(
    1, field(1, "web") + field(2, "") + field(7, 0) + field(8, b"") + field(11, pair("app", "web"))
)


def read(kind: str, raw: bytes) -> Doc:
    return protobuf.read(envelope(kind, METADATA + raw))


def test_a_service() -> None:
    target = field(1, 1) + field(2, 0) + field(3, "http")
    port = field(1, "http") + field(3, 80) + field(4, target) + field(5, 0)
    spec = field(1, port) + field(2, pair("app", "web")) + field(3, "") + field(4, "ClusterIP")
    assert read("Service", field(2, spec) + field(3, field(1, b""))) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            "selector": {"app": "web"},
            "type": "ClusterIP",
        },
    }


def test_what_is_optional_may_be_zero() -> None:
    assert read("Deployment", field(2, field(1, 0) + field(5, 0)))["spec"] == {"replicas": 0}


def test_a_secret() -> None:
    doc = read("Secret", field(2, pair("a", b"\x00\xff")) + field(3, "Opaque") + field(5, 1))
    assert (doc["data"], doc["type"], doc["immutable"]) == ({"a": "AP8="}, "Opaque", True)


def test_quantities_and_numbers_below_zero() -> None:
    resources = field(8, field(1, pair("cpu", field(1, "100m"))))
    container = field(1, "main") + resources
    template = field(2, field(2, container))
    spec = read("Deployment", field(2, field(1, -1) + field(3, template)))["spec"]
    assert spec["replicas"] == -1
    assert spec["template"]["spec"]["containers"] == [
        {"name": "main", "resources": {"limits": {"cpu": "100m"}}}
    ]


def test_a_port_by_number() -> None:
    assert read("PodDisruptionBudget", field(2, field(1, field(1, 0) + field(2, 2))))["spec"] == {
        "minAvailable": 2
    }


def test_what_would_be_lost_is_rejected() -> None:
    with pytest.raises(UnreadableError, match="field 17 of ServiceSpec is not read from protobuf; send JSON"):
        read("Service", field(2, field(17, "SingleStack")))
    with pytest.raises(UnreadableError, match="field 8 of ServiceSpec"):
        read("Service", field(2, field(8, b"\x07")))
    assert "spec" not in read("Service", field(2, field(17, b"") + field(99, field(1, 0))))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{}", "without the envelope of Kubernetes"),
        (envelope("Gateway", b""), "a Gateway is not read from protobuf; send JSON"),
        (b"k8s\x00", "a None is not read"),
        (envelope("Service", b"\x0a\xff"), "cut off at byte 1"),
        (envelope("Service", b"\x0a\x05a"), "cut off at byte 2"),
        (envelope("Service", b"\x80" * 11), "cut off at byte 0"),
        (envelope("Service", b"\x0b"), "wire type 3"),
        (envelope("Service", field(1, 5)), "a number where a ObjectMeta was expected"),
        (envelope("Service", field(1, field(1, 5))), "a field is not text"),
        (envelope("Service", field(1, field(1, b"\xff"))), "invalid start byte"),
        (envelope("Deployment", field(2, field(1, "five"))), "a field is not a number"),
        (envelope("Service", field(1, field(9, b"\x01\x02"))), "field 9 of ObjectMeta"),
        (envelope("Service", field(1, varint(9 << 3 | 1) + b"\x01" + b"\0" * 7)), "field 9 of ObjectMeta"),
        (envelope("Service", field(1, varint(9 << 3 | 5) + b"\x01" + b"\0" * 3)), "field 9 of ObjectMeta"),
    ],
)
def test_bytes_that_are_no_object(data: bytes, problem: str) -> None:
    with pytest.raises(UnreadableError, match=problem):
        protobuf.read(data)
