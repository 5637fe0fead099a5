"""`python -m share`."""

from share.commands import main

if __name__ == "__main__":
    main()
