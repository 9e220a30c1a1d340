"""What the fault tests share: floe-proxy, the load generator, and the history checker. Standard library only."""
import collections, os, socket, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from floe_broker import FLOE, Limit, check

BUILD = os.path.dirname(os.path.abspath(FLOE))
LOAD, CHECK = os.path.join(BUILD, "tests", "fault_load"), os.path.join(BUILD, "tests", "fault_check")


def need_load():
    if not os.path.exists(LOAD):
        print("fault_load was not built: install librdkafka-dev (scripts/deps) and build again")
        sys.exit(1)


class Proxy:
    """floe-proxy before the S3 server; its control port."""

    def __init__(self, to=None, listen="127.0.0.1:0"):
        to = to or os.environ["FLOE_S3_ENDPOINT"]
        self.proc = subprocess.Popen([os.path.join(BUILD, "floe-proxy"), "--to", to, "--listen", listen],
                                     stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        words = dict(w.split("=") for w in self.proc.stdout.readline().decode().split())
        self.endpoint = "http://" + words["listen"]
        host, port = words["control"].split(":")
        self.io = socket.create_connection((host, int(port))).makefile("rw")

    def tell(self, line):
        self.io.write(line + "\n")
        self.io.flush()
        out = []
        while True:
            row = self.io.readline().rstrip("\n")
            check(row, "the proxy is gone")
            if row.startswith("ok"):
                return out
            check(not row.startswith("error"), f"proxy: {line}: {row}")
            out.append(row)

    def held(self):
        return len(self.tell("held"))

    def count(self, what, counter):
        for row in self.tell("stats"):
            if row.startswith(what + " "):
                return int(dict(f.split("=") for f in row.split()[2:])[counter])
        return 0

    def stop(self):
        self.proc.kill()
        self.proc.wait()


class Load:
    """fault_load: idempotent producers with acks=all (or what `props` says), and a consumer that follows."""

    def __init__(self, bootstrap, folder, topic="t", partitions=60, producers=3, value=1000, rate=3000, props=()):
        self.folder, self.topic, self.partitions, self.producers, self.rate = folder, topic, partitions, producers, rate
        os.mkdir(folder)
        self.proc = subprocess.Popen([LOAD, bootstrap, topic, str(partitions), str(producers), str(value), str(rate),
                                      folder, *props], stdin=subprocess.PIPE, stdout=open(folder + ".out", "wb"), stderr=open(folder + ".log", "wb"))

    def counts(self):
        with open(self.folder + ".out", "rb") as f:
            f.seek(max(0, f.seek(0, os.SEEK_END) - 1024))
            rows = f.read().decode().split("\n")
        words = rows[-2].split() if len(rows) > 1 else []
        words = words[1:] if words[:1] == ["end"] else words
        return {k: int(v) for k, v in zip(words[::2], words[1::2])}

    def wait(self, ok, wait, what):
        limit = Limit(wait)
        while not ok(self.counts()):
            check(self.proc.poll() is None, "the load generator ended")
            check(limit.lasts(), f"{what}: not within {wait} s: {self.counts()}")
            time.sleep(0.05)

    def tell(self, line):
        self.proc.stdin.write(line.encode() + b"\n")
        self.proc.stdin.flush()

    def progress(self, wait, what):
        before = self.counts().get("acked", 0)
        self.wait(lambda c: c.get("acked", 0) > before + self.rate // 4, wait, what)

    def said(self, what):
        """Lines of the clients' logs."""
        with open(self.folder + ".log", errors="replace") as f:
            return [line.strip() for line in f if what in line]

    def failures(self):
        """What failed for good: error → how many messages (all of them only once the load has ended)."""
        codes = collections.Counter()
        for i in range(self.producers):
            with open(os.path.join(self.folder, f"failed.{i}")) as f:
                codes.update(line.split()[2] for line in f if len(line.split()) == 3)
        return dict(codes)

    def finish(self, wait=60, may_fail=False):
        """No more is sent; until everything is answered and the consumer has what was acknowledged. The counts.
        A send that failed for good is a failure of the test, unless it may."""
        self.tell("stop")
        self.wait(lambda c: c["acked"] + c["failed"] == c["sent"], wait, "not everything was answered")
        total = self.counts()["acked"]
        self.wait(lambda c: c["consumed"] >= total, wait, "the consumer does not get everything")
        self.tell("quit")
        check(self.proc.wait(60) == 0, "the load generator failed")
        check(self.counts()["failed"] == 0 or may_fail, f"sends failed for good: {self.failures()}")
        return self.counts()

    def verify(self, bootstrap, *how):
        """Everything that was acknowledged and consumed against everything that is there (fault_check)."""
        kcat = subprocess.Popen(["kcat", "-b", bootstrap, "-C", "-t", self.topic, "-o", "beginning", "-e", "-q", "-f",
                                 "%p %o %s\n"], stdout=subprocess.PIPE)
        r = subprocess.run([CHECK, self.folder, str(self.partitions), str(self.producers), *how], stdin=kcat.stdout,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        check(kcat.wait() == 0, "kcat could not read everything")
        check(r.returncode == 0, (r.stdout + r.stderr).decode())
        return r.stdout.decode().strip()

    def kill(self):
        self.proc.kill()
        self.proc.wait()


def memory_mib(pid, what="VmHWM"):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1024
    return 0
