//! From a model's name to its files, downloading them where that is needed.

use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context as _;
use saem_hub::{Event, Hub, HubError, Installed, Observer, PullOptions, Settings, Terms};

use crate::arguments::ModelFlag;
use crate::failure::bytes;
use crate::language::Language;
use crate::output::{faint, note};
use crate::progress::{Progress, Unit};

/// A model that is here, and the name to call it by.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// As the user knows it.
    pub(crate) name: String,
    /// What to open.
    pub(crate) path: PathBuf,
}

/// Models as this user keeps them.
pub(crate) fn hub() -> anyhow::Result<Hub> {
    Ok(Hub::open(Settings::from_env()?)?)
}

/// The model of `--model`, of `$SAEM_MODEL` or of the catalogue, downloaded if it is not here.
pub(crate) fn choose(flag: &ModelFlag, language: Language) -> anyhow::Result<Chosen> {
    let hub = hub()?;
    let name = flag
        .name
        .clone()
        .or_else(|| std::env::var("SAEM_MODEL").ok().filter(|name| !name.is_empty()))
        .unwrap_or_else(|| hub.catalogue().default.clone());
    find_or_pull(&hub, &name, flag.accept_licence, language)
}

/// The model of this name or path, downloaded if it is not here.
pub(crate) fn find_or_pull(hub: &Hub, name: &str, accept_licence: bool, language: Language) -> anyhow::Result<Chosen> {
    match hub.resolve(name) {
        Ok(path) => Ok(Chosen { name: name.to_owned(), path }),
        Err(HubError::NotInstalled { name }) => {
            let installed = pull(hub, &name, accept_licence, language)?;
            Ok(Chosen { path: installed.path(), name })
        }
        Err(error) => Err(error.into()),
    }
}

/// Downloads a model and shows how it goes.
pub(crate) fn pull(hub: &Hub, name: &str, accept_licence: bool, language: Language) -> anyhow::Result<Installed> {
    let mut screen = Screen { language, progress: None, begun: false };
    let installed = hub.pull(name, PullOptions { accept_licence }, &mut screen)?;
    let begun = screen.begun;
    drop(screen);
    if begun {
        note(&language.fetched(&installed.manifest.name, &bytes(installed.manifest.bytes)));
    }
    Ok(installed)
}

/// Shows a download on standard error.
struct Screen {
    language: Language,
    progress: Option<Progress>,
    begun: bool,
}

impl Screen {
    fn say(&self, text: &str) {
        match &self.progress {
            Some(progress) => progress.suspend(|| note(text)),
            None => note(text),
        }
    }

    /// Asks on the terminal; where there is none, the answer is no.
    fn ask(&self, model: &str) -> anyhow::Result<bool> {
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Ok(false);
        }
        write!(io::stderr(), "{}", self.language.licence_question(model)).context("stderr")?;
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes" | "예" | "네" | "ㅛ"))
    }
}

impl Observer for Screen {
    fn accept(&mut self, terms: &Terms<'_>) -> bool {
        let language = self.language;
        match terms.licence {
            Some(licence) => {
                self.say(&language.licence_line(&licence.name, &licence.url));
                let obligations = &licence.obligations;
                self.say(&faint(match language {
                    Language::English => &obligations.en,
                    Language::Korean => &obligations.ko,
                }));
            }
            None => self.say(&format!("{}: {}", language.label_licence(), terms.identifier)),
        }
        terms.ask && self.ask(terms.model).unwrap_or(false)
    }

    fn begin(&mut self, name: &str, total: Option<u64>) {
        let title = self.language.fetching(name);
        if !io::stderr().is_terminal() && !self.begun {
            note(&match total {
                Some(total) => format!("{title} ({})", bytes(total)),
                None => title.clone(),
            });
        }
        self.begun = true;
        self.progress = Some(Progress::new(self.language, title, Unit::Bytes, total));
    }

    fn progress(&mut self, done: u64) -> ControlFlow<()> {
        if let Some(progress) = &mut self.progress {
            progress.set(done);
        }
        ControlFlow::Continue(())
    }

    fn event(&mut self, event: Event) {
        let language = self.language;
        match event {
            Event::Waiting => self.say(&language.waiting()),
            Event::NextSource { .. } => self.say(&faint(&language.next_source())),
            Event::Resuming { bytes: here } => self.say(&faint(&language.resuming(&bytes(here)))),
            Event::Retrying { .. } => self.say(&faint(&language.retrying())),
        }
    }

    fn finish(&mut self) {
        self.progress = None;
    }
}
