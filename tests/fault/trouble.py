#!/usr/bin/env python3
"""Store, table and disk in trouble under load: brokers wait, say so, slow producers down, and drain by themselves.

Each test has a broker of its own, behind a floe-proxy, and producers with acks=1 and acks=all. What is looked at: acks=1 goes on
into the tier while it has room, acks=all waits or times out with Kafka's error, memory stays below --memory, the log names the
trouble, and after the end of it, without a restart, everything that was acknowledged is there once and in order.

FLOE_TEST_SECONDS is how long the trouble lasts (3; minutes on demand). Run by ctest, or with names of tests to run these.
"""
import concurrent.futures, contextlib, http.client, json, os, re, shutil, signal, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from floe_broker import Broker, Limit, check, floe, run
from harness import BUILD, Load, Proxy, memory_mib, need_load

SECONDS = float(os.environ.get("FLOE_TEST_SECONDS", "3"))
LEASE_MS, MEMORY_MIB, PARTITIONS, RATE = 2000, 128, 12, 2000
S3SERVER = os.path.join(os.path.dirname(__file__), "..", "support", "s3server")
# Without retries of librdkafka's own each error is seen; without idempotence, as it asks for them.
ONE_TRY = ["enable.idempotence=false", "max.in.flight=1", "retries=0"]


