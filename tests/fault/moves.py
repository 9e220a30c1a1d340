#!/usr/bin/env python3
"""Brokers that come and go as planned, under load of stock clients: a fourth one joins, each is restarted in turn, and the
cluster shrinks. Nothing is lost, doubled or reordered, no producer sees an error, nobody waits for a lease to run out.
"""
import os, re, sys, time

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from floe_broker import Broker, check, floe, main, need
from harness import Load, need_load
from leads import leaders

LEASE_MS, PARTITIONS = 3000, 60


class Cluster:
    def __init__(self, folder, n):
        self.folder, self.brokers = folder, {}
        for i in range(n):
            self.add(i)

    def add(self, i):
        self.brokers[i] = Broker(
            os.path.join(self.folder, f"b{i}"),
            ["--store", f"s3://{os.environ['S3SERVER_BUCKET']}/{os.path.basename(self.folder)}", "--s3-endpoint",
             os.environ["FLOE_S3_ENDPOINT"], "--lease-ms", str(LEASE_MS), "--memory", "192MiB"],
            listen=self.brokers[i].addr if i in self.brokers else "127.0.0.1:0")
        return self.brokers[i].start()

    def end(self, i):
        """SIGTERM: it hands everything over, and says so."""
        b = self.brokers[i]
        check(b.stop() == 0, f"b{i} did not end cleanly:\n{b.output()[-3000:]}")
        return sum(int(n) for n in re.findall(r"handed over (\d+) partitions", b.output()))

    def bootstrap(self):
        return ",".join(b.addr for b in self.brokers.values() if b.proc.poll() is None)

    def wait(self, ok, wait, what):
        until = time.monotonic() + wait
        while True:
            count = leaders(next(b for b in self.brokers.values() if b.proc.poll() is None).addr, "t")
            if count is not None and ok(count):
                return count
            check(time.monotonic() < until, f"{what}: not within {wait} s: {count}")
            time.sleep(0.1)

    def close(self):
        for b in self.brokers.values():
            b.kill()


def even(cluster):
    live = [b.addr for b in cluster.brokers.values() if b.proc.poll() is None]
    most = -(-PARTITIONS * 5 // (4 * len(live)))
    return lambda c: set(c) == set(live) and max(c.values()) <= most and min(c.values()) * 2 * len(live) >= PARTITIONS


def brokers_come_and_go(folder):
    cluster = Cluster(folder, 3)
    try:
        floe("topic", "create", "t", "--partitions", str(PARTITIONS), "--bootstrap", cluster.brokers[0].addr)
        load = Load(cluster.bootstrap(), os.path.join(folder, "load"), partitions=PARTITIONS, rate=3000)
        load.wait(lambda c: c.get("acked", 0) > 3000, 30, "the load does not start")
        t0 = time.monotonic()
        cluster.add(3)
        share = cluster.wait(even(cluster), 20, "the newcomer's share")[cluster.brokers[3].addr]
        joined = time.monotonic() - t0
        moved = 0
        for i in range(4):
            load.progress(20, f"before the restart of b{i}")
            moved += cluster.end(i)
            load.progress(20, f"while b{i} is down")
            cluster.add(i)
            cluster.wait(even(cluster), 20, f"b{i} is back")
        moved += cluster.end(3)
        cluster.wait(even(cluster), 20, "three are left")
        counts = load.finish()
        check(counts["failed"] == 0, f"producers were told of errors: {counts}")
        verdict = load.verify(cluster.bootstrap())
        check(moved >= PARTITIONS, f"only {moved} partitions were handed over")
        for i, b in cluster.brokers.items():
            with open(b.log, errors="replace") as f:
                text = f.read()
            check("fencing session" not in text, f"b{i} fenced somebody")
            check("session over" not in text, f"b{i} lost its session")
        return f"a share of {share} after {joined:.1f} s, {moved} partitions handed over by those that ended; {verdict}"
    finally:
        cluster.close()


if __name__ == "__main__":
    need("kcat", "kcat")
    need_load()
    main([brokers_come_and_go], sys.argv[1:])
