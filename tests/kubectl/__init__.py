"""The real kubectl against the embedded API, as a user would run both."""
