//! Who may see the dashboard: a password, sessions, and how often somebody may guess.
//!
//! Until there is a password, a token that lies in the data directory for its owner alone opens the page where it is chosen. The files are
//! looked at anew each time, so that `cairn dashboard --reset` works beside a running daemon; with a password go the sessions it opened.
//! Never: a password, or the id of a session, on disk or in a log. Limits: [`SESSIONS_MAX`] sessions of [`SESSION_MS_MAX`]; after
//! [`WRONG_FREE`] wrong tries each further one has to wait longer, at most [`PAUSE_MS_MAX`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use cairn_types::port::draw;
use cairn_types::{Clock, Rng, UnixMs};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::home::{make_private_dir, write_private};

/// How long a session lasts.
pub const SESSION_MS_MAX: u64 = 12 * 3_600_000;
/// Sessions at the same time; the oldest goes.
pub const SESSIONS_MAX: usize = 64;
/// Characters of a password.
pub const PASSWORD_LEN_MIN: usize = 10;
/// Bytes of a password.
pub const PASSWORD_LEN_MAX: usize = 1024;
/// Wrong tries without a pause.
pub const WRONG_FREE: u32 = 5;
/// The longest pause between two tries.
pub const PAUSE_MS_MAX: u64 = 60_000;

const PASSWORD_FILE: &str = "password";
const TOKEN_FILE: &str = "token";

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Wrong password, or wrong token.
    #[error("this is not the {0}")]
    Wrong(&'static str),
    /// Too many wrong tries.
    #[error("too many wrong tries: wait {0} s")]
    Wait(u64),
    /// A password that is too easy to guess, or too long.
    #[error("a password has {PASSWORD_LEN_MIN} characters or more, and at most {PASSWORD_LEN_MAX} bytes")]
    Unfit,
    /// There is a password already.
    #[error("the password has been chosen already")]
    Chosen,
    /// There is none yet.
    #[error("no password has been chosen yet")]
    NotChosen,
    /// The disk.
    #[error("{0:#}")]
    Disk(anyhow::Error),
}

/// A session that was just opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Its id, for the cookie.
    pub id: String,
    /// What unsafe requests have to repeat in a header.
    pub csrf: String,
}

/// Passwords and sessions of one dashboard.
pub struct Auth {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    state: Mutex<State>,
    /// One password is hashed at a time: each takes 19 MiB.
    hashing: Semaphore,
}

#[derive(Default)]
struct State {
    /// By the hash of the session's id.
    sessions: HashMap<[u8; 32], Session>,
    wrong: u32,
    next_try: UnixMs,
}

struct Session {
    csrf: String,
    ends: UnixMs,
    /// Hash of the password file under which it was opened.
    under: [u8; 32],
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Takes the password of `dir` away and draws a new first token, which it returns.
///
/// # Errors
/// The directory cannot be written.
pub fn reset(dir: &Path, rng: &dyn Rng) -> Result<String> {
    make_private_dir(dir)?;
    let token = hex::encode(draw::<16>(rng));
    write_private(&dir.join(TOKEN_FILE), token.as_bytes())?;
    match std::fs::remove_file(dir.join(PASSWORD_FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("cannot take the password away"),
        _ => Ok(token),
    }
}

/// The token with which the first password can be chosen, if there is none yet.
pub fn first_token(dir: &Path) -> Option<String> {
    read(&dir.join(TOKEN_FILE)).filter(|_| read(&dir.join(PASSWORD_FILE)).is_none())
}

impl Auth {
    /// Opens `dir`; draws a first token when there is neither a password nor a token.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Result<Auth> {
        make_private_dir(dir)?;
        if read(&dir.join(PASSWORD_FILE)).is_none() && first_token(dir).is_none() {
            reset(dir, &*rng)?;
        }
        Ok(Auth { dir: dir.to_owned(), clock, rng, state: Mutex::default(), hashing: Semaphore::new(1) })
    }

    /// Whether a password has been chosen.
    pub fn is_chosen(&self) -> bool {
        self.password().is_some()
    }

    fn password(&self) -> Option<String> {
        read(&self.dir.join(PASSWORD_FILE))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chooses the first password.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn choose_first(&self, token: &str, password: String) -> Result<Opened, AuthError> {
        self.may_try()?;
        if self.is_chosen() {
            return Err(AuthError::Chosen);
        }
        let known = first_token(&self.dir).ok_or(AuthError::NotChosen)?;
        // Hashes are compared, so that the time tells nothing of the token.
        if hash(&known) != hash(token.trim()) {
            self.note_wrong();
            return Err(AuthError::Wrong("token"));
        }
        let opened = self.set(password).await?;
        if let Err(error) = std::fs::remove_file(self.dir.join(TOKEN_FILE)) {
            tracing::warn!(%error, "the first token stays; it is of no use any more");
        }
        Ok(opened)
    }

    /// Opens a session.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn log_in(&self, password: String) -> Result<Opened, AuthError> {
        let known = self.password().ok_or(AuthError::NotChosen)?;
        if !self.verify(known.clone(), password).await? {
            return Err(AuthError::Wrong("password"));
        }
        let mut state = self.state();
        (state.wrong, state.next_try) = (0, UnixMs(0));
        Ok(self.begin(&mut state, &known))
    }

    /// Replaces the password; every other session ends.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn change(&self, old: String, new: String) -> Result<Opened, AuthError> {
        let known = self.password().ok_or(AuthError::NotChosen)?;
        if !self.verify(known, old).await? {
            return Err(AuthError::Wrong("password"));
        }
        self.set(new).await
    }

