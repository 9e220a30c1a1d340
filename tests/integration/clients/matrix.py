#!/usr/bin/env python3
"""The client matrix: every stock client, unchanged, against Floe, each with the same features: admin, produce, consume,
groups (a member joins and leaves), offsets (commit, resume, reset), and more where the client has it.

  matrix.py FLOE              what is installed or can be made ready soon; the rest is printed as not run, with the reason
  matrix.py FLOE --all        everything; what cannot be made ready is a failure
  matrix.py FLOE --cluster    only groups and offsets, on three brokers over the S3 server of tests/support/s3server
  matrix.py FLOE --only A,B   only these
  matrix.py FLOE --python X   runs X of this folder with the Python that has the clients of PyPI

A client's program gets an address, a prefix for its names and the features wanted; it prints "ok FEATURE" or
"failed FEATURE: why". Versions are pinned beside the programs (pom files, go.sum, lock files, requirements.txt); what is
made of them lies in ~/.cache/floe/clients and is used again until the pins or the program change."""
import concurrent.futures
import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from broker import Broker

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(os.path.expanduser("~"), ".cache", "floe", "clients")
FEATURES = ["admin", "produce", "consume", "groups", "offsets", "cooperative", "kip848", "migrate", "tools", "streams", "connect"]
CLUSTER_FEATURES = ["groups", "offsets", "cooperative", "kip848", "migrate"]
AT_ONCE = 3
READY_S = {False: 90, True: 1500}  # for making all ready, in the default run and in the full one
RUN_S = 150  # for one row
BASIC = ["admin", "produce", "consume", "groups", "offsets"]


class NotReady(Exception):
    pass


class Kit:
    """What rows run on: packages fetched and programs built. Its `tool` must be on the machine. Everything in its folder
    decides whether what lies in the cache is still good."""

    def __init__(self, name, tool, folder, make, also=()):
        self.name, self.tool, self.folder, self.make, self.also = name, tool, folder, make, also
        self.why, self.log = None, ""

    def source(self, *path):
        return os.path.join(HERE, self.folder, *path)

    def cache(self, *path):
        h = hashlib.sha256(sys.version.encode())
        files = [os.path.join(root, f) for root, _, names in os.walk(self.source()) for f in names]
        for f in [*sorted(files), *self.also]:
            with open(f, "rb") as body:
                h.update(os.path.basename(f).encode() + b"\0" + body.read())
        return os.path.join(CACHE, self.name + "-" + h.hexdigest()[:16], *path)

    def ready(self, limit, until):
        """Makes it ready; only a finished one is marked so. Sets `why` where it cannot be."""
        try:
            if not shutil.which(self.tool):
                raise NotReady(f"{self.tool} is not installed")
            if os.path.exists(self.cache(".done")):
                return
            shutil.rmtree(self.cache(), ignore_errors=True)
            os.makedirs(self.cache())
            for step in self.make(self):
                self.step(until, limit, **step)
            with open(self.cache(".done"), "w", encoding="utf-8"):
                pass
        except NotReady as e:
            self.why = str(e)

    def step(self, until, limit, run, cwd=None, env=None):
        name = os.path.basename(run[0])
        if time.monotonic() >= until:
            raise NotReady(f"not ready within {limit} s; `scripts/test clients` waits longer")
        p = subprocess.Popen(run, cwd=cwd or self.cache(), env=dict(os.environ, **(env or {})), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            out = p.communicate(timeout=max(until - time.monotonic(), 1))[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired as e:
            os.killpg(p.pid, signal.SIGKILL)
            p.communicate()
            raise NotReady(f"{name} was not done within {limit} s; `scripts/test clients` waits longer") from e
        self.log += out
        if p.returncode != 0:
            lines = [x.strip() for x in out.splitlines() if x.strip()]
            raise NotReady(f"{name} failed with {p.returncode}: " + " | ".join(lines[-3:])[:240])


class Row:
    """One client: a kit, the command that runs its program, and the features that it has."""

    def __init__(self, name, kit, command, features):
        self.name, self.kit, self.command, self.features = name, kit, command, features
        self.result, self.log, self.seconds = {}, "", 0

    def run(self, target, wanted):
        features = [f for f in self.features if f in wanted]
        if not features:
            return
        began = time.monotonic()
        prefix = re.sub(r"[^a-z0-9]+", "-", self.name) + "-"
        command = [*self.command(self.kit), target, prefix, ",".join(features)]
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             cwd=self.kit.cache(), start_new_session=True)
        try:
            out = p.communicate(timeout=RUN_S)[0]
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            out = p.communicate()[0] + b"\nit did not end\n"
        self.log = out.decode("utf-8", "replace")
        self.seconds = time.monotonic() - began
        for word, feature in re.findall(r"^(ok|failed) (\w+)", self.log, re.M):
            self.result[feature] = word == "ok" and self.result.get(feature, True)
        for f in features:
            self.result.setdefault(f, False)  # it said nothing about it
        if p.returncode != 0 and all(self.result.values()):
            self.result[features[-1]] = False


def maven(version):
    def make(kit):
        yield {"run": ["mvn", "-q", "-B", "-f", kit.source(f"kafka-{version}.xml"), "-Dstyle.color=never",
                       "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
                       "-DoutputDirectory=" + kit.cache("jars")]}
        sources = [kit.source(f) for f in sorted(os.listdir(kit.source())) if f.endswith(".java")]
        yield {"run": ["javac", "-nowarn", "-cp", kit.cache("jars") + "/*", "-d", kit.cache("classes"), *sources]}
    return Kit("java-" + version, "mvn", "java", make)


def java(main):
    return lambda kit: ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx400m",
                        "-Dlog4j.configuration=file:" + kit.source("log4j.properties"),
                        "-Dlog4j2.configurationFile=" + kit.source("log4j2.properties"),
                        "-cp", kit.cache("classes") + ":" + kit.cache("jars") + "/*", main]


