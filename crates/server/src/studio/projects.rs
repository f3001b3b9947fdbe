//! Projects over HTTP: nobody overwrites what they have not seen.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use saem_store::{Project as Stored, ProjectVersion, Save, Saved, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::document::Document;
use super::{refused, store};
use crate::http::{JsonBody, PathId, PathVersion, QueryOf, json};
use crate::nfc::nfc;
use crate::{ApiError, App, Caller, ErrorBody, ErrorDetail};

/// The most projects or versions of one answer.
const MOST_LISTED: u32 = 200;

/// A project in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioProjectSummary)]
pub(crate) struct Summary {
    id: String,
    name: String,
    /// The model of the document; empty for the first one served.
    model: String,
    /// `chat` or `text`.
    mode: String,
    /// The current version.
    version: i64,
    /// Whether other organisations of the installation may read it by its id.
    shared: bool,
    created_at: String,
    changed_at: String,
}

/// A project with its document.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioProject)]
pub(crate) struct Project {
    #[serde(flatten)]
    summary: Summary,
    #[schema(value_type = Document)]
    document: Value,
    /// Who saved the current version.
    saved_by: String,
    /// Whether it is the caller's organisation's.
    writable: bool,
}

/// Projects, the last changed first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioProjects)]
pub(crate) struct Projects {
    projects: Vec<Summary>,
    /// Whether older ones follow.
    has_more: bool,
}

/// A version of a project.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioVersion)]
pub(crate) struct Version {
    version: i64,
    saved_at: String,
    saved_by: String,
    note: String,
    autosave: bool,
    /// The version that was brought back by it.
    restored_from: Option<i64>,
    /// In the answer for one version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Document>)]
    document: Option<Value>,
}

/// Versions, the newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioVersions)]
pub(crate) struct Versions {
    versions: Vec<Version>,
    /// Whether older ones follow.
    has_more: bool,
}

/// Somebody else saved in between.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioConflict)]
pub(crate) struct Conflict {
    error: ErrorDetail,
    /// What there is now.
    current: Project,
}

/// A new project.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioNewProject)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProject {
    name: String,
    #[serde(default)]
    document: Document,
}

/// A new version.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioSave)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaveRequest {
    /// The version that was seen.
    based_on: i64,
    document: Document,
    /// A new name.
    name: Option<String>,
    /// What is to be said of it.
    #[serde(default)]
    note: String,
    /// Whether the page saves by itself. Of such versions only the newest 20 are kept.
    #[serde(default)]
    autosave: bool,
}

/// What is to change beside the document.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeRequest {
    name: Option<String>,
    shared: Option<bool>,
}

/// What is copied.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioDuplicate)]
#[serde(deny_unknown_fields)]
pub(crate) struct DuplicateRequest {
    /// The copy's name.
    name: Option<String>,
    /// The version; the current one where absent.
    version: Option<i64>,
}

/// What was seen before a version is brought back.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioRestore)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreRequest {
    /// The version that was seen.
    based_on: i64,
}

/// Which projects.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// A part of their names.
    query: Option<String>,
    /// How many: 1 to 200, 50 where absent.
    limit: Option<u32>,
    /// The id of the last one that was shown.
    before: Option<String>,
}

/// Which versions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionsQuery {
    /// How many: 1 to 200, 50 where absent.
    limit: Option<u32>,
    /// The number of the last one that was shown.
    before: Option<i64>,
}

