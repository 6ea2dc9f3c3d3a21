"""Sphinx: sphinx-build -W -b html docs docs/_build."""

from __future__ import annotations

import sys
from pathlib import Path

from docutils import nodes  # type: ignore[import-untyped] # docutils has no annotations
from sphinx.application import Sphinx
from sphinx.util import logging

# The checkout, whether it is installed or not.
sys.path.insert(0, str(Path(__file__).parents[1]))

from netconsd import __version__

project = "netconsd"
author = "the netconsd authors"
copyright = author
version = release = __version__

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
nitpicky = False
default_role = "literal"
highlight_language = "text"
# Typographic quotes and dashes would turn --port into an en dash and "port".
smartquotes = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
add_module_names = False

html_theme = "alabaster"
html_theme_options = {
    "description": "Kernel logs in, output modules out",
    "fixed_sidebar": True,
    "page_width": "1100px",
    "show_powered_by": False,
}
html_show_sourcelink = False

# sphinx-build -W -b man docs DIRECTORY. The pages are in the HTML as well.
man_pages: list[tuple[str, str, str, list[str], int]] = [
    ("man/netconsd", "netconsd", "receive the kernel logs of Linux machines", [], 8),
    ("man/netconsd-client", "netconsd-client", "make a machine send its kernel log to netconsd", [], 1),
    ("man/netconsd-crashes", "netconsd-crashes", "find the crashes in logs of Linux kernels", [], 1),
    ("man/netconsd-replay", "netconsd-replay", "send files of kernel logs into output modules", [], 1),
    ("man/netconsd-process", "netconsd-process", "take kernel messages out of a broker into output modules", [], 1),
    ("man/netconsd-log", "netconsd-log", "show stored kernel messages", [], 1),
    ("man/netconsd-console", "netconsd-console", "kernel messages of a fleet in a browser", [], 1),
    ("man/netconsd-hosts", "netconsd-hosts", "list the machines in a store of kernel messages", [], 1),
    ("man/netconsd-patterns", "netconsd-patterns", "group stored kernel messages by their form", [], 1),
    ("man/netconsd-lnav-format", "netconsd-lnav-format", "formats of netconsd's files for lnav", [], 1),
    ("man/netconsblaster", "netconsblaster", "load for a receiver of netconsole, from a whole fleet", [], 1),
    ("man/netcons-gen", "netcons-gen", "make messages as netconsole does, for tests", [], 1),
    ("man/ncrx", "ncrx", "print the kernel log that arrives at a port", [], 1),
    ("man/nctx", "nctx", "send the kernel log from user space, reliably", [], 1),
]


def link_pages(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Point a link such as ``options.rst`` or ``clients.rst#nothing-arrives`` at the built page.

    Pages link to each other by the names of the files, so that the links also work on a file host and in an editor. A
    link to a page or an anchor that does not exist is a warning, which ``sphinx-build -W`` turns into an error.
    """
    for link in doctree.findall(nodes.reference):
        page, suffix, anchor = link.get("refuri", "").partition(".rst")
        if not suffix or ":" in page:
            continue
        if page not in app.env.found_docs:
            logging.getLogger(__name__).warning("there is no page %s.rst", page, location=link)
        elif anchor and anchor.removeprefix("#") not in app.env.get_doctree(page).ids:
            logging.getLogger(__name__).warning("%s.rst has no anchor %s", page, anchor, location=link)
        else:
            link["refuri"] = app.builder.get_relative_uri(docname, page) + anchor


def setup(app: Sphinx) -> None:
    """Register :func:`link_pages`."""
    app.connect("doctree-resolved", link_pages)
