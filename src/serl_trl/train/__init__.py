"""The trainer over TRL: config, policy, saving, stopping."""