/// Projects of the caller's organisation.
#[utoipa::path(get, path = "/api/studio/projects", operation_id = "studioListProjects", tag = "studio", params(ListQuery),
    responses((status = 200, body = Projects), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Response, ApiError> {
    let limit = limit(query.limit)?;
    let wanted = nfc(query.query.unwrap_or_default());
    let found = store(&app)?.projects(caller.tenant_name(), &wanted, query.before.as_deref(), limit + 1).await;
    let mut found = found.map_err(refused)?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    Ok(json(StatusCode::OK, &Projects { projects: found.iter().map(summary).collect(), has_more }))
}

/// Makes a project.
#[utoipa::path(post, path = "/api/studio/projects", operation_id = "studioCreateProject", tag = "studio", request_body = NewProject,
    responses((status = 201, body = Project), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<NewProject>,
) -> Result<Response, ApiError> {
    let document = body.document.checked()?.to_value()?;
    make(&app, &caller, &body.name, &document).await
}

async fn make(app: &App, caller: &Caller, name: &str, document: &Value) -> Result<Response, ApiError> {
    let (name, origin) = (nfc(name.to_owned()), caller.origin());
    let made = store(app)?.create_project(caller.tenant_name(), &name, document, &origin).await.map_err(refused)?;
    Ok(json(StatusCode::CREATED, &shown(made, caller)))
}

/// Reads a project of the caller's organisation, or one that is shared.
#[utoipa::path(get, path = "/api/studio/projects/{id}", operation_id = "studioReadProject", tag = "studio", params(("id" = String, Path)),
    responses((status = 200, body = Project), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn read(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    let project = readable(store(&app)?, &caller, &id).await?;
    Ok(json(StatusCode::OK, &shown(project, &caller)))
}

/// Saves a new version, unless somebody else did in between.
#[utoipa::path(put, path = "/api/studio/projects/{id}", operation_id = "studioSaveProject", tag = "studio", params(("id" = String, Path)),
    request_body = SaveRequest,
    responses((status = 200, body = Project), (status = 409, body = Conflict), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn save(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    JsonBody(body): JsonBody<SaveRequest>,
) -> Result<Response, ApiError> {
    let save = Save {
        based_on: body.based_on,
        document: body.document.checked()?.to_value()?,
        name: body.name.map(nfc),
        note: nfc(body.note),
        autosave: body.autosave,
        restored_from: None,
    };
    finish(&app, &caller, &id, &save).await
}

async fn finish(app: &App, caller: &Caller, id: &str, save: &Save) -> Result<Response, ApiError> {
    let saved = store(app)?.save_project(caller.tenant_name(), id, save, &caller.origin()).await.map_err(refused)?;
    Ok(match saved {
        Saved::Done(project) => json(StatusCode::OK, &shown(project, caller)),
        Saved::Conflict(project) => {
            let (seen, now) = (save.based_on, project.current.version);
            let message = format!("The project has changed: version {now} is not based on {seen}");
            let error = ApiError::conflict("project_changed", message).with_param("based_on").body().error;
            json(StatusCode::CONFLICT, &Conflict { error, current: shown(project, caller) })
        }
    })
}

/// Names a project anew, or shares it.
#[utoipa::path(patch, path = "/api/studio/projects/{id}", operation_id = "studioChangeProject", tag = "studio", params(("id" = String, Path)),
    request_body = ChangeRequest, responses((status = 200, body = Project), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn change(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    JsonBody(body): JsonBody<ChangeRequest>,
) -> Result<Response, ApiError> {
    let name = body.name.map(nfc);
    let (tenant, origin) = (caller.tenant_name(), caller.origin());
    let changed = store(&app)?.change_project(tenant, &id, name.as_deref(), body.shared, &origin).await;
    Ok(json(StatusCode::OK, &shown(changed.map_err(refused)?, &caller)))
}

/// Removes a project with all of its versions.
#[utoipa::path(delete, path = "/api/studio/projects/{id}", operation_id = "studioRemoveProject", tag = "studio", params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn remove(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    store(&app)?.remove_project(caller.tenant_name(), &id, &caller.origin()).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Copies a project, the caller's own or a shared one, into a new one of the caller's organisation.
#[utoipa::path(post, path = "/api/studio/projects/{id}/duplicate", operation_id = "studioDuplicateProject", tag = "studio",
    params(("id" = String, Path)), request_body = DuplicateRequest,
    responses((status = 201, body = Project), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn duplicate(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    JsonBody(body): JsonBody<DuplicateRequest>,
) -> Result<Response, ApiError> {
    let project = readable(store(&app)?, &caller, &id).await?;
    let document = match body.version {
        Some(version) => store(&app)?.project_version(&project.id, version).await.map_err(refused)?.document,
        None => project.current.document,
    };
    let name = body.name.unwrap_or_else(|| format!("{} (2)", project.name));
    make(&app, &caller, &name, &document).await
}

/// Versions of a project, the newest first.
#[utoipa::path(get, path = "/api/studio/projects/{id}/versions", operation_id = "studioListVersions", tag = "studio",
    params(("id" = String, Path), VersionsQuery), responses((status = 200, body = Versions), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn versions(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    QueryOf(query): QueryOf<VersionsQuery>,
) -> Result<Response, ApiError> {
    let limit = limit(query.limit)?;
    let project = readable(store(&app)?, &caller, &id).await?;
    let found = store(&app)?.project_versions(&project.id, query.before, limit + 1).await.map_err(refused)?;
    let has_more = found.len() > limit as usize;
    let versions = found.into_iter().take(limit as usize).map(|version| told(version, false)).collect();
    Ok(json(StatusCode::OK, &Versions { versions, has_more }))
}

/// One version with its document.
#[utoipa::path(get, path = "/api/studio/projects/{id}/versions/{version}", operation_id = "studioReadVersion", tag = "studio",
    params(("id" = String, Path), ("version" = i64, Path)), responses((status = 200, body = Version), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn version(
    State(app): State<App>,
    caller: Caller,
    PathVersion(id, version): PathVersion,
) -> Result<Response, ApiError> {
    let project = readable(store(&app)?, &caller, &id).await?;
    let version = store(&app)?.project_version(&project.id, version).await.map_err(refused)?;
    Ok(json(StatusCode::OK, &told(version, true)))
}

/// Makes a new version with the document of an earlier one.
#[utoipa::path(post, path = "/api/studio/projects/{id}/versions/{version}/restore", operation_id = "studioRestoreVersion", tag = "studio",
    params(("id" = String, Path), ("version" = i64, Path)), request_body = RestoreRequest,
    responses((status = 200, body = Project), (status = 409, body = Conflict), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn restore(
    State(app): State<App>,
    caller: Caller,
    PathVersion(id, version): PathVersion,
    JsonBody(body): JsonBody<RestoreRequest>,
) -> Result<Response, ApiError> {
    let project = readable(store(&app)?, &caller, &id).await?;
    let earlier = store(&app)?.project_version(&project.id, version).await.map_err(refused)?;
    let save =
        Save { based_on: body.based_on, document: earlier.document, restored_from: Some(version), ..Save::default() };
    finish(&app, &caller, &id, &save).await
}

/// The project, if this caller may read it.
///
/// # Errors
/// 404 where there is none, or it is another organisation's and not shared: both look the same.
pub(crate) async fn readable(store: &Store, caller: &Caller, id: &str) -> Result<Stored, ApiError> {
    let project = store.project(id).await.map_err(refused)?;
    if project.tenant == caller.tenant_name() || project.shared {
        return Ok(project);
    }
    Err(refused(StoreError::NotFound { kind: "project", id: project.id }))
}

/// How many rows an answer lists.
///
/// # Errors
/// 400 outside of 1 to 200.
pub(crate) fn limit(limit: Option<u32>) -> Result<u32, ApiError> {
    let limit = limit.unwrap_or(50);
    if (1..=MOST_LISTED).contains(&limit) {
        return Ok(limit);
    }
    Err(ApiError::invalid_value("limit", format!("limit must be between 1 and {MOST_LISTED}")))
}

fn summary(project: &Stored) -> Summary {
    let text = |field: &str| project.current.document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    Summary {
        id: project.id.clone(),
        name: project.name.clone(),
        model: text("model"),
        mode: text("mode"),
        version: project.current.version,
        shared: project.shared,
        created_at: project.created_at.to_string(),
        changed_at: project.changed_at.to_string(),
    }
}

fn shown(project: Stored, caller: &Caller) -> Project {
    Project {
        summary: summary(&project),
        writable: project.tenant == caller.tenant_name(),
        saved_by: project.current.saved_by,
        document: project.current.document,
    }
}

fn told(version: ProjectVersion, with_document: bool) -> Version {
    Version {
        version: version.version,
        saved_at: version.saved_at.to_string(),
        saved_by: version.saved_by,
        note: version.note,
        autosave: version.autosave,
        restored_from: version.restored_from,
        document: with_document.then_some(version.document),
    }
}
