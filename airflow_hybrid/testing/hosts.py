# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The contract of a location: commands, bytes, streams, and where its files are."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
from collections.abc import AsyncIterator

import pytest

from airflow_hybrid.errors import CommandError
from airflow_hybrid.model import FileRef, Question
from airflow_hybrid.testing.site import Contract, Site, contract

EVERY_BYTE = bytes(range(256))
ODD_NAMES = (
    "two words",
    "o'clock",
    'a "quote"',
    "$HOME `id` \\n",
    "*?[a]",
    "-rf",
    "naïve ☃",
    "a\nb\tc",
    "semi;colon&more|less",
    b"not-utf8-\xff".decode(errors="surrogateescape"),
)


class HostContract(Contract):
    """What :class:`airflow_hybrid.sites.hosts.base.Host` promises, and a connector's folders."""

    @contract
    async def test_a_command_gives_stdout_stderr_and_its_exit_code(self, site: Site) -> None:
        result = await site.host.run("echo out; echo err >&2; exit 7")
        assert (result.stdout, result.stderr, result.exit_code) == (b"out\n", b"err\n", 7)

    @contract
    async def test_a_command_that_is_killed_gives_128_and_the_signal(self, site: Site) -> None:
        assert (await site.host.run("kill -9 $$")).exit_code == 128 + 9

    @contract
    async def test_a_command_is_run_by_a_posix_shell(self, site: Site) -> None:
        text = "a=1; b() { printf '%s|' \"$@\"; }; b $((a + 1)) \"$(printf 'x y')\" 'it'\\''s' \"$#\"\n"
        text += "case $a in 1) b z ;; esac"
        assert (await site.host.run(text)).out == "2|x y|it's|0|z|"

    @contract
    async def test_bytes_go_in_and_out_unchanged(self, site: Site) -> None:
        data = EVERY_BYTE * 4096 + b"\n\n\r\n"
        result = await site.host.run("cat", stdin=data)
        assert result.stdout == data

    @contract
    async def test_stdin_may_come_piece_by_piece(self, site: Site) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(50):
                yield EVERY_BYTE
                await asyncio.sleep(0)

        assert (await site.host.run("cat", stdin=pieces())).stdout == EVERY_BYTE * 50

    @contract
    async def test_without_stdin_a_command_reads_an_empty_one(self, site: Site) -> None:
        assert (await site.host.run("cat; echo end", timeout_s=30)).out == "end\n"

    @contract
    async def test_a_command_need_not_read_its_stdin(self, site: Site) -> None:
        result = await site.host.run("exec <&-; exit 3", stdin=b"x" * (1 << 20))
        assert result.exit_code == 3

    @contract
    async def test_a_command_may_be_very_long(self, site: Site) -> None:
        text = "x" * 200_000
        assert (await site.host.run(f"printf %s {text} | wc -c; cat", stdin=b"rest")).out.split() == ["200000", "rest"]

    @contract
    async def test_a_command_that_takes_too_long_is_an_error_and_no_answer(self, site: Site) -> None:
        with pytest.raises(CommandError) as caught:
            await site.host.run("sleep 60", timeout_s=1.0)
        assert caught.value.exit_code is None and caught.value.retryable
        assert (await site.host.run("echo here")).out == "here\n", "the location can still be used"

    @contract
    async def test_many_commands_at_once_are_all_run(self, site: Site) -> None:
        results = await asyncio.gather(*(site.host.run(f"sleep 0.1; echo {i}") for i in range(24)))
        assert [r.out for r in results] == [f"{i}\n" for i in range(24)]

    @contract
    async def test_a_command_sees_nothing_of_this_process(self, site: Site) -> None:
        os.environ["AIRFLOW_HYBRID_CONTRACT_SECRET"] = "do not tell"
        try:
            assert "do not tell" not in (await site.host.run("env")).out
        finally:
            del os.environ["AIRFLOW_HYBRID_CONTRACT_SECRET"]

    @contract
    async def test_a_stream_is_a_conversation(self, site: Site) -> None:
        async with site.host.stream('while read -r line; do echo "<$line>"; done; echo bye >&2; exit 4') as stream:
            for word in (b"one", b"two"):
                await stream.write(word + b"\n")
                received = b""
                while not received.endswith(b">\n"):
                    received += await asyncio.wait_for(stream.read(), 30)
                assert received == b"<" + word + b">\n"
            ended = await stream.close()
        assert (ended.exit_code, ended.stderr) == (4, b"bye\n")

    @contract
    async def test_a_stream_carries_bytes_both_ways_at_once(self, site: Site) -> None:
        data = EVERY_BYTE * (4 << 10) * 3
        async with site.host.stream("cat") as stream:

            async def write() -> None:
                for start in range(0, len(data), 100_000):
                    await stream.write(data[start : start + 100_000])

            writing = asyncio.ensure_future(write())
            received = b""
            while len(received) < len(data):
                block = await asyncio.wait_for(stream.read(), 60)
                assert block, "the stream ended early"
                received += block
            await writing
            assert (await stream.close()).exit_code == 0
        assert received == data

    @contract
    async def test_a_stream_that_is_left_early_is_over(self, site: Site) -> None:
        async with site.host.stream("echo $$; while :; do echo more; done") as stream:
            received = b""
            while b"more" not in received:
                received += await stream.read(100)
        number = int(received.split()[0])
        for _ in range(50):
            alive = await site.host.run(f"kill -0 {number} 2>/dev/null && ! grep -qs 'State:.*Z' /proc/{number}/status")
            if alive.exit_code != 0:
                return
            await asyncio.sleep(0.2)
        await site.host.run(f"kill -9 {number}")
        pytest.fail(f"process {number} goes on")

    @contract
    async def test_bulk_bytes_may_pass_by_a_program_of_this_machine(self, site: Site) -> None:
        await site.host.run(":")  # a location may know only after the first command how it is reached
        argv = site.host.pipe_argv("cat; exit 5")
        if argv is None:
            return  # it need not have one
        done = await asyncio.to_thread(subprocess.run, list(argv), input=EVERY_BYTE, capture_output=True, timeout=60)
        assert (done.stdout, done.returncode) == (EVERY_BYTE, 5)

    # --- folders and names -------------------------------------------------------------------------------------------

    @contract
    async def test_locations_are_known_by_name_and_stay_the_same(self, site: Site) -> None:
        hosts = await site.connector.hosts(site.service)
        again = await site.connector.hosts(site.service)
        assert [id(h) for h in hosts] == [id(h) for h in again]
        assert len({h.location for h in hosts}) == len(hosts)
        assert all(h.deployment == site.connector.storage and h.deployment in h.title for h in hosts)
        ref = FileRef(site.host.deployment, site.host.location, "/a b/ü")
        assert FileRef.parse(ref.uri) == ref

    @contract
    async def test_the_work_directory_is_absolute_and_can_be_written(self, site: Site) -> None:
        workdir = await site.connector.workdir(site.host, site.service)
        assert workdir.startswith("/") and workdir == await site.connector.workdir(site.host, site.service)
        quoted = shlex.quote(site.folder)
        assert await site.sh(f"mkdir -p {quoted} && echo yes >{quoted}/f && cat {quoted}/f") == "yes\n"

    @contract
    async def test_options_are_plain_values(self, site: Site) -> None:
        options = dict(site.connector.options(site.service))
        assert json.loads(json.dumps(options)) == options

    @contract
    async def test_files_of_any_name_are_looked_at_in_one_probe(self, site: Site) -> None:
        tree = f"{site.folder}/tree"
        await site.sh(f"mkdir -p {shlex.quote(tree)}")
        for index, name in enumerate(ODD_NAMES):
            await site.sh(f"printf %s {index} >{shlex.quote(f'{tree}/{name}')}")
        await site.sh(f"ln -s /etc/passwd {shlex.quote(tree)}/link")
        questions = [Question("contents", f"{tree}/{ODD_NAMES[0]}"), Question("stat", f"{tree}/none")]
        facts = await site.queue.facts(questions, trees=[tree])
        for index, name in enumerate(ODD_NAMES):
            fact = facts.files[f"{tree}/{name}"]
            assert (fact.kind, fact.size) == ("f", len(str(index))), name
            assert fact.checksum and fact.checksum.startswith("sha1$"), name
        assert facts.contents[f"{tree}/{ODD_NAMES[0]}"] == b"0"
        assert facts.files[f"{tree}/none"].kind == "?"
        assert facts.files[f"{tree}/link"].realpath == "/etc/passwd", "where a link leads is seen"
