"""Brokers as real processes, for tests: start, wait for the ready line, stop, kill. Standard library only."""
import os, re, shutil, signal, subprocess, sys, tempfile, time

FLOE = os.environ.get("FLOE_TEST_BIN", os.path.join(os.path.dirname(__file__), "..", "..", "build", "floe"))


class Failure(Exception):
    pass


def check(ok, what):
    if not ok:
        raise Failure(what)


class Limit:
    """So many seconds from now, on a machine that has nothing else to do. Where more processes want to run than there are
    processors for, everything takes that much longer: up to ten times the limit then."""

    def __init__(self, wait):
        self.wait, self.since = wait, time.monotonic()

    @staticmethod
    def patience():
        return min(10.0, max(1.0, os.getloadavg()[0] / os.cpu_count()))

    def lasts(self):
        return time.monotonic() - self.since < self.wait * self.patience()


class Broker:
    """One `floe broker`. `args` are its flags without --listen and --data-dir; port 0 is used for the listener."""

    def __init__(self, data_dir, args=(), env=None, listen="127.0.0.1:0", log=None, prefix=()):
        self.data_dir, self.args, self.listen = data_dir, list(args), listen
        self.env = dict(os.environ, **(env or {}))
        self.log = log or data_dir.rstrip("/") + ".log"
        self.prefix = list(prefix) # of the command
        self.program = FLOE
        self.proc = None
        self.addr = None

    def start(self, wait=15.0):
        self.launch()
        return self.wait_ready(wait)

    def launch(self):
        self.log_from = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, "ab") as out:
            self.proc = subprocess.Popen(
                [*self.prefix, self.program, "broker", "--data-dir", self.data_dir, "--listen", self.listen, *self.args],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env)

    def output(self):
        with open(self.log, "rb") as f:
            f.seek(self.log_from)
            return f.read().decode("utf-8", "replace")

    def wait_ready(self, wait=15.0):
        limit = Limit(wait)
        while True:
            m = re.search(r"^ready listen=(\S+)", self.output(), re.M)
            if m:
                self.addr = m.group(1)
                return self
            code = self.proc.poll()
            check(code is None, f"the broker ended with {code} before it was ready:\n{self.output()}")
            check(limit.lasts(), f"the broker was not ready within {wait} s:\n{self.output()}")
            time.sleep(0.005)

    def stop(self, wait=25.0):
        """SIGTERM; the exit code."""
        self.proc.send_signal(signal.SIGTERM)
        try:
            return self.proc.wait(wait * Limit.patience())
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"the broker did not end within {wait} s of SIGTERM:\n{self.output()[-4000:]}")

    def kill(self):
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()

    def lose_disk(self):
        self.kill()
        shutil.rmtree(self.data_dir, ignore_errors=True)


def run(cmd, wait=120, data=None, ok=True):
    """Runs a command; its output. A non-zero exit is a failure unless `ok` is false (then the result is returned)."""
    r = subprocess.run(cmd, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=wait * Limit.patience())
    if not ok:
        return r
    check(r.returncode == 0, f"{' '.join(cmd)}: exit {r.returncode}\n{r.stderr.decode('utf-8', 'replace')[-4000:]}")
    return r.stdout


def need(program, package):
    if not shutil.which(program):
        sys.exit(f"{program} is not installed: apt-get install {package}")


def floe(*args, **kw):
    return run([FLOE, *args], **kw)


def main(tests, argv):
    """Runs the named tests (or all) with a fresh folder each; prints a line a test."""
    wanted = argv or [t.__name__ for t in tests]
    failed = 0
    for t in tests:
        if t.__name__ not in wanted:
            continue
        folder = tempfile.mkdtemp(prefix="floe-test-")
        t0 = time.monotonic()
        try:
            note = t(folder) or ""
            print(f"ok      {t.__name__}  {time.monotonic() - t0:.1f} s  {note}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
        except Exception as e:  # every failure is told, then the others run
            failed += 1
            print(f"FAILED  {t.__name__}: {e}\n        (files are in {folder})", flush=True)
    sys.exit(1 if failed else 0)
