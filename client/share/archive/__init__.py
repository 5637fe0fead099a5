"""Many files as one zip archive: its layout, packing while it is sent, and unpacking."""
