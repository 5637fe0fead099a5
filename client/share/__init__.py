"""The command-line client for files and inboxes on a server. `share --help` describes it.

What a transfer needs to resume is on disk before the first byte moves, so the process can end at any point.
"""

__version__ = "0.1.0"
