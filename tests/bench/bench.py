#!/usr/bin/env python3
"""The bench: one table of ratios against the raw limit, each pair measured one after the other in this run.

Run by `scripts/test bench`, beside a real S3 server on this machine, whose CPU it shares: figures in MB/s are this machine's,
the ratios are what counts. Bare PUTs and GETs are taken while the generator sends to a sink at the rate that the broker
reached, so that both sides pay for the generator and its sockets; GETs also with each byte passed on to another process, which is
what a replay does at the least, and alone. Bare GETs are of the broker's mean size; alone, of full segments. Before the first replay the
store has answered GETs: what its process grows by for the first of them (MinIO by 170 MiB) is neither side's. FLOE_TEST_SECONDS is the length of each load (8).
"""
import os, re, shutil, socket, subprocess, sys, tempfile, time, urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "fault"))
from floe_broker import FLOE, Broker, check, floe, run
from harness import Proxy

BUILD = os.path.dirname(os.path.abspath(FLOE))
LOAD = os.path.join(BUILD, "tests", "load_bench")
STORE = os.path.join(BUILD, "tests", "store_bench")
TIER = os.path.join(BUILD, "tests", "tier_bench")
SECONDS = os.environ.get("FLOE_TEST_SECONDS", "8")
PARTITIONS, CONNECTIONS, BATCH, IN_FLIGHT, SEGMENT = "12", "4", "1000000", "5", str(8 << 20)
STORE_CONNECTIONS = "16" # as many as a broker opens for data
table = []


def row(what, value, limit="", ratio="", aim=""):
    table.append((what, value, limit, ratio, aim))
    print(f"   {what}: {value} {limit} {ratio}", flush=True)


def fields(line):
    return {k: float(v) for k, v in re.findall(r"(\S+?)=([0-9.]+)", line)}


def load(*args):
    return fields(run([LOAD, *args], wait=300).decode())


def bare(*args):
    out = run([STORE, *args], wait=300).decode()
    return {l.split()[0]: fields(l) for l in out.splitlines() if l}


