"""As much of grpcurl as the pages use: a unary call without a message, by reflection alone.

python -m tests.docs.grpcurl HOST:PORT SERVICE/METHOD
"""

import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main() -> None:
    address, method = sys.argv[1:]
    service, _, name = method.partition("/")
    with grpc.insecure_channel(address) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        found = pool.FindServiceByName(service).FindMethodByName(name)
        asked, answered = map(message_factory.GetMessageClass, (found.input_type, found.output_type))
        call = channel.unary_unary(
            f"/{method}",
            request_serializer=asked.SerializeToString,
            response_deserializer=answered.FromString,
        )
        print(json_format.MessageToJson(call(asked()), descriptor_pool=pool))


if __name__ == "__main__":
    main()
