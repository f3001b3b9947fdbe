//! A server on a free port with a model whose answers are known, and a client that speaks plain HTTP.
//!
//! The model recites: after each letter the next, after `z` the end, after a line feed `a`. After the bytes of `샘` it
//! says `샘` for ever, one byte at a time. A prompt with `!` makes it panic. How long it thinks about each token is the
//! test's choice.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use saem_encoder::SentenceEncoder;
use saem_engine::blocks::BlockCopy;
use saem_engine::{EngineError, Forward, Limits, ModelText, Plan, Worker};
use saem_kernels::attention::{KvType, Span};
use saem_server::service::{Embedder, Served, Service};
use saem_server::{Access, App, Settings, http, router};
use saem_store::{Location, Store};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::toy;

const VOCABULARY: usize = 258;
const END: u32 = 257;

/// The model.
struct Reciter {
    blocks: usize,
    millis: Arc<AtomicU64>,
    logits: Vec<f32>,
}

impl Forward for Reciter {
    fn vocabulary(&self) -> usize {
        VOCABULARY
    }

    fn blocks(&self) -> usize {
        self.blocks
    }

    fn max_rows(&self) -> usize {
        512
    }

    fn max_logit_rows(&self) -> usize {
        64
    }

    fn ensure_logit_rows(&mut self, _: usize) {}

    fn copy_block(&mut self, _: BlockCopy) {}

