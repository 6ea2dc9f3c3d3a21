"""``python -m netconsd``."""

from netconsd.cli.main import main

raise SystemExit(main())