def cpu(pid):
    with open(f"/proc/{pid}/stat") as f:
        w = f.read().rsplit(")", 1)[1].split()
    return (int(w[11]) + int(w[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid, what):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(what + r":\s+(\d+)", f.read()).group(1)) / 1024


def broker(folder, name, *more, endpoint=None):
    return Broker(os.path.join(folder, name),
                  ["--store", f"s3://{os.environ['S3SERVER_BUCKET']}/{os.path.basename(folder)}-{name}", "--s3-endpoint",
                   endpoint or os.environ["FLOE_S3_ENDPOINT"], *more])


def reads(b):
    """GETs and bytes read from the store so far; the broker adds them up once a second."""
    time.sleep(1.2)
    http = re.search(r"^ready .* http=(\S+)", b.output(), re.M).group(1)
    text = urllib.request.urlopen(f"http://{http}/metrics", timeout=10).read().decode()
    return [float(re.search(re.escape(name) + r" (\S+)", text).group(1))
            for name in ('floe_store_requests_total{kind="get"}', 'floe_store_bytes_total{direction="in"}')]


def consume(b, connections):
    """A replay: the generator's figures, the broker's CPU seconds, GETs and bytes of them."""
    before, c0 = reads(b), cpu(b.proc.pid)
    got = load("consume", b.addr, "t", PARTITIONS, str(connections), "120")
    got["broker_s"] = cpu(b.proc.pid) - c0
    got["gets"], got["got"] = [y - x for x, y in zip(before, reads(b))]
    return got


def produce(b, topic, acks, seconds=SECONDS):
    return load("produce", b.addr, topic, PARTITIONS, CONNECTIONS, BATCH, seconds, acks, IN_FLIGHT)


def beside_sink(mb_s, fn):
    """Runs fn while the generator sends to a sink at that rate: what generator and sockets cost is paid on both sides."""
    sink = subprocess.Popen([LOAD, "sink"], stdout=subprocess.PIPE)
    port = sink.stdout.readline().decode().strip()
    rate = subprocess.Popen([LOAD, "produce", "127.0.0.1:" + port, "sink", PARTITIONS, "2", BATCH, "100", "-1", "1",
                             str(mb_s)], stdout=subprocess.DEVNULL)
    try:
        return fn()
    finally:
        for p in (rate, sink):
            p.kill()
            p.wait()


def throughput(folder):
    b = broker(folder, "data", "--http", "127.0.0.1:0").start()
    try:
        floe("topic", "create", "t", "--partitions", PARTITIONS, "--bootstrap", b.addr)
        c0 = cpu(b.proc.pid)
        all_ = produce(b, "t", "-1")
        c1 = cpu(b.proc.pid)
        put = beside_sink(all_["mb_s"], lambda: bare("--size", SEGMENT, "--jobs", "4", "--seconds", SECONDS)["PUT"])
        row("produce acks=all, MB/s", f"{all_['mb_s']:.0f}", f"bare PUT {put['MB/s']:.0f}",
            f"{all_['mb_s'] / put['MB/s']:.2f}", "0.80")
        row("  p50 / p99, ms", f"{all_['p50_ms']:.0f} / {all_['p99_ms']:.0f}",
            f"bare PUT {put['p50_ms']:.0f} / {put['p99_ms']:.0f}")
        row("  CPU of the broker, s/GB", f"{(c1 - c0) / all_['bytes'] * 1e9:.2f}")
        row("  peak memory, MiB", f"{memory(b.proc.pid, 'VmHWM'):.0f}", "setting 512", "", "512")
        check(b.stop() == 0, "not a clean end")
        bare("--size", SEGMENT, "--jobs", STORE_CONNECTIONS, "--seconds", "2") # what the store maps for its first GETs
        os.sync() # what was written back meanwhile would slow down what is read
        b.start() # nothing in memory: all of it from the store
        replay, again = consume(b, 2), consume(b, 2)
        size = str(int((replay["got"] + again["got"]) / (replay["gets"] + again["gets"])))
        same = ("--size", size, "--jobs", "4", "--seconds", SECONDS)
        get = beside_sink(replay["mb_s"], lambda: bare(*same)["GET"])
        passed, alone = bare(*same, "--pass")["GET"], bare("--size", SEGMENT, *same[2:])["GET"]
        for what, r in (("replay from the store", replay), ("replay once more", again)):
            row(what + ", MB/s", f"{r['mb_s']:.0f}", f"bare GET {get['MB/s']:.0f}", f"{r['mb_s'] / get['MB/s']:.2f}", "0.80")
            row("  beside GETs passed on to a process that drops them", f"{r['mb_s']:.0f}", f"passed on {passed['MB/s']:.0f}",
                f"{r['mb_s'] / passed['MB/s']:.2f}", "0.80")
            row("  beside GETs of 8 MiB with nothing beside them", f"{r['mb_s']:.0f}", f"alone {alone['MB/s']:.0f}",
                f"{r['mb_s'] / alone['MB/s']:.2f}")
            row("  CPU of the broker / of the consumer, s/GB", f"{r['broker_s'] / r['bytes'] * 1e9:.2f} / {r['cpu_s_gb']:.2f}",
                f"bare GET {get['cpu_s/GB']:.2f}")
            row("  bytes got per byte read, GETs per GB", f"{r['got'] / r['bytes']:.2f} / {r['gets'] / r['bytes'] * 1e9:.0f}",
                f"of {int(size) / 1e6:.1f} MB")
        row("  peak memory, MiB", f"{memory(b.proc.pid, 'VmHWM'):.0f}", "setting 512", "", "512")
    finally:
        b.kill()


def kcat(b, partitions):
    """Replay by librdkafka, one process for the partitions; MB/s of values."""
    args = ["kcat", "-b", b.addr, "-C", "-e", "-q", "-D", "", "-o", "beginning", "-X", "check.crcs=false"]
    t0 = time.monotonic()
    procs = [subprocess.Popen([*args, "-t", "t", "-p", str(p)], stdout=subprocess.PIPE) for p in partitions]
    sizes = [subprocess.Popen(["wc", "-c"], stdin=p.stdout, stdout=subprocess.PIPE) for p in procs]
    n = sum(int(w.communicate()[0]) for w in sizes)
    check(all(p.wait() == 0 for p in procs), "kcat failed")
    return n / (time.monotonic() - t0) / 1e6


def replays(folder):
    """Who reads, from which store: everything from the store each time, since a fetch of it all does not fit in memory."""
    for store in ("s3", "file"):
        b = broker(folder, "replays", "--http", "127.0.0.1:0")
        if store == "file":
            b = Broker(os.path.join(folder, "replays-file"), ["--http", "127.0.0.1:0"])
        b.start()
        try:
            floe("topic", "create", "t", "--partitions", PARTITIONS, "--bootstrap", b.addr)
            produce(b, "t", "-1")
            check(b.stop() == 0, "not a clean end")
            os.sync()
            b.start()
            for n, who in ((2, "two consumers"), (1, "one consumer of all partitions"), (4, "four consumers"),
                           (12, "a consumer for each partition")):
                r = consume(b, n)
                row(f"replay, {store}, {who}, MB/s", f"{r['mb_s']:.0f}", f"{r['got'] / r['bytes']:.2f} got per byte")
            row(f"replay, {store}, two kcat with a partition each, MB/s", f"{kcat(b, (0, 1)):.0f}")
            row("  peak memory, MiB", f"{memory(b.proc.pid, 'VmHWM'):.0f}", "setting 512", "", "512")
        finally:
            b.kill()


def tail(folder):
    b = broker(folder, "tail").start()
    try:
        floe("topic", "create", "t", "--partitions", PARTITIONS, "--bootstrap", b.addr)
        produce(b, "t", "-1", "0.1")
        hot = load("consume", b.addr, "t", PARTITIONS, "2", "60")
        row("consume from memory, MB/s", f"{hot['mb_s']:.0f}")
    finally:
        b.kill()


def acks_one(folder):
    b = broker(folder, "one").start()
    try:
        floe("topic", "create", "t", "--partitions", PARTITIONS, "--bootstrap", b.addr)
        burst = produce(b, "t", "1", "1.5")
        one = produce(b, "t", "1", SECONDS)
        bare_db = lambda: fields(run([TIER, os.path.join(folder, "bare"), "2048", BATCH], wait=300).decode())
        beside, alone = beside_sink(burst["mb_s"], bare_db), bare_db()
        row("produce acks=1, MB/s: a burst", f"{burst['mb_s']:.0f}", f"bare RocksDB {beside['MB/s']:.0f}",
            f"{burst['mb_s'] / beside['MB/s']:.2f}", "0.80")
        row("produce acks=1, MB/s: sustained", f"{one['mb_s']:.0f}", f"with nothing beside it {alone['MB/s']:.0f}",
            f"{one['mb_s'] / alone['MB/s']:.2f}", "no less than acks=all")
        row("  p50 / p99, ms", f"{one['p50_ms']:.1f} / {one['p99_ms']:.1f}")
    finally:
        b.kill()


def requests(folder):
    """Counted at a proxy, with a smaller load: its own CPU would spoil the throughput."""
    proxy = Proxy()
    b = broker(folder, "count", endpoint=proxy.endpoint).start()
    try:
        floe("topic", "create", "t", "--partitions", PARTITIONS, "--bootstrap", b.addr)
        row("idle broker, MiB resident", f"{memory(b.proc.pid, 'VmRSS'):.0f}", "", "", "30")
        proxy.tell("reset")
        time.sleep(10)
        idle = sum(int(fields(l)["requests"]) for l in proxy.tell("stats"))
        row("idle broker, requests a second", f"{idle / 10:.1f}")
        proxy.tell("reset")
        got = produce(b, "t", "-1", "4")
        puts = proxy.count("PUT chain", "requests")
        up = proxy.count("PUT chain", "up")
        row("segment PUTs per GiB", f"{puts / got['bytes'] * (1 << 30):.0f}", "full segments 128")
        row("bytes uploaded per byte produced", f"{up / got['bytes']:.4f}")
    finally:
        b.kill()
        proxy.stop()


def start_up(folder):
    rtt = bare("--size", "4096", "--jobs", "1", "--seconds", "2")
    trip = max(rtt["PUT"]["p50_ms"], rtt["GET"]["p50_ms"])
    b = broker(folder, "start").start()
    try:
        floe("topic", "create", "t", "--partitions", "1", "--bootstrap", b.addr)
        for how, trips in (("a clean end", 6), ("a kill", 10)):
            took = []
            for _ in range(5):
                port = b.addr
                if how == "a kill":
                    b.kill()
                else:
                    check(b.stop() == 0, "not a clean end")
                b.listen = port
                t0 = time.monotonic()
                b.start()
                load("produce", b.addr, "t", "1", "1", "2000", "0.001", "-1", "1")
                took.append((time.monotonic() - t0) * 1000)
            took.sort()
            row(f"start to an acknowledged produce after {how}, ms", f"{took[2]:.0f}",
                f"100 + {trips} x {trip:.1f}", "", f"{100 + trips * trip:.0f}")
    finally:
        b.kill()


def tier(_):
    print(run([TIER], wait=300).decode(), flush=True)


def main():
    parts = {p.__name__: p for p in (throughput, replays, tail, acks_one, requests, start_up, tier)}
    chosen = sys.argv[1:] or list(parts)
    unknown = [p for p in chosen if p not in parts]
    if unknown:
        sys.exit(f"bench: no part is called {', '.join(unknown)}; there are: {' '.join(parts)}")
    folder = tempfile.mkdtemp(prefix="floe-bench-")
    try:
        for name in chosen:
            print(name, flush=True)
            parts[name](folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{'what':<52}{'value':>16}  {'raw limit':<22}{'ratio':>6}  aim")
    for what, value, limit, ratio, aim in table:
        print(f"{what:<52}{value:>16}  {limit:<22}{ratio:>6}  {aim}")


if __name__ == "__main__":
    main()
