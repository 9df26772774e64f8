"""A tree as a pattern for Oniguruma 6.9.8 (Ruby syntax, UTF-8) that means there what the source means in Ruby 3.3.

Nothing of the source text is passed on: every option is written at the leaf it holds for, every class is spelled out,
groups get names of ours. Where the two engines are known to differ and no rewriting helps, PatternError says so.
"""

from __future__ import annotations

from dataclasses import replace

from flowd.patterns.absence import absent_lengths, spell_out
from flowd.patterns.charset import WORD, CharSet
from flowd.patterns.folding import LATIN_1, expansions, folded_class
from flowd.patterns.model import PatternError
from flowd.patterns.nodes import (
    Absence,
    Alternation,
    Anchor,
    AnyChar,
    Atomic,
    Backref,
    Call,
    Capture,
    CodeClass,
    Conditional,
    Grapheme,
    Keep,
    Linebreak,
    Literal,
    Look,
    Node,
    Options,
    Property,
    PropertyClass,
    Repeat,
    Sequence,
    Tree,
    Union,
    walk,
)
from flowd.patterns.shape import (
    begins_with_place,
    can_be_empty,
    is_case_closed,
    is_cluster_safe,
    is_misread_by_ruby,
    is_place,
    may_be_several,
    repeats_any_text,
)

_ANCHORS = {
    "line_start": "^",
    "line_end": "$",
    "text_start": "\\A",
    "text_end": "\\z",
    "text_end_newline": "\\Z",
    "search_start": "\\A",  # A value is searched once, from its start.
    "word": "\\b",
    "not_word": "\\B",
}
_META = frozenset("\\|()[]{}.*+?^$#-&/ ")
# Ruby matches an ASCII pattern and an ASCII value as ASCII, where no letter folds to two: see docs/patterns.md.
_SOME_BEYOND_ASCII = "(?![\\x00-\\x7F]{2})"
# The absence operator is written as look-behinds, which take none of these.
_NOT_IN_ABSENCE = (Atomic, Look, Backref, Call, Absence, Conditional, Anchor, Linebreak, Grapheme, Keep)
_WRITTEN_OUT = 100  # Bytes up to which Ruby writes a repeated literal out.
_LINEBREAK = "(?>\\x0D\\x0A|[\\x0A-\\x0D\\x{85}\\x{2028}\\x{2029}])"


def to_reference(tree: Tree) -> str:
    """The pattern for Oniguruma, to be compiled without options."""
    if any(isinstance(node, Grapheme) for node in walk(tree.root)) and not is_cluster_safe(tree.root):
        hint = "flowd takes it in a pattern that begins with ^ or \\A and has only plain characters beside"
        raise cannot_evaluate("\\X here", hint=hint)
    if is_misread_by_ruby(tree.root):
        raise cannot_evaluate("a leading (?m:.*) behind an anchor or look-ahead", hint="leave the .* out")
    return _Writer(tree).whole()


def cannot_evaluate(what: str, offset: int = 0, *, hint: str = "") -> PatternError:
    """The error for what Ruby takes and flowd's engine would answer differently."""
    message = f"flowd cannot evaluate {what} as Ruby does"
    return PatternError(message, offset, hint=hint or "write the pattern without it")


