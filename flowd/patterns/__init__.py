"""Ruby regular expressions: parsed, judged, and translated for the engines that evaluate them."""

from flowd.patterns.judge import compile_pattern
from flowd.patterns.model import CompiledPattern, PatternError

__all__ = ["CompiledPattern", "PatternError", "compile_pattern"]
