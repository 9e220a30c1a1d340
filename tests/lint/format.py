#!/usr/bin/env python3
"""clang-format finds nothing to change."""
import os
import re
import shutil
import subprocess
import sys

from common import c_files, run

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def check(root):
    tool = shutil.which("clang-format")
    if tool is None:
        yield ".clang-format", 1, "clang-format is not installed: run scripts/deps (Debian package clang-format)"
        return
    style = os.path.join(HERE, ".clang-format")
    files = c_files(root)
    for i in range(0, len(files), 64):
        out = subprocess.run([tool, f"--style=file:{style}", "--dry-run", "--ferror-limit=1", *files[i:i + 64]],
                             cwd=root, capture_output=True, text=True)
        for path, line in re.findall(r"^(\S+?):(\d+):\d+: .*clang-format", out.stderr, re.M):
            yield path, int(line), f"not as clang-format has it: clang-format -i {path}"
        if out.returncode != 0 and not out.stderr:
            yield files[i], 1, f"clang-format failed with {out.returncode}"


PLANTED = {"src/base/a.c": ("int  x;\n", ["1: not as clang-format has it"])}
CLEAN = {"src/base/b.c": "int x;\n"}
if __name__ == "__main__":
    sys.exit(run(check, PLANTED, CLEAN))
