"""The `gesso` command. Every command imports what it needs when it runs, so that help costs next to nothing."""

import sys


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    try:
        from gesso.cli.boundary import prepare_process, run

        prepare_process()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before there was anything to report it, or while it was being reported
        code = 130
    sys.exit(code)
