#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Prints what became of the virtual machines of run.sh:
report.py [--each-kernel] [--readme FILE --earlier DIRECTORY] DIRECTORY...

A machine's directory is called VERSION-UPLINK-TESTS. FILE gets a row of each of these machines that ran, and of every
other kernel and uplink that ended below the earlier ones' directory: of all tests, or else of --quick, which a run of all
without a result replaces only if it is newer.
Exit status: 0 all passed, 1 something failed, or the kernel complained, 77 something could not be run, which is 1 too if
it is all of a kernel and each is asked for."""

import argparse
import collections
import datetime
import pathlib
import re
import sys
import xml.etree.ElementTree

BEGIN, END = "<!-- kernels: made by selftests/vm/run.sh --readme -->", "<!-- kernels: end -->"
DRIVERS = {"veth": "veth", "virtio": "virtio-net", "e1000e": "e1000e"}
HEAD = ["kernel", "uplink", "tests", "passed, native XDP", "generic XDP", "others", "skipped (why)", "failed"]


def skip_reason(output):
    """The words that the test gave GTEST_SKIP."""
    found = re.search(r"^\S+:\d+: Skipped\n(.*?)\n(?=\[|\S+:\d+: |\Z)", output, re.S | re.M)
    return " ".join(found.group(1).split()) if found else "no reason given"


def failure(output):
    """Where the test first failed, and what gtest said of it."""
    found = re.search(r"^(?:\S*/)?([^/\n]+): Failure\n(.*?)\n(?=\[|\S+:\d+: |\n|\Z)", output, re.S | re.M)
    return f"{found.group(1)}: {' '.join(found.group(2).split())[:300]}" if found else None


def mode_of(name):
    """The XDP mode that a test is of, by its name: Suite.Name/native_IPv4."""
    found = re.search(r"/(native|generic)(?:_|$)", name)
    return found.group(1) if found else "others"


class Run:
    def __init__(self, directory):
        self.version, self.uplink, self.tests = directory.name.split("-")
        self.log = directory / "log"
        self.kernel, self.note = self.version, None
        self.passed, self.failed, self.skipped = collections.Counter(), {}, collections.Counter()
        text = lambda name: (directory / name).read_text().strip() if (directory / name).exists() else None
        self.not_run = text("not-run")
        if self.not_run:
            return
        self.kernel = text("release") or self.version
        self.started = int(text("started") or 0)
        if self.started:
            self.tests += f", {datetime.date.fromtimestamp(self.started)}"
        if commit := text("commit"):
            self.tests += f", {commit}"
        try:
            suite = xml.etree.ElementTree.parse(directory / "junit.xml").getroot()
        except (OSError, xml.etree.ElementTree.ParseError):
            self.note = text("broken") or "the machine ended without a result"
            return
        for case in suite:
            output = case.findtext("system-out") or ""
            if case.get("status") == "run":
                self.passed[mode_of(case.get("name"))] += 1
            elif case.get("status") == "notrun" and "SKIP" in (case.find("skipped").get("message") or ""):
                self.skipped[skip_reason(output)] += 1
            else:
                wordless = "ended by a signal or by its time limit" if case.get("status") == "fail" else "not run"
                self.failed[case.get("name")] = failure(output) or wordless
        if not self.failed and text("status") != "0":
            self.note = "ctest failed"
        if complaints := text("complaints"):
            self.note = f"{len(self.failed)}, and the kernel complained: {complaints.splitlines()[0]}"

    @property
    def bad(self):
        return bool(self.failed or self.note)

    def row(self):
        if self.not_run:
            return [self.version, DRIVERS[self.uplink], "not run: " + self.not_run, *[""] * (len(HEAD) - 3)]
        skipped = str(self.skipped.total())
        if self.skipped:
            skipped += ": " + "; ".join(f"{why} ({n})" if n > 1 else why for why, n in self.skipped.items())
        passed = [str(self.passed[mode]) for mode in ("native", "generic", "others")]
        return [self.kernel, DRIVERS[self.uplink], self.tests, *passed, skipped, self.note or str(len(self.failed))]

    @property
    def order(self):
        version = [int(part) for part in self.version.split(".")] if self.version != "newest" else [sys.maxsize]
        return version, list(DRIVERS).index(self.uplink)


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def markdown(rows):
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def update(path, rows):
    text = path.read_text()
    if BEGIN not in text or END not in text:
        sys.exit(f"{path} has no lines {BEGIN} and {END}")
    before, rest = text.split(BEGIN, 1)
    path.write_text(before + BEGIN + "\n" + markdown(rows) + "\n" + END + rest.split(END, 1)[1])


def with_earlier(runs, directory):
    """A run for each kernel and uplink."""
    best = {}
    for tests in ("quick", "all"):
        for place in directory.glob(f"*-*-{tests}"):
            if not (place / "ended").exists():
                continue
            run = Run(place)
            other = best.setdefault((run.version, run.uplink), run)
            if not run.note or run.started > other.started:
                best[run.version, run.uplink] = run
    for run in runs:
        if not run.not_run or (run.version, run.uplink) not in best:
            best[run.version, run.uplink] = run
    return sorted(best.values(), key=lambda run: run.order)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--readme", type=pathlib.Path)
    parser.add_argument("--earlier", type=pathlib.Path)
    parser.add_argument("--each-kernel", action="store_true")
    parser.add_argument("directories", type=pathlib.Path, nargs="+")
    options = parser.parse_args()
    runs = [Run(directory) for directory in options.directories]
    for run in runs:
        if run.bad:
            lines = run.log.read_text(errors="replace").splitlines() if run.log.exists() else []
            print(f"--- the end of {run.log}", *lines[-60:], "---", sep="\n")
        for name, why in run.failed.items():
            print(f"failed on {run.kernel}, {DRIVERS[run.uplink]}: {name}: {why}")
        if run.note:
            print(f"failed on {run.kernel}, {DRIVERS[run.uplink]}: {run.note}")
    print(table([HEAD, *(run.row() for run in runs)]))
    if logs := [str(run.log) for run in runs if run.log.exists()]:
        print("logs:", *logs)
    if options.readme:
        shown = with_earlier(runs, options.earlier) if options.earlier else runs
        update(options.readme, [HEAD, *(run.row() for run in shown)])
    if any(run.bad for run in runs):
        return 1
    left_out = {run.version for run in runs} - {run.version for run in runs if not run.not_run}
    if options.each_kernel and left_out:
        print(*(f"failed on {version}: it can be run on no uplink" for version in sorted(left_out)), sep="\n")
        return 1
    return 77 if any(run.not_run for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
