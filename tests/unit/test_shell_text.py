# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The package's files of shell text: every shell of a site can read them, and what is sent means what the file says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import airflow_hybrid
from airflow_hybrid import shell_text
from tests.needs import SHELLS, posix_shell

PACKAGE = Path(airflow_hybrid.__file__).parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.sh"))


def of(file: str) -> str:
    """What is sent of a file, its marks included."""
    return shell_text.minified((PACKAGE / file).read_text())


def meaning(text: str) -> str:
    """Shell text as shfmt writes it shortest: without comments and whatever else means nothing."""
    shfmt = Path(sys.executable).with_name("shfmt")
    done = subprocess.run([shfmt, "-ln=posix", "-mn"], input=text, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


def test_a_file_is_found_beside_its_module() -> None:
    assert shell_text.load("airflow_hybrid.removal", "functions.sh") == of("removal/shell/functions.sh")


@pytest.mark.parametrize("file", FILES)
def test_what_is_sent_of_a_file_means_what_the_file_says(file: str) -> None:
    assert meaning(of(file)) == meaning((PACKAGE / file).read_text())


@pytest.mark.parametrize("file", FILES)
def test_what_is_sent_of_a_file_is_only_shell_text(file: str) -> None:
    sent = of(file)
    assert sent == shell_text.minified(sent)
    assert len(sent) < len((PACKAGE / file).read_text())


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("file", FILES)
def test_every_shell_can_read_every_file(file: str, shell: str) -> None:
    # read as a whole, and not done (ksh's -n has opinions of its own)
    text = f"if false; then\n{of(file)}\nfi\necho read\n"
    done = subprocess.run([*posix_shell(shell), "-c", text], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "read\n", "")


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_what_it_does_and_what_its_marks_are(file: str) -> None:
    text = (PACKAGE / file).read_text()
    license_line, shellcheck, *header = text.partition("\n\n")[0].splitlines()
    assert license_line == "# Licensed under the Apache License, Version 2.0; see the LICENSE file."
    assert shellcheck == "# shellcheck shell=sh"
    said = "\n".join(header)
    assert header and all(line.startswith("#") for line in header)
    assert set(shell_text.marks(of(file))) == set(shell_text.marks(said))


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("# a\n\n  # b\necho 1 # c\n", "echo 1 # c\n"),
        ("if true; then\n    # why\n\n\techo 1\nfi\n", "if true; then\necho 1\nfi\n"),
        ("echo 'a\n  # b\n\nc'\n  echo 1\n", "echo 'a\n  # b\n\nc'\necho 1\n"),
        ('echo "a\n  # b\n\nc"\n  echo 1\n', 'echo "a\n  # b\n\nc"\necho 1\n'),
        ('echo "it\'s\n # one"\n # two\n', 'echo "it\'s\n # one"\n'),
        ("echo it\\'s\n # one\n", "echo it\\'s\n"),
        ("echo 1 # it's\n # one\n", "echo 1 # it's\n"),
        ("echo a \\\n    b\n    echo c\n", "echo a \\\n    b\necho c\n"),
        ("echo a\\\n    # b\n", "echo a\\\n    # b\n"),
        ("cat <<E\n  # a\n\n  b\nE\n  echo 1\n", "cat <<E\n  # a\n\n  b\nE\necho 1\n"),
        ("cat <<-'E'\n\t# a\n\t\tE\n  echo 1\n", "cat <<-'E'\n\t# a\n\t\tE\necho 1\n"),
        ("cat <<A <<\\B\n # a\nA\n # b\nB\n  echo 1\n", "cat <<A <<\\B\n # a\nA\n # b\nB\necho 1\n"),
        ('x="$(\n  # a\n  echo "b\n  # c"\n)"\n  echo 1\n', 'x="$(\necho "b\n  # c"\n)"\necho 1\n'),
        ('echo "$((1 + ${#x}))"\n  # a\n', 'echo "$((1 + ${#x}))"\n'),
        ('echo ${x##*/} $# "${x#"$y"}"\n  # a\n', 'echo ${x##*/} $# "${x#"$y"}"\n'),
        ("case $x in a) ;; b) echo '\n  # c' ;; esac\n  # d\n", "case $x in a) ;; b) echo '\n  # c' ;; esac\n"),
        ('x="$(case $x in (a) echo "\n # b" ;; esac)"\n # c\n', 'x="$(case $x in (a) echo "\n # b" ;; esac)"\n'),
        ("echo a#b ;# c\n  # d\necho 1", "echo a#b ;# c\necho 1"),
        ("", ""),
    ],
)
def test_only_what_means_nothing_is_left_out(text: str, sent: str) -> None:
    assert shell_text.minified(text) == sent
    assert meaning(sent) == meaning(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('echo "a\n', "a quote is not closed"),
        ('echo "$(echo a"\n', "a quote is not closed"),
        ("echo 'a\n", "a quote is not closed"),
        ("cat <<E\na\n", "the here-document that E ends is not closed"),
    ],
)
def test_text_that_is_not_whole_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        shell_text.minified(text)
    assert str(error.value) == message


def test_values_are_put_in_once() -> None:
    assert shell_text.fill("a @B@ @C_D@ @B@ e@f", {"B": "@C_D@", "C_D": "x"}) == "a @C_D@ x @C_D@ e@f"


def test_a_mark_without_a_value_and_a_value_without_a_mark_are_mistakes() -> None:
    with pytest.raises(ValueError) as error:
        shell_text.fill("@A@ @B@", {"B": "b"})
    assert str(error.value) == "there is no value for A"
    with pytest.raises(ValueError) as error:
        shell_text.fill("@A@", {"A": "a", "B": "b", "C": "c"})
    assert str(error.value) == "there is no mark for B, C"
