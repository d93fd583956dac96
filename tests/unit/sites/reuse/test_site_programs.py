# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a location says of programs and files that jobs use without owning them, in every shell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_hybrid.sites.reuse.programs import LARGEST, look_command, parse_look
from tests.raising import raising
from tests.unit.sites.shell_hosts import EVERY_SHELL, ShellHost


@pytest.mark.parametrize("shell", EVERY_SHELL)
async def test_names_are_looked_up_as_a_shell_would(tmp_path: Path, shell: str) -> None:
    programs, task = tmp_path / "my bin's", tmp_path / "task $x"
    programs.mkdir()
    for name, text, mode in (
        ("tool", "#!/opt/language -x\n", 0o755),
        ("script", f"#!/usr/bin/env -S tool\n{'x' * 70_000}", 0o755),
        ("binary", "\0\1\2#!", 0o755),
        ("text", "no program", 0o644),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(mode)
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, LARGEST + 1)
    (task / "a1-x").mkdir(parents=True)
    (task / "a1-x" / "manifest").write_text("00000-a\n00001-b\n")
    words = "".join(f"w {word}\n" for word in ("tool", "script", "binary", "text", "nothing"))
    commands = "".join(f"c {word}\n" for word in ("tool", "cd", "if", "nothing"))
    paths = "".join(f"p {path}\n" for path in (programs, programs / "script", large, tmp_path / "nothing"))
    path = f"{programs}:/usr/bin:/bin"
    answer = await ShellHost(shell).run(
        look_command(path, ["LANG", "HOME"], str(task)), stdin=(words + commands + paths).encode(), label="look"
    )
    look = parse_look(answer.stdout)
    assert look.begun >= {"00000-a", "00001-b"}
    assert [line.partition("=")[0] for line in look.environment[1:]] == ["LANG", "HOME"]
    assert look.programs == {name: f"{programs}/{name}" for name in ("tool", "script", "binary")}
    assert look.commands == {"tool", "cd", "if"}
    assert look.files == {str(programs / "script"), str(large)}
    assert look.unknown == {str(programs), str(large)}
    assert {path: set(runs) for path, runs in look.interpreters.items()} == {
        str(programs / "tool"): {"/opt/language"},
        str(programs / "script"): {"/usr/bin/env", f"{programs}/tool"},
    }


@pytest.mark.parametrize("answer", [b"", b"#environment\n0022\n", b"#environment\n0022\n\n#found\nw a\t/a\n"])
def test_an_answer_that_was_cut_off_tells_nothing(answer: bytes) -> None:
    with raising(ValueError, "the answer was cut off"):
        parse_look(answer)
