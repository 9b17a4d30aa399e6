"""Processes that are forked begin and end as others do: a test that fails in one must not pass in the other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = {
    "arguments, folder, environment": "import os, sys; print(sys.argv, os.getcwd(), os.environ['MARK'])",
    "stdin": "import sys; print(sys.stdin.read()[::-1])",
    "streams": "import sys; print('out'); print('err', file=sys.stderr)",
    "a code": "import sys; sys.exit(3)",
    "words": "import sys; sys.exit('words')",
    "a signal": "import os; os.kill(os.getpid(), 9)",
    "threads, then what was registered": """
import atexit, threading
atexit.register(print, "registered")
threading.Timer(0.1, print, ["thread"]).start()
print("main")
""",
}


def ended(python: list[str], program: list[str]) -> tuple[int, str, str]:
    environment = {**os.environ, "MARK": "here"}
    command = [*python, *program, "one", "two words"]
    ran = subprocess.run(command, env=environment, input="given", capture_output=True, text=True, timeout=60)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize("what", PROGRAMS)
def test_a_forked_program_does_and_ends_as_a_real_one(what: str, forked_python: list[str]) -> None:
    program = ["-c", PROGRAMS[what]]
    assert ended(forked_python, program) == ended([sys.executable], program)


def test_a_forked_file_does_and_ends_as_a_real_one(forked_python: list[str], tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("word = 'imported'")
    (tmp_path / "program.py").write_text("import beside, sys; print(beside.word, __name__, sys.argv); sys.exit(4)")
    program = [str(tmp_path / "program.py")]
    assert ended(forked_python, program) == ended([sys.executable], program)


def test_a_forked_program_that_fails_says_why(forked_python: list[str]) -> None:
    code, out, err = ended(forked_python, ["-c", "1 / 0"])
    assert (code, out, err.splitlines()[-1]) == (1, "", "ZeroDivisionError: division by zero")


def test_a_forked_command_imports_the_package_itself_and_finds_its_libraries_imported(forked_python: list[str]) -> None:
    program = "import sys; print('torch' in sys.modules, [name for name in sys.modules if name.startswith('gesso')])"
    assert ended(forked_python, ["-c", program])[1] == "True []\n"
