"""The tests, the embedded AWS they run on (`tests.cloud`), and the demo (`tests.demo`)."""
