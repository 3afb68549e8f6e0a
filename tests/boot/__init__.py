"""A real boot: the stack's user data on a Debian machine under systemd-nspawn, interrupted like an instance.

`python -m tests.boot`, as root, makes the machine's root once, then runs this folder's tests in namespaces of
their own. Nothing there can reach a network, and the kernel ends and unmounts all of it with the run.
"""

ROOT_FOLDER = "FLEETCOPY_TEST_ROOT"
"""Environment variable that tells the tests where the machines' root is."""

RELEASE_FOLDER = "FLEETCOPY_TEST_RELEASE"
"""Environment variable that tells them where the release is that an instance installs."""
