#!/usr/bin/env python3
"""trtllm-serve with ranks that can be named, and KV events that anybody may listen to.

    python3 rankwise_trtllm.py serve MODEL ...      as: trtllm-serve serve MODEL ...

trtllm-serve itself takes no attention DP rank over HTTP, and hands each KV event and each iteration's figures to
whoever asks first. This file runs that very server and adds:

* A request with the header `x-data-parallel-rank` is served by that rank, or refused with 400. The rank is checked here:
  the engine indexes a list with it.
* KV events, published per rank over ZMQ in vLLM's layout with replay: PUB on RANKWISE_KV_PORT (5557) + rank, ROUTER on
  RANKWISE_REPLAY_PORT (5657) + rank, bound to RANKWISE_KV_HOST (*).
* GET /rankwise/worker: what the server is, and what is wrong with it. GET /rankwise/loads: how busy each rank is, as far
  as the engine tells.
* /kv_cache_events and /metrics are gone: a second reader would take events from this one.

It needs tensorrt_llm and pyzmq, which tensorrt_llm brings along. Written against the sources of 1.2 and 1.3rc; it has not
run on GPUs.
"""

import array
import asyncio
import collections
import contextvars
import functools
import json
import logging
import os
import struct
import threading
import time

log = logging.getLogger("rankwise")

RANK_HEADER = b"x-data-parallel-rank"
HIDDEN = {"/kv_cache_events", "/metrics"}
# Batches kept for replay, and waiting to be published at most, per rank.
RING = 10_000
# Blocks that are remembered of one rank at most: more are a loss of all of them.
HELD_MAX = 4_000_000
END = b"\xff" * 8
# Versions before 1.3 wait so long in the engine when there is nothing.
DRAIN_TIMEOUT_S = 2
DRAIN_PAUSE_S = 0.005
STATS_PAUSE_S = 0.25
# After what should not happen, so that it fills no log.
FAILURE_PAUSE_S = 1
# Those of attention_dp_config by which the engine places requests itself.
ROUTING = ("kv_cache_routing_conversation_affinity", "enable_kv_cache_aware_routing")

# The rank that the request of this task names.
asked_rank = contextvars.ContextVar("asked_rank", default=None)


# --- msgpack, as much of it as events take


def pack(value, out):
    """Appends a value to a bytearray."""
    if value is None:
        out.append(0xC0)
    elif isinstance(value, int):
        if 0 <= value < 0x80:
            out.append(value)
        elif 0 <= value <= 0xFFFFFFFF:
            out += b"\xce" + struct.pack(">I", value)
        elif value >= 0:
            out += b"\xcf" + struct.pack(">Q", value)
        else:
            out += b"\xd3" + struct.pack(">q", value)
    elif isinstance(value, float):
        out += b"\xcb" + struct.pack(">d", value)
    elif isinstance(value, str):
        text = value.encode()
        out += b"\xdb" + struct.pack(">I", len(text)) + text
    elif isinstance(value, (bytes, bytearray)):
        out += b"\xc6" + struct.pack(">I", len(value)) + value
    elif isinstance(value, dict):
        out += b"\xdf" + struct.pack(">I", len(value))
        for key, item in value.items():
            pack(key, out)
            pack(item, out)
    else:
        out += b"\xdd" + struct.pack(">I", len(value))
        for item in value:
            pack(item, out)


def batch(timestamp, events, rank):
    """One message's payload: [timestamp, events, rank]."""
    out = bytearray()
    pack([float(timestamp), events, rank], out)
    return bytes(out)


# --- TensorRT-LLM's events to vLLM's