    async fn set(&self, password: String) -> Result<Opened, AuthError> {
        if password.chars().count() < PASSWORD_LEN_MIN || password.len() > PASSWORD_LEN_MAX {
            return Err(AuthError::Unfit);
        }
        let _turn = self.hashing.acquire().await.map_err(|error| AuthError::Disk(error.into()))?;
        let (salt, path) = (draw::<16>(&*self.rng), self.dir.join(PASSWORD_FILE));
        let hashing = tokio::task::spawn_blocking(move || -> Result<String> {
            let salt = SaltString::encode_b64(&salt).map_err(|error| anyhow::anyhow!("salt: {error}"))?;
            let made = Argon2::default().hash_password(password.as_bytes(), &salt);
            let text = made.map_err(|error| anyhow::anyhow!("argon2: {error}"))?.to_string();
            write_private(&path, text.as_bytes())?;
            Ok(text)
        });
        let text = hashing.await.map_err(|error| AuthError::Disk(error.into()))?.map_err(AuthError::Disk)?;
        let mut state = self.state();
        *state = State::default();
        Ok(self.begin(&mut state, &text))
    }

    async fn verify(&self, known: String, password: String) -> Result<bool, AuthError> {
        if password.len() > PASSWORD_LEN_MAX {
            return Err(AuthError::Unfit);
        }
        let _turn = self.hashing.acquire().await.map_err(|error| AuthError::Disk(error.into()))?;
        // Looked at with the turn in hand: those that queued here are judged one by one.
        self.may_try()?;
        let verifying = tokio::task::spawn_blocking(move || {
            PasswordHash::new(&known).is_ok_and(|known| Argon2::default().verify_password(password.as_bytes(), &known).is_ok())
        });
        let right = verifying.await.map_err(|error| AuthError::Disk(error.into()))?;
        if !right {
            self.note_wrong();
        }
        Ok(right)
    }

    fn may_try(&self) -> Result<(), AuthError> {
        let left_ms = self.state().next_try.since_ms(self.clock.now());
        if left_ms > 0 { Err(AuthError::Wait(left_ms.div_ceil(1000))) } else { Ok(()) }
    }

    fn note_wrong(&self) {
        let mut state = self.state();
        state.wrong = state.wrong.saturating_add(1);
        if let Some(over) = state.wrong.checked_sub(WRONG_FREE) {
            let pause_ms = 1000u64.saturating_mul(1 << over.min(10)).min(PAUSE_MS_MAX);
            state.next_try = self.clock.now().plus_ms(pause_ms);
            tracing::warn!(tries = state.wrong, pause_ms, "wrong passwords for the dashboard");
        }
    }

    fn begin(&self, state: &mut State, password_file: &str) -> Opened {
        let now = self.clock.now();
        state.sessions.retain(|_, session| session.ends > now);
        if state.sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = state.sessions.iter().min_by_key(|(_, session)| session.ends).map(|(id, _)| *id)
        {
            state.sessions.remove(&oldest);
        }
        let (id, csrf) = (hex::encode(draw::<32>(&*self.rng)), hex::encode(draw::<32>(&*self.rng)));
        let session = Session { csrf: csrf.clone(), ends: now.plus_ms(SESSION_MS_MAX), under: hash(password_file) };
        state.sessions.insert(hash(&id), session);
        Opened { id, csrf }
    }

    /// The word that unsafe requests of a live session have to repeat; `None` when there is no such session.
    pub fn csrf_of(&self, id: &str) -> Option<String> {
        let under = hash(&self.password()?);
        let state = self.state();
        let session = state.sessions.get(&hash(id))?;
        (session.ends > self.clock.now() && session.under == under).then(|| session.csrf.clone())
    }

    /// Ends a session.
    pub fn log_out(&self, id: &str) {
        self.state().sessions.remove(&hash(id));
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
