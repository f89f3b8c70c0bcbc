//! `/api/session`, `/api/password`: choosing the first password, entering it, changing it, leaving.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, SET_COOKIE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::auth::{AuthError, Opened};
use super::guard::{Door, SessionId};
use crate::answer::Refused;

impl From<AuthError> for Refused {
    fn from(error: AuthError) -> Refused {
        let (status, code, remedy) = match &error {
            AuthError::Wrong(_) => (
                StatusCode::FORBIDDEN,
                "WrongPassword",
                "cairn dashboard --reset, on the machine itself, makes a new first token",
            ),
            AuthError::Wait(_) => (StatusCode::TOO_MANY_REQUESTS, "TooManyTries", "wait, then try again"),
            AuthError::Unfit => {
                (StatusCode::BAD_REQUEST, "UnfitPassword", "four words that do not belong together are a good one")
            }
            AuthError::Chosen => (StatusCode::CONFLICT, "PasswordChosen", "enter the password"),
            AuthError::NotChosen => (StatusCode::CONFLICT, "NoPassword", "open the address that cairn dashboard prints"),
            AuthError::Disk(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Internal", "look at the daemon's log"),
        };
        Refused::new(status, code, error, remedy)
    }
}

/// `GET /api/session`: whether a password was chosen, and whether this browser may look.
pub async fn show(State(door): State<Door>, headers: HeaderMap) -> Response {
    let csrf = door.session_id(&headers).and_then(|id| door.auth().csrf_of(&id));
    let state = match (door.auth().is_chosen(), &csrf) {
        (false, _) => "first",
        (true, None) => "locked",
        (true, Some(_)) => "open",
    };
    Json(json!({"state": state, "csrf": csrf, "version": env!("CARGO_PKG_VERSION")})).into_response()
}

/// Body of `POST /api/session`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    password: String,
    /// Chooses the first password.
    token: Option<String>,
}

/// `POST /api/session`: begins a session; with the first token it also chooses the password.
pub async fn log_in(State(door): State<Door>, Json(log_in): Json<LogIn>) -> Result<Response, Refused> {
    let opened = match log_in.token {
        Some(token) => door.auth().choose_first(&token, log_in.password).await,
        None => door.auth().log_in(log_in.password).await,
    };
    let opened = match opened {
        Err(AuthError::Wait(seconds)) => {
            let mut response = Refused::from(AuthError::Wait(seconds)).into_response();
            response.headers_mut().insert("retry-after", seconds.into());
            return Ok(response);
        }
        opened => opened?,
    };
    Ok(begun(&door, &opened))
}

fn begun(door: &Door, opened: &Opened) -> Response {
    ([(SET_COOKIE, door.cookie(Some(opened)))], Json(json!({"state": "open", "csrf": opened.csrf}))).into_response()
}

/// `DELETE /api/session`: ends it.
pub async fn log_out(State(door): State<Door>, Extension(SessionId(id)): Extension<SessionId>) -> Response {
    door.auth().log_out(&id);
    (StatusCode::NO_CONTENT, [(SET_COOKIE, door.cookie(None))]).into_response()
}

/// Body of `PUT /api/password`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    old: String,
    new: String,
}

/// `PUT /api/password`: replaces it; all other sessions end.
pub async fn change(State(door): State<Door>, Json(wanted): Json<NewPassword>) -> Result<Response, Refused> {
    Ok(begun(&door, &door.auth().change(wanted.old, wanted.new).await?))
}
