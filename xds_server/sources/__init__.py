"""Where Kubernetes objects come from: an API server (`kube`) or a directory of manifests (`files`).

Both say the same thing in the same words, changes of the world (`model.world.Change`), so that nothing
further down knows which of them runs. What the objects mean is not decided here: a source drops only
what no API server would hand out, and reports it.
"""

from xds_server.sources.source import Health, Sink, Source, WatchCounts

__all__ = ["Health", "Sink", "Source", "WatchCounts"]
