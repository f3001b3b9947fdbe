//! What is said about plans.

use crate::language::Language;

messages! {
    plan_asked(parameters: &str, tokens: &str) {
        en: "{parameters} parameters on {tokens} tokens",
        ko: "매개변수 {parameters}개, 토큰 {tokens}개",
    }
    plan_images(text: &str, images: &str, image_tokens: &str) {
        en: "({text} of text, and {images} images of {image_tokens} tokens)",
        ko: "(글 {text}개와 {image_tokens}토큰짜리 이미지 {images}장)",
    }
    plan_shape(layers: u64, hidden: u64, heads: u64, vocabulary: &str, parameters: &str) {
        en: "Shape: {layers} layers of width {hidden}, {heads} heads, vocabulary {vocabulary}: {parameters} parameters",
        ko: "모양: 너비 {hidden}인 층 {layers}개, 헤드 {heads}개, 어휘 {vocabulary}개: 매개변수 {parameters}개",
    }
    plan_operations(total: &str, per_token: &str, attention: &str) {
        en: "Operations: {total} ({per_token} a token: 6 for each parameter, and {attention} % more for attention)",
        ko: "연산: {total}회 (토큰당 {per_token}회: 매개변수마다 6회, 어텐션 {attention} % 추가)",
    }
    plan_steps(steps: &str, batch: &str, sequence: u64) {
        en: "Steps: {steps} of {batch} tokens, in sequences of {sequence}",
        ko: "단계: {steps}번, 한 번에 {batch}토큰, 시퀀스 길이 {sequence}",
    }
    plan_fewest_title() {
        en: "The fewest devices whose memory holds it",
        ko: "메모리에 들어가는 최소 장치 수",
    }
    plan_in_time_title(days: &str) {
        en: "The fewest that end within {days} days",
        ko: "{days}일 안에 끝나는 최소 장치 수",
    }
    plan_devices_title(devices: &str) {
        en: "On {devices} devices",
        ko: "장치 {devices}개로",
    }
    plan_column_device() {
        en: "device",
        ko: "장치",
    }
    plan_column_count() {
        en: "count",
        ko: "수",
    }
    plan_column_layout() {
        en: "data × tensor × stages",
        ko: "데이터 × 텐서 × 단계",
    }
    plan_column_sharding() {
        en: "shared states",
        ko: "나눠 가진 상태",
    }
    plan_column_recompute() {
        en: "computed twice",
        ko: "다시 계산",
    }
    plan_column_memory() {
        en: "memory each",
        ko: "장치당 메모리",
    }
    plan_column_utilisation() {
        en: "of peak",
        ko: "이용률",
    }
    plan_column_days() {
        en: "days",
        ko: "일수",
    }
    plan_column_range() {
        en: "by published runs",
        ko: "공개 사례의 범위",
    }
    plan_column_energy() {
        en: "MWh",
        ko: "전력(MWh)",
    }
    plan_column_cost() {
        en: "US$",
        ko: "미국 달러",
    }
    plan_none() {
        en: "nothing",
        ko: "없음",
    }
    plan_sharding_optimizer() {
        en: "optimizer (ZeRO-1)",
        ko: "최적화기 (ZeRO-1)",
    }
    plan_sharding_gradients() {
        en: "and gradients (ZeRO-2)",
        ko: "기울기까지 (ZeRO-2)",
    }
    plan_sharding_weights() {
        en: "and weights (ZeRO-3)",
        ko: "가중치까지 (ZeRO-3)",
    }
    plan_recompute_selective() {
        en: "attention",
        ko: "어텐션",
    }
    plan_recompute_insides() {
        en: "insides",
        ko: "층 안쪽",
    }
    plan_recompute_full() {
        en: "layers",
        ko: "층 전체",
    }
    plan_years(years: &str) {
        en: "{years} years",
        ko: "{years}년",
    }
    plan_no_room(device: &str, devices: &str) {
        en: "{device}: {devices} devices cannot hold it",
        ko: "{device}: {devices}개로는 메모리에 들어가지 않습니다",
    }
    plan_not_in_time(device: &str, days: &str) {
        en: "{device}: no number of them ends within {days} days; the table has the one that ends first",
        ko: "{device}: 몇 개를 써도 {days}일 안에 끝나지 않아 가장 빨리 끝나는 수를 보였습니다",
    }
    plan_laws_title() {
        en: "What published laws say to these operations",
        ko: "이만한 연산에 대한 공개된 법칙",
    }
    plan_column_law() {
        en: "law",
        ko: "법칙",
    }
    plan_column_best() {
        en: "best size",
        ko: "가장 좋은 크기",
    }
    plan_column_best_tokens() {
        en: "with tokens",
        ko: "그때의 토큰",
    }
    plan_column_worth() {
        en: "tokens for this size",
        ko: "이 크기에 맞는 토큰",
    }
    plan_column_loss() {
        en: "loss, best and this",
        ko: "손실: 최선, 이 계획",
    }
    plan_checks_title() {
        en: "Published runs, and what this plan says to them",
        ko: "공개된 학습과 이 계획의 추정",
    }
    plan_column_run() {
        en: "run",
        ko: "학습",
    }
    plan_column_took() {
        en: "days",
        ko: "실제 일수",
    }
    plan_column_planned() {
        en: "planned",
        ko: "추정 일수",
    }
    plan_assumed() {
        en: "16 bytes for each parameter (16-bit weights, AdamW in 32 bits); watts and prices are those of the devices alone. Formulas and sources: docs/concepts/plan.md",
        ko: "매개변수당 16바이트(가중치 16비트, AdamW 32비트)로 계산했고, 전력과 가격은 장치만의 것입니다. 식과 출처: docs/ko/concepts/plan.md",
    }
    plan_machine(parameters: &str, batch: &str, sequence: &str) {
        en: "{parameters} parameters, steps of {batch} sequences of {sequence} tokens",
        ko: "매개변수 {parameters}개, 한 단계에 {sequence}토큰 시퀀스 {batch}개",
    }
    plan_machine_examples(parameters: &str, batch: &str, tokens: &str, longest: &str) {
        en: "{parameters} parameters, steps of {batch} examples: {tokens} tokens on average, the longest example {longest}",
        ko: "매개변수 {parameters}개, 한 단계에 예제 {batch}개: 평균 {tokens}토큰, 가장 긴 예제 {longest}토큰",
    }
    plan_without_data() {
        en: "The data are not there, so every example counts as long as [train] sequence allows",
        ko: "데이터가 없어 모든 예제를 [train] sequence가 허용하는 길이로 셉니다",
    }
    plan_weights() {
        en: "weights",
        ko: "가중치",
    }
    plan_gradients() {
        en: "gradients",
        ko: "기울기",
    }
    plan_optimizer() {
        en: "optimizer",
        ko: "최적화기",
    }
    plan_activations() {
        en: "activations",
        ko: "활성값",
    }
    plan_logits() {
        en: "logits",
        ko: "로짓",
    }
    plan_working() {
        en: "working memory",
        ko: "작업 공간",
    }
    plan_texts() {
        en: "texts",
        ko: "글",
    }
    plan_program() {
        en: "the program itself",
        ko: "프로그램 자체",
    }
    plan_total() {
        en: "all",
        ko: "합계",
    }
    plan_fits(limit: &str, micro_batch: &str) {
        en: "It fits {limit} as it is, with {micro_batch} sequences in memory at a time",
        ko: "그대로 {limit}에 들어갑니다. 한 번에 시퀀스 {micro_batch}개",
    }
    plan_fits_smaller(limit: &str, micro_batch: &str) {
        en: "It fits {limit} with micro_batch = {micro_batch}: fewer sequences in memory at a time, the same step",
        ko: "micro_batch = {micro_batch}이면 {limit}에 들어갑니다. 한 번에 올리는 시퀀스만 적을 뿐 같은 단계입니다",
    }
    plan_fits_recomputed(limit: &str, recompute: &str, micro_batch: &str) {
        en: "It fits {limit} with recompute = \"{recompute}\" and micro_batch = {micro_batch}: some of the forward pass is computed twice instead of kept",
        ko: "recompute = \"{recompute}\", micro_batch = {micro_batch}이면 {limit}에 들어갑니다. 순전파의 일부를 보관하지 않고 다시 계산합니다",
    }
    plan_fits_8bit(limit: &str, micro_batch: &str) {
        en: "It fits {limit} with optimizer = \"adamw8bit\", recompute = \"full\" and micro_batch = {micro_batch}: the optimizer's means take 8 bits each, which changes what is learnt by little",
        ko: "optimizer = \"adamw8bit\", recompute = \"full\", micro_batch = {micro_batch}이면 {limit}에 들어갑니다. 최적화기의 평균을 8비트로 두며, 학습 결과는 조금 달라집니다",
    }
    plan_fits_bf16(limit: &str, optimizer: &str, recompute: &str, micro_batch: &str) {
        en: "It fits {limit} with weights = \"bf16\", optimizer = \"{optimizer}\", recompute = \"{recompute}\" and micro_batch = {micro_batch}: weights take 2 bytes each and are rounded by chance, which changes what is learnt",
        ko: "weights = \"bf16\", optimizer = \"{optimizer}\", recompute = \"{recompute}\", micro_batch = {micro_batch}이면 {limit}에 들어갑니다. 가중치를 2바이트씩 두고 확률적으로 반올림하며, 학습 결과가 달라집니다",
    }
    plan_column_optimizer() {
        en: "optimizer",
        ko: "최적화기",
    }
    plan_frozen() {
        en: "weights that stay",
        ko: "고정된 가중치",
    }
    plan_lora_fits(rank: &str, bits: &str, total: &str) {
        en: "Tuned with LoRA instead (`saem tune`, rank {rank}, the weights staying as they are at {bits} bits) it fits: {total}",
        ko: "대신 LoRA로 튜닝하면(`saem tune`, 랭크 {rank}, 가중치는 {bits}비트인 채로) 들어갑니다: {total}",
    }
    plan_lora_fits_not(rank: &str, bits: &str, total: &str) {
        en: "Even tuned with LoRA (`saem tune`, rank {rank}, the weights staying as they are at {bits} bits) it takes {total}",
        ko: "LoRA로 튜닝해도(`saem tune`, 랭크 {rank}, 가중치는 {bits}비트인 채로) {total}가 듭니다",
    }
    plan_fits_not(missing: &str, limit: &str) {
        en: "It does not fit: {missing} more than {limit} even at the least. A smaller model would, or a machine with more memory",
        ko: "들어가지 않습니다: 가장 적게 써도 {limit}보다 {missing} 더 필요합니다. 모델을 줄이거나 메모리가 더 많은 컴퓨터를 쓰십시오",
    }
    plan_speed(operations: &str, bandwidth: &str, per_token: &str) {
        en: "Measured here: products {operations} GFLOP/s, memory {bandwidth} GB/s; a token takes {per_token} operations",
        ko: "이 컴퓨터에서 측정: 행렬 곱 {operations} GFLOP/s, 메모리 {bandwidth} GB/s. 토큰 하나에 연산 {per_token}회",
    }
    plan_time(seconds: &str, speed: &str, steps: &str, duration: &str) {
        en: "A step takes about {seconds} s ({speed} tokens/s), {steps} steps {duration}",
        ko: "한 단계에 약 {seconds}초(초당 {speed}토큰), {steps}단계에 {duration}",
    }
    plan_time_of_step(seconds: &str, speed: &str) {
        en: "A step takes about {seconds} s ({speed} tokens/s); how many there are follows from the data (epochs)",
        ko: "한 단계에 약 {seconds}초(초당 {speed}토큰). 단계 수는 데이터에 따라 정해집니다(epochs)",
    }
    plan_minutes(minutes: &str) {
        en: "{minutes} minutes",
        ko: "{minutes}분",
    }
    plan_hours(hours: &str) {
        en: "{hours} hours",
        ko: "{hours}시간",
    }
    plan_days(days: &str) {
        en: "{days} days",
        ko: "{days}일",
    }
    plan_column_micro_batch() {
        en: "micro_batch",
        ko: "한 번에(micro_batch)",
    }
    plan_column_memory_all() {
        en: "memory",
        ko: "메모리",
    }
    plan_column_fits() {
        en: "fits",
        ko: "들어감",
    }
    plan_column_step_seconds() {
        en: "seconds a step",
        ko: "단계당 초",
    }
    plan_yes() {
        en: "yes",
        ko: "예",
    }
    plan_no() {
        en: "no",
        ko: "아니요",
    }
    plan_column_parameters() {
        en: "parameters",
        ko: "매개변수",
    }
    plan_column_tokens() {
        en: "tokens",
        ko: "토큰",
    }
    plan_column_operations() {
        en: "operations",
        ko: "연산",
    }
    plan_column_run_loss() {
        en: "loss",
        ko: "손실",
    }
    plan_column_interval() {
        en: "95 % of it",
        ko: "95 % 구간",
    }
    plan_law(formula: &str, rms: &str) {
        en: "Loss = {formula}, C in operations; runs are {rms} % away from it",
        ko: "손실 = {formula}, C는 연산 수. 실제와 {rms} % 차이",
    }
    plan_law_floor(interval: &str) {
        en: "  the floor lies in {interval}",
        ko: "  바닥의 구간: {interval}",
    }
    plan_law_no_floor() {
        en: "  without a floor, which takes four runs to tell",
        ko: "  바닥은 학습이 넷 이상이어야 알 수 있어 두지 않았습니다",
    }
    plan_law_exponent(interval: &str) {
        en: "  the exponent lies in {interval} (95 of 100 fits to residuals drawn anew)",
        ko: "  지수의 구간: {interval} (잔차를 다시 뽑아 맞춘 100번 가운데 95번)",
    }
    plan_scaling(path: &str) {
        en: "{path} is no run whose loss could be taken",
        ko: "{path}: 손실을 읽을 수 있는 실행이 아닙니다",
    }
    plan_too_few_runs(found: usize, needed: usize) {
        en: "{found} runs of different sizes, but a law needs {needed}",
        ko: "크기가 다른 실행이 {found}개뿐입니다. 법칙에는 {needed}개가 필요합니다",
    }
    plan_no_memory(needed: &str, available: &str, missing: &str) {
        en: "The run takes {needed}, but {available} are free: {missing} too little",
        ko: "실행에 {needed}가 필요하지만 남은 메모리는 {available}입니다. {missing} 모자랍니다",
    }
    plan_no_memory_fits(micro_batch: usize, recompute: &str, optimizer: &str, weights: &str, total: &str) {
        en: "micro_batch = {micro_batch}, recompute = \"{recompute}\", optimizer = \"{optimizer}\" and weights = \"{weights}\" in [train] would take {total}",
        ko: "[train]에 micro_batch = {micro_batch}, recompute = \"{recompute}\", optimizer = \"{optimizer}\", weights = \"{weights}\"를 쓰면 {total}로 할 수 있습니다",
    }
    plan_no_memory_nothing() {
        en: "no micro_batch and no recompute makes it fit: take a smaller model",
        ko: "micro_batch나 recompute로는 들어가지 않습니다. 더 작은 모델을 쓰십시오",
    }
    plan_wants_parameters() {
        en: "What should be planned? Name a recipe, or say --params",
        ko: "무엇을 계획할까요? 레시피나 --params를 지정하십시오",
    }
    plan_senseless(what: &str, value: &str, least: &str, most: &str) {
        en: "{what} is {value}, and must be from {least} to {most}",
        ko: "{what}: {value}은(는) {least}에서 {most} 사이여야 합니다",
    }
}
