# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Shell text that looks at, sends, receives and commits files; and the parsers of its answers. Pure.

POSIX sh with coreutils, findutils and tar of GNU, busybox or BSD. Paths are quoted once, here; answers are separated
by NUL or hold no names, so that any name is safe. Nothing gets its final name before its digest has been compared.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_hybrid.internet import WebAddress
from airflow_hybrid.removal.shell import functions
from airflow_hybrid.sites.files.store import is_stored
from airflow_hybrid.sites.hosts.job_folders import job_directory_of, work_directory_of

INCOMING = ".incoming-"

_DIGEST = """\
dig() { if [ -d "$1" ];then (LC_ALL=C;export LC_ALL;cd -- "$1"&&{ find ${L--L} . -type d -print0|sort -z
find ${L--L} . -type f -print0|sort -z|xargs -0 -r sha1sum --;}|sha1sum|cut -c1-40)
else sha1sum <"$1"|cut -c1-40;fi;}
siz() { if [ -d "$1" ];then find ${L--L} "$1" -type f -print0|xargs -0 -r stat -L -c %s -- 2>/dev/null|
awk '{s+=$1}END{printf "%.0f",s}'
else wc -c <"$1"|tr -d ' ';fi;}
"""
"""dig PATH: SHA-1 of a file, or of the names and digests of a tree; siz PATH: bytes. Links are followed, unless L is
set and empty.
"""


PLACE = """\
root() { r=${1%/*};if [ "$2" = s ];then r=${1%/*/*/*};fi;[ "$r" != "$q" ]||return 0
q=$r;o=;if [ "$2" = s ];then ah_make "$r";else (umask 077;mkdir -p -- "$r");fi&&if (cd -- "$r"&&ah_marked);then o=1;fi;}
way() { w=$r;v=${1#"$r"};v=${v%/*};while [ -n "$v" ];do v=${v#/};w=$w/${v%%/*}
if [ -h "$w" ];then echo "$w is a link: nothing is written through it" >&2;return 1;fi
case $v in */*)v=/${v#*/};;*)v=;;esac;done;}
free() { [ -n "$o" ]||{ [ ! -e "$1" ]&&[ ! -h "$1" ];}||
{ echo "$1 is there already, and airflow_hybrid did not make it: move it away" >&2;return 1;};}
q=
"""
"""root TARGET [s]: sets r, the folder that copies are made in (s: that of the store), and o if it is ours; way TARGET:
no link on the way from there; free TARGET: nothing is there but what is ours, and may be replaced"""


@dataclass(frozen=True)
class Sight:
    """What was seen at a path.

    :ivar kind: ``f`` file, ``d`` directory, ``x`` there but not readable, ``l`` a link, or behind one, in what a
        job made, ``-`` nothing.
    :ivar path: the path with a symbolic link at its end resolved.
    """

    kind: str
    size: int
    digest: str | None
    path: str


_SEALED = r"""nl='
'
sealed() { # path, whether to read it, work directory of the job that made it: sets k, s and d
    w=$(cd -P -- "$3" 2>/dev/null && pwd -P && echo .)
    w=${w%??}${1#"$3"}
    if [ -L "$1" ]; then v=link
    elif [ -d "$1" ]; then k=d v=$(in_folder "$1" "$2")
    elif [ -f "$1" ]; then k=f v=$(in_file "$2" 3<"$1")
    else return
    fi
    case $v in
    'ok '*) v=${v#ok } s=${v%% *} d=${v#* } ;;
    ok) ;;
    link) k=l ;;
    *) k=x ;;
    esac
}
in_file() { # it is open: is it the one that was meant?
    [ "$(readlink -- /dev/fd/3 3<&3 && echo .)" = "$w$nl." ] || { echo link; return; }
    if [ "$1" = 1 ]; then echo "ok $(stat -L -c %s -- /dev/fd/3 3<&3) $(sha1sum <&3 | cut -c1-40)"; else echo ok; fi
}
in_folder() (
    L=
    cd -P -- "$1" || exit
    [ "$(pwd -P && echo .)" = "$w$nl." ] || { echo link; exit; }
    find . >/dev/null || exit
    if [ "$2" = 1 ]; then echo "ok $(siz .) $(dig .)"; else echo ok; fi
)
"""


