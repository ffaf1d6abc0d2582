#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Prints what became of the virtual machines of run.sh: report.py [--readme FILE] DIRECTORY...

Exit status: 0 all passed, 1 something failed, 77 nothing could be run."""

import argparse
import collections
import pathlib
import re
import sys
import xml.etree.ElementTree

BEGIN, END = "<!-- kernels: made by selftests/vm/run.sh --readme -->", "<!-- kernels: end -->"
HOW = {
    "veth": "veth, native and generic",
    "virtio": "virtio-net, native and generic",
    "e1000e": "e1000e, generic",
}


def skip_reason(output):
    """The words that the test gave GTEST_SKIP."""
    found = re.search(r"^\S+:\d+: Skipped\n(.*?)\n(?=\[|\S+:\d+: |\Z)", output, re.S | re.M)
    return " ".join(found.group(1).split()) if found else "no reason given"


class Run:
    def __init__(self, directory):
        self.version, self.uplink = directory.name.split("-", 1)
        self.log = directory / "log"
        self.kernel, self.note = self.version, None
        self.passed, self.failed, self.skipped = 0, [], collections.Counter()
        text = lambda name: (directory / name).read_text().strip() if (directory / name).exists() else None
        self.not_run = text("not-run")
        if self.not_run:
            return
        self.kernel = text("release") or self.version
        if started := text("started"):
            self.seconds = int(text("ended")) - int(started)
        try:
            suite = xml.etree.ElementTree.parse(directory / "junit.xml").getroot()
        except (OSError, xml.etree.ElementTree.ParseError):
            self.note = text("broken") or "the machine ended without a result"
            return
        for case in suite:
            output = case.findtext("system-out") or ""
            if case.get("status") == "run":
                self.passed += 1
            elif case.get("status") == "notrun" and "SKIP" in (case.find("skipped").get("message") or ""):
                self.skipped[skip_reason(output)] += 1
            else:
                self.failed.append(case.get("name"))
        if not self.failed and text("status") != "0":
            self.note = "ctest failed"

    @property
    def bad(self):
        return bool(self.failed or self.note)

    def row(self):
        if self.not_run:
            return [self.version, HOW[self.uplink], "not run: " + self.not_run, "", ""]
        skipped = str(self.skipped.total())
        if self.skipped:
            skipped += ": " + "; ".join(f"{why} ({n})" if n > 1 else why for why, n in self.skipped.items())
        return [self.kernel, HOW[self.uplink], str(self.passed), skipped, self.note or str(len(self.failed))]


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def markdown(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def update(path, rows):
    text = path.read_text()
    if BEGIN not in text or END not in text:
        sys.exit(f"{path} has no lines {BEGIN} and {END}")
    before, rest = text.split(BEGIN, 1)
    path.write_text(before + BEGIN + "\n" + markdown(rows) + "\n" + END + rest.split(END, 1)[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--readme", type=pathlib.Path)
    parser.add_argument("directories", type=pathlib.Path, nargs="+")
    options = parser.parse_args()
    runs = [Run(directory) for directory in options.directories]
    for run in runs:
        if run.bad:
            lines = run.log.read_text(errors="replace").splitlines() if run.log.exists() else []
            print(f"--- the end of {run.log}", *lines[-60:], "---", sep="\n")
        for name in run.failed:
            print(f"failed on {run.kernel}, {HOW[run.uplink]}: {name}")
    rows = [["kernel", "uplink, XDP", "passed", "skipped (why)", "failed"], *(run.row() for run in runs)]
    print(table(rows))
    if options.readme:
        update(options.readme, rows)
    if any(run.bad for run in runs):
        return 1
    return 77 if all(run.not_run for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
