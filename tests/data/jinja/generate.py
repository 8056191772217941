"""Writes the expectations that proxy/prompt's templates are tested against: what jinja2, set up as transformers sets it up, renders."""
import json
import random
import struct

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_pass"), [], [], body).set_lineno(line)

    def _pass(self, caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception

VALUE = {"b": "ü\"\\/\u007f\u2028<>&'\n\t\u0001", "a": [1, -2, 1.0, 1e16, 1.5e-7, True, None, {}], "é": {"z": [], "y": {"x": 0}}}
USER = [{"role": "user", "content": "hi"}]
CASES = [
    ("tojson", "{{ v|tojson }}", {"v": VALUE}),
    ("tojson indent", "{{ v|tojson(indent=4) }}", {"v": VALUE}),
    ("tojson indent 0", "{{ v|tojson(indent=0) }}", {"v": VALUE}),
    ("tojson ascii", "{{ v|tojson(ensure_ascii=True) }}", {"v": {"k": "ü😀\u007f\u0080"}}),
    ("tojson sorted", "{{ v|tojson(sort_keys=True) }}", {"v": VALUE}),
    ("tojson separators", "{{ v|tojson(separators=(',', ':')) }}", {"v": VALUE}),
    ("tojson string", "{{ 'a\"b' | tojson }}", {}),
    ("tojson undefined", "{{ nothing|tojson }}", {}),
    ("tojson keeps order", "{% for t in v %}{{ t|tojson }}\n{% endfor %}", {"v": [{"z": 1, "a": 2}, {"a": 1, "z": 2}]}),
    ("print list", "{{ v }}", {"v": ["a'b", 'c"d', "e\n\\", 1, 1.5, None, True, {"k": [False]}, []]}),
    ("print none bool", "{{ none }} {{ true }} {{ false }} {{ 1 == 1 }} {{ x }}|", {}),
    ("print floats", "{{ v[0] }} {{ v[1] }} {{ v[2] }} {{ v[3] }}", {"v": [1.0, 1e16, 1e-5, 0.1]}),
    ("trim separators", "[{{ v|trim }}][{{ v.strip() }}][{{ v.lstrip() }}][{{ v.rstrip() }}]", {"v": "\u001f\u001c \u0085\u00a0x\u200b \u3000\u001d\n"}),
    ("strip characters", "{{ v.strip('ab') }} {{ v.rstrip('b') }} {{ v|trim('a') }}", {"v": "abxba"}),
    ("string methods", "{{ v.split('</think>')[-1].lstrip('\\n') }}|{{ v.startswith('<th') }}|{{ v.upper() }}|{{ v.replace('a', 'b') }}", {"v": "<think>a</think>\n\nb"}),
    ("split", "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }}", {}),
    ("undefined bos", "[{{ bos_token }}]{% if bos_token is defined %}defined{% else %}undefined{% endif %}", {}),
    ("tools none", "{% if tools is defined %}D{% endif %}{% if tools is not none %}N{% endif %}{% if not tools %}E{% endif %}", {}),
    ("documents none", "{% if documents is none %}none{% endif %}", {}),
    ("concat none", "{{ 'a' + none }}", {}),
    ("concat undefined", "{{ 'a' + nothing }}", {}),
    ("concat tilde", "{{ 'a' ~ none ~ 1 ~ true }}", {}),
    ("attribute of undefined", "{{ nothing.more }}", {}),
    ("missing key", "[{{ v.k }}]{% if v.k is defined %}x{% endif %}{{ v['k'] is none }}", {"v": {}}),
    ("raise", "{{ raise_exception('roles must alternate') }}", {}),
    ("blocks trimmed", "  {% if true %}\n  a\n  {% endif %}\n  b\n", {}),
    ("blocks kept", "  {%+ if true %}\n  a\n  {% endif +%}\n  b\n", {}),
    ("minus", "a  {%- if true -%}  b  {%- endif -%}  c {{- ' d ' -}} e", {}),
    ("comments", "a {# note #}\n  {# note #}\nb", {}),
    ("final newline", "a\n", {}),
    ("generation", "x{% generation %}\n  y{{ 1 }}\n{% endgeneration %}\nz", {}),
    ("generation minus", "x {%- generation -%} y {%- endgeneration -%} z", {}),
    ("generation loop", "{% for m in messages %}{% if m.role == 'user' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}", {}),
    ("namespace", "{% set ns = namespace(n=0) %}{% for x in [1, 2, 3] %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}", {}),
    ("loop scope", "{% set n = 0 %}{% for x in [1, 2] %}{% set n = x %}{% endfor %}{{ n }}", {}),
    ("loop variables", "{% for x in ['a', 'b', 'c'] %}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.previtem }}{{ loop.nextitem }} {% endfor %}", {}),
    ("loop last", "{% for k, v in d.items() %}{{ loop.last }}{% endfor %}{% for k in d.keys()|list|reverse %}{{ loop.last }}{% endfor %}{% for x in [1, 2, 3]|select('odd') %}{{ loop.last }}{% endfor %}", {"d": {"a": 1, "b": 2}}),
    ("break continue", "{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}", {}),
    ("reverse slice", "{{ [1, 2, 3][::-1] }} {{ 'abc'[::-1] }} {{ [1, 2, 3][1:] }} {{ [1, 2, 3][-1] }} {{ 'abcdef'[1:4] }}", {}),
    ("is tests", "{% for x in v %}{{ x is string }}{{ x is mapping }}{{ x is iterable }}{{ x is sequence }}{{ x is number }}{{ x is none }}{{ x is boolean }} {% endfor %}", {"v": ["a", {}, [], 1, 1.5, None, True]}),
    ("undefined tests", "{{ x is string }}{{ x is mapping }}{{ x is none }}{{ x is defined }}", {}),
    ("items", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in d|items %}{{ k }}{% endfor %}", {"d": {"b": 1, "a": [1]}}),
    ("dict get", "{{ d.get('a') }} {{ d.get('x') }} {{ d.get('x', 'y') }} {{ 'a' in d }} {{ d.keys()|list }} {{ d.values()|list }}", {"d": {"a": 1}}),
    ("filters", "{{ v|map(attribute='n')|list }} {{ v|selectattr('n', 'equalto', 1)|list|length }} {{ v|rejectattr('n', 'equalto', 1)|list }} {{ [1, 2]|join(', ') }} {{ v|length }} {{ 'a'|default('b') }} {{ x|default('b') }}", {"v": [{"n": 1}, {"n": 2}]}),
    ("length of none", "{{ none|length }}", {}),
    ("first last", "{{ v|first }} {{ v|last }} {{ 'aBc'|capitalize }} {{ 'a b'|title }} {{ 'X'|lower }}", {"v": [3, 4]}),
    ("macro", "{% macro f(x, y='d') %}<{{ x }}{{ y }}>{% endmacro %}{{ f(1) }}{{ f(1, 'e') }}{{ f(1, y=2) }}", {}),
    ("set block", "{% set x %}a{{ 1 }}{% endset %}[{{ x }}]", {}),
    ("ternary", "{{ 'a' if v else 'b' }}[{{ 'a' if false }}]", {"v": []}),
    ("arithmetic", "{{ 7 // 2 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 7 % 3 }} {{ -7 // 2 }} {{ 2 ** 3 }} {{ 1 + 1.5 }}", {}),
    ("compare", "{{ 1 == 1.0 }} {{ '1' == 1 }} {{ none == false }} {{ [1] == [1] }} {{ 'a' < 'b' }}", {}),
    ("in", "{{ 'a' in 'abc' }} {{ 1 in [1] }} {{ 'x' not in ['y'] }}", {}),
    ("list concat", "{{ [1] + [2] }} {{ 'a' * 3 }}", {}),
    ("string filter", "{{ v|string }} {{ 1.0|string }} {{ none|string }}", {"v": ["a"]}),
    ("messages", "{% for m in messages %}{{ '<' + m['role'] + '>' + m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}", {}),
    ("no html escapes", "{{ v }}{{ v|tojson }}", {"v": "<a href='x'>&</a>"}),
    ("unicode", "{{ '日本' + v }}", {"v": "é😀"}),
    ("nested quotes", "{{ \"it's\" }}{{ 'say \"x\"' }}{{ 'a\\nb' }}", {}),
]

def main():
    with open("cases.jsonl", "w") as out:
        for name, template, context in CASES:
            full = {"messages": USER, "tools": None, "documents": None, "add_generation_prompt": True, **context}
            try:
                rendered = environment.from_string(template).render(**full)
            except Exception:
                rendered = None
            out.write(json.dumps({"name": name, "template": template, "context": context, "rendered": rendered}, ensure_ascii=False) + "\n")

    random.seed(7)
    numbers = [0.0, -0.0, 1.0, -1.0, 0.1, 0.2 + 0.1, 1e15, 1e16, 9999999999999998.0, 123456789012345680.0, 1e17, 1e22, 1e23, 1e100, 1e-3, 1e-4,
               1e-5, 9.999e-5, 1.5e-7, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 100.0, 1234.5, 1e10, 123456.789e3, 3.141592653589793]
    while len(numbers) < 400:
        number = struct.unpack("<d", random.randbytes(8))[0]
        if number == number and abs(number) != float("inf"):
            numbers.append(number)
        numbers.append(random.uniform(-1, 1) * 10 ** random.randint(-8, 20))
    with open("floats.txt", "w") as out:
        for number in numbers:
            out.write(f"{struct.unpack('<Q', struct.pack('<d', number))[0]:016x} {number!r}\n")


if __name__ == "__main__":
    main()
