#!/usr/bin/env python3
"""Brokers killed with their disks, under load: nothing that acks=all acknowledged is lost, repeated or moved.

Three brokers on a real S3 server, each behind its own floe-proxy; idempotent librdkafka producers and a consumer run all
the while (fault_load). In each round a broker that holds leases dies by SIGKILL with PUTs in flight (its proxy holds them:
asserted) and loses its data directory; in some rounds the one that took over dies as well, before it has flushed
anything; in others the held PUTs land after the takeover. In two rounds the victim is stopped (SIGSTOP) beyond its lease
and goes on as a zombie. Run by tests/support/s3server run. FLOE_TEST_ROUNDS sets the number of rounds (10).
"""
import os, random, re, shutil, signal, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from floe_broker import Broker, check, floe, run
from harness import Load, Proxy, need_load
from leads import leaders

ROUNDS = int(os.environ.get("FLOE_TEST_ROUNDS", "10"))
SEED = int(os.environ.get("FLOE_TEST_SEED", str(int(time.time()))))
PARTITIONS, RATE, LEASE_MS = 60, 3000, 2000


class Cluster:
    def __init__(self, folder, n):
        self.folder, self.rng = folder, random.Random(SEED)
        self.proxies = [Proxy() for _ in range(n)]
        self.generation = [0] * n
        self.brokers = [None] * n
        for i in range(n):
            self.start(i)

    def start(self, i, same_port=True):
        """A broker with an empty disk."""
        listen = self.brokers[i].addr if self.brokers[i] and same_port else "127.0.0.1:0"
        self.generation[i] += 1
        self.brokers[i] = Broker(
            os.path.join(self.folder, f"b{i}.{self.generation[i]}"),
            ["--store", f"s3://{os.environ['S3SERVER_BUCKET']}/{os.path.basename(self.folder)}", "--s3-endpoint",
             self.proxies[i].endpoint, "--lease-ms", str(LEASE_MS), "--memory", "256MiB"],
            listen=listen, log=os.path.join(self.folder, f"b{i}.log"))
        self.brokers[i].start()

    def kill(self, i):
        self.brokers[i].lose_disk()

    def alive(self):
        return [i for i, b in enumerate(self.brokers) if b.proc.poll() is None]

    def bootstrap(self):
        return ",".join(b.addr for b in self.brokers)

    def leaders(self, asked, topic="t"):
        return leaders(self.brokers[asked].addr, topic)

    def wait_leaders(self, asked, dead, wait):
        """Until no partition is led by one of `dead`."""
        until = time.monotonic() + wait
        gone = {self.brokers[i].addr for i in dead}
        while True:
            count = self.leaders(asked)
            if count is not None and not any(count[a] for a in gone) and not count[None]:
                return count
            check(time.monotonic() < until, f"after {wait} s the leaders are still {count} (dead: {gone})")
            time.sleep(0.05)

    def close(self):
        for b in self.brokers:
            if b.proc.poll() is None:
                b.proc.send_signal(signal.SIGCONT)
            b.kill()
        for p in self.proxies:
            p.stop()