    fn forward(&mut self, tokens: &[u32], _: &[Span<'_>], logit_rows: &[usize]) -> Result<&[f32], EngineError> {
        assert!(!tokens.contains(&u32::from(b'!')), "a panic on purpose");
        std::thread::sleep(Duration::from_millis(self.millis.load(Ordering::Relaxed)));
        self.logits.clear();
        for row in logit_rows {
            let next = match tokens[*row] {
                0xec => 0x83,
                0x83 => 0x98,
                0x98 => 0xec,
                0x7a => END,
                0x0a => u32::from(b'a'),
                token => (token + 1) % 256,
            };
            self.logits.extend((0..VOCABULARY as u32).map(|token| if token == next { 30.0 } else { 0.0 }));
        }
        Ok(&self.logits)
    }
}

/// A server at work.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) app: App,
    /// Milliseconds of each pass.
    pub(crate) millis: Arc<AtomicU64>,
    /// The keys and records of a server that has them, and a runtime to ask them on.
    pub(crate) store: Option<Arc<Store>>,
    handle: Handle,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default(), 4, 64)
    }

    /// A server whose model works on `sequences` texts and lets `waiting` requests wait.
    pub(crate) fn with(settings: Settings, sequences: usize, waiting: usize) -> Self {
        Self::build(settings, sequences, waiting, None, None)
    }

    /// A server whose keys and records are here.
    pub(crate) fn guarded(location: Location) -> Self {
        Self::build(Settings::default(), 4, 64, Some(location), None)
    }

    /// The same, whose model works on one text and lets 8 requests wait.
    pub(crate) fn guarded_and_small(location: Location, settings: Settings) -> Self {
        Self::build(settings, 1, 8, Some(location), None)
    }

    /// A server with a sentence encoder, too.
    pub(crate) fn with_encoder(settings: Settings, encoder: SentenceEncoder) -> Self {
        Self::build(settings, 4, 64, None, Some(encoder))
    }

    fn build(
        settings: Settings,
        sequences: usize,
        waiting: usize,
        location: Option<Location>,
        encoder: Option<SentenceEncoder>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = saem_formats::Source::open(toy::alphabet(directory.path())).unwrap();
        let description = saem_model::describe(&source).unwrap();
        let text = Arc::new(ModelText::new(&source, description).unwrap());
        let limits = Limits {
            context: 512,
            model_context: 512,
            batch_rows: 512,
            prompt_rows: 512,
            max_sequences: sequences,
            max_waiting: waiting,
            draft_rows: 0,
        };
        let kv_blocks = 16 * sequences;
        let millis = Arc::new(AtomicU64::new(0));
        let forward = Box::new(Reciter { blocks: kv_blocks, millis: Arc::clone(&millis), logits: Vec::new() });
        let worker = Worker::new(forward, text.shared_tokenizer(), vec![END], limits).unwrap();
        let plan = Plan { limits, kv_type: KvType::F16, kv_blocks, weight_bytes: 0, kv_bytes: 0, workspace_bytes: 0 };
        let served = Served::new("alphabet".into(), worker, text, plan).unwrap();
        let embedders = encoder.into_iter().map(|encoder| Embedder::new("vectors".into(), encoder, waiting));
        let service = Service::new(vec![served]).with_embedders(embedders.collect());
        Self::open(service, settings, location, millis)
    }

    /// A server of these models.
    pub(crate) fn of(service: Service) -> Self {
        Self::open(service, Settings::default(), None, Arc::default())
    }

    fn open(service: Service, settings: Settings, location: Option<Location>, millis: Arc<AtomicU64>) -> Self {
        let home = match &location {
            Some(Location::Sqlite(path)) => path.parent().map(Into::into),
            _ => None,
        };
        let settings = Settings {
            address: "127.0.0.1:0".parse().unwrap(),
            home,
            program: std::env::current_exe().ok(),
            ..settings
        };
        let stop = Arc::new(Notify::new());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let store = location.map(|location| Arc::new(runtime.block_on(Store::open(location)).unwrap()));
        let app = match &store {
            Some(store) => App::with_access(service, settings, Vec::new(), Access::new(Arc::clone(store))),
            None => App::new(service, settings, Vec::new()),
        };
        let running = runtime.block_on(http::bind(app.settings())).unwrap();
        let address = running.address();
        let (served, stopped, kept) = (app.clone(), Arc::clone(&stop), store.clone());
        let thread = std::thread::spawn(move || {
            let router = router(served.clone());
            runtime.block_on(http::serve(running, served, router, async || stopped.notified().await));
            if let Some(store) = kept {
                runtime.block_on(store.close()).unwrap();
            }
        });
        Self { address, app, millis, store, handle, stop, thread: Some(thread) }
    }

    /// Asks the store of a guarded server.
    pub(crate) fn ask<T>(&self, question: impl AsyncFnOnce(&Store) -> T) -> T {
        self.handle.block_on(question(self.store.as_ref().unwrap()))
    }

    /// Asks the server to stop, as a signal would.
    pub(crate) fn stop(&self) {
        self.stop.notify_one();
    }

    /// Waits until it has.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Sends a request head and body and leaves the connection open.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let has = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !has("host") {
            head += &format!("host: {}\r\n", self.address);
        }
        if !body.is_empty() || method == "POST" {
            if !has("content-type") {
                head += "content-type: application/json\r\n";
            }
            head += &format!("content-length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "connection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        // The server may refuse and close before it has read everything.
        let _ = stream.write_all(body);
        stream
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        Answer::read(self.send(method, path, headers, body))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &[], body.to_string().as_bytes())
    }

    /// Whether the model comes to work on something within `time`.
    pub(crate) fn is_running_within(&self, time: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < time {
            if self.app.service().models()[0].status().running() > 0 {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    /// Whether the model comes to hold nothing within `time`.
    pub(crate) fn is_idle_within(&self, time: Duration) -> bool {
        let begun = Instant::now();
        let status = self.app.service().models()[0].status();
        while begun.elapsed() < time {
            if status.running() == 0 && status.waiting() == 0 && status.blocks_used() == 0 {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A failed test must not wait for a failed server.
            if !std::thread::panicking() {
                thread.join().unwrap();
            }
        }
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn read(stream: TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {line:?}")).parse().unwrap();
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Self { status, headers, body: Vec::new() };
        let mut rest = Vec::new();
        let _ = reader.read_to_end(&mut rest);
        let is_chunked = answer.header("transfer-encoding") == Some("chunked");
        answer.body = if is_chunked { unchunk(&rest) } else { rest };
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Status, code and field of an error.
    pub(crate) fn error(&self) -> (u16, String, Option<String>) {
        let error = &self.json()["error"];
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        (self.status, text(&error["code"]).unwrap(), text(&error["param"]))
    }

    /// The data of each event, and whether the stream ended as it should.
    pub(crate) fn events(&self) -> (Vec<Value>, bool) {
        let mut events = Vec::new();
        let mut done = false;
        for line in self.text().lines().filter_map(|line| line.strip_prefix("data: ")) {
            assert!(!done, "nothing follows the end");
            match line {
                "[DONE]" => done = true,
                line => events.push(serde_json::from_str(line).unwrap()),
            }
        }
        (events, done)
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(end + 2..end + 2 + size) else { break };
        body.extend_from_slice(chunk);
        bytes = bytes.get(end + 4 + size..).unwrap_or_default();
    }
    body
}
