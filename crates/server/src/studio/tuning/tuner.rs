//! Who works on tunings: one after the other, each in a process of its own.
//!
//! The process is this program again, as `saem tune`, so that a tuning that takes too much memory or fails in any other
//! way takes nothing down. It is asked to stop as a person would at a terminal, by an interrupt, and then writes down
//! where it is. One that ran when the server went down goes on when it comes back.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use saem_engine::EngineError;
use saem_store::{Store, Tuning, TuningState};

use super::folder::Folder;
use super::routes::record;
use crate::http::blocking;
use crate::studio::datasets::{discard, failed};
use crate::studio::engines::load_made;
use crate::studio::store;
use crate::{ApiError, App, RequestId};

/// How often it is looked for tunings.
const LOOK: Duration = Duration::from_secs(5);
/// How often it is looked whether one is to stop, and whether the server is.
const CHECK: Duration = Duration::from_millis(200);
/// How often it is said that this server works on it.
const RENEW: Duration = Duration::from_secs(5);
/// How long a process may take to write down where it is, after which it is ended.
const PATIENCE: Duration = Duration::from_secs(600);

/// Serves what was published before, and works on tunings until the server goes down.
pub(crate) async fn work(app: App) {
    let settings = app.settings();
    let (Ok(store), Some(home)) = (store(&app).map(Arc::clone), settings.home.clone()) else { return };
    sweep(&home).await;
    restore(&app, &store, &home, None).await;
    let Some(program) = settings.program.clone() else { return };
    let runner = RequestId::fresh().as_str().to_owned();
    let mut first = true;
    while !app.is_draining() {
        match store.claim_tuning(&runner, first).await {
            Ok(Some(tuning)) => {
                first = false;
                let folder = Folder::of(&home, &tuning.id);
                run(&app, &store, &program, &folder, &tuning, &runner).await;
                continue;
            }
            Ok(None) => first = false,
            Err(error) => tracing::error!(error = %error, "tunings cannot be looked for"),
        }
        let begun = Instant::now();
        while begun.elapsed() < LOOK && !app.is_draining() {
            tokio::select! {
                () = app.tunings().notified() => break,
                () = tokio::time::sleep(CHECK) => {}
            }
        }
    }
}

/// Removes what plans left behind when a server was killed. Those of another server that shares the home are younger.
async fn sweep(home: &Path) {
    for entry in fs::read_dir(home.join("runs")).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
        let is_plan = entry.file_name().to_string_lossy().starts_with(PLAN);
        if is_plan && age.is_some_and(|age| age > 2 * PLAN_TIME) {
            discard(entry.path()).await;
        }
    }
}

/// What the names of folders begin with in which it is looked what a tuning would take.
pub(crate) const PLAN: &str = ".plan-";

/// Serves the published results of a model that has just come.
pub(crate) async fn restore_of(app: &App, base: &str) {
    if let (Ok(store), Some(home)) = (store(app), &app.settings().home) {
        restore(app, store, home, Some(base)).await;
    }
}

/// Serves the results that were published before, of one model or of all.
async fn restore(app: &App, store: &Store, home: &Path, base: Option<&str>) {
    let tunings = match store.served_tunings().await {
        Ok(tunings) => tunings,
        Err(error) => return tracing::error!(error = %error, "published tunings cannot be looked for"),
    };
    let is_of = |tuning: &Tuning| base.is_none_or(|base| record(tuning).is_ok_and(|record| record.task.base == base));
    for tuning in tunings.into_iter().filter(is_of) {
        let name = tuning.served_as.clone().unwrap_or_default();
        if let Err(error) = serve(app, home, &tuning, &name).await {
            tracing::warn!(tuning = tuning.id, name, error = error.message, "a published tuning is not served");
        }
    }
}

