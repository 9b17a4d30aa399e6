"""One arm in a process: `python -m benchmarks.arms NAME MODEL THREADS DEVICE`, JSON lines in, JSON lines out."""

import json
import os
import sys
import traceback

from gesso.cli.boundary import prepare_process


def main() -> None:
    """Serve commands until the input ends. Whatever libraries print goes to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    prepare_process()
    from benchmarks.arms.kinds import start

    name, model, threads, device = sys.argv[1:]
    arm = start(name, model, threads=int(threads), device=device)

    from benchmarks.arms.serve import serve

    try:
        print(json.dumps({"ok": True}), file=answers)
        for line in sys.stdin:
            try:
                answer = {"ok": True, **serve(arm, json.loads(line))}
            except Exception as error:  # the boundary: told to the benchmark, which stops
                traceback.print_exception(error)
                answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers)
    finally:
        arm.close()


if __name__ == "__main__":
    main()
