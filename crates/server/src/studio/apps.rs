//! Apps: a project's prompt behind an address of its own, with a key, limits and origins.
//!
//! An app begins as a *test app*, whose key ends after a month and is slow, and becomes a *service app* when somebody
//! means it. What it asks is copied from the project when it is published: nothing that is saved later changes an app.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use saem_store::{App as Stored, AppVersion, Issued, KeptCall, Key, Limits, NewKey, Scope, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::document::Document;
use super::projects::{limit, readable};
use super::render::served;
use super::{refused, store};
use crate::http::{JsonBody, PathId, QueryOf, json};
use crate::nfc::nfc;
use crate::{ApiError, App, Caller, ErrorBody};

/// The most that a test app may be asked in a minute, and what it may be where nothing is said.
const TEST_REQUESTS: u32 = 60;
/// How long the key of a test app works.
const TEST_DAYS: i64 = 30;
/// Hours that an old key may go on for beside a new one.
const MOST_OVERLAP: u32 = 168;
/// Web origins of one app.
const MOST_ORIGINS: usize = 32;

/// Whether an app is being tried out or meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioAppStage)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Tried out: slow, and its key ends after a month.
    Test,
    /// Meant.
    Service,
}

/// How much an app may be asked in a minute; no limit where null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioAppLimits)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AppLimits {
    /// Requests per minute (QPM).
    #[schema(minimum = 1)]
    requests_per_minute: Option<u32>,
    /// Tokens per minute (TPM).
    #[schema(minimum = 1)]
    tokens_per_minute: Option<u32>,
}

/// What the definition of an app that Studio made holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Definition {
    pub(crate) stage: Stage,
    pub(crate) project: String,
    pub(crate) project_version: i64,
    pub(crate) variant: Option<usize>,
    pub(crate) limits: AppLimits,
    pub(crate) document: Document,
}

/// An app to make.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioNewApp)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApp {
    /// The project whose prompt it asks.
    project: String,
    /// Its version; the current one where absent.
    version: Option<i64>,
    /// Which of the document's variants.
    variant: Option<usize>,
    /// What it is called, in the organisation once.
    name: String,
    /// For a test app at most 60 requests per minute.
    limits: Option<AppLimits>,
    /// Web origins whose pages may call it, such as `https://shop.example`.
    #[serde(default)]
    allowed_origins: Vec<String>,
    /// Whether its calls are kept, without personal data.
    #[serde(default)]
    keep_calls: bool,
}

/// What is to change of an app. Where `project`, `version` or `variant` is there, the prompt is taken anew.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioAppChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppChange {
    project: Option<String>,
    version: Option<i64>,
    variant: Option<usize>,
    limits: Option<AppLimits>,
    allowed_origins: Option<Vec<String>>,
    keep_calls: Option<bool>,
}

/// What a service app may be asked.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioPublish)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishRequest {
    limits: Option<AppLimits>,
}

/// A new key for an app.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioNewAppKey)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAppKey {
    /// How many hours the old one goes on: 0 to 168.
    #[serde(default)]
    #[schema(maximum = 168)]
    overlap_hours: u32,
}

/// An app.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioApp)]
pub(crate) struct Shown {
    id: String,
    name: String,
    stage: Stage,
    /// The project that its prompt was taken from.
    project: String,
    project_version: i64,
    variant: Option<usize>,
    model: String,
    version: i64,
    /// `chat` or `text`.
    mode: &'static str,
    /// What a call must bring.
    variables: Vec<String>,
    limits: AppLimits,
    allowed_origins: Vec<String>,
    keep_calls: bool,
    created_at: String,
    changed_at: String,
    /// Keys that work.
    keys: Vec<ShownKey>,
    /// Where it is called.
    url: String,
    /// What it asks; in the answer for one app.
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<Document>,
}

/// A key without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioAppKey)]
pub(crate) struct ShownKey {
    id: String,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
}

/// A key as it is shown once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioIssuedKey)]
pub(crate) struct ShownOnce {
    id: String,
    /// The key itself, which cannot be had again.
    text: String,
    expires_at: Option<String>,
}

