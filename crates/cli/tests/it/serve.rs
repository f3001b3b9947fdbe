//! `saem serve` as a process: who it lets in, how it stops, and what `kill -9` costs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::saem::{finish, run, saem};
use crate::toy::alphabet;

/// A server that runs.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts it on a free port and waits until it says where.
    fn start(home: &Path, model: &str, more: &[&str]) -> Self {
        let arguments: Vec<&str> = ["serve", "--port", "0", "--model", model].iter().chain(more).copied().collect();
        let mut process = saem(home, &arguments).env("SAEM_LOG", "off").stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it never served: {said}")).unwrap();
            if let Some(url) = line.strip_prefix("Serving on http://") {
                break url.split(' ').next().unwrap().parse().unwrap();
            }
            said += &line;
        };
        // Whatever it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }

    /// Status and body of an answer; nothing where the server is gone.
    fn ask(address: SocketAddr, method: &str, path: &str, key: &str, body: &str) -> Option<(u16, String)> {
        Self::send(address, method, path, key, "application/json", body)
    }

    /// The same with a body of another kind.
    fn send(address: SocketAddr, method: &str, path: &str, key: &str, kind: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1".parse::<std::net::IpAddr>().ok()?, address.port())).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
             content-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    fn status(&self, path: &str, key: &str) -> u16 {
        Self::ask(self.address, "GET", path, key, "").unwrap().0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn make_key(home: &Path, name: &str) -> String {
    let ran = run(home, &["key", "create", name]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout.trim().to_owned()
}

fn set_password(home: &Path) {
    let mut command = saem(home, &["admin", "password"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all("물이 맑은 샘 하나\n".as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn other_machines_wait_for_a_key_and_a_password() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let model = alphabet(home).display().to_string();
    let public = ["serve", "--host", "0.0.0.0", "--port", "0", "--model", &model];
    let refused = || {
        let ran = finish(&mut saem(home, &public));
        assert!(ran.code != 0 && ran.stderr.contains("0.0.0.0"), "{}", ran.stderr);
    };
    refused();
    let key = make_key(home, "office");
    refused();
    set_password(home);
    let server = Server::start(home, &model, &["--host", "0.0.0.0"]);
    assert_eq!((server.status("/v1/models", ""), server.status("/v1/models", &key)), (401, 200));
}

#[test]
fn kill_9_under_load_loses_no_key_and_no_row() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let model = alphabet(home).display().to_string();
    let first = make_key(home, "load");
    let mut server = Server::start(home, &model, &[]);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (address, key) = (server.address, first.clone());
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                // A model is served under the name of its file.
                let body = r#"{"model": "alphabet", "prompt": "a", "max_tokens": 20}"#;
                while !stop.load(Ordering::Relaxed) {
                    // Answers stop coming in the middle of one: that is what is tested.
                    if let Some((200, _)) = Server::ask(address, "POST", "/v1/completions", &key, body) {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let keys: Vec<String> = (0..6).map(|number| make_key(home, &format!("made-{number}"))).collect();
    while answered.load(Ordering::Relaxed) < 20 {
        std::thread::sleep(Duration::from_millis(10));
    }
    // SIGKILL: nothing is told, nothing is flushed.
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());

    let again = Server::start(home, &model, &[]);
    assert_eq!(again.status("/health/ready", ""), 200);
    for key in keys.iter().chain([&first]) {
        assert_eq!(again.status("/v1/models", key), 200, "a key is lost");
    }
    let verified = run(home, &["audit", "verify"]);
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    let listed: Value =
        serde_json::from_str(&run(home, &["audit", "list", "--json", "--rows", "100000"]).stdout).unwrap();
    let made = |row: &&Value| row["action"].as_str().is_some_and(|action| action.starts_with("key"));
    assert_eq!(listed["rows"].as_array().unwrap().iter().filter(made).count(), keys.len() + 1, "{listed}");
}

#[cfg(unix)]
#[test]
fn kept_prompts_are_known_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let model = alphabet(home).display().to_string();
    let body = format!(r#"{{"model": "alphabet", "prompt": "{}", "max_tokens": 2}}"#, "abcdefghij".repeat(10));
    let ask = |more: &[&str]| {
        let mut server = Server::start(home, &model, more);
        let (status, answer) = Server::ask(server.address, "POST", "/v1/completions", "", &body).unwrap();
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        // A server that is asked to stop keeps its prompts first.
        let asked = std::process::Command::new("kill").args(["-TERM", &server.process.id().to_string()]).status();
        assert!(asked.unwrap().success() && server.process.wait().unwrap().success());
        let cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
        (answer["choices"][0]["text"].as_str().unwrap().to_owned(), cached)
    };
    assert_eq!(ask(&[]), ("kl".into(), 0));
    assert_eq!(ask(&["--keep-prompts"]), ("kl".into(), 0), "nothing was kept without the flag");
    // 100 bytes, one token each: three whole blocks of 32.
    assert_eq!(ask(&["--keep-prompts"]), ("kl".into(), 96));
    let kept: Vec<_> = std::fs::read_dir(home.join("prompts")).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(kept.len(), 1);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(kept[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // A damaged file costs the time to read it.
    let mut bytes = std::fs::read(kept[0].path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(kept[0].path(), bytes).unwrap();
    assert_eq!(ask(&["--keep-prompts"]), ("kl".into(), 0));
}

#[test]
fn kill_9_in_the_middle_of_a_batch_costs_no_answered_row() {
    const ROWS: usize = 400;
    let home = tempfile::tempdir().unwrap();
    let model = alphabet(home.path());
    let server = Server::start(home.path(), model.to_str().unwrap(), &[]);
    let json = |server: &Server, method: &str, path: &str, body: &str| -> Value {
        let (status, text) = Server::ask(server.address, method, path, "none", body).unwrap();
        assert!(status < 300, "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    let document = r#"{"name": "p", "document": {"mode": "text", "prompt": "{{a}}", "parameters": {"temperature": 0, "max_tokens": 8}}}"#;
    let project = json(&server, "POST", "/api/studio/projects", document)["id"].as_str().unwrap().to_owned();
    let table = format!("a\n{}", "abc\n".repeat(ROWS));
    let (status, made) =
        Server::send(server.address, "POST", "/api/studio/batches", "none", "text/csv", &table).unwrap();
    assert_eq!(status, 201, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    let path = format!("/api/studio/batches/{}", made["id"].as_str().unwrap());
    json(&server, "POST", &format!("{path}/start"), &format!(r#"{{"project": "{project}"}}"#));
    let done = |server: &Server| json(server, "GET", &path, "")["progress"]["done"].as_u64().unwrap();
    let begun = std::time::Instant::now();
    while done(&server) < 5 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    let known = done(&server);
    // SIGKILL, by dropping it.
    drop(server);
    let server = Server::start(home.path(), model.to_str().unwrap(), &[]);
    let after = done(&server);
    assert!(after >= known && after < ROWS as u64, "{after} rows of {known}");
    let begun = std::time::Instant::now();
    let batch = loop {
        let batch = json(&server, "GET", &path, "");
        if batch["state"] != "running" {
            break batch;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{batch}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((&batch["state"], &batch["progress"]["done"]), (&Value::from("done"), &Value::from(ROWS)), "{batch}");
    let rows = json(&server, "GET", &format!("{path}/rows?limit=500"), "");
    let rows = rows["rows"].as_array().unwrap();
    let first = rows[0]["output"].as_str().unwrap();
    assert!(rows.len() == ROWS && rows.iter().all(|row| row["output"] == first && row["finish_reason"].is_string()));
}
