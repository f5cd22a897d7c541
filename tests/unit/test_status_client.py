"""The client of the status API, and a server that it does not understand."""

import asyncio

import grpc
import pytest

from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.pb import status_pb2
from xds_server.server.status_client import get_status


async def test_a_server_of_another_version_is_named_as_that() -> None:
    async def answer(_request: bytes, _context: object) -> bytes:
        return b"\xff\xff"

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answer)
    handlers = {"GetStatus": handler}
    service = status_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        with pytest.raises(XdsShadowError, match="has another version; use the xds-shadow of its version"):
            await asyncio.to_thread(get_status, Address("127.0.0.1", port))
    finally:
        await server.stop(0)
