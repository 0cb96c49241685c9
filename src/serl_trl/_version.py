"""The version, read by the build and by whatever writes it down."""

__version__ = "0.1.0"
