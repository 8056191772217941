"""What vLLM makes of request bodies before its chat template sees them, by its own code: one line of JSON a body.

Usage, with the Python of a vLLM: python normalise.py >normalised.jsonl
"""
import json
import types

from vllm.entrypoints.anthropic.protocol import AnthropicMessagesRequest
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
from vllm.entrypoints.openai.responses.utils import construct_input_messages, construct_tool_dicts
from vllm.renderers.chat_utils import parse_chat_messages

HEADER = "x-anthropic-billing-header: cc_version=2; cch=a1b2;"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "Zürich <b>"}, "n": {"default": 1.0}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "It's \"here\"", "parameters": SCHEMA, "strict": True}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Zürich", "n": 1.5e-7}'}}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def text(text, **more):
    return {"type": "text", "text": text, **more}


def chat(messages, **more):
    return {"model": "m", "messages": messages, **more}


def claude(messages, **more):
    return {"model": "m", "max_tokens": 9, "messages": messages, **more}


def response(given, **more):
    return {"model": "m", "input": given, **more}


def use(id, name, given):
    return {"type": "tool_use", "id": id, "name": name, "input": given}


def result(id, content, **more):
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def call(id, name, arguments, **more):
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments, **more}


def output(id, output):
    return {"type": "function_call_output", "call_id": id, "output": output}


def said(text, **more):
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}], **more}


def thought(text, **more):
    return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}], **more}


