"""What the services for Envoys share: a client's turn on the event loop, and how its error ends a stream."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import grpc

from xds_server.base.errors import RequestDeniedError, RequestError, RequestLimitError
from xds_server.base.ids import StreamId
from xds_server.xds.admission import Denial
from xds_server.xds.pace import Pace
from xds_server.xds.stream_events import Cause, Event, StreamDenied

FIRST_REQUEST_DEADLINE_S: Final = 30.0
"""Until the first request of a stream."""

_NO_STREAM: Final = StreamId(0)


class Failure(NamedTuple):
    """Why a stream is denied or ends: a cause for metrics, and a status and a reason for the client."""

    cause: Cause
    code: grpc.StatusCode
    reason: str


class SilentError(RequestError):
    """The client sent nothing in time."""

    def __init__(self, deadline_s: float) -> None:
        super().__init__(f"the client sent no request for {deadline_s:g} s")


def failure_of(error: RequestError) -> Failure:
    """How a stream ends after this error of its client."""
    match error:
        case SilentError():
            cause, code = Cause.SILENT, grpc.StatusCode.DEADLINE_EXCEEDED
        case RequestDeniedError():
            cause, code = Cause.DENIED, grpc.StatusCode.PERMISSION_DENIED
        case RequestLimitError():
            cause, code = Cause.LIMIT, grpc.StatusCode.RESOURCE_EXHAUSTED
        case _:
            cause, code = Cause.INVALID, grpc.StatusCode.INVALID_ARGUMENT
    return Failure(cause, code, str(error))


def failure_of_denial(denial: Denial) -> Failure:
    """How a stream ends that is not admitted."""
    return Failure(denial.cause, grpc.StatusCode.RESOURCE_EXHAUSTED, denial.reason)


async def deny(
    context: "grpc.aio.ServicerContext[Any, Any]", observe: Callable[[Event], None], failure: Failure
) -> None:
    """Report the failure of a client without an open stream, and end its call."""
    observe(StreamDenied(stream=_NO_STREAM, peer=context.peer(), reason=failure.reason, cause=failure.cause))
    await context.abort(failure.code, failure.reason)


async def first_request(context: "grpc.aio.ServicerContext[bytes, bytes]", deadline_s: float) -> object:
    """The first request of a stream, or `grpc.aio.EOF`.

    Raises:
        SilentError: it did not arrive in time.
    """
    try:
        async with asyncio.timeout(deadline_s):
            return await context.read()
    except TimeoutError:
        raise SilentError(deadline_s) from None


async def wait_for_turn(
    pace: Pace, account: str, size: int, *, ended: Callable[[], bool] = lambda: False
) -> None:
    """Wait until the account is within its share of the event loop, or the stream has `ended`. Meanwhile
    nothing is read from the stream, so TCP flow control slows the client down.

    Raises:
        RequestLimitError: the waiting requests of the account take too much memory.
    """
    clock = asyncio.get_running_loop().time
    if not (wait := pace.wait(account, size, clock())):
        return
    pace.hold(account, size)
    try:
        while wait and not ended():
            await asyncio.sleep(wait)
            wait = pace.wait(account, size, clock())
    finally:
        pace.release(account, size)
