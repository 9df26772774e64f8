"""A tree as a pattern for Oniguruma 6.9.8 (Ruby syntax, UTF-8) that means there what the source means in Ruby 3.3.

Nothing of the source text is passed on: every option is written at the leaf it holds for, every class is spelled out,
groups get names of ours. Where the two engines are known to differ and no rewriting helps, PatternError says so.
"""

from __future__ import annotations

from dataclasses import replace

from flowd.patterns.charset import ASCII, WORD, CharSet
from flowd.patterns.folding import LATIN_1, expansions, folded_class, folds_with_several
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
    children,
    walk,
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
# Properties that hold every relative of what they hold, so that ignoring case changes nothing.
_CASE_CLOSED = frozenset(["alnum", "alpha", "blank", "cntrl", "digit", "graph", "print", "punct", "space", "word"])
# Under the absence operator the engines disagree about these.
_NOT_IN_ABSENCE = (Atomic, Look, Backref, Call, Absence, Conditional, Anchor, Linebreak, Grapheme)
_LINEBREAK = "(?>\\x0D\\x0A|[\\x0A-\\x0D\\x{85}\\x{2028}\\x{2029}])"


def to_reference(tree: Tree) -> str:
    """The pattern for Oniguruma, to be compiled without options."""
    if any(isinstance(node, Grapheme) for node in walk(tree.root)) and not _is_cluster_safe(tree.root):
        hint = "flowd takes it in a pattern that begins with ^ or \\A and has only plain characters beside"
        raise cannot_evaluate("\\X here", hint=hint)
    return _Writer(tree).whole()


def cannot_evaluate(what: str, offset: int = 0, *, hint: str = "") -> PatternError:
    """The error for what Ruby takes and flowd's engine would answer differently."""
    message = f"flowd cannot evaluate {what} as Ruby does"
    return PatternError(message, offset, hint=hint or "write the pattern without it")


class _Writer:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.aliases = {name: f"n{i}" for i, name in enumerate(tree.names)}
        self.whole_alias = "whole" if tree.names else "0"

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
                return "(?m:.)" if newline else "."
            case CodeClass():
                return self.code_class(node)
            case Property(name, negated):
                return f"\\{'P' if negated else 'p'}{{{name}}}"
            case PropertyClass():
                return self.property_class(node)
            case Anchor(kind, ascii_only):
                return _ascii_boundary(kind == "not_word") if ascii_only else _ANCHORS[kind]
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
            # Both engines write short repeats of a literal out before they fold it: `s{2}` takes the sharp s.
            plain = replace(node, body=replace(node.body, ignore_case=False))
            return f"(?i:{self.write(plain)})"
        body = self.unit(node.body)
        if _is_place(node.body):
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

    def look(self, node: Look) -> str:
        if not node.ahead:
            for inner in walk(node.body):
                if isinstance(inner, Look) or (isinstance(inner, Anchor) and inner.ascii_only):
                    raise cannot_evaluate("a look-behind inside a look-behind", hint="put the two side by side")
                if inner is node.body or not isinstance(inner, Literal) or not inner.ignore_case:
                    continue
                # Ruby refuses most of these, some of them only once it meets a value beyond ASCII.
                if folds_with_several(inner.text):
                    what = f"a look-behind for {inner.text!r} that ignores case"
                    raise cannot_evaluate(what, hint="one of its letters may be two")
        sign = ("=" if not node.negated else "!") if node.ahead else ("<=" if not node.negated else "<!")
        return f"(?{sign}{self.write(node.body)})"

    def absence(self, body: Node) -> str:
        for inner in walk(body):
            if isinstance(inner, _NOT_IN_ABSENCE):
                hint = "within (?~...) flowd takes characters, classes, alternatives and repeats"
                raise cannot_evaluate("this absence operator", hint=hint)
        if _can_be_empty(body):
            raise cannot_evaluate("an absence operator over what can be empty", hint="name what is to be absent")
        return f"(?~{self.unit(body)})"

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
        if node.ignore_case and not ((self.tree.is_ascii or node.members.negated) and _is_case_closed(node.members)):
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


def _can_be_empty(node: Node) -> bool:
    match node:
        case Repeat(body, low):
            return low == 0 or _can_be_empty(body)
        case Alternation(branches):
            return any(_can_be_empty(branch) for branch in branches)
        case Sequence(parts):
            return all(_can_be_empty(part) for part in parts)
        case Capture(body=body) | Options(body):
            return _can_be_empty(body)
        case _:
            return isinstance(node, Keep)


def _is_cluster_safe(root: Node) -> bool:
    """Whether every \\X starts where a grapheme cluster does: Oniguruma looks back over what came before, Ruby not."""
    if isinstance(root, Grapheme):
        return True
    while isinstance(root, Capture | Options):
        root = root.body
    if not isinstance(root, Sequence) or not isinstance(root.parts[0], Anchor):
        return False
    if root.parts[0].kind not in ("line_start", "text_start"):
        return False
    for node in walk(root):
        match node:
            case Literal(text, False) if text.isascii():
                continue
            case CodeClass(members, negated=False, ignore_case=False) if not members - ASCII:
                continue
            case Literal() | CodeClass() | AnyChar() | Property() | PropertyClass() | Absence() | Backref() | Look():
                return False
    return True


def _is_place(node: Node) -> bool:
    """Whether Oniguruma would see nothing but a place (or alternatives one of which is one) to repeat."""
    match node:
        case Anchor() | Look():
            return True
        case Options(body):
            return _is_place(body)
        case Alternation() | Sequence():
            return any(_is_place(child) for child in children(node))
        case _:
            return False


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


def _is_case_closed(union: Union) -> bool:
    return not union.intersected and all(
        (isinstance(part, Property) and part.name in _CASE_CLOSED) or (isinstance(part, CharSet) and not part)
        for part in union.parts
    )


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


def _ascii_boundary(negated: bool) -> str:
    word = _brackets(WORD)
    if negated:
        return f"(?:(?<={word})(?={word})|(?<!{word})(?!{word}))"
    return f"(?:(?<={word})(?!{word})|(?<!{word})(?={word}))"
