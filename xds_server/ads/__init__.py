"""The aggregated discovery service: what each stream is owed, and sending it.

The rules live in state machines without I/O (`subscription`, `machine`, `sotw`, `delta`); `servicer` is the
thin shell that reads and writes. "Line N" in a comment is a line of the checklist in docs/xds-checklist.md.
"""
