#!/usr/bin/env python3
"""A rolling upgrade under load of stock clients: three brokers that know the first format only (floe-old) are replaced one
after another by the present program. The cluster writes the old format until the last old broker is gone, then the new one; no producer sees an
error, nothing is lost, doubled or reordered; afterwards the old program is refused.
"""
import json, os, sys, time

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from floe_broker import FLOE, Broker, Limit, check, floe, main, need
from harness import Load, need_load
from moves import Cluster

OLD = os.environ.get("FLOE_TEST_OLD", os.path.join(os.path.dirname(__file__), "..", "..", "build", "tests", "floe-old"))
LEASE_MS, PARTITIONS = 2000, 30


def status(cluster):
    return json.loads(floe("cluster", "status", "--json", "--bootstrap", cluster.bootstrap()))


def formats(cluster):
    return [b.get("format") for b in status(cluster)["brokers"]]


def a_rolling_upgrade(folder):
    cluster = Cluster(folder, 3, lease_ms=LEASE_MS, program=OLD)
    try:
        floe("topic", "create", "t", "--partitions", str(PARTITIONS), "--bootstrap", cluster.brokers[0].addr)
        load = Load(cluster.bootstrap(), os.path.join(folder, "load"), partitions=PARTITIONS, rate=2000)
        load.wait(lambda c: c.get("acked", 0) > 2000, 30, "the load does not start")
        for i in range(3):
            limit = Limit(20)
            while formats(cluster) != [1, 1, 1]: # all three are listed, and none writes the new one
                check(limit.lasts() and 2 not in formats(cluster), f"before b{i}: {status(cluster)}")
                time.sleep(0.1)
            cluster.end(i)
            cluster.brokers[i].program = FLOE
            cluster.add(i)
            load.progress(20, f"b{i} is new")
            if i < 2: # some looks long: with an old one there, nobody raises it
                time.sleep(LEASE_MS / 1000)
        t0, limit = time.monotonic(), Limit(20)
        while formats(cluster) != [2, 2, 2]:
            check(limit.lasts(), f"the format is not raised: {status(cluster)}")
            time.sleep(0.1)
        raised = time.monotonic() - t0
        check(status(cluster)["format"] == 2, "cluster status does not show the format")
        cluster.end(0) # leases are written in the new format
        cluster.add(0)
        load.progress(20, "moves in the new format")
        old = Broker(os.path.join(folder, "old"), cluster.args)
        old.program = OLD
        old.launch()
        check(old.proc.wait(60) == 1, f"an old broker did not end with 1:\n{old.output()}")
        check("format 2 was written by a newer Floe, this one reads up to 1" in old.output(), old.output())
        counts = load.finish()
        check(counts["failed"] == 0, f"producers were told of errors: {counts}")
        verdict = load.verify(cluster.bootstrap())
        return f"raised {raised:.1f} s after the last restart; {verdict}"
    finally:
        cluster.close()


if __name__ == "__main__":
    need("kcat", "kcat")
    need_load()
    main([a_rolling_upgrade], sys.argv[1:])
