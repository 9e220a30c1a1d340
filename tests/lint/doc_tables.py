#!/usr/bin/env python3
"""Tables in the documentation that the binary itself tells, as JSON: each page must say the same.

doc_tables.py FLOE [--write]     compares, or writes the tables anew
doc_tables.py --self-test
"""
import json
import os
import subprocess
import sys

PAGES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "operations")


def settings(said):
    yield "| setting | value | default | range | what it is |", "|---|---|---|---|---|"
    for s in said:
        value = s["argument"].replace("|", "\\|") + (", may repeat" if s["repeatable"] else "")
        help_text = s["help"] + (" (secret)" if s["secret"] else "")
        yield f"| `{s['name']}` | {value} | {s['default']} | {s['range']} | {help_text} |",


def metrics(said):
    yield "| metric | type | unit | label | what it is |", "|---|---|---|---|---|"
    for m in said:
        yield f"| `{m['name']}` | {m['type']} | {m['unit']} | {m['label']} | {m['help']} |",


# mark in the page, page, arguments of floe, rows
TABLES = [
    ("settings", "configuration.md", ["broker", "--help", "--json"], settings),
    ("metrics", "metrics.md", ["metrics", "list", "--json"], metrics),
]


def replace(page, mark, rows):
    """The page with its table replaced; None where the page has no place for one."""
    begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->"
    if begin not in page or end not in page:
        return None
    head, rest = page.split(begin, 1)
    return head + begin + "".join(line + "\n" for lines in rows for line in lines) + end + rest.split(end, 1)[1]


def self_test():
    said = {"settings": [{"name": "a-b", "argument": "x|y", "default": "x", "range": "", "help": "says",
                          "repeatable": True, "secret": False}],
            "metrics": [{"name": "a_total", "type": "counter", "unit": "count", "label": "kind", "help": "Says."}]}
    wanted = {"settings": "| `a-b` | x\\|y, may repeat |", "metrics": "| `a_total` | counter |"}
    ok = True
    for mark, _, _, rows in TABLES:
        page = f"top\n<!-- {mark}: begin -->\nold\n<!-- {mark}: end -->\nbottom\n"
        fresh = replace(page, mark, rows(said[mark]))
        ok = ok and fresh != page and replace(fresh, mark, rows(said[mark])) == fresh and wanted[mark] in fresh and \
            fresh.startswith("top\n") and fresh.endswith("bottom\n") and replace("no marks", mark, []) is None
    print("self-test: " + ("ok" if ok else "failed"))
    return 0 if ok else 1


def main():
    if "--self-test" in sys.argv:
        return self_test()
    failed = 0
    for mark, name, args, rows in TABLES:
        out = subprocess.run([sys.argv[1], *args], check=True, capture_output=True, text=True)
        path = os.path.join(PAGES, name)
        with open(path, encoding="utf-8") as f:
            page = f.read()
        fresh = replace(page, mark, rows(json.loads(out.stdout)))
        if fresh is None:
            print(f"docs/operations/{name} has lost the marks around its table of {mark}")
            failed = 1
        elif "--write" in sys.argv:
            with open(path, "w", encoding="utf-8") as f:
                f.write(fresh)
        elif fresh != page:
            print(f"docs/operations/{name} is not what the binary says: run tests/lint/doc_tables.py build/floe --write")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
