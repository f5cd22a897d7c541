"""A process that makes a gRPC call for each line of its input, through grpcio's own xDS client.

By itself, as the client reads its bootstrap file, ``GRPC_XDS_BOOTSTRAP``, once in the life of a process.
Argument: the target, ``xds:///<listener>``. Prints the answer to each call, or ``!`` and why there is none.
"""

import sys

import grpc

from tests.support.waiting import PATIENCE_S

METHOD = "/xds_shadow.test.Greeter/Greet"


def main() -> None:
    """Call until the input ends."""
    with grpc.insecure_channel(sys.argv[1]) as channel:
        greet: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        for line in sys.stdin:
            try:
                answer = greet(line.strip().encode(), timeout=PATIENCE_S).decode()
            except grpc.RpcError as error:
                answer = f"! {error}".replace("\n", " ")
            print(answer, flush=True)


if __name__ == "__main__":
    main()
