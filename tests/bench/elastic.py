#!/usr/bin/env python3
"""The bench of brokers that come, go and die: stalls of planned moves, failover, starts with many partitions, and the table and
store requests of each. Run by `scripts/test bench`-like: tests/support/s3server run tests/bench/elastic.py [ROW]...
All brokers, the load and the S3 server share this machine.
"""
import os, re, subprocess, sys, tempfile, shutil, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "fault"))
from floe_broker import FLOE, Broker, check, floe
from harness import Proxy, memory_mib
from leads import leaders

BUILD = os.path.dirname(os.path.abspath(FLOE))
MOVE = os.path.join(BUILD, "tests", "move_bench")
PARTITIONS, BATCH = 1000, 4000


class Cluster:
    def __init__(self, folder, lease_ms=10000, proxies=False):
        self.folder, self.lease_ms, self.brokers, self.proxies = folder, lease_ms, [], [] if proxies else None

    def add(self, memory="192MiB"):
        endpoint = os.environ["FLOE_S3_ENDPOINT"]
        if self.proxies is not None:
            self.proxies.append(Proxy())
            endpoint = self.proxies[-1].endpoint
        i = len(self.brokers)
        self.brokers.append(Broker(
            os.path.join(self.folder, f"b{i}"),
            ["--store", f"s3://{os.environ['S3SERVER_BUCKET']}/{os.path.basename(self.folder)}", "--s3-endpoint", endpoint,
             "--lease-ms", str(self.lease_ms), "--memory", memory]))
        return self.brokers[i].start()

    def requests(self):
        """Requests to table and store since the last call, as the proxies saw them."""
        table = store = 0
        for p in self.proxies:
            for row in p.tell("stats"):
                n = int(dict(f.split("=") for f in row.split()[2:])["requests"])
                if row.split()[1] in ("table", "lease", "node"):
                    table += n
                else:
                    store += n
            p.tell("reset")
        return f"{table} table, {store} store requests"

    def close(self):
        for b in self.brokers:
            b.kill()
        for p in self.proxies or []:
            p.stop()


def load(b, topic, interval_ms, seconds, partitions=PARTITIONS):
    return subprocess.Popen([MOVE, b.addr, topic, str(partitions), "4", str(BATCH), str(interval_ms), str(seconds)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def go(p):
    p.stdin.write(b"go\n")
    p.stdin.flush()


def figures(p):
    out = p.stdout.read().decode()
    check(p.wait() == 0, "move_bench failed")
    return {k: float(v) for k, v in re.findall(r"(\S+?)=([0-9.]+)", out)}


def warm(p, seconds=3):
    time.sleep(seconds)
    go(p)


def stops(b):
    found = re.findall(r"handed over (\d+) partitions in (\d+) ms; .* for (\d+) ms of it: flush (\d+), leases (\d+) ms", b.output())
    worst = max(found, key=lambda f: int(f[2]), default=("0",) * 5)
    return (f"{sum(int(f[0]) for f in found)} handed over in {len(found)} batches; stopped at most {worst[2]} ms (flush {worst[3]}, "
            f"leases {worst[4]})")


def told(f):
    return (f"{f['moved']:.0f} of {f['all']:.0f} partitions changed their leader; longest gap of those: median {f['moved_p50']:.0f}, "
            f"99 % {f['moved_p99']:.0f}, longest {f['moved_max']:.0f} ms; of all: median {f['all_p50']:.0f}, 99 % {f['all_p99']:.0f}, "
            f"longest {f['all_max']:.0f} ms; {f['mb_s']:.1f} MB/s, {f['errors']:.0f} errors")


def move_stall(folder):
    """1,000 partitions at half of what three brokers can take: nothing happens, a fourth joins, one ends."""
    c = Cluster(folder)
    try:
        for _ in range(3):
            c.add()
        floe("topic", "create", "t", "--partitions", str(PARTITIONS), "--bootstrap", c.brokers[0].addr, wait=60)
        p = load(c.brokers[0], "t", 0, 6)
        warm(p)
        most = figures(p)["mb_s"]
        interval = PARTITIONS * BATCH / 1e6 / (most / 2) * 1000
        print(f"   most {most:.1f} MB/s; then one batch of {BATCH} bytes a partition every {interval:.0f} ms", flush=True)
        p = load(c.brokers[0], "t", interval, 6)
        warm(p)
        print("   undisturbed: " + told(figures(p)), flush=True)
        p = load(c.brokers[0], "t", interval, 10)
        warm(p)
        c.add()
        joined = figures(p)
        print("   one joins:   " + told(joined), flush=True)
        for b in c.brokers:
            print("      " + stops(b), flush=True)
        p = load(c.brokers[0], "t", interval, 12)
        warm(p)
        t0 = time.monotonic()
        code = c.brokers[1].stop()
        took = time.monotonic() - t0
        check(code == 0, "it did not end cleanly:\n" + c.brokers[1].output()[-3000:])
        left = figures(p)
        print(f"   one ends ({took:.1f} s): " + told(left), flush=True)
        print("      " + stops(c.brokers[1]), flush=True)
    finally:
        c.close()


ROWS = [move_stall]

if __name__ == "__main__":
    for row in ROWS:
        if sys.argv[1:] and row.__name__ not in sys.argv[1:]:
            continue
        folder = tempfile.mkdtemp(prefix="floe-elastic-")
        print(f"{row.__name__}: {row.__doc__.strip()}", flush=True)
        row(folder)
        shutil.rmtree(folder, ignore_errors=True)
