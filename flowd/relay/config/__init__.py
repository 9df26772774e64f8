"""flowd.toml, the environment and flags → a Config: typed, whole, and checked before anything is opened."""

from flowd.relay.config.defaults import default_runtime_dir, default_state_dir, lane_endpoint
from flowd.relay.config.model import Config, Curve, Filters, Http, Journal, Lane, Raw, Runtime, Sources, View
from flowd.relay.config.reading import ENVIRONMENT, load_config, read_config

__all__ = [
    "ENVIRONMENT",
    "Config",
    "Curve",
    "Filters",
    "Http",
    "Journal",
    "Lane",
    "Raw",
    "Runtime",
    "Sources",
    "View",
    "default_runtime_dir",
    "default_state_dir",
    "lane_endpoint",
    "load_config",
    "read_config",
]
