#!/usr/bin/env python3
"""Writes the tiny checkpoints that `crates/model/tests` compares its logits with.

Every family gets a directory `crates/model/tests/fixtures/<name>/` with
  config.json, model.safetensors   a randomly initialised checkpoint as `transformers` saves it (float32)
  expected.safetensors             `logits` [tokens, vocabulary] of one pass over the prompt (float32)
  tokens.json                      the prompt
and, where a conversion test needs one, tokenizer.json and tokenizer_config.json.

Weights are drawn wide enough for attention to be far from uniform, and norm weights, biases and multipliers are
never their neutral values: a switch that is ignored must change the logits. Windows are shorter than the prompt.

    pip install torch transformers tokenizers safetensors
    python scripts/model-fixtures.py [name ...]
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    Exaone4Config,
    ExaoneMoeConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GraniteConfig,
    HyperCLOVAXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    Starcoder2Config,
)

FIXTURES = Path(__file__).resolve().parent.parent / "crates/model/tests/fixtures"
PROMPT = 40
VOCABULARY = 128

SMALL = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
)
OPT = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    word_embed_proj_dim=32,
    ffn_dim=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=256,
    dropout=0.0,
    attention_dropout=0.0,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=10000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
TEXT = [
    "Spring water is clear and the spring is near the house.",
    "샘물은 맑고 샘은 집 가까이에 있다. 샘물은 차다.",
    "The teacher said that the water of the spring is cold.",
] * 4


def rope(**parameters):
    """Rope parameters; `transformers` writes them under `rope_parameters`."""
    return dict(rope_parameters=dict(parameters))


FAMILIES = {
    "llama": lambda: LlamaConfig(**SMALL | dict(vocab_size=320, num_hidden_layers=3), head_dim=16, rope_parameters=LLAMA3),
    "llama-yarn": lambda: LlamaConfig(
        **SMALL | dict(num_hidden_layers=3),
        tie_word_embeddings=True,
        attention_bias=True,
        mlp_bias=True,
        **rope(
            rope_type="yarn",
            rope_theta=10000.0,
            factor=4.4,
            beta_fast=6.0,
            beta_slow=0.5,
            original_max_position_embeddings=64,
        ),
    ),
    "mistral": lambda: MistralConfig(
        **SMALL | dict(num_hidden_layers=3),
        head_dim=16,
        sliding_window=9,
        **rope(
            rope_type="yarn",
            rope_theta=5000.0,
            factor=4.0,
            beta_fast=5.0,
            mscale=1.3,
            mscale_all_dim=0.6,
            truncate=False,
            original_max_position_embeddings=64,
        ),
    ),
    "qwen2": lambda: Qwen2Config(
        **SMALL | dict(vocab_size=320, num_hidden_layers=3),
        tie_word_embeddings=True,
        **rope(rope_type="linear", rope_theta=10000.0, factor=2.0),
    ),
    "qwen3": lambda: Qwen3Config(
        **SMALL,
        head_dim=16,
        use_sliding_window=True,
        sliding_window=7,
        max_window_layers=2,
        **rope(rope_type="default", rope_theta=1000.0),
    ),
    "qwen3_moe": lambda: Qwen3MoeConfig(
        **SMALL | dict(num_hidden_layers=3),
        head_dim=16,
        moe_intermediate_size=32,
        num_experts=6,
        num_experts_per_tok=2,
        norm_topk_prob=True,
        mlp_only_layers=[1],
        **rope(rope_type="default", rope_theta=1000.0),
    ),
    "gemma2": lambda: Gemma2Config(
        **SMALL | dict(num_hidden_layers=3),
        head_dim=16,
        sliding_window=8,
        query_pre_attn_scalar=24,
        attn_logit_softcapping=3.0,
        final_logit_softcapping=20.0,
        **rope(rope_type="default", rope_theta=1000.0),
    ),
    "gemma3": lambda: Gemma3TextConfig(
        **SMALL | dict(num_hidden_layers=7, intermediate_size=32),
        head_dim=8,
        sliding_window=8,
        query_pre_attn_scalar=24,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        },
    ),
    # EXAONE 3.x is remote code with Llama's mathematics: computed by Llama, saved under EXAONE's names.
    "exaone": lambda: LlamaConfig(
        **SMALL | dict(hidden_size=40, intermediate_size=56),
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        rope_parameters=LLAMA3 | dict(rope_theta=20000.0),
    ),
    "exaone4": lambda: Exaone4Config(
        **SMALL | dict(num_hidden_layers=5),
        sliding_window=8,
        sliding_window_pattern=4,
        rope_parameters=LLAMA3 | dict(factor=16.0),
    ),
    "exaone4-full": lambda: Exaone4Config(
        **SMALL | dict(num_hidden_layers=2),
        sliding_window=None,
        layer_types=["full_attention"] * 2,
        tie_word_embeddings=True,
        rope_parameters=LLAMA3,
    ),
    "exaone_moe": lambda: ExaoneMoeConfig(
        **SMALL | dict(num_hidden_layers=4, intermediate_size=48),
        sliding_window=8,
        sliding_window_pattern=4,
        moe_intermediate_size=16,
        num_experts=8,
        num_experts_per_tok=3,
        num_shared_experts=2,
        n_group=2,
        topk_group=1,
        routed_scaling_factor=2.5,
        first_k_dense_replace=1,
        **rope(rope_type="default", rope_theta=1000.0),
    ),
    "hyperclovax": lambda: HyperCLOVAXConfig(
        **SMALL,
        head_dim=16,
        embedding_multiplier=3.0,
        logits_scaling=0.125,
        residual_multiplier=0.6,
        attention_multiplier=0.17,
        **rope(rope_type="default", rope_theta=100000000.0),
    ),
    "granite": lambda: GraniteConfig(
        **SMALL | dict(num_hidden_layers=2),
        embedding_multiplier=3.0,
        logits_scaling=4.0,
        residual_multiplier=0.6,
        attention_multiplier=0.17,
        **rope(rope_type="default", rope_theta=1000.0),
    ),
    "starcoder2": lambda: Starcoder2Config(
        **SMALL | dict(num_hidden_layers=3),
        bos_token_id=0,
        eos_token_id=0,
        sliding_window=9,
        **rope(rope_type="default", rope_theta=1000.0),
    ),
    "opt": lambda: OPTConfig(**OPT, activation_function="gelu"),
    "opt-relu": lambda: OPTConfig(**OPT, activation_function="relu", enable_bias=False),
}


def randomise(model, gemma):
    """Draws every parameter from a fixed seed, far from neutral."""
    generator = torch.Generator().manual_seed(20210525)
    draw = lambda like: torch.randn(like.shape, generator=generator)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()) + sorted(model.named_buffers()):
            if "inv_freq" in name or "embed_scale" in name:
                continue
            if "norm" in name and name.endswith("weight"):
                parameter.copy_(0.3 * draw(parameter) + (0.0 if gemma else 1.0))
            elif parameter.dim() == 1:
                parameter.copy_(0.3 * draw(parameter))
            elif "embed_tokens" in name:
                parameter.copy_(draw(parameter))
            else:
                parameter.copy_(1.3 * draw(parameter) / parameter.shape[-1] ** 0.5)


def exaone_name(name):
    """Llama's tensor name as EXAONE 3.x spells it."""
    for llama, exaone in [
        ("model.embed_tokens", "transformer.wte"),
        ("model.layers", "transformer.h"),
        ("model.norm", "transformer.ln_f"),
        ("input_layernorm", "ln_1"),
        ("post_attention_layernorm", "ln_2"),
        ("self_attn.o_proj", "attn.attention.out_proj"),
        ("self_attn", "attn.attention"),
        ("mlp.gate_proj", "mlp.c_fc_0"),
        ("mlp.up_proj", "mlp.c_fc_1"),
        ("mlp.down_proj", "mlp.c_proj"),
    ]:
        name = name.replace(llama, exaone)
    return name


