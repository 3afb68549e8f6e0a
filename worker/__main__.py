"""The `fleetcopy` command: reads the command line, runs a command, and turns errors into exit codes."""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import sys

from worker.commands import copy, plan, release, settings, submit, uploads, verify, work
from worker.commands import list as listing
from worker.commands.parsing import Parser
from worker.core import errors
from worker.flow import child, supervise

_EPILOG = """exit status:
  0    done; a drained worker too
  1    differences, or objects that were not copied
  2    usage: an option, a setting, a listing file, or an output that cannot be written
  3    permission or configuration
  4    a service is unavailable
  130  interrupted: a copy before all was there, a worker by a second signal, any other command
"""


def exit_code(error: BaseException) -> int:
    """The one place that turns errors into exit codes."""
    match error:
        case errors.UsageError() | OSError():
            return 2
        case errors.ConfigurationError():
            return 3
        case errors.ServiceUnavailableError() | errors.WorkerCrashedError():
            return 4
        case supervise.Interrupted() | KeyboardInterrupt():
            return 130
        case _:
            return 1


def main() -> None:
    """Run the command line; never returns."""
    child.look_for_garbage_seldom()
    try:
        options = _parser().parse_args()
        code = options.run(options)
        sys.stdout.flush()
        sys.exit(code)
    except (errors.FleetcopyError, supervise.Interrupted, KeyboardInterrupt) as error:
        print(f"fleetcopy: {str(error) or 'interrupted'}", file=sys.stderr)
        sys.exit(exit_code(error))
    except BrokenPipeError:
        sys.exit(1)  # the reader of our output is gone, and there is nobody to tell
    except OSError as error:
        sys.stdout = None  # what it still holds cannot be written either
        print(f"fleetcopy: {error}", file=sys.stderr)
        sys.exit(exit_code(error))
    finally:
        # At its end the interpreter looks through all that botocore loaded for garbage: a tenth of a second.
        gc.freeze()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fleetcopy",
        description="Moves S3 buckets that are too big, too far or too fenced-off for aws s3 sync.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    version = importlib.metadata.version("fleetcopy")
    parser.add_argument("--version", action="version", version=f"fleetcopy {version}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Parser)
    for command in (listing, plan, copy, submit, work, verify, uploads, release, settings):
        command.offer(commands)
    return parser


if __name__ == "__main__":
    main()
