"""The bounds of an Envoy's process in its bootstrap: memory and connections."""

from datetime import timedelta
from typing import Final

import envoy_data_plane.envoy.config.overload.v3 as overload
import envoy_data_plane.envoy.extensions.resource_monitors.downstream_connections.v3 as connections
import envoy_data_plane.envoy.extensions.resource_monitors.fixed_heap.v3 as heap
from envoy_data_plane.google.protobuf import Any

_MAX_CONNECTIONS: Final = 50_000


def overload_manager(max_heap_bytes: int) -> overload.OverloadManager:
    """The limits for a process with so much memory: near its end no new requests are accepted."""
    heap_monitor = "envoy.resource_monitors.fixed_heap"

    def when_heap(action: str, share: float) -> overload.OverloadAction:
        trigger = overload.Trigger(name=heap_monitor, threshold=overload.ThresholdTrigger(value=share))
        return overload.OverloadAction(name=f"envoy.overload_actions.{action}", triggers=[trigger])

    return overload.OverloadManager(
        refresh_interval=timedelta(milliseconds=250),
        resource_monitors=[
            overload.ResourceMonitor(
                name=heap_monitor,
                typed_config=Any.pack(heap.FixedHeapConfig(max_heap_size_bytes=max_heap_bytes)),
            ),
            overload.ResourceMonitor(
                name="envoy.resource_monitors.global_downstream_max_connections",
                typed_config=Any.pack(
                    connections.DownstreamConnectionsConfig(
                        max_active_downstream_connections=_MAX_CONNECTIONS
                    )
                ),
            ),
        ],
        actions=[when_heap("shrink_heap", 0.95), when_heap("stop_accepting_requests", 0.98)],
    )
