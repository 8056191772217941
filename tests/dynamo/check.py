"""rankwise in front of Dynamo's mocker: its workers are found without ids, every target is obeyed, what is promised as cached is
cached, also by a proxy that was killed and started again, and workers that come back under other ids are found again.

Started by `run`, with the venv's Python, as it needs pyzmq.
"""
import argparse
import http.client
import json
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import zmq

# As `engine` starts it.
WORKERS, RANKS, BLOCK_SIZE, MODEL = 2, 4, 64, "mock"
TIMEOUT_S = 60


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


def ask(port, method, path, body=None, headers=None):
    """Status, headers (lower case) and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"content-type": "application/json", **(headers or {})})
        response = connection.getresponse()
        head = {name.lower(): value for name, value in response.getheaders()}
        return response.status, head, response.read().decode()
    finally:
        connection.close()


def ask_json(*arguments, **named):
    status, _, body = ask(*arguments, **named)
    require(status in (200, 202), f"{arguments[:3]}: status {status}: {body[:300]}")
    return json.loads(body)


def instances(folder):
    """Ids of the two workers, by the files of Dynamo's discovery."""
    def found():
        ids = set()
        for path in (Path(folder) / "discovery").rglob("*"):
            if path.is_file() and "instances" in path.parts:
                try:
                    entry = json.loads(path.read_text())
                except ValueError:
                    continue
                if entry.get("endpoint") == "generate":
                    ids.add(entry["instance_id"])
        return sorted(ids) if len(ids) == WORKERS else None
    return wait_for("two instances", 30, found)


def prompt(seed, tokens):
    chosen = random.Random(seed)
    return [chosen.randrange(300, 1300) for _ in range(tokens)]


def bases(ids, port, events):
    """Which worker publishes from which port on: their order is not that of their ids. What rankwise finds is held against it."""
    context = zmq.Context()
    subscribers = {}
    for worker in range(WORKERS):
        socket_ = context.socket(zmq.SUB)
        socket_.setsockopt(zmq.SUBSCRIBE, b"")
        socket_.connect(f"tcp://127.0.0.1:{events + 10 * worker}")
        subscribers[worker] = socket_
    found = {}
    for number, instance in enumerate(ids):
        def published(number=number, instance=instance, tries=iter(range(10_000))):
            body = {"model": MODEL, "prompt": prompt(f"{number} {next(tries)}", 2 * BLOCK_SIZE), "max_tokens": 1}
            headers = {"x-worker-instance-id": str(instance), "x-data-parallel-rank": "0"}
            status, _, text = ask(port, "POST", "/v1/completions", body, headers)
            require(status == 200, f"worker {instance}: status {status}: {text[:300]}")
            for worker, socket_ in subscribers.items():
                if socket_.poll(200):
                    socket_.recv_multipart()
                    return (worker,)
            return None
        found[instance] = wait_for(f"events of worker {instance}", 30, published)[0]
        for socket_ in subscribers.values():
            while socket_.poll(100):
                socket_.recv_multipart()
    context.destroy(0)
    require(len(set(found.values())) == WORKERS, f"both workers publish on the same port: {found}")
    return found


class Rankwise:
    """The proxy under test."""

    def __init__(self, binary, folder, config):
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        self.listen, self.status, self.admin = (one.getsockname()[1] for one in sockets)
        for one in sockets:
            one.close()
        path = Path(folder) / "rankwise.json"
        path.write_text(json.dumps(config))
        addresses = [("--listen", self.listen), ("--status", self.status), ("--admin", self.admin)]
        command = [binary, "serve", "--config", str(path), "--expose-decision"]
        command += [word for name, port in addresses for word in (name, f"127.0.0.1:{port}")]
        log = open(Path(folder) / "rankwise.log", "w")
        self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def ranks(self):
        return ask_json(self.admin, "GET", "/v1/pools/main/ranks")["ranks"]

    def all_ready(self):
        require(self.process.poll() is None, f"rankwise ended with {self.process.returncode}")
        try:
            ranks = self.ranks()
            return ask(self.status, "GET", "/readyz")[0] == 200 and len(ranks) == WORKERS * RANKS and all(
                rank["availability"] == "ready" for rank in ranks) and ranks
        except OSError:
            return None

    def settle(self):
        """Waits until nothing is booked or pending and the index has stopped changing."""
        before, quiet, until = None, 0, time.monotonic() + 30
        while quiet < 2:
            ranks = self.ranks()
            load = [rank["ledger"][name] for rank in ranks for name in ("running", "pending_blocks")]
            blocks = [rank["index"]["blocks"] for rank in ranks]
            quiet = quiet + 1 if not any(load) and blocks == before else 0
            before = blocks
            require(time.monotonic() < until, f"the ranks do not come to rest: {ranks}")
            time.sleep(0.02)

    def activate(self, policy, settings):
        ask_json(self.admin, "PUT", "/v1/pools/main/policy", body={"policy": policy, "settings": settings})

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