class Rank:
    """One rank's cache as its events tell it."""

    def __init__(self, block_size):
        self.block_size = block_size
        self.next_id = None
        # Which of the rank's caches counts: its window, and its group of layers.
        self.cache = None
        # Names of the blocks held: parent, tokens, salt, cache level. None for those that no prompt is found by: partial ones,
        # those of something else than text, and what follows either.
        self.held = {}

    def take(self, event):
        """The events, in vLLM's words, that one event of the engine is."""
        out = []
        event_id, data = event["event_id"], event["data"]
        if self.next_id is not None and event_id != self.next_id:
            # The buffer overflowed, or the engine began anew: there is no replay to be had from it.
            out += self.clear()
        self.next_id = event_id + 1
        cache = cache_of(event)
        if self.cache is None:
            self.cache = cache
        if cache != self.cache:
            if not counts_rather(cache, self.cache):
                return out
            out += self.clear()
            self.cache = cache
        kind = data["type"]
        if kind == "created" or kind == "all_cleared":
            out += self.clear()
        elif kind == "stored":
            out += self.stored(data)
        elif kind == "removed":
            out += self.removed(data["block_hashes"])
        elif kind == "updated":
            out += self.updated(data)
        if len(self.held) > HELD_MAX:
            out += self.clear()
        return out

    def clear(self):
        self.held.clear()
        return [{"type": "AllBlocksCleared"}]

    def stored(self, data):
        parent, out = data.get("parent_hash"), []
        # Of a parent that is not known nothing is published either: no reader could place what follows it.
        known = parent is None or self.held.get(parent) is not None
        for block in data["blocks"]:
            name = block["block_hash"]
            known = known and self.is_whole(block)
            if not known:
                self.held[name] = None
            elif self.held.get(name) is None:
                tokens = array.array("I", [token["token_id"] for token in block["tokens"]])
                kept = (parent, tokens, block.get("cache_salt"), block.get("cache_level") or 0)
                self.held[name] = kept
                out.append(self.block_stored(name, kept))
            parent = name
        return out

    def is_whole(self, block):
        """Whether it is as many tokens of text as a block has, and of the base model."""
        plain = all(not token.get("token_extra_id") for token in block["tokens"])
        return len(block["tokens"]) == self.block_size and plain and not block.get("mm_keys") and not block.get("lora_id")

    def block_stored(self, name, kept):
        parent, tokens, salt, level = kept
        event = {
            "type": "BlockStored",
            "block_hashes": [wire(name)],
            "parent_block_hash": None if parent is None else wire(parent),
            "token_ids": tokens,
            "block_size": self.block_size,
            "lora_id": None,
            "medium": medium(level),
        }
        if salt is not None:
            event["cache_salt"] = str(salt)
        return event

    def removed(self, names):
        out = []
        for name in names:
            kept = self.held.pop(name, None)
            if kept is not None:
                out.append(block_removed(name, kept[3]))
        return out

    def updated(self, data):
        kept, level = self.held.get(data["block_hash"]), data.get("cache_level")
        if kept is None or not level or level["new_value"] == kept[3]:
            return []
        moved = kept[:3] + (level["new_value"],)
        self.held[data["block_hash"]] = moved
        return [self.block_stored(data["block_hash"], moved), block_removed(data["block_hash"], kept[3])]


def cache_of(event):
    """Which of a rank's caches: a model with attention windows has one for each, and may have one per group of layers."""
    return event.get("window_size") or 0, event.get("layer_group_id") or 0


def counts_rather(one, other):
    """The largest window holds whole prefixes; of several of that size the first group's is as good as any."""
    return (one[0], other[1]) > (other[0], one[1])


def block_removed(name, level):
    return {"type": "BlockRemoved", "block_hashes": [wire(name)], "medium": medium(level)}


def medium(level):
    return "CPU" if level else "GPU"


def wire(name):
    """A block's name: a number as it is, a hexadecimal digest as bytes."""
    if not isinstance(name, int):
        return bytes.fromhex(name)
    if not -(2**63) <= name < 2**64:
        raise ValueError(f"a block hash beyond 64 bits: {name}")
    return name


# --- publishing


