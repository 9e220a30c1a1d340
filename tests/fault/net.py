"""Network namespaces for brokers as real processes: each in one of its own, on a bridge with this machine, with netem on its lines
where the kernel has it.

Needs root, iproute2 and a kernel with veth and bridges; `why_not()` and `why_no_netem()` say what is missing.
"""
import os, shutil, subprocess


def ip(*args, ok=True):
    r = subprocess.run(["ip", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if ok and r.returncode:
        raise RuntimeError(f"ip {' '.join(args)}: {r.stdout.decode().strip()}")
    return r.returncode == 0


def why_not():
    """The reason why there can be no namespaces here; null where there can."""
    if os.geteuid() != 0:
        return "not root"
    for tool in ("ip", "tc"):
        if not shutil.which(tool):
            return f"{tool} is not installed (apt-get install iproute2)"
    try:
        Net(1).close()
    except RuntimeError as e:
        return str(e)
    return None


def why_no_netem(n):
    try:
        n.shape(0, "delay 1ms", "delay 1ms")
        n.shape(0)
    except RuntimeError as e:
        return str(e)
    return None


class Net:
    """Hosts 0..n-1 at 10.x.y.10 and up; this machine is 10.x.y.1."""

    def __init__(self, n):
        self.tag = f"fl{os.getpid() % 100000}"
        self.subnet = f"10.{64 + os.getpid() % 128}.{os.getpid() // 128 % 256}"
        self.bridge, self.n = self.tag + "b", n
        self.close()
        try:
            ip("link", "add", self.bridge, "type", "bridge")
            ip("addr", "add", self.subnet + ".1/24", "dev", self.bridge)
            ip("link", "set", self.bridge, "up")
            for i in range(n):
                ns, out, inner = self.name(i), f"{self.tag}v{i}", f"{self.tag}w{i}"
                ip("netns", "add", ns)
                ip("link", "add", out, "type", "veth", "peer", "name", inner, "netns", ns)
                ip("link", "set", out, "master", self.bridge, "up")
                ip("-n", ns, "addr", "add", self.host(i) + "/24", "dev", inner)
                ip("-n", ns, "link", "set", inner, "up")
                ip("-n", ns, "link", "set", "lo", "up")
        except RuntimeError:
            self.close()
            raise

    def name(self, i):
        return f"{self.tag}n{i}"

    def host(self, i):
        return f"{self.subnet}.{10 + i}"

    def prefix(self, i):
        return ["ip", "netns", "exec", self.name(i)]

    def shape(self, i, to="", from_=""):
        """netem for what goes to host i, and for what comes from it; empty: nothing of it any more."""
        for where, dev, how in ((["-n", self.name(i)], f"{self.tag}w{i}", from_), ([], f"{self.tag}v{i}", to)):
            verb = ["replace"] if how else ["del"]
            r = subprocess.run(["tc", *where, "qdisc", *verb, "dev", dev, "root", *(["netem", *how.split()] if how else [])],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if r.returncode and how:
                raise RuntimeError(f"tc netem {how}: {r.stdout.decode().strip()}")

    def cut(self, i, j, on):
        """Hosts i and j do not reach each other."""
        ip("-n", self.name(i), "route", "replace" if on else "del", "blackhole", self.host(j) + "/32", ok=on)

    def mute(self, i, on):
        """What host i sends reaches nobody; what is sent to it arrives."""
        for half in (".0/25", ".128/25"):
            ip("-n", self.name(i), "route", "replace" if on else "del", "blackhole", self.subnet + half, ok=on)

    def unplug(self, i, on):
        ip("link", "set", f"{self.tag}v{i}", "down" if on else "up")

    def close(self):
        for i in range(self.n):
            ip("netns", "del", self.name(i), ok=False)
            ip("link", "del", f"{self.tag}v{i}", ok=False)
        ip("link", "del", self.bridge, ok=False)
