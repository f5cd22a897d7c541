"""A client of the status API, for the command line and the demo."""

from collections.abc import Callable
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.base.sizes import MIB
from xds_server.pb import status_pb2, status_pb2_grpc

_DEADLINE_S = 10.0
_MAX_MESSAGE_BYTES = 64 * MIB
R = TypeVar("R", bound=Message)
_Stub = status_pb2_grpc.StatusServiceStub


def get_status(server: Address, *, deadline_s: float = _DEADLINE_S) -> status_pb2.GetStatusResponse:
    """The status of the control plane at `server`.

    Raises:
        XdsShadowError: the control plane cannot be reached, or its response is an error.
    """
    request = status_pb2.GetStatusRequest()
    found: status_pb2.GetStatusResponse = _call(server, lambda s: s.GetStatus(request, timeout=deadline_s))
    return found


def get_explanation(server: Address, namespace: str, name: str, kind: str = "") -> status_pb2.ExplainResponse:
    """The explanation of one shadow.

    Raises:
        XdsShadowError: as for `get_status`. Also: there is no such shadow, or there are several of different
            kinds and `kind` is empty.
    """
    request = status_pb2.ExplainRequest(namespace=namespace, name=name, kind=kind)
    found: status_pb2.ExplainResponse = _call(server, lambda s: s.Explain(request, timeout=_DEADLINE_S))
    return found


def get_verdicts(
    server: Address,
    namespace: str = "",
    name: str = "",
    kind: str = "",
    terms: status_pb2.Terms | None = None,
) -> status_pb2.GetVerdictsResponse:
    """The verdict on one shadow, or on all without a name. Without `terms` the defaults apply.

    Raises:
        XdsShadowError: as for `get_explanation`.
    """
    request = status_pb2.GetVerdictsRequest(namespace=namespace, name=name, kind=kind, terms=terms)
    found: status_pb2.GetVerdictsResponse = _call(
        server, lambda s: s.GetVerdicts(request, timeout=_DEADLINE_S)
    )
    return found


def _call(server: Address, call: Callable[[_Stub], R]) -> R:
    options = [("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES)]
    with grpc.insecure_channel(str(server), options=options) as channel:
        try:
            return call(_Stub(channel))  # type: ignore[no-untyped-call]
        except grpc.RpcError as error:
            raise XdsShadowError(_sentence(server, error)) from error


def _sentence(server: Address, error: grpc.RpcError) -> str:
    code, details = (error.code(), error.details()) if isinstance(error, grpc.Call) else (None, str(error))
    match code:
        case (
            grpc.StatusCode.NOT_FOUND | grpc.StatusCode.FAILED_PRECONDITION | grpc.StatusCode.INVALID_ARGUMENT
        ):
            return str(details)
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
            return (
                f"no xds-shadow server responds at {server}; start one with `xds-shadow serve`, or give its"
                " --admin-address with --server"
            )
        case grpc.StatusCode.INTERNAL if "deserializing" in str(details):
            return f"the server at {server} has another version; use the xds-shadow of its version"
        case grpc.StatusCode.UNIMPLEMENTED:
            return (
                f"{server} does not serve the status API, for example because it is an xDS address; give the"
                " --admin-address of the control plane with --server"
            )
        case _:
            return f"the server at {server} returned an error: {details}"
