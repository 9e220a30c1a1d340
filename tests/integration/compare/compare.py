#!/usr/bin/env python3
"""Floe beside a real Apache Kafka: the same requests, in the same order, to both; the answers must be the same, but for what
two clusters cannot have in common (ids, ports, times) and what known.py lists with its reason.

  compare.py FLOE                    all cases
  compare.py FLOE CASE ...           only these (known.py's unused lines are then no failure)
  compare.py FLOE --wide ...         the wide sweep (sweep.py) instead: each field of each version at edge values; ten minutes and more
  compare.py FLOE --messages ...     the words of error messages as well, for a person to read: no failure
  compare.py FLOE --kafka HOST:PORT  a Kafka that runs already and is fresh

`ctest -L compare` and `scripts/test compare` run it; Kafka's jars are those of the client matrix (Maven fetches them once)."""
import contextlib
import re
import sys
import threading
import time

import brokers
import known
import wire
import cases_admin
import cases_configs
import cases_groups
import cases_records
import cases_sequences
import sweep

ERRORS = wire.errors()
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Fields whose values two clusters never share: only whether there is something is compared.
MASKED = {"ClusterId", "Host", "Port", "LogAppendTimeMs", "LastTimestamp", "CoordinatorEpoch", "LogDir", "TotalBytes",
          "UsableBytes", "ThrottleTimeMs", "BaseTimestamp"}


# Arrays whose order is that of a hash table in Kafka: sorted by what names an element.
NAMES = ("Name", "Topic", "TopicName", "GroupId", "MemberId", "Key", "ResourceName", "PartitionIndex", "Index", "PartitionId", "Partition")
UNORDERED = {"Topics", "Responses", "Results", "ReplicaElectionResults", "Entries", "Groups", "Coordinators", "Partitions",
             "PartitionResponses", "PartitionResult", "Members"}
ORDERED = {"DescribeTopicPartitions", "Fetch", "DescribeLogDirs"}


def named_by(x):
    return [str(x.get(n, "")) for n in NAMES] if isinstance(x, dict) else [str(x)]


def in_order(x):
    if isinstance(x, dict):
        return {k: sorted(in_order(v), key=named_by) if k in UNORDERED and isinstance(v, list) else in_order(v) for k, v in x.items()}
    return [in_order(v) for v in x] if isinstance(x, list) else x


class Gap(Exception):
    pass


