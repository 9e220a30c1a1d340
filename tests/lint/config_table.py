#!/usr/bin/env python3
"""The table of settings in docs/operations/configuration.md is what `floe broker --help --json` says.

config_table.py FLOE [--write]     compares, or writes the table anew
config_table.py --self-test
"""
import json
import os
import subprocess
import sys

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "operations", "configuration.md")
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->"


def table(settings):
    rows = ["| setting | value | default | range | what it is |", "|---|---|---|---|---|"]
    for s in settings:
        value = s["argument"].replace("|", "\\|") + (", may repeat" if s["repeatable"] else "")
        help_text = s["help"] + (" (secret)" if s["secret"] else "")
        rows.append(f"| `{s['name']}` | {value} | {s['default']} | {s['range']} | {help_text} |")
    return "\n".join(rows) + "\n"


def replace(page, new):
    """The page with its table replaced; None where the page has no place for one."""
    if BEGIN not in page or END not in page:
        return None
    head, rest = page.split(BEGIN, 1)
    return head + BEGIN + new + END + rest.split(END, 1)[1]


def self_test():
    settings = [{"name": "a-b", "argument": "x|y", "default": "x", "range": "", "help": "says", "repeatable": True,
                 "secret": False}]
    page = f"top\n{BEGIN}old\n{END}\nbottom\n"
    fresh = replace(page, table(settings))
    ok = fresh != page and replace(fresh, table(settings)) == fresh and "x\\|y, may repeat" in fresh and \
        fresh.startswith("top\n") and fresh.endswith("bottom\n") and replace("no marks", "") is None
    print("self-test: " + ("ok" if ok else "failed"))
    return 0 if ok else 1


def main():
    if "--self-test" in sys.argv:
        return self_test()
    out = subprocess.run([sys.argv[1], "broker", "--help", "--json"], check=True, capture_output=True, text=True)
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    fresh = replace(page, table(json.loads(out.stdout)))
    if fresh is None:
        print("docs/operations/configuration.md has lost the marks around its table")
        return 1
    if "--write" in sys.argv:
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write(fresh)
        return 0
    if fresh != page:
        print("docs/operations/configuration.md is not what the binary says: "
              "run tests/lint/config_table.py build/floe --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
