//! Prometheus' answer envelope: `{"status":"success","data":…}` and `{"status":"error","errorType":…}`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::NotReady;
use super::params::quote;
use crate::error::{Error, Kind};
use crate::server::errors::names;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// What a client should wait, in seconds, before it sends again what could not be taken now.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// What a handler of the API gives back.
pub(super) type Reply = Result<Response, ApiError>;

/// An error as the API answers it.
#[derive(Debug)]
pub(super) enum ApiError {
    /// An error in the envelope.
    Enveloped {
        /// The HTTP status.
        status: StatusCode,
        /// Prometheus' `errorType`.
        error_type: &'static str,
        /// The text.
        message: String,
    },
    /// Before or after the node's time: plain text.
    NotReady(NotReady),
}

impl ApiError {
    /// 400 `bad_data`.
    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        let (status, error_type) = (StatusCode::BAD_REQUEST, "bad_data");
        Self::Enveloped { status, error_type, message: message.into() }
    }

    /// What Prometheus says of the admin API; its status for `unavailable` is the default one, 500.
    pub(super) fn admin_disabled() -> Self {
        let (status, error_type) = (StatusCode::INTERNAL_SERVER_ERROR, "unavailable");
        Self::Enveloped { status, error_type, message: "admin APIs disabled".to_owned() }
    }
}

impl From<NotReady> for ApiError {
    fn from(not_ready: NotReady) -> Self {
        Self::NotReady(not_ready)
    }
}

/// `invalid parameter "name": why`.
pub(super) fn invalid_parameter(name: &str, why: impl std::fmt::Display) -> ApiError {
    ApiError::bad_data(format!("invalid parameter {}: {why}", quote(name)))
}

/// The error of a query's text: bad data is the parameter's fault, everything else keeps its own status.
pub(super) fn query_error(error: Error) -> ApiError {
    match error.kind() {
        Kind::Syntax | Kind::Invalid => invalid_parameter("query", error),
        _ => error.into(),
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let names = names(error.kind());
        let status = StatusCode::from_u16(names.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(%error, "a request failed");
        }
        Self::Enveloped { status, error_type: names.error_type, message: error.to_string() }
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    status: &'static str,
    #[serde(rename = "errorType")]
    error_type: &'a str,
    error: &'a str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error_type, message) = match self {
            Self::NotReady(not_ready) => return not_ready.into_response(),
            Self::Enveloped { status, error_type, message } => (status, error_type, message),
        };
        let body = ErrorBody { status: "error", error_type, error: &message };
        let body = serde_json::to_vec(&body).expect("three strings are JSON");
        let mut response = json_bytes(body);
        *response.status_mut() = status;
        if error_type == names(Kind::Unavailable).error_type {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        response
    }
}

#[derive(Serialize)]
struct SuccessBody<'a, T> {
    status: &'static str,
    data: T,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

/// 200 with `data`.
pub(super) fn success(data: impl Serialize) -> Reply {
    success_with(data, &[])
}

/// 200 with `data` and warnings.
pub(super) fn success_with(data: impl Serialize, warnings: &[String]) -> Reply {
    let body = serde_json::to_vec(&SuccessBody { status: "success", data, warnings })
        .map_err(|e| Error::internal("an answer is not JSON").caused_by(e))?;
    Ok(json_bytes(body))
}

/// 200 with a body that is complete JSON.
pub(super) fn json_bytes(body: Vec<u8>) -> Response {
    json_body(Body::from(body))
}

/// The same with a body that is written while it is sent.
pub(super) fn json_body(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// Plain text with a status.
pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

/// Go's `http.Error`, with `Retry-After` when the client should try again.
pub(super) fn text_error(status: StatusCode, message: &str) -> Response {
    let mut response = text(status, format!("{message}\n"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}

/// An error below as plain text, for doors that do not speak JSON.
pub(super) fn text_from(error: &Error) -> Response {
    let status = StatusCode::from_u16(names(error.kind()).status);
    text_error(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &error.to_string())
}
