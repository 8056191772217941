"""HTTP as the test needs it: chats through rankwise, and the pages of rankwise and vLLM."""
import http.client
import json
import re
from dataclasses import dataclass, field

# No request of this test needs longer; one that does hangs.
TIMEOUT_S = 60


@dataclass
class Reply:
    """What came of a chat."""

    status: int = 0
    headers: dict = field(default_factory=dict)
    usage: dict | None = None
    text: str = ""
    # The message of an error in OpenAI's shape, as a body or as an event of the stream.
    error: str | None = None
    # How the connection failed, if it did.
    broken: str | None = None
    timed_out: bool = False

    @property
    def cached(self):
        details = (self.usage or {}).get("prompt_tokens_details") or {}
        return details.get("cached_tokens") or 0

    def number(self, header):
        value = self.headers.get(header)
        return None if value is None else int(value)

    @property
    def place(self):
        """Worker and rank."""
        return self.headers.get("x-rankwise-worker"), self.number("x-rankwise-dp-rank")

    @property
    def expected(self):
        return self.number("x-rankwise-expected-cached-tokens")

    @property
    def pending(self):
        return self.number("x-rankwise-pending-cached-tokens")

    @property
    def outcome(self):
        """`ok`, a clear failure in a few words, or what is wrong with the failure, after `unclear:`."""
        if self.timed_out:
            return f"unclear: nothing within {TIMEOUT_S} s"
        if self.broken:
            return f"unclear: {self.broken}"
        if self.status == 200:
            return "ok" if self.error is None else f"stream ended by an error event: {self.error}"
        if self.error is None:
            return f"unclear: {self.status} without an error body"
        return f"{self.status} {self.headers.get('x-rankwise-error', 'of the engine')}: {self.error}"


def chat(address, messages, stream, max_tokens=4, headers=None, **fields):
    """Sends a chat to `address` (host, port) and reads the whole answer."""
    body = {"model": "tiny", "messages": messages, "max_tokens": max_tokens, "temperature": 0, **fields}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    reply = Reply()
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
    try:
        head = {"content-type": "application/json", **(headers or {})}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), head)
        response = connection.getresponse()
        reply.status = response.status
        reply.headers = {name.lower(): value for name, value in response.getheaders()}
        if reply.headers.get("content-type", "").startswith("text/event-stream"):
            read_stream(response, reply)
        else:
            take(json.loads(response.read()), reply)
    except TimeoutError:
        reply.timed_out = True
    except (OSError, http.client.HTTPException, ValueError) as error:
        reply.broken = f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return reply


def respond(address, text, **fields):
    """Has a response made of `text`: status, headers, and the response, of a stream that of its last event; or the error's message."""
    body = {"model": "tiny", "input": text, "max_output_tokens": 4, "temperature": 0, **fields}
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
    try:
        connection.request("POST", "/v1/responses", json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        if headers.get("content-type", "").startswith("text/event-stream"):
            events = [json.loads(line[6:]) for line in answer if line.startswith(b"data: ")]
            return answer.status, headers, events[-1]["response"]
        value = json.loads(answer.read())
        return answer.status, headers, value if answer.status == 200 else value["error"]["message"]
    finally:
        connection.close()


def post(address, path, body, headers=None):
    """Status and body of an answer that is not streamed."""
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def read_stream(response, reply):
    for line in response:
        if not line.startswith(b"data: "):
            continue
        data = line[6:].strip()
        if data == b"[DONE]":
            return
        take(json.loads(data), reply)
    reply.broken = "the stream ended without [DONE]"


def take(value, reply):
    if "error" in value:
        reply.error = value["error"]["message"]
        return
    reply.usage = value.get("usage") or reply.usage
    for choice in value.get("choices", []):
        part = choice.get("message") or choice.get("delta") or {}
        reply.text += part.get("content") or ""


def get(address, path):
    """Status and body of a page."""
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def get_json(address, path):
    status, body = get(address, path)
    if status != 200:
        raise OSError(f"{path}: status {status}: {body[:200]}")
    return json.loads(body)


def series(page, name, label):
    """Sums of the series `name` of a Prometheus page, by `label`."""
    sums = {}
    for line in page.splitlines():
        if line.startswith(name + "{") and (found := re.search(rf'{label}="(\d+)"', line)):
            rank = int(found[1])
            sums[rank] = sums.get(rank, 0) + float(line.rsplit(" ", 1)[1])
    return sums


def total(page, name, **labels):
    """The sum of the series `name` of a Prometheus page that have these labels."""
    has = lambda line: line.startswith(name + "{") and all(f'{label}="{value}"' in line for label, value in labels.items())
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if has(line))
