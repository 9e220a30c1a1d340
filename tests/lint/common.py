"""What the checks share: the files of the tree, C without comments and strings, and the self-test.

A check is a function `check(root)` that yields (path, line, sentence). run() gives it a command line:
`check.py [ROOT]` looks at the tree and fails on findings; `check.py --self-test` plants violations in a
temporary tree and fails unless each is found, and nothing else.
"""
import os
import re
import subprocess
import sys
import tempfile

SKIP_DIRS = {".git", ".cache", "__pycache__", "floe-data"}


def tree_files(root):
    """Paths below root that belong to the project, relative, sorted. Ignored and build files do not."""
    try:
        out = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"],
                             check=True, capture_output=True).stdout
        found = [p for p in out.decode().split("\0") if p and os.path.isfile(os.path.join(root, p))]
    except (OSError, subprocess.CalledProcessError):
        found = []
        for base, dirs, names in os.walk(root):
            dirs[:] = [d for d in dirs if d not in SKIP_DIRS and not d.startswith("build")]
            found += [os.path.relpath(os.path.join(base, n), root) for n in names]
    return sorted(set(found))


def c_files(root):
    return [p for p in tree_files(root) if p.endswith((".c", ".h"))]


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read()


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def bare_c(text):
    """The text with comments and literals blanked out; lines and columns stay."""
    return TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def excused(lines, number, name):
    """A comment `lint: NAME why` on the line or the one above it excuses it."""
    return any(re.search(r"lint: " + re.escape(name) + r"\b", lines[i])
               for i in (number - 1, number - 2) if 0 <= i < len(lines))


def self_test(check, planted, clean):
    """`planted`: path -> (text, [words that a finding for that path must have, one set a finding])."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in list(clean.items()) + [(p, t) for p, (t, _) in planted.items()]:
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as f:
                f.write(text)
        found = list(check(root))
    bad = 0
    for path, (_, wants) in planted.items():
        here = [f"{line}: {text}" for p, line, text in found if p == path]
        for want in wants:
            if not any(want in h for h in here):
                print(f"self-test: {path}: nothing was found with \"{want}\" (found: {here})")
                bad += 1
        if len(here) != len(wants):
            print(f"self-test: {path}: {len(here)} findings, {len(wants)} planted: {here}")
            bad += 1
    for path, line, text in found:
        if path not in planted:
            print(f"self-test: false alarm: {path}:{line}: {text}")
            bad += 1
    return bad


def run(check, planted, clean):
    if "--self-test" in sys.argv:
        bad = self_test(check, planted, clean)
        print(f"self-test: {len(planted)} planted files, {bad} failures")
        return 1 if bad else 0
    args = sys.argv[1:]
    root = args[0] if args else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    count = 0
    for path, line, text in check(root):
        print(f"{path}:{line}: {text}")
        count += 1
    if count:
        print(f"{count} findings")
    return 1 if count else 0
