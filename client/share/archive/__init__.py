"""Several files as one zip archive: its layout, packing during the upload, and unpacking."""
