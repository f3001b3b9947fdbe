//! `saem run`, `saem tokenize`, `saem perplexity`, `saem bench`, `saem inspect`, `saem convert` with a model whose answers are known;
//! `saem merge` with one that `peft` knows.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::saem::{Ran, finish, run, run_korean, saem};
use crate::toy::alphabet;

/// A home and a model in it.
struct Desk {
    home: TempDir,
    model: String,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let model = alphabet(home.path()).display().to_string();
        Self { home, model }
    }

    /// The command with `--model`.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = saem(self.home.path(), arguments);
        command.args(["--model", &self.model]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        finish(&mut self.command(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Runs the command with this on its standard input.
    fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[test]
fn the_completion_alone_is_on_standard_output() {
    let desk = Desk::new();
    let ran = desk.run(&["run", "--temperature", "0", "a"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "bcdefghijklmnopqrstuvwxyz", ""));
    assert_eq!(desk.run(&["run", "--temperature", "0", "--max-tokens", "3", "mno"]).stdout, "pqr");
    assert_eq!(desk.run(&["run", "--temperature", "0", "--stop", "mno", "a"]).stdout, "bcdefghijkl");
    assert_eq!(desk.run(&["run", "--temperature", "0", "--chat", "hello"]).stdout, "abcdefghijklmnopqrstuvwxyz");
}

#[test]
fn the_text_takes_the_form_that_is_asked_for() {
    let desk = Desk::new();
    let run =
        |arguments: &[&str]| desk.run(&[&["run", "--temperature", "0", "--max-tokens", "200"], arguments].concat());
    assert_eq!(run(&["--choice", "no,b yes", "--choice", "가", "a"]).stdout, "b yes");
    assert_eq!(run(&["--regex", "[b-d]{2}-[0-9]한", "a"]).stdout.len(), 7);
    let schema = desk.home.path().join("schema.json");
    fs::write(&schema, r#"{"type": "object", "properties": {"이름": {"enum": ["샘"]}}, "required": ["이름"], "additionalProperties": false}"#).unwrap();
    let value: Value = serde_json::from_str(&run(&["--json-schema", schema.to_str().unwrap(), "a"]).stdout).unwrap();
    assert_eq!(value, serde_json::json!({"이름": "샘"}));
    let both = run(&["--regex", "a", "--choice", "b", "a"]);
    assert_eq!(both.code, 2, "{}", both.stderr);
    fs::write(&schema, r#"{"not": {}}"#).unwrap();
    let refused = run(&["--json-schema", schema.to_str().unwrap(), "a"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("`not` at /"), "{}", refused.stderr);
    fs::write(&schema, "{").unwrap();
    let broken = run(&["--json-schema", schema.to_str().unwrap(), "a"]);
    assert_eq!(broken.code, 1);
    assert!(broken.stderr.contains("schema.json is not JSON"), "{}", broken.stderr);
    assert_eq!(run(&["--regex", "(a", "a"]).code, 2);
}

#[test]
fn a_prompt_comes_from_a_file_or_a_pipe() {
    let desk = Desk::new();
    let file = desk.home.path().join("prompt.txt");
    fs::write(&file, "uvw").unwrap();
    assert_eq!(desk.run(&["run", "--temperature", "0", "--file", file.to_str().unwrap()]).stdout, "xyz");
    assert_eq!(desk.run_with_input(&["run", "--temperature", "0"], b"w").stdout, "xyz");
    assert_eq!(desk.run_with_input(&["run", "--temperature", "0", "-"], b"x").stdout, "yz");
    let broken = desk.run_with_input(&["run", "-"], b"ab\xff");
    assert_eq!(broken.code, 1);
    assert!(broken.stderr.contains("UTF-8") && broken.stderr.contains("byte 2"), "{}", broken.stderr);
    assert_eq!(desk.run_with_input(&["run", "-"], b"").code, 1);
}

#[test]
fn json_has_stable_fields() {
    let desk = Desk::new();
    let arguments =
        ["run", "--temperature", "0", "--max-tokens", "2", "--n", "2", "--logprobs", "1", "--seed", "5", "--json", "a"];
    let answer = desk.json(&arguments);
    assert_eq!(
        (&answer["seed"], &answer["prompt_tokens"], &answer["completion_tokens"]),
        (&5.into(), &1.into(), &4.into())
    );
    let candidates = answer["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 2);
    for candidate in candidates {
        assert_eq!((&candidate["text"], &candidate["finish_reason"]), (&"bc".into(), &"length".into()));
        assert_eq!(candidate["tokens"], serde_json::json!([b'b', b'c']));
        assert_eq!(candidate["logprobs"][0]["top"][0]["text"], "b");
        assert!(candidate["logprobs"][0]["logprob"].as_f64().unwrap() > -0.1);
    }
    for field in ["load_seconds", "first_token_seconds", "prefill_tokens_per_second", "decode_tokens_per_second"] {
        assert!(answer[field].is_number(), "{field}");
    }
}

#[test]
fn the_same_seed_gives_the_same_text() {
    let desk = Desk::new();
    let text = |threads: &str| {
        let arguments = ["run", "--temperature", "9", "--seed", "11", "--max-tokens", "20", "--threads", threads, "a"];
        desk.run(&arguments).stdout
    };
    assert_eq!(text("1"), text("2"));
    assert_ne!(text("1"), "bcdefghijklmnopqrstu", "at this temperature the model strays");
}

#[test]
fn requests_that_do_not_fit_are_refused_with_advice() {
    let desk = Desk::new();
    let long = "a".repeat(600);
    let overflow = desk.run(&["run", &long]);
    assert_eq!(overflow.code, 1);
    assert!(overflow.stderr.contains("600 tokens") && overflow.stderr.contains("512"), "{}", overflow.stderr);
    let range = desk.run(&["run", "--top-p", "1.5", "a"]);
    assert_eq!(range.code, 2);
    assert!(range.stderr.contains("top_p") && range.stderr.contains("1.5"), "{}", range.stderr);
    let clova = desk.run(&["run", "--clova-repeat-penalty", "11", "a"]);
    assert_eq!(clova.code, 2, "{}", clova.stderr);
    assert_eq!(desk.run(&["run", "--threads", "0", "a"]).code, 2);
    assert_eq!(desk.run(&["run", ""]).code, 1);
}

#[test]
fn a_chat_answers_line_by_line() {
    let desk = Desk::new();
    let saved = desk.home.path().join("talk.json");
    let script = format!(
        "hello\n/system be brief\n\"\"\"two\nlines\"\"\"\n/nonsense\n/save {}\n/exit\nnever read\n",
        saved.display()
    );
    let ran = desk.run_with_input(&["chat", "--temperature", "0", "--timing"], script.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "abcdefghijklmnopqrstuvwxyz\nabcdefghijklmnopqrstuvwxyz\n");
    assert!(ran.stderr.contains("/nonsense") && ran.stderr.contains("tokens/s"), "{}", ran.stderr);
    let talk: Value = serde_json::from_slice(&fs::read(saved).unwrap()).unwrap();
    let roles: Vec<&str> =
        talk["messages"].as_array().unwrap().iter().map(|turn| turn["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user", "assistant"]);
    assert_eq!(talk["messages"][3]["content"], "two\nlines");
}

#[test]
fn a_chat_forgets_its_oldest_messages_and_goes_on() {
    let desk = Desk::new();
    let script = format!("{0}\n{0}\n{0}\n{0}\n/exit\n", "x".repeat(90));
    let ran = desk.run_with_input(&["chat", "--temperature", "0", "--max-tokens", "30"], script.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 4);
    assert!(ran.stderr.contains("left out"), "{}", ran.stderr);
    let too_long =
        desk.run_with_input(&["chat", "--temperature", "0"], format!("{}\nhi\n", "x".repeat(700)).as_bytes());
    assert_eq!(too_long.code, 0);
    assert!(too_long.stderr.contains("the context holds 512"), "{}", too_long.stderr);
    assert_eq!(too_long.stdout, "abcdefghijklmnopqrstuvwxyz\n", "the message after it is answered");
}

#[test]
fn tokens_are_shown_in_three_ways() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["tokenize", "--ids", "abc"]).stdout, "97 98 99\n");
    assert_eq!(desk.run(&["tokenize", "--count", "한글"]).stdout, "6\n");
    let table = desk.run(&["tokenize", "a한"]);
    assert_eq!(table.stdout, "   97  \"a\"\n  237  \"\\\\xed\"\n  149  \"\\\\x95\"\n  156  \"\\\\x9c\"\n");
    assert!(table.stderr.contains("3.00 tokens per syllable") || table.stderr.contains("4.00 tokens per syllable"));
    let json = desk.json(&["tokenize", "--json", "한글"]);
    assert_eq!(
        (&json["tokens"], &json["syllables"], &json["tokens_per_syllable"]),
        (&6.into(), &2.into(), &3.0.into())
    );
    assert_eq!(desk.run(&["tokenize", "--ids", "--parse-special", "<|im_end|>"]).stdout, "257\n");
    assert_ne!(desk.run(&["tokenize", "--ids", "<|im_end|>"]).stdout, "257\n");
}

#[test]
fn perplexity_is_low_where_the_model_knows_what_comes() {
    let desk = Desk::new();
    let (known, strange) = (desk.home.path().join("known"), desk.home.path().join("strange"));
    fs::write(&known, "abcdefghijklmnopqrstuvwxy".repeat(10)).unwrap();
    fs::write(&strange, "zyxwvutsrqponmlkjihgfedcba".repeat(10)).unwrap();
    let measure = |file: &std::path::Path| {
        desk.json(&["perplexity", "--context", "64", "--json", "--file", file.to_str().unwrap()])
    };
    let (known, strange) = (measure(&known), measure(&strange));
    assert!(known["perplexity"].as_f64().unwrap() < 10.0, "{known}");
    assert!(strange["perplexity"].as_f64().unwrap() > 1000.0, "{strange}");
    let short = desk.home.path().join("short");
    fs::write(&short, "ab").unwrap();
    let refused = desk.run(&["perplexity", "--file", short.to_str().unwrap()]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("at least 512"), "{}", refused.stderr);
}

#[test]
fn logits_are_written_for_every_position() {
    let desk = Desk::new();
    let (text, logits) = (desk.home.path().join("text"), desk.home.path().join("logits"));
    fs::write(&text, "abc").unwrap();
    let arguments = ["perplexity", "--file", text.to_str().unwrap(), "--logits-out", logits.to_str().unwrap()];
    assert_eq!(desk.run(&arguments).code, 0);
    let bytes = fs::read(logits).unwrap();
    assert_eq!(bytes.len(), 3 * 258 * 4);
    let row: Vec<f32> =
        bytes[..258 * 4].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    assert_eq!(best, usize::from(b'b'));
}

#[test]
fn bench_reports_both_speeds() {
    let desk = Desk::new();
    let bench = ["bench", "--threads", "1", "--prefill", "16", "--decode", "4", "--repetitions", "2"];
    let answer = desk.json(&[&bench[..], &["--json"]].concat());
    for field in ["prefill_tokens_per_second", "decode_tokens_per_second"] {
        assert!(answer[field].as_f64().unwrap() > 0.0, "{answer}");
    }
    assert_eq!((&answer["threads"], &answer["prefill"], &answer["decode"]), (&1.into(), &16.into(), &4.into()));
    assert_eq!(answer["prefill_runs"].as_array().unwrap().len(), 2);
    let text = desk.run(&bench).stdout;
    assert!(text.contains("prefill") && text.contains("decode"), "{text}");
    assert_eq!(desk.run(&["bench", "--prefill", "0"]).code, 2);
}

#[test]
fn inspect_tells_what_a_file_is() {
    let desk = Desk::new();
    let inspect = |more: &[&str]| run(desk.home.path(), &[&["inspect", &desk.model], more].concat());
    insta::assert_snapshot!("inspect_en", inspect(&[]).shown(desk.home.path()));
    let korean = run_korean(desk.home.path(), &["inspect", &desk.model]);
    insta::assert_snapshot!("inspect_ko", korean.shown(desk.home.path()));
    assert_eq!(inspect(&["--tensors"]).stdout.matches("blk.0.").count(), 9);
    let json: Value = serde_json::from_str(&inspect(&["--json", "--tensors"]).stdout).unwrap();
    assert_eq!((&json["architecture"], &json["layers"], &json["context"]), (&"llama".into(), &1.into(), &512.into()));
    assert_eq!((&json["tensors"].as_array().unwrap().len(), &json["licence"]["id"]), (&12, &"apache-2.0".into()));
}

#[test]
fn a_converted_model_says_the_same() {
    let desk = Desk::new();
    let output = desk.home.path().join("smaller.gguf");
    let convert = |more: &[&str]| {
        let arguments = [&["convert", &desk.model, output.to_str().unwrap(), "--quantize", "q8_0"], more].concat();
        run(desk.home.path(), &arguments)
    };
    let ran = convert(&[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(fs::metadata(&output).unwrap().len() < fs::metadata(&desk.model).unwrap().len() / 2);
    let arguments = ["run", "--model", output.to_str().unwrap(), "--temperature", "0", "a"];
    assert_eq!(run(desk.home.path(), &arguments).stdout, "bcdefghijklmnopqrstuvwxyz");
    let again = convert(&[]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    assert_eq!(convert(&["--force"]).code, 0);
}

#[test]
fn a_merged_model_says_what_the_base_says_with_its_adapter() {
    let home = tempfile::tempdir().unwrap();
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures");
    let place = |name: &str| fixtures.join(name).display().to_string();
    let (base, adapter) = (place("llama"), place("adapters/llama-lora"));
    let written = |name: &str| home.path().join(name).display().to_string();
    let say = |model: &str, more: &[&str]| {
        let asked = ["run", "--model", model, "--temperature", "0", "--max-tokens", "12"];
        let ran = run(home.path(), &[&asked, more, &["The spring"]].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stdout
    };
    let expected = say(&base, &["--adapter", &adapter]);
    assert_ne!(expected, say(&base, &[]), "the adapter changes nothing");
    for output in ["merged.gguf", "merged"].map(written) {
        let merge = |more: &[&str]| run(home.path(), &[&["merge", &base, &adapter, "-o", &output], more].concat());
        let ran = merge(&[]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(say(&output, &[]), expected, "{output}");
        let again = merge(&[]);
        assert!(again.code == 1 && again.stderr.contains("--force"), "{}", again.stderr);
    }
    let output = written("refused.gguf");
    for (adapter, said) in
        [("adapters/llama-prompt", "only a LoRA"), ("adapters/qwen2-lora", "shape"), ("qwen2", "is no adapter")]
    {
        let ran = run(home.path(), &["merge", &base, &place(adapter), "-o", &output]);
        assert!(ran.code == 1 && ran.stderr.contains(said), "{}", ran.stderr);
        assert!(!std::path::Path::new(&output).exists());
    }
}

#[test]
fn a_damaged_model_is_named_with_its_place() {
    let desk = Desk::new();
    let whole = fs::read(&desk.model).unwrap();
    let path = desk.home.path().join("cut.gguf");
    for length in [0, 3, 20, 500, whole.len() / 2] {
        fs::write(&path, &whole[..length]).unwrap();
        for command in [&["inspect", path.to_str().unwrap()][..], &["run", "--model", path.to_str().unwrap(), "a"]] {
            let ran = run_korean(desk.home.path(), command);
            assert_eq!(ran.code, 1, "{length} bytes: {}", ran.stderr);
            assert!(ran.stderr.contains("cut.gguf"), "{length} bytes: {}", ran.stderr);
        }
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_text_quietly() {
    let desk = Desk::new();
    let mut command = desk.command(&["run", "--temperature", "9", "--seed", "1", "--max-tokens", "400", "a"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
