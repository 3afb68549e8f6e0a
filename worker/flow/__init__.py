"""Sequence: the few loops and threads, each of which asks `core` what to do and `aws` to do it."""
