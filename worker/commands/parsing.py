"""What all commands share of reading the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias


class Parser(argparse.ArgumentParser):
    """Takes SOURCE and DESTINATION wherever they stand among the options, though both may be left out."""

    _intermixed = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - overloaded
        """See argparse: it gives up on an optional positional at the first option that follows."""
        if self._intermixed or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._intermixed = True
        return self.parse_known_intermixed_args(args, namespace)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - it has no other name


def add(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
) -> argparse.ArgumentParser:
    """Add a command; `summary` is its line in the list of commands."""
    command = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
    )
    command.set_defaults(run=run)
    return command
