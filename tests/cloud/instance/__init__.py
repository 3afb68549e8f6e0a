"""What a machine of `tests.cloud.fleet` runs: its init, and stand-ins for the tools that ask it."""
