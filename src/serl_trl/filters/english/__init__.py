"""Filters that read English: quality, pictures that are missing, answers given away."""