class Rig:
    """A broker behind a proxy, a topic for each kind of load."""

    def __init__(self, folder, *args, env=None, data_dir=None, server=None):
        self.folder, self.loads = folder, []
        server = server or os.environ
        self.proxy = Proxy(server["FLOE_S3_ENDPOINT"])
        env = dict(server, **(env or {}))
        self.broker = Broker(data_dir or os.path.join(folder, "data"),
                             ["--store", f"s3://{server['S3SERVER_BUCKET']}/{os.path.basename(folder)}", "--s3-endpoint",
                              self.proxy.endpoint, "--lease-ms", str(LEASE_MS), "--memory", f"{MEMORY_MIB}MiB", *args],
                             env=env, log=os.path.join(folder, "broker.log")).start()

    def load(self, name, acks, rate=RATE, value=1000, props=()):
        floe("topic", "create", name, "--partitions", str(PARTITIONS), "--bootstrap", self.broker.addr)
        l = Load(self.broker.addr, os.path.join(self.folder, name), topic=name, partitions=PARTITIONS, producers=2, rate=rate,
                 value=value, props=[f"acks={acks}", *props])
        self.loads.append(l)
        l.wait(lambda c: c.get("acked", 0) > rate // 4, 20, "the load does not start")
        return l

    def healed(self, wait=LEASE_MS / 1000 + 3):
        """Every load goes on, soon."""
        t0 = time.monotonic()
        for l in self.loads:
            l.progress(wait, "after the trouble")
        return f"went on {time.monotonic() - t0:.1f} s later"

    def said(self, what, wait=2, since=0):
        """`since`: length of the output from which on it counts."""
        limit = Limit(wait)
        while not re.search(what, self.broker.output()[since:]):
            check(limit.lasts(), f"the broker does not say {what!r}:\n{self.broker.output()[-3000:]}")
            time.sleep(0.05)

    def verify(self, *how):
        """Loads end; all is there; memory was kept; the broker ends cleanly."""
        notes = []
        for l in self.loads:
            l.finish(may_fail=True)
            notes.append(f"{l.topic}: {l.verify(self.broker.addr, *how)}")
        peak = memory_mib(self.broker.proc.pid)
        check(peak <= MEMORY_MIB, f"the broker had {peak:.0f} MiB resident, --memory is {MEMORY_MIB}")
        check(self.broker.stop() == 0, f"not a clean end:\n{self.broker.output()[-3000:]}")
        return "; ".join(notes) + f"; peak {peak:.0f} MiB"

    def close(self):
        for l in self.loads:
            l.kill()
        self.broker.kill()
        self.proxy.stop()


@contextlib.contextmanager
def rig(*args, **kw):
    r = Rig(*args, **kw)
    try:
        yield r
    finally:
        r.close()


def failures(load):
    """Names of the errors that producers were told, and how often."""
    count = {}
    for i in range(load.producers):
        with open(f"{load.folder}/failed.{i}") as f:
            for line in f:
                count[line.split()[-1]] = count.get(line.split()[-1], 0) + 1
    return count


def outage(r, begin, end, waits=True):
    """acks=1 goes on into the tier, acks=all waits (idempotent) or is told REQUEST_TIMED_OUT (one try)."""
    one = r.load("one", 1, props=ONE_TRY)
    all_ = r.load("all", "all", props=["request.timeout.ms=1500"])
    told = r.load("told", "all", rate=100, props=[*ONE_TRY, "request.timeout.ms=1500"])
    begin()
    time.sleep(Limit.patience()) # what is under way is answered
    before = one.counts(), all_.counts()
    time.sleep(SECONDS)
    after = one.counts(), all_.counts()
    went_on = after[0]["acked"] - before[0]["acked"]
    waited = after[1]["acked"] - before[1]["acked"]
    check(went_on > RATE * SECONDS * 0.7 / Limit.patience(), f"acks=1 did not go on into the tier: {went_on} in {SECONDS} s")
    check(not waits or waited == 0, f"acks=all was acknowledged without the store: {waited}")
    end()
    note = r.healed()
    note = f"{note}; {r.verify()}"
    errors = failures(told)
    check(not waits or errors.get("REQUEST_TIMED_OUT"), f"acks=all was not told that its time is over: {errors}")
    check(set(errors) <= {"REQUEST_TIMED_OUT", "_TIMED_OUT"}, f"errors other than a timeout: {errors}")
    check(not failures(one) and not failures(all_), f"failed: {failures(one)} {failures(all_)}")
    return note


def by_rules(folder, said, *rules):
    with rig(folder) as r:
        def begin():
            since = len(r.broker.output())
            for i, rule in enumerate(rules):
                r.proxy.tell(f"rule r{i} {rule}")
            r.said(said, 8, since)
        return outage(r, begin, lambda: r.proxy.tell("clear"))


def store_refuses(folder):
    """503 SlowDown and 500 on every chain key; the table is fine."""
    return by_rules(folder, "has not answered PUTs|refuses PUTs", "status 503 class=chain chance=50", "status 500 class=chain")


def store_hangs(folder):
    """Segments are taken and never answered."""
    return by_rules(folder, "has not answered PUTs", "hold class=chain")


def store_resets(folder):
    """Everything is closed without an answer, half of it after half a segment."""
    return by_rules(folder, "lapsed", "cut-up 100 method=PUT chance=50", "drop")


def table_fails(folder):
    """The table alone: the session lapses, and is alive again without a new one."""
    return by_rules(folder, "lapsed", "status 500 class=table")


def store_trickles(folder):
    """Answers are lost, late, damaged and doubled now and then, lines are slow: it only gets slower."""
    with rig(folder) as r:
        all_ = r.load("all", "all")
        for rule in ("drop-answer method=PUT chance=10", "apply-status 500 method=PUT chance=10", "apply-status 409 class=chain method=PUT chance=10",
                     "cut 20 method=GET chance=10", "corrupt 10 method=GET class=chain chance=10", "trickle 400000 class=chain chance=30",
                     "delay 300 chance=20"):
            r.proxy.tell(f"rule r{len(rule)}{rule[0]} {rule}")
        for _ in range(max(1, int(SECONDS / 4))):
            time.sleep(min(SECONDS, 4))
            all_.progress(15, "with a bad line")
        r.proxy.tell("clear")
        return r.healed() + "; " + r.verify()


def store_slow(folder):
    """Every answer takes longer than a renewal's first copy is waited for: it only gets slower."""
    with rig(folder) as r:
        all_ = r.load("all", "all")
        r.proxy.tell("rule r delay 200")
        time.sleep(LEASE_MS / 1000) # what that takes is learned
        before = all_.counts()["acked"]
        time.sleep(2 * LEASE_MS / 1000)
        went_on = all_.counts()["acked"] - before
        check(went_on > RATE / 2 / Limit.patience(), f"only {went_on} records were acknowledged in {2 * LEASE_MS} ms")
        r.proxy.tell("clear")
        return f"{went_on} acknowledged in {2 * LEASE_MS} ms; {r.healed()}; {r.verify()}"


class Server:
    """The S3 server's processes, when this test started them."""

    def __init__(self, folder):
        self.dir = os.path.join(folder, "s3")
        lines = run([sys.executable, S3SERVER, "start", self.dir]).decode()
        self.env = dict(l.split("=", 1) for l in lines.splitlines())
        with open(os.path.join(self.dir, "s3server.pids")) as f:
            self.pids = [int(x) for x in f.read().split()]

    def signal(self, number):
        for p in self.pids:
            os.kill(p, number)

    def restart(self, kill_for):
        """SIGKILL; after a while the same command in the same environment."""
        how = []
        for p in self.pids:
            with open(f"/proc/{p}/cmdline", "rb") as c, open(f"/proc/{p}/environ", "rb") as e:
                how.append((c.read().split(b"\0")[:-1], dict(x.split(b"=", 1) for x in e.read().split(b"\0") if b"=" in x)))
        self.signal(signal.SIGKILL)
        for p in self.pids:
            while os.path.exists(f"/proc/{p}") and open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()[0] != "Z":
                time.sleep(0.01)
        time.sleep(kill_for)
        self.children = [subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                          stderr=subprocess.DEVNULL, start_new_session=True) for argv, env in how]
        self.pids = [c.pid for c in self.children]
        with open(os.path.join(self.dir, "s3server.pids"), "w") as f:
            f.write("".join(f"{p}\n" for p in self.pids))
        host, port = self.env["FLOE_S3_ENDPOINT"].split("/")[2].split(":")
        limit = Limit(30)
        while True: # it answers, whatever it says
            with contextlib.suppress(OSError):
                c = http.client.HTTPConnection(host, int(port), timeout=2)
                c.request("GET", f"/{self.env['S3SERVER_BUCKET']}/none")
                if c.getresponse().status < 500:
                    break
            check(limit.lasts(), "the S3 server did not come back")
            time.sleep(0.1)

    def stop(self):
        with contextlib.suppress(OSError):
            self.signal(signal.SIGCONT)
        run([sys.executable, S3SERVER, "stop", self.dir])
        for c in getattr(self, "children", []):
            c.wait()


