"""Metrics and health for those who ask over HTTP: a thread of its own, loaded only where `[http]` is configured."""
