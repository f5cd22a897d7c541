"""Generated from protos/ by ``make generate``; never edited by hand, checked for drift in CI."""
