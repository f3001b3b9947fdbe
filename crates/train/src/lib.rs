//! Training of the decoder: all of it that knows what a gradient is.
//!
//! There is no graph. Each layer has a forward pass that keeps what its backward pass needs, and both are written out
//! ([`Decoder`]). That way memory is known before the run ([`Plan`]): weights, gradients and the optimizer's means are
//! flat buffers of one [`Layout`], activations lie in [`Buffers`] that are sized once, and nothing else grows with the
//! model. Logits of a whole batch are never in memory: the output matrix, the loss and their gradients are computed for
//! some rows at a time.
//!
//! | switch of the decoder | where its gradient is checked |
//! |---|---|
//! | norms (RMS, layer) before, after, both; QK-norm; offsets | Llama, EXAONE 4.0, Gemma 2 and 3, StarCoder 2 |
//! | rotations (plain, linear, Llama 3, YaRN; per layer) | Llama, Qwen 2, Gemma 3, EXAONE 4.0 |
//! | grouped heads, windows, biases, soft caps | Mistral, Qwen 2 and 3, Gemma 2 |
//! | learnt positions, layer norms and biases (GPT-3, HyperCLOVA in 2021) | OPT |
//! | multipliers, tied matrices, GELU and gates | Granite, HyperCLOVA X, StarCoder 2 |
//! | experts, one that all tokens pass, groups, balance | Qwen 3 MoE, K-EXAONE |
//!
//! Methods of tuning are **the same pass with other trainable sets** ([`Method`]). A parameter of the decoder is either in
//! the flat buffer of what is trained or among the [`Frozen`], which stay as their file holds them, quantised or not; what
//! a method adds (the thin matrices of a LoRA and the lengths of a DoRA, rows before every text and the encoder that makes them, keys and values
//! before every text) is in the buffer.
//! Frozen weights have no gradients, no optimizer and no copy in floats, and nothing is passed back below the first thing
//! that is trained. Preferences ([`Preferences`]) are that pass again, with a share for each row of logits.
//!
//! Between steps weights are floats, floats in two halves of 16 bits, or bf16 numbers (`master.rs`); a pass reads them as it reads
//! those that stay, and the optimizer sees floats.
//!
//! A classifier is the same decoder with one row for each label in place of the output matrix; what it learns is the label
//! of a text, at the text's last token.
//!
//! What is learnt from is either texts, cut into [`Sequences`], or [`Examples`] made of the rows of files, of which some
//! tokens are learnt. Neither is padded.
//!
//! A [`Run`] is a folder: recipe, metrics, checkpoints, model. What it can be relied on for:
//!
//! - **The same recipe gives the same weights, to the bit**, on one machine, with any number of threads, interrupted or
//!   not: which texts a step takes follows from the seed and its number, and sums never depend on threads.
//! - **A checkpoint is complete or not there**, and any reader of Hugging Face checkpoints understands it.
//! - **Gradients are PyTorch's** within 1e-5 of their length on every switch (`tests/it/gradients.rs`), and those of tuning
//!   are those of `peft` (`tests/it/tuning.rs`).
#![forbid(unsafe_code)]

mod backward;
mod begin;
mod buffers;
mod checkpoint;
pub mod cluster;
mod data;
mod dpo;
mod error;
mod examples;
mod experts;
mod feed;
mod folder;
mod forward;
mod frozen;
mod journal;
mod layout;
mod linear;
mod machine;
mod magnitude;
mod master;
mod measure;
mod method;
mod nearest;
mod optimizer;
mod parquet;
mod pass;
mod plan;
mod prefix;
mod prepare;
mod publish;
mod random;
mod recipe;
mod report;
mod rows;
mod run;
mod samples;
mod scaling;
mod schedule;
mod shard;
mod soft;
mod template;
mod texts;
mod tfevents;

pub use buffers::{Buffers, Recompute};
pub use checkpoint::State;
pub use data::Sequences;
pub use dpo::Preferences;
pub use error::{DataProblem, TrainError};
pub use examples::Examples;
pub use frozen::Frozen;
pub use layout::{Kind, Layout, Trained};
pub use machine::{
    Choice, LoraPlan, Machine, MachinePlan, Reason, Speed, Step, Tried, available_memory, peak_memory, plan_of_size,
    plan_recipe,
};
pub use master::Values;
pub use measure::Measurement;
pub use method::{Lora, Method, Prompt, Target};
pub use nearest::nearest_name;
pub use optimizer::Algorithm;
pub use parquet::ParquetRows;
pub use pass::{Batch, Decoder, Objective};
pub use plan::Plan;
pub use prepare::{DataReport, Refusal, WriteChat};
pub use recipe::{DataRecipe, MethodName, ModelRecipe, Recipe, Task, TrainRecipe, TuneRecipe, WeightFormat};
pub use report::write_report;
pub use run::{Run, Setup, StepReport};
pub use samples::Sample;
pub use scaling::{Point, PowerLaw, Prediction, ScalingFit};
pub use schedule::Schedule;
pub use texts::Texts;
