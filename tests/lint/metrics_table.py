#!/usr/bin/env python3
"""The table of metrics in docs/operations/metrics.md is what `floe metrics list --json` says.

metrics_table.py FLOE [--write]     compares, or writes the table anew
metrics_table.py --self-test
"""
import json
import os
import subprocess
import sys

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "operations", "metrics.md")
BEGIN, END = "<!-- metrics: begin -->\n", "<!-- metrics: end -->"


def table(metrics):
    rows = ["| metric | type | unit | label | what it is |", "|---|---|---|---|---|"]
    rows += [f"| `{m['name']}` | {m['type']} | {m['unit']} | {m['label']} | {m['help']} |" for m in metrics]
    return "\n".join(rows) + "\n"


def replace(page, new):
    """The page with its table replaced; None where the page has no place for one."""
    if BEGIN not in page or END not in page:
        return None
    head, rest = page.split(BEGIN, 1)
    return head + BEGIN + new + END + rest.split(END, 1)[1]


def self_test():
    metrics = [{"name": "a_total", "type": "counter", "unit": "count", "label": "kind", "help": "Says."}]
    page = f"top\n{BEGIN}old\n{END}\nbottom\n"
    fresh = replace(page, table(metrics))
    ok = fresh != page and replace(fresh, table(metrics)) == fresh and "| `a_total` | counter |" in fresh and \
        fresh.startswith("top\n") and fresh.endswith("bottom\n") and replace("no marks", "") is None
    print("self-test: " + ("ok" if ok else "failed"))
    return 0 if ok else 1


def main():
    if "--self-test" in sys.argv:
        return self_test()
    out = subprocess.run([sys.argv[1], "metrics", "list", "--json"], check=True, capture_output=True, text=True)
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    fresh = replace(page, table(json.loads(out.stdout)))
    if fresh is None:
        print("docs/operations/metrics.md has lost the marks around its table")
        return 1
    if "--write" in sys.argv:
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write(fresh)
        return 0
    if fresh != page:
        print("docs/operations/metrics.md is not what the binary says: run tests/lint/metrics_table.py build/floe --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
