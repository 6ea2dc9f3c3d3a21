"""``python -m netconsd``."""

from netconsd.cli import main

raise SystemExit(main())
