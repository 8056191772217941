"""The proxy under test, the engine behind it, and how the steps wait and complain."""
import collections
import socket
import subprocess
import time
from urllib.parse import urlsplit

from client import get, get_json, series

# As `engine` starts it.
RANKS, BLOCK_SIZE, USABLE_BLOCKS = 2, 32, 64


class Failed(Exception):
    pass


def require(condition, message):
    if not condition:
        raise Failed(message)


def wait_for(what, seconds, probe):
    """The first true answer of `probe`, asked again and again."""
    until = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        require(time.monotonic() < until, f"{what}: not within {seconds} s")
        time.sleep(0.02)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def tell(step, text):
    print(f"{step}: {text}", flush=True)


def run_all(threads):
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Rankwise:
    """The proxy under test, started with nothing but the workers' URLs."""

    def __init__(self, binary, urls, log):
        listen, status, admin = (("127.0.0.1", port) for port in free_ports(3))
        self.listen, self.status, self.admin = listen, status, admin
        at = lambda address: f"{address[0]}:{address[1]}"
        command = [binary, "serve", "--policy", "kv", "--expose-decision"]
        for number, url in enumerate(urls):
            command += ["--worker", f"{url},engine=vllm,name=w{number}"]
        command += ["--listen", at(listen), "--status", at(status), "--admin", at(admin)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def ready(self):
        require(self.process.poll() is None, f"rankwise ended with {self.process.returncode}")
        try:
            return get(self.status, "/readyz")[0] == 200
        except OSError:
            return False

    def ranks(self):
        return get_json(self.admin, "/v1/pools/main/ranks")["ranks"]

    def settle(self):
        """Waits until nothing is booked or pending and the index has stopped changing."""
        before, quiet = None, 0
        until = time.monotonic() + 30
        while quiet < 2:
            ranks = self.ranks()
            load = [rank["ledger"][name] for rank in ranks for name in
                    ("running", "prefill_tokens", "active_blocks", "pending_blocks")]
            blocks = [rank["index"]["blocks"] for rank in ranks]
            quiet = quiet + 1 if not any(load) and blocks == before else 0
            before = blocks
            require(time.monotonic() < until, f"the ranks do not come to rest: {ranks}")
            time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Vllm:
    """vLLM's own word on what it did: one server with all ranks, or one for each."""

    def __init__(self, urls, script):
        self.urls, self.script = urls, script
        self.servers = {f"w{at}": (urlsplit(url).hostname, urlsplit(url).port) for at, url in enumerate(urls)}
        self.places = [(worker, rank) for worker in self.servers for rank in range(RANKS // len(urls))]

    def served(self):
        """Requests that each rank has finished."""
        count = collections.Counter()
        for worker, address in self.servers.items():
            for rank, finished in series(get(address, "/metrics")[1], "vllm:request_success_total", "engine").items():
                count[worker, rank] = int(finished)
        return count

    def served_since(self, before, count):
        """How many of the last `count` requests each rank has finished."""
        def all_counted():
            delta = self.served() - before
            return delta if delta.total() >= count else None
        return wait_for(f"vLLM's counters of {count} requests", 20, all_counted)

    def engine(self, *command):
        subprocess.run([self.script, *command], check=True)
