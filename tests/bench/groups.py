#!/usr/bin/env python3
"""Consumer groups at scale: how long a rebalance takes, what commits cost at the store and how long they take, what heartbeats
cost the broker.

Run by `scripts/test groups`, beside a real S3 server on this machine. Members are those of group_bench: each has a connection
of its own and behaves as a client does. Requests are counted at a proxy between broker and store, above those of the idle broker.
"""
import os, re, shutil, signal, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "fault"))
from floe_broker import FLOE, Broker, check, floe
from harness import Proxy, memory_mib

MEMBERS = os.path.join(os.path.dirname(os.path.abspath(FLOE)), "tests", "group_bench")
table = []


def row(what, value, beside=""):
    table.append((what, str(value), str(beside)))
    print(f"   {what}: {value} {beside}", flush=True)


def fields(line):
    return {k: float(v) for k, v in re.findall(r"(\S+?)=([0-9.]+)", line)}


def cpu(pid):
    with open(f"/proc/{pid}/stat") as f:
        w = f.read().rsplit(")", 1)[1].split()
    return (int(w[11]) + int(w[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    """A broker behind a proxy, with a topic of so many partitions."""

    def __init__(self, folder, name, partitions, *more):
        self.proxy = Proxy()
        self.partitions = str(partitions)
        self.b = Broker(os.path.join(folder, name),
                        ["--store", f"s3://{os.environ['S3SERVER_BUCKET']}/{os.path.basename(folder)}-{name}", "--s3-endpoint",
                         self.proxy.endpoint, "--max.connections", "15000", *more]).start()
        floe("topic", "create", "t", "--partitions", self.partitions, "--bootstrap", self.b.addr)
        self.members = None

    def requests(self, seconds):
        """A second, while so many pass: chain PUTs, table writes, all."""
        self.proxy.tell("reset")
        time.sleep(seconds)
        count = {}
        for line in self.proxy.tell("stats"):
            method, cls, *rest = line.split()
            count[f"{method} {cls}"] = int(dict(x.split("=") for x in rest)["requests"])
        return [n / seconds for n in (count.get("PUT chain", 0), count.get("PUT table", 0), sum(count.values()))]

    def start(self, *args):
        """Members that are up and wait for the start of the measurement; the ms in which they all settled."""
        self.members = subprocess.Popen([MEMBERS, "load", self.b.addr, "t", self.partitions, *map(str, args)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        settled = self.members.stdout.readline().decode()
        check(self.members.stdout.readline() == b"ready\n", f"the members do not come up: {settled}")
        return fields(settled)["settled_ms"]

    def go(self):
        self.members.stdin.write(b"\n")
        self.members.stdin.flush()

    def figures(self):
        line = self.members.stdout.readline().decode()
        check(self.members.wait(30) == 0 and line, "the members failed")
        f = fields(line)
        check(f["refused"] == 0, f"{f['refused']:.0f} commits were refused")
        return f

    def close(self):
        if self.members and self.members.poll() is None:
            self.members.kill()
            self.members.wait()
        self.b.kill()
        self.proxy.stop()


def settle(folder, name, protocol, beat_ms, rounds=3):
    """100 members, 100 partitions."""
    b = Bench(folder, f"settle-{protocol}-{beat_ms}", 100)
    r = subprocess.run([MEMBERS, "rebalance", b.b.addr, "t", "100", "100", protocol, str(beat_ms), str(rounds)],
                       stdout=subprocess.PIPE, timeout=140)
    b.close()
    check(r.returncode == 0, f"{protocol}: the members failed")
    took = {}
    for line in r.stdout.decode().splitlines():
        took.setdefault(line.split()[0], []).append(fields(line))
    for what, runs in took.items():
        told = max(f["after_last_told_ms"] for f in runs)
        row(f"{name}: {what.replace('_', ' ')}, s", " / ".join(f"{f['settled_ms'] / 1000:.2f}" for f in runs),
            f"{told:.0f} ms after the last one's heartbeat" if told and protocol != "consumer" else "")


def classic(folder):
    """Members hear of a rebalance by their heartbeats, each 3 s unless they are told otherwise."""
    settle(folder, "eager, heartbeat 3 s", "eager", 3000)
    settle(folder, "cooperative, heartbeat 3 s", "cooperative", 3000)
    settle(folder, "cooperative, heartbeat 1 s", "cooperative", 1000)


def consumer(folder):
    settle(folder, "consumer (KIP-848)", "consumer", 2000, 5)


def commits(folder):
    b = Bench(folder, "commits", 10)
    time.sleep(3)
    idle = b.requests(10)
    row("idle broker, requests a second: chain PUT, table PUT, all", " / ".join(f"{n:.1f}" for n in idle))
    b.start(1000, 1, "eager", 3000, 5000, 32)
    time.sleep(2)
    quiet = b.requests(5)
    row("1,000 groups that do not commit", " / ".join(f"{n:.1f}" for n in quiet))
    c0 = cpu(b.b.proc.pid)
    b.go()
    time.sleep(1)
    busy = b.requests(30)
    f = b.figures()
    share = (cpu(b.b.proc.pid) - c0) / f["seconds"]
    row("1,000 groups of 10 partitions, a commit each 5 s", " / ".join(f"{n:.1f}" for n in busy), f"{f['commits'] / f['seconds']:.0f} commits a second")
    row("  above idle, requests a second", f"{busy[2] - idle[2]:.1f}", "aim 5")
    row("  a commit is answered, ms: p50 / p99 / longest", f"{f['p50_ms']:.0f} / {f['p99_ms']:.0f} / {f['max_ms']:.0f}", "aim 200 and a PUT")
    rate = f["commits"] / f["seconds"]
    extra = [max(x - y, 0) for x, y in zip(busy, idle)]
    row("  a million commits: chain PUTs, table writes", f"{extra[0] / rate * 1e6:.0f} / {extra[1] / rate * 1e6:.0f}")
    row("  CPU of the broker", f"{share * 100:.0f} %")
    b.close()


def rate(folder):
    """As fast as it goes: each group's member commits again when it is answered."""
    for groups in (1, 1000):
        b = Bench(folder, f"rate{groups}", 10)
        b.start(groups, 1, "eager", 3000, 0, 15)
        c0 = cpu(b.b.proc.pid)
        b.go()
        time.sleep(2)
        r = b.requests(10)
        f = b.figures()
        share = (cpu(b.b.proc.pid) - c0) / f["seconds"]
        n = f["commits"] / f["seconds"]
        row(f"{groups} groups, one commit after the other: a second", f"{n:.0f}",
            f"p50 {f['p50_ms']:.0f} ms, p99 {f['p99_ms']:.0f} ms; {n / r[0]:.0f} commits a chain PUT, {n / max(r[1], 0.1):.0f} a table write; CPU {share * 100:.0f} %")
        b.close()


def heartbeats(folder):
    for protocol in ("eager", "consumer"):
        b = Bench(folder, f"beats-{protocol}", 10)
        rest = memory_mib(b.b.proc.pid, "VmRSS")
        settled = b.start(1000, 10, protocol, 3000, -1, 15)
        time.sleep(6) # what hurried, hurries no more
        c0 = cpu(b.b.proc.pid)
        b.go()
        f = b.figures()
        share = (cpu(b.b.proc.pid) - c0) / f["seconds"]
        name = "consumer (KIP-848)" if protocol == "consumer" else "classic"
        row(f"1,000 groups of 10 members, {name}: settled after", f"{settled / 1000:.1f} s")
        row("  heartbeats a second; CPU of the broker", f"{f['heartbeats'] / f['seconds']:.0f}; {share * 100:.0f} %",
            f"{share / (f['heartbeats'] / f['seconds']) * 1e6:.0f} us each")
        row("  resident, MiB: with the members / before / at most", f"{memory_mib(b.b.proc.pid, 'VmRSS'):.0f} / {rest:.0f} / {memory_mib(b.b.proc.pid):.0f}")
        b.close()


def main():
    folder = tempfile.mkdtemp(prefix="floe-groups-")
    parts = {p.__name__: p for p in (classic, consumer, commits, rate, heartbeats)}
    unknown = [p for p in sys.argv[1:] if p not in parts]
    if unknown:
        sys.exit(f"groups: no part is called {', '.join(unknown)}; there are: {' '.join(parts)}")
    failed = 0
    for name in sys.argv[1:] or parts:
        print(name, flush=True)
        try:
            parts[name](folder)
        except Exception as e:
            failed += 1
            print(f"FAILED  {name}: {e}", flush=True)
    if failed:
        print(f"files are in {folder}", flush=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{'what':<64}{'value':>24}  beside it")
    for what, value, beside in table:
        print(f"{what:<64}{value:>24}  {beside}")
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
