"""Runs without TensorRT-LLM and ZMQ: python3 -m unittest in this folder.

The fakes have the signatures of 1.2 and 1.3rc that the shim relies on:
    OpenAIServer.register_routes(self), .app (with add_middleware), .generator
    LLM.generate_async(inputs, ..., scheduling_params=None), .get_kv_cache_events_async(timeout), .get_stats_async(timeout),
        .args: backend, enable_attention_dp, attention_dp_config, tensor_parallel_size, kv_cache_config, ...
    commands.serve.main(), llmapi.SchedulingParams and serve.openai_server.OpenAIServer, where they are imported from
    SchedulingParams(*, attention_dp_rank=None, attention_dp_relax=True)
"""

import asyncio
import json
import pathlib
import random
import runpy
import sys
import types
import unittest
from dataclasses import dataclass
from typing import Optional
from unittest import mock

import rankwise_trtllm as shim


@dataclass(kw_only=True)
class SchedulingParams:
    attention_dp_rank: Optional[int] = None
    attention_dp_relax: bool = True


class FakePublisher:
    def __init__(self, rank, host, port, replay_port):
        self.rank, self.told = rank, []

    def publish(self, events):
        self.told.append(events)

    def start(self):
        self.started = True

    def is_alive(self):
        return True


class FakeLlm:
    def __init__(self, ranks=4, buffer=16384, **args):
        cache = types.SimpleNamespace(tokens_per_block=2, enable_block_reuse=True, event_buffer_max_size=buffer)
        self.args = types.SimpleNamespace(
            kv_cache_config=cache, enable_attention_dp=ranks > 1, tensor_parallel_size=ranks,
            enable_iter_perf_stats=True, return_perf_metrics=False, **args,
        )
        self._hf_model_dir = pathlib.Path("/models/m")
        self.asked, self.events, self.stats = [], [], []

    def generate_async(self, inputs, sampling_params=None, scheduling_params=None, streaming=False):
        self.asked.append(scheduling_params)

    async def get_kv_cache_events_async(self, timeout=2):
        while self.events:
            yield self.events.pop(0)
        raise IndexError("queue is empty")

    async def get_stats_async(self, timeout=2):
        while self.stats:
            yield self.stats.pop(0)