class Publisher(threading.Thread):
    """One rank's sockets. ZMQ sockets belong to one thread: this one."""

    def __init__(self, rank, host, port, replay_port):
        super().__init__(name=f"rankwise-events-{rank}", daemon=True)
        import zmq

        self.zmq, self.rank = zmq, rank
        self.ring = collections.deque(maxlen=RING)
        self.sequence = 0
        # What falls out unpublished shows as a gap, and cannot be replayed: readers know what that means.
        self.queue = collections.deque(maxlen=RING)
        context = zmq.Context.instance()
        self.pub, self.router = context.socket(zmq.PUB), context.socket(zmq.ROUTER)
        self.pub.bind(f"tcp://{host}:{port + rank}")
        # As many as a whole replay, or a slow reader loses some.
        self.router.sndhwm = 2 * (RING + 1)
        self.router.bind(f"tcp://{host}:{replay_port + rank}")
        self.wake_in, self.wake_out = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        self.wake_out.bind(f"inproc://rankwise-{id(self)}")
        self.wake_in.connect(f"inproc://rankwise-{id(self)}")

    def publish(self, events):
        """Called by one thread only, which serves requests besides: it never waits."""
        payload = batch(time.time(), events, self.rank)
        self.queue.append((struct.pack(">Q", self.sequence), payload))
        self.sequence += 1
        try:
            self.wake_in.send(b"", self.zmq.NOBLOCK)
        except self.zmq.ZMQError:
            pass  # It has been woken a thousand times already, or everything ends.

    def run(self):
        poller = self.zmq.Poller()
        poller.register(self.wake_out, self.zmq.POLLIN)
        poller.register(self.router, self.zmq.POLLIN)
        while True:
            try:
                self.serve(dict(poller.poll()))
            except self.zmq.ContextTerminated:
                return
            except Exception:
                log.exception("rank %d: publishing", self.rank)
                time.sleep(FAILURE_PAUSE_S)

    def serve(self, ready):
        if self.wake_out in ready:
            self.wake_out.recv()
            while self.queue:
                number, payload = self.queue.popleft()
                self.ring.append((number, payload))
                self.pub.send_multipart([b"", number, payload])
        if self.router in ready:
            self.replay(self.router.recv_multipart())

    def replay(self, request):
        if len(request) != 3 or request[1] or len(request[2]) != 8:
            return log.warning("rank %d: invalid replay request", self.rank)
        # Big endian numbers compare as bytes do.
        for number, payload in self.ring:
            if number >= request[2]:
                self.router.send_multipart([request[0], b"", b"", number, payload])
        self.router.send_multipart([request[0], b"", b"", END, b""])


# --- the server