def takeover_reads_footers(cluster):
    """A topic with much data and no reader: who takes it over reads footers, not data."""
    floe("topic", "create", "big", "--partitions", "12", "--bootstrap", cluster.brokers[0].addr)
    data = b"".join(b"%08d" % i + b"y" * 1000 + b"\n" for i in range(40000))
    run(["kcat", "-b", cluster.bootstrap(), "-P", "-t", "big", "-X", "enable.idempotence=true"], data=data, wait=120)
    leads = cluster.leaders(0, "big")
    victim = max(cluster.alive(), key=lambda i: leads[cluster.brokers[i].addr])
    survivors = [i for i in cluster.alive() if i != victim]
    for i in survivors:
        cluster.proxies[i].tell("reset")
    t0 = time.monotonic()
    cluster.kill(victim)
    run(["kcat", "-b", ",".join(cluster.brokers[i].addr for i in survivors), "-P", "-t", "big", "-X",
         "enable.idempotence=true"], data=b"after\n" * 1000, wait=60)
    took = time.monotonic() - t0
    got = sum(cluster.proxies[i].count("GET chain", "down") for i in survivors)
    gets = sum(cluster.proxies[i].count("GET chain", "requests") for i in survivors)
    check(gets > 0, f"nothing was read: {leads}")
    check(got < len(data) // 5 and got <= gets * 65536, f"a takeover read {got} bytes of chains that hold {len(data)}")
    cluster.start(victim)
    return f"writable again after {took:.1f} s; {gets} GETs, {got >> 10} KiB of {len(data) >> 20} MiB"


def hold_own_chain(cluster, i):
    """The broker's segments are held by its proxy from now on; seals that it puts for others are not."""
    node = re.search(r"node (\d+) of cluster", cluster.brokers[i].output()).group(1)
    cluster.proxies[i].tell(f"rule hold hold method=PUT class=chain key=/chain/{node}-")


def hold_puts(cluster, load, i, wait=15):
    """As above; at least one is."""
    hold_own_chain(cluster, i)
    until = time.monotonic() + wait
    while cluster.proxies[i].held() == 0:
        check(time.monotonic() < until, f"broker {i} has no PUT in flight: {load.counts()}")
        time.sleep(0.01)
    return cluster.proxies[i].held()


def kill_round(cluster, load, n):
    alive = cluster.alive()
    asked = alive[0]
    leads = cluster.wait_leaders(asked, [], 30)
    victims = [i for i in alive if leads[cluster.brokers[i].addr] > 0]
    check(victims, f"nobody leads anything: {leads}")
    victim = cluster.rng.choice(victims)
    others = [i for i in alive if i != victim]
    held = hold_puts(cluster, load, victim)
    holds = leads[cluster.brokers[victim].addr]
    check(held > 0 and holds > 0, f"the victim has {held} PUTs in flight and {holds} leases")
    late = n % 3 == 1 # its PUTs land after the takeover
    dead = [victim]
    t0 = time.monotonic()
    if n % 4 == 2: # who takes over dies as well, before it has flushed anything
        for i in others:
            hold_own_chain(cluster, i)
        cluster.kill(victim)
        cluster.wait_leaders(others[0], dead, 30)
        second = others[1]
        cluster.kill(second)
        dead.append(second)
        cluster.proxies[others[0]].tell("clear")
    else:
        cluster.kill(victim)
    if not late:
        for i in dead:
            cluster.proxies[i].tell("clear")
    survivor = [i for i in others if i not in dead][0]
    cluster.wait_leaders(survivor, dead, 30)
    took = time.monotonic() - t0
    if late:
        for i in dead:
            cluster.proxies[i].tell("clear")
    load.progress(40, f"round {n}")
    for i in dead:
        cluster.start(i)
    return f"killed {dead} ({holds} leases, {held} PUTs held{', landed late' if late else ''}), led again after {took:.1f} s"


def stop_round(cluster, load, n):
    """SIGSTOP beyond the lease, then SIGCONT: the zombie acknowledges nothing (all is compared at the end)."""
    alive = cluster.alive()
    leads = cluster.wait_leaders(alive[0], [], 30)
    victim = max(alive, key=lambda i: leads[cluster.brokers[i].addr])
    held = hold_puts(cluster, load, victim)
    cluster.brokers[victim].proc.send_signal(signal.SIGSTOP)
    others = [i for i in alive if i != victim]
    t0 = time.monotonic()
    cluster.wait_leaders(others[0], [victim], 30)
    took = time.monotonic() - t0
    cluster.proxies[victim].tell("clear")
    load.progress(40, f"round {n}")
    cluster.brokers[victim].proc.send_signal(signal.SIGCONT)
    time.sleep(1)
    check(cluster.brokers[victim].proc.poll() is None, f"the stopped broker ended:\n{cluster.brokers[victim].output()[-2000:]}")
    load.progress(40, f"round {n}")
    return f"stopped {victim} ({held} PUTs held), led again after {took:.1f} s, came back with a new session"


def main():
    need_load()
    folder = tempfile.mkdtemp(prefix="floe-kill-")
    print(f"seed {SEED}, files in {folder}", flush=True)
    cluster = Cluster(folder, 3)
    load = None
    try:
        print("takeover  " + takeover_reads_footers(cluster), flush=True)
        floe("topic", "create", "t", "--partitions", str(PARTITIONS), "--bootstrap", cluster.brokers[0].addr)
        load = Load(cluster.bootstrap(), os.path.join(folder, "load"), partitions=PARTITIONS, rate=RATE)
        load.wait(lambda c: c.get("acked", 0) > RATE // 2, 30, "the load does not start")
        for n in range(ROUNDS):
            note = stop_round(cluster, load, n) if n % 5 == 3 else kill_round(cluster, load, n)
            print(f"round {n}  {note}  {load.counts()}", flush=True)
        load.finish()
        print("verified  " + load.verify(cluster.bootstrap()), flush=True)
        for b in cluster.brokers:
            check(b.stop() == 0, f"not a clean end:\n{b.output()[-2000:]}")
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    except Exception as e:
        print(f"FAILED (seed {SEED}): {e}", flush=True)
        return 1
    finally:
        if load:
            load.kill()
        cluster.close()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
