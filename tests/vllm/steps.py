"""The steps of the test. Each prints a line with its figures, or raises `Failed`."""
import collections
import json
import random
import threading
import time

from client import chat, get, get_json, post, respond, series, total
from conversations import Conversations
from harness import BLOCK_SIZE, RANKS, USABLE_BLOCKS, require, run_all, tell, wait_for
from shapes import Shapes


def shown(place):
    return f"{place[0]} rank {place[1]}"


def discovery(rankwise, vllm):
    began = time.monotonic()
    wait_for("/readyz", 60, rankwise.ready)
    pool = get_json(rankwise.admin, "/v1/pools")["pools"][0]
    require(pool["name"] == "main" and pool["models"] == ["tiny"], f"pool: {pool}")
    require(pool["block_size"] == BLOCK_SIZE, f"block size {pool['block_size']}, not {BLOCK_SIZE}")
    require(pool["targets"] == RANKS, f"{pool['targets']} ranks, not {RANKS}")
    require(pool["token_ids"]["from"] == "local", f"token ids: {pool['token_ids']}")
    complete = lambda: total(get(rankwise.status, "/metrics")[1], "rankwise_kv_events_complete")
    wait_for("events of both ranks", 20, lambda: complete() == RANKS)
    ranks = rankwise.ranks()
    require([(rank["worker"], rank["dp_rank"]) for rank in ranks] == vllm.places, f"ranks: {ranks}")
    for rank in ranks:
        require(rank["availability"] == "ready" and rank["condition"] == 0, f"not ready and trusted: {rank}")
        require(rank["block_size"] == BLOCK_SIZE, f"block size: {rank}")
        require(rank["capacity_blocks"] == USABLE_BLOCKS, f"usable blocks: {rank}")
    tell("discovery", f"{len(ranks)} ranks, block size {BLOCK_SIZE}, {USABLE_BLOCKS} usable blocks each, events of both, "
         f"token ids from the model's own folder by {pool['token_ids']['encoder']}, after {time.monotonic() - began:.1f} s")


def sequential(rankwise, vllm, step, count, seed):
    """Chats one after another: each one's cached tokens as expected, each on the rank that the header names."""
    conversations = Conversations(seed)
    wrong, by_rank, cached, prompt, streamed = [], collections.Counter(), 0, 0, 0
    for number in range(count):
        rankwise.settle()
        before = vllm.served()
        at, messages = conversations.turn()
        stream = number % 2 == 0
        reply = chat(rankwise.listen, messages, stream, max_tokens=conversations.random.randint(1, 40))
        require(reply.outcome == "ok", f"{step} {number}: {reply.outcome}")
        served = vllm.served_since(before, 1)
        require(served == {reply.place: 1}, f"{step} {number}: headers name {reply.place}, vLLM's counters say {served}")
        if reply.cached != reply.expected:
            wrong.append(f"chat {number} ({'' if stream else 'not '}streamed) on {shown(reply.place)}: {reply.usage}, expected "
                         f"{reply.expected}, with pending {reply.pending}")
        conversations.answered(at, reply)
        by_rank[shown(reply.place)] += 1
        cached, prompt = cached + reply.cached, prompt + reply.usage["prompt_tokens"]
        streamed += stream
    tell(step, f"{count - len(wrong)} of {count} chats had exactly the expected cached tokens ({streamed} streamed); all ran on the "
         f"rank of the header {dict(sorted(by_rank.items()))}; {cached} of {prompt} prompt tokens cached")
    require(not wrong, "\n".join([f"{step}: {len(wrong)} unexpected", *wrong[:20]]))
    require(cached > 0, f"{step}: nothing was ever cached, so nothing is shown")


