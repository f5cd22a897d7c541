"""What every room may use: identifiers, errors, asyncio helpers, YAML, logging. Knows neither Envoy nor
Kubernetes."""
