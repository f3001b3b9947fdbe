//! Counters for Prometheus. Requests are counted when they end, so nothing is counted in the hot path.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::service::{Finished, Recorder, Service};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    model: String,
    outcome: &'static str,
}

/// Everything that a server counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    answers: Family<RouteLabels, Counter>,
    requests: Family<OutcomeLabels, Counter>,
    prompt_tokens: Family<ModelLabels, Counter>,
    cached_tokens: Family<ModelLabels, Counter>,
    completion_tokens: Family<ModelLabels, Counter>,
    queue: Family<ModelLabels, Histogram, fn() -> Histogram>,
    first_token: Family<ModelLabels, Histogram, fn() -> Histogram>,
    token: Family<ModelLabels, Histogram, fn() -> Histogram>,
    running: Family<ModelLabels, Gauge>,
    waiting: Family<ModelLabels, Gauge>,
    blocks: Family<ModelLabels, Gauge>,
    blocks_used: Family<ModelLabels, Gauge>,
    blocks_kept: Family<ModelLabels, Gauge>,
    panics: Family<ModelLabels, Gauge>,
    alive: Family<ModelLabels, Gauge>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let waits: fn() -> Histogram = || Histogram::new(exponential_buckets(0.005, 2.0, 14));
        let tokens: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 12));
        let mut metrics = Self {
            registry: Registry::with_prefix("saem"),
            answers: Family::default(),
            requests: Family::default(),
            prompt_tokens: Family::default(),
            cached_tokens: Family::default(),
            completion_tokens: Family::default(),
            queue: Family::new_with_constructor(waits),
            first_token: Family::new_with_constructor(waits),
            token: Family::new_with_constructor(tokens),
            running: Family::default(),
            waiting: Family::default(),
            blocks: Family::default(),
            blocks_used: Family::default(),
            blocks_kept: Family::default(),
            panics: Family::default(),
            alive: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("http_responses", "Responses by route and status", metrics.answers.clone());
        registry.register("requests", "Requests that the engine took, by their end", metrics.requests.clone());
        registry.register("prompt_tokens", "Tokens of prompts", metrics.prompt_tokens.clone());
        registry.register("cached_prompt_tokens", "Tokens of prompts that were known", metrics.cached_tokens.clone());
        registry.register("completion_tokens", "Tokens that were generated", metrics.completion_tokens.clone());
        let seconds =
            |registry: &mut Registry, name, help, family: &Family<ModelLabels, Histogram, fn() -> Histogram>| {
                registry.register_with_unit(name, help, Unit::Seconds, family.clone());
            };
        seconds(registry, "queue", "From a request to its first pass", &metrics.queue);
        seconds(registry, "time_to_first_token", "From a request to its first token", &metrics.first_token);
        seconds(registry, "time_per_token", "Between two tokens, mean of a request", &metrics.token);
        registry.register("running", "Texts at work", metrics.running.clone());
        registry.register("waiting", "Requests that wait to start", metrics.waiting.clone());
        registry.register("cache_blocks", "Blocks of keys and values", metrics.blocks.clone());
        registry.register("cache_blocks_used", "Blocks that requests hold", metrics.blocks_used.clone());
        registry.register("cache_blocks_kept", "Blocks kept for later requests", metrics.blocks_kept.clone());
        registry.register("engine_panics", "Passes that were lost to a panic", metrics.panics.clone());
        registry.register("engine_alive", "1 where the model takes requests", metrics.alive.clone());
        metrics
    }

    /// Counts a response.
    pub(crate) fn answered(&self, route: &str, status: u16) {
        self.answers.get_or_create(&RouteLabels { route: route.to_owned(), status }).inc();
    }

    /// All of it as text, with what the models are doing now.
    pub(crate) fn encode(&self, service: &Service) -> String {
        // A model with an adapter is the same thread once more.
        for model in service.all_models().iter().filter(|model| !model.is_adapted()) {
            let labels = ModelLabels { model: model.name().to_owned() };
            let status = model.status();
            self.running.get_or_create(&labels).set(status.running() as i64);
            self.waiting.get_or_create(&labels).set(status.waiting() as i64);
            self.blocks.get_or_create(&labels).set(model.plan().kv_blocks as i64);
            self.blocks_used.get_or_create(&labels).set(status.blocks_used() as i64);
            self.blocks_kept.get_or_create(&labels).set(status.blocks_kept() as i64);
            self.panics.get_or_create(&labels).set(status.panics() as i64);
            self.alive.get_or_create(&labels).set(i64::from(status.is_alive()));
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Recorder for Metrics {
    fn finished(&self, finished: &Finished<'_>) {
        let model = ModelLabels { model: finished.model.to_owned() };
        let outcome = OutcomeLabels { model: model.model.clone(), outcome: finished.outcome.as_str() };
        self.requests.get_or_create(&outcome).inc();
        self.prompt_tokens.get_or_create(&model).inc_by(finished.usage.prompt_tokens as u64);
        self.cached_tokens.get_or_create(&model).inc_by(finished.usage.cached_tokens as u64);
        self.completion_tokens.get_or_create(&model).inc_by(finished.usage.completion_tokens as u64);
        let Some(timings) = &finished.timings else { return };
        self.queue.get_or_create(&model).observe(timings.queued.as_secs_f64());
        self.first_token.get_or_create(&model).observe(timings.to_first_token().as_secs_f64());
        if finished.usage.completion_tokens > 1 {
            let between = timings.decode.as_secs_f64() / (finished.usage.completion_tokens - 1) as f64;
            self.token.get_or_create(&model).observe(between);
        }
    }
}
