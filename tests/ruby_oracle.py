"""Ruby itself as the oracle of patterns, and a generator of patterns with all that Ruby's syntax has."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

HAS_RUBY = shutil.which("ruby") is not None


class Ruby:
    """A ruby process that says what its regular expressions match."""

    def __enter__(self) -> Ruby:
        script = Path(__file__).with_name("ruby_oracle.rb")
        self.child = subprocess.Popen(
            ["ruby", "-W0", "-Eutf-8:utf-8", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.close()
        self.child.wait(10)
        self.child.stdout.close()

    def ask(
        self, pattern: str, values: list[str], *, ignore_case: bool = False, dotall: bool = False
    ) -> str | list[bool]:
        """Ruby's error (without the pattern), or for each value whether the pattern is found in it."""
        asked = {"pattern": pattern, "options": int(ignore_case) | int(dotall) << 2, "values": values}
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(json.dumps(asked) + "\n")
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline())
        if "error" in answer:
            return str(answer["error"]).partition(": /")[0]
        found: list[bool] = answer["found"]
        return found


VALUES = [
    "", "a", "b", "ab", "ba", "aab", "abc", "dev", "DEV", "Dev-1", "a.b", "a b", "1", "12", "a1b2", "_", "x-y", "k",
    "s", "K", "S", "ss", "SS", "st", "ff", "sa", "as", "(a)", "((b))", "]", "-", "^", "$", "&", "\\", "{2}", "a{2}",
    "aaa", "aaaa", "bb", "\t", "a\tb", "\r", "\x00", "\x1b", "\x7f", "c", "z", "abab", "aXb", "n1", "7", "fF0", "g",
    "\n", "a\n", "\na", "a\nb", "b\n\na", "\r\n", "a\r\nb", "\n\n", "é", "É", "aé", "éa", "ß", "ẞ", "K", "ſ", "ſt",
    "ﬀ", "ﬅ", "ŉ", "İ", "ı", "σ", "ς", "Σ", "٣", "\u00a0", "\u0085", "\u2028", "日本", "😀", "e\u0301", "🇩🇪",
    "👨\u200d👩", "a日", "Ω", "ω", "ǆ", "ǅ", "\u0345", "ΐ",
]  # fmt: skip

_ATOMS = [
    "a", "b", "ab", "k", "s", "ss", "é", "ß", "K", "ſ", "日", "1", "_", "-", " ", "]", "}", "{", "&", "x", "σ", "ff",
    ".", "^", "$", "\\A", "\\z", "\\Z", "\\b", "\\B", "\\G", "\\K", "\\d", "\\D", "\\w", "\\W", "\\s", "\\S", "\\h",
    "\\H", "\\R", "\\X", "\\.", "\\-", "\\\\", "\\n", "\\t", "\\x61", "\\x73", "\\141", "\\0", "\\e", "\\cA",
    "\\C-a", "\\u00e9", "\\u{61 62}", "\\xc3\\xa9", "\\Q", "\\y", "\\N", "\\p{L}", "\\p{^Lu}", "\\P{Alpha}",
    "\\p{Greek}", "\\p{punct}", "[a-c]", "[^a]", "[[:alpha:]]", "[[:^digit:]]", "[[:punct:]]", "[[:space:]]",
    "[[:upper:]]", "[[:word:]]", "[[:ascii:]]", "[\\w]", "[\\W]", "[^\\w]", "[\\wé]", "[^\\wé]", "[\\d-]", "[k]",
    "[^k]", "[s]", "[ß]", "[é]", "[^é]", "[a-z&&[^aeiou]]", "[\\w&&[^a]]", "[a&&]", "[a[bc]]", "[^[a]b]",
    "[a[b]-c]", "[]a]", "[^]a]", "[a-]", "[-a]", "[a-b-c]", "[!--]", "[\\]]", "[\\p{L}&&[a-e]]", "[\\p{Lu}a]",
    "[^\\p{L}]", "[\\u00e0-\\u00ff]", "[\\x61-\\x63]", "[\\b]", "[\\n]", "[^\\n]", "[.]", "[\\s\\d]", "[^\\s]",
    "[\\h]", "[A-Z]", "[j-t]", "[\\W\\d]", "[[:lower:]\\d]", "[\\w[:punct:]]", "[&&a]", "[a&&b]", "(?i)", "(?i)a",
    "(?-i)", "(?m)", "(?x)", "(?a)", "(?u)", "(?d)", "(?#c)", "\\1", "\\2", "\\k<1>", "\\k<-1>", "\\k<n>", "\\g<1>",
    "\\g<n>", "\\g<0>", "\\g<-1>", "\\k<1+0>", "\\10", "\\8", "[", "]", "(", ")", "*", "?", "\\", "{1}", "|",
]  # fmt: skip
_QUANTIFIERS = [
    "*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1}", "{0}", "{1,2}", "{,2}", "{2,}", "{1,2}?",
    "{2}?", "{2}+", "{,}", "{1,2}+", "{0,1}",
]  # fmt: skip
_OPENERS = [
    "(", "(", "(?:", "(?:", "(?i:", "(?m:", "(?x:", "(?a:", "(?u:", "(?-i:", "(?i-m:", "(?>", "(?=", "(?!", "(?<=",
    "(?<!", "(?<n>", "(?<m>", "(?~", "(?(1)", "(?(<n>)", "(?'n'",
]  # fmt: skip


def random_pattern(rng: random.Random, size: int = 6, depth: int = 0) -> str:
    """A pattern of about `size` parts; most are valid."""
    parts = []
    for _ in range(rng.randint(1, size)):
        chance = rng.random()
        if chance < 0.22 and depth < 3:
            part = rng.choice(_OPENERS) + random_pattern(rng, 3, depth + 1) + ")"
        elif chance < 0.30 and depth < 3:
            part = random_pattern(rng, 2, depth + 1) + "|" + random_pattern(rng, 2, depth + 1)
        else:
            part = rng.choice(_ATOMS[:-18] if rng.random() < 0.85 else _ATOMS)
        if rng.random() < 0.25:
            part += rng.choice(_QUANTIFIERS)
        parts.append(part)
    return "".join(parts)


_PLAIN = [
    "a", "b", "dev", "prod", "1", "-", "\\.", ".", "^", "$", "\\A", "\\z", "\\Z", ".*", "a?", "[ab]", "[a]", "s",
    "\\b", "\\w+", "\\d", "[^a]", "x*", "\\K", "[[:alpha:]]", "é", "\\s", "k", "{2}", "*", "\\R", "\\G", "\\B",
    "\\h",
]  # fmt: skip
_PLAIN_OPENERS = ["(", "(?:", "(?i:", "(?<n>", "(?m:"]


def plain_pattern(rng: random.Random, depth: int = 0) -> str:
    """A pattern as people write them: words, anchors, alternatives, simple classes."""
    parts = []
    for _ in range(rng.randint(1, 4)):
        chance = rng.random()
        if chance < 0.25 and depth < 2:
            group = rng.choice(_PLAIN_OPENERS) + plain_pattern(rng, depth + 1) + ")"
            parts.append(group + rng.choice(["", "", "?", "*", "+", "{2}"]))
        elif chance < 0.35 and depth < 3:
            parts.append(plain_pattern(rng, depth + 1) + "|" + plain_pattern(rng, depth + 1))
        else:
            parts.append(rng.choice(_PLAIN))
    return "".join(parts)