/// An app and its new key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioPublished)]
pub(crate) struct Published {
    app: Shown,
    key: ShownOnce,
}

/// A new key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioNewKey)]
pub(crate) struct OnlyKey {
    key: ShownOnce,
}

/// Apps by name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioApps)]
pub(crate) struct Apps {
    apps: Vec<Shown>,
}

/// How many days.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageQuery {
    /// 1 to 366, today included; 30 where absent.
    days: Option<u32>,
}

/// What an app used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioAppUsage)]
pub(crate) struct AppUsage {
    days: Vec<Day>,
}

/// A day on which it was used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioAppDay)]
pub(crate) struct Day {
    /// In UTC.
    day: String,
    requests: u64,
    prompt_tokens: u64,
    cached_tokens: u64,
    completion_tokens: u64,
}

/// Which calls.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallsQuery {
    /// How many: 1 to 200, 50 where absent.
    limit: Option<u32>,
    /// The id of the last one that was shown.
    before: Option<String>,
}

/// Calls that were kept, the newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioCalls)]
pub(crate) struct Calls {
    calls: Vec<ShownCall>,
    /// Whether older ones follow.
    has_more: bool,
}

/// A call, without personal data.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioCall)]
pub(crate) struct ShownCall {
    id: String,
    at: String,
    key: String,
    version: i64,
    #[schema(value_type = Object)]
    variables: Value,
    #[schema(value_type = Vec<Object>)]
    messages: Value,
    output: String,
    /// `done`, `failed` or `cancelled`.
    outcome: String,
    prompt_tokens: u64,
    completion_tokens: u64,
    millis: u64,
}

/// Makes a test app of a project, and a key for it.
#[utoipa::path(post, path = "/api/studio/apps", operation_id = "studioCreateApp", tag = "studio", request_body = NewApp,
    responses((status = 201, body = Published), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<NewApp>,
) -> Result<Response, ApiError> {
    let (project, project_version, document) = take(&app, &caller, &body.project, body.version, body.variant).await?;
    let stage = Stage::Test;
    let limits = checked(body.limits, stage)?;
    let definition = Definition { stage, project, project_version, variant: body.variant, limits, document };
    let does = definition.version(origins(body.allowed_origins)?, body.keep_calls)?;
    let (store, origin) = (store(&app)?, caller.origin());
    let made = store.create_app(caller.tenant_name(), &nfc(body.name), does, &origin).await.map_err(refused)?;
    let key = issue(store, &made, &definition, &caller).await?;
    let shown = show(store, made, false).await?;
    Ok(json(StatusCode::CREATED, &Published { app: shown, key }))
}

/// Apps of the caller's organisation that were made in Studio.
#[utoipa::path(get, path = "/api/studio/apps", operation_id = "studioListApps", tag = "studio",
    responses((status = 200, body = Apps), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let mut apps = Vec::new();
    for stored in store.apps(caller.tenant_name()).await.map_err(refused)? {
        // Others may have made apps of other kinds.
        if Definition::of(&stored).is_some() {
            apps.push(show(store, stored, false).await?);
        }
    }
    Ok(json(StatusCode::OK, &Apps { apps }))
}

