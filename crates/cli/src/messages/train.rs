//! What is said about training.

use crate::language::Language;

messages! {
    train_plan(parameters: &str, total: &str, weights: &str, gradients: &str, optimizer: &str, activations: &str, rest: &str) {
        en: "{parameters} parameters, up to {total}: weights {weights}, gradients {gradients}, optimizer {optimizer}, activations {activations}, rest {rest}",
        ko: "매개변수 {parameters}개, 최대 {total}: 가중치 {weights}, 기울기 {gradients}, 최적화기 {optimizer}, 활성값 {activations}, 나머지 {rest}",
    }
    train_texts(texts: &str, tokens: &str, steps: &str, epochs: &str) {
        en: "{texts} texts, {tokens} tokens; {steps} steps are {epochs} times through all of them",
        ko: "글 {texts}개, 토큰 {tokens}개. {steps}단계면 전체를 {epochs}번 학습합니다",
    }
    train_resumed(step: &str) {
        en: "Going on after step {step}",
        ko: "{step}단계 다음부터 이어 갑니다",
    }
    reading_texts() {
        en: "Reading texts",
        ko: "글을 읽는 중",
    }
    training(loss: &str) {
        en: "Training, loss {loss}",
        ko: "학습 중, 손실 {loss}",
    }
    train_step(step: &str, steps: &str, loss: &str, rate: &str, speed: &str) {
        en: "step {step} of {steps}: loss {loss}, learning rate {rate}, {speed} tokens/s",
        ko: "{steps}단계 중 {step}단계: 손실 {loss}, 학습률 {rate}, 초당 {speed}토큰",
    }
    train_measured(loss: &str) {
        en: "held-out loss {loss}",
        ko: "검증 손실 {loss}",
    }
    train_stopped(step: &str, folder: &str) {
        en: "Stopped after step {step}; the checkpoint is in {folder}",
        ko: "{step}단계 뒤에 멈췄습니다. 체크포인트: {folder}",
    }
    train_resume_hint() {
        en: "go on with the same command and --resume",
        ko: "같은 명령에 --resume을 붙여 이어 가십시오",
    }
    trained(path: &str) {
        en: "The model is in {path}",
        ko: "모델이 저장된 곳: {path}",
    }
    train_try(path: &str) {
        en: "try it with: saem run --model {path} \"...\"",
        ko: "사용해 보기: saem run --model {path} \"...\"",
    }
    tuned(path: &str) {
        en: "The adapter is in {path}",
        ko: "어댑터가 저장된 곳: {path}",
    }
    tune_try(model: &str, path: &str) {
        en: "try it with: saem run --model {model} --adapter {path} \"...\"",
        ko: "사용해 보기: saem run --model {model} --adapter {path} \"...\"",
    }
    classify_try(path: &str) {
        en: "transformers reads the whole of it: AutoModelForSequenceClassification.from_pretrained(\"{path}\")",
        ko: "transformers로 전체를 읽기: AutoModelForSequenceClassification.from_pretrained(\"{path}\")",
    }
    tune_examples(examples: &str, least: &str, median: &str, most_of: &str, most: &str) {
        en: "{examples} examples to learn from, {least} to {most} tokens long (median {median}, 95 % up to {most_of})",
        ko: "학습 예제 {examples}개, 길이 {least}~{most}토큰 (중앙값 {median}, 95 %가 {most_of} 이하)",
    }
    tune_held_out(examples: &str, least: &str, median: &str, most_of: &str, most: &str) {
        en: "{examples} examples to measure with, {least} to {most} tokens long (median {median}, 95 % up to {most_of})",
        ko: "검증 예제 {examples}개, 길이 {least}~{most}토큰 (중앙값 {median}, 95 %가 {most_of} 이하)",
    }
    tune_refused(refused: &str, rows: &str, place: &str, reason: &str) {
        en: "{refused} of {rows} rows were left out; the first, {place}: {reason}",
        ko: "{rows}행 가운데 {refused}행을 뺐습니다. 첫 번째는 {place}: {reason}",
    }
    tune_measured(accuracy: &str, f1: &str) {
        en: "{accuracy} % right, macro F1 {f1}",
        ko: "정답률 {accuracy} %, 매크로 F1 {f1}",
    }
    tune_preferred(accuracy: &str) {
        en: "the better answer preferred in {accuracy} %",
        ko: "더 나은 답을 고른 비율 {accuracy} %",
    }
    train_other(part: &str, command: &str) {
        en: "the recipe has {part}: use `{command}`",
        ko: "레시피에 {part}이 있습니다. `{command}`을 쓰십시오",
    }
    train_without(part: &str, command: &str) {
        en: "the recipe has no {part}, which says how to tune; to train all weights on plain text use `{command}`",
        ko: "레시피에 튜닝 방법을 정하는 {part}이 없습니다. 글로 모든 가중치를 학습하려면 `{command}`을 쓰십시오",
    }
    train_no_examples(path: &str, line: usize) {
        en: "No row can be learnt from; the first is {path}, line {line}",
        ko: "학습할 수 있는 행이 없습니다. 첫 번째는 {path} {line}번째 줄입니다",
    }
    train_failed() {
        en: "The run cannot go on",
        ko: "학습을 계속할 수 없습니다",
    }
    train_recipe(path: &str) {
        en: "The recipe or its run does not fit: {path}",
        ko: "레시피 또는 실행 폴더에 문제가 있습니다: {path}",
    }
    train_data(path: &str, line: usize) {
        en: "{path}, line {line} cannot be learnt from",
        ko: "{path} {line}번째 줄을 학습할 수 없습니다",
    }
    train_too_little(tokens: usize, sequence: usize) {
        en: "{tokens} tokens of text do not fill one sequence of {sequence}",
        ko: "글이 {tokens}토큰뿐이라 {sequence}토큰짜리 시퀀스 하나도 채우지 못합니다",
    }
    train_positions(tokens: usize, positions: usize) {
        en: "a text of {tokens} tokens is longer than the model's {positions} positions",
        ko: "{tokens}토큰짜리 글이 모델의 위치 {positions}개보다 깁니다",
    }
    train_positions_hint() {
        en: "make `sequence` smaller",
        ko: "`sequence`를 줄이십시오",
    }
    train_too_little_hint() {
        en: "add texts, or make `sequence` smaller",
        ko: "글을 더하거나 `sequence`를 줄이십시오",
    }
    train_diverged(step: u64) {
        en: "Step {step} came to numbers that are not finite; the weights were not changed",
        ko: "{step}단계에서 유한하지 않은 값이 나왔습니다. 가중치는 바꾸지 않았습니다",
    }
    train_diverged_hint() {
        en: "begin again in another folder with a lower learning_rate, a longer warm_up or a smaller clip",
        ko: "learning_rate를 낮추거나 warm_up을 늘리거나 clip을 줄여 다른 폴더에서 다시 시작하십시오",
    }
    train_checkpoint(path: &str) {
        en: "The checkpoint {path} cannot be used",
        ko: "체크포인트 {path}를 쓸 수 없습니다",
    }
    train_checkpoint_hint() {
        en: "delete its folder to go on from the one before",
        ko: "이 폴더를 지우면 그 앞의 체크포인트에서 이어 갑니다",
    }
}
