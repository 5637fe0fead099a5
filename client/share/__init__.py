"""The command-line client: send files, fetch them, and look after them. `share --help` describes it.

What a broken transfer needs in order to go on is on disk before the first byte moves, so a process may end anywhere.
"""
