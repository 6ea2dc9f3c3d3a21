"""The files of the pages: their size and form, their types, and the modules that need no browser."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from tests.console.tools import HERE, STATIC, need, run, with_declarations, workshop

# What the browser loads at most, compressed.
BYTES = 120 * 1024
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
OURS = [path for path in FILES if path.parent.name != "vendor"]


def test_the_pages_are_at_most_120_kb_compressed() -> None:
    """All files together, licences included, have at most 120 KiB with gzip."""
    assert sum(len(gzip.compress(path.read_bytes(), 9, mtime=0)) for path in FILES) <= BYTES


def test_the_pages_have_nothing_inline_and_nothing_from_elsewhere() -> None:
    """The Content-Security-Policy has no exception: no inline script, style or handler, and no other host."""
    index = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:|https?://", index)
    for path in OURS:
        text = path.read_text()
        # The name of SVG's namespace is no address.
        assert not re.search(r"(?:src|href)=[\"']?https?://|url\(|@import|import\([\"']https?:", text), path
    for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', index):
        assert (STATIC / name.removeprefix("/static/")).is_file(), name


def test_every_module_is_reachable_and_imports_what_exists() -> None:
    """From app.js each module is imported, but for the one that runs before the first paint."""
    seen: set[Path] = set()
    left = [STATIC.resolve() / "js" / "app.js"]
    while left:
        path = left.pop()
        if path in seen:
            continue
        seen.add(path)
        names = re.findall(r'^(?:import|\} from|export .* from)\b.*?"(\.[^"]+)"', path.read_text(), re.MULTILINE)
        left += [(path.parent / name).resolve() for name in names]
    # Without the links, a browser finds them one import after the other.
    linked = set(re.findall(r'rel="modulepreload" href="/static/([^"]+)"', (STATIC / "index.html").read_text()))
    assert linked == {path.relative_to(STATIC.resolve()).as_posix() for path in seen} - {"js/app.js"}
    modules = {path for path in OURS if path.suffix == ".js"} - {STATIC / "js" / "theme.js", STATIC / "js" / "types.js"}
    assert modules <= {path.resolve() for path in seen}
    assert all(path.is_file() for path in seen)


def test_each_library_has_its_licence() -> None:
    """Preact is within htm's file."""
    licences = {path.stem for path in FILES if path.suffix == ".LICENSE"}
    assert licences == {"htm", "preact", "signals-core", "uplot"}
    libraries = {path.name for path in FILES if path.parent.name == "vendor" and path.suffix == ".js"}
    assert libraries == {"htm-preact.js", "signals-core.js", "uplot.js"}


@pytest.mark.slow
def test_modules_without_a_browser(tmp_path: Path) -> None:
    """Escaping, filters, routes, formats, the virtual list, the ring, the stream: Node's own test runner."""
    need("node")
    tests = [path.name for path in sorted(HERE.glob("*.test.mjs"))]
    assert "# fail 0" in run("node", "--test", "--test-reporter=tap", *tests, cwd=workshop(tmp_path / "shop"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_types_and_rules(tmp_path: Path) -> None:
    """The checkers tsc (strict, --checkJs) and eslint find nothing."""
    need("node", "npm packages")
    shop = with_declarations(workshop(tmp_path / "shop"))
    run("node", "node_modules/typescript/bin/tsc", "-p", "tsconfig.json", cwd=shop)
    run("node", "node_modules/eslint/bin/eslint.js", "js", cwd=shop)
