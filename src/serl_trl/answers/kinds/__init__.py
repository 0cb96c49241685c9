"""What an answer may be: how each kind is found in a completion, written one way and compared."""
