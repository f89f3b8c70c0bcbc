//! `cairn localnet`: a whole network on this machine, every node its own process with its own data directory.
//!
//! Never: an address other than loopback. Limits: see [`plan`] and [`supervisor`].

mod chain;
mod child;
pub mod plan;
pub mod supervisor;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cairn_types::port::draw;
use hyper::Method;
use serde_json::{Value, json};

use crate::args::{self, Common, LocalnetCommand};
use crate::config::Dashboard;
use crate::dashboard;
use crate::home;
use crate::outcome::{ExitCode, Failure, exit_code, report, say, say_json};
use crate::socket::{self, Dialer, LOCALNET_SOCKET, empty, encoded, request};
use crate::stop::Stop;
use crate::world::SystemRng;
use plan::{Name, Plan, Wanted};
use supervisor::Supervisor;

/// What the supervisor may take beyond its children: they are killed before it gives up.
const SUPERVISOR_MS_MORE: u64 = 3_000;

/// Runs the command.
pub async fn localnet(args: args::Localnet, common: &Common) -> Result<()> {
    match args.command {
        None => run(args, common).await,
        Some(LocalnetCommand::Restart(args)) => {
            let name: Name = args.name.parse()?;
            let path = format!("/v1/restart/{}", encoded(&name.to_string()));
            let answer: Value = dialer(&args.call).json(request(Method::POST, &path, empty())?).await?;
            show(&args.call, &answer)
        }
        Some(LocalnetCommand::Status(call)) => {
            let answer = dialer(&call).get("/v1/status", Duration::from_secs(10)).await?;
            show(&call, &answer)
        }
        Some(LocalnetCommand::Stop(call)) => {
            let _: Value = dialer(&call).json(request(Method::POST, "/v1/stop", empty())?).await?;
            Ok(())
        }
    }
}

fn dialer(call: &args::LocalnetCall) -> Dialer {
    let remedy = format!("start it: cairn localnet --dir {}", call.dir.display());
    Dialer::new(call.dir.join(LOCALNET_SOCKET), remedy)
}

fn show(call: &args::LocalnetCall, answer: &Value) -> Result<()> {
    if call.json {
        return say_json(answer);
    }
    let all = [&answer["chain"], &answer["bootstrap"], &answer["gateway"]]
        .into_iter()
        .chain(answer["providers"].as_array().into_iter().flatten());
    for process in all {
        let state = match (process["pid"].as_u64(), process["ended"].as_str()) {
            (Some(pid), _) => format!("pid {pid}"),
            (None, Some(how)) => format!("ended: {how}"),
            (None, None) => "not started".to_owned(),
        };
        let text = |field: &str| process[field].as_str().unwrap_or_default().to_owned();
        say(format_args!("{:10} {:28} {}", text("name"), state, text("peer_id")));
    }
    Ok(())
}

