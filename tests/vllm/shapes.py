"""Requests of many shapes, tools included, to all APIs that have messages."""
import json
import random

from conversations import Conversations

ODD = ["naïve 今天天气 ", "e\u0301 ﬁ ", "\u3000\u001f ", "<|im_end|> ", "👨\u200d👩 ", "don't I'LL ", "\r\n\n  ", "{\"a\": [1, 2.50]} ", "١٢٣ ", "\t\tx "]


class Shapes:
    """One request after the other: its path and body, each with words of its own from the first block on."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self, words=(2, 14)):
        text = Conversations.text(self.random, self.random.randint(*words))
        return text + self.random.choice(ODD) * self.random.randint(0, 3)

    def schema(self):
        properties = {f"p{at}": self.random.choice([{"type": "string", "description": self.text((1, 5))}, {"type": "number", "default": self.random.random()},
                                                    {"enum": ["a", None, 1]}]) for at in range(self.random.randint(0, 3))}
        return {"type": "object", "properties": properties}

    def function(self):
        function = {"name": f"f{self.random.randint(0, 99)}", "parameters": self.schema()}
        if self.random.random() < 0.7:
            function["description"] = self.text((1, 9))
        return function

    def arguments(self):
        return {"city": self.text((1, 2)), "n": self.random.choice([1.0, 1.5e-7, -3, None, [1, {"a": True}]])}

    def next(self):
        path, body = self.random.choice([self.chat, self.chat, self.messages, self.responses])()
        return path, {"model": "tiny", "temperature": 0, **body}

    def chat(self):
        content = lambda: self.random.choice([self.text(), [{"type": "text", "text": self.text()}, {"type": "text", "text": self.text()}]])
        messages = [{"role": "system", "content": self.text((10, 40))}] if self.random.random() < 0.7 else []
        for _ in range(self.random.randint(1, 2)):
            messages.append({"role": "user", "content": content()})
            kind = self.random.randrange(4)
            if kind == 0:
                messages.append({"role": "assistant", "content": content(), "reasoning_content": self.text((1, 9))})
            elif kind == 1:
                call = {"id": "c1", "type": "function", "function": {"name": "f1", "arguments": json.dumps(self.arguments())}}
                messages += [{"role": "assistant", "content": self.random.choice([None, "", self.text()]), "tool_calls": [call]},
                             {"role": "tool", "tool_call_id": "c1", "content": content()}]
        body = {"messages": messages, "max_tokens": 1}
        if self.random.random() < 0.5:
            body |= {"tools": [{"type": "function", "function": self.function()} for _ in range(2)], "tool_choice": "none"}
        return "/v1/chat/completions", body

    def messages(self):
        block = lambda: {"type": "text", "text": self.text()}
        messages = [{"role": "user", "content": self.random.choice([self.text(), [block(), block()]])}]
        if self.random.random() < 0.6:
            messages += [{"role": "assistant", "content": [block(), {"type": "tool_use", "id": "t1", "name": "f1", "input": self.arguments()}]},
                         {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": self.random.choice([self.text(), [block(), block()]])}, block()]}]
        body = {"messages": messages, "max_tokens": 1, "system": self.random.choice([self.text((10, 40)), [block(), block()]])}
        if self.random.random() < 0.5:
            tool = lambda function: {"input_schema": function.pop("parameters"), **function}
            body |= {"tools": [tool(self.function()) for _ in range(2)], "tool_choice": {"type": "none"}}
        return "/v1/messages", body

    def responses(self):
        given = [{"role": "user", "content": self.text((10, 40))}]
        if self.random.random() < 0.6:
            given += [{"type": "reasoning", "id": "r1", "summary": [], "content": [{"type": "reasoning_text", "text": self.text()}]},
                      {"type": "function_call", "call_id": "c1", "name": "f1", "arguments": json.dumps(self.arguments())},
                      {"type": "function_call_output", "call_id": "c1", "output": self.text()},
                      {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": self.text()}]},
                      {"role": "user", "content": [{"type": "input_text", "text": self.text()}, {"type": "input_text", "text": self.text()}]}]
        body = {"input": given, "max_output_tokens": 1, "instructions": self.text((10, 40))}
        if self.random.random() < 0.5:
            body |= {"tools": [{"type": "function", **self.function()} for _ in range(2)], "tool_choice": "none"}
        return "/v1/responses", body
