from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetRecordsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetRecordsResponse(_message.Message):
    __slots__ = ("replica", "records")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    replica: str
    records: _containers.RepeatedCompositeFieldContainer[Record]
    def __init__(self, replica: _Optional[str] = ..., records: _Optional[_Iterable[_Union[Record, _Mapping]]] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("namespace", "canary", "service", "since", "template", "primary", "mirrored", "expected", "groups", "lost", "envoys", "silent", "compared", "baseline", "differing", "noise", "skipped", "alone", "baseline_alone", "gap")
    class LostEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ComparedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class BaselineEntry(_message.Message):
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
    CANARY_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    MIRRORED_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    ENVOYS_FIELD_NUMBER: _ClassVar[int]
    SILENT_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    DIFFERING_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    ALONE_FIELD_NUMBER: _ClassVar[int]
    BASELINE_ALONE_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    canary: str
    service: str
    since: float
    template: str
    primary: Requests
    mirrored: Requests
    expected: float
    groups: _containers.RepeatedCompositeFieldContainer[Group]
    lost: _containers.ScalarMap[str, int]
    envoys: _containers.RepeatedScalarFieldContainer[str]
    silent: _containers.RepeatedScalarFieldContainer[str]
    compared: _containers.ScalarMap[str, int]
    baseline: _containers.ScalarMap[str, int]
    differing: _containers.RepeatedCompositeFieldContainer[Field]
    noise: _containers.RepeatedCompositeFieldContainer[Field]
    skipped: _containers.ScalarMap[str, int]
    alone: _containers.RepeatedCompositeFieldContainer[Field]
    baseline_alone: _containers.RepeatedCompositeFieldContainer[Field]
    gap: Gap
    def __init__(self, namespace: _Optional[str] = ..., canary: _Optional[str] = ..., service: _Optional[str] = ..., since: _Optional[float] = ..., template: _Optional[str] = ..., primary: _Optional[_Union[Requests, _Mapping]] = ..., mirrored: _Optional[_Union[Requests, _Mapping]] = ..., expected: _Optional[float] = ..., groups: _Optional[_Iterable[_Union[Group, _Mapping]]] = ..., lost: _Optional[_Mapping[str, int]] = ..., envoys: _Optional[_Iterable[str]] = ..., silent: _Optional[_Iterable[str]] = ..., compared: _Optional[_Mapping[str, int]] = ..., baseline: _Optional[_Mapping[str, int]] = ..., differing: _Optional[_Iterable[_Union[Field, _Mapping]]] = ..., noise: _Optional[_Iterable[_Union[Field, _Mapping]]] = ..., skipped: _Optional[_Mapping[str, int]] = ..., alone: _Optional[_Iterable[_Union[Field, _Mapping]]] = ..., baseline_alone: _Optional[_Iterable[_Union[Field, _Mapping]]] = ..., gap: _Optional[_Union[Gap, _Mapping]] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("since", "ended", "pairs", "canary_failed", "stable_failed", "arrived", "expected")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    CANARY_FAILED_FIELD_NUMBER: _ClassVar[int]
    STABLE_FAILED_FIELD_NUMBER: _ClassVar[int]
    ARRIVED_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    since: float
    ended: float
    pairs: int
    canary_failed: int
    stable_failed: int
    arrived: int
    expected: float
    def __init__(self, since: _Optional[float] = ..., ended: _Optional[float] = ..., pairs: _Optional[int] = ..., canary_failed: _Optional[int] = ..., stable_failed: _Optional[int] = ..., arrived: _Optional[int] = ..., expected: _Optional[float] = ...) -> None: ...

class Requests(_message.Message):
    __slots__ = ("issued", "succeeded", "failed", "dropped")
    ISSUED_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    issued: int
    succeeded: int
    failed: int
    dropped: int
    def __init__(self, issued: _Optional[int] = ..., succeeded: _Optional[int] = ..., failed: _Optional[int] = ..., dropped: _Optional[int] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("name", "pairs", "canary_failed", "stable_failed", "differing_types", "codes", "primary", "shadow", "slower", "faster")
    class PrimaryEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    class ShadowEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    CANARY_FAILED_FIELD_NUMBER: _ClassVar[int]
    STABLE_FAILED_FIELD_NUMBER: _ClassVar[int]
    DIFFERING_TYPES_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    SLOWER_FIELD_NUMBER: _ClassVar[int]
    FASTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    pairs: int
    canary_failed: int
    stable_failed: int
    differing_types: int
    codes: _containers.RepeatedCompositeFieldContainer[Codes]
    primary: _containers.ScalarMap[int, int]
    shadow: _containers.ScalarMap[int, int]
    slower: int
    faster: int
    def __init__(self, name: _Optional[str] = ..., pairs: _Optional[int] = ..., canary_failed: _Optional[int] = ..., stable_failed: _Optional[int] = ..., differing_types: _Optional[int] = ..., codes: _Optional[_Iterable[_Union[Codes, _Mapping]]] = ..., primary: _Optional[_Mapping[int, int]] = ..., shadow: _Optional[_Mapping[int, int]] = ..., slower: _Optional[int] = ..., faster: _Optional[int] = ...) -> None: ...

class Codes(_message.Message):
    __slots__ = ("primary", "shadow", "pairs")
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    primary: str
    shadow: str
    pairs: int
    def __init__(self, primary: _Optional[str] = ..., shadow: _Optional[str] = ..., pairs: _Optional[int] = ...) -> None: ...

class Field(_message.Message):
    __slots__ = ("group", "path", "kind", "count")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    group: str
    path: str
    kind: str
    count: int
    def __init__(self, group: _Optional[str] = ..., path: _Optional[str] = ..., kind: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...
