#!/usr/bin/env python3
"""Sizes: files to 1,000 lines (a reason above 600), functions to 70."""
import re
import sys

from common import bare_c, c_files, read, run, tree_files

FILE_MAX, FILE_REASON, FUNCTION_MAX = 1000, 600, 70
REASON = "Long because:"


def functions(text):
    """(first line, lines) of every function: from the line of its name to its closing brace at column 0."""
    lines = bare_c(text).split("\n")
    start = None
    for i, line in enumerate(lines):
        if line.startswith("{"):
            start = i
            while start > 0 and lines[start - 1].strip() and not lines[start - 1].startswith("}") and \
                    not lines[start - 1].rstrip().endswith(";") and not lines[start - 1].startswith("#"):
                start -= 1
        elif line.startswith("}") and start is not None:
            yield start + 1, i - start + 1
            start = None


def check(root):
    for path in tree_files(root):
        if not path.endswith((".c", ".h", ".py", ".sh", ".cmake")):
            continue
        text = read(root, path)
        n = text.count("\n")
        if n > FILE_MAX:
            yield path, 1, f"{n} lines: a file has at most {FILE_MAX}; split it"
        elif n > FILE_REASON and REASON not in text:
            yield path, 1, f"{n} lines: above {FILE_REASON} a comment says \"{REASON} ...\""
    for path in c_files(root):
        text = read(root, path)
        lines = text.split("\n")
        for first, n in functions(text):
            if n > FUNCTION_MAX and REASON not in "\n".join(lines[max(0, first - 6):first + n]):
                yield path, first, f"a function of {n} lines: at most {FUNCTION_MAX}; split it"


def body(n):
    return "static int f(int a,\n             int b)\n{\n" + "    a++;\n" * n + "}\n"


PLANTED = {
    "src/base/long.c": ("int x;\n" * 1001, ["at most 1000"]),
    "src/base/longish.c": ("int x;\n" * 601, ["Long because:"]),
    "src/base/fn.c": ("int y;\n\n" + body(67), ["3: a function of 71 lines"]),
}
CLEAN = {
    "src/base/ok.c": "/* Long because: a table. */\n" + "int x;\n" * 900,
    "src/base/fn_ok.c": body(66) + "\n" + body(66),
    "src/base/excused.c": "/* Long because: one switch. */\n" + body(80),
    "src/base/table.c": "static const int t[] = {\n" + "    1,\n" * 200 + "};\n",
    "docs/long.md": "x\n" * 2000,
}
if __name__ == "__main__":
    sys.exit(run(check, PLANTED, CLEAN))
