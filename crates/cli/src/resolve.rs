//! From raw flags to what the engine takes: the second of two steps, after which nothing is optional by accident.

use saem_engine::{EngineOptions, Sampling, repetition_penalty_from_clova};
use saem_kernels::DataType;
use saem_kernels::attention::KvType;

use crate::arguments::{LoadFlags, SamplingFlags};
use crate::failure::Failure;
use crate::language::Language;

/// How to load, as the flags say and otherwise as suits one conversation.
pub(crate) fn options(flags: &LoadFlags, language: Language) -> anyhow::Result<EngineOptions> {
    for (flag, value) in [("--threads", flags.threads), ("--context", flags.context)] {
        if value == Some(0) {
            return Err(Failure::usage(language.at_least_one(flag)).into());
        }
    }
    Ok(EngineOptions {
        threads: flags.threads.unwrap_or_else(available_threads),
        context: flags.context,
        kv_type: match flags.kv_type.as_deref() {
            Some("q8_0") => KvType::Q8_0,
            Some("f32") => KvType::F32,
            _ => KvType::F16,
        },
        quantize: flags.quantize.as_deref().and_then(DataType::from_name),
        ..EngineOptions::default()
    })
}

/// Threads where none are asked for: as many as the process may use at once.
pub(crate) fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How to sample: the model's own advice, changed by the flags.
pub(crate) fn sampling(flags: &SamplingFlags, advice: &Sampling) -> anyhow::Result<Sampling> {
    let clova = flags.clova_repeat_penalty.map(repetition_penalty_from_clova).transpose()?;
    let sampling = Sampling {
        temperature: flags.temperature.unwrap_or(advice.temperature),
        top_k: flags.top_k.unwrap_or(advice.top_k),
        top_p: flags.top_p.unwrap_or(advice.top_p),
        min_p: flags.min_p.unwrap_or(advice.min_p),
        repetition_penalty: flags.repetition_penalty.or(clova).unwrap_or(advice.repetition_penalty),
        frequency_penalty: flags.frequency_penalty.unwrap_or(advice.frequency_penalty),
        presence_penalty: flags.presence_penalty.unwrap_or(advice.presence_penalty),
        seed: flags.seed.or(advice.seed),
        ..advice.clone()
    };
    sampling.validate()?;
    Ok(sampling)
}

#[cfg(test)]
mod tests {
    use saem_engine::Sampling;

    use super::sampling;
    use crate::arguments::SamplingFlags;

    #[test]
    fn flags_win_over_the_models_advice() {
        let advice = Sampling { top_k: 20, temperature: 0.6, repetition_penalty: 1.05, ..Sampling::default() };
        let flags =
            SamplingFlags { temperature: Some(0.0), clova_repeat_penalty: Some(5.0), ..SamplingFlags::default() };
        let resolved = sampling(&flags, &advice).unwrap();
        assert_eq!((resolved.temperature, resolved.top_k, resolved.repetition_penalty), (0.0, 20, 1.1));
        let wrong = SamplingFlags { top_p: Some(1.5), ..SamplingFlags::default() };
        assert!(sampling(&wrong, &advice).is_err());
    }
}
