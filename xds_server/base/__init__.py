"""What every layer may use: identifiers, errors, asyncio helpers. Knows nothing of Envoy or Kubernetes."""
