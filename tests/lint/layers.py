#!/usr/bin/env python3
"""Layers: a module includes only itself and lower ones; libraries and drivers are named where they belong."""
import re
import sys

from common import c_files, read, run

# Lowest first, as docs/ARCHITECTURE.md lists them.
ORDER = ["base", "os", "kafka", "sqs", "segment", "net", "objstore", "tier", "table", "lease", "log", "retain",
         "catalog", "group", "txn", "queue", "auth", "api_kafka", "api_sqs", "admin", "broker", "cli"]
RANK = {m: i for i, m in enumerate(ORDER)}
# The program's entry point stands on top of everything; the simulator's world is the tests'.
ON_TOP = {"src/broker/main.c"}
DRIVERS = re.compile(r"floe/(objstore|tier|table|net|os)/(file|s3|sim|dynamodb|rocksdb|bare|mem)\.h$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def module_of(path):
    """Module of a source or public header; None where layers do not apply."""
    m = re.match(r"(?:src|include/floe)/([^/]+?)(?:\.h|/.*)$", path)
    return m.group(1) if m else None


def included_module(path, style, name):
    if style == "<":
        m = re.match(r"floe/gen/([a-z]+)_", name) or re.match(r"floe/([^/]+?)(?:\.h|/.*)$", name)
        return m.group(1) if m else None
    m = re.match(r"([a-z_]+)/", name)  # src/ is on the include path
    return m.group(1) if m and m.group(1) in RANK else module_of(path)


def check(root):
    for path in c_files(root):
        if not path.startswith(("src/", "include/")):
            continue
        own = module_of(path)
        if own not in RANK:
            if own != "sim":
                yield path, 1, f"folder {own} is in no layer: add it to ORDER in tests/lint/layers.py"
            continue
        text = read(root, path)
        for m in INCLUDE.finditer(text):
            style, name = m.groups()
            line = text.count("\n", 0, m.start(2)) + 1
            other = included_module(path, style, name)
            simulated = re.search(r"(^|[/_])sim([/_.]|$)", path) is not None
            if other == "sim" and not simulated:
                yield path, line, "only simulated drivers include the simulator"
            elif other is not None and other != "sim" and other not in RANK:
                yield path, line, f"{name} is of no known layer"
            elif other in RANK and RANK[other] > RANK[own] and path not in ON_TOP and not simulated:
                yield path, line, f"{own} includes {name}: {other} is a higher layer"
            if name == "rocksdb/c.h" and not path.startswith("src/tier/rocksdb/"):
                yield path, line, "only src/tier/rocksdb/ includes rocksdb/c.h"
            d = DRIVERS.match(name)
            if d and own not in (d.group(1), "broker") and not simulated:
                yield path, line, f"only broker and tests name the concrete driver {name}"
            if style == '"' and "/" in name and other != own and other in RANK:
                yield path, line, f"{name} is private to {other}: use its public header"


PLANTED = {
    "src/lease/x.c": ("#include <floe/log.h>\n", ["lease includes floe/log.h: log is a higher layer"]),
    "include/floe/base/x.h": ("\n#include <floe/os/loop.h>\n", ["2: base includes floe/os/loop.h"]),
    "src/log/tier.c": ("#include <rocksdb/c.h>\n", ["only src/tier/rocksdb/"]),
    "src/log/store.c": ("#include <floe/objstore/s3.h>\n", ["only broker and tests name the concrete driver"]),
    "src/log/priv.c": ('#include "segment/segment_int.h"\n', ["private to segment"]),
    "src/new/x.c": ("int x;\n", ["folder new is in no layer"]),
    "src/log/sees.c": ("#include <floe/sim.h>\n", ["only simulated drivers"]),
    "src/base/gen.c": ("#include <floe/gen/kafka_messages.h>\n", ["kafka is a higher layer"]),
}
CLEAN = {
    "src/log/a.c": '#include "log/log_int.h"\n#include <floe/lease.h>\n#include <floe/log.h>\n#include <uv.h>\n',
    "src/tier/rocksdb/a.c": "#include <rocksdb/c.h>\n#include <floe/tier.h>\n",
    "src/objstore/s3/a.c": "#include <floe/objstore/s3.h>\n",
    "src/broker/main.c": "#include <floe/cli.h>\n#include <floe/tier/rocksdb.h>\n",
    "src/tier/sim.c": "#include <floe/sim.h>\n",
    "tests/unit/log/test_a.c": "#include <floe/objstore/file.h>\n",
}
if __name__ == "__main__":
    sys.exit(run(check, PLANTED, CLEAN))
