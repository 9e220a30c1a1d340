#!/usr/bin/env python3
"""kcat: the broker's address, a prefix for names and the features wanted. It has no admin API but the list of metadata; topics
come into being by producing."""
import re
import subprocess
import sys
import tempfile
import time

COUNT = 300


def kcat(address, *args, data=None):
    r = subprocess.run(["kcat", "-b", address, "-m", "20", *args], input=data, capture_output=True, timeout=60)
    assert r.returncode == 0, f"kcat {args}: {r.stderr.decode()[-500:]}"
    return r.stdout.decode()


def lines(first, count):
    return "".join(f"k{i}:line {i}\n" for i in range(first, first + count))


def send(address, topic, first=0, count=COUNT, *more):
    kcat(address, "-P", "-t", topic, "-K:", "-X", "acks=all", *more, data=lines(first, count).encode())


def admin(address, prefix):
    send(address, prefix + "a", 0, 1)
    out = kcat(address, "-L")
    assert f'topic "{prefix}a" with 1 partitions' in out and re.search(r"\d+ brokers:", out), out


def produce(address, prefix):
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        send(address, prefix + "p-" + codec, 0, COUNT, "-z", codec)
    for acks in ("0", "1"):
        kcat(address, "-P", "-t", prefix + "p-acks", "-X", "acks=" + acks, data=b"x\n")


def consume(address, prefix):
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        assert kcat(address, "-C", "-t", prefix + "p-" + codec, "-K:", "-e", "-q") == lines(0, COUNT)
    topic = prefix + "p-none"
    assert kcat(address, "-C", "-t", topic, "-p", "0", "-o", "290", "-K:", "-e", "-q") == lines(290, 10)
    assert kcat(address, "-Q", "-t", topic + ":0:-1").split()[-1] == str(COUNT)


class Member:
    """One `kcat -G`; what it has is in its standard error."""

    def __init__(self, address, topic):
        self.err = tempfile.TemporaryFile()
        self.p = subprocess.Popen(["kcat", "-b", address, "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=10000",
                                   "-X", "heartbeat.interval.ms=500", "-G", topic, topic], stdout=subprocess.DEVNULL, stderr=self.err)

    def has(self):
        self.err.seek(0)
        found = re.findall(r"rebalanced.*?: (assigned|revoked)(.*)", self.err.read().decode())
        return len(re.findall(r"\[\d+\]", found[-1][1])) if found and found[-1][0] == "assigned" else -1

    def end(self):
        self.p.terminate()
        self.p.wait(20)


def until(what, condition):
    end = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < end, "not within 40 s: " + what
        time.sleep(0.05)


def groups(address, prefix):
    topic = prefix + "g"
    send(address, topic)
    a = Member(address, topic)
    until("one member has the partition", lambda: a.has() == 1)
    b = Member(address, topic)
    until("two members, one has it", lambda: sorted((a.has(), b.has())) == [0, 1])
    first, second = (a, b) if a.has() == 1 else (b, a)
    first.end()
    until("the other one has it", lambda: second.has() == 1)
    second.end()


def offsets(address, prefix):
    topic, got = prefix + "o", ""
    send(address, topic)
    for count in (100, 200):
        got += kcat(address, "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=10000", "-c", str(count), "-q", "-K:",
                    "-G", topic, topic)
    assert got == lines(0, COUNT), "what two runs of one group read"


status = 0
for name in sys.argv[3].split(","):
    try:
        {"admin": admin, "produce": produce, "consume": consume, "groups": groups, "offsets": offsets}[name](*sys.argv[1:3])
        print("ok", name, flush=True)
    except Exception as e:
        print(f"failed {name}: {e!r}", flush=True)
        status = 1
sys.exit(status)
