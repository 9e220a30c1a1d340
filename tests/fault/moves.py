#!/usr/bin/env python3
"""Brokers that come and go as planned, under load of stock clients: a fourth one joins, each is restarted in turn, and the
cluster shrinks. Nothing is lost, doubled or reordered, no producer sees an error, nobody waits for a lease to run out.
"""
import json, math, os, re, sys, time

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from floe_broker import FLOE, Broker, Limit, check, floe, main, need
from harness import Load, need_load

PARTITIONS = 60


class Cluster:
    def __init__(self, folder, n, lease_ms=3000, program=FLOE):
        self.folder, self.brokers, self.program = folder, {}, program
        self.args = ["--store", f"s3://{os.environ['S3SERVER_BUCKET']}/{os.path.basename(folder)}", "--s3-endpoint",
                     os.environ["FLOE_S3_ENDPOINT"], "--lease-ms", str(lease_ms), "--memory", "192MiB"]
        for i in range(n):
            self.add(i)

    def add(self, i):
        """Starts it: a new one, or again at its address."""
        if i not in self.brokers:
            self.brokers[i] = Broker(os.path.join(self.folder, f"b{i}"), self.args)
            self.brokers[i].program = self.program
        else:
            self.brokers[i].listen = self.brokers[i].addr
        return self.brokers[i].start()

    def end(self, i):
        """SIGTERM: it hands everything over, and says so."""
        b = self.brokers[i]
        check(b.stop() == 0, f"b{i} did not end cleanly:\n{b.output()[-3000:]}")
        return sum(int(n) for n in re.findall(r"handed over (\d+) partitions", b.output()))

    def bootstrap(self):
        return ",".join(self.live())

    def live(self):
        return [b.addr for b in self.brokers.values() if b.proc.poll() is None]

    def leads(self):
        """address → partitions that it leads, of all topics: placement bounds their sum. None while it cannot be told."""
        r = floe("cluster", "status", "--json", "--bootstrap", self.live()[0], ok=False, wait=40)
        if r.returncode:
            return None
        status = json.loads(r.stdout)
        return None if status["partitions_without_leader"] else {f"{b['host']}:{b['port']}": b["leads"] for b in status["brokers"]}

    def wait_even(self, wait, what):
        """Until the live brokers lead all partitions, none more than a quarter above the mean, none less than half of it."""
        limit = Limit(wait)
        while True:
            count, live = self.leads(), self.live()
            if count is not None and set(count) == set(live):
                mean = sum(count.values()) / len(live)
                if max(count.values()) <= math.ceil(mean * 5 / 4) and min(count.values()) * 2 >= mean:
                    return count
            check(limit.lasts(), f"{what}: not within {wait} s: {count}")
            time.sleep(0.1)

    def close(self):
        for b in self.brokers.values():
            b.kill()


def brokers_come_and_go(folder):
    cluster = Cluster(folder, 3)
    try:
        floe("topic", "create", "t", "--partitions", str(PARTITIONS), "--bootstrap", cluster.brokers[0].addr)
        load = Load(cluster.bootstrap(), os.path.join(folder, "load"), partitions=PARTITIONS, rate=1500)
        load.wait(lambda c: c.get("acked", 0) > 1500, 30, "the load does not start")
        t0 = time.monotonic()
        cluster.add(3)
        share = cluster.wait_even(20, "the newcomer's share")[cluster.brokers[3].addr]
        joined = time.monotonic() - t0
        moved = 0
        for i in range(4):
            load.progress(20, f"before the restart of b{i}")
            moved += cluster.end(i)
            load.progress(20, f"while b{i} is down")
            cluster.add(i)
            cluster.wait_even(20, f"b{i} is back")
        moved += cluster.end(3)
        cluster.wait_even(20, "three are left")
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
