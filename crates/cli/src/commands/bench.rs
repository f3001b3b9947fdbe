//! `saem bench`.

use saem_engine::Control;
use saem_engine::bench::BenchOptions;
use saem_kernels::ThreadPool;
use saem_kernels::measure::{self, Limits, Measurement};
use serde_json::{Value, json};

use crate::arguments::Bench;
use crate::failure::{Failure, bytes};
use crate::language::Language;
use crate::progress::{Progress, Unit};
use crate::{loading, output, resolve};

/// Measures a model, or the kernels alone.
pub(crate) fn run(arguments: &Bench, language: Language) -> anyhow::Result<()> {
    if arguments.kernels { kernels(arguments, language) } else { model(arguments, language) }
}

fn model(arguments: &Bench, language: Language) -> anyhow::Result<()> {
    let sizes =
        [("--prefill", arguments.prefill), ("--batch", arguments.batch), ("--repetitions", arguments.repetitions)];
    for (flag, value) in sizes {
        if value == 0 {
            return Err(Failure::usage(language.at_least_one(flag)).into());
        }
    }
    let mut options = resolve::options(&arguments.load, language)?;
    options.max_sequences = arguments.batch;
    options.context.get_or_insert(arguments.prefill.saturating_add(arguments.decode));
    let loaded = loading::load(&arguments.model, &options, language)?;
    let bench = BenchOptions {
        prefill: arguments.prefill,
        decode: arguments.decode,
        batch: arguments.batch,
        repetitions: arguments.repetitions,
    };
    let mut progress = Progress::new(language, language.measuring(), Unit::Steps, None);
    let result = loaded.engine.bench(&bench, &mut |done, total| {
        progress.set_of(done as u64, total as u64);
        Control::Continue
    })?;
    drop(progress);
    let (prefill, decode) = (result.prefill_tokens_per_second(), result.decode_tokens_per_second());
    let memory = peak_memory();
    if arguments.json {
        return output::json(&json!({
            "model": loaded.name,
            "threads": loaded.engine.threads(),
            "prefill": arguments.prefill,
            "decode": arguments.decode,
            "batch": arguments.batch,
            "repetitions": arguments.repetitions,
            "prefill_tokens_per_second": prefill,
            "decode_tokens_per_second": decode,
            "prefill_runs": result.prefill_runs,
            "decode_runs": result.decode_runs,
            "load_seconds": loaded.time.as_secs_f64(),
            "weight_bytes": loaded.engine.plan().weight_bytes,
            "planned_bytes": loaded.engine.plan().total_bytes(),
            "peak_memory_bytes": memory,
        }));
    }
    let memory = memory.map_or_else(|| "-".to_owned(), bytes);
    let time = format!("{:.2} s", loaded.time.as_secs_f64());
    let lines = [
        format!("{}: {}", loaded.name, language.bench_header(loaded.engine.threads(), arguments.repetitions)),
        language.bench_prefill(arguments.prefill * arguments.batch, &format!("{prefill:.1}")),
        language.bench_decode(arguments.decode * arguments.batch, &format!("{decode:.1}")),
        language.bench_load(&time, &memory),
    ];
    output::line(&(lines.join("\n") + "\n"))
}

/// What the machine can do, what was chosen for it, and how near each kernel comes.
fn kernels(arguments: &Bench, language: Language) -> anyhow::Result<()> {
    let threads = arguments.load.threads.unwrap_or_else(resolve::available_threads);
    if threads == 0 {
        return Err(Failure::usage(language.at_least_one("--threads")).into());
    }
    let pool = ThreadPool::new(threads)?;
    let limits = measure::limits(&pool);
    let mut measured = Vec::new();
    let mut progress = Progress::new(language, language.measuring(), Unit::Steps, None);
    measure::products(&pool, &limits, &mut |measurement| {
        measured.push(measurement);
        progress.set(measured.len() as u64);
    })?;
    drop(progress);
    if arguments.json {
        return output::json(&kernels_json(threads, &limits, &measured));
    }
    let giga = |value: f64| format!("{:.1}", value / 1e9);
    let mut text = format!(
        "{}\n",
        language.kernel_limits(
            threads,
            &giga(limits.read_bytes),
            &giga(limits.f32_operations),
            &giga(limits.int8_operations)
        )
    );
    let mut rows = vec![vec![
        language.column_type(),
        language.column_rows(),
        language.column_kernel(),
        language.column_rate(),
        language.column_limit(),
        String::from("%"),
    ]];
    rows.extend(measured.iter().map(|kernel| {
        let unit = if kernel.unit == "bytes" { "GB/s" } else { "Gop/s" };
        vec![
            kernel.data_type.name().to_owned(),
            kernel.rows.to_string(),
            kernel.chosen.to_owned(),
            format!("{} {unit}", giga(kernel.rate)),
            format!("{} {unit}", giga(kernel.limit)),
            format!("{:.0}", 100.0 * kernel.rate / kernel.limit),
        ]
    }));
    text.push_str(&output::table(&rows, &[1, 3, 4, 5]));
    output::line(&text)
}

fn kernels_json(threads: usize, limits: &Limits, measured: &[Measurement]) -> Value {
    let kernel = |kernel: &Measurement| {
        json!({
            "type": kernel.data_type.name(), "rows": kernel.rows, "chosen": kernel.chosen, "unit": kernel.unit,
            "per_second": kernel.rate, "limit_per_second": kernel.limit, "fraction": kernel.rate / kernel.limit,
        })
    };
    json!({
        "threads": threads,
        "limits": {
            "read_bytes_per_second": limits.read_bytes,
            "f32_operations_per_second": limits.f32_operations,
            "int8_operations_per_second": limits.int8_operations,
            "tile_operations_per_second": limits.tile_operations,
        },
        "kernels": measured.iter().map(kernel).collect::<Vec<_>>(),
    })
}

/// The most memory that this process had at once, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
