#!/usr/bin/env python3
"""What it takes when brokers come, go and die: times, partitions moved, and requests of store and table, counted at proxies.

Run by `scripts/test failover`, beside a real S3 server on this machine. A stall is the longest time that a librdkafka producer
(acks=all, idempotent, all partitions in turn) waited for an acknowledgement while it happened; what it waits at rest is beside it.
What the brokers alone take of that is seen by a client that asks live brokers only (probe.py).
"""
import collections, json, os, re, shutil, signal, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "fault"))
from floe_broker import Broker, check, floe, run
from harness import Load, Proxy, memory_mib, need_load
from probe import Probe

# librdkafka sends a request for each partition, five at a time to a broker: more than this and the load waits for itself.
RATE, PRODUCERS = 600, 4
table = []


def row(what, value, beside=""):
    table.append((what, str(value), str(beside)))
    print(f"   {what}: {value} {beside}", flush=True)


class Cluster:
    def __init__(self, folder, name, n, lease_ms, partitions):
        self.folder, self.name, self.lease_ms, self.partitions = folder, name, lease_ms, partitions
        self.brokers, self.proxies = [], []
        for _ in range(n):
            self.add()
        floe("topic", "create", "t", "--partitions", str(partitions), "--bootstrap", self.brokers[0].addr)
        self.settle(range(n))

    def add(self):
        i = len(self.brokers)
        self.proxies.append(Proxy())
        self.brokers.append(Broker(
            os.path.join(self.folder, f"{self.name}{i}"),
            ["--store", f"s3://{os.environ['S3SERVER_BUCKET']}/{os.path.basename(self.folder)}-{self.name}", "--s3-endpoint",
             self.proxies[i].endpoint, "--lease-ms", str(self.lease_ms)]).start())
        return i

    def bootstrap(self):
        return ",".join(b.addr for b in self.brokers if b.proc.poll() is None)

    def leaders(self, asked):
        """address → the set of partitions that it leads."""
        s = json.loads(floe("cluster", "status", "--json", "--bootstrap", self.brokers[asked].addr))
        t = json.loads(floe("topic", "describe", "t", "--json", "--bootstrap", self.brokers[asked].addr))
        nodes = {n["id"]: f"{n['host']}:{n['port']}" for n in s["brokers"]}
        out = collections.defaultdict(set)
        for p in t["topics"][0]["partitions"]:
            out[nodes.get(p["leader"])].add(p["partition"])
        return out

    def settle(self, who, wait=120):
        """Until these brokers lead everything, each about its part, and that has not changed for two seconds."""
        want = {self.brokers[i].addr for i in who}
        until, last, since = time.monotonic() + wait, None, 0
        while True:
            now = {a: len(p) for a, p in self.leaders(list(who)[0]).items()}
            if now != last:
                last, since = now, time.monotonic()
            even = set(now) == want and max(now.values()) <= self.partitions / len(want) * 1.25 + 1
            if even and time.monotonic() - since > 2:
                return
            check(time.monotonic() < until, f"the leaders are still {now}, wanted {want}")
            time.sleep(0.2)

    def reset(self):
        for p in self.proxies:
            p.tell("reset")

    def requests(self):
        """What all brokers asked since: table writes, table reads, chain PUTs, chain GETs and their KiB, LISTs."""
        sums = collections.Counter()
        for p in self.proxies:
            for line in p.tell("stats"):
                method, cls, *rest = line.split()
                f = dict(x.split("=") for x in rest)
                sums[f"{method} {cls}"] += int(f["requests"])
                sums[f"{method} {cls} down"] += int(f["down"])
        return (f"table {sums['PUT table']} PUT {sums['GET table']} GET {sums['LIST table']} LIST; chains {sums['PUT chain']} PUT "
                f"{sums['GET chain']} GET of {sums['GET chain down'] >> 10} KiB {sums['LIST chain']} LIST")

    def close(self):
        for b in self.brokers:
            if b.proc.poll() is None:
                b.proc.send_signal(signal.SIGCONT)
            b.kill()
        for p in self.proxies:
            p.stop()


