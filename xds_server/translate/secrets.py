"""Credentials as SDS resources, so that a new credential does not reload a cluster."""

import hashlib
from functools import lru_cache
from typing import Final

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from xds_server.core.sensitive import Sensitive
from xds_server.translate.names import secret_key
from xds_server.translate.wire import serialized
from xds_server.xds.resource import Resource

_ROUNDS: Final = 20_000
"""Versions are visible in many places. With a plain hash, a weak credential could be guessed at the speed of
hashing; with this many rounds, one guess takes about 10 ms."""

_KEPT: Final = 1024


@lru_cache(_KEPT)
def credential_secret(cluster: str, value: Sensitive, *, scope: str) -> Resource:
    """The Secret of a shadow cluster, with the cluster's name."""
    source = base_pb2.DataSource(inline_string=value.reveal)
    message = secret_pb2.Secret(name=cluster, generic_secret=secret_pb2.GenericSecret(secret=source))
    body = serialized(message)
    identity = hashlib.pbkdf2_hmac("sha256", body, cluster.encode(), _ROUNDS)
    return Resource(secret_key(cluster), body, scope=scope, identity=identity)
