"""Ruby regular expressions: parsed, judged, and translated for the engines that evaluate them."""

from flowd.patterns.model import CompiledPattern, Dialect, PatternError
from flowd.patterns.words import compile_word

__all__ = ["CompiledPattern", "PatternError", "compile_pattern", "escape_text"]


def compile_pattern(
    pattern: str, *, ignore_case: bool = False, dotall: bool = False, dialect: Dialect = "ruby"
) -> CompiledPattern:
    """Understands a regular expression of Ruby 3.3 (or, as Fluent Bit takes it, of Onigmo).

    `ignore_case` and `dotall` are the options `i` and `m`. Raises PatternError, with Ruby's own words, where Ruby
    refuses the pattern, and with flowd's where no engine of flowd's would answer as Ruby does. Thread-safe.
    """
    if not ignore_case:
        word = compile_word(pattern)
        if word is not None:
            return word
    from flowd.patterns.judge import judge_pattern

    return judge_pattern(pattern, ignore_case=ignore_case, dotall=dotall, dialect=dialect)


def escape_text(text: str) -> str:
    """The pattern, in Ruby's syntax, that matches this text and nothing else."""
    return "".join(
        f"\\x{ord(char):02x}" if ord(char) < 0x20 else f"\\{char}" if char in _SPECIAL else char for char in text
    )


_SPECIAL = frozenset("\\^$.|?*+()[]{}/#- &~")