class Worker:
    """What is added to one server."""

    def __init__(self, generator, publisher=Publisher, environ=os.environ):
        args = generator.args
        cache = getattr(args, "kv_cache_config", None)
        self.generator = generator
        self.tensor_parallel_size = getattr(args, "tensor_parallel_size", None) or 1
        self.backend = getattr(args, "backend", None) or "pytorch"
        # No other backend reads a rank.
        has_ranks = getattr(args, "enable_attention_dp", False) and self.backend == "pytorch"
        self.ranks = self.tensor_parallel_size if has_ranks else 1
        routing = getattr(args, "attention_dp_config", None)
        self.overruled_by = [name for name in ROUTING if setting(routing, name)]
        self.block_size = getattr(cache, "tokens_per_block", None) or 32
        self.block_reuse = bool(getattr(cache, "enable_block_reuse", True))
        self.blocks = None
        self.port = int(environ.get("RANKWISE_KV_PORT", 5557))
        self.replay_port = int(environ.get("RANKWISE_REPLAY_PORT", 5657))
        self.loads = {}
        # With metrics of its own the server drains the figures itself.
        self.reads_stats = bool(
            getattr(args, "enable_iter_perf_stats", False) and not getattr(args, "return_perf_metrics", False)
        )
        self.publishers = []
        if self.block_reuse and (getattr(cache, "event_buffer_max_size", 0) or 0) > 0:
            host = environ.get("RANKWISE_KV_HOST", "*")
            self.publishers = [publisher(rank, host, self.port, self.replay_port) for rank in range(self.ranks)]
        self.caches = [Rank(self.block_size) for _ in range(self.ranks)]
        # Events that are no such event, or of no rank that there is.
        self.unreadable = 0
        self.say()

    def say(self):
        """What an operator should know of at the start."""
        if self.backend != "pytorch":
            log.warning("backend %s takes no rank: all of its GPUs are one; --backend pytorch has several", self.backend)
        elif self.ranks == 1 and self.tensor_parallel_size > 1:
            log.warning("without enable_attention_dp all %d GPUs are one rank", self.tensor_parallel_size)
        for name in self.overruled_by:
            log.warning("attention_dp_config.%s: the engine may serve a request on another rank than it names", name)
        if not self.publishers:
            log.warning("no kv events: enable_block_reuse and event_buffer_max_size of kv_cache_config are to be set")

    def about(self):
        events = {"port": self.port, "replay_port": self.replay_port, "topic": ""} if self.publishers else None
        return {
            "ranks": self.ranks,
            "tensor_parallel_size": self.tensor_parallel_size,
            "backend": self.backend,
            "overruled_by": self.overruled_by,
            "block_size": self.block_size,
            "blocks": self.blocks,
            "block_reuse": self.block_reuse,
            "events": events,
            "unreadable_events": self.unreadable,
            "silent_ranks": [publisher.rank for publisher in self.publishers if not publisher.is_alive()],
            "model_path": str(getattr(self.generator, "_hf_model_dir", None) or "") or None,
        }

    def pinned(self, generate_async, scheduling_params):
        """`generate_async` that serves a request on the rank that it names, and on no other."""

        @functools.wraps(generate_async)
        def generate(*args, **kwargs):
            rank = asked_rank.get()
            if rank is not None:
                params = kwargs.get("scheduling_params") or scheduling_params()
                params.attention_dp_rank, params.attention_dp_relax = rank, False
                kwargs["scheduling_params"] = params
            return generate_async(*args, **kwargs)

        return generate

    def take(self, events):
        """Publishes what the engine said, one batch per rank."""
        out = [[] for _ in range(self.ranks)]
        for event in events:
            try:
                rank = event.get("attention_dp_rank") or 0
                if not 0 <= rank < self.ranks:
                    raise ValueError(f"of rank {rank}, and there are {self.ranks}")
            except Exception as error:
                # Whose it was nobody knows. If one of these ranks', the hole in its numbers will show.
                self.count_unreadable(event, error)
                continue
            try:
                data = event["data"]
                if data["type"] == "created" and cache_of(event)[0] >= (self.caches[rank].cache or (0, 0))[0]:
                    self.blocks = data["num_blocks_per_cache_level"][0]
                out[rank] += self.caches[rank].take(event)
            except Exception as error:
                self.count_unreadable(event, error)
                out[rank] += self.caches[rank].clear()
        for rank, told in enumerate(out):
            if told:
                self.publishers[rank].publish(told)

    def count_unreadable(self, event, error):
        self.unreadable += 1
        # The first ones say what it is; a flood of them would say no more.
        if self.unreadable & (self.unreadable - 1) == 0:
            log.error("unreadable event, number %d: %r: %.500r", self.unreadable, error, event)

    def take_stats(self, rows):
        for row in rows:
            batching = row.get("inflightBatchingStats") or {}
            figures = [batching.get(name) for name in ("numContextRequests", "numGenRequests", "numPausedRequests")]
            load = {"running": sum(figures) if None not in figures else row.get("numActiveRequests")}
            if self.ranks == 1:
                # With several ranks the queue is told under the first alone, and the first one's cache under all.
                load["waiting"] = row.get("numQueuedRequests")
                cache = row.get("kvCacheStats") or {}
                if cache.get("maxNumBlocks"):
                    load["kv_permille"] = 1000 * cache.get("usedNumBlocks", 0) // cache["maxNumBlocks"]
            self.loads[row.get("attentionDpRank") or 0] = load

    async def drain(self, source, take, pause):
        """Reads a source to its end again and again; the only reader there is."""
        while True:
            items = []
            try:
                async for item in source(DRAIN_TIMEOUT_S):
                    items.append(json.loads(item) if isinstance(item, (str, bytes)) else item)
            except (IndexError, asyncio.TimeoutError):
                pass  # It was empty.
            except Exception:
                log.exception("reading from the engine")
                await asyncio.sleep(FAILURE_PAUSE_S)
            try:
                if items:
                    take(items)
            except Exception:
                log.exception("taking what the engine said")
                self.forget()
                await asyncio.sleep(FAILURE_PAUSE_S)
            await asyncio.sleep(pause)

    def forget(self):
        """What was told is lost: readers forget what they know."""
        for publisher, cache in zip(self.publishers, self.caches):
            publisher.publish(cache.clear())

    def start(self):
        """The tasks that read from the engine."""
        tasks = []
        for publisher in self.publishers:
            publisher.start()
        if self.publishers:
            tasks.append(self.drain(self.generator.get_kv_cache_events_async, self.take, DRAIN_PAUSE_S))
        if self.reads_stats:
            tasks.append(self.drain(self.generator.get_stats_async, self.take_stats, STATS_PAUSE_S))
        return [asyncio.ensure_future(task) for task in tasks]


