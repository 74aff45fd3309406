//! Errors on the wire: RFC 9457 problem details, by one table from codes to statuses.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    access::Scope,
    error::{Code, Error, ErrorKind},
};

/// Why a request failed: RFC 9457, `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// `urn:pilaster:` and the code.
    r#type: String,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The stable code, to match on.
    code: &'static str,
    /// What is wrong, and where.
    message: String,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The mend.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The SQLSTATE that Postgres would give.
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlstate: Option<&'static str>,
    /// Where in the SQL, in characters from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
    /// Under which the log has more.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// An error on its way out; what passes by puts in the request's id and logs it.
#[derive(Clone, Debug)]
pub(super) struct Failure(pub(super) Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        // The body is made where the request's id is known; see `request::pass`.
        let mut response = status(self.0.code()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The error as somebody with this scope is told it. A tenant is told the code and where to ask, but no words that a run, the store or a
/// fault of ours has made: those may speak of rows and of others. The log has them, under the request's id.
pub(super) fn told(error: &Error, scope: &Scope) -> Error {
    let has_fixed_words = matches!(
        error.code(),
        Code::DeadlineExceeded | Code::Cancelled | Code::OutOfMemory | Code::ResultTooLarge | Code::ServerFull
    );
    let is_made_of_more = error.is_of_run() || error.kind() == ErrorKind::Internal || error.code() == Code::Unavailable;
    if *scope == Scope::All || has_fixed_words || !is_made_of_more {
        return error.clone();
    }
    let message = match error.kind() {
        ErrorKind::InvalidArgument => "the query fails on a value that it computes with",
        _ => "the request failed",
    };
    let mut told = Error::new(error.code(), message).with_hint("the log has more under the request's id");
    if let Some(state) = error.sqlstate() {
        told = told.with_sqlstate(state);
    }
    if let Some(delay) = error.retry_after() {
        told = told.with_retry_after(delay);
    }
    told
}

/// The whole reply of an error.
pub(super) fn response(error: &Error, status: StatusCode, request_id: &str) -> Response {
    let body = Problem {
        status: status.as_u16(),
        title: status.canonical_reason().unwrap_or("Error"),
        ..problem(error, Some(request_id))
    };
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(delay) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
    }
    response
}

pub(super) fn problem(error: &Error, request_id: Option<&str>) -> Problem {
    let status = status(error.code());
    Problem {
        r#type: format!("urn:pilaster:{}", error.code()),
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        code: error.code().as_str(),
        message: error.message().to_owned(),
        detail: error.detail().map(str::to_owned),
        hint: error.hint().map(str::to_owned),
        sqlstate: error.sqlstate(),
        position: error.position(),
        request_id: request_id.map(str::to_owned),
    }
}

/// The table: each code's status.
pub(super) const fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidSql
        | Code::UnsupportedSql
        | Code::InvalidValue
        | Code::InvalidParameter
        | Code::MissingParameter
        | Code::UnknownParameter
        | Code::InvalidRequest
        | Code::UnrepresentableValue => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound | Code::SnapshotNotFound => StatusCode::NOT_FOUND,
        Code::RunInProgress | Code::Conflict => StatusCode::CONFLICT,
        Code::StatementTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::ResultTooLarge | Code::OutOfMemory => StatusCode::UNPROCESSABLE_ENTITY,
        Code::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
        Code::ServerFull | Code::SnapshotPending | Code::Unavailable | Code::ShuttingDown | Code::NotRouted => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::DeadlineExceeded | Code::NotCached => StatusCode::GATEWAY_TIMEOUT,
        // 499 is nginx's "client closed request"; nobody is left to read it, but for who was stopped by an operator.
        Code::Cancelled => match StatusCode::from_u16(499) {
            Ok(status) => status,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        },
        Code::InvalidConfig | Code::CorruptStore | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(super) async fn not_found(uri: axum::http::Uri) -> Failure {
    Failure(
        Error::new(Code::NotFound, format!("there is no route {}", uri.path()))
            .with_hint("/docs lists the routes there are"),
    )
}

pub(super) async fn method_not_allowed() -> Response {
    let error =
        Error::new(Code::InvalidRequest, "this route does not take that method").with_hint("/docs says which it takes");
    let mut response = Failure(error).into_response();
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status() {
        let table: Vec<String> = Code::ALL
            .iter()
            .map(|code| format!("{:22} {:?} {}", code.as_str(), code.kind(), status(*code).as_u16()))
            .collect();
        insta::assert_snapshot!(table.join("\n"));
    }
}
