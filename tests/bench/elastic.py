#!/usr/bin/env python3
"""The bench of planned moves: how long producers wait while a broker joins, one drains, and all are restarted in turn, and what
table and store are asked meanwhile. tests/support/s3server run tests/bench/elastic.py
All brokers, the load and the S3 server share this machine.
"""
import os, re, subprocess, sys, tempfile, shutil, threading, time, urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "fault"))
from floe_broker import FLOE, Broker, check, floe
import prometheus

BUILD = os.path.dirname(os.path.abspath(FLOE))
MOVE = os.path.join(BUILD, "tests", "move_bench")
PARTITIONS, BATCH = 1000, 4000


class Counted(Broker):
    """A broker whose requests are counted over its lives, by what /metrics said last."""

    def __init__(self, *args):
        super().__init__(*args)
        self.before, self.last = {}, {}

    def launch(self):
        for k, v in self.last.items():
            self.before[k] = self.before.get(k, 0) + v
        self.last = {}
        super().launch()

    def sample(self):
        m = re.search(r"^ready .* http=(\S+)", self.output(), re.M)
        try:
            text = urllib.request.urlopen(f"http://{m[1]}/metrics", timeout=1).read().decode() if m else ""
        except OSError:
            return
        values = prometheus.parse(text) if text else {}
        self.last = {(name, dict(labels)["kind"]): v for (name, labels), v in values.items()
                     if name in ("floe_store_requests_total", "floe_table_requests_total")}

    def count(self, name, kind):
        return self.before.get((name, kind), 0) + self.last.get((name, kind), 0)


class Cluster:
    def __init__(self, folder):
        self.folder, self.brokers, self.over = folder, [], threading.Event()
        self.seen = {}
        self.watch = threading.Thread(target=self.sample_all, daemon=True)
        self.watch.start()

    def sample_all(self):
        while not self.over.wait(0.25):
            for b in list(self.brokers):
                b.sample()

    def add(self):
        b = Counted(os.path.join(self.folder, f"b{len(self.brokers)}"),
                    ["--store", f"s3://{os.environ['S3SERVER_BUCKET']}/{os.path.basename(self.folder)}",
                     "--s3-endpoint", os.environ["FLOE_S3_ENDPOINT"], "--memory", "192MiB", "--http", "127.0.0.1:0"])
        b.start()
        self.brokers.append(b)
        return b

    def requests(self):
        """Requests since the last call: of the table; GETs of the store that are not the table's."""
        now = {}
        for kind in ("get", "put", "scan"):
            now["table " + kind] = sum(b.count("floe_table_requests_total", kind) for b in self.brokers)
        now["chain get"] = sum(b.count("floe_store_requests_total", "get") for b in self.brokers) - now["table get"]
        since = {k: int(v - self.seen.get(k, 0)) for k, v in now.items()}
        self.seen = now
        return ", ".join(f"{v} {k}" for k, v in since.items())

    def close(self):
        self.over.set()
        self.watch.join()
        for b in self.brokers:
            b.kill()


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
    def of(name):
        return f"median {f[name + '_p50']:.0f}, 99 % {f[name + '_p99']:.0f}, longest {f[name + '_max']:.0f} ms"
    moved = f"{f['moved']:.0f} partitions changed their leader, stall of those {of('moved')}; " if f["moved"] else ""
    return f"{moved}stall of all {of('all')}; between two acknowledgements at most {f['gap_max']:.0f} ms; {f['mb_s']:.1f} MB/s, {f['errors']:.0f} errors"


def play(c, name, interval, seconds, what):
    """The load for so long, and meanwhile `what`."""
    p = load(next(b for b in c.brokers if b.proc.poll() is None), "t", interval, seconds)
    warm(p)
    c.requests()
    t0 = time.monotonic()
    what()
    took = time.monotonic() - t0
    f = figures(p)
    print(f"   {name} ({took:.1f} s): {told(f)}\n      {c.requests()} in {seconds} s", flush=True)
    check(f["errors"] == 0, f"{name}: {f['errors']:.0f} errors that are not a change of leader")


def end(b):
    code = b.stop()
    check(code == 0, "it did not end cleanly:\n" + b.output()[-3000:])
    print("      " + stops(b), flush=True)


def restart_all(c):
    for b in [b for b in c.brokers if b.proc.poll() is None]:
        end(b)
        b.start()
        time.sleep(6)  # the view stands for three seconds, then its share comes back


def move_stall(folder):
    """1,000 partitions at half of what three brokers can take."""
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
        play(c, "undisturbed", interval, 6, lambda: None)
        play(c, "one joins", interval, 10, c.add)
        for b in c.brokers[:3]:
            print("      " + stops(b), flush=True)
        play(c, "one ends", interval, 10, lambda: end(c.brokers[1]))
        play(c, "rolling restart of three", interval, 36, lambda: restart_all(c))
    finally:
        c.close()


if __name__ == "__main__":
    folder = tempfile.mkdtemp(prefix="floe-elastic-")
    print(move_stall.__doc__.strip(), flush=True)
    try:
        move_stall(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