class FakeApp:
    """The middle of it: answers every request after asking the engine once."""

    def __init__(self, generator):
        self.generator, self.outer = generator, self.inner

    def add_middleware(self, kind, **kwargs):
        self.outer = kind(self.outer, **kwargs)

    async def inner(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await receive()
        self.generator.generate_async([1, 2])
        await shim.answer(send, 200, {})


def server(ranks=4, buffer=16384):
    class OpenAIServer:
        def __init__(self, generator):
            self.generator, self.app = generator, FakeApp(generator)
            self.register_routes()

        def register_routes(self):
            self.registered = True

    shim.install(OpenAIServer, SchedulingParams, lambda llm: shim.Worker(llm, FakePublisher, {}))
    return OpenAIServer(FakeLlm(ranks, buffer))


def ask(app, path, headers=()):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": list(headers)}
    asyncio.run(app.outer(scope, None, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def block(name, tokens, **more):
    tokens = [{"type": "unique_token", "token_id": token, "token_extra_id": 0} for token in tokens]
    return {"type": "stored_block", "block_hash": name, "tokens": tokens, "cache_level": 0, "priority": 35, **more}


def stored(parent, *blocks):
    return {"type": "stored", "parent_hash": parent, "blocks": list(blocks)}


def removed(*names):
    return {"type": "removed", "block_hashes": list(names)}


CREATED = {"type": "created", "num_blocks_per_cache_level": [2231, 0]}


def names(events):
    return [(event["type"], event.get("block_hashes")) for event in events]


class Pinning(unittest.TestCase):
    def test_a_named_rank_is_strict(self):
        made = server()
        self.assertTrue(made.registered)
        self.assertEqual(ask(made.app, "/v1/completions", [(b"X-Data-Parallel-Rank", b"3")])[0], 200)
        self.assertEqual(made.generator.asked, [SchedulingParams(attention_dp_rank=3, attention_dp_relax=False)])

    def test_without_a_name_the_engine_chooses(self):
        made = server()
        ask(made.app, "/v1/completions")
        self.assertEqual(made.generator.asked, [None])
        single = server(ranks=1)
        ask(single.app, "/v1/completions", [(b"x-data-parallel-rank", b"0")])
        self.assertEqual(single.generator.asked, [None])

    def test_what_is_no_rank_never_reaches_the_engine(self):
        made = server()
        for values in [[b"4"], [b"-1"], [b""], [b"x"], [b"1.0"], [b" 1"], [b"9" * 40], [b"1", b"1"]]:
            headers = [(b"x-data-parallel-rank", value) for value in values]
            status, body = ask(made.app, "/v1/chat/completions", headers)
            self.assertEqual((status, body["error"]["code"]), (400, 400), values)
        self.assertEqual(made.generator.asked, [])

    def test_what_drains_is_hidden(self):
        made = server()
        for path in ["/kv_cache_events", "/metrics"]:
            self.assertEqual(ask(made.app, path)[0], 404)
        self.assertEqual(made.generator.asked, [])

    def test_it_tells_what_it_is(self):
        about = ask(server().app, "/rankwise/worker")[1]
        self.assertEqual((about["ranks"], about["block_size"], about["model_path"]), (4, 2, "/models/m"))
        self.assertEqual(about["events"], {"port": 5557, "replay_port": 5657, "topic": ""})
        self.assertIsNone(ask(server(buffer=0).app, "/rankwise/worker")[1]["events"])


class Settings(unittest.TestCase):
    """What leaves an engine without ranks that can be named is said at the start, and told to whoever asks."""

    def about(self, llm, says):
        with self.assertLogs("rankwise", "WARNING") as logs:
            worker = shim.Worker(llm, FakePublisher, {})
        self.assertIn(says, logs.output[0])
        self.assertEqual(len(logs.output), 1, logs.output)
        return worker.about()

    def test_another_backend_has_one_rank(self):
        llm = FakeLlm(4, backend="_autodeploy")
        about = self.about(llm, "backend _autodeploy takes no rank")
        self.assertEqual((about["backend"], about["ranks"], about["tensor_parallel_size"]), ("_autodeploy", 1, 4))

    def test_without_attention_dp_all_is_one_rank(self):
        llm = FakeLlm(4)
        llm.args.enable_attention_dp = False
        about = self.about(llm, "without enable_attention_dp all 4 GPUs are one rank")
        self.assertEqual((about["backend"], about["ranks"], about["tensor_parallel_size"]), ("pytorch", 1, 4))

    def test_routing_of_the_engines_own_is_named(self):
        routing = {"enable_balance": True, "enable_kv_cache_aware_routing": True}
        for options in [routing, types.SimpleNamespace(**routing)]:
            about = self.about(FakeLlm(4, attention_dp_config=options), "enable_kv_cache_aware_routing")
            self.assertEqual((about["ranks"], about["overruled_by"]), (4, ["enable_kv_cache_aware_routing"]))

    def test_what_is_well_is_not_mentioned(self):
        with self.assertNoLogs("rankwise"):
            about = shim.Worker(FakeLlm(4, backend="pytorch", attention_dp_config=None), FakePublisher, {}).about()
        self.assertEqual((about["overruled_by"], about["unreadable_events"], about["silent_ranks"]), ([], 0, []))


class Program(unittest.TestCase):
    """The file as it is started, with the modules that it imports."""

    def run_main(self, modules):
        path = str(pathlib.Path(shim.__file__))
        with mock.patch.dict(sys.modules, modules), mock.patch.object(sys, "argv", [path, "serve", "m"]):
            runpy.run_path(path, run_name="__main__")

    def test_it_is_the_servers_own_main_with_ranks(self):
        made = []

        class OpenAIServer:
            def __init__(self, generator):
                self.generator, self.app = generator, FakeApp(generator)
                self.register_routes()

            def register_routes(self):
                self.registered = True

        def main():
            self.assertEqual(sys.argv[1:], ["serve", "m"])
            made.append(OpenAIServer(FakeLlm(4, buffer=0)))

        self.run_main({
            "tensorrt_llm": types.ModuleType("tensorrt_llm"),
            "tensorrt_llm.commands": types.ModuleType("tensorrt_llm.commands"),
            "tensorrt_llm.commands.serve": module("tensorrt_llm.commands.serve", main=main),
            "tensorrt_llm.llmapi": module("tensorrt_llm.llmapi", SchedulingParams=SchedulingParams),
            "tensorrt_llm.serve": types.ModuleType("tensorrt_llm.serve"),
            "tensorrt_llm.serve.openai_server": module("tensorrt_llm.serve.openai_server", OpenAIServer=OpenAIServer),
        })
        [server] = made
        self.assertTrue(server.registered)
        self.assertEqual(ask(server.app, "/v1/completions", [(b"x-data-parallel-rank", b"2")])[0], 200)
        self.assertEqual(server.generator.asked, [SchedulingParams(attention_dp_rank=2, attention_dp_relax=False)])

    def test_a_version_that_has_moved_things_does_not_start(self):
        moved = module("tensorrt_llm.commands.serve", main=lambda: self.fail("it started without ranks"))
        with self.assertRaises(ImportError):
            self.run_main({
                "tensorrt_llm": types.ModuleType("tensorrt_llm"),
                "tensorrt_llm.commands": types.ModuleType("tensorrt_llm.commands"),
                "tensorrt_llm.commands.serve": moved,
                "tensorrt_llm.llmapi": module("tensorrt_llm.llmapi", SchedulingParams=SchedulingParams),
            })


def module(name, **content):
    made = types.ModuleType(name)
    vars(made).update(content)
    return made


class Events(unittest.TestCase):
    def setUp(self):
        self.rank, self.next = shim.Rank(2), 0

    def take(self, data, window=4096, **more):
        event = {"event_id": self.next, "data": data, "window_size": window, **more}
        self.next += 1
        return self.rank.take(event)

    def test_whole_blocks_are_stored_and_removed(self):
        self.take(CREATED)
        events = self.take(stored(None, block(10, [1, 2]), block(11, [3, 4]), block(12, [5])))
        self.assertEqual(names(events), [("BlockStored", [10]), ("BlockStored", [11])])
        self.assertEqual([event["parent_block_hash"] for event in events], [None, 10])
        self.assertEqual(list(events[1]["token_ids"]), [3, 4])
        # The partial block's removal is none of anybody's business.
        self.assertEqual(names(self.take(removed(12, 11))), [("BlockRemoved", [11])])

    def test_a_hole_in_the_numbers_clears(self):
        self.take(CREATED)
        self.take(stored(None, block(10, [1, 2])))
        self.next += 1
        events = self.take(stored(None, block(20, [1, 2])))
        self.assertEqual(names(events), [("AllBlocksCleared", None), ("BlockStored", [20])])
        self.next = 0
        self.assertIn(("AllBlocksCleared", None), names(self.take(CREATED)))
        self.assertEqual(self.take(removed(20)), [])

    def test_levels_are_media(self):
        self.take(stored(None, block(10, [1, 2])))
        diff = {"type": "event_diff", "new_value": 1, "old_value": 0}
        moved = self.take({"type": "updated", "block_hash": 10, "cache_level": diff, "priority": None})
        self.assertEqual([(e["type"], e["medium"]) for e in moved], [("BlockStored", "CPU"), ("BlockRemoved", "GPU")])
        self.assertEqual(self.take({"type": "updated", "block_hash": 10, "cache_level": None, "priority": diff}), [])
        self.assertEqual(self.take(removed(10))[0]["medium"], "CPU")

    def test_the_largest_window_counts(self):
        self.take(CREATED, 512)
        self.take(stored(None, block(1, [1, 2])), 512)
        self.assertEqual(names(self.take(CREATED, 4096))[0], ("AllBlocksCleared", None))
        self.assertEqual(self.take(stored(None, block(1, [1, 2])), 512), [])
        self.assertEqual(len(self.take(stored(None, block(1, [1, 2])), 4096)), 1)

    def test_of_several_groups_of_layers_one_counts(self):
        self.take(CREATED, layer_group_id=1)
        self.take(stored(None, block(1, [1, 2])), layer_group_id=1)
        # The first group's, wherever it comes among the others.
        self.assertEqual(names(self.take(CREATED, layer_group_id=0))[0], ("AllBlocksCleared", None))
        self.assertEqual(self.take(stored(None, block(1, [1, 2])), layer_group_id=1), [])
        self.assertEqual(len(self.take(stored(None, block(1, [1, 2])), layer_group_id=0)), 1)
        self.assertEqual(self.take(removed(1), layer_group_id=1), [])
        self.assertEqual(len(self.take(removed(1), layer_group_id=0)), 1)

    def test_nothing_is_published_behind_what_was_left_out(self):
        picture = block(11, [3, 4])
        picture["tokens"][0]["token_extra_id"] = 7
        self.assertEqual(len(self.take(stored(None, block(10, [1, 2]), picture))), 1)
        for parent, name in [(11, 12), (12, 13), (99, 14), (14, 15)]:
            self.assertEqual(self.take(stored(parent, block(name, [5, 6]))), [], f"its parent {parent} was not published")
        self.assertEqual(len(self.take(stored(10, block(16, [5, 6])))), 1)
        # Stored anew at the start of a prompt, a name is a block's like any other.
        self.assertEqual(self.take(removed(11, 12, 13)), [])
        self.assertEqual(names(self.take(stored(None, block(11, [3, 4]), block(12, [5, 6])))), [
            ("BlockStored", [11]), ("BlockStored", [12]),
        ])

    def test_more_blocks_than_may_be_remembered_are_a_loss_of_all(self):
        with mock.patch.object(shim, "HELD_MAX", 2):
            events = self.take(stored(None, block(1, [1, 2]), block(2, [1, 2]), block(3, [1, 2])))
        self.assertEqual(names(events)[-1], ("AllBlocksCleared", None))
        self.assertEqual(self.take(removed(1)), [])

    def test_images_and_adapters_end_what_tokens_tell(self):
        picture = block(11, [3, 4])
        picture["tokens"][0]["token_extra_id"] = 7
        events = self.take(stored(None, block(10, [1, 2]), picture, block(12, [5, 6])))
        self.assertEqual(names(events), [("BlockStored", [10])])
        self.assertEqual(self.take(stored(None, block(20, [1, 2], lora_id=1))), [])

    def test_names_are_numbers_or_digests(self):
        large = 2**64 - 1
        self.assertEqual(self.take(stored(None, block(large, [1, 2])))[0]["block_hashes"], [large])
        digest = self.take(stored(None, block("ab" * 32, [1, 2], cache_salt="t1")))[0]
        self.assertEqual((digest["block_hashes"], digest["cache_salt"]), ([b"\xab" * 32], "t1"))

    def test_batches_go_to_their_ranks(self):
        made = shim.Worker(FakeLlm(2), FakePublisher, {})
        made.generator.events = [
            {"event_id": 0, "data": CREATED, "window_size": 4096, "attention_dp_rank": 0},
            {"event_id": 0, "data": CREATED, "window_size": 4096, "attention_dp_rank": 1},
            {"event_id": 1, "data": stored(None, block(5, [1, 2])), "window_size": 4096, "attention_dp_rank": 1},
            {"event_id": 1, "data": removed(9), "window_size": 4096, "attention_dp_rank": 0},
        ]
        made.generator.stats = [json.dumps({
            "attentionDpRank": 1, "numQueuedRequests": 0,
            "inflightBatchingStats": {"numContextRequests": 1, "numGenRequests": 2, "numPausedRequests": 0},
        })]

        async def run():
            tasks = made.start()
            while made.generator.events or made.generator.stats:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()

        asyncio.run(asyncio.wait_for(run(), 10))
        told = [[names(events) for events in publisher.told] for publisher in made.publishers]
        self.assertEqual(told[0], [[("AllBlocksCleared", None)]])
        self.assertEqual(told[1], [[("AllBlocksCleared", None), ("BlockStored", [5])]])
        self.assertEqual((made.blocks, made.loads), (2231, {1: {"running": 3}}))

    def test_what_cannot_be_read_is_counted_and_survived(self):
        worker = shim.Worker(FakeLlm(2), FakePublisher, {})
        good = {"event_id": 0, "data": stored(None, block(5, [1, 2])), "window_size": 4096, "attention_dp_rank": 1}
        bad = [
            {"event_id": 1, "data": {"type": "stored", "blocks": [{}]}, "attention_dp_rank": 1},
            {"event_id": 1, "data": stored(None, block(2**64, [1, 2])), "attention_dp_rank": 1},
            {"event_id": 1, "data": stored(None, block(6, [1, -1])), "attention_dp_rank": 1},
            {"event_id": 1, "attention_dp_rank": 1},
            {"event_id": 1, "data": removed(5), "attention_dp_rank": 2},
            {"event_id": 1, "data": removed(5), "attention_dp_rank": -1},
            {"event_id": 1, "data": removed(5), "attention_dp_rank": "1"},
            7,
        ]
        for number, event in enumerate(bad):
            worker.caches[1].clear()
            worker.caches[1].next_id = None
            worker.publishers[1].told.clear()
            if isinstance(event, dict):
                event["window_size"] = 4096
            with mock.patch.object(shim.log, "error") as error:
                worker.take([good, event])
            self.assertEqual(worker.unreadable, number + 1, event)
            self.assertEqual(error.called, number + 1 in (1, 2, 4, 8), event)
            told = names(worker.publishers[1].told[0])
            # Of what it said nothing is kept, where it can be told whose it was.
            self.assertEqual(told[-1], ("AllBlocksCleared", None) if number < 4 else ("BlockStored", [5]), event)
            self.assertEqual(worker.publishers[0].told, [], event)
        self.assertEqual(worker.about()["unreadable_events"], len(bad))

    def test_a_task_that_fails_goes_on(self):
        worker = shim.Worker(FakeLlm(1), FakePublisher, {})
        worker.generator.events = ["{", {"event_id": 0, "data": CREATED, "window_size": 4096}]
        # Even what nobody has thought of.
        publish, worker.publishers[0].publish = worker.publishers[0].publish, mock.Mock(side_effect=[ValueError(), None])

        async def run():
            tasks = worker.start()
            while worker.publishers[0].publish.call_count < 2:
                await asyncio.sleep(0.001)
            worker.publishers[0].publish = publish
            worker.generator.events.append({"event_id": 1, "data": stored(None, block(5, [1, 2])), "window_size": 4096})
            while not worker.publishers[0].told:
                await asyncio.sleep(0.001)
            for task in tasks:
                task.cancel()

        with mock.patch.object(shim, "FAILURE_PAUSE_S", 0), mock.patch.object(shim.log, "exception") as failure:
            asyncio.run(asyncio.wait_for(run(), 10))
        self.assertEqual(failure.call_count, 2, "once for what was read, once for what was published")
        self.assertEqual(names(worker.publishers[0].told[0]), [("BlockStored", [5])])

    def test_the_bytes_are_those_that_the_proxy_was_tested_with(self):
        events = self.take(stored(None, block(2**63, [1, 70000]), block("0a" * 32, [3, 4], cache_salt="t1")))
        payload = shim.batch(1.5, events + [shim.block_removed(7, 1)] + self.rank.clear(), 3)
        golden = pathlib.Path(__file__).with_name("golden.hex").read_text().split()
        self.assertEqual(payload.hex(), "".join(golden))


try:
    import zmq
except ImportError:
    zmq = None


@unittest.skipUnless(zmq, "needs pyzmq")
class Sockets(unittest.TestCase):
    def publisher(self):
        while True:
            # Below those that Linux gives to connections.
            port = random.randrange(10_000, 32_000, 2)
            try:
                return shim.Publisher(0, "127.0.0.1", port, port + 1), port
            except zmq.ZMQError:
                pass  # Somebody has it.

    def test_what_is_published_can_be_replayed(self):
        context = zmq.Context.instance()
        publisher, port = self.publisher()
        publisher.start()
        dealer, sub = context.socket(zmq.DEALER), context.socket(zmq.SUB)
        self.addCleanup(dealer.close)
        self.addCleanup(sub.close)
        dealer.rcvtimeo = 10_000
        dealer.connect(f"tcp://127.0.0.1:{port + 1}")
        sub.rcvtimeo = 100
        sub.connect(f"tcp://127.0.0.1:{port}")
        sub.subscribe(b"")
        live = []
        while not live:
            publisher.publish([{"type": "AllBlocksCleared"}])
            try:
                live = sub.recv_multipart()
            except zmq.Again:
                pass  # The subscription has not taken effect yet.
        number = int.from_bytes(live[1], "big")
        dealer.send_multipart([b"", live[1]])
        self.assertEqual(dealer.recv_multipart(), [b"", b"", live[1], live[2]])
        while (frames := dealer.recv_multipart())[2] != shim.END:
            number += 1
            self.assertEqual(frames[2], number.to_bytes(8, "big"))
        self.assertEqual(frames, [b"", b"", shim.END, b""])

    def test_nobody_waits_for_a_thread_that_died(self):
        publisher, _ = self.publisher()
        for socket in [publisher.pub, publisher.router, publisher.wake_in, publisher.wake_out]:
            self.addCleanup(socket.close, linger=0)
        # Never started: nobody is there to be woken.
        for _ in range(shim.RING + 1):
            publisher.publish([{"type": "AllBlocksCleared"}])
        self.assertEqual((publisher.is_alive(), len(publisher.queue)), (False, shim.RING))

    def test_a_thread_that_fails_goes_on(self):
        publisher, _ = self.publisher()
        sent = []
        send = mock.Mock(side_effect=[ValueError(), None])
        publisher.pub.close()
        publisher.pub = types.SimpleNamespace(send_multipart=lambda frames: (send(), sent.append(frames)))
        with mock.patch.object(shim, "FAILURE_PAUSE_S", 0), mock.patch.object(shim.log, "exception") as failure:
            publisher.publish([{"type": "AllBlocksCleared"}])
            publisher.publish([{"type": "AllBlocksCleared"}])
            publisher.start()
            for _ in range(1000):
                if sent:
                    break
                publisher.join(0.01)
        self.assertEqual([frames[1] for frames in sent], [(1).to_bytes(8, "big")])
        self.assertTrue(failure.called and publisher.is_alive())
        # What could not be sent shows as a gap, and is there to be replayed.
        self.assertEqual(len(publisher.ring), 2)


if __name__ == "__main__":
    unittest.main()
