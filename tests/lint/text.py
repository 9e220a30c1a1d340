#!/usr/bin/env python3
"""Text: no paths of somebody's machine, no tabs or blanks at line ends in sources, a newline at each end, and
headers guarded by their path."""
import os
import re
import sys

from common import read, run, tree_files

# Built from pieces, or this file would find itself.
MACHINE = re.compile(r"(?<![\w.$~/}-])/(" + "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me"]) + r")(/|\b(?![-\w]))")
TEXT = (".c", ".h", ".py", ".sh", ".md", ".cmake", ".txt", ".json", ".yml", ".yaml", ".conf", ".in")
SCRIPTS = ("scripts/", ".ci/", "minio/")


def guard_of(path):
    inner = path.replace("include/floe/", "floe_") if path.startswith("include/") else path
    inner = re.sub(r"^src/", "floe_src_", inner)
    return re.sub(r"\W", "_", inner).upper()


def check(root):
    for path in tree_files(root):
        is_text = path.endswith(TEXT) or path.startswith(SCRIPTS) or "." not in os.path.basename(path)
        if not is_text or path.startswith(("tests/golden/", "tests/fuzz/corpus/")) or path == "LICENSE":
            continue
        text = read(root, path)
        for number, line in enumerate(text.split("\n"), 1):
            m = MACHINE.search(line)
            if m:
                yield path, number, f"a path of one machine: {m.group(0)}"
            if path.endswith((".c", ".h")) and ("\t" in line or line != line.rstrip()):
                yield path, number, "a tab, or blanks at the end of the line"
        if text and not text.endswith("\n"):
            yield path, text.count("\n") + 1, "no newline at the end"
        if path.startswith("include/") and path.endswith(".h"):
            if not text.startswith("/*"):
                yield path, 1, "a header opens with a comment that says what it is"
            if f"#ifndef {guard_of(path)}\n#define {guard_of(path)}\n" not in text:
                yield path, 1, f"the include guard is {guard_of(path)}"


PLANTED = {
    "docs/a.md": ("see /" + "work/main/x\nand /" + "root\n", ["1: a path of one machine", "2: a path of one"]),
    "src/base/a.c": ("int x; \n\tint y;\nint z;", ["1: a tab", "2: a tab", "3: no newline"]),
    "scripts/run": ("cd /" + "home/me\n", ["a path of one machine"]),
    "include/floe/x.h": ("#ifndef X\n#define X\n#endif\n", ["opens with a comment", "FLOE_X_H"]),
}
CLEAN = {
    "docs/b.md": "~/work and $HOME/root, PREFIX/work/x, http://x/home, a work/home balance, /workers\n",
    "include/floe/base/y.h": "/* y */\n#ifndef FLOE_BASE_Y_H\n#define FLOE_BASE_Y_H\n\n#endif\n",
    "tests/golden/g.txt": "no newline",
}
if __name__ == "__main__":
    sys.exit(run(check, PLANTED, CLEAN))