def npm(name, folder, more=()):
    also = os.path.join(HERE, "node", "matrix.js")

    def make(kit):
        for f in os.listdir(kit.source()):
            shutil.copy(kit.source(f), kit.cache())
        shutil.copy(also, kit.cache())
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
        yield {"run": ["npm", "ci", *quiet]}
        for command in more:
            yield {"run": command, "env": {"PREFIX": kit.cache("librdkafka")}}
    return Kit(name, "npm", folder, make, [also])


# The package's own way downloads things; here its librdkafka and its binding are built from the sources that it holds.
NATIVE = ["bash", "-ec", """
cd node_modules/@confluentinc/kafka-javascript
(cd deps/librdkafka && ./configure --prefix="$PREFIX" --disable-gssapi --disable-curl && make -j2 libs && make -C src install &&
 make -C src-cpp install)
sed -i "s,/usr/include/librdkafka,$PREFIX/include/librdkafka," binding.gyp
export npm_config_nodedir=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")") BUILD_LIBRDKAFKA=0
LDFLAGS="-L$PREFIX/lib -Wl,-rpath,$PREFIX/lib" ../../.bin/node-pre-gyp rebuild --build-from-source
"""]


def venv(kit):
    yield {"run": ["/usr/bin/python3", "-m", "venv", kit.cache("venv")]}
    yield {"run": [kit.cache("venv", "bin", "pip"), "install", "-q", "--retries", "1", "-r", kit.source("requirements.txt")]}


def python(script):
    return lambda kit: [kit.cache("venv", "bin", "python"), "-B", kit.source(script)]


def golang(kit):
    yield {"run": ["go", "build", "-o", kit.cache("clients"), "."], "cwd": kit.source(), "env": {"GOFLAGS": "-mod=readonly"}}


def cargo(kit):
    yield {"run": ["cargo", "build", "--locked", "--quiet"], "cwd": kit.source(), "env": {"CARGO_TARGET_DIR": kit.cache("target")}}


def plain_c(kit):
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "rdkafka"], capture_output=True, text=True, check=False).stdout.split()
    yield {"run": ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", kit.source("matrix.c"), "-o", kit.cache("matrix"), *flags]}


PYTHON = Kit("python", "/usr/bin/python3", "python", venv)


def rows():
    """Those that take longest to make ready come last."""
    yield Row("kcat (Debian)", Kit("kcat", "kcat", "kcat", lambda kit: []), lambda kit: ["/usr/bin/python3", "-B", kit.source("matrix.py")], BASIC)
    yield Row("librdkafka in C (Debian)", Kit("c", "gcc", "c", plain_c), lambda kit: [kit.cache("matrix")], BASIC)
    for version in ("4.1.0", "3.9.1"):
        kit = maven(version)
        yield Row(f"java {version}", kit, java("Matrix"), [*BASIC, "cooperative", "kip848"])
        for main in ("Migrate", "Tools", "Streams", "Connect"):
            yield Row(f"java {version} {main}", kit, java(main), [main.lower()])
    kit = Kit("go", "go", "go", golang)
    for client, version, more in (("franz", "franz-go 1.22.3", ["cooperative", "kip848"]), ("sarama", "sarama 1.61.1", []),
                                  ("kafka-go", "kafka-go 0.4.51", [])):
        yield Row(version, kit, lambda kit, client=client: [kit.cache("clients"), client], BASIC + more)
    kit = PYTHON
    yield Row("confluent-kafka 2.12.1", kit, python("confluent.py"), [*BASIC, "cooperative", "kip848"])
    yield Row("kafka-python 2.2.15", kit, python("kafkapython.py"), BASIC)
    yield Row("aiokafka 0.12.0", kit, python("aio.py"), BASIC)
    yield Row("kafkajs 2.2.4", npm("kafkajs", "node"), lambda kit: ["node", kit.cache("main.js")], BASIC)
    yield Row("rdkafka 0.38.0 (Rust)", Kit("rust", "cargo", "rust", cargo), lambda kit: [kit.cache("target", "debug", "floe-clients")], BASIC)
    yield Row("kafka-javascript 1.4.1", npm("kafka-javascript", "node-native", [NATIVE]),
              lambda kit: ["node", kit.cache("main.js")], BASIC)


def make_ready(kits, full):
    """Two at a time."""
    limit = READY_S[full]
    until = time.monotonic() + limit
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda kit: kit.ready(limit, until), kits))


