#!/usr/bin/env python3
"""Writes the fuzz seeds of Kafka's messages and batches (tests/fuzz/corpus/kafka_*) from the vectors of tests/golden.

Of each message its oldest and its newest version, with the longest filling of at most a kilobyte. A request gets its header in
front, a response key, version and header, as the targets want them.
"""
import os
import re
import struct

# What a broker parses (src/api_kafka/table.c) goes to fuzz_request_parse as well.
SERVED = {0, 1, 2, 3, 10, 18, 19, 20, 22, 23, 32, 60, 75, 20000, 20001, 20002}
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")


def flexible_from():
    found = {}
    for name in ("messages.txt", "peer-messages.txt"):
        with open(os.path.join(ROOT, "src", "kafka", name), encoding="utf-8") as f:
            for line in f:
                m = re.match(r"api (\d+) \w+ (?:request|response) versions \S+ flexible (\S+?)\+?( |$)", line)
                if m:
                    found[int(m.group(1))] = 32767 if m.group(2) == "none" else int(m.group(2))
    return found


def write(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def main():
    flexible, fillings = flexible_from(), {}
    with open(os.path.join(ROOT, "tests", "golden", "kafka-messages.tsv"), encoding="utf-8") as f:
        for line in f:
            key, name, version, _, hexed = line.rstrip("\n").split("\t")
            if int(key) >= 0:
                fillings.setdefault((int(key), name), {}).setdefault(int(version), []).append(bytes.fromhex(hexed))
    for (key, name), versions in fillings.items():
        for version in {min(versions), max(versions)}:
            body = max((b for b in versions[version] if len(b) <= 1024), key=len, default=None)
            if body is None:
                continue
            tags = b"\0" if version >= flexible[key] else b""
            if name.endswith("Request"):
                header = struct.pack(">hhih", key, version, 7, 4) + b"kcat" + tags
                write("kafka_request", f"{name}-{version}", header + body)
                if key in SERVED:
                    write("request_parse", f"{name}-{version}", header + body)
            else:
                header = struct.pack(">hhi", key, version, 7) + (b"" if key == 18 else tags)
                write("kafka_response", f"{name}-{version}", header + body)
    with open(os.path.join(ROOT, "tests", "golden", "kafka-batches.tsv"), encoding="utf-8") as f:
        for line in f:
            name, _, hexed = line.rstrip("\n").split("\t")
            batch = bytes.fromhex(hexed)
            write("kafka_batch", name, batch)
            if len(batch) <= 1024:  # the same in a Produce request of version 3
                head = struct.pack(">hhih", 0, 3, 7, 4) + b"kcat" + struct.pack(">hhiihciii", -1, -1, 30000, 1, 1, b"t", 1, 0, len(batch))
                write("request_parse", f"Produce-{name}", head + batch)


if __name__ == "__main__":
    main()
