"""The pure packages: values in, values out. No clock, no network, no sleep."""
