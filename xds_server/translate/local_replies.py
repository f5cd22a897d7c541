"""Refuses filters of a shadow cluster that may reply locally while the headers of a request are decoded.

The router logs every mirrored request (`upstream_log`). If such a reply ends a mirrored request, the log's
formatter reads request headers that the router does not have yet, and the whole Envoy ends by SIGSEGV (1.36.4
and 1.40.0; tests/envoy/test_local_replies.py shows it).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from envoy.extensions.common.matching.v3 import extension_matcher_pb2
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from envoy.extensions.filters.http.composite.v3 import composite_pb2
from envoy.extensions.filters.http.credential_injector.v3 import credential_injector_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from xds_server.base.errors import LocalReplyError
from xds_server.translate.scripts import REPLY_AFTER_BODY

_RESPOND: Final = ":respond("
"""A user's text cannot contain it, because a script has such text only quoted."""


def refuse_local_replies(filters: Sequence[http_connection_manager_pb2.HttpFilter]) -> None:
    """Check the filters of a shadow cluster.

    Raises:
        LocalReplyError: a filter may reply while headers are decoded, or is unknown. A bug in this program.
    """
    for each in filters:
        if not _never_replies(each.typed_config):
            raise LocalReplyError(f"filter {each.name} may reply while request headers are decoded")


def _never_replies(config: Any) -> bool:
    rule = _RULES.get(config.type_url)
    return rule is not None and rule(config.value)


def _always(_: bytes) -> bool:
    """For filters that never reply, and for `buffer`, which replies only after it has received data."""
    return True


def _credential_injector(config: bytes) -> bool:
    return bool(
        credential_injector_pb2.CredentialInjector.FromString(config).allow_request_without_credential
    )


def _lua(config: bytes) -> bool:
    found = lua_pb2.Lua.FromString(config)
    rest = found.default_source_code.inline_string.replace(REPLY_AFTER_BODY, "")
    return found == _script(found.default_source_code.inline_string) and _RESPOND not in rest


def _with_matcher(config: bytes) -> bool:
    """A `composite` filter, all of whose actions execute filters that never reply."""
    found = extension_matcher_pb2.ExtensionWithMatcher.FromString(config)
    matchers = found.xds_matcher.matcher_list.matchers
    known = extension_matcher_pb2.ExtensionWithMatcher(extension_config=found.extension_config)
    known.xds_matcher.matcher_list.matchers.extend(matchers)
    return (
        found == known
        and found.extension_config.typed_config.type_url == _type_url(composite_pb2.Composite)
        and all(_executes(each.on_match.action.typed_config) for each in matchers)
    )


def _executes(action: Any) -> bool:
    if action.type_url != _type_url(composite_pb2.ExecuteFilterAction):
        return False
    return _never_replies(
        composite_pb2.ExecuteFilterAction.FromString(action.value).typed_config.typed_config
    )


def _script(text: str) -> lua_pb2.Lua:
    found = lua_pb2.Lua()
    found.default_source_code.inline_string = text
    return found


def _type_url(message: type[Message]) -> str:
    return f"type.googleapis.com/{message.DESCRIPTOR.full_name}"


_RULES: Final[Mapping[str, Callable[[bytes], bool]]] = {
    _type_url(buffer_pb2.Buffer): _always,
    _type_url(extension_matcher_pb2.ExtensionWithMatcher): _with_matcher,
    _type_url(credential_injector_pb2.CredentialInjector): _credential_injector,
    _type_url(header_mutation_pb2.HeaderMutation): _always,
    _type_url(lua_pb2.Lua): _lua,
    _type_url(upstream_codec_pb2.UpstreamCodec): _always,
}
"""By the type of a filter's configuration: whether the filter never replies while headers are decoded."""
