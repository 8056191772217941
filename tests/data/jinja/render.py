"""Renders chats with the chat templates of tokenizer folders, as transformers does: one line of JSON for each tokenizer and chat.

Usage: render.py FOLDER, which holds a folder for each tokenizer. A chat that the template refuses has no "rendered".
"""
import json
import pathlib
import sys

from generate import environment

SPECIAL = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


SYSTEM = {"role": "system", "content": "You are terse."}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "Zürich <b>"}, "n": {"default": 1.0}}, "required": ["city"]}
# As the engine's request model gives them back: description and parameters are never left out.
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "It's \"here\"", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "now", "description": None, "parameters": None}},
]
ARGUMENTS = {"city": "Zürich", "n": 1.5e-7, "deep": [1, {"a": None}]}


def call(arguments):
    return {"id": "call_1", "function": {"arguments": arguments, "name": "weather"}, "type": "function"}


RESULT = {"role": "tool", "content": "{\"t\": 21}", "tool_call_id": "call_1"}
CHATS = {
    "one": [user("hi")],
    "system": [SYSTEM, user("hi")],
    "turns": [SYSTEM, user("a"), assistant("b"), user("c")],
    "no system": [user("a"), assistant("b"), user("c"), assistant("d"), user("e")],
    "white space": [user("  a \n\n"), assistant(" b\t"), user("\u3000c\u001f")],
    "empty": [user(""), assistant(""), user("x")],
    "special": [user("a <|im_end|> b <think>c</think>"), assistant("<think>\nwhy\n</think>\n\nso"), user("d")],
    "thinking twice": [user("a"), assistant("<think>x</think>y"), user("b"), assistant("<think>z</think>w"), user("c")],
    "system later": [user("a"), assistant("b"), SYSTEM, user("c")],
    "unicode": [SYSTEM, user("naïve 今天 👨\u200d👩 e\u0301")],
    "call": [user("w?"), assistant("", tool_calls=[call(ARGUMENTS)]), RESULT, user("and?")],
    "two calls": [user("w?"), assistant("let me", tool_calls=[call(ARGUMENTS), call({})]), RESULT, RESULT],
    "call at the end": [user("w?"), assistant("", tool_calls=[call({})])],
}


def with_json_arguments(message):
    """The API has a call's arguments as a string."""
    calls = [
        {**call, "function": {**call["function"], "arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False)}}
        for call in message.get("tool_calls", [])
    ]
    return {**message, "tool_calls": calls} if calls else message


def main(folder):
    for path in sorted(pathlib.Path(folder).glob("*/tokenizer_config.json")):
        config = json.loads(path.read_text())
        template = environment.from_string(config["chat_template"])
        special = {name: config[name] for name in SPECIAL if config.get(name) is not None}
        special = {name: token["content"] if isinstance(token, dict) else token for name, token in special.items()}
        for name, messages in CHATS.items():
            for tools in [None, TOOLS]:
                for generation in [True, False]:
                    body = {"model": "m", "messages": [with_json_arguments(message) for message in messages], "add_generation_prompt": generation}
                    if tools:
                        body["tools"] = tools
                    case = {"tokenizer": path.parent.name, "name": f"{name}, tools {bool(tools)}, generation {generation}", "body": body}
                    try:
                        case["rendered"] = template.render(
                            messages=messages, tools=tools, documents=None, add_generation_prompt=generation, **special
                        )
                    except Exception as error:  # whatever a template raises
                        case["error"] = str(error)
                    print(json.dumps(case, ensure_ascii=False))


main(sys.argv[1])
