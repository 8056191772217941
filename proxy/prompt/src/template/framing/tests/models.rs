//! Templates of models as they are used, shortened where a part says nothing new.

use super::{Framing, cuts};

/// Those that are continued, beside [`super::KNOWN`].
pub(super) const CONTINUED: [(&str, &str); 7] = [
    (
        "phi_3",
        "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    ),
    (
        "phi_4_mini",
        "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}",
    ),
    (
        "chatml_with_a_default",
        "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ),
    (
        "kimi_k2",
        "{% if tools -%}<|im_system|>tool_declare<|im_middle|>{{ tools | tojson }}<|im_end|>{%- endif -%}{%- for message in messages -%}{%- if loop.first and messages[0]['role'] != 'system' -%}<|im_system|>system<|im_middle|>You are a helpful assistant<|im_end|>{%- endif -%}{%- if message['role'] == 'system' -%}<|im_system|>system<|im_middle|>{%- elif message['role'] == 'user' -%}<|im_user|>user<|im_middle|>{%- elif message['role'] == 'assistant' -%}<|im_assistant|>assistant<|im_middle|>{%- elif message['role'] == 'tool' -%}<|im_system|>tool<|im_middle|>## Return of {{ message.tool_call_id }}\n{%- endif -%}{%- if message['role'] == 'assistant' and message.get('tool_calls') -%}{%- if message['content'] -%}{{ message['content'] }}{%- endif -%}<|tool_calls_section_begin|>{%- for tool_call in message['tool_calls'] -%}{{ tool_call['id'] }}{{ tool_call['function']['arguments'] | tojson }}{%- endfor -%}{%- elif message['content'] is string -%}{{ message['content'] }}{%- elif message['content'] is not none -%}{{ message['content'] }}{%- endif -%}<|im_end|>{%- endfor -%}{%- if add_generation_prompt -%}<|im_assistant|>assistant<|im_middle|>{%- endif -%}",
    ),
    (
        "glm_4_5_without_its_switch",
        "[gMASK]<sop>\n{%- set ns = namespace(last_user_index=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last_user_index = loop.index0 -%}{%- endif %}{%- endfor %}{%- for m in messages %}{%- if m.role == 'user' -%}<|user|>\n{{ m.content }}{%- elif m.role == 'assistant' -%}<|assistant|>{%- set reasoning_content = '' %}{%- set content = m.content %}{%- if m.reasoning_content is string %}{%- set reasoning_content = m.reasoning_content %}{%- elif '</think>' in content %}{%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{%- endif %}{%- if loop.index0 > ns.last_user_index and reasoning_content -%}{{ '\\n<think>' + reasoning_content.strip() + '</think>' }}{%- else -%}{{ '\\n<think></think>' }}{%- endif -%}{%- if content.strip() -%}{{ '\\n' + content.strip() }}{%- endif -%}{%- elif m.role == 'tool' -%}{%- if loop.first or (messages[loop.index0 - 1].role != 'tool') %}{{- '<|observation|>' }}{%- endif %}\n<tool_response>{{ m.content }}</tool_response>{%- elif m.role == 'system' -%}<|system|>\n{{ m.content }}{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}<|assistant|>{{- '\\n<think></think>' if (enable_thinking is defined and not enable_thinking) else '' -}}{%- endif -%}",
    ),
    (
        "more_behind_the_first",
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% if loop.first %}<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    ),
    (
        "separators_that_meet_themselves",
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('\\n\\n')[-1] }}<|im_end|>{{ m.content.split('aa')[0] }}{% endfor %}",
    ),
];

/// Those that are not, and what is said to it.
const RENDERED: [(&str, &str, &str); 9] = [
    (
        "llama_3",
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}",
        "no single loop",
    ),
    (
        "llama_3_1",
        "{{- bos_token }}{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}{%- else %}{%- set system_message = '' %}{%- endif %}{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}{%- if strftime_now is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}{{ date_string }}{%- if not tools is none %}{%- set first_user_message = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}{%- endif %}{%- for message in messages %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{%- endfor %}",
        "messages",
    ),
    (
        "gemma_2",
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}",
        "unknown",
    ),
    (
        "mistral_v3",
        "{%- set loop_messages = messages %}{%- set user_messages = loop_messages | selectattr('role', 'equalto', 'user') | list %}{{- bos_token }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- if tools is not none and (message == user_messages[-1]) %}{{- '[AVAILABLE_TOOLS] ' + tools|tojson + '[/AVAILABLE_TOOLS]' }}{%- endif %}{{- '[INST] ' + message['content'] + '[/INST]' }}{%- else %}{{- '[ANSWER] ' + message['content'] + eos_token }}{%- endif %}{%- endfor %}",
        "messages",
    ),
    (
        "mistral_v7",
        "{{- bos_token }}{%- for message in messages %}{%- if message['role'] == 'user' %}{{- '[INST]' + message['content'] + '[/INST]' }}{%- elif message['role'] == 'system' %}{{- '[SYSTEM_PROMPT]' + message['content'] + '[/SYSTEM_PROMPT]' }}{%- elif message['role'] == 'assistant' %}{{- message['content'] + '</s>' }}{%- else %}{{- raise_exception('no such role') }}{%- endif %}{%- endfor %}",
        "do not begin with an added token",
    ),
    (
        "zephyr",
        "{% for message in messages %}\n{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token }}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
        "loop.last",
    ),
    (
        "glm_4",
        "[gMASK]<sop>{% for m in messages %}{% if m.role == 'system' %}<|system|>\n{{ m.content }}{% endif %}{% endfor %}{% for m in messages %}{% if m.role != 'system' %}<|{{ m.role }}|>\n{{ m.content }}{% endif %}{% endfor %}",
        "no single loop",
    ),
    (
        "deepseek_v3_1",
        "{% set ns = namespace(is_tool=false, system_prompt='', is_last_user=false) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_last_user = true -%}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' %}{%- if ns.is_last_user %}{{'<｜Assistant｜></think>'}}{%- endif %}{%- set ns.is_last_user = false -%}{{message['content'] + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}{%- if add_generation_prompt and ns.is_last_user %}{{'<｜Assistant｜>'}}{% endif %}",
        "another state",
    ),
    (
        "harmony",
        "{%- macro shown(text) -%}{{ text|trim }}{%- endmacro -%}{%- for message in messages -%}{{- '<|start|>' + message.role + '<|message|>' + message.content + '<|end|>' }}{%- endfor -%}",
        "not understood",
    ),
];

#[test]
fn what_stands_against_others_is_said() {
    let cuts = cuts();
    for (name, source, reason) in RENDERED {
        match Framing::of(source, &cuts) {
            Ok(framing) => panic!("{name}: {framing:?}"),
            Err(said) => assert!(said.contains(reason), "{name}: {said}"),
        }
    }
}
