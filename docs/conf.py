"""Sphinx: sphinx-build -W -b html docs docs/_build."""

from __future__ import annotations

import sys
from pathlib import Path

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
# Quotes and dashes stay as they are typed: "--port" must not become a long dash.
smartquotes = False

# Names of the standard library and of Twisted as they are written in the code.
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
    ("man/netconsblaster", "netconsblaster", "load for a receiver of netconsole, from a whole fleet", [], 1),
    ("man/netcons-gen", "netcons-gen", "make messages as netconsole does, for tests", [], 1),
    ("man/ncrx", "ncrx", "print the kernel log that arrives at a port", [], 1),
    ("man/nctx", "nctx", "send the kernel log from user space, reliably", [], 1),
]
