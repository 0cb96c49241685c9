"""Seed sets and the tables that they are read from."""
