"""`fleetcopy config`: the settings, and where each comes from."""

from __future__ import annotations

import argparse

from worker import config
from worker.commands.parsing import Commands, add
from worker.core.settings import SETTINGS, SETTINGS_OF_WORK, shown


def offer(commands: Commands) -> None:
    """Offer the command."""
    command = add(commands, "config", _show, "show the settings, and where each comes from")
    config.add_endpoints(command)
    config.add_copies(command)
    for setting in SETTINGS_OF_WORK:
        config.add_option(command, setting.name)


def _show(options: argparse.Namespace) -> int:
    found = [(setting, config.resolve(options, setting.name)) for setting in SETTINGS]
    for setting, value in found:
        print(f"{setting.name:25} {shown(value.value):8} {value.origin:8} {setting.variable}")
    return 0
