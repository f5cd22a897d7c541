"""No filter of a shadow cluster may reply while the headers of a request are decoded."""

from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.extensions.common.matching.v3 import extension_matcher_pb2
from envoy.extensions.filters.common.matcher.action.v3 import skip_action_pb2
from envoy.extensions.filters.http.composite.v3 import composite_pb2
from envoy.extensions.filters.http.credential_injector.v3 import credential_injector_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf.message import Message
from xds.core.v3 import extension_pb2 as xds_extension_pb2
from xds.type.matcher.v3 import matcher_pb2

from xds_server.base.errors import LocalReplyError
from xds_server.core.annotations import Treatment
from xds_server.core.plan import Credential, Mirror, Protocol
from xds_server.core.sensitive import Sensitive
from xds_server.core.terms import FormField, PathPrefix, Rewrite
from xds_server.translate.clusters import shadow_cluster
from xds_server.translate.local_replies import refuse_local_replies
from xds_server.translate.scripts import change
from xds_server.translate.wire import packed

EVERYTHING = Treatment(
    rewrites=(Rewrite(PathPrefix("/respond("), "/:respond("),),
    redactions=(FormField(":respond("),),
    set_headers=(("x-a", "%REQ(:path)%"),),
    max_rps=1,
)


def filter_of(config: Message) -> http_connection_manager_pb2.HttpFilter:
    return http_connection_manager_pb2.HttpFilter(name="a", typed_config=packed(config))


def lua(script: str) -> lua_pb2.Lua:
    return lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=script))


@pytest.mark.parametrize("treatment", [Treatment(), EVERYTHING])
@pytest.mark.parametrize("credential", [None, "staging/myapp/shadow/canary"])
@pytest.mark.parametrize("compare", [False, True])
def test_the_filters_of_every_annotation_are_accepted(
    treatment: Treatment, credential: str | None, *, compare: bool
) -> None:
    secret = Credential("staging/token/key", Sensitive("a")) if credential else None
    mirror = Mirror(
        canary="c",
        marker="staging/c",
        endpoints=(),
        per_million=1,
        treatment=treatment,
        credential=secret,
        compare=compare,
    )
    assert shadow_cluster("staging/myapp/shadow/c", Protocol.HTTP1, mirror).body


def composite(config: Message | None = None, **more: Any) -> Any:
    """A filter that executes the one with this configuration if a request matches."""
    action = composite_pb2.ExecuteFilterAction(
        typed_config=extension_pb2.TypedExtensionConfig(name="b", typed_config=packed(config))
        if config
        else None,
        **more,
    )
    executes = xds_extension_pb2.TypedExtensionConfig(name="c", typed_config=packed(action))
    matched = matcher_pb2.Matcher.MatcherList.FieldMatcher(
        on_match=matcher_pb2.Matcher.OnMatch(action=executes)
    )
    return extension_matcher_pb2.ExtensionWithMatcher(
        extension_config=extension_pb2.TypedExtensionConfig(
            name="d", typed_config=packed(composite_pb2.Composite())
        ),
        xds_matcher=matcher_pb2.Matcher(matcher_list=matcher_pb2.Matcher.MatcherList(matchers=[matched])),
    )


def nested() -> Any:
    found = composite(lua(""))
    found.xds_matcher.on_no_match.action.name = "other"
    return found


def skipping() -> Any:
    found = composite(lua(""))
    [matched] = found.xds_matcher.matcher_list.matchers
    matched.on_match.action.typed_config.CopyFrom(packed(skip_action_pb2.SkipFilter()))
    return found


@pytest.mark.parametrize(
    "config",
    [
        composite(rbac_pb2.RBAC()),
        skipping(),
        composite(dynamic_config=composite_pb2.DynamicConfig(name="other")),
        nested(),
        extension_matcher_pb2.ExtensionWithMatcher(),
        credential_injector_pb2.CredentialInjector(overwrite=True),
        lua('function envoy_on_request(handle)\n  handle:respond({[":status"] = "429"}, "")\nend\n'),
        lua(change((), (FormField("a"),)) + 'request_handle:respond({[":status"] = "429"}, "")\n'),
        lua_pb2.Lua(inline_code="function envoy_on_request(handle) end"),
        lua_pb2.Lua(source_codes={"a": base_pb2.DataSource(inline_string="")}),
        # Unknown here.
        rbac_pb2.RBAC(),
    ],
)
def test_a_filter_that_may_reply_at_the_headers_is_refused(config: Message) -> None:
    with pytest.raises(LocalReplyError, match="filter a may reply"):
        refuse_local_replies([filter_of(config)])


def test_the_same_filters_are_accepted_where_they_cannot() -> None:
    refuse_local_replies(
        [
            filter_of(
                credential_injector_pb2.CredentialInjector(
                    overwrite=True, allow_request_without_credential=True
                )
            ),
            filter_of(lua(change((), (FormField("a"),)))),
            filter_of(composite(lua("function envoy_on_response(handle) end"))),
        ]
    )
