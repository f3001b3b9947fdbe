//! What training of any size takes on other people's machines: the arithmetic of `saem plan`, for a page with a slider.

use axum::http::StatusCode;
use axum::response::Response;
use saem_train::cluster::{Hardware, Question, hardware, plan as cluster_plan};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::{JsonBody, blocking, json};
use crate::{ApiError, ErrorBody};

/// A size, and what there is for it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioPlanRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanRequest {
    /// Parameters.
    #[schema(minimum = 1)]
    parameters: f64,
    /// Tokens of text.
    #[schema(minimum = 0)]
    tokens: f64,
    /// Images beside them.
    #[serde(default)]
    #[schema(minimum = 0)]
    images: f64,
    /// Tokens of a sequence; 2,048 where null.
    #[schema(minimum = 1)]
    sequence: Option<u64>,
    /// Days that it may take; 90 where null.
    #[schema(minimum = 0)]
    days: Option<f64>,
    /// Devices that there are; as many as end in time where null.
    #[schema(minimum = 1)]
    devices: Option<u64>,
    /// Names of devices; all that are known where empty.
    #[serde(default)]
    hardware: Vec<String>,
}

/// Plans the training of a model of any size: for each kind of device the fewest that hold it, those that end in time,
/// their layout, memory, days, energy and cost. The answer is what `saem plan --json` prints.
#[utoipa::path(post, path = "/api/studio/plan", operation_id = "studioPlan", tag = "studio", request_body = PlanRequest,
    responses((status = 200, body = Object), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn plan(JsonBody(body): JsonBody<PlanRequest>) -> Result<Response, ApiError> {
    if body.hardware.len() > hardware::all().len() {
        return Err(ApiError::invalid_value("hardware", "hardware names more devices than there are"));
    }
    let find = |(place, name): (usize, &String)| {
        let unknown = || ApiError::invalid_value(format!("hardware[{place}]"), format!("There is no device `{name}`"));
        hardware::find(name).ok_or_else(unknown)
    };
    let devices: Vec<&'static Hardware> = match body.hardware.as_slice() {
        [] => hardware::all().iter().collect(),
        names => names.iter().enumerate().map(find).collect::<Result<_, _>>()?,
    };
    let usual = Question::default();
    let question = Question {
        parameters: body.parameters,
        tokens: body.tokens,
        images: body.images,
        sequence: body.sequence.unwrap_or(usual.sequence),
        days: body.days.unwrap_or(usual.days),
        devices: body.devices,
        ..usual
    };
    let answer: Value = blocking(move || {
        let answer = cluster_plan(&question, &devices);
        let answer = answer.map_err(|error| ApiError::invalid_value(error.what, error.to_string()))?;
        serde_json::to_value(&answer).map_err(|_| ApiError::internal())
    })
    .await?;
    Ok(json(StatusCode::OK, &answer))
}