def table(rows, columns):
    names = max(len(r.name) for r in rows)
    lines = ["client".ljust(names) + "".join("  " + c.rjust(6) for c in columns) + "  seconds"]
    for r in rows:
        if r.kit.why:
            lines.append(r.name.ljust(names) + "  not run: " + r.kit.why)
            continue
        words = [{True: "ok", False: "FAILED", None: "-"}[r.result.get(c)].rjust(max(len(c), 6)) for c in columns]
        lines.append(r.name.ljust(names) + "".join("  " + w for w in words) + f"  {r.seconds:7.0f}")
    return "\n".join(lines)


def serve(binary, cluster, todo, columns):
    """Starts what is to be tested, and runs the rows against it."""
    root = tempfile.mkdtemp(prefix="floe-matrix-")
    store = "s3://" + os.environ["S3SERVER_BUCKET"] + "/matrix" if cluster else "file://" + os.path.join(root, "store")
    s3 = ["--s3-endpoint", os.environ["FLOE_S3_ENDPOINT"], "--s3-region", os.environ["FLOE_S3_REGION"]] if cluster else []
    flags = [*s3, "--group.initial.rebalance.delay.ms", "200", "--group.consumer.heartbeat.interval.ms", "500", "--lease-ms", "3000",
             "--store", store]
    try:
        with contextlib.ExitStack() as stack:
            brokers = [stack.enter_context(Broker(binary, *flags)) for _ in range(3 if cluster else 1)]
            address = ",".join(b.address for b in brokers)
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda r: r.run(address, columns), todo))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main():
    binary, flags = sys.argv[1], sys.argv[2:]
    full, cluster = "--all" in flags or os.environ.get("FLOE_CLIENTS") == "all", "--cluster" in flags
    only = flags[flags.index("--only") + 1].split(",") if "--only" in flags else None
    if "--python" in flags:
        make_ready([PYTHON], full)
        if PYTHON.why:
            print(f"not run: {PYTHON.why}\n{PYTHON.log[-4000:]}")
            sys.exit(1 if full else 0)
        program = PYTHON.cache("venv", "bin", "python")
        os.execv(program, [program, "-B", os.path.join(HERE, flags[flags.index("--python") + 1]), binary])
    columns = CLUSTER_FEATURES if cluster else FEATURES
    wanted = [r for r in rows() if (only is None or r.name in only) and any(f in columns for f in r.features)]
    if not wanted:
        sys.exit("no such client; there are: " + ", ".join(r.name for r in rows()))
    kits = list(dict.fromkeys(r.kit for r in wanted))
    make_ready(kits, full)
    serve(binary, cluster, [r for r in wanted if not r.kit.why], columns)
    bad, missing = [r for r in wanted if not all(r.result.values())], [k for k in kits if k.why]
    for r in bad:
        print(f"== {r.name}\n{r.log[-12000:]}")
    for k in missing:
        print(f"== {k.name} is not ready: {k.why}\n{k.log[-4000:]}")
    text = ("three brokers over an S3 server\n" if cluster else "one broker over the file store\n") + table(wanted, columns)
    print(text, flush=True)
    if "FLOE_MATRIX_OUT" in os.environ:
        with open(os.environ["FLOE_MATRIX_OUT"], "w", encoding="utf-8") as f:
            f.write(text + "\n")
    sys.exit(1 if bad or (full and missing) else 0)


if __name__ == "__main__":
    main()