def save_exaone(model, directory):
    config = model.config
    scaling = dict(config.rope_parameters)
    theta = scaling.pop("rope_theta")
    written = {
        "architectures": ["ExaoneForCausalLM"],
        "model_type": "exaone",
        "activation_function": "silu",
        "layer_norm_epsilon": config.rms_norm_eps,
        "num_layers": config.num_hidden_layers,
        "head_dim": config.hidden_size // config.num_attention_heads,
        "rope_theta": theta,
        "rope_scaling": scaling,
        "torch_dtype": "float32",
    }
    for key in [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "max_position_embeddings",
        "tie_word_embeddings",
        "bos_token_id",
        "eos_token_id",
    ]:
        written[key] = getattr(config, key)
    (directory / "config.json").write_text(json.dumps(written, indent=2) + "\n")
    tensors = {exaone_name(name): tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def save_tokenizer(directory, split, special):
    """A byte-level BPE of 320 tokens: 256 bytes, 56 merges, 8 special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=312, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_special_tokens(special)
    assert tokenizer.get_vocab_size() == 320, tokenizer.get_vocab_size()
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": special[0],
        "eos_token": special[1],
        "chat_template": "{% for m in messages %}" + special[2] + "{{ m.role }}\n{{ m.content }}" + special[1] + "{% endfor %}",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def write(name, config):
    directory = FIXTURES / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    randomise(model, gemma=name.startswith("gemma"))
    if name == "exaone":
        save_exaone(model, directory)
    else:
        model.save_pretrained(directory)
    tokens = torch.randint(0, VOCABULARY, (1, PROMPT), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        logits = model(tokens).logits[0].float().contiguous()
    save_file({"logits": logits}, directory / "expected.safetensors")
    (directory / "tokens.json").write_text(json.dumps(tokens[0].tolist()) + "\n")
    if name == "llama":
        save_tokenizer(directory, LLAMA3_SPLIT, ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|a|>", "<|b|>", "<|c|>", "<|d|>"])
    if name == "qwen2":
        save_tokenizer(directory, QWEN2_SPLIT, ["<|endoftext|>", "<|im_end|>", "<|im_start|>", "<|fim_prefix|>", "<|a|>", "<|b|>", "<|c|>", "<|d|>"])
    size = sum(file.stat().st_size for file in directory.iterdir())
    spread = logits.std(dim=-1).mean().item()
    print(f"{name:14} {size / 1024:7.0f} KiB  logits: std {spread:.2f}, max {logits.abs().max().item():.2f}")


if __name__ == "__main__":
    torch.manual_seed(1)
    for family in sys.argv[1:] or FAMILIES:
        write(family, FAMILIES[family]())
