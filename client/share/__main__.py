"""The entry point of the command `share`, and of `python -m share`."""

from __future__ import annotations

import sys

from share.arguments import hide_secrets


def main() -> None:
    try:
        # Before the other imports, which take a while.
        hide_secrets()
        from share.commands import main as run

        run()
    except KeyboardInterrupt:
        # Commands say more, but this one had not begun.
        sys.exit(130)


if __name__ == "__main__":
    main()
