"""The two brokers that are compared: Apache Kafka of the client matrix's kit, and Floe."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "clients"))
import broker as floe_broker  # noqa: E402
import matrix  # noqa: E402

VERSION = "4.1.0"
# What both are configured with, so that defaults do not differ for nothing.
FLOE_FLAGS = ["--group.initial.rebalance.delay.ms", "0", "--offsets.topic.num.partitions", "4", "--log-level", "warn"]
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={dir}/logs
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.initial.task.delay.ms=86400000
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def kit():
    """Where the jars are; without them the run ends with the reason."""
    k = matrix.maven(VERSION)
    limit = 600
    k.ready(limit, time.monotonic() + limit)
    if k.why:
        sys.exit(f"Apache Kafka {VERSION} cannot be had: {k.why} (it is fetched by mvn once, into {k.cache()}; Java 17 and Maven "
                 "are needed: apt-get install openjdk-17-jdk-headless maven)")
    return k


class Kafka:
    def __init__(self):
        self.kit = kit()
        self.dir = tempfile.mkdtemp(prefix="floe-compare-kafka-")
        self.process = None
        self.address = None

    def java(self, *args):
        return ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
                "-Dlog4j2.configurationFile=" + self.kit.source("log4j2.properties"), "-cp", self.kit.cache("jars") + "/*", *args]

    def __enter__(self):
        port = free_port()
        properties = os.path.join(self.dir, "server.properties")
        with open(properties, "w", encoding="utf-8") as f:
            f.write(PROPERTIES.format(port=port, controller=free_port(), dir=self.dir))
        subprocess.run(self.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", properties), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        with open(os.path.join(self.dir, "log"), "wb") as log:
            self.process = subprocess.Popen(self.java("kafka.Kafka", properties), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 300
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                self.address = f"127.0.0.1:{port}"
                return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        raise RuntimeError("Apache Kafka did not become ready")

    def __exit__(self, *rest):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def floe(binary):
    return floe_broker.Broker(binary, *FLOE_FLAGS)
