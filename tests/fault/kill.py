#!/usr/bin/env python3
"""Brokers killed with their disks, stopped, cut off and lied to, under load: nothing that acks=all acknowledged is lost, repeated,
reordered or moved.

Three brokers on a real S3 server, each behind its own floe-proxy; idempotent librdkafka producers and a consumer run all
the while (fault_load). Each round harms one way, drawn by the seed:

  kill      a broker that holds leases dies by SIGKILL with PUTs in flight (its proxy holds them: asserted) and loses its data
            directory; sometimes the held PUTs land after the takeover, sometimes who took over dies as well, before it has flushed
  restart   SIGKILL, and at once again on its own disk
  stop      SIGSTOP beyond its lease, then it goes on as a zombie
  blink     SIGSTOP for less than its lease
  storm     answers of store and table are lost, late, damaged, cut, refused or conflicts for all brokers, and one is killed meanwhile
  apart     two brokers do not reach each other, and one of them is killed
  alone     a broker reaches nobody, or hears and is not heard, beyond its lease
  netem     its lines lose, delay, double and reorder packets
            (these three in network namespaces, where that is possible: root, iproute2; netem where the kernel has it)

At the end fault_check compares everything that was acknowledged and consumed with everything that is there. No send may fail, and
no producer may have begun a new epoch: librdkafka does so when it is told that its sequence is out of order, and then repeats what
was stored and not answered.

Run by tests/support/s3server run. FLOE_TEST_ROUNDS (50) of FLOE_TEST_SEED (the time); FLOE_TEST_KINDS=kill,stop draws from these
alone. 1,000 rounds, in about an hour: FLOE_TEST_ROUNDS=1000, or ctest -L fault-all. Rounds are mostly waits: FLOE_TEST_CLUSTERS=2
shares them between two clusters side by side, with seeds of their own, where the machine can bear it. FLOE_TEST_WAIT=60: a run
that failed stands still for so long before it ends; FLOE_TEST_KEEP=1: the files of one that did not fail stay as well.
"""
import os, random, re, shutil, signal, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from floe_broker import Broker, Limit, check, floe, run
from harness import Load, Proxy, need_load
from leads import leaders
import net

ROUNDS = int(os.environ.get("FLOE_TEST_ROUNDS", "50"))
CLUSTERS = int(os.environ.get("FLOE_TEST_CLUSTERS", "1"))
SEED = int(os.environ.get("FLOE_TEST_SEED", str(int(time.time()))))
PARTITIONS, RATE, LEASE_MS, LEASE_S = 60, 2000, 2000, 2.0
WEIGHTS = {"kill": 8, "restart": 3, "stop": 2, "blink": 2, "storm": 4, "netem": 2, "apart": 2, "alone": 2}
STORM = ["drop-answer method=PUT", "swallow method=PUT class=table", "apply-status 500 method=PUT", "apply-status 503 class=table",
         "apply-status 409 class=chain method=PUT", "apply-status 412 class=chain method=PUT", "status 503", "status 500 class=chain",
         "delay 150", "cut 30 method=GET", "cut-up 500 method=PUT class=chain", "corrupt 20 class=chain method=GET",
         "trickle 200000 class=chain", "drop"]


def say(text):
    print(f"{SEED}: {text}", flush=True)


