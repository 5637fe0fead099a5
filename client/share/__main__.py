"""The entry point of the command `share`, and of `python -m share`."""

from __future__ import annotations

from share.arguments import hide_secrets


def main() -> None:
    # Before the other imports, which take a while.
    hide_secrets()
    from share.commands import main as run

    run()


if __name__ == "__main__":
    main()