def config(given, headers=None):
    """Workers by number, by the ports of their events."""
    def events(worker):
        return [{"endpoint": f"tcp://127.0.0.1:{given.events + 10 * worker + rank}",
                 "replay": f"tcp://127.0.0.1:{given.replays + 10 * worker + rank}"} for rank in range(RANKS)]
    workers = [{"name": str(worker), "url": f"http://127.0.0.1:{given.port}", "engine": "dynamo", "ranks": RANKS,
                "block_size": BLOCK_SIZE, "headers": headers or {}, "events": events(worker)}
               for worker in range(1 if headers else WORKERS)]
    return {"pools": [{"name": "main", "tokenizer": f"{given.folder}/model", "workers": workers}]}


def found(given, base):
    """`check --live` finds each entry's worker, and tells one that is not there."""
    def checked(workers):
        path = Path(given.folder) / "check.json"
        path.write_text(json.dumps(workers))
        result = subprocess.run([given.rankwise, "check", str(path), "--live"], capture_output=True, text=True)
        return result.returncode == 0, result.stdout
    fine, said = checked(config(given))
    for instance, worker in base.items():
        told = f"worker {worker}: dynamo, worker {instance}, {RANKS} dp ranks"
        require(fine and told in said, f"check --live: expected {told}: {said}")
    fine, said = checked(config(given, {"x-worker-instance-id": "1"}))
    require(not fine and "no worker with the instance id" in said, f"check --live of a worker that is not there: {said}")
    print("found: both workers by their events, and a third is not there", flush=True)


def served_by(reply):
    """Worker and rank by Dynamo's own word."""
    told = json.loads(reply).get("nvext", {}).get("worker_id", {})
    ids = [told.get(name) for name in ("decode_worker_id", "worker_id", "prefill_worker_id")]
    ranks = [told.get(name) for name in ("decode_dp_rank", "dp_rank", "prefill_dp_rank")]
    first = lambda values: next((value for value in values if value is not None), None)
    return first(ids), first(ranks)


def targets(rankwise, base):
    """Round robin over all ranks: Dynamo's word against the headers, and each rank's proof."""
    for rank in rankwise.ranks():
        proof = rank["health"]["proof"]
        require(proof and proof["pin"] and proof["events"], f"not proven: {rank['worker']} {rank['dp_rank']}: {proof}")
    rankwise.activate("round-robin", {"pin": "rank"})
    seen = {}
    for number in range(4 * WORKERS * RANKS):
        body = {"model": MODEL, "messages": [{"role": "user", "content": f"request {number}"}], "max_tokens": 2,
                "nvext": {"extra_fields": ["worker_id"]}}
        status, head, text = ask(rankwise.listen, "POST", "/v1/chat/completions", body)
        require(status == 200, f"status {status}: {text[:300]}")
        named = (head["x-rankwise-worker"], int(head["x-rankwise-dp-rank"]))
        worker, rank = served_by(text)
        require((str(base.get(worker)), rank) == named, f"headers name {named}, Dynamo says {worker} rank {rank}: {text[:300]}")
        seen[named] = seen.get(named, 0) + 1
    require(len(seen) == WORKERS * RANKS, f"targets: {seen}")
    print(f"targets: {sum(seen.values())} requests to {len(seen)} targets, each obeyed", flush=True)


