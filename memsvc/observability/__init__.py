"""How a server is watched: metrics for Prometheus, traces for OpenTelemetry. Engine and store know of neither."""