@contextlib.contextmanager
def own_server(folder):
    """A server of the test's own, which it may stop and kill."""
    check(not os.environ.get("FLOE_TEST_S3"), "this test stops its S3 server, and FLOE_TEST_S3 names one that it cannot stop")
    s = Server(folder)
    try:
        yield s
    finally:
        s.stop()


def status_tells(r):
    """`cluster status` shows that the store is silent, while it is."""
    until = time.monotonic() + 20
    while True:
        row = json.loads(floe("cluster", "status", "--json", "--bootstrap", r.broker.addr))["brokers"][0]
        if row["state"] == "lapsed" and row["store_trouble_ms"] > 1000 and re.search("no answer|not answered", row["store_trouble"]):
            return
        check(time.monotonic() < until, f"cluster status does not tell of the outage: {row}")
        time.sleep(0.2)


def server_stopped(folder):
    """The S3 server gets SIGSTOP: connections stand, nothing is answered, store and table."""
    with own_server(folder) as s, rig(folder, server=s.env) as r:
        def end():
            status_tells(r)
            s.signal(signal.SIGCONT)
        return outage(r, lambda: s.signal(signal.SIGSTOP), end)


def server_killed(folder):
    """The S3 server is killed and comes back on the same port and disk."""
    with own_server(folder) as s, rig(folder, server=s.env) as r:
        back = threading.Thread(target=s.restart, args=(SECONDS + 2,))
        return outage(r, back.start, back.join)


def tier_full(folder):
    """More than the tier holds: producers are told to wait, then wait; a kill -9 in the middle loses nothing of acks=1."""
    with rig(folder, "--tier-limit", "64MiB") as r:
        one = r.load("one", 1, rate=20000, props=[*ONE_TRY, "message.timeout.ms=300000", "request.timeout.ms=60000"])
        r.proxy.tell("rule r status 503 class=chain")
        one.wait(lambda c: c["throttles"] > 5, 15, "no answer asks to wait")
        r.said("producers are slowed down: the store is behind, and the tier holds")
        a = one.counts()["acked"]
        time.sleep(SECONDS)
        slow = (one.counts()["acked"] - a) / SECONDS
        check(slow < 8000, f"{slow:.0f} records a second are taken, with no end of the trouble in sight")
        most = one.counts()["throttled_ms"]
        check(0 < most <= 2000, f"an answer asked to wait {most} ms")
        peak = memory_mib(r.broker.proc.pid)
        check(peak <= MEMORY_MIB, f"the broker had {peak:.0f} MiB resident, --memory is {MEMORY_MIB}")
        listen = r.broker.addr
        r.broker.kill()
        r.proxy.tell("clear")
        r.broker.listen = listen
        r.broker.start()
        note = r.healed(15)
        return f"{slow:.0f}/s while short, waits up to {most} ms; {note}; {r.verify('provisional')}"


# ---- disks ----


def disk_outage(r, harm, heal, said):
    """A broken disk beside a good store: acks=1 is answered by commits. Without either: not at all."""
    one = r.load("one", 1, props=[*ONE_TRY, "request.timeout.ms=6000"])
    all_ = r.load("all", "all", props=["request.timeout.ms=1500"])
    # Batches that commits alone would answer do not touch the disk: the store has to be away for a moment.
    harm()
    r.proxy.tell("rule r hold class=chain")
    r.said(said, 20)
    time.sleep(1)
    before = one.counts()["acked"]
    time.sleep(2)
    lied = one.counts()["acked"] - before
    check(lied == 0, f"acks=1 was acknowledged {lied} times with neither disk nor store")
    r.proxy.tell("clear")
    one.progress(10, "disk broken, store back")
    all_.progress(10, "disk broken, store back")
    time.sleep(max(0, SECONDS - 4))
    heal()
    # Now acks=1 goes into the tier again: seen when the store is away once more.
    limit = Limit(10)
    while True:
        r.proxy.tell("rule r hold class=chain")
        time.sleep(1)
        a = one.counts()["acked"]
        time.sleep(1)
        again = one.counts()["acked"] - a
        r.proxy.tell("clear")
        if again > RATE / 2 / Limit.patience():
            break
        check(limit.lasts(), "the tier takes nothing after the disk was mended")
        time.sleep(0.5)
    limit = Limit(20)
    while "the tier takes batches again" not in r.broker.output(): # told when it has gone well for five seconds
        check(limit.lasts(), f"the end of the disk's trouble is not told:\n{r.broker.output()[-3000:]}")
        r.proxy.tell("rule r hold class=chain")
        time.sleep(0.5)
        r.proxy.tell("clear")
        time.sleep(0.5)
    return r.healed() + "; " + r.verify()