/// Serves the adapter of a tuning under this name beside its base, or the model that it made.
///
/// # Errors
/// Where the base of an adapter is not served, a model does not fit, or either cannot be loaded; 409 `model_exists`.
pub(crate) async fn serve(app: &App, home: &Path, tuning: &Tuning, name: &str) -> Result<(), ApiError> {
    let record = record(tuning)?;
    let folder = Folder::of(home, &tuning.id);
    let taken = || ApiError::conflict("model_exists", format!("There is a model `{name}` already")).with_param("name");
    if app.service().all_models().iter().any(|model| model.name() == name) {
        return Err(taken());
    }
    let (own, owner) = (name.to_owned(), tuning.tenant.clone());
    let model = match (folder.adapter(), folder.model()) {
        (Some(path), _) => {
            let base = app.service().model(&record.task.base)?;
            blocking(move || base.adapted(own, &path, &owner).map_err(unplaced)).await?
        }
        (None, Some(path)) if !record.task.tells_labels() => load_made(app, path, own, owner).await?,
        _ => return Err(ApiError::conflict("tuning_state", "The tuning has nothing that could be served")),
    };
    if app.service().add(model) { Ok(()) } else { Err(taken()) }
}

/// What kept an adapter from being served.
fn unplaced(error: EngineError) -> ApiError {
    match error.is_want_of_adapter_room() {
        true => {
            let message = "The server has set aside too little memory for another tuned model of this base: withdraw one, or \
                           start the server again";
            ApiError::conflict("no_adapter_room", message)
        }
        false => error.into(),
    }
}

/// Works on one tuning until it has come to an end, is stopped, or the server goes down.
async fn run(app: &App, store: &Store, program: &Path, folder: &Folder, tuning: &Tuning, runner: &str) {
    let logged = folder.logged();
    let ended = match begin(program, folder, tuning).await {
        Ok(mut child) => watch(app, store, &mut child, &tuning.id, runner).await.inspect(|_| {
            let _ = fs::remove_file(folder.process());
        }),
        Err(error) => {
            tracing::error!(tuning = tuning.id, error = %error, "a tuning cannot be started");
            let _ = store.end_tuning(&tuning.id, runner, TuningState::Failed, &error.to_string()).await;
            // Whatever is wrong with starting one is most likely wrong with the next.
            return tokio::time::sleep(LOOK).await;
        }
    };
    let (state, reason) = match ended {
        // It goes on when the server comes back.
        None => return,
        Some((status, _)) if status.success() => (TuningState::Done, String::new()),
        Some((_, true)) => (TuningState::Stopped, String::new()),
        Some((status, false)) => (TuningState::Failed, reason(folder, logged, status)),
    };
    if let Err(error) = store.end_tuning(&tuning.id, runner, state, &reason).await {
        tracing::error!(tuning = tuning.id, error = %error, "the end of a tuning cannot be written");
    }
}

/// Why a process failed that had logged so much before.
fn reason(folder: &Folder, logged: u64, status: ExitStatus) -> String {
    folder.fault(logged).unwrap_or_else(|| match status.code() {
        Some(_) => status.to_string(),
        None => format!("The process was ended by the system ({status}), most often for want of memory"),
    })
}

/// Starts the process of a tuning, after the end of one that another start of the server left behind.
async fn begin(program: &Path, folder: &Folder, tuning: &Tuning) -> std::io::Result<Child> {
    let task = record(tuning).map_err(|error| std::io::Error::other(error.message))?.task;
    end_left_behind(folder).await;
    let log = File::options().create(true).append(true).open(folder.log())?;
    let mut command = Command::new(program);
    command.arg("tune").arg(folder.recipe()).arg("--run").arg(folder.run()).arg("--json");
    if folder.is_begun() {
        command.arg("--resume");
    }
    command.arg("--threads").arg(threads(task.parameters.threads).to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // An interrupt at the server's terminal is the server's, which hands it on when it wants to.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn()?;
    fs::write(folder.process(), child.id().to_string())?;
    Ok(child)
}

/// Threads of a tuning: half of the processors, since somebody is being answered beside it.
pub(crate) fn threads(asked: Option<u32>) -> usize {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    asked.map_or(all.div_ceil(2), |asked| usize::try_from(asked).unwrap_or(all)).min(all)
}

/// Waits for the end of a process; how it ended, and whether it was to stop. None where it was ended since the server
/// goes down or another one has the tuning.
async fn watch(app: &App, store: &Store, child: &mut Child, id: &str, runner: &str) -> Option<(ExitStatus, bool)> {
    let mut renewed = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) => tokio::time::sleep(CHECK).await,
            status => return status.ok().flatten().map(|status| (status, false)),
        }
        if app.is_draining() {
            end(child, app.settings().drain).await;
            return None;
        }
        // While the records cannot be reached nobody knows.
        let state = match renewed.elapsed() >= RENEW {
            true => {
                renewed = Instant::now();
                store.renew_tuning(id, runner).await
            }
            false => store.tuning(id).await.map(|tuning| Some(tuning.state)).or_else(|error| match error {
                saem_store::StoreError::NotFound { .. } => Ok(None),
                error => Err(error),
            }),
        };
        match state {
            Ok(Some(TuningState::Running)) | Err(_) => {}
            Ok(Some(_)) => return end(child, PATIENCE).await.map(|status| (status, true)),
            // It was removed.
            Ok(None) => {
                let _ = child.kill().and_then(|()| child.wait());
                return None;
            }
        }
    }
}

