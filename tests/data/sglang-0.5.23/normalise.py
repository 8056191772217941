"""What SGLang makes of chats before its chat template sees them, by its own code: one line of JSON a body.

Usage, with pydantic, jinja2, orjson, openai and transformers, but neither torch nor a GPU: python normalise.py SITE_PACKAGES >normalised.jsonl
SITE_PACKAGES is where the wheel of SGLang is unpacked. All of it but what reads requests is replaced by stubs.
"""
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import pathlib
import sys
import types
from unittest.mock import MagicMock

ROOT = pathlib.Path(sys.argv[1])
OPENAI = "sglang.srt.entrypoints.openai."
REAL = {OPENAI + "protocol", OPENAI + "serving_chat", "sglang.srt.parser.jinja_template_utils"}


class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name in REAL:
            return importlib.util.spec_from_file_location(name, ROOT / (name.replace(".", "/") + ".py"))
        if name.split(".")[0] in ("sglang", "torch", "fastapi"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__path__ = []

        def stub(name):
            # Classes may be derived from, and asked about.
            made = type(name, (), {}) if name[:1].isupper() else MagicMock(name=name)
            setattr(module, name, made)
            return made

        module.__getattr__ = stub
        return module

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, Stubs())
serving_chat = importlib.import_module(OPENAI + "serving_chat")
jinja_template_utils = importlib.import_module("sglang.srt.parser.jinja_template_utils")
ChatCompletionRequest = importlib.import_module(OPENAI + "protocol").ChatCompletionRequest
serving_chat.ThinkingMode = types.SimpleNamespace(THINKING=1, CHAT=0)
serving_chat.normalize_hunyuan_reasoning_effort = lambda *_: None
serving_chat.parallel_prompt_encode = lambda *_: ["prompt"]