def look(paths: Sequence[tuple[str, bool]]) -> str:
    """Look at paths; where the flag is set, read them for size and digest. Answer: :func:`parse_look`.

    In what a job made no link is followed: it is opened (or entered), then seen to be what was meant, then read.
    """
    lines = [
        _DIGEST,
        _SEALED,
        """q() { k=-;p=$1;s=0;d=
if [ -n "$3" ];then sealed "$@";else
if [ -L "$p" ];then p=$(readlink -f -- "$p"&&echo .)&&p=${p%??}||p=$1;fi
if [ -d "$p" ];then k=d;elif [ -f "$p" ];then k=f;fi
[ $k = - ]||[ -r "$p" ]||k=x
[ $k != d ]||find -L "$p" >/dev/null||k=x
case $k$2 in [fd]1) s=$(siz "$p");d=$(dig "$p");;esac;fi
printf '%s\\0' "$k" "$s" "$d" "$p";}""",
    ]
    lines.extend(
        f"q {shlex.quote(path)} {int(read)} {shlex.quote(work_directory_of(path) or '')}" for path, read in paths
    )
    return "\n".join(lines)


def parse_look(output: bytes, count: int) -> list[Sight]:
    """:raises ValueError: the answer is not complete."""
    fields = output.decode(errors="surrogateescape").split("\0")
    if len(fields) != 4 * count + 1:
        raise ValueError(f"{len(fields) // 4} of {count} answers")
    return [
        Sight(fields[i], int(fields[i + 1] or 0), fields[i + 2] or None, fields[i + 3]) for i in range(0, 4 * count, 4)
    ]


def exists(items: Sequence[tuple[str, str, bool]]) -> str:
    """One probe for many copies: path, kind, and whether to read it. One line each: :func:`parse_exists`."""
    # zsh's `echo -` says nothing, as if the copy were there
    lines = [
        _DIGEST,
        """q() { d=;if [ "$4" = s ]&&{ [ -h "${1%/*}" ]||[ -h "${1%/*/*}" ];};then printf "%s\\n" -;return;fi
case $2 in d)[ -d "$1" ];;*)[ -f "$1" ];;esac||{ printf "%s\\n" -;return;}
if [ "$3" = 1 ];then d=$(dig "$1");fi;echo "+$d";}""",
    ]
    lines.extend(f"q {shlex.quote(path)} {kind} {int(read)}{_stored(path)}" for path, kind, read in items)
    return "\n".join(lines)


def parse_exists(output: str, count: int) -> list[str | None]:
    """Per item: None if it is not there, else its digest (empty where it was not asked for).

    :raises ValueError: the answer is not complete.
    """
    lines = output.split("\n")[:-1]
    if len(lines) != count:
        raise ValueError(f"{len(lines)} of {count} answers")
    return [None if line == "-" else line[1:] for line in lines]


# --- one tar stream for many files ---------------------------------------------------------------------------------


def is_sealed(path: str) -> bool:
    """Whether links at the path, and in it, are not followed: a job made it."""
    return job_directory_of(path) is not None


def send(paths: Sequence[str], *, compress: bool) -> str:
    """Write absolute paths as one tar stream; the exit code is tar's.

    Symbolic links are followed, but not in what jobs made.

    :raises ValueError: some of the paths are of jobs and some are not.
    """
    if len({is_sealed(path) for path in paths}) > 1:
        raise ValueError("links are followed in some of these only")
    create = "-c" if paths and is_sealed(paths[0]) else "-ch"
    names = " ".join(shlex.quote("." + path) for path in paths)
    text = f"""cd /||exit 1
if tar --null -T /dev/null -cf /dev/null 2>/dev/null;then
t() {{ printf '%s\\0' {names}|tar {create} --null -T - -f -;}}
else t() {{ set -- {names};tar {create}f - "$@";}};fi
"""
    if not compress:
        return text + "t"
    return text + "exec 4>&1;c=$( { { t 4>&-;echo $?>&3;}|zstd -q -1 -c >&4 3>&-;} 3>&1);exit ${c:-1}"


_RENAME = (
    '$/="\\0";while(defined($i=<STDIN>)){$s=<STDIN>;$t=<STDIN>;chomp($i,$s,$t);'
    'print rename($s,$t)?"$i ok\\n":"$i unnamed\\n"}'
)
"""renames all files of a stream in one process, where there is a perl (mv costs a process per file)"""


@dataclass(frozen=True)
class Item:
    """One file or directory of a stream: the name in it, where it goes, and the digest that it must have."""

    kind: str
    sent: str
    target: str
    digest: str