class _Writer:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.aliases = {name: f"n{i}" for i, name in enumerate(tree.names)}
        # Oniguruma takes a leading `.*` for a reason to look at the starts of lines only, even behind `\\B` and in what
        # is repeated; it does not see one that is written as a class.
        hidden = begins_with_place(tree.root) or repeats_any_text(tree.root)
        self.any_char = "[^\\x0A]" if hidden else "."
        self.any_or_newline = "[\\x00-\\x{10FFFF}]" if hidden else "(?m:.)"
        self.whole_alias = "whole" if tree.names else "0"
        # For an end that all matches have Oniguruma begins near the value's end, and then looks behind at the wrong
        # place: `(?<!b)\z` is found in `ab`. It does not do so for an end inside a look-ahead. (None stands in a
        # look-behind, which would take no look-ahead: Ruby refuses that.)
        self.hides_ends = any(_looks_behind(node) for node in walk(tree.root))
        self.counts_groups = any(isinstance(node, Backref | Call | Conditional) for node in walk(tree.root))

    def whole(self) -> str:
        """The pattern; beside named groups a call of the whole needs a name, too."""
        written = self.write(self.tree.root)
        calls = [node for node in walk(self.tree.root) if isinstance(node, Call)]
        calls_whole = any(not call.name and call.number == 0 for call in calls)
        return f"(?<whole>{written})" if calls_whole and self.tree.names else written

    def write(self, node: Node) -> str:
        match node:
            case Literal(text, ignore_case):
                return f"(?i:{_escape(text)})" if ignore_case else _escape(text)
            case AnyChar(newline):
                return self.any_char if not newline else self.any_or_newline
            case CodeClass():
                return self.code_class(node)
            case Property(name, negated):
                return f"\\{'P' if negated else 'p'}{{{name}}}"
            case PropertyClass():
                return self.property_class(node)
            case Anchor(kind, ascii_only):
                if ascii_only:
                    return _ascii_boundary(kind == "not_word")
                is_hidden = self.hides_ends and kind in ("text_end", "text_end_newline")
                return f"(?={_ANCHORS[kind]})" if is_hidden else _ANCHORS[kind]
            case Keep():
                return "(?:)"
            case Linebreak():
                return _LINEBREAK
            case Grapheme():
                return "\\X"
            case Sequence(parts):
                return "".join(self.part(part) for part in parts)
            case Alternation(branches):
                return "|".join(self.part(branch) for branch in branches)
            case Capture(name=name, body=body):
                return f"(?<{self.aliases[name]}>{self.write(body)})" if name else f"({self.write(body)})"
            case Options(body):
                return f"(?:{self.write(body)})"
            case Atomic(body):
                return f"(?>{self.write(body)})"
            case Look():
                return self.look(node)
            case Absence(body):
                return self.absence(body)
            case Conditional():
                return self.conditional(node)
            case Repeat():
                return self.repeat(node)
            case Backref():
                return self.backref(node)
            case Call(number, name):
                return f"\\g<{self.aliases[name] if name else number or self.whole_alias}>"

    def part(self, node: Node) -> str:
        """The node as a part of a sequence or a branch."""
        return self.unit(node) if isinstance(node, Alternation) else self.write(node)

    def unit(self, node: Node) -> str:
        """The node such that a quantifier, or a neighbour, takes it as one."""
        match node:
            case AnyChar(newline=False) | Property() | Linebreak() | Grapheme() | Capture() | Options() | Atomic():
                return self.write(node)
            case Literal(text, ignore_case) if len(text) == 1 or ignore_case:
                return self.write(node)
            case _:
                return f"(?:{self.write(node)})"

    def repeat(self, node: Repeat) -> str:
        if isinstance(node.body, Literal) and node.body.ignore_case:
            return self.repeat_folded(node, node.body.text)
        body = self.unit(node.body)
        if is_place(node.body):
            # Oniguruma refuses to repeat a bare place; beside an empty group it is no bare one.
            body = f"(?:{body}(?:))"
        match node.low, node.high:
            case 0, None:
                count = "*"
            case 1, None:
                count = "+"
            case 0, 1:
                count = "?"
            case low, None:
                count = f"{{{low},}}"
            case low, high if low == high:
                return f"{body}{{{low}}}"
            case low, high:
                count = f"{{{low},{high}}}"
        return body + count + ("?" if node.lazy else "")

    def repeat_folded(self, node: Repeat, text: str) -> str:
        """A repeat of a literal that ignores case. Ruby writes short ones out first: `s{2}` takes the sharp s."""
        if node.low > 1 and len(text.encode()) * node.low <= _WRITTEN_OUT:
            rest = ""
            if node.high != node.low:
                high = None if node.high is None else node.high - node.low
                rest = self.repeat(replace(node, low=0, high=high))
            return f"(?:(?i:{_escape(text * node.low)}){rest})"
        return f"(?i:{self.repeat(replace(node, body=Literal(text)))})"

    def look(self, node: Look) -> str:
        if not node.ahead:
            for inner in walk(node.body):
                if isinstance(inner, Look) or (isinstance(inner, Anchor) and inner.ascii_only):
                    raise cannot_evaluate("a look-behind inside a look-behind", hint="put the two side by side")
                # Ruby refuses most of these, some of them only once it meets a value beyond ASCII.
                if inner is not node.body and may_be_several(inner):
                    hint = "in a look-behind every letter must be one letter, and ß may be ss"
                    raise cannot_evaluate("a look-behind that ignores case", hint=hint)
        sign = ("=" if not node.negated else "!") if node.ahead else ("<=" if not node.negated else "<!")
        return f"(?{sign}{self.write(node.body)})"

    def absence(self, body: Node) -> str:
        for inner in walk(body):
            if isinstance(inner, _NOT_IN_ABSENCE):
                hint = "within (?~...) flowd takes characters, classes, alternatives and repeats"
                raise cannot_evaluate("this absence operator", hint=hint)
            if may_be_several(inner):
                hint = "in (?~...) every letter must be one letter, and ß may be ss"
                raise cannot_evaluate("an absence operator that ignores case", hint=hint)
        if can_be_empty(body):
            raise cannot_evaluate("an absence operator over what can be empty", hint="name what is to be absent")
        if self.counts_groups and any(isinstance(inner, Capture) for inner in walk(body)):
            raise cannot_evaluate("a group in an absence operator beside references", hint="write it as (?:...)")
        by_length = absent_lengths(body)
        if by_length is None:
            hint = "each alternative in it has one length, of at most 64 characters, the shorter first: (?~a|bc)"
            raise cannot_evaluate("an absence operator over what has no fixed length", hint=hint)
        return spell_out(
            {length: "|".join(self.part(branch) for branch in branches) for length, branches in by_length.items()}
        )

    def conditional(self, node: Conditional) -> str:
        if node.by_name and len(self.tree.names[node.by_name]) > 1:
            raise cannot_evaluate(f"a condition on <{node.by_name}>, which names several groups")
        bare = isinstance(node.yes, CodeClass | PropertyClass) and node.yes.ignore_case
        if node.no is None and bare and not self.tree.is_ascii:
            raise cannot_evaluate("a condition on a bare class that ignores case", hint="name both branches")
        condition = f"<{self.aliases[node.by_name]}>" if node.by_name else str(node.number)
        no = "" if node.no is None else "|" + self.unit(node.no)
        return f"(?({condition}){self.unit(node.yes)}{no})"

    def backref(self, node: Backref) -> str:
        target = self.aliases[node.name] if node.name else str(node.numbers[0])
        level = "" if node.level is None else f"{node.level:+d}"
        reference = f"\\k<{target}{level}>"
        return f"(?i:{reference})" if node.ignore_case else reference

    def code_class(self, node: CodeClass) -> str:
        if not node.ignore_case:
            return _brackets(node.members, negated=node.negated)
        if node.members.only_char and not node.negated:
            return f"(?i:{_escape(node.members.only_char)})"
        members = folded_class(node.members, node.across)
        if node.negated:
            return _brackets(members, negated=node.negated)
        texts = expansions(node.members)
        guard = _SOME_BEYOND_ASCII if self.tree.is_ascii else ""
        return f"(?:{_brackets(members)}|{guard}(?i:{'|'.join(texts)}))" if texts else _brackets(members)

    def property_class(self, node: PropertyClass) -> str:
        if node.entangled:
            raise cannot_evaluate(
                "\\w or an ASCII class beside a property in one negated or intersected class that ignores case",
                hint="write the alternatives apart: (?:[...]|[...])",
            )
        members = _union(node.members)
        if node.ignore_case and not ((self.tree.is_ascii or node.members.negated) and is_case_closed(node.members)):
            members = self.folded_properties(node.members)
        if node.limited is None:
            return members
        limited = node.limited if node.ignore_case else CodeClass(node.limited.members, node.limited.across)
        return f"(?:{members}|{self.code_class(limited)})"

    def folded_properties(self, union: Union) -> str:
        """A class with properties where case is ignored. Oniguruma folds it in full; Ruby never into Latin-1."""
        inside = _union(replace(union, negated=False))
        outside = _union(replace(union, negated=True))
        latin_1 = _brackets(LATIN_1)
        if union.negated:
            return f"(?:(?!{inside})(?:{latin_1}|(?i:{outside})))"
        # The sharp s is matched as what `ss` folds to.
        several = f"(?!{_brackets(LATIN_1 - CharSet.chars('ß'))})(?i:{inside})"
        if self.tree.is_ascii:
            return f"(?:{inside}|{_SOME_BEYOND_ASCII}{several}|(?!(?i:{outside}))(?!{latin_1})(?m:.))"
        return f"(?:{inside}|{several})"


