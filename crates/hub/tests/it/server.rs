//! A stand-in for the Hugging Face Hub on a loopback port: ranges, cut connections, refusals, a log.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the server behaves; tests change it between requests.
#[derive(Default)]
pub(crate) struct Behaviour {
    /// Answers by path.
    pub(crate) files: HashMap<String, Vec<u8>>,
    /// Bytes after which each of the next answers breaks off, one entry for an answer.
    pub(crate) cuts: Vec<usize>,
    /// Whether `Range` is ignored.
    pub(crate) ignore_ranges: bool,
    /// How long the server rests after every 64 KiB.
    pub(crate) pause: Duration,
    /// A status for every request.
    pub(crate) status: Option<u16>,
    /// Path and first byte of every request.
    pub(crate) log: Vec<(String, u64)>,
}

pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) behaviour: Arc<Mutex<Behaviour>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let behaviour = Arc::new(Mutex::new(Behaviour::default()));
        let shared = Arc::clone(&behaviour);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(&stream, &shared));
            }
        });
        Self { endpoint, behaviour }
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        self.behaviour.lock().unwrap().files.insert(path.to_owned(), bytes.to_vec());
    }

    pub(crate) fn log(&self) -> Vec<(String, u64)> {
        self.behaviour.lock().unwrap().log.clone()
    }
}

/// Answers one request and closes; a client that went away is none of the server's business.
fn answer(mut stream: &TcpStream, shared: &Mutex<Behaviour>) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    let _ = reader.read_line(&mut first);
    let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut start = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) < 3 {
            break;
        }
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            start = range.trim().trim_end_matches('-').parse::<u64>().ok();
        }
    }
    let (status, body, cut, start, pause) = {
        let mut behaviour = shared.lock().unwrap();
        let pause = behaviour.pause;
        behaviour.log.push((path.clone(), start.unwrap_or(0)));
        let start = start.filter(|_| !behaviour.ignore_ranges);
        match (behaviour.status, behaviour.files.get(path.split('?').next().unwrap_or(&path)).cloned()) {
            (Some(status), _) => (status, Vec::new(), None, None, pause),
            (None, None) => (404, Vec::new(), None, None, pause),
            (None, Some(body)) if start.is_some_and(|start| start >= body.len() as u64) => {
                (416, Vec::new(), None, None, pause)
            }
            (None, Some(body)) => {
                let cut = if behaviour.cuts.is_empty() { None } else { Some(behaviour.cuts.remove(0)) };
                (if start.is_some() { 206 } else { 200 }, body, cut, start, pause)
            }
        }
    };
    let from = usize::try_from(start.unwrap_or(0)).unwrap();
    let slice = &body[from..];
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n", slice.len());
    if status == 206 {
        head += &format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
    }
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    for piece in slice[..cut.unwrap_or(slice.len()).min(slice.len())].chunks(64 << 10) {
        if stream.write_all(piece).is_err() {
            return;
        }
        std::thread::sleep(pause);
    }
}