class Middleware:
    """Around the server's own application."""

    def __init__(self, app, worker):
        self.app, self.worker = app, worker

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            tasks = self.worker.start()
            try:
                return await self.app(scope, receive, send)
            finally:
                for task in tasks:
                    task.cancel()
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = scope["path"]
        if path == "/rankwise/worker":
            return await answer(send, 200, self.worker.about())
        if path == "/rankwise/loads":
            loads = [{"dp_rank": rank, **load} for rank, load in sorted(self.worker.loads.items())]
            return await answer(send, 200, {"loads": loads})
        if path in HIDDEN:
            return await answer(send, 404, error("not found: read by rankwise's shim", 404))
        values = [value for name, value in scope["headers"] if name.lower() == RANK_HEADER]
        if not values:
            return await self.app(scope, receive, send)
        rank = int(values[0]) if len(values) == 1 and values[0].isdigit() and len(values[0]) < 10 else -1
        if not 0 <= rank < self.worker.ranks:
            message = f"data_parallel_rank is not one number in [0, {self.worker.ranks})"
            return await answer(send, 400, error(message, 400))
        token = asked_rank.set(rank if self.worker.ranks > 1 else None)
        try:
            await self.app(scope, receive, send)
        finally:
            asked_rank.reset(token)


def setting(options, name):
    """One of several options, given as an object or by name."""
    return options.get(name) if isinstance(options, dict) else getattr(options, name, None)


def error(message, code):
    return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": code}}


async def answer(send, status, body):
    content = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def install(server_class, scheduling_params, make_worker=Worker):
    """Makes every server of this class one that can be told a rank."""
    register_routes = server_class.register_routes

    @functools.wraps(register_routes)
    def registered(self):
        register_routes(self)
        worker = make_worker(self.generator)
        self.generator.generate_async = worker.pinned(self.generator.generate_async, scheduling_params)
        self.app.add_middleware(Middleware, worker=worker)

    server_class.register_routes = registered


def main():
    from tensorrt_llm.commands.serve import main as serve
    from tensorrt_llm.llmapi import SchedulingParams
    from tensorrt_llm.serve.openai_server import OpenAIServer

    install(OpenAIServer, SchedulingParams)
    serve()


if __name__ == "__main__":
    main()
