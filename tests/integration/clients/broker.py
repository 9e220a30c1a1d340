"""A broker of build/floe for client tests: its own folder, free ports, one clean end."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time


class Broker:
    """Starts in __enter__, ends with SIGTERM in __exit__ and insists on exit code 0."""

    def __init__(self, binary, *flags):
        self.dir = tempfile.mkdtemp(prefix="floe-clients-")
        self.log = os.path.join(self.dir, "log")
        self.args = [binary, "broker", "--listen", "127.0.0.1:0", "--data-dir", os.path.join(self.dir, "data"), *flags]
        self.process = None
        self.address = None
        self.killed = False

    def __enter__(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("FLOE_")}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.args, stderr=log, stdout=log, env=env)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            ready = re.search(r"^ready listen=(\S+)", self.text(), re.M)
            if ready:
                self.address = ready.group(1)
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError("the broker did not become ready:\n" + self.text())

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def kill_with_disk(self):
        """SIGKILL, and its data directory is gone; no end is owed any more."""
        self.process.kill()
        self.process.wait(10)
        shutil.rmtree(self.dir, ignore_errors=True)
        self.killed = True

    def __exit__(self, kind, *rest):
        if self.killed:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(25)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "none: it did not end within 25 s"
        if kind is not None or code != 0:
            print("the broker's log:\n" + self.text()[-8000:])
        shutil.rmtree(self.dir, ignore_errors=True)
        if kind is None and code != 0:
            raise RuntimeError(f"the broker's exit code is {code}")
