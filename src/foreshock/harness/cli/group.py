"""The ``foreshock`` command: one wrapper around every sub-command, so that exit codes and messages are ours.

Sub-commands are imported when they are called and not before: ``foreshock --help`` and completion stay quick.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import sys
from typing import Any

import click
import msgspec
from click.shell_completion import CompletionItem

from foreshock.harness.blame import describe
from foreshock.harness.broken_pipe import (
    open_missing_streams,
    reader_may_leave,
    silence_stdout,
    spell_out_what_cannot_be_encoded,
)
from foreshock.harness.errors import ForeshockError, UsageError
from foreshock.harness.options import nearest
from foreshock.harness.verdict import ExitCode

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""How a full or broken place in which stdout ends answers."""
COMPLETES = "_FORESHOCK_COMPLETE"
"""The variable by which a shell asks click to complete a word."""
COMMANDS: dict[str, tuple[str, str]] = {
    "test": ("foreshock.harness.cli.test", "Run one test: deploy, break, record, decide, report."),
    "campaign": (
        "foreshock.harness.cli.campaign",
        "Run the many tests that a file asks for, and go on where it was.",
    ),
    "zoo": (
        "foreshock.harness.cli.zoo",
        "Find every planted bug, and hold every correct target to its promises.",
    ),
    "hunt": ("foreshock.harness.cli.hunt", "Run a test in the simulator with seeds by the thousand."),
    "replay": ("foreshock.harness.cli.replay", "Run a stored run again: in the simulator byte for byte."),
    "shrink": ("foreshock.harness.cli.shrink", "Find the least test that still fails as a run did."),
    "check": ("foreshock.harness.cli.check", "Decide histories that any tool recorded."),
    "convert": ("foreshock.harness.cli.convert", "Write a history in another format."),
    "analyze": (
        "foreshock.harness.cli.analyze",
        "Check a stored run again, also one whose harness was killed.",
    ),
    "report": ("foreshock.harness.cli.report", "Render the reports of a stored run again."),
    "serve": ("foreshock.harness.cli.serve", "Show the store in a browser, also while tests run."),
    "compare": ("foreshock.harness.cli.compare", "Show what differs between two runs, or two campaigns."),
    "new-target": (
        "foreshock.harness.cli.new_target",
        "Write a target of your own, which works as it stands, and its test.",
    ),
    "list": (
        "foreshock.harness.cli.list",
        "Show targets, workloads, nemeses, backends, bugs, runs and campaigns.",
    ),
    "doctor": ("foreshock.harness.cli.doctor", "Say what this machine can do, and what mends the rest."),
    "heal": ("foreshock.harness.cli.heal", "Undo the faults that a dead run left."),
    "clean": ("foreshock.harness.cli.clean", "Remove what dead runs left: containers, networks, processes."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called; a wrong name answers with the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which a person meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and take its ``command``."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        command.name = cmd_name  # in place of its function's
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the commands' names without importing any of them."""
        found = [
            CompletionItem(n, help=text) for n, (_, text) in COMMANDS.items() if n.startswith(incomplete)
        ]
        return found or super(click.Group, self).shell_complete(ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but with our hint."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise UsageError(f"there is no command {args[0]!r}{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from foreshock import __version__

        click.echo(f"foreshock {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="\b\nTry: foreshock test --target raft --workload lock --nemesis partition,kill --time-limit 30",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show it."
)
def cli() -> None:
    """Break a cluster on purpose, record what its clients saw, and prove whether that was correct.

    Exit codes: 0 valid, 1 invalid, 2 unknown, 3 harness error, 4 usage, 130 interrupted.
    """


def run(arguments: list[str] | None = None) -> int:
    """Run a command line; returns its exit code. The only place where exceptions become messages."""
    given = sys.argv[1:] if arguments is None else arguments
    open_missing_streams()
    spell_out_what_cannot_be_encoded()
    try:
        result = cli.main(args=given, prog_name="foreshock", standalone_mode=False)
        with reader_may_leave():
            sys.stdout.flush()
        return int(result or 0)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        hint = f"\nTry: {error.ctx.command_path} --help" if error.ctx else ""
        return _say(given, ExitCode.USAGE, error.format_message(), hint)
    except UsageError as error:
        return _say(given, ExitCode.USAGE, str(error))
    except click.ClickException as error:
        return _say(given, ExitCode.USAGE, error.format_message())
    except ForeshockError as error:
        return _say(given, ExitCode.HARNESS_ERROR, str(error))
    except (KeyboardInterrupt, click.Abort):
        return _say(given, ExitCode.INTERRUPTED, "interrupted")
    except BrokenPipeError:
        silence_stdout()
        return int(ExitCode.VALID)
    except BaseException as error:  # the last resort, said with its traceback under -v
        if (
            isinstance(error, SystemExit) and COMPLETES in os.environ
        ):  # click ends so when it has completed a word
            raise
        return _say(given, ExitCode.HARNESS_ERROR, _unexpected(error, given))


def _unexpected(error: BaseException, arguments: list[str]) -> str:
    """What is no mistake of the user's. It must not reach Python, whose exit code is 1, and 1 means invalid."""
    if isinstance(error, SystemExit):
        return f"a plug-in ended the program: {describe(error)}"
    if isinstance(error, OSError) and error.errno in UNWRITABLE and error.filename is None:
        return f"what was to be said cannot be written: {error.strerror}"
    log = logging.getLogger("foreshock")
    told = "-v" in arguments or "--verbose" in arguments
    log.log(logging.ERROR if told else logging.DEBUG, "unexpected", exc_info=error)
    return f"unexpected {describe(error)} (run with -v for the traceback)"


def _say(arguments: list[str], code: ExitCode, text: str, hint: str = "") -> int:
    if "--json" in arguments or os.environ.get("FORESHOCK_JSON", "").lower() in (
        "1",
        "true",
        "yes",
        "on",
        "t",
        "y",
    ):
        document: dict[str, Any] = {"verdict": "unknown", "exit": int(code), "error": text}
        with contextlib.suppress(OSError):  # a full disk, a reader who left: the exit code still says it
            sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
            sys.stdout.flush()
    with contextlib.suppress(OSError):
        sys.stderr.write(f"foreshock: {text}{hint}\n")
    return int(code)