/// Reads an app with what it asks.
#[utoipa::path(get, path = "/api/studio/apps/{id}", operation_id = "studioReadApp", tag = "studio", params(("id" = String, Path)),
    responses((status = 200, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn read(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    let (stored, _) = find(store(&app)?, &caller, &id).await?;
    Ok(json(StatusCode::OK, &show(store(&app)?, stored, true).await?))
}

/// Changes an app. What was published before stays as an earlier version.
#[utoipa::path(put, path = "/api/studio/apps/{id}", operation_id = "studioChangeApp", tag = "studio", params(("id" = String, Path)),
    request_body = AppChange, responses((status = 200, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn change(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    JsonBody(body): JsonBody<AppChange>,
) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let (stored, mut definition) = find(store, &caller, &id).await?;
    if body.project.is_some() || body.version.is_some() || body.variant.is_some() {
        let project = body.project.as_deref().unwrap_or(&definition.project);
        let (project, version, document) = take(&app, &caller, project, body.version, body.variant).await?;
        let taken = Definition { project, project_version: version, variant: body.variant, document, ..definition };
        definition = taken;
    }
    let mut limited = false;
    if body.limits.is_some() {
        let limits = checked(body.limits, definition.stage)?;
        limited = limits != definition.limits;
        definition.limits = limits;
    }
    let allowed = match body.allowed_origins {
        Some(allowed) => origins(allowed)?,
        None => stored.does.allowed_origins.clone(),
    };
    let does = definition.version(allowed, body.keep_calls.unwrap_or(stored.does.store_prompts))?;
    let stored = update(store, stored, does, &caller).await?;
    if limited {
        store.limit_keys_of_app(&stored, definition.limits.into(), &caller.origin()).await.map_err(refused)?;
    }
    Ok(json(StatusCode::OK, &show(store, stored, true).await?))
}

/// Makes a service app of a test app: it gets a key without an end, and the old one ends.
#[utoipa::path(post, path = "/api/studio/apps/{id}/publish", operation_id = "studioPublishApp", tag = "studio",
    params(("id" = String, Path)), request_body = PublishRequest,
    responses((status = 200, body = Published), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn publish(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    JsonBody(body): JsonBody<PublishRequest>,
) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let (stored, mut definition) = find(store, &caller, &id).await?;
    if definition.stage == Stage::Service {
        return Err(ApiError::conflict("app_state", "The app is a service app already"));
    }
    definition.stage = Stage::Service;
    definition.limits = checked(Some(body.limits.unwrap_or_default()), Stage::Service)?;
    let does = definition.version(stored.does.allowed_origins.clone(), stored.does.store_prompts)?;
    let stored = update(store, stored, does, &caller).await?;
    let key = issue(store, &stored, &definition, &caller).await?;
    let ended = store.end_other_keys_of_app(&stored, &key.id, Duration::ZERO, &caller.origin()).await;
    ended.map_err(refused)?;
    let shown = show(store, stored, false).await?;
    Ok(json(StatusCode::OK, &Published { app: shown, key }))
}

/// Makes a new key for an app; the old one goes on for as long as is said.
#[utoipa::path(post, path = "/api/studio/apps/{id}/keys", operation_id = "studioNewAppKey", tag = "studio",
    params(("id" = String, Path)), request_body = NewAppKey,
    responses((status = 201, body = OnlyKey), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn new_key(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    JsonBody(body): JsonBody<NewAppKey>,
) -> Result<Response, ApiError> {
    if body.overlap_hours > MOST_OVERLAP {
        return Err(ApiError::invalid_value("overlap_hours", "overlap_hours must be between 0 and 168"));
    }
    let store = store(&app)?;
    let (stored, definition) = find(store, &caller, &id).await?;
    let key = issue(store, &stored, &definition, &caller).await?;
    let overlap = Duration::from_secs(u64::from(body.overlap_hours) * 3600);
    store.end_other_keys_of_app(&stored, &key.id, overlap, &caller.origin()).await.map_err(refused)?;
    Ok(json(StatusCode::CREATED, &OnlyKey { key }))
}

/// Removes an app: its keys end, and its calls are gone.
#[utoipa::path(delete, path = "/api/studio/apps/{id}", operation_id = "studioRemoveApp", tag = "studio", params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn remove(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let (stored, _) = find(store, &caller, &id).await?;
    store.remove_app(&stored.id, &caller.origin()).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What an app used, day by day.
#[utoipa::path(get, path = "/api/studio/apps/{id}/usage", operation_id = "studioAppUsage", tag = "studio",
    params(("id" = String, Path), UsageQuery), responses((status = 200, body = AppUsage), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn usage(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    QueryOf(query): QueryOf<UsageQuery>,
) -> Result<Response, ApiError> {
    let days = query.days.unwrap_or(30);
    if !(1..=366).contains(&days) {
        return Err(ApiError::invalid_value("days", "days must be between 1 and 366"));
    }
    let store = store(&app)?;
    let (stored, _) = find(store, &caller, &id).await?;
    let days = store.usage_of_app(&stored.id, days).await.map_err(refused)?.into_iter().map(|sum| Day {
        day: sum.day,
        requests: sum.used.requests,
        prompt_tokens: sum.used.prompt_tokens,
        cached_tokens: sum.used.cached_tokens,
        completion_tokens: sum.used.completion_tokens,
    });
    Ok(json(StatusCode::OK, &AppUsage { days: days.collect() }))
}

/// Calls of an app, where it keeps them.
#[utoipa::path(get, path = "/api/studio/apps/{id}/calls", operation_id = "studioAppCalls", tag = "studio",
    params(("id" = String, Path), CallsQuery), responses((status = 200, body = Calls), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn calls(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    QueryOf(query): QueryOf<CallsQuery>,
) -> Result<Response, ApiError> {
    let limit = limit(query.limit)?;
    let store = store(&app)?;
    let (stored, _) = find(store, &caller, &id).await?;
    let found = store.app_calls(&stored.id, query.before.as_deref(), limit + 1).await.map_err(refused)?;
    let has_more = found.len() > limit as usize;
    let calls = found.into_iter().take(limit as usize).map(told).collect();
    Ok(json(StatusCode::OK, &Calls { calls, has_more }))
}

/// Forgets the calls of an app.
#[utoipa::path(delete, path = "/api/studio/apps/{id}/calls", operation_id = "studioForgetAppCalls", tag = "studio",
    params(("id" = String, Path)), responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn forget(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let (stored, _) = find(store, &caller, &id).await?;
    store.remove_calls(&stored.id).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Definition {
    /// What Studio wrote into an app; `None` where something else made it.
    pub(crate) fn of(stored: &Stored) -> Option<Self> {
        serde_json::from_value(stored.does.definition.clone()).ok()
    }

    fn version(&self, allowed_origins: Vec<String>, store_prompts: bool) -> Result<AppVersion, ApiError> {
        // By way of text, as documents are.
        let text = serde_json::to_string(self).map_err(|_| ApiError::internal())?;
        let definition = serde_json::from_str(&text).map_err(|_| ApiError::internal())?;
        Ok(AppVersion { model: self.document.model.clone(), definition, allowed_origins, store_prompts })
    }
}

impl From<AppLimits> for Limits {
    fn from(limits: AppLimits) -> Self {
        Self { requests_per_minute: limits.requests_per_minute, tokens_per_minute: limits.tokens_per_minute }
    }
}

/// The document of a project as an app asks it: in one version, as one variant, of a model that is served.
pub(crate) async fn take(
    app: &App,
    caller: &Caller,
    project: &str,
    version: Option<i64>,
    variant: Option<usize>,
) -> Result<(String, i64, Document), ApiError> {
    let store = store(app)?;
    let project = readable(store, caller, project).await.map_err(|error| error.with_param("project"))?;
    let (version, document) = match version {
        Some(version) => (version, store.project_version(&project.id, version).await.map_err(refused)?.document),
        None => (project.current.version, project.current.document),
    };
    let mut document = Document::from_value(document)?.variant(variant)?;
    document.model = served(app, caller, &document)?.name().to_owned();
    // What the page keeps for itself is none of the app's business.
    document.ui.clear();
    document.variants.clear();
    Ok((project.id, version, document))
}

/// The app, if it is the caller's organisation's and Studio made it.
async fn find(store: &Store, caller: &Caller, id: &str) -> Result<(Stored, Definition), ApiError> {
    let stored = store.app(id, None).await.map_err(refused)?;
    match Definition::of(&stored) {
        Some(definition) if stored.tenant == caller.tenant_name() => Ok((stored, definition)),
        _ => Err(refused(StoreError::NotFound { kind: "app", id: stored.id })),
    }
}

/// Makes a new version where something has changed.
async fn update(store: &Store, stored: Stored, does: AppVersion, caller: &Caller) -> Result<Stored, ApiError> {
    if stored.does == does {
        return Ok(stored);
    }
    store.update_app(&stored.id, does, &caller.origin()).await.map_err(refused)
}

async fn issue(store: &Store, app: &Stored, definition: &Definition, caller: &Caller) -> Result<ShownOnce, ApiError> {
    let ends = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(TEST_DAYS * 24);
    let new = NewKey {
        tenant: app.tenant.clone(),
        app: Some(app.id.clone()),
        limits: definition.limits.into(),
        expires_at: (definition.stage == Stage::Test).then_some(ends),
        ..NewKey::named(app.name.clone(), &[Scope::App])
    };
    let Issued { key, text } = store.create_key(new, &caller.origin()).await.map_err(refused)?;
    Ok(ShownOnce { expires_at: key.made.expires_at.map(|end| end.to_string()), id: key.id, text })
}

fn checked(limits: Option<AppLimits>, stage: Stage) -> Result<AppLimits, ApiError> {
    let mut limits = limits.unwrap_or_default();
    if stage == Stage::Test {
        let requests = limits.requests_per_minute.get_or_insert(TEST_REQUESTS);
        if *requests > TEST_REQUESTS {
            let message = "A test app may be asked at most 60 times a minute";
            return Err(ApiError::invalid_value("limits.requests_per_minute", message));
        }
    }
    let zero = |limit: Option<u32>| limit == Some(0);
    match (zero(limits.requests_per_minute), zero(limits.tokens_per_minute)) {
        (true, _) => Err(ApiError::invalid_value("limits.requests_per_minute", "must be at least 1")),
        (_, true) => Err(ApiError::invalid_value("limits.tokens_per_minute", "must be at least 1")),
        _ => Ok(limits),
    }
}

fn origins(allowed: Vec<String>) -> Result<Vec<String>, ApiError> {
    if allowed.len() > MOST_ORIGINS {
        return Err(ApiError::invalid_value("allowed_origins", format!("at most {MOST_ORIGINS} origins")));
    }
    // As browsers write them.
    Ok(allowed.into_iter().map(|origin| origin.trim().trim_end_matches('/').to_ascii_lowercase()).collect())
}

async fn show(store: &Store, stored: Stored, with_definition: bool) -> Result<Shown, ApiError> {
    let Some(definition) = Definition::of(&stored) else {
        return Err(refused(StoreError::NotFound { kind: "app", id: stored.id }));
    };
    let key = |key: Key| ShownKey {
        id: key.id,
        created_at: key.created_at.to_string(),
        expires_at: key.made.expires_at.map(|end| end.to_string()),
        last_used_at: key.last_used_at.map(|used| used.to_string()),
    };
    let keys = store.keys_of_app(&stored.id).await.map_err(refused)?.into_iter().map(key).collect();
    Ok(Shown {
        url: format!("/v1/apps/{}/run", stored.id),
        id: stored.id,
        name: stored.name,
        stage: definition.stage,
        project: definition.project,
        project_version: definition.project_version,
        variant: definition.variant,
        model: stored.does.model,
        version: stored.version,
        mode: definition.document.mode.name(),
        variables: definition.document.used_variables(),
        limits: definition.limits,
        allowed_origins: stored.does.allowed_origins,
        keep_calls: stored.does.store_prompts,
        created_at: stored.created_at.to_string(),
        changed_at: stored.changed_at.to_string(),
        keys,
        definition: with_definition.then_some(definition.document),
    })
}

fn told(kept: KeptCall) -> ShownCall {
    let call = kept.call;
    let field = |name: &str| call.question.get(name).cloned().unwrap_or_default();
    ShownCall {
        id: kept.id,
        at: kept.at.to_string(),
        variables: field("variables"),
        messages: field("messages"),
        key: call.key,
        version: call.version,
        output: call.output,
        outcome: call.outcome,
        prompt_tokens: call.prompt_tokens,
        completion_tokens: call.completion_tokens,
        millis: call.millis,
    }
}