class Side:
    """A case's view of one broker. `call` sends and notes; `quiet` sends and does not note."""

    def __init__(self, name, address, ranges):
        self.name, self.address, self.ranges = name, address, ranges
        self.notes, self.ids, self.case = [], {}, ""
        self.conns = {}

    def versions(self, name, low=0, high=99):
        lo, hi = self.ranges.get(name, (0, -1))
        return range(max(lo, low), min(hi, high) + 1)

    def newest(self, name):
        return self.ranges[name][1]

    def conn(self, label="main"):
        if label not in self.conns:
            self.conns[label] = wire.Connection(self.address)
        return self.conns[label]

    def quiet(self, api, version=None, conn="main", **body):
        version = self.newest(api) if version is None else version
        kw = {k: body.pop(k) for k in ("client_id",) if k in body}
        return self.conn(conn).call(api, version, body, **kw)

    def call(self, api, version=None, conn="main", tag="", **body):
        version = self.newest(api) if version is None else version
        try:
            answer = self.quiet(api, version, conn, **body)
        except wire.Closed as e:
            answer = {"connection": str(e)}
        except ValueError as e:
            answer = {"unreadable": str(e)}
        self.note(f"{tag or ''}{' ' if tag else ''}{api} v{version}", answer)
        return answer

    def note(self, what, answer):
        answer = self.mask(answer)
        if re.sub(r" v\d+$", "", what).split()[-1] not in ORDERED:
            answer = in_order(answer)
        self.notes.append((what, answer))

    def topic_id(self, value):
        if re.fullmatch(r"(..)\1{15}", value):
            return value  # one of a case's own
        return self.ids.get("topic", {}).get(value, "<uuid>")

    def named(self, kind, value):
        seen = self.ids.setdefault(kind, {})
        return seen.setdefault(value, f"<{kind} {len(seen)}>")

    def mask(self, x, field=""):
        if isinstance(x, dict):
            return {k: self.mask(v, k) for k, v in x.items()}
        if isinstance(x, list):
            return [self.mask(v, field) for v in x]
        if isinstance(x, bool) or x is None:
            return x
        if isinstance(x, int):
            if field.endswith("ErrorCode") or field == "ErrorCode":
                return ERRORS.get(x, x)
            if field in MASKED and x > 0:
                return "<set>"
            if field == "ProducerId" and x >= 0:
                return self.named("producer", x)
            if field == "SessionId" and x > 0:
                return self.named("session", x)
            if field == "Timestamp" and x > 1750000000000:
                return "<now>"
            return x
        if isinstance(x, str):
            if field in MASKED:
                return "<set>" if x else x
            if field.endswith("Id") and re.fullmatch(r"[0-9a-f]{32}", x):
                return self.topic_id(x)
            if re.fullmatch(r"[A-Za-z0-9_-]{22}", x) and field == "MemberId":
                return self.named("member", x)
            x = UUID.sub(lambda m: self.named("uuid", m.group(0)), x)
            return x.replace(self.address, "<address>")
        return x

    # -- what nearly every case needs ------------------------------------------------------------------------------------

    def topic(self, name, partitions=1, configs=(), wait=True):
        """Makes a topic, waits until it can be used, returns its id."""
        self.quiet("CreateTopics", TimeoutMs=10000, Topics=[{
            "Name": name, "NumPartitions": partitions, "ReplicationFactor": 1,
            "Configs": [{"Name": k, "Value": v} for k, v in configs]}])
        return self.settled(name, partitions) if wait else None

    def settled(self, name, partitions=1):
        """Waits until the topic's partitions have leaders."""
        end = time.monotonic() + 15
        while time.monotonic() < end:
            t = self.quiet("Metadata", Topics=[{"Name": name}], AllowAutoTopicCreation=False)["Topics"][0]
            if t["ErrorCode"] == 0 and len(t["Partitions"]) == partitions and self.led(name, partitions):
                self.ids.setdefault("topic", {})[t["TopicId"]] = f"<topic {name}>"
                return t["TopicId"]
            time.sleep(0.05)
        raise Gap(f"{self.name}: topic {name} did not become ready")

    def led(self, name, partitions):
        answer = self.quiet("ListOffsets", 5, ReplicaId=-1, Topics=[
            {"Name": name, "Partitions": [{"PartitionIndex": i, "Timestamp": -1} for i in range(partitions)]}])
        return all(p["ErrorCode"] == 0 for t in answer["Topics"] for p in t["Partitions"])

    def until(self, what, fn, wait=15):
        end = time.monotonic() + wait
        while time.monotonic() < end:
            x = fn()
            if x:
                return x
            time.sleep(0.05)
        raise Gap(f"{self.name}: {what} did not come")

    def produce(self, name, records, partition=0, acks=-1):
        return self.quiet("Produce", 9, Acks=acks, TimeoutMs=10000, TopicData=[
            {"Name": name, "PartitionData": [{"Index": partition, "Records": records}]}])

    def done(self):
        for c in self.conns.values():
            c.close()
        self.conns = {}


def all_cases(wide):
    if wide:
        yield from sweep.cases()
        return
    for module in (cases_admin, cases_configs, cases_records, cases_groups, cases_sequences):
        for name, fn in vars(module).items():
            if name.startswith("case_"):
                yield name[5:], fn


