//! What the engine saves where texts come again: `reuse MODEL [THREADS]` prints one JSON object.
//!
//! - `prefix`: time to the first token of a prompt of 1,500 tokens, new and seen before;
//! - `copying`: decoding speed with and without guesses on prompts whose answer repeats the input;
//! - `plain`: the same where there is little to guess.
//!
//! Median of three runs each, with and without in turn.

use std::time::Instant;

use saem_engine::bench::median;
use saem_engine::chat::{Message, RenderOptions};
use saem_engine::{Completion, Control, Engine, EngineError, EngineOptions, Event, Request, Sampling};

const NOTE: &str = "The community garden on Mill Road opens on Saturday, 12 April, at 9 in the morning. Volunteers \
    should bring gloves and a water bottle. Tools, seeds and compost are provided. Children are welcome if they come \
    with an adult. Parking is limited, so please walk, cycle or take bus 14. If it rains, the opening moves to Sunday, \
    13 April, at the same time. For questions, write to Anna Lindqvist or call the office between 10 and 12.";

const CODE: &str = "def read_prices(path):\n    prices = {}\n    with open(path) as lines:\n        for line in lines:\n\
    \x20           name, price = line.split(',')\n            prices[name.strip()] = float(price)\n    return prices\n\n\
    def total(prices, basket):\n    result = 0.0\n    for name, count in basket.items():\n\
    \x20       result += prices[name] * count\n    return result\n";

fn main() -> Result<(), EngineError> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().unwrap_or_default();
    let threads = arguments.next().and_then(|threads| threads.parse().ok()).unwrap_or(0);
    let options = EngineOptions { threads, context: Some(2048), ..EngineOptions::default() };
    let engine = Engine::load(&model, &options, &mut |_, _| {})?;
    let mut tenants = 1..;
    let mut tenant = || tenants.next().unwrap_or_default();

    let (mut new, mut known) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let text = format!("{NOTE}\n\n").repeat(40);
        let mut prompt = engine.prompt_tokens(&text);
        prompt.truncate(1500);
        let tenant = tenant();
        let request = Request { max_tokens: Some(1), tenant, ..Request::new(prompt, Sampling::greedy()) };
        new.push(first_token(&engine, request.clone())?);
        known.push(first_token(&engine, request)?);
    }
    let (new, known) = (median(&new), median(&known));
    println!(
        "{{\"threads\": {}, \"prefix\": {{\"new_ms\": {new:.1}, \"known_ms\": {known:.1}, \"times\": {:.1}}},",
        engine.threads(),
        new / known
    );

    let copying = [
        format!("Repeat the following text word for word, but write Tuesday instead of Sunday:\n\n{NOTE}"),
        format!("Copy this text and correct the spelling:\n\n{NOTE}"),
        format!("Rename the variable `result` to `amount` and print the whole program again:\n\n```python\n{CODE}```"),
    ];
    let plain = [
        "Write a short story about a lighthouse keeper.".to_owned(),
        "Explain how vaccines work.".to_owned(),
        "What should one think about when choosing a bicycle?".to_owned(),
    ];
    for (name, prompts, end) in [("copying", copying, ","), ("plain", plain, "}")] {
        let (mut with, mut without, mut passes) = (Vec::new(), Vec::new(), Vec::new());
        for prompt in &prompts {
            let (mut runs, mut plain_runs) = (Vec::new(), Vec::new());
            for _ in 0..3 {
                let before = engine.stats().totals;
                let guessed = answer(&engine, prompt, true, tenant())?;
                let after = engine.stats().totals;
                passes.push(guessed.usage.completion_tokens as f64 / (after.passes - before.passes) as f64);
                let single = answer(&engine, prompt, false, tenant())?;
                if guessed.text() != single.text() {
                    eprintln!("the texts differ: {:?} and {:?}", guessed.text(), single.text());
                }
                runs.push(guessed.timings.decode_tokens_per_second(&guessed.usage, 1));
                plain_runs.push(single.timings.decode_tokens_per_second(&single.usage, 1));
            }
            with.push(median(&runs));
            without.push(median(&plain_runs));
        }
        let times: Vec<String> = with.iter().zip(&without).map(|(a, b)| format!("{:.2}", a / b)).collect();
        println!(
            " \"{name}\": {{\"with\": {with:.1?}, \"without\": {without:.1?}, \"times\": [{}], \"tokens_a_pass\": {:.2}}}{end}",
            times.join(", "),
            median(&passes),
        );
    }
    Ok(())
}

/// Milliseconds from the request to its first token.
fn first_token(engine: &Engine, request: Request) -> Result<f64, EngineError> {
    let started = Instant::now();
    let mut first = None;
    engine.generate(request, &mut |event| {
        if let Event::Text { .. } = event {
            first.get_or_insert_with(|| started.elapsed());
        }
        Control::Continue
    })?;
    Ok(first.unwrap_or_default().as_secs_f64() * 1e3)
}

fn answer(engine: &Engine, prompt: &str, speculate: bool, tenant: u64) -> Result<Completion, EngineError> {
    let prompt = engine.chat_tokens(&[Message::new("user", prompt)], &RenderOptions::default())?;
    let request = Request { max_tokens: Some(160), speculate, tenant, ..Request::new(prompt, Sampling::greedy()) };
    engine.generate(request, &mut |_| Control::Continue)
}
