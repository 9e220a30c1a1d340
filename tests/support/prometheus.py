"""A strict reader of the Prometheus text format 0.0.4: what promtool would refuse is a Failure."""
import re

from floe_broker import check

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{([^}}]*)\}})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def labels_of(text):
    out, at = {}, 0
    while at < len(text):
        m = LABEL.match(text, at)
        check(m, f"these are no labels: {text}")
        check(m[1] not in out, f"label {m[1]} comes twice: {text}")
        out[m[1]], at = m[2], m.end()
    return out


def check_histogram(name, samples):
    series = {}
    for sample, labels, value in samples:
        key = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        series.setdefault(key, []).append((sample, labels.get("le"), value))
    for key, rows in series.items():
        buckets = [(float(le), v) for s, le, v in rows if s == name + "_bucket"]
        rest = {s: v for s, le, v in rows if le is None}
        check(set(rest) == {name + "_sum", name + "_count"}, f"{name}{key}: sum and count, but {sorted(rest)}")
        check(buckets == sorted(buckets) and [v for _, v in buckets] == sorted(v for _, v in buckets),
              f"{name}{key}: buckets are not cumulative")
        check(buckets[-1] == (float("inf"), rest[name + "_count"]), f"{name}{key}: +Inf is not the count")


def parse(text):
    """{(name, frozenset of labels): value}; every family has one HELP and one TYPE before its samples, together."""
    check(text.endswith("\n"), "the text does not end with a newline")
    families, values, family = {}, {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, _, sentence = line[7:].partition(" ")
            check(re.fullmatch(NAME, name) and sentence, f"bad HELP: {line}")
            check(name not in families, f"{name} has its HELP twice, or its samples are torn apart")
            family = families[name] = {"help": sentence, "type": None, "samples": []}
            family["name"] = name
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            check(family and name == family["name"] and family["type"] is None, f"TYPE without its HELP: {line}")
            check(kind in ("gauge", "counter", "histogram"), f"unknown type: {line}")
            check((kind == "counter") == name.endswith("_total"), f"a counter ends in _total, others do not: {line}")
            family["type"] = kind
        else:
            m = SAMPLE.fullmatch(line)
            check(m, f"no sample: {line}")
            check(family and family["type"], f"a sample without its TYPE: {line}")
            name, labels, value = m[1], labels_of(m[2] or ""), float(m[3])
            allowed = [family["name"] + s for s in ("_bucket", "_sum", "_count")] if family["type"] == "histogram" \
                else [family["name"]]
            check(name in allowed, f"{name} is not of the family {family['name']}")
            key = (name, frozenset(labels.items()))
            check(key not in values, f"twice: {line}")
            values[key] = value
            family["samples"].append((name, labels, value))
    for f in families.values():
        if f["type"] == "histogram":
            check_histogram(f["name"], f["samples"])
    return values


def value(values, name, **labels):
    key = (name, frozenset(labels.items()))
    check(key in values, f"there is no {name} {labels}")
    return values[key]