def differences(a, b, path=""):
    """(path, Kafka's, Floe's) of each value that differs."""
    if isinstance(a, dict) and isinstance(b, dict):
        for k in [*a, *(k for k in b if k not in a)]:
            yield from differences(a.get(k, "<absent>"), b.get(k, "<absent>"), f"{path}.{k}" if path else k)
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            yield path + "#", len(a), len(b)
            if min(len(a), len(b)) == 0 or len(a) + len(b) < 12:
                yield path, a, b
            return
        for i, (x, y) in enumerate(zip(a, b)):
            yield from differences(x, y, f"{path}[{i}]")
    elif a != b or type(a) is not type(b):
        yield path, a, b


def run_side(side, fn, failed):
    try:
        fn(side)
    except Exception as e:  # told below; the other side and the other cases go on
        failed[side.name] = f"{type(e).__name__}: {e}"
    finally:
        side.done()


def compare(name, fn, sides, words):
    """Lines of what differs in one case."""
    failed = {}
    for s in sides:
        s.notes, s.ids = [], {}
    threads = [threading.Thread(target=run_side, args=(s, fn, failed)) for s in sides]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for who, why in failed.items():
        yield f"{name} stopped at {who}", why, ""
    a, b = (s.notes for s in sides)
    if len(a) != len(b):
        yield f"{name} steps", len(a), len(b)
    for i, ((what, x), (other, y)) in enumerate(zip(a, b)):
        if what != other:
            yield f"{name}[{i}]", what, other
            return
        for path, p, q in differences(x, y):
            if path.endswith("Message") and isinstance(p, str) and isinstance(q, str) and not words:
                continue
            yield f"{name}[{i}] {what}: {path}", p, q


def served(address):
    keys = {a["ApiKey"]: (a["MinVersion"], a["MaxVersion"])
            for a in wire.Connection(address).call("ApiVersions", 0, {})["ApiKeys"]}
    return {m.name[:-7]: keys[m.key] for m in wire.TABLES.values() if m.kind == "request" and m.key in keys}


def main(argv):
    words, wide = "--messages" in argv, "--wide" in argv
    at = argv.index("--kafka") if "--kafka" in argv else 0
    running = argv[at + 1] if at else None
    names = [a for i, a in enumerate(argv[1:], 1) if not a.startswith("--") and not (at and i == at + 1)]
    only = set(names[1:])
    found = steps = 0
    with contextlib.ExitStack() as stack:
        kafka = running or stack.enter_context(brokers.Kafka()).address
        floe = stack.enter_context(brokers.floe(names[0])).address
        x, y = served(kafka), served(floe)
        ranges = {k: (max(x[k][0], y[k][0]), min(x[k][1], y[k][1])) for k in x if k in y}
        sides = [Side("kafka", kafka, ranges), Side("floe", floe, ranges)]
        for name, fn in all_cases(wide):
            if only and not any(re.fullmatch(o, name) for o in only):
                continue
            began, bad, told = time.monotonic(), 0, {}
            for where, p, q in compare(name, fn, sides, words):
                if known.expected(where):
                    continue
                bad += 1
                one = re.sub(r"\[\d+\] ", " ", where, count=1)
                versions = re.findall(r" v(\d+):", one)
                one = re.sub(r" v\d+:", ":", one)
                if wide:  # of one request only the first difference: it brings the others with it
                    if told.setdefault((one.partition(": ")[0], *versions), where) != where:
                        continue
                told.setdefault((one, repr(p), repr(q)), []).extend(versions)
            for (where, p, q), versions in ((k, v) for k, v in told.items() if isinstance(v, list)):
                print(f"  {where} (v{','.join(versions)}) | kafka {p:.300} | floe {q:.300}")
            found += bad
            steps += len(sides[0].notes)
            print(f"{'FAILED' if bad else 'ok    '} {name}: {len(sides[0].notes)} answers, {bad} differ, {time.monotonic() - began:.1f} s",
                  flush=True)
    unused = [] if only or wide else known.unused()
    for u in unused:
        print(f"known.py: nothing differs there any more: {u}")
    print(f"{steps} answers compared, {found} differences that are not known")
    return 1 if (found and not words) or unused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
