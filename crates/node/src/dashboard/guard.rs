//! What every request passes before its handler: the name of the host, where it comes from, the session, and what goes out with the answer.
//!
//! A page of another site can make a browser send requests here, and can have its own name point to 127.0.0.1. So the `Host` must be one of
//! ours, a request that changes something must come from our own pages (`Origin`, `Sec-Fetch-Site`) and repeat a word that only they know.
//! Never: an answer without a content security policy. Limits: nothing of a body is read here.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::{Auth, Opened, SESSION_MS_MAX};
use crate::answer::Refused;

/// Header that repeats the session's word.
pub const CSRF_HEADER: HeaderName = HeaderName::from_static("x-cairn-csrf");
/// Policy of our own pages: nothing from elsewhere, no inline script, no frame.
pub const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self'; \
    font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Policy of what clients stored: shown, never run, and in an origin of its own.
pub const OBJECT_POLICY: &str = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'";

/// Whom the front door lets in.
#[derive(Clone)]
pub struct Door {
    auth: Arc<Auth>,
    /// Names under which this dashboard is asked for, in lower case, with their ports.
    hosts: Arc<[String]>,
    /// Cookies do not tell ports apart: two dashboards on one machine have two names.
    cookie: Arc<str>,
}

/// The session of a request, put there by [`Door::check_session`].
#[derive(Debug, Clone)]
pub struct SessionId(pub String);

impl Door {
    /// The door of a dashboard that listens on `address`; `more` names reach it too, through a proxy.
    pub fn new(auth: Arc<Auth>, address: SocketAddr, more: &[String]) -> Door {
        let port = address.port();
        let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}"), address.to_string()];
        let hosts = own.into_iter().chain(more.iter().map(|name| name.to_ascii_lowercase())).collect();
        Door { auth, hosts, cookie: format!("cairn_session_{port}").into() }
    }

    /// Passwords and sessions.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    fn knows_host(&self, headers: &HeaderMap) -> bool {
        let mut all = headers.get_all(header::HOST).iter();
        let (Some(Ok(host)), None) = (all.next().map(HeaderValue::to_str), all.next()) else { return false };
        self.hosts.contains(&host.to_ascii_lowercase())
    }

    /// Whether a browser says that one of our pages asks; programs say nothing.
    fn is_own_page(&self, headers: &HeaderMap) -> bool {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().to_ascii_lowercase());
        let origin = text(header::ORIGIN).is_none_or(|origin| {
            let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            host.is_some_and(|host| self.hosts.iter().any(|own| own == host))
        });
        let site = text(HeaderName::from_static("sec-fetch-site")).is_none_or(|site| site == "same-origin" || site == "none");
        origin && site
    }

    /// The id of the session in a request's cookies.
    pub fn session_id(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == &*self.cookie).map(|(_, id)| id.to_owned())
    }

    /// The cookie that begins a session, or ends it.
    pub fn cookie(&self, opened: Option<&Opened>) -> HeaderValue {
        let (id, age) = opened.map_or(("", 0), |opened| (opened.id.as_str(), SESSION_MS_MAX / 1000));
        let text = format!("{}={id}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict", self.cookie);
        HeaderValue::try_from(text).expect("hex digits and words are a header value")
    }

    /// The first gate, of every request: host, origin; and what goes out with every answer.
    pub async fn check_origin(State(door): State<Door>, request: Request, next: Next) -> Response {
        let refused = if !door.knows_host(request.headers()) {
            let remedy = "use http://127.0.0.1 and the port, or start with --dashboard-host NAME for a proxy's name";
            Some(Refused::new(StatusCode::MISDIRECTED_REQUEST, "WrongHost", "this dashboard does not go by that name", remedy))
        } else if !request.method().is_safe() && !door.is_own_page(request.headers()) {
            let remedy = "open the dashboard itself and do it there";
            Some(Refused::new(StatusCode::FORBIDDEN, "CrossSite", "the request comes from a page of another site", remedy))
        } else {
            None
        };
        let mut response = match refused {
            Some(refused) => refused.into_response(),
            None => next.run(request).await,
        };
        let headers = response.headers_mut();
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(PAGE_POLICY));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        for (name, value) in [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
            (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    /// The second gate, of all that is not for everybody: a live session, and its word where something changes.
    pub async fn check_session(State(door): State<Door>, mut request: Request, next: Next) -> Response {
        let remedy = "open the dashboard and enter the password";
        let found = door.session_id(request.headers()).and_then(|id| door.auth.csrf_of(&id).map(|csrf| (id, csrf)));
        let Some((id, csrf)) = found else {
            return Refused::new(StatusCode::UNAUTHORIZED, "NoSession", "there is no session, or it has ended", remedy)
                .into_response();
        };
        let repeated = request.headers().get(CSRF_HEADER).is_some_and(|word| word.as_bytes() == csrf.as_bytes());
        if !is_reading(request.method()) && !repeated {
            let message = format!("the header {CSRF_HEADER} does not have the session's word");
            return Refused::new(StatusCode::FORBIDDEN, "NoCsrfWord", message, "load the page again").into_response();
        }
        request.extensions_mut().insert(SessionId(id));
        next.run(request).await
    }
}

fn is_reading(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}