def receive(root: str, token: str, items: Sequence[Item], *, compressed: bool) -> str:
    """Read a tar stream, verify every item, and rename the good ones. Answer: :func:`parse_receive`.

    What arrived whole before a stream broke is kept. The temporary folder goes away in any case; what a killed
    receiver left is removed after two days by another one. Nothing is written through a link below the folder that
    copies are made in, and nothing is replaced there that was not made by us.
    """
    calls = "\n".join(
        f"k {i} {item.kind} {shlex.quote('.' + item.sent)} {shlex.quote(item.target)} {item.digest}"
        f"{_stored(item.target)}"
        for i, item in enumerate(items)
    )
    return f"""{_begin(root, token, items[0].target)}||{{ echo end 1;exit 1;}}
trap 'cd /;ah_rm "$R" "$N"' EXIT;trap 'exit 143' HUP INT TERM PIPE
mkdir -- "$T/x" "$T/o"&&cd -- "$T/x"||{{ echo end 1;exit 1;}}
for t in "$R"/{INCOMING}*;do [ -z "$(find "$t" -prune -type d -mtime +2 2>/dev/null)" ]||
ah_rm "$R" "${{t##*/}}" 2>/dev/null;done
mkdir ../a;f=;mv -T ../a ../b 2>/dev/null&&f=-T
{"zstd -dqc|" if compressed else ""}tar -xmof -;c=$?
chmod -R u+rwX . 2>/dev/null;find . ! -type f ! -type d -exec rm -f {{}} + 2>/dev/null
items() {{
{calls}
}}
k() {{ root "$4" $6;[ -d "${{4%/*}}" ]||{{ way "$4" 2>/dev/null&&printf '%s\\0' "${{4%/*}}/.";}};}}
items|(umask 077;xargs -0 -r mkdir -p --)
k() {{ [ $2 != f ]||[ ! -f "$3" ]||printf '%s\\0' "$3";}};items|xargs -0 -r sha1sum -- >../sums||:
p=0;if command -v perl >/dev/null;then p=1;fi
exec 3<../sums 5>../names
k() {{ g=;root "$4" $6
if ! way "$4";then [ $2 != f ]||[ ! -f "$3" ]||read -r g _ <&3;echo "$1 unnamed";return;fi
if [ $2 = d ];then [ ! -d "$3" ]||g=$(dig "$3");elif [ -f "$3" ];then read -r g _ <&3;g=${{g#\\\\}};fi
if [ "$g" != "$5" ];then echo "$1 bad ${{g:--}}";return;fi
if [ $2 = d ]&&[ -d "$4" ];then if [ "$(dig "$4")" = "$5" ];then echo "$1 ok";return;fi
free "$4"&&mv -- "$4" "../o/$1"||{{ echo "$1 unnamed";return;}};fi
if [ $2 = f ]&&[ -d "$4" ];then echo "$4: is a directory" >&2;echo "$1 unnamed";return;fi
if ! free "$4";then if [ $2 = f ]&&[ "$(dig "$4")" = "$5" ];then echo "$1 ok";else echo "$1 unnamed";fi;return;fi
if [ $p$2 = 1f ];then printf '%s\\0' "$1" "$3" "$4" >&5;return;fi
if mv -f $f -- "$3" "$4"||{{ [ $2 = d ]&&[ "$(dig "$4")" = "$5" ];}};then echo "$1 ok";else echo "$1 unnamed";fi;}}
items;exec 5>&-;[ $p = 0 ]||perl -e '{_RENAME}' <../names
echo end $c $(df -Pk . 2>/dev/null|awk 'NR==2{{print $4}}')"""


@dataclass(frozen=True)
class Received:
    """How a stream arrived.

    :ivar states: per item: ``ok``, ``bad DIGEST`` (``bad -``: not there), or ``unnamed``.
    :ivar exit_code: of tar; None if the answer broke off.
    :ivar free_kib: what is left of the disk.
    """

    states: Mapping[int, str]
    exit_code: int | None
    free_kib: int | None = None


def parse_receive(output: str) -> Received:
    """An answer that breaks off leaves items without a state, and no exit code."""
    states: dict[int, str] = {}
    code: int | None = None
    free_kib: int | None = None
    for line in output.splitlines():
        first, _, rest = line.partition(" ")
        if first == "end":
            numbers = [int(word) for word in rest.split() if word.isdigit()]
            code, free_kib = [*numbers, None, None][:2]
        elif first.isdigit() and rest:
            states[int(first)] = rest
    return Received(states, code, free_kib)


# --- from the web ----------------------------------------------------------------------------------------------------