STRING = "{% for message in messages %}{{ message.content }}{% endfor %}"
PARTS = "{% for message in messages %}{% for part in message.content %}{{ part }}{% endfor %}{% endfor %}"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "Zürich <b>"}, "n": {"default": 1.0}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "It's \"here\"", "parameters": SCHEMA, "strict": True}}
NOW = {"type": "function", "function": {"name": "now"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Zürich", "n": 1.5e-7}'}}


def user(content, **more):
    return {"role": "user", "content": content, **more}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def text(text, **more):
    return {"type": "text", "text": text, **more}


def tool(content, **more):
    return {"role": "tool", "tool_call_id": "c1", "content": content, **more}


def chat(messages, **more):
    return {"model": "m", "messages": messages, **more}


TURN = [user("w?"), assistant(None, tool_calls=[CALL]), tool('{"t": 21}')]
CASES = {
    "plain": chat([{"role": "system", "content": "s"}, user("hi")]),
    "parts": chat([user([text("a"), text("b")]), assistant([text("c")]), user("d")]),
    "no parts": chat([user([]), assistant(None), user("d")]),
    "thinking in parts": chat([user("x"), assistant([{"type": "thinking", "thinking": "hm"}, text("a")]), user("y")]),
    "fields that the engine does not know": chat([user("x", name="n", y=1), assistant("z", name="m", refusal=None, y=1, reasoning="r"), user("w")]),
    "roles in capitals": chat([{"role": "System", "content": "s"}, {"role": "DEVELOPER", "content": "d"}, user("x")]),
    "a user in capitals": chat([{"role": "User", "content": "x"}]),
    "another role": chat([{"role": "critic", "content": "x"}]),
    "nothing said by the user": chat([user(None)]),
    "billing header": chat([{"role": "system", "content": "x-anthropic-billing-header: a\nYou are"}, user("x")]),
    "tools": chat(TURN, tools=[TOOL, NOW]),
    "tools not to be used": chat(TURN, tools=[TOOL, NOW], tool_choice="none"),
    "tools to be used": chat(TURN, tools=[TOOL, NOW], tool_choice="required"),
    "one tool to be used": chat(TURN, tools=[TOOL, NOW], tool_choice={"type": "function", "function": {"name": "now"}}),
    "a tool that is not there": chat(TURN, tools=[TOOL], tool_choice={"type": "function", "function": {"name": "now"}}),
    "no tools": chat(TURN, tools=[]),
    "deferred tool": chat([user("x")], tools=[{**TOOL, "defer_loading": True}, NOW]),
    "order of a tool's fields": chat([user("x")], tools=[{"function": {"parameters": SCHEMA, "x": 1, "name": "f"}, "y": 2}, {"type": "function", "function": {"strict": None, "name": "g", "defer_loading": False}}]),
    "several calls": chat([user("w?"), assistant("let me", tool_calls=[{**CALL, "index": 0, "x": 1}, {"function": {"name": "f", "arguments": {"b": [1]}}}]), user("and?")]),
    "empty calls": chat([user("x"), assistant("y", tool_calls=[]), user("z")]),
    "arguments that are missing": chat([user("x"), assistant("", tool_calls=[{"id": "a", "function": {"name": "f"}}]), user("z")]),
    **{
        f"arguments {given!r}": chat([user("x"), assistant("", tool_calls=[{"id": "a", "function": {"name": "f", "arguments": given}}]), user("z")])
        for given in ["", "{", "[1]", "3", "null", '{"a": 1, "b": 2, "a": 3}']
    },
    "answer in parts": chat([user("w?"), assistant("", tool_calls=[CALL]), tool([text("a"), text("b")]), user("x")]),
    "answer that names a tool": chat([user("w?"), assistant("", tool_calls=[CALL]), tool([text("a"), {"type": "tool_reference", "name": "weather"}]), user("x")]),
    "reasoning": chat([user("x"), assistant("y", reasoning_content="r"), user("z"), assistant("y", reasoning="old"), user("w")]),
    "ends with the assistant": chat([user("x"), assistant("y", name="n", reasoning_content="r")]),
    "ends with the assistant's parts": chat([user("x"), assistant([text("y"), text("z")])]),
    "ends with a call": chat([user("x"), assistant(None, tool_calls=[CALL])]),
    "continued": chat([user("x"), assistant("y")], continue_final_message=True),
    "continued without a text": chat([user("x"), assistant(None)], continue_final_message=True),
    "continued behind a user": chat([user("x")], continue_final_message=True),
    "no generation prompt": chat([user("x")], add_generation_prompt=False, add_special_tokens=True, documents=[{"a": 1}], chat_template="x"),
    "no thinking": chat([user("x")], reasoning_effort="none"),
    "effort": chat([user("x")], reasoning_effort="low", chat_template_kwargs={"enable_thinking": False, "k": [1]}),
    "effort in the template's arguments": chat([user("x")], reasoning_effort="low", chat_template_kwargs={"reasoning_effort": "max"}),
    "unknown effort": chat([user("x")], reasoning_effort="much"),
    "reasoning as an object": chat([user("x")], reasoning={"effort": "high"}),
    "prefix": chat([user("x"), assistant("y", prefix=True)]),
}


def normalised(body, template):
    seen = {}

    def apply_chat_template(messages, *, tokenize, add_generation_prompt, tools, return_dict, **kwargs):
        seen.update(messages=json.loads(json.dumps(messages)), tools=tools, add_generation_prompt=add_generation_prompt, kwargs=kwargs)
        return "prompt"

    tokenizer = types.SimpleNamespace(
        apply_chat_template=apply_chat_template, encode=lambda text, **_: [text] if text else [], bos_token_id=None
    )
    serving = object.__new__(serving_chat.OpenAIServingChat)
    missing = ["default_chat_template_kwargs", "reasoning_parser", "tool_call_parser", "chat_encoding_spec", "_encoding_adapter"]
    missing += ["is_minimax_m3", "is_gpt_oss", "is_gemma4", "_reasoning_detector", "_tokenizer_auto_adds_specials"]
    for name in [*missing, "_prompt_text_round_trip_is_lossy"]:
        setattr(serving, name, None)
    serving.tokenizer_manager = types.SimpleNamespace(tokenizer=tokenizer)
    serving.template_manager = types.SimpleNamespace(
        jinja_template_content_format=jinja_template_utils.detect_jinja_template_content_format(template),
        jinja_template_may_reorder_tool_results=False,
        chat_template_name=None,
        reasoning_config=None,
        python_chat_template=None,
    )
    for name in ["_patch_reasoning_skip_special_tokens", "_encode_messages", "_takes_turn_grammar"]:
        setattr(serving, name, lambda *_, **__: None)
    for name in ["_get_reasoning_from_request", "_thinking_requested", "_requires_response_template_detokenization"]:
        setattr(serving, name, lambda *_, **__: False)
    serving_chat.get_json_schema_constraint = lambda *_, **__: None
    request = ChatCompletionRequest.model_validate(json.loads(json.dumps(body)))
    result = serving._process_messages(request, False)
    # What is encoded apart, behind the rendered text.
    return {**seen, "behind": result.prompt_ids[1:]}


for format, template in [("string", STRING), ("openai", PARTS)]:
    for name, body in CASES.items():
        case = {"name": f"{name}, {format}", "template": template, "body": body}
        try:
            case.update(normalised(body, template))
        except (ValueError, AttributeError) as error:
            if isinstance(error, AttributeError):
                raise
            case["refused"] = str(error).splitlines()[0]
        print(json.dumps(case, ensure_ascii=False))