def _escape(text: str) -> str:
    out = []
    for char in text:
        if char in _META:
            out.append("\\" + char)
        elif char < " " or char == "\x7f":
            out.append(f"\\x{ord(char):02X}")
        else:
            out.append(char)
    return "".join(out)


def _code(code: int) -> str:
    if code < 0x80:
        char = chr(code)
        return char if char.isalnum() else f"\\x{code:02X}"
    return f"\\x{{{code:X}}}"


def _ranges(members: CharSet) -> str:
    return "".join(_code(low) if low == high else f"{_code(low)}-{_code(high)}" for low, high in members.ranges)


def _brackets(members: CharSet, *, negated: bool = False) -> str:
    if not members:
        members, negated = ~members, not negated
    return f"[{'^' if negated else ''}{_ranges(members)}]"


def _union(union: Union) -> str:
    inner = ""
    for part in union.parts:
        match part:
            case CharSet():
                inner += _ranges(part)
            case Property(name, negated):
                inner += f"\\{'P' if negated else 'p'}{{{name}}}"
            case Union():
                inner += _union(part)
    if not inner:
        inner = "^" + _ranges(~CharSet())
    for other in union.intersected:
        inner = f"[{inner}]&&{_union(other)}"
    return f"[^[{inner}]]" if union.negated else f"[{inner}]"


def _looks_behind(node: Node) -> bool:
    match node:
        case Absence() | Look(ahead=False) | Anchor(ascii_only=True):
            return True
        case _:
            return False


def _ascii_boundary(negated: bool) -> str:
    word = _brackets(WORD)
    if negated:
        return f"(?:(?<={word})(?={word})|(?<!{word})(?!{word}))"
    return f"(?:(?<={word})(?!{word})|(?<!{word})(?={word}))"
