"""Makes a tiny Qwen2 model with random weights and a real tokenizer: model.py TOKENIZER_FOLDER MODEL_FOLDER"""
import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

HIDDEN, LAYERS, HEADS, KV_HEADS, INTERMEDIATE, VOCABULARY = 64, 2, 2, 1, 128, 151936
HEAD = HIDDEN // HEADS
BOS, EOS = 151643, 151645

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": HIDDEN,
    "intermediate_size": INTERMEDIATE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "max_position_embeddings": 32768,
    "max_window_layers": LAYERS,
    "use_sliding_window": False,
    "sliding_window": None,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "tie_word_embeddings": True,
    "vocab_size": VOCABULARY,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "torch_dtype": "bfloat16",
    "use_cache": True,
}
GENERATION = {"bos_token_id": BOS, "eos_token_id": [EOS, BOS], "pad_token_id": BOS, "do_sample": False}


def weights():
    generator = torch.Generator().manual_seed(1234)

    def random(*shape):
        return (torch.randn(*shape, generator=generator) * 0.05).to(torch.bfloat16)

    ones = lambda: torch.ones(HIDDEN, dtype=torch.bfloat16)
    found = {"model.embed_tokens.weight": random(VOCABULARY, HIDDEN), "model.norm.weight": ones()}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        for name, heads in ("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS):
            found[f"{at}self_attn.{name}_proj.weight"] = random(heads * HEAD, HIDDEN)
            found[f"{at}self_attn.{name}_proj.bias"] = random(heads * HEAD)
        found[f"{at}self_attn.o_proj.weight"] = random(HIDDEN, HEADS * HEAD)
        found[f"{at}mlp.gate_proj.weight"] = random(INTERMEDIATE, HIDDEN)
        found[f"{at}mlp.up_proj.weight"] = random(INTERMEDIATE, HIDDEN)
        found[f"{at}mlp.down_proj.weight"] = random(HIDDEN, INTERMEDIATE)
        found[f"{at}input_layernorm.weight"] = ones()
        found[f"{at}post_attention_layernorm.weight"] = ones()
    return found


def main():
    tokenizer, model = Path(sys.argv[1]), Path(sys.argv[2])
    model.mkdir(parents=True, exist_ok=True)
    (model / "config.json").write_text(json.dumps(CONFIG, indent=1))
    (model / "generation_config.json").write_text(json.dumps(GENERATION, indent=1))
    for name in "tokenizer.json", "tokenizer_config.json":
        shutil.copyfile(tokenizer / name, model / name)
    # Last: its presence says that the folder is whole.
    save_file(weights(), model / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