def concurrent(rankwise, vllm, step, count, conversations_of, within_min, threads=8):
    """Chats at the same time: cached tokens between what was stored and what was under way when they were placed.

    What vLLM evicts between a decision and the step that starts the request cannot be foreseen, so where caches
    overflow the share is told and not judged.
    """
    rankwise.settle()
    before = vllm.served()
    replies, failures = [], []

    def work(seed):
        conversations = conversations_of(seed)
        for number in range(count // threads):
            at, messages = conversations.turn()
            reply = chat(rankwise.listen, messages, number % 2 == 0, max_tokens=4)
            replies.append(reply)
            if reply.outcome != "ok":
                failures.append(reply.outcome)
            conversations.answered(at, reply)

    run_all([threading.Thread(target=work, args=(100 + seed,)) for seed in range(threads)])
    require(not failures, f"{step}: {failures[:5]}")
    named = collections.Counter(reply.place for reply in replies)
    served = vllm.served_since(before, len(replies))
    require(served == named, f"{step}: headers {named}, vLLM's counters {served}")
    within = sum(reply.expected <= reply.cached <= reply.pending for reply in replies)
    below = sum(reply.cached < reply.expected for reply in replies)
    exact = sum(reply.cached == reply.expected for reply in replies)
    tell(step, f"{within / len(replies):.1%} of {len(replies)} chats of {threads} threads within expected and pending "
         f"({exact} as expected, {below} below, {len(replies) - within - below} above); ranks {[served[place] for place in vllm.places]} as the headers say")
    require(within >= within_min * len(replies), f"{step}: at least {within_min:.0%} must be within expected and pending")


def parity(rankwise, vllm, count):
    """Requests of all shapes, one by one: every block that a prompt was predicted to have is one that vLLM's own events name, and a chat's
    prompt has as many tokens as vLLM's /tokenize makes of it."""
    rankwise.settle()
    shapes, paths, named, counted = Shapes(300), collections.Counter(), 0, 0
    resolved = lambda result: total(get(rankwise.status, "/metrics")[1], "rankwise_pending_blocks_resolved_total", result=result)
    results = ("confirmed", "unconfirmed")
    before = [resolved(result) for result in results]
    known = lambda: total(get(rankwise.status, "/metrics")[1], "rankwise_prompts_total", source="local")
    known_before, asked = known(), 0
    for _ in range(count):
        path, body = shapes.next()
        paths[path, bool(body.get("tools"))] += 1
        asked += 1
        if path == "/v1/chat/completions":
            text, receipt = decided(rankwise, path, body)
            ours, of_vllm, told = receipt["facts"]["prompt-tokens"], tokenized(vllm, body), json.loads(text)["usage"]["prompt_tokens"]
            require(ours == of_vllm == told, f"parity: {ours} tokens, /tokenize makes {of_vllm}, the answer tells {told}: {body}")
            counted += 1
            continue
        status, text = post(rankwise.listen, path, body)
        require(status == 200, f"parity: {path}: {status}: {text[:300]}: {body}")
        if path == "/v1/responses":
            # vLLM chooses the rank, so nothing is predicted of it: all blocks must be found, on whichever it was.
            rankwise.settle()
            asked += 1
            found = found_blocks(rankwise, path, body)
            whole = json.loads(text)["usage"]["input_tokens"] // BLOCK_SIZE
            require(found == whole, f"parity: {path}: {found} of {whole} blocks named by vLLM's events: {body}")
            named += found
    rankwise.settle()
    confirmed, unconfirmed = (int(resolved(result) - then) for result, then in zip(results, before))
    kinds = ", ".join(f"{number} {path}{' with tools' if tools else ''}" for (path, tools), number in sorted(paths.items()))
    tell("parity", f"{count} requests of all shapes ({kinds}): {confirmed} predicted blocks confirmed by vLLM's events, {unconfirmed} not; {named} of responses found; "
         f"{counted} chats have as many tokens as /tokenize makes of them")
    require(known() - known_before == asked, "parity: some prompts were not known")
    require(unconfirmed == 0 and confirmed > count, f"parity: {confirmed} confirmed, {unconfirmed} not")


def found_blocks(rankwise, path, body):
    """The longest overlap that a rank had with the prompt when this request was decided."""
    _, receipt = decided(rankwise, path, body)
    overlap = receipt["columns"].index("device-overlap")
    return max(row["figures"][overlap] for row in receipt["rows"])


def decided(rankwise, path, body):
    """The answer to a request, and the receipt of its decision."""
    # All under one id, which is asked for anew each time: rankwise remembers a bounded number of those that shall leave a receipt.
    request_id, decisions = "parity", "/v1/pools/main/decisions"
    receipts = lambda: get_json(rankwise.admin, f"{decisions}?request_id={request_id}&limit=1")["decisions"]
    before = [receipt["id"] for receipt in receipts()]
    status, text = post(rankwise.admin, decisions, {"request_id": request_id})
    require(status == 202, f"parity: {decisions}: {status}: {text}")
    status, text = post(rankwise.listen, path, body, {"x-request-id": request_id})
    require(status == 200, f"parity: {path}: {status}: {text[:300]}: {body}")
    return text, wait_for("the receipt", 20, lambda: [new for new in receipts() if new["id"] not in before])[0]


def tokenized(vllm, body):
    """How many tokens vLLM's own /tokenize makes of a chat."""
    asked = {name: body[name] for name in ("model", "messages", "tools") if name in body}
    status, text = post(next(iter(vllm.servers.values())), "/tokenize", asked)
    require(status == 200, f"parity: /tokenize: {status}: {text[:300]}: {body}")
    return json.loads(text)["count"]


def kept(rankwise, vllm, conversations=12, turns=3):
    """Responses that vLLM keeps: what goes on from one comes to the server that made it, and the others do not know it."""
    last, asked = {}, 0
    for turn in range(turns):
        for number in range(conversations):
            text = f"{number} " * 40 + f"turn {turn}"
            fields = {"stream": (number + turn) % 2 == 0}
            if turn:
                fields["previous_response_id"] = last[number][1]["id"]
            status, headers, response = respond(rankwise.listen, text, **fields)
            require(status == 200, f"kept: {status}: {response}")
            worker, tokens = headers["x-rankwise-worker"], response["usage"]["input_tokens"]
            if turn:
                require(worker == last[number][0], f"kept: made by {last[number][0]}, gone on from at {worker}")
                before = last[number][1]["usage"]["input_tokens"]
                require(tokens > before + 40, f"kept: {tokens} tokens after {before}: vLLM did not go on from it")
            last[number], asked = (worker, response), asked + 1
    by_worker = collections.Counter(worker for worker, _ in last.values())
    require(set(by_worker) == set(vllm.servers), f"kept: not all servers made some: {by_worker}")
    unknown_elsewhere = 0
    for worker, response in last.values():
        path = f"/v1/responses/{response['id']}"
        require(get_json(rankwise.listen, path)["id"] == response["id"], f"kept: {path} is another")
        status, text = post(rankwise.listen, f"{path}/cancel", {})
        require(status == 400 and "synchronous" in text, f"kept: {path}/cancel: {status}: {text}")
        for address in (address for other, address in vllm.servers.items() if other != worker):
            require(get(address, path)[0] == 404, f"kept: {path} is known elsewhere")
            unknown_elsewhere += 1
    status, headers, queued = respond(rankwise.listen, "in the background", background=True)
    require(status == 200 and queued["status"] == "queued", f"kept: in the background: {status}: {queued}")
    path = f"/v1/responses/{queued['id']}"
    # Of its few tokens it makes an `incomplete` response, which is kept as any other.
    made = lambda: get_json(rankwise.listen, path)["status"] not in ("queued", "in_progress")
    wait_for("the response made in the background", 20, made)
    status, after, response = respond(rankwise.listen, "go on", previous_response_id=queued["id"])
    require(status == 200 and after["x-rankwise-worker"] == headers["x-rankwise-worker"], f"kept: {status}: {response}")
    status, headers, response = respond(rankwise.listen, "not kept", store=False)
    for identifier in (response["id"], "resp_unknown"):
        status, headers, message = respond(rankwise.listen, "go on", previous_response_id=identifier)
        require(status == 400 and headers.get("x-rankwise-error") == "body" and identifier in message, f"kept: {status}: {message}")
    missed = total(get(rankwise.status, "/metrics")[1], "rankwise_prompt_blocks_total", result="unconfirmed")
    require(missed == 0, f"kept: {missed} blocks were predicted wrongly")
    tell("kept", f"{asked} responses of {conversations} conversations, each where it began {dict(sorted(by_worker.items()))}, told and not cancelled "
         f"there, {unknown_elsewhere} times unknown elsewhere; one made in the background gone on from; 2 of unknown servers refused")


def own_choice(rankwise, vllm):
    """A client's own choice of rank chooses nothing, and none that vLLM would refuse reaches it."""
    prompt = [{"role": "system", "content": Conversations.text(random.Random(2), 150)}, {"role": "user", "content": "Go."}]
    rankwise.settle()
    home = chat(rankwise.listen, prompt, False).place
    asked = 0
    for value in "0", "1", "7", "abc":
        for name in "X-data-parallel-rank", "x-data-parallel-rank", "X_Data_Parallel_Rank":
            rankwise.settle()
            before = vllm.served()
            reply = chat(rankwise.listen, prompt, asked % 2 == 0, headers={name: value})
            require(reply.outcome == "ok", f"{name}: {value}: {reply.outcome}")
            served = vllm.served_since(before, 1)
            require(reply.place == home and served[home] == 1,
                    f"{name}: {value}: cached on {shown(home)}, headers name {shown(reply.place)}, vLLM's counters say {served}")
            require(reply.cached == reply.expected > 0, f"{name}: {value}: {reply.usage}, expected {reply.expected}")
            asked += 1
    tell("own choice", f"{asked} requests naming a rank themselves all ran on {shown(home)}, which holds their prefix")


def killed(rankwise, vllm):
    """vLLM dies."""
    vllm.engine("kill")
    return "vLLM"


def rank_killed(rankwise, vllm):
    """One rank's process dies, and its server goes by itself some time later. Tells when rankwise knew of either."""
    worker, rank = vllm.places[-1]
    out_of_worker = lambda: [one["availability"] != "ready" for one in rankwise.ranks() if one["worker"] == worker]
    vllm.engine("kill-rank", str(rank))
    began = time.monotonic()
    # The dead one, by its events; or another whose requests the server ends because of it, if that is seen first. The last one of a pool stays.
    wait_for("a rank to be out", 5, lambda: any(out_of_worker()))
    known = time.monotonic()
    wait_for("its worker to be out", 60, lambda: all(out_of_worker()))
    gone = time.monotonic()
    # What is left of it, before it is started again.
    vllm.engine("kill")
    return f"rank {shown((worker, rank))}, noticed {known - began:.2f} s after it was killed, and its whole worker out after {gone - began:.1f} s"


def restart(rankwise, vllm, threads, die):
    """vLLM dies, as `die` has it, and comes back under traffic: no request hangs or fails without saying so."""
    outcomes, stop, lock = [], threading.Event(), threading.Lock()

    def work(seed):
        conversations = Conversations(seed)
        while not stop.is_set():
            at, messages = conversations.turn()
            stream = conversations.random.random() < 0.7
            reply = chat(rankwise.listen, messages, stream, max_tokens=150, ignore_eos=True)
            with lock:
                outcomes.append(reply.outcome)
            if reply.outcome == "ok":
                conversations.answered(at, reply)
            else:
                # As a client would: the same turn again, somewhat later.
                conversations.open[at].pop()
                if len(conversations.open[at]) == 1:
                    conversations.open[at] = None
                stop.wait(0.25)

    def count(good):
        with lock:
            return sum((outcome == "ok") == good for outcome in outcomes)

    workers = [threading.Thread(target=work, args=(200 + seed,)) for seed in range(threads)]
    for worker in workers:
        worker.start()
    try:
        wait_for("chats before the kill", 60, lambda: count(True) >= 20)
        bad, killed_at = count(False), time.monotonic()
        who = die(rankwise, vllm)
        wait_for("failures after the kill", 60, lambda: count(False) >= bad + 20)
        vllm.engine("start")
        healthy, good = time.monotonic(), count(True)
        wait_for("chats after the restart", 60, lambda: count(True) >= good + 20)
        again = time.monotonic()
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    kinds = collections.Counter(outcomes)
    tell("restart", f"{who}; vLLM healthy {healthy - killed_at:.0f} s after the kill, 20 chats more {again - healthy:.1f} s later; "
         + "; ".join(f"{number} {kind}" for kind, number in kinds.most_common()))
    unclear = {kind: number for kind, number in kinds.items() if kind.startswith("unclear")}
    require(not unclear, f"restart: {unclear}")