async fn run(args: args::Localnet, common: &Common) -> Result<()> {
    let dir = args.dir.clone().context("clap asks for --dir")?;
    let dir = std::path::absolute(&dir)?;
    if let Err(error) = home::make_private_dir(&dir)
        && !dir.is_dir()
    {
        return Err(error); // an open directory will do: everything secret in it has its own mode
    }
    let _lock = home::take_lock(&dir)?;
    let mut stop = Stop::listen(common.stop_at_stdin_end, supervisor::STOP_MS_MAX + SUPERVISOR_MS_MORE)?;
    let wanted = Wanted {
        providers: args.providers,
        space: args.space,
        redundancy: args.redundancy,
        s3_listen: args.s3_listen,
        paid: if args.free { Some(false) } else { (args.paid || args.epoch.is_some() || args.chain.is_some()).then_some(true) },
        chain: args.chain.clone(),
        epoch: args.epoch,
        repair_after: args.repair_after,
        court: args.court,
        test_clock: args.test_clock,
    };
    let plan = Plan::take_up(&dir, &wanted, || format!("localnet-{}", hex::encode(draw::<4>(&SystemRng))))?;
    let (on_other_chain, chain_url) = (plan.is_on_other_chain(), plan.chain_url());
    let supervisor = Supervisor::new(&dir, plan, common)?;
    let (listener, _file) = socket::bind(&dir.join(LOCALNET_SOCKET))?;
    let control = tokio::spawn(axum::serve(listener, router(supervisor.clone())).into_future());
    let dashboard = Dashboard::at(supervisor.dashboard_listen());
    let dashboard = dashboard::start(&dashboard, &dir, supervisor.shown()).await?;
    let starting = async {
        if on_other_chain {
            chain::prepare(&dir, &args, &supervisor.wallets(), &chain_url).await?;
        }
        supervisor.start_all().await
    };
    let ready = tokio::select! {
        ready = starting => ready.map(|()| true),
        () = stop.asked() => Ok(false),
    };
    let done = match ready {
        Ok(true) => {
            let mut ready = supervisor.describe();
            ready["dashboard"] = json!(dashboard.as_ref().map(|dashboard| dashboard.url.clone()));
            ready["dashboard_invitation"] = json!(dashboard.as_ref().map(dashboard::Dashboard::invitation));
            tell(&ready, args.json)?;
            tokio::select! {
                () = stop.asked() => {}
                () = supervisor.stop_asked.notified() => {}
            }
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    tracing::info!("stopping");
    if let Some(dashboard) = dashboard {
        dashboard.stop().await;
    }
    supervisor.stop_all().await;
    control.abort();
    done
}

fn tell(ready: &Value, json: bool) -> Result<()> {
    if json {
        return say_json(ready);
    }
    let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
    let dashboard = text("dashboard_invitation");
    let (endpoint, region, access, secret) = (text("endpoint"), text("region"), text("access_key"), text("secret_key"));
    let dir = text("dir");
    let providers = ready["providers"].as_array().map_or(0, Vec::len);
    let (ledger, paid) = match ready["chain_url"].as_str() {
        Some(url) => (
            format!(", a ledger at {url}"),
            format!(
                "What it costs, and what providers earn:\n\n  cairn put FILE --estimate --dir {dir} && cairn earnings --dir {dir}\n\n"
            ),
        ),
        None => (String::new(), String::new()),
    };
    say(format_args!(
        "{providers} providers, one gateway{ledger}: ready.\n\n  endpoint    {endpoint}\n  region      {region}\n  access key  {access}\n  secret key  {secret}\n  dashboard   {dashboard}\n\n\
         Paste this:\n\n  AWS_ACCESS_KEY_ID={access} AWS_SECRET_ACCESS_KEY={secret} AWS_DEFAULT_REGION={region} aws --endpoint-url {endpoint} s3 mb s3://first\n\n\
         or:\n\n  cairn mb first --dir {dir} && cairn put FILE first/ --dir {dir}\n\n{paid}Ctrl-C ends it; the same command finds everything as it was."
    ));
    Ok(())
}

fn router(supervisor: Arc<Supervisor>) -> Router {
    Router::new()
        .route("/v1/status", get(|State(supervisor): State<Arc<Supervisor>>| async move { Json(supervisor.describe()) }))
        .route("/v1/restart/{name}", post(restart))
        .route("/v1/stop", post(stop))
        .with_state(supervisor)
}

async fn stop(State(supervisor): State<Arc<Supervisor>>) -> Json<Value> {
    supervisor.stop_asked.notify_one();
    Json(json!({"stopping": true}))
}

async fn restart(State(supervisor): State<Arc<Supervisor>>, UrlPath(name): UrlPath<String>) -> Response {
    // Its own task: a caller that goes away does not leave a process half started.
    let restarted = tokio::spawn(async move {
        supervisor.restart(name.parse()?).await?;
        anyhow::Ok(supervisor.describe())
    });
    match restarted.await {
        Ok(Ok(description)) => Json(description).into_response(),
        Ok(Err(error)) => refuse(&error),
        Err(error) => refuse(&anyhow!(error)),
    }
}

fn refuse(error: &anyhow::Error) -> Response {
    let status = match exit_code(error) {
        ExitCode::NotFound => StatusCode::NOT_FOUND,
        ExitCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ExitCode::Usage => StatusCode::BAD_REQUEST,
        ExitCode::Failure => StatusCode::INTERNAL_SERVER_ERROR,
    };
    tracing::error!("{}", report(error));
    let remedy = error.downcast_ref::<Failure>().map(|failure| failure.remedy.clone()).unwrap_or_default();
    let body = json!({"error": {"code": "LocalnetError", "message": error.to_string(), "remedy": remedy}});
    (status, Json(body)).into_response()
}
