"""The `gesso` command. Every command imports what it needs when it runs, so that help costs next to nothing."""

import sys


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    from gesso.cli.boundary import prepare_process, run

    prepare_process()
    sys.exit(run(sys.argv[1:]))
