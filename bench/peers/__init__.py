"""Our ADS server beside another one: the same resources, the same changes, the same clients."""