def cached(rankwise):
    """Conversations one after another under kv: cached_tokens is what was promised."""
    rankwise.activate("kv", {})
    asked = promised = reused = 0
    words = random.Random(7)
    lasts = []
    for conversation in range(12):
        messages = []
        for turn in range(4):
            text = " ".join(str(words.randrange(100, 1000)) for _ in range(150))
            messages.append({"role": "user", "content": f"{conversation} {turn} {text}"})
            rankwise.settle()
            body = {"model": MODEL, "messages": messages, "max_tokens": 8}
            status, head, reply = ask(rankwise.listen, "POST", "/v1/chat/completions", body)
            require(status == 200, f"status {status}: {reply[:300]}")
            answer = json.loads(reply)
            told = ((answer["usage"].get("prompt_tokens_details") or {}).get("cached_tokens")) or 0
            expected = int(head["x-rankwise-expected-cached-tokens"])
            require(told == expected, f"conversation {conversation} turn {turn}: {told} cached, {expected} expected")
            asked, promised, reused = asked + 1, promised + (expected > 0), reused + told
            messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"] or ""})
        lasts.append({"model": MODEL, "messages": messages[:-1], "max_tokens": 1})
    require(promised >= asked // 2, f"only {promised} of {asked} were promised anything")
    print(f"cached: {asked} chats, {promised} of them promised cached tokens, {reused} tokens in all, each as promised", flush=True)
    return lasts


def promises(rankwise, bodies):
    """What each of these is promised, and gets; nothing of them is new to the engines."""
    told = []
    for body in bodies:
        rankwise.settle()
        status, head, reply = ask(rankwise.listen, "POST", "/v1/chat/completions", body)
        require(status == 200, f"status {status}: {reply[:300]}")
        got = (json.loads(reply)["usage"].get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        expected = int(head["x-rankwise-expected-cached-tokens"])
        require(got == expected, f"{got} cached, {expected} expected")
        told.append((head["x-rankwise-worker"], head["x-rankwise-dp-rank"], expected))
    return told


def started(given):
    rankwise = Rankwise(given.rankwise, given.folder, config(given))
    try:
        wait_for("every rank to be ready", 60, rankwise.all_ready)
    except Failed:
        rankwise.stop()
        raise
    return rankwise


def restarted(given):
    """Workers come back under other ids on the same ports, while rankwise runs."""
    engine = Path(__file__).parent / "engine"
    for step in "stop", "start":
        subprocess.run([engine, step], check=True, timeout=300)
    ids = instances(given.folder)
    return bases(ids, given.port, given.events)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rankwise", required=True, help="the binary")
    arguments.add_argument("--folder", required=True, help="of `engine`")
    for port in "port", "events", "replays":
        arguments.add_argument(f"--{port}", required=True, type=int, help="as `engine` was started with")
    given = arguments.parse_args()
    try:
        base = bases(instances(given.folder), given.port, given.events)
        found(given, base)
        rankwise = started(given)
        try:
            targets(rankwise, base)
            bodies = cached(rankwise)
            before = promises(rankwise, bodies)
            require(all(expected > 0 for _, _, expected in before), f"not all are promised something: {before}")
            rankwise.kill()
            rankwise = started(given)
            rankwise.activate("kv", {})
            after = promises(rankwise, bodies)
            require(before == after, f"promised {before} before the proxy was killed, and {after} after")
            print(f"replay: {len(after)} chats are promised and get the same after the proxy was killed", flush=True)
            former, base = base, restarted(given)
            require(not set(base) & set(former), f"the same ids: {former} and {base}")
            wait_for("every rank to be ready again", 120, rankwise.all_ready)
            targets(rankwise, base)
            print("restart: the workers were found again under other ids", flush=True)
        finally:
            rankwise.stop()
    except (Failed, OSError) as error:
        sys.exit(f"failed: {error}")
    print("passed", flush=True)


if __name__ == "__main__":
    main()