def addresses(name: str) -> str:
    """Print the addresses that a host's name has there, one a line. Exit code 71: that cannot be asked there."""
    return f"command -v getent >/dev/null||exit 71;getent ahosts {shlex.quote(name)}|cut -d' ' -f1|sort -u"


def curl_config(address: WebAddress, number: str) -> bytes:
    """The configuration of curl, for its stdin: other processes cannot read it, as they could an argument.

    :param number: the host's address, which is used and not looked up again.
    """
    values = [("url", address.url), ("noproxy", "*")]
    if not address.is_numeric:
        number = f"[{number}]" if ":" in number else number
        values.append(("resolve", f"{address.host}:{address.port}:{number}"))
    if address.user:
        values.append(("user", address.user))
    lines = (f"{name} = {_curl_word(value)}\n" for name, value in values)
    return ("globoff\n" + "".join(lines)).encode()


def _curl_word(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def fetch(root: str, token: str, target: str, digest: str | None) -> str:
    """Fetch with curl what the configuration on stdin says, verify, rename.

    Prints ``ok SIZE DIGEST``, ``same SIZE DIGEST``, or ``redirect URL``, which is not followed. Exit codes: 71 there is
    no curl, 72 the digest differs, 73 an odd status, else that of curl. A copy that is there already is fetched again
    only if the server says that its own is newer, or if it was written after it got its name.
    """
    expected = digest or ""
    return f"""{_begin(root, token, target)}||exit 1
trap 'cd /;ah_rm "$R" "$N"' EXIT;trap 'exit 143' HUP INT TERM PIPE
P={shlex.quote(target)}
command -v curl >/dev/null||exit 71
root "$P"{_stored(target)};way "$P"&&(umask 077;mkdir -p -- "${{P%/*}}")||exit 1
[ ! -f "$P" ]||[ "$P" -nt "${{P%/*}}" ]||set -- -z "$P"
r=$(curl -q -K - -fsS --proto =http,https --connect-timeout 10 --speed-time 60 --speed-limit 1 -R "$@" \\
 -o "$T/f" -w '%{{http_code}} %{{redirect_url}}')||exit $?
case $r in 304*) if [ -f "$P" ];then echo same "$(siz "$P")" "$(dig "$P")";exit 0;fi;;
3??' '?*) printf 'redirect %s\\n' "${{r#* }}";exit 0;;2*);;*) echo "the server says ${{r%% *}}" >&2;exit 73;;esac
if [ ! -e "$T/f" ]&&[ -f "$P" ];then echo same "$(siz "$P")" "$(dig "$P")";exit 0;fi
[ -e "$T/f" ]||:>"$T/f"
g=$(dig "$T/f");e={shlex.quote(expected)};[ -z "$e" ]||[ "$g" = "$e" ]||{{ echo "digest $g" >&2;exit 72;}}
n=$(siz "$T/f");free "$P"&&[ ! -d "$P" ]&&mv -f -- "$T/f" "$P"&&echo ok "$n" "$g\""""


def put(root: str, token: str) -> str:
    """Read stdin into a temporary file and print ``SIZE DIGEST``; :func:`commit` gives it its name."""
    return f"""{_begin(root, token, "")}||exit 1
cat >"$T/f"&&echo "$(siz "$T/f")" "$(dig "$T/f")"||{{ ah_rm "$R" "$N";exit 1;}}"""


def commit(root: str, token: str, target: str) -> str:
    """Give what :func:`put` wrote its final name."""
    return f"""{functions()}{PLACE}R={shlex.quote(root)};N={INCOMING}{token};T=$R/$N;P={shlex.quote(target)}
root "$P"{_stored(target)};way "$P"&&(umask 077;mkdir -p -- "${{P%/*}}")&&free "$P"&&[ ! -d "$P" ]&&mv -f -- "$T/f" "$P"
c=$?;ah_rm "$R" "$N";exit $c"""


def discard(root: str, token: str) -> str:
    """Remove what :func:`put` wrote."""
    return f"{functions()}ah_rm {shlex.quote(root)} {INCOMING}{token}"


def _begin(root: str, token: str, target: str) -> str:
    """Make the temporary folder ``$T`` of a transfer: the folder ``$N`` in ``$R``."""
    make = 'ah_make "$R"' if is_stored(target) else '(umask 077;mkdir -p -- "$R")'
    return f"""{functions()}{_DIGEST}{PLACE}R={shlex.quote(root)};N={INCOMING}{token};T=$R/$N
{make}&&ah_new "$T\""""


def _stored(target: str) -> str:
    """The word that says that a target is one of the store's."""
    return " s" if is_stored(target) else ""
