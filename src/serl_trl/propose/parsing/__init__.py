"""Proposals read out of what the proposer wrote."""
