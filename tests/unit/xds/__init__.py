"""The ADS machines without I/O. `test_rule_NN_…` tests rule NN of docs/internals/xds-checklist.md."""
