"""The ADS machines without I/O. `test_line_NN_…` is line NN of the checklist in docs/xds-checklist.md."""
