"""What the benchmarks share: what a process used, contenders in turn, the machine, and results that are kept."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib.metadata
import io
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

RESULTS = Path(__file__).parent / "results"
#: What any of the benchmarks may be about; those that are not installed are left out.
PACKAGES = ("oracledb", "pyarrow", "polars", "pandas", "duckdb", "isal", "requests", "simple-salesforce")

Figures = dict[str, float]


# --- what a process used (Linux) -------------------------------------------------------------------------------------


def peak_mb(pid: int | str = "self") -> float:
    """Its peak resident memory in MiB; not ru_maxrss, which counts what the parent held before exec."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) / 1024


def processor_seconds(pid: int | str = "self") -> float:
    """Its processor time, of all its threads: what a busy machine hardly changes."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- contenders, each a process of its own ---------------------------------------------------------------------------


def child(script: str, *arguments: str) -> Figures:
    """Runs the script as a process; seconds of the whole process, and the figures that it prints as JSON in the end."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, script, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    wall = time.perf_counter() - began
    return {"wall": wall, **json.loads(done.stdout.splitlines()[-1])}


def tell(work: Callable[[], Mapping[str, Any] | None]) -> NoReturn:
    """What such a process does: the work, and then a line of JSON about it."""
    began = time.perf_counter()
    said = work() or {}
    used = {"work": time.perf_counter() - began, "cpu": time.process_time(), "peak": peak_mb()}
    print(json.dumps(used | dict(said)), flush=True)
    os._exit(0)  # all files are whole; taking apart the imported modules belongs to nobody's work


def in_turn(names: Sequence[str], rounds: int, measure: Callable[[str], Figures]) -> dict[str, list[Figures]]:
    """Each contender once a round, so that a busy minute of the machine hits all of them."""
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(measure(name))
    return found


def medians(found: Mapping[str, Sequence[Figures]]) -> dict[str, Figures]:
    """The middle of each figure of each contender."""
    return {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]}
        for name, runs in found.items()
    }


def show(found: Mapping[str, Sequence[Figures]], rows: int, *ours: str) -> None:
    """A table of medians; the ratios say how many times as much as each of ours the others take."""
    width = max(map(len, found)) + 2
    middle = medians(found)
    said = "".join(f"   {'times ' + mine + ': wall, CPU, memory':<23}" for mine in ours)
    print(
        f"{'':{width}}{'wall s':>8}{'(least':>8} {'most)':>7}{'CPU s':>8}{'rows/s':>11}{'peak MiB':>10}{said}"
    )
    for name, one in middle.items():
        walls = [run["wall"] for run in found[name]]
        line = f"{name:{width}}{one['wall']:8.2f}{min(walls):8.2f} {max(walls):7.2f}{one['cpu']:8.2f}{rows / one['wall']:11,.0f}{one['peak']:10.0f}"
        for mine in () if name in ours else ours:
            ratios = "".join(f"{one[key] / middle[mine][key]:8.2f}" for key in ("wall", "cpu", "peak"))
            line += f"   {ratios:<{len('times : wall, CPU, memory') + len(mine)}}"
        print(line.rstrip())


def check(what: str, found: object, wanted: object) -> None:
    """A benchmark of a wrong result is worth nothing."""
    if found != wanted:
        raise SystemExit(f"{what}: {found} and not {wanted}")


# --- what is kept ----------------------------------------------------------------------------------------------------


def parser(text: str | None) -> argparse.ArgumentParser:
    """What every benchmark takes."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--keep", action="store_true", help="also write what is printed to bench/results/")
    return made


@contextlib.contextmanager
def kept(name: str, *, keep: bool) -> Iterator[None]:
    """Prints what machine this is before the benchmark; with ``keep``, all that is printed also goes to a file of this day."""
    told = io.StringIO()
    with contextlib.redirect_stdout(_Both(sys.stdout, told)):
        print("\n".join(machine(name)), end="\n\n", flush=True)
        yield
        print(f"\n{_load('in the end')}")
    if keep:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}-{dt.date.today().isoformat()}.md"  # noqa: DTZ011 - the day where the machine stands
        path.write_text(f"# bench/{name}.py\n\n```text\n{told.getvalue()}```\n", encoding="utf-8")
        print(f"Kept in {path}.")


def machine(name: str) -> list[str]:
    """The day, the machine, the versions and the command."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        "?",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = [f"{one} {version}" for one in PACKAGES if (version := _version(one))]
    return [
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC; {os.cpu_count()} × {cpu}, {memory:.0f} GiB, {platform.system()} {platform.release()}; {_load('at the start')}",
        f"Python {platform.python_version()}, {', '.join(versions)}",
        f"$ {shlex.join(['python', f'bench/{name}.py', *sys.argv[1:]])}",
    ]


def _load(when: str) -> str:
    return f"load {when} {os.getloadavg()[0]:.1f}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def _version(package: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


class _Both(io.TextIOBase):
    """Writes to two streams."""

    def __init__(self, *streams: Any) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()
