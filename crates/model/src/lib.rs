//! One decoder with switches: configuration, weights, key-value cache, forward pass, conversion.
//!
//! The open decoder families differ in a handful of places: where norms stand, how positions are rotated, which layers
//! see a window, what is multiplied by what, whether the feed-forward layer is one or many. So there is one decoder
//! here, and a [`Config`] of switches:
//!
//! | switch | values | for instance |
//! |---|---|---|
//! | norm | RMS, layer | StarCoder 2 has the second |
//! | norm position | before, after, both | Llama; EXAONE 4.0; Gemma, HyperCLOVA X Think |
//! | QK-norm | on, off | Qwen 3, Gemma 3, EXAONE 4.0 |
//! | rotation | base, linear / Llama 3 / YaRN scaling, a second base, none on some layers | Gemma 3; EXAONE 4.0's global layers |
//! | window | per layer | Gemma 3 five of six, EXAONE 4.0 three of four |
//! | multipliers | embedding, attention, residual, logits | HyperCLOVA X Think, Granite |
//! | soft caps | attention, logits | Gemma 2 |
//! | biases | query/key/value, output, feed-forward | Qwen 2 |
//! | feed-forward | SwiGLU, GeGLU, GELU; dense or experts | Qwen 3 MoE, K-EXAONE |
//!
//! The **key decision** is that the forward pass knows switches and never families. A [`Family`] is one function from
//! metadata to switches and a list of tensor names, serving GGUF and Hugging Face alike, because fields are read under
//! one spelling whatever the file's. What is right is settled by others: for every family a tiny checkpoint, written by
//! Hugging Face transformers, whose logits this crate must equal.
//!
//! A pass allocates nothing: [`Workspace`] holds every buffer, [`KvCache`] pages of keys and values which sequences own
//! by number, and [`Batch`] rows of any mixture of prompts and single tokens, each sequence with an [`Adapter`] of its own
//! (a LoRA or a soft prompt) or none: the weights stay as they are, and what an adapter adds is computed beside them for
//! the rows that want it. Metadata are untrusted: numbers are
//! bounded ([`ModelError::InvalidField`]) and shapes compared with the tensors before anything of their size is
//! allocated, and a [`Batch`] is checked before it runs.
//!
//! ```no_run
//! use saem_formats::Source;
//! use saem_kernels::ThreadPool;
//! use saem_kernels::attention::{KvType, Span};
//! use saem_model::{Batch, KvCache, LoadOptions, Model, Workspace, load_tokenizer};
//!
//! let source = Source::open("models/smollm2-135m.gguf")?;
//! let pool = ThreadPool::new(2).expect("two threads");
//! let model = Model::load(&source, &pool, &LoadOptions::default(), &mut |_done, _total| {})?;
//! let tokens = load_tokenizer(&source)?.encode("The capital of France is", true, false);
//!
//! let mut cache = KvCache::new(&model.config, KvType::F16, 1);
//! let mut workspace = Workspace::new(&model.config, tokens.len(), 1);
//! let spans = [Span { first_row: 0, rows: tokens.len(), first_position: 0, blocks: &[0] }];
//! let batch = Batch { tokens: &tokens, spans: &spans, adapters: &[], logit_rows: &[tokens.len() - 1] };
//! let logits = model.forward(&pool, &mut cache, &batch, &mut workspace)?;
//! let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
//! # Ok::<(), saem_model::ModelError>(())
//! ```
#![forbid(unsafe_code)]

mod adapter;
mod cache;
pub mod config;
mod convert;
mod describe;
mod error;
mod families;
mod forward;
mod layer;
mod moe;
mod parameters;
mod quantize;
mod rope;
mod routing;
mod tokenizer;
mod weights;
mod workspace;

pub use adapter::{
    Adapter, AdapterError, AdapterOptions, LoraPair, write_lora, write_lora_gguf, write_prefix, write_prompt,
};
pub use cache::KvCache;
pub use config::Config;
pub use convert::{Classifier, Conversion, convert, merge, write_classifier, write_companions};
pub use describe::{Description, TypeShare, describe};
pub use error::{BatchError, ModelError};
pub use families::{Family, Role};
pub use forward::Batch;
pub use parameters::Parameter;
pub use rope::Angles;
pub use routing::Routing;
pub use tokenizer::{chat_template, end_tokens, load_tokenizer};
pub use weights::{LoadOptions, Model};
pub use workspace::Workspace;