TOOL_TURN = [user("w?"), assistant(None, tool_calls=[CALL]), {"role": "tool", "tool_call_id": "c1", "content": '{"t": 21}'}]
CLAUDE_TOOL = {"name": "weather", "description": "d", "input_schema": {"properties": {"x": {"type": "string"}}}}
RESPONSE_TOOL = {"type": "function", "name": "weather", "description": "d", "parameters": SCHEMA, "strict": True}
CASES = {
    "/v1/chat/completions": {
        "plain": chat([{"role": "system", "content": "s"}, user("hi")]),
        "parts": chat([user([text("a"), text("b")]), assistant([text("c")])]),
        "tools": chat(TOOL_TURN, tools=[TOOL, {"type": "function", "function": {"name": "now"}}], tool_choice="none"),
        "deferred tool": chat([user("x")], tools=[{**TOOL, "defer_loading": True}], tool_choice="none"),
        "several calls": chat([user("w?"), assistant("let me", tool_calls=[CALL, {**CALL, "id": "c2"}]), user("and?")]),
        "arguments that are no object": chat(
            [user("w?")] + [assistant("", tool_calls=[{**CALL, "function": {"name": "f", "arguments": a}}]) for a in ["", "{", "[1]", "3", "null"]]
        ),
        "empty calls": chat([user("x"), assistant("y", tool_calls=[])]),
        "answer in parts": chat([user("w?"), assistant("", tool_calls=[CALL]), {"role": "tool", "tool_call_id": "c1", "content": [text("a"), text("b")]}]),
        "reasoning": chat([user("x"), assistant("y", reasoning="r"), user("z"), assistant("y", reasoning_content="old")]),
        "name": chat([{"role": "user", "name": "n", "content": "x"}]),
        "developer": chat([{"role": "developer", "content": "d"}, user("x")]),
        "billing header": chat([{"role": "system", "content": HEADER + "\nYou are"}, user(HEADER + "\nx")]),
        "billing header alone": chat([{"role": "system", "content": HEADER}, user("x")]),
        "billing header in parts": chat([{"role": "system", "content": [text(HEADER), text("a"), text(HEADER + "\nb")]}, user("x")]),
        "no thinking": chat([user("x")], reasoning_effort="none"),
        "effort": chat([user("x")], reasoning_effort="low", chat_template_kwargs={"enable_thinking": False, "k": [1]}),
        "continued": chat([user("x"), assistant("y")], continue_final_message=True, add_generation_prompt=False),
    },
    "/v1/messages": {
        "plain": claude([user("hi")]),
        "system": claude([user("hi"), assistant("y"), user("z")], system="be terse"),
        "system in blocks": claude([user("hi")], system=[text(HEADER), text("a"), text(""), text("b", cache_control={"type": "ephemeral"})]),
        "system within": claude([user("hi"), {"role": "system", "content": [text(HEADER), text("later")]}, assistant("y"), user("z")], system="first"),
        "empty system": claude([user("hi"), {"role": "system", "content": HEADER}], system=""),
        "blocks": claude([user([text("a"), text(""), text("b")]), assistant([text("c")]), user([text("d", cache_control={"type": "ephemeral"})])]),
        "tools": claude([user("w?")], tools=[CLAUDE_TOOL, {"name": "now", "input_schema": {"type": "object"}, "strict": True}]),
        "no tools": claude([user("w?")], tools=[]),
        "call": claude([user("w?"), assistant([text("let me"), use("t1", "weather", {"city": "Zürich", "n": 1.5e-7})]), user([result("t1", "21")])], tools=[CLAUDE_TOOL]),
        "calls only": claude([user("w?"), assistant([use("t1", "weather", {}), use("t2", "now", {"deep": [1, {"a": None}]})]), user([result("t1", "x"), result("t2", [text("a"), text("b")]), text("and?")])]),
        "empty answer": claude([user("w?"), assistant([use("t1", "f", {})]), user([{"type": "tool_result", "tool_use_id": "t1"}])]),
        "failed tool": claude([user("w?"), assistant([use("t1", "f", {})]), user([result("t1", "boom", is_error=True), text("hm")])]),
        "answer names a tool": claude([user("w?"), assistant([use("t1", "f", {})]), user([result("t1", [text("a"), {"type": "tool_reference", "tool_name": "weather"}])])]),
        "answer of the assistant": claude([user("x"), assistant([result("t1", "y"), text("z")]), user("w")]),
        "thinking": claude([user("x"), assistant([{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"}, text("y")]), user("z")]),
        "thinking only": claude([user("x"), assistant([{"type": "thinking", "thinking": "a", "signature": "s"}, {"type": "thinking", "thinking": "b", "signature": "s"}]), user("z")]),
        "nothing said": claude([user("x"), assistant([]), user([text("")]), user("z")]),
        "thinking disabled": claude([user("x")], thinking={"type": "disabled"}),
        "thinking enabled": claude([user("x")], thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000),
        "effort": claude([user("x")], output_config={"effort": "high"}, chat_template_kwargs={"k": 1}),
    },
    "/v1/responses": {
        "text": response("hi"),
        "instructions": response("hi", instructions="be terse"),
        "empty instructions": response("hi", instructions=""),
        "messages": response([{"role": "developer", "content": "d"}, user("a"), assistant("b"), user([{"type": "input_text", "text": "c"}, {"type": "input_text", "text": "d"}])]),
        "typed messages": response([{"type": "message", **user("a")}, said("b"), {"type": "message", "role": "system", "content": "s"}]),
        "call": response([user("w?"), call("c1", "weather", '{"city": "Zürich", "n": 1.5e-7}'), output("c1", "21"), user("and?")], tools=[RESPONSE_TOOL]),
        "calls after words": response([user("w?"), said("let me"), call("c1", "f", "{}"), call("c2", "g", "["), output("c1", "x"), output("c2", "y")]),
        "output in parts": response([user("w?"), call("c1", "f", ""), output("c1", [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}])]),
        "reasoning": response([user("x"), thought("hm", id="r1"), said("y"), user("z")]),
        "reasoning before a call": response([user("x"), thought("hm"), call("c1", "f", "{}"), output("c1", "o")]),
        "reasoning by summary": response([user("x"), {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "s"}]}, said("y"), user("z")]),
        "two answers": response([user("x"), said("a"), said("b"), assistant("c"), user("z")]),
        "unfinished answer": response([user("x"), said("to be", status="incomplete")]),
        "custom call": response([user("x"), {"type": "custom_tool_call", "call_id": "c1", "name": "shell", "input": "ls 'é'"}, {"type": "custom_tool_call_output", "call_id": "c1", "output": "a"}], tools=[{"type": "custom", "name": "shell", "description": "runs"}]),
        "namespaces": response([user("x"), call("c1", "f", "{}", namespace="crm"), output("c1", "o")], tools=[{"type": "namespace", "name": "crm", "description": "n", "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]}, RESPONSE_TOOL]),
        "tools not shown": response("x", tools=[{"type": "web_search_preview"}]),
        "no tools": response("x", tools=[]),
        "effort": response("x", reasoning={"effort": "low", "summary": "auto"}),
        "no thinking": response("x", reasoning={"effort": "none"}),
        "billing header": response("x", instructions=HEADER + "\nYou are"),
    },
}

# What the parser asks of a model's configuration, for one of text alone.
CONFIG = types.SimpleNamespace(multimodal_config=None, enable_prompt_embeds=False, is_multimodal_model=False, trust_remote_code=False)


def normalised(path, body):
    if path == "/v1/responses":
        request = ResponsesRequest(**body)
        messages = construct_input_messages(request_instructions=request.instructions, request_input=request.input)
        tools = construct_tool_dicts(request.tools, request.tool_choice)
    else:
        if path == "/v1/messages":
            request = AnthropicServingMessages.to_chat_completion_request(AnthropicMessagesRequest(**body))
        else:
            request = ChatCompletionRequest(**body)
        messages = request.messages
        tools = None if request.tools is None else [tool.model_dump() for tool in request.tools]
    conversation, _, _ = parse_chat_messages(messages, CONFIG, "string")
    kwargs = dict(request.build_chat_params(None, "auto").chat_template_kwargs)
    flags = [kwargs.pop(name) for name in ("add_generation_prompt", "continue_final_message")]
    return {"conversation": conversation, "tools": tools, "settings": [*flags, kwargs]}


for path, cases in CASES.items():
    for name, body in cases.items():
        given = json.loads(json.dumps(body))
        print(json.dumps({"path": path, "name": f"{path} {name}", "body": body, **normalised(path, given)}, ensure_ascii=False))
