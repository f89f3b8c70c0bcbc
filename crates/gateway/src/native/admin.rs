//! Status, access keys, buckets and collection.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use cairn_client::{Quote, QuoteError};
use cairn_types::Amount;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Native;
use super::answer::Refused;
use crate::objects::api::{KeyScope, ObjectError};
use crate::objects::checkpoint::Part;

/// `GET /v1/status`
pub async fn status(State(native): State<Native>) -> Json<Value> {
    let mut fields = (native.about)();
    fields.insert("objects".into(), json!(native.objects.stats()));
    let tier =
        native.client.tier().map(|tier| json!({"redundancy": tier.redundancy.to_string(), "receipts_min": tier.receipts_min}));
    fields.insert("tier".into(), json!(tier));
    fields.insert("providers".into(), json!(native.client.providers()));
    Json(Value::Object(fields))
}

/// `POST /v1/collect`
pub async fn collect(State(native): State<Native>) -> Json<Value> {
    Json(json!(native.objects.collect_now().await))
}

/// `POST /v1/checkpoint`: which parts had something new to say.
pub async fn checkpoint(State(native): State<Native>) -> Result<Json<Value>, Refused> {
    // Its own task: a caller that goes away breaks nothing off.
    let objects = native.objects.clone();
    let written = tokio::spawn(async move { objects.checkpoint_now().await }).await;
    let written = written.map_err(|error| ObjectError::Internal(error.to_string()))??;
    let name = |part: &Part| match part {
        Part::Settings => "settings",
        Part::Objects => "objects",
    };
    Ok(Json(json!({"written": written.iter().map(name).collect::<Vec<_>>()})))
}

/// `GET /v1/health`
pub async fn health(State(native): State<Native>) -> Result<Json<Value>, Refused> {
    Ok(Json(json!(native.objects.health().await?)))
}

/// `POST /v1/repair`
pub async fn repair(State(native): State<Native>) -> Result<Json<Value>, Refused> {
    // Its own task: a caller that goes away breaks nothing off.
    let objects = native.objects.clone();
    let repaired = tokio::spawn(async move { objects.repair_now().await }).await;
    Ok(Json(json!(repaired.map_err(|error| ObjectError::Internal(error.to_string()))??)))
}

/// `GET /v1/keys`
pub async fn list_keys(State(native): State<Native>) -> Result<Json<Value>, Refused> {
    Ok(Json(json!({"keys": native.objects.list_keys().await?})))
}

/// Body of `POST /v1/keys`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    #[serde(default)]
    label: String,
    #[serde(default)]
    scope: KeyScope,
}

/// `POST /v1/keys`
pub async fn create_key(State(native): State<Native>, Json(new): Json<NewKey>) -> Result<(StatusCode, Json<Value>), Refused> {
    let key = native.objects.create_key_for(&new.label, new.scope).await?;
    Ok((StatusCode::CREATED, Json(json!(key))))
}

/// `DELETE /v1/keys/{access_key}`
pub async fn revoke_key(State(native): State<Native>, Path(access_key): Path<String>) -> Result<StatusCode, Refused> {
    native.objects.revoke_key(&access_key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/buckets`
pub async fn list_buckets(State(native): State<Native>) -> Result<Json<Value>, Refused> {
    Ok(Json(json!({"buckets": native.objects.list_buckets().await?})))
}

/// `GET /v1/buckets/{bucket}`: what it holds and costs.
pub async fn bucket(State(native): State<Native>, Path(bucket): Path<String>) -> Result<Json<Value>, Refused> {
    let cost = native.objects.bucket_cost(&bucket).await?;
    let quote = quote(&native, cost.len).await;
    let mut fields = json!(cost);
    fields["estimate"] = quote.map_or_else(|error| json!({"error": error.to_string()}), |quote| json!(quote));
    Ok(Json(fields))
}

/// Body of `PUT /v1/buckets/{bucket}/budget`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBudget {
    month_max: Option<Amount>,
}

/// `PUT /v1/buckets/{bucket}/budget`
pub async fn set_budget(
    State(native): State<Native>,
    Path(bucket): Path<String>,
    Json(new): Json<NewBudget>,
) -> Result<Json<Value>, Refused> {
    native.objects.set_bucket_budget(&bucket, new.month_max).await?;
    Ok(Json(json!({"name": bucket, "month_max": new.month_max})))
}

/// Query of `GET /v1/estimate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedEstimate {
    len: u64,
}

/// `GET /v1/estimate`
pub async fn estimate(
    State(native): State<Native>,
    Query(WantedEstimate { len }): Query<WantedEstimate>,
) -> Result<Json<Value>, Refused> {
    Ok(Json(json!(quote(&native, len).await?)))
}

async fn quote(native: &Native, len: u64) -> Result<Quote, ObjectError> {
    native.client.quote(len).await.map_err(|error| match error {
        QuoteError::Providers(_) => ObjectError::NotEnoughProviders(error.to_string()),
        QuoteError::Uncountable => ObjectError::InvalidRequest(error.to_string()),
    })
}

/// `PUT /v1/buckets/{bucket}`
pub async fn create_bucket(
    State(native): State<Native>,
    Path(bucket): Path<String>,
) -> Result<(StatusCode, Json<Value>), Refused> {
    let made = native.objects.create_bucket(&bucket, &native.owner, "").await?;
    Ok((StatusCode::CREATED, Json(json!(made))))
}

/// `DELETE /v1/buckets/{bucket}`
pub async fn delete_bucket(State(native): State<Native>, Path(bucket): Path<String>) -> Result<StatusCode, Refused> {
    native.objects.delete_bucket(&bucket).await?;
    Ok(StatusCode::NO_CONTENT)
}