class Cluster:
    def __init__(self, folder, n):
        self.folder, self.rng = folder, random.Random(SEED)
        self.no_net = net.why_not()
        self.net = None if self.no_net else net.Net(n)
        here = self.net.subnet + ".1:0" if self.net else "127.0.0.1:0"
        self.proxies = [Proxy(listen=here) for _ in range(n)]
        self.generation = [0] * n
        self.brokers = [None] * n
        self.start(0)
        self.start_all(range(1, n))

    def start(self, i, keep_disk=False):
        self.launch(i, keep_disk)
        self.brokers[i].wait_ready(40)

    def start_all(self, which):
        """Side by side."""
        for i in which:
            self.launch(i)
        for i in which:
            self.brokers[i].wait_ready(40)

    def launch(self, i, keep_disk=False):
        """A broker with an empty disk, or its last one; on its last port."""
        b = self.brokers[i]
        host = self.net.host(i) if self.net else "127.0.0.1"
        self.generation[i] += not keep_disk
        self.brokers[i] = Broker(
            os.path.join(self.folder, f"b{i}.{self.generation[i]}"),
            ["--store", f"s3://{os.environ['S3SERVER_BUCKET']}/{os.path.basename(self.folder)}", "--s3-endpoint",
             self.proxies[i].endpoint, "--lease-ms", str(LEASE_MS), "--memory", "256MiB"],
            listen=b.addr if b else host + ":0", log=os.path.join(self.folder, f"b{i}.log"),
            prefix=self.net.prefix(i) if self.net else ())
        self.brokers[i].launch()

    def kill(self, i):
        self.brokers[i].lose_disk()

    def alive(self):
        return [i for i, b in enumerate(self.brokers) if b.proc.poll() is None]

    def bootstrap(self):
        return ",".join(b.addr for b in self.brokers)

    def leaders(self, asked, topic="t"):
        return leaders(self.brokers[asked].addr, topic)

    def wait_leaders(self, asked, dead, wait, topic="t"):
        """Until no partition is led by one of `dead`."""
        limit = Limit(wait)
        gone = {self.brokers[i].addr for i in dead}
        while True:
            count = self.leaders(asked, topic)
            if count is not None and not any(count[a] for a in gone) and not count[None]:
                return count
            check(limit.lasts(), f"after {wait} s the leaders are still {count} (dead: {gone})")
            time.sleep(0.05)

    def victim(self):
        """One that leads something, as another one says too (a zombie still believes that it does), the others, and how many."""
        alive = self.alive()
        limit = Limit(30)
        while True:
            told = [self.wait_leaders(i, [], 30) for i in (alive[0], alive[-1])]
            leads = {a: min(t[a] for t in told) for a in told[0]}
            some = [i for i in alive if leads.get(self.brokers[i].addr, 0) > 0]
            if some:
                break
            check(limit.lasts(), f"nobody leads anything: {told}")
        v = self.rng.choice(some)
        return v, [i for i in alive if i != v], leads[self.brokers[v].addr]

    def signal(self, i, number):
        self.brokers[i].proc.send_signal(number)

    def still_runs(self, i):
        check(self.brokers[i].proc.poll() is None, f"broker {i} ended:\n{self.brokers[i].output()[-2000:]}")

    def hold_own_chain(self, i):
        """The broker's segments are held by its proxy from now on; seals that it puts for others are not."""
        node = re.findall(r"session (\d+)-\d+-[0-9a-f]+ is open", self.brokers[i].output())[-1]
        self.proxies[i].tell(f"rule hold hold method=PUT class=chain key=/chain/{node}-")

    def hold_puts(self, i, load, wait=40):
        """As above; at least one is."""
        self.hold_own_chain(i)
        limit = Limit(wait)
        while self.proxies[i].held() == 0:
            check(limit.lasts(), f"broker {i} has no PUT in flight: {load.counts()}")
            time.sleep(0.01)
        return self.proxies[i].held()

    def close(self):
        for b in self.brokers:
            if b and b.proc and b.proc.poll() is None:
                b.proc.send_signal(signal.SIGCONT)
                b.kill()
        for p in self.proxies:
            p.stop()
        if self.net:
            self.net.close()


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
    cluster.wait_leaders(survivors[0], [victim], 30, "big")
    for p in range(12):
        run(["kcat", "-b", ",".join(cluster.brokers[i].addr for i in survivors), "-P", "-t", "big", "-p", str(p)], data=b"after\n", wait=60)
    took = time.monotonic() - t0
    got = sum(cluster.proxies[i].count("GET chain", "down") for i in survivors)
    gets = sum(cluster.proxies[i].count("GET chain", "requests") for i in survivors)
    check(gets > 0, f"nothing was read: {leads}")
    check(got < len(data) // 5 and got <= gets * 65536, f"a takeover read {got} bytes of chains that hold {len(data)}")
    cluster.start(victim)
    return f"writable again after {took:.1f} s; {gets} GETs, {got >> 10} KiB of {len(data) >> 20} MiB"


# ---- rounds ----


def round_kill(cluster, load):
    victim, others, leads = cluster.victim()
    held = cluster.hold_puts(victim, load)
    late = cluster.rng.random() < 0.35 # its PUTs land after the takeover
    dead = [victim]
    t0 = time.monotonic()
    if cluster.rng.random() < 0.25: # who takes over dies as well, before it has flushed anything
        for i in others:
            cluster.hold_own_chain(i)
        cluster.kill(victim)
        cluster.wait_leaders(others[0], dead, 30)
        cluster.kill(others[1])
        dead.append(others[1])
        cluster.proxies[others[0]].tell("clear")
    else:
        cluster.kill(victim)
    if not late:
        for i in dead:
            cluster.proxies[i].tell("clear")
    cluster.wait_leaders(others[0], dead, 30)
    took = time.monotonic() - t0
    if late:
        for i in dead:
            cluster.proxies[i].tell("clear")
    load.progress(40, "after a kill")
    cluster.start_all(dead)
    return f"{dead} ({leads} leases, {held} PUTs held{', landed late' if late else ''}), led again after {took:.1f} s"


def round_restart(cluster, load):
    victim, _, leads = cluster.victim()
    t0 = time.monotonic()
    cluster.brokers[victim].kill()
    cluster.start(victim, keep_disk=True)
    took = time.monotonic() - t0
    load.progress(40, "after a restart")
    return f"{victim} ({leads} leases), ready again after {took:.1f} s"


def round_stop(cluster, load):
    """The zombie acknowledges nothing (all is compared at the end)."""
    victim, others, leads = cluster.victim()
    held = cluster.hold_puts(victim, load)
    cluster.signal(victim, signal.SIGSTOP)
    t0 = time.monotonic()
    cluster.wait_leaders(others[0], [victim], 30)
    took = time.monotonic() - t0
    cluster.proxies[victim].tell("clear")
    load.progress(40, "without the stopped one")
    cluster.signal(victim, signal.SIGCONT)
    load.progress(40, "with the zombie")
    cluster.still_runs(victim)
    return f"{victim} ({leads} leases, {held} PUTs held), led again after {took:.1f} s"


def round_blink(cluster, load):
    victim, _, leads = cluster.victim()
    pause = cluster.rng.uniform(0.1, LEASE_S * 0.9)
    cluster.signal(victim, signal.SIGSTOP)
    time.sleep(pause)
    cluster.signal(victim, signal.SIGCONT)
    load.progress(40, "after a short stop")
    cluster.still_runs(victim)
    return f"{victim} ({leads} leases) for {pause:.1f} s"


def round_storm(cluster, load):
    rules = cluster.rng.sample(STORM, 5)
    for p in cluster.proxies:
        for i, r in enumerate(rules):
            p.tell(f"rule s{i} {r} chance={cluster.rng.randint(2, 12)}")
    time.sleep(cluster.rng.uniform(0.2, 1))
    victim = cluster.rng.choice(cluster.alive())
    cluster.kill(victim)
    time.sleep(cluster.rng.uniform(0.2, 1))
    for p in cluster.proxies:
        p.tell("clear")
    load.progress(40, "after a storm")
    cluster.start(victim)
    return f"{'; '.join(rules)}; {victim} killed"


def round_netem(cluster, load):
    victim, _, leads = cluster.victim()
    how = [f"delay {cluster.rng.randint(1, 60)}ms {cluster.rng.randint(1, 30)}ms loss {cluster.rng.randint(0, 20)}% reorder 20% duplicate 2%"
           for _ in range(2)]
    cluster.net.shape(victim, *how)
    time.sleep(1.5)
    cluster.net.shape(victim)
    load.progress(40, "after bad lines")
    return f"{victim} ({leads} leases): {how[0]} to it, {how[1]} from it"


def round_apart(cluster, load):
    i, j = cluster.rng.sample(range(len(cluster.brokers)), 2)
    cluster.net.cut(i, j, True)
    time.sleep(cluster.rng.uniform(0.5, LEASE_S))
    victim = cluster.rng.choice([i, j])
    cluster.kill(victim)
    load.progress(40, "while two are apart")
    cluster.net.cut(i, j, False)
    cluster.start(victim)
    load.progress(40, "together again")
    return f"{i} and {j}, {victim} killed"


def round_alone(cluster, load):
    victim, others, leads = cluster.victim()
    how = cluster.rng.choice([cluster.net.mute, cluster.net.unplug])
    how(victim, True)
    t0 = time.monotonic()
    cluster.wait_leaders(others[0], [victim], 30)
    took = time.monotonic() - t0
    load.progress(40, "without the lonely one")
    how(victim, False)
    load.progress(40, "with it again")
    cluster.still_runs(victim)
    return f"{victim} ({leads} leases), {how.__name__}; led again after {took:.1f} s"


def kinds(cluster):
    wanted = [k for k in os.environ.get("FLOE_TEST_KINDS", ",".join(WEIGHTS)).split(",")]
    no_netem = cluster.no_net or net.why_no_netem(cluster.net)
    for kind, why in (("apart", cluster.no_net), ("alone", cluster.no_net), ("netem", no_netem)):
        if why and kind in wanted:
            say(f"not run here: {kind}: {why}")
            wanted.remove(kind)
    check(wanted, "no kind of round is left")
    return wanted


def play():
    """One cluster: all rounds, then the comparison."""
    folder = tempfile.mkdtemp(prefix="floe-kill-")
    say(f"files in {folder}")
    cluster = Cluster(folder, 3)
    load = None
    try:
        say("takeover  " + takeover_reads_footers(cluster))
        floe("topic", "create", "t", "--partitions", str(PARTITIONS), "--bootstrap", cluster.brokers[0].addr)
        load = Load(cluster.bootstrap(), os.path.join(folder, "load"), partitions=PARTITIONS, rate=RATE,
                    props=["socket.timeout.ms=3000", # a request to a stopped broker ends
                           "debug=eos", "log_level=7"])
        load.wait(lambda c: c.get("acked", 0) > RATE // 2, 30, "the load does not start")
        of = kinds(cluster)
        begun = time.monotonic()
        for n in range(ROUNDS):
            kind = of[n] if n < len(of) else cluster.rng.choices(of, [WEIGHTS[k] for k in of])[0] # each at least once
            t0 = time.monotonic()
            note = globals()["round_" + kind](cluster, load)
            c = load.counts()
            say(f"{time.strftime('%T')} round {n}  {time.monotonic() - t0:.1f} s  {kind}: {note}; {c['acked']} acknowledged of {c['sent']}")
        say(f"{ROUNDS} rounds in {time.monotonic() - begun:.0f} s")
        load.finish()
        say("verified  " + load.verify(cluster.bootstrap()))
        check(not load.said("epoch bump"), f"producers began new epochs: {load.said('epoch bump')[:3]}")
        for b in cluster.brokers:
            check(b.stop() == 0, f"not a clean end:\n{b.output()[-2000:]}")
        if not os.environ.get("FLOE_TEST_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
        return 0
    except Exception as e:
        say(f"FAILED: {e}")
        for i, p in enumerate(cluster.proxies):
            say(f"proxy {i}: held {p.tell('held')} {[r for r in p.tell('stats') if ' open=0 ' not in r]}")
        if load and load.said("epoch bump"):
            say(f"producers began new epochs: {load.said('epoch bump')[:3]}")
        if os.environ.get("FLOE_TEST_WAIT"):
            say(f"waiting; pids {[b.proc.pid for b in cluster.brokers]}")
            time.sleep(float(os.environ["FLOE_TEST_WAIT"]))
        return 1
    finally:
        if load:
            load.kill()
        cluster.close()


def side_by_side():
    """Clusters of their own, each in a process."""
    share = [ROUNDS // CLUSTERS + (i < ROUNDS % CLUSTERS) for i in range(CLUSTERS)]
    parts = [subprocess.Popen([sys.executable, __file__], env=dict(
        os.environ, FLOE_TEST_CLUSTERS="1", FLOE_TEST_SEED=str(SEED + i), FLOE_TEST_ROUNDS=str(n))) for i, n in enumerate(share)]
    try:
        return max(p.wait() != 0 for p in parts)
    finally:
        for p in parts:
            p.terminate()
            p.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    need_load()
    sys.exit(side_by_side() if CLUSTERS > 1 else play())
