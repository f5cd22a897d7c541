import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from xds_server.pb import evidence_pb2 as _evidence_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("shadows", "nodes", "conditions", "server", "changes")
    SHADOWS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    shadows: _containers.RepeatedCompositeFieldContainer[Shadow]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    server: Server
    changes: _containers.RepeatedCompositeFieldContainer[Condition]
    def __init__(self, shadows: _Optional[_Iterable[_Union[Shadow, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., server: _Optional[_Union[Server, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("subject", "reason", "message", "severity", "origin", "since")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    subject: str
    reason: str
    message: str
    severity: str
    origin: str
    since: _timestamp_pb2.Timestamp
    def __init__(self, subject: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., severity: _Optional[str] = ..., origin: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("namespace", "name", "kind")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    kind: str
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("shadow", "routes", "nodes", "conditions", "resources", "verdict", "replicas")
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    shadow: Shadow
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    resources: _containers.RepeatedCompositeFieldContainer[Resource]
    verdict: Verdict
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    def __init__(self, shadow: _Optional[_Union[Shadow, _Mapping]] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., resources: _Optional[_Iterable[_Union[Resource, _Mapping]]] = ..., verdict: _Optional[_Union[Verdict, _Mapping]] = ..., replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ...) -> None: ...

class Shadow(_message.Message):
    __slots__ = ("namespace", "name", "service", "state", "reason", "message", "percent", "methods", "endpoints", "conditions", "settings", "gateways", "kind", "verdict")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    GATEWAYS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    service: str
    state: str
    reason: str
    message: str
    percent: str
    methods: _containers.RepeatedScalarFieldContainer[str]
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    settings: _containers.RepeatedCompositeFieldContainer[Setting]
    gateways: _containers.RepeatedScalarFieldContainer[str]
    kind: str
    verdict: str
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., service: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., percent: _Optional[str] = ..., methods: _Optional[_Iterable[str]] = ..., endpoints: _Optional[_Iterable[str]] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., settings: _Optional[_Iterable[_Union[Setting, _Mapping]]] = ..., gateways: _Optional[_Iterable[str]] = ..., kind: _Optional[str] = ..., verdict: _Optional[str] = ...) -> None: ...

class Setting(_message.Message):
    __slots__ = ("name", "value", "origin")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    origin: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., origin: _Optional[str] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("id", "cluster", "variant", "peer", "build", "connected", "types", "routes_only")
    ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    BUILD_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    ROUTES_ONLY_FIELD_NUMBER: _ClassVar[int]
    id: str
    cluster: str
    variant: str
    peer: str
    build: str
    connected: _timestamp_pb2.Timestamp
    types: _containers.RepeatedCompositeFieldContainer[TypeStatus]
    routes_only: bool
    def __init__(self, id: _Optional[str] = ..., cluster: _Optional[str] = ..., variant: _Optional[str] = ..., peer: _Optional[str] = ..., build: _Optional[str] = ..., connected: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., types: _Optional[_Iterable[_Union[TypeStatus, _Mapping]]] = ..., routes_only: _Optional[bool] = ...) -> None: ...

class TypeStatus(_message.Message):
    __slots__ = ("type_url", "short_name", "sync", "sent_version", "acked_version", "last_nack", "pushes", "bytes")
    TYPE_URL_FIELD_NUMBER: _ClassVar[int]
    SHORT_NAME_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    SENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    ACKED_VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_NACK_FIELD_NUMBER: _ClassVar[int]
    PUSHES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    type_url: str
    short_name: str
    sync: str
    sent_version: str
    acked_version: str
    last_nack: Nack
    pushes: int
    bytes: int
    def __init__(self, type_url: _Optional[str] = ..., short_name: _Optional[str] = ..., sync: _Optional[str] = ..., sent_version: _Optional[str] = ..., acked_version: _Optional[str] = ..., last_nack: _Optional[_Union[Nack, _Mapping]] = ..., pushes: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class Nack(_message.Message):
    __slots__ = ("version", "message", "at")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    version: str
    message: str
    at: _timestamp_pb2.Timestamp
    def __init__(self, version: _Optional[str] = ..., message: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("port", "protocol", "domains", "cluster", "endpoints", "shadow_cluster")
    PORT_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    SHADOW_CLUSTER_FIELD_NUMBER: _ClassVar[int]
    port: int
    protocol: str
    domains: _containers.RepeatedScalarFieldContainer[str]
    cluster: str
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    shadow_cluster: str
    def __init__(self, port: _Optional[int] = ..., protocol: _Optional[str] = ..., domains: _Optional[_Iterable[str]] = ..., cluster: _Optional[str] = ..., endpoints: _Optional[_Iterable[str]] = ..., shadow_cluster: _Optional[str] = ...) -> None: ...

class Resource(_message.Message):
    __slots__ = ("type_url", "name", "body")
    TYPE_URL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    type_url: str
    name: str
    body: bytes
    def __init__(self, type_url: _Optional[str] = ..., name: _Optional[str] = ..., body: _Optional[bytes] = ...) -> None: ...

class Server(_message.Message):
    __slots__ = ("version", "started", "committed", "versions", "build_failures", "source")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    BUILD_FAILURES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    version: str
    started: _timestamp_pb2.Timestamp
    committed: _timestamp_pb2.Timestamp
    versions: _containers.ScalarMap[str, str]
    build_failures: int
    source: Source
    def __init__(self, version: _Optional[str] = ..., started: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., committed: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., versions: _Optional[_Mapping[str, str]] = ..., build_failures: _Optional[int] = ..., source: _Optional[_Union[Source, _Mapping]] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("message", "outage_seconds")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    message: str
    outage_seconds: float
    def __init__(self, message: _Optional[str] = ..., outage_seconds: _Optional[float] = ...) -> None: ...

class GetVerdictsRequest(_message.Message):
    __slots__ = ("namespace", "name", "kind", "terms")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    kind: str
    terms: Terms
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., terms: _Optional[_Union[Terms, _Mapping]] = ...) -> None: ...

class GetVerdictsResponse(_message.Message):
    __slots__ = ("verdicts", "replicas")
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    verdicts: _containers.RepeatedCompositeFieldContainer[Verdict]
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    def __init__(self, verdicts: _Optional[_Iterable[_Union[Verdict, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ...) -> None: ...

class Terms(_message.Message):
    __slots__ = ("alpha", "tolerance", "min_pairs")
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    MIN_PAIRS_FIELD_NUMBER: _ClassVar[int]
    alpha: float
    tolerance: float
    min_pairs: int
    def __init__(self, alpha: _Optional[float] = ..., tolerance: _Optional[float] = ..., min_pairs: _Optional[int] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("name", "problem")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    name: str
    problem: str
    def __init__(self, name: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("namespace", "name", "kind", "service", "verdict", "message", "terms", "since", "template", "excess", "arrived", "expected", "worst", "primary", "mirrored", "total", "groups", "lost", "compared", "fields", "noise_unknown", "skipped", "slower", "envoys", "silent", "state", "reason", "state_message")
    class LostEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class SkippedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    EXCESS_FIELD_NUMBER: _ClassVar[int]
    ARRIVED_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    WORST_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    MIRRORED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    NOISE_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    SLOWER_FIELD_NUMBER: _ClassVar[int]
    ENVOYS_FIELD_NUMBER: _ClassVar[int]
    SILENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STATE_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    kind: str
    service: str
    verdict: str
    message: str
    terms: Terms
    since: _timestamp_pb2.Timestamp
    template: str
    excess: float
    arrived: float
    expected: float
    worst: str
    primary: _evidence_pb2.Requests
    mirrored: _evidence_pb2.Requests
    total: Pairs
    groups: _containers.RepeatedCompositeFieldContainer[Pairs]
    lost: _containers.ScalarMap[str, int]
    compared: int
    fields: _containers.RepeatedCompositeFieldContainer[DifferingField]
    noise_unknown: bool
    skipped: _containers.ScalarMap[str, int]
    slower: bool
    envoys: _containers.RepeatedScalarFieldContainer[str]
    silent: _containers.RepeatedScalarFieldContainer[str]
    state: str
    reason: str
    state_message: str
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., service: _Optional[str] = ..., verdict: _Optional[str] = ..., message: _Optional[str] = ..., terms: _Optional[_Union[Terms, _Mapping]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., template: _Optional[str] = ..., excess: _Optional[float] = ..., arrived: _Optional[float] = ..., expected: _Optional[float] = ..., worst: _Optional[str] = ..., primary: _Optional[_Union[_evidence_pb2.Requests, _Mapping]] = ..., mirrored: _Optional[_Union[_evidence_pb2.Requests, _Mapping]] = ..., total: _Optional[_Union[Pairs, _Mapping]] = ..., groups: _Optional[_Iterable[_Union[Pairs, _Mapping]]] = ..., lost: _Optional[_Mapping[str, int]] = ..., compared: _Optional[int] = ..., fields: _Optional[_Iterable[_Union[DifferingField, _Mapping]]] = ..., noise_unknown: _Optional[bool] = ..., skipped: _Optional[_Mapping[str, int]] = ..., slower: _Optional[bool] = ..., envoys: _Optional[_Iterable[str]] = ..., silent: _Optional[_Iterable[str]] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., state_message: _Optional[str] = ...) -> None: ...

class Pairs(_message.Message):
    __slots__ = ("name", "pairs", "canary_failed", "stable_failed", "differing_types", "primary", "canary", "codes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    CANARY_FAILED_FIELD_NUMBER: _ClassVar[int]
    STABLE_FAILED_FIELD_NUMBER: _ClassVar[int]
    DIFFERING_TYPES_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    CANARY_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    name: str
    pairs: int
    canary_failed: int
    stable_failed: int
    differing_types: int
    primary: Side
    canary: Side
    codes: _containers.RepeatedCompositeFieldContainer[_evidence_pb2.Codes]
    def __init__(self, name: _Optional[str] = ..., pairs: _Optional[int] = ..., canary_failed: _Optional[int] = ..., stable_failed: _Optional[int] = ..., differing_types: _Optional[int] = ..., primary: _Optional[_Union[Side, _Mapping]] = ..., canary: _Optional[_Union[Side, _Mapping]] = ..., codes: _Optional[_Iterable[_Union[_evidence_pb2.Codes, _Mapping]]] = ...) -> None: ...

class Side(_message.Message):
    __slots__ = ("codes", "p50", "p95", "p99")
    class CodesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CODES_FIELD_NUMBER: _ClassVar[int]
    P50_FIELD_NUMBER: _ClassVar[int]
    P95_FIELD_NUMBER: _ClassVar[int]
    P99_FIELD_NUMBER: _ClassVar[int]
    codes: _containers.ScalarMap[str, int]
    p50: float
    p95: float
    p99: float
    def __init__(self, codes: _Optional[_Mapping[str, int]] = ..., p50: _Optional[float] = ..., p95: _Optional[float] = ..., p99: _Optional[float] = ...) -> None: ...

class DifferingField(_message.Message):
    __slots__ = ("group", "path", "kind", "differing", "compared", "noise", "baseline", "differs")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DIFFERING_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    DIFFERS_FIELD_NUMBER: _ClassVar[int]
    group: str
    path: str
    kind: str
    differing: int
    compared: int
    noise: int
    baseline: int
    differs: bool
    def __init__(self, group: _Optional[str] = ..., path: _Optional[str] = ..., kind: _Optional[str] = ..., differing: _Optional[int] = ..., compared: _Optional[int] = ..., noise: _Optional[int] = ..., baseline: _Optional[int] = ..., differs: _Optional[bool] = ...) -> None: ...
