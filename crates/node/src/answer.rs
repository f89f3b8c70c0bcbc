//! A refusal in the form of all control sockets: `{"error":{"code","message","remedy"}}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cairn_chain::ChainError;
use cairn_market::settlement::SettlementError;
use serde_json::json;

/// A refusal.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
    remedy: String,
}

impl Refused {
    /// A refusal with its status, its code for programs, its reason for people and what helps.
    pub fn new(status: StatusCode, code: &'static str, message: impl std::fmt::Display, remedy: impl Into<String>) -> Refused {
        Refused { status, code, message: message.to_string(), remedy: remedy.into() }
    }

    /// Something of this node's own failed.
    pub fn internal(message: impl std::fmt::Display) -> Refused {
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal", message, "look at the daemon's log")
    }

    /// What is asked for does not go now.
    pub fn conflict(message: impl std::fmt::Display, remedy: &'static str) -> Refused {
        Refused::new(StatusCode::CONFLICT, "Refused", message, remedy)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refused { status, code, message, remedy } = self;
        (status, Json(json!({"error": {"code": code, "message": message, "remedy": remedy}}))).into_response()
    }
}

impl From<ChainError> for Refused {
    fn from(error: ChainError) -> Refused {
        let remedy = "see that the ledger of --chain runs and can be reached; cairn doctor tests it";
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "LedgerUnavailable", error, remedy)
    }
}

impl From<SettlementError> for Refused {
    fn from(error: SettlementError) -> Refused {
        let (status, code, remedy) = match &error {
            SettlementError::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "LedgerUnavailable",
                "what was begun goes on once the ledger can be reached; ask again with the same id",
            ),
            SettlementError::Refused(_) => (StatusCode::CONFLICT, "LedgerRefused", "read the reason; nothing was paid"),
            SettlementError::NotEnough { .. } => {
                (StatusCode::CONFLICT, "NotEnoughCredits", "cairn wallet deposit says how to get credits")
            }
        };
        Refused::new(status, code, error, remedy)
    }
}
