"""Who leads what, as one broker tells it."""
import collections, json

from floe_broker import floe


def leaders(address, topic):
    """address → partitions led; None while it cannot be told."""
    r = floe("topic", "describe", topic, "--json", "--bootstrap", address, ok=False, wait=40)
    s = floe("cluster", "status", "--json", "--bootstrap", address, ok=False, wait=40)
    if r.returncode or s.returncode:
        return None
    nodes = {n["id"]: f"{n['host']}:{n['port']}" for n in json.loads(s.stdout)["brokers"]}
    count = collections.Counter()
    for p in json.loads(r.stdout)["topics"][0]["partitions"]:
        count[nodes.get(p["leader"])] += 1
    return count