def faulty_disk(folder, fault, said):
    control = os.path.join(folder, "control")
    data = os.path.join(folder, "data")

    def set_to(text):
        with open(control, "w") as f:
            f.write(text)
    set_to("")
    env = {"LD_PRELOAD": os.path.join(BUILD, "tests", "faultdisk.so"), "FAULTDISK_DIR": data + "/", "FAULTDISK_CONTROL": control}
    with rig(folder, env=env) as r:
        return disk_outage(r, lambda: set_to(fault), lambda: set_to(""), said)


def disk_read_only(folder):
    return faulty_disk(folder, "write EROFS\nopen EROFS\nsync EROFS\n", "tier takes no batches.*[Rr]ead-only file system")


def disk_write_error(folder):
    return faulty_disk(folder, "write EIO\nsync EIO\n", "tier takes no batches.*[Ii]nput/output error")


def disk_sync_error(folder):
    """fsync alone fails: RocksDB learns of it when it flushes a memtable."""
    return faulty_disk(folder, "sync EIO\n", "tier takes no batches.*[Ii]nput/output error")


@contextlib.contextmanager
def small_disk(folder, mib):
    """A real file system of that size; needs root."""
    where = os.path.join(folder, "disk")
    os.mkdir(where)
    run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", where])
    try:
        yield where
    finally:
        run(["umount", "-l", where])


def can_mount():
    return os.geteuid() == 0 and shutil.which("mount") and subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], stderr=subprocess.DEVNULL).returncode == 0


def disk_full(folder):
    """A file system that is full (of what another wrote), then not any more."""
    if not can_mount():
        return faulty_disk(folder, "write ENOSPC\n", "tier takes no batches.*No space left") + " (no root: not with a real file system)"
    with small_disk(folder, 64) as where, rig(folder, data_dir=os.path.join(where, "data")) as r:
        ballast = os.path.join(where, "ballast")

        def fill():
            with open(ballast, "wb", buffering=0) as f, contextlib.suppress(OSError):
                while True:
                    f.write(b"x" * 65536)
        return disk_outage(r, fill, lambda: os.unlink(ballast), "tier takes no batches.*No space left")


def start_on_bad_disk(folder):
    """A start on a read-only or full disk: one sentence that names it."""
    notes = []
    for fault, said in (("write EROFS\nopen EROFS\n", "[Rr]ead-only file system"), ("write ENOSPC\n", "No space left"), ("sync EIO\n", "[Ii]nput/output error")):
        data = os.path.join(folder, "data" + fault[:3])
        control = os.path.join(folder, "control")
        with open(control, "w") as f:
            f.write(fault)
        env = {"LD_PRELOAD": os.path.join(BUILD, "tests", "faultdisk.so"), "FAULTDISK_DIR": data + "/", "FAULTDISK_CONTROL": control}
        b = Broker(data, [], env=env)
        b.launch()
        code = b.proc.wait(60)
        last = b.output().strip().splitlines()[-1] if b.output().strip() else ""
        check(code == 1 and re.search(said, last) and data in last, f"with {fault!r}: exit {code}: {b.output()}")
        notes.append(last.split("broker: ")[-1])
    return "; ".join(notes)


TESTS = [store_refuses, store_hangs, store_resets, table_fails, store_trickles, store_slow, server_stopped, server_killed, tier_full,
         disk_read_only, disk_write_error, disk_sync_error, disk_full, start_on_bad_disk]

def run_one(test):
    folder, t0 = tempfile.mkdtemp(prefix="floe-test-"), time.monotonic()
    try:
        note = test(folder)
        print(f"ok      {test.__name__}  {time.monotonic() - t0:.1f} s  {note}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        return True
    except Exception as e:  # every failure is told, then the others run
        print(f"FAILED  {test.__name__}: {e}\n        (files are in {folder})", flush=True)
        return False


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    need_load()
    wanted = sys.argv[1:] or [t.__name__ for t in TESTS]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:  # most of the time they wait
        done = list(pool.map(run_one, [t for t in TESTS if t.__name__ in wanted]))
    sys.exit(0 if done and all(done) else 1)