class Under:
    """Load on the cluster; what happens inside `with` is measured until every partition is acknowledged again."""

    def __init__(self, cluster):
        self.c = cluster
        self.folder = os.path.join(cluster.folder, f"load{time.monotonic_ns()}")
        self.load = Load(cluster.bootstrap(), self.folder, partitions=cluster.partitions, producers=PRODUCERS, rate=RATE, value=200,
                         props=["socket.timeout.ms=1000"])
        self.load.wait(lambda c: c.get("acked", 0) > 2 * cluster.partitions, 60, "the load does not start")
        self.load.tell("mark")
        time.sleep(3)
        self.rest_ms = self.load.counts()["slowest_ms"]

    def measure(self, what, act, survivors, probed=False):
        before = self.c.leaders(survivors[0])
        self.load.tell("mark")
        time.sleep(0.3)
        self.c.reset()
        t0 = time.monotonic()
        gone = act() # addresses that must lead nothing any more
        if probed:
            probe = self.probe(before, survivors, gone)
            check(probe.finish(30), f"not every partition is served: {len(probe.acked_s)}")
        while gone and any(self.c.leaders(survivors[0])[a] for a in gone):
            check(time.monotonic() - t0 < 60, "no takeover")
            time.sleep(0.02)
        led = probe.led_s if probed else time.monotonic() - t0
        c = self.load.counts()
        self.load.wait(lambda k: k["acked"] > c["acked"] + 2 * self.c.partitions and k["sent"] - k["acked"] < RATE, 60, what)
        note = self.c.requests()
        after = self.c.leaders(survivors[0])
        was = {p: a for a, ps in before.items() for p in ps}
        moved = sum(was.get(p) != a for a, ps in after.items() for p in ps)
        row(what, f"stall {self.load.counts()['slowest_ms'] / 1000:.2f} s", f"led again after {led:.2f} s; {moved} partitions moved; at rest {self.rest_ms} ms")
        if probed:
            row("  every partition acknowledges again", f"{max(probe.acked_s.values()):.2f} s",
                f"a live broker's own meanwhile: alone {probe.alone_s:.2f} s, behind others {probe.behind_s:.2f} s; errors {probe.errors}")
        row("  requests meanwhile, load's own among them", note)

    def probe(self, before, survivors, gone):
        live = [self.c.brokers[i].addr for i in survivors]
        self.load.producers += 1
        return Probe("t", self.c.partitions, live, {a: sorted(before[a])[:2] for a in live}, gone, self.folder, self.load.producers - 1)

    def end(self):
        self.load.finish(may_fail=True)
        row("  history", self.load.verify(self.c.bootstrap()), self.load.failures() or "")


def failover(folder, lease_ms, partitions=1000):
    c = Cluster(folder, f"f{lease_ms}-", 3, lease_ms, partitions)
    name = f"{partitions} partitions, lease {lease_ms // 1000} s"
    try:
        u = Under(c)
        def kill():
            c.brokers[2].kill()
            return [c.brokers[2].addr]
        u.measure(f"{name}: SIGKILL, its port refuses", kill, [0, 1], True)
        def stop():
            c.brokers[1].proc.send_signal(signal.SIGSTOP)
            return [c.brokers[1].addr]
        u.measure(f"{name}: SIGSTOP", stop, [0], True)
        c.brokers[1].proc.send_signal(signal.SIGCONT)
        u.end()
    finally:
        c.close()


def scale(folder, partitions=1000):
    c = Cluster(folder, "s", 2, 10000, partitions)
    try:
        u = Under(c)
        def join():
            i = c.add()
            c.settle([0, 1, i])
        u.measure(f"{partitions} partitions: a third broker joins", join, [0, 1])
        def leave():
            a = c.brokers[2].addr
            check(c.brokers[2].stop() == 0, "not a clean end")
            return [a]
        u.measure(f"{partitions} partitions: it ends (SIGTERM)", leave, [0, 1])
        u.end()
    finally:
        c.close()


def many(folder, partitions=10000):
    t0 = time.monotonic()
    c = Cluster(folder, "m", 2, 10000, partitions)
    try:
        row(f"{partitions} partitions: topic made, led and even", f"{time.monotonic() - t0 - 2:.1f} s", c.requests())
        time.sleep(12)
        row("  resident, MiB, each of two brokers", " / ".join(f"{memory_mib(b.proc.pid, 'VmRSS'):.0f}" for b in c.brokers))
        c.reset()
        time.sleep(10)
        row("  idle for 10 s, both", c.requests())
        c.reset()
        t0 = time.monotonic()
        dead = c.brokers[1].addr
        c.brokers[1].kill()
        while c.leaders(0)[dead]:
            time.sleep(0.05)
        took = time.monotonic() - t0
        time.sleep(3)
        row("  one is killed: the other leads all", f"{took:.2f} s", c.requests())
        row("  resident, MiB, with all of them", f"{memory_mib(c.brokers[0].proc.pid, 'VmRSS'):.0f}")
        for how in ("a clean end", "a kill"):
            b = c.brokers[0]
            if how == "a kill":
                b.kill()
            else:
                t0 = time.monotonic()
                check(b.stop() == 0, "not a clean end")
                row("  clean end of a broker with all of them", f"{time.monotonic() - t0:.2f} s")
            c.reset()
            b.listen = b.addr
            t0 = time.monotonic()
            b.start()
            ready = time.monotonic() - t0
            run(["kcat", "-b", b.addr, "-P", "-t", "t", "-p", "7"], data=b"x\n", wait=60)
            row(f"  start after {how}", f"{ready:.2f} s", f"acknowledged produce after {time.monotonic() - t0:.2f} s; {c.requests()}")
            time.sleep(5)
        t0 = time.monotonic()
        floe("topic", "describe", "t", "--json", "--bootstrap", c.brokers[0].addr)
        row("  topic describe of all", f"{(time.monotonic() - t0) * 1000:.0f} ms")
    finally:
        c.close()


def main():
    need_load()
    folder = tempfile.mkdtemp(prefix="floe-elastic-")
    parts = {"failover2": lambda: failover(folder, 2000), "failover10": lambda: failover(folder, 10000), "scale": lambda: scale(folder),
             "many": lambda: many(folder)}
    failed = 0
    try:
        for name in sys.argv[1:] or parts:
            print(name, flush=True)
            try:
                parts[name]()
            except Exception as e:
                failed += 1
                print(f"FAILED  {name}: {e}", flush=True)
    finally:
        if failed:
            print(f"files are in {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{'what':<58}{'value':>16}  beside it")
    for what, value, beside in table:
        print(f"{what:<58}{value:>16}  {beside}")
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
