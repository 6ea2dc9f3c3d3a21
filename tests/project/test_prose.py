"""The texts of netconsd/, modules/ and docs/ keep the rules of plain English that a machine can check."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHAT_PER_1000_WORDS = 3.0

# Regular expressions without a use in plain English, each with its replacement. They match in any case, and a blank
# matches any white space.
DIALECT = {
    r"\banew\b": "again, new",
    r"\blately\b": "recently",
    r"\blest\b": "so that ... not",
    r"\bas ever\b": "as before",
    r"\bbut for\b": "except",
    r"\bsave for\b": "except",
    r"[,;(] nor\b": "and not",
    r", too(?=[.;:)]|$)": "also, before the verb",
    r"\bof which the (first|last)\b": "a sentence of its own",
    r"\b(whence|whither|thereof|whereof|hitherto|thereby)\b": "today's words",
    r"\bdeaf\b": "does not receive",
    r"\bpatient(ly)?\b": "waits",
    r"\bunheard\b": "not processed",
    r"\bshed(s|ding)?\b": "dropped",
    r"\b(am|is|are|was|were|be|been|not|unless|if|when) told\b": "receives, knows, by default",
    r"\b(is|are|was|were|be) let go\b": "is delivered, is dropped",
    r"\bnot get on\b|\bgets on\b": "is stuck, makes progress",
    r"\bcomes? to (its|their|an) end\b": "ends, returns",
    r"\b[a-z]+\(s\)": "1 message, 2 messages",
}


@cache
def files() -> tuple[Path, ...]:
    """The files whose prose is checked; netconsd/modules, a link to modules/, is not followed."""
    code = [
        file
        for folder in ("netconsd", "modules")
        for suffix in ("py", "pyx", "pxd", "pyi")
        for file in sorted((ROOT / folder).rglob(f"*.{suffix}"))
        if not file.is_relative_to(ROOT / "netconsd/modules")
    ]
    pages = (ROOT / page for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"))
    return (*code, *sorted((ROOT / "docs").glob("*.rst")), *pages)


def name(file: Path) -> str:
    """The file's path in the checkout."""
    return file.relative_to(ROOT).as_posix()


@cache
def prose(file: Path) -> tuple[str, ...]:
    """The texts of a file: docstrings, comments and strings with blanks; of a page, all but code and literals."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".rst":
        return (without_code(text),)
    if file.suffix == ".md":
        return (re.sub(r"```.*?```|`[^`\n]*`", " ", text, flags=re.DOTALL),)
    if file.suffix in (".pyx", ".pxd"):
        comments = "\n".join(re.findall(r"#:? ?(.*)", text))
        return (comments, *re.findall(r'"""(.*?)"""', text, re.DOTALL))
    comments = "\n".join(
        token.string.lstrip("#: ")
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    )
    strings = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
    return (comments, *(string for string in strings if isinstance(string, str) and " " in string))


def without_code(text: str) -> str:
    """A page in reStructuredText without its literal blocks, directives and literals."""
    lines: list[str] = []
    indent: int | None = None
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if indent is not None and line.strip() and depth <= indent:
            indent = None
        if re.match(r"\s*\.\. [\w-]+::", line):
            indent = depth
        if indent is None:
            lines.append(line)
    return re.sub(r"`[^`]*`", " ", "\n".join(lines))


def docstrings(file: Path) -> Iterator[str]:
    """The docstrings of a file, those of attributes included."""
    text = file.read_text(encoding="utf-8")
    if file.suffix in (".pyx", ".pxd"):
        yield from re.findall(r'"""(.*?)"""', text, re.DOTALL)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


@pytest.mark.parametrize("file", [file for file in files() if file.suffix.startswith(".py")], ids=name)
def test_no_docstring_begins_with_a_question_word(file: Path) -> None:
    """A docstring begins with a verb or with the thing itself, never with What, How or Whether."""
    beginnings = [text.strip().partition("\n")[0] for text in docstrings(file)]
    assert [line for line in beginnings if re.match(r"(What|How|Whether)\b", line)] == []


def test_what_is_rare() -> None:
    """The word "what" is at most 3 of 1,000 words of all prose together; a failure names the worst files."""
    words = whats = 0
    rates = []
    for file in files():
        text = " ".join(prose(file))
        here, count = len(re.findall(r"[A-Za-z']+", text)), len(re.findall(r"\bwhat\b", text, re.IGNORECASE))
        words += here
        whats += count
        rates.append((count, f"{name(file)}: {count} of {here} words"))
    worst = [line for _, line in sorted(rates, reverse=True)[:15]]
    assert 1000 * whats <= WHAT_PER_1000_WORDS * words, f"{whats} of {words} words; {'; '.join(worst)}"


@pytest.mark.parametrize("pattern", DIALECT)
def test_no_dialect(pattern: str) -> None:
    """No text has a phrase of the dialect; a failure names the files and the replacement."""
    phrase = re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE)
    counts = {name(file): sum(len(phrase.findall(text)) for text in prose(file)) for file in files()}
    assert {place: count for place, count in counts.items() if count} == {}, f"instead: {DIALECT[pattern]}"
