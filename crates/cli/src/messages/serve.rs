//! What is said about serving.

use crate::language::Language;

messages! {
    serve_plan(model: &str, total: &str, weights: &str, cache: &str, tokens: usize, sequences: usize, context: usize, buffers: &str) {
        en: "{model}: up to {total}: weights {weights}, keys and values {cache} ({tokens} tokens; {sequences} texts at once, {context} tokens each at most), buffers {buffers}",
        ko: "{model}: 최대 {total}: 가중치 {weights}, 키와 값 {cache} (토큰 {tokens}개, 동시에 글 {sequences}개, 글마다 최대 {context}토큰), 버퍼 {buffers}",
    }
    serve_encoder(model: &str, total: &str) {
        en: "{model}: up to {total} (sentence encoder, for /v1/embeddings)",
        ko: "{model}: 최대 {total} (문장 인코더, /v1/embeddings 용)",
    }
    serve_total(total: &str) {
        en: "All models together: up to {total}",
        ko: "모든 모델 합계: 최대 {total}",
    }
    serving(url: &str) {
        en: "Serving on {url} (Ctrl-C to stop)",
        ko: "{url} 에서 제공합니다 (Ctrl-C로 멈춤)",
    }
    serve_studio(url: &str) {
        en: "Saem Studio: open {url}/ in a browser",
        ko: "Saem Studio: 브라우저에서 {url}/ 를 여십시오",
    }
    serve_draining() {
        en: "Stopping once the answers at work are complete; press Ctrl-C again not to wait",
        ko: "진행 중인 답변을 마치고 멈춥니다. 기다리지 않으려면 Ctrl-C를 한 번 더 누르십시오",
    }
    no_adapter(text: &str) {
        en: "No adapter: {text}",
        ko: "어댑터가 아닙니다: {text}",
    }
    no_adapter_hint() {
        en: "Write NAME=PATH, or MODEL:NAME=PATH with a model that is served.",
        ko: "이름=경로, 또는 제공하는 모델을 앞에 붙여 모델:이름=경로로 쓰십시오.",
    }
    serve_not_kept(reason: &str) {
        en: "The prompts could not be kept for the next start: {reason}",
        ko: "프롬프트를 다음 시작까지 남겨 두지 못했습니다: {reason}",
    }
    no_address(text: &str) {
        en: "--host {text} is no address",
        ko: "--host {text}: 주소가 아닙니다",
    }
    no_address_hint() {
        en: "Give an address of this machine, such as 127.0.0.1",
        ko: "127.0.0.1처럼 이 컴퓨터의 주소를 지정하십시오",
    }
    no_clova_model(text: &str) {
        en: "SAEM_CLOVA_MODELS: {text} leads to no model that is served",
        ko: "SAEM_CLOVA_MODELS: {text}: 서비스하는 모델이 아닙니다",
    }
    no_clova_model_hint() {
        en: "Write NAME=MODEL, such as HCX-005=smollm2-135m, with a model that is served",
        ko: "HCX-005=smollm2-135m처럼 이름=모델로 쓰고, 서비스하는 모델을 지정하십시오",
    }
    no_size(text: &str) {
        en: "--memory {text} is no size",
        ko: "--memory {text}: 크기가 아닙니다",
    }
    no_size_hint() {
        en: "Give a size such as 8GB or 900MiB",
        ko: "8GB 또는 900MiB처럼 크기를 지정하십시오",
    }
    public_address(address: &str) {
        en: "{address} can be reached from other machines, and that needs a key and a password of the administrator first",
        ko: "{address} 주소는 다른 컴퓨터에서 접근할 수 있으므로, 먼저 키와 관리자 암호가 있어야 합니다",
    }
    public_address_hint() {
        en: "saem key create NAME; saem admin password",
        ko: "명령: saem key create 이름; saem admin password",
    }
    bind_failed(address: &str) {
        en: "Cannot listen on {address}",
        ko: "{address} 에서 수신할 수 없습니다",
    }
    bind_failed_hint() {
        en: "Choose another port with --port, or 0 for any that is free",
        ko: "--port로 다른 포트를 고르십시오. 0이면 비어 있는 포트를 씁니다",
    }
    memory_too_small(needed: &str, memory: &str) {
        en: "The models need at least {needed}, but --memory allows {memory}",
        ko: "모델에 최소 {needed}의 메모리가 필요하지만 --memory는 {memory}만 허용합니다",
    }
    memory_too_small_hint() {
        en: "Allow more, or choose a smaller --context, --kv-type q8_0, or fewer models",
        ko: "더 많은 메모리를 허용하거나, --context를 줄이거나, --kv-type q8_0을 쓰거나, 모델 수를 줄이십시오",
    }
    same_name(name: &str) {
        en: "Two models are called {name}",
        ko: "{name} 이름의 모델이 둘입니다",
    }
}
