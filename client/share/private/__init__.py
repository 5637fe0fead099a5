"""Private links: files that are encrypted before they are sent. docs/private-links.md describes the format.

Only these modules need `cryptography`, and other modules import them only when a private link is used.
"""