/// Asks a process to stop, and ends it where it does not in time.
async fn end(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    if interrupt(child.id()) {
        while begun.elapsed() < patience {
            match child.try_wait() {
                Ok(None) => tokio::time::sleep(CHECK).await,
                status => return status.ok().flatten(),
            }
        }
    }
    child.kill().and_then(|()| child.wait()).ok()
}

/// What a terminal sends for Ctrl-C. False where there is no such thing.
fn interrupt(number: u32) -> bool {
    #[cfg(unix)]
    {
        use nix::sys::signal::{Signal, kill};
        let number = i32::try_from(number).ok().filter(|number| *number > 1);
        number.is_some_and(|number| kill(nix::unistd::Pid::from_raw(number), Signal::SIGINT).is_ok())
    }
    #[cfg(not(unix))]
    {
        let _ = number;
        false
    }
}

/// A server that was killed leaves the process of its tuning behind. It is asked to stop, so that two do not write into
/// one folder. Known for certain only where the system tells the command of a process by its number.
async fn end_left_behind(folder: &Folder) {
    let number = fs::read_to_string(folder.process()).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let Some(number) = number else { return };
    let begun = Instant::now();
    let run = folder.run();
    let is_there = || {
        let command = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        let path = run.as_os_str().as_encoded_bytes();
        command.split(|byte| *byte == 0).any(|word| word == path)
    };
    while is_there() && begun.elapsed() < PATIENCE && interrupt(number) {
        let asked = Instant::now();
        // A second interrupt ends it at once, so it is not hurried.
        while is_there() && asked.elapsed() < PATIENCE {
            tokio::time::sleep(CHECK).await;
        }
    }
    let _ = fs::remove_file(folder.process());
}

/// Asks the program what a recipe would take, without doing it; what it prints.
///
/// # Errors
/// 400 with what it says is wrong.
pub(crate) async fn plan(program: &Path, folder: &Folder, threads: usize) -> Result<Vec<u8>, ApiError> {
    let said = folder.path().join("plan.json");
    let file = |path: &Path| File::create(path).map_err(|error| failed(&error));
    let mut command = Command::new(program);
    command.arg("tune").arg(folder.recipe()).arg("--run").arg(folder.run()).arg("--plan").arg("--json");
    command.arg("--threads").arg(threads.to_string());
    command.stdin(Stdio::null()).stdout(file(&said)?).stderr(file(&folder.log())?);
    let mut planning = Planning(command.spawn().map_err(|error| failed(&error))?);
    let begun = Instant::now();
    let status = loop {
        match planning.0.try_wait().map_err(|error| failed(&error))? {
            Some(status) => break status,
            None if begun.elapsed() > PLAN_TIME => {
                return Err(ApiError::invalid("plan_failed", "", "The plan took too long"));
            }
            None => tokio::time::sleep(PLAN_CHECK).await,
        }
    };
    if status.success() {
        return fs::read(&said).map_err(|error| failed(&error));
    }
    Err(ApiError::invalid("plan_failed", "", reason(folder, 0, status)))
}

/// A process that nobody waits for any more when whoever asked is gone.
struct Planning(Child);

impl Drop for Planning {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// How long the plan of a tuning may take: its rows are read and cut into tokens.
const PLAN_TIME: Duration = Duration::from_secs(120);
/// How often it is looked whether it is there.
const PLAN_CHECK: Duration = Duration::from_millis(20);
