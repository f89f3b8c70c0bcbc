//! Passwords, sessions and guesses, with a clock of the test's own.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::world::SystemRng;

#[derive(Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::Relaxed))
    }
}

fn open(dir: &Path) -> (Auth, Arc<Hand>) {
    let clock = Arc::new(Hand::default());
    (Auth::open(&dir.join("dashboard"), clock.clone(), Arc::new(SystemRng)).unwrap(), clock)
}

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn the_first_password_needs_the_token_and_is_chosen_once() {
    let root = tempfile::tempdir().unwrap();
    let (auth, _) = open(root.path());
    let token = first_token(&auth.dir).unwrap();
    assert!(matches!(auth.log_in(PASSWORD.into()).await, Err(AuthError::NotChosen)));
    assert!(matches!(auth.choose_first("0", PASSWORD.into()).await, Err(AuthError::Wrong("token"))));
    assert!(matches!(auth.choose_first(&token, "too short".into()).await, Err(AuthError::Unfit)));
    let opened = auth.choose_first(&token, PASSWORD.into()).await.unwrap();
    assert_eq!(auth.csrf_of(&opened.id), Some(opened.csrf));
    assert_eq!((first_token(&auth.dir), auth.is_chosen()), (None, true));
    assert!(matches!(auth.choose_first(&token, PASSWORD.into()).await, Err(AuthError::Chosen)));
    assert!(matches!(auth.log_in("something else".into()).await, Err(AuthError::Wrong("password"))));
    let stored = std::fs::read_to_string(auth.dir.join(PASSWORD_FILE)).unwrap();
    assert!(stored.starts_with("$argon2id$") && !stored.contains(PASSWORD), "{stored}");
    drop(auth);
    let (auth, _) = open(root.path());
    assert_eq!(first_token(&auth.dir), None, "a start makes no second door");
    auth.log_in(PASSWORD.into()).await.unwrap();
}

#[tokio::test]
async fn sessions_end_by_time_by_will_and_with_their_password() {
    let root = tempfile::tempdir().unwrap();
    let (auth, clock) = open(root.path());
    let token = first_token(&auth.dir).unwrap();
    let first = auth.choose_first(&token, PASSWORD.into()).await.unwrap();
    let second = auth.log_in(PASSWORD.into()).await.unwrap();
    auth.log_out(&first.id);
    assert!(auth.csrf_of(&first.id).is_none() && auth.csrf_of(&second.id).is_some() && auth.csrf_of("").is_none());
    clock.0.store(SESSION_MS_MAX - 1, Ordering::Relaxed);
    assert!(auth.csrf_of(&second.id).is_some());
    clock.0.store(SESSION_MS_MAX, Ordering::Relaxed);
    assert!(auth.csrf_of(&second.id).is_none());

    let old = auth.log_in(PASSWORD.into()).await.unwrap();
    assert!(matches!(auth.change("wrong wrong".into(), "a new password".into()).await, Err(AuthError::Wrong(_))));
    let new = auth.change(PASSWORD.into(), "a new password".into()).await.unwrap();
    assert!(auth.csrf_of(&old.id).is_none() && auth.csrf_of(&new.id).is_some());
    let token = reset(&auth.dir, &SystemRng).unwrap();
    assert!(auth.csrf_of(&new.id).is_none(), "a reset beside the running daemon ends its sessions");
    auth.choose_first(&token, PASSWORD.into()).await.unwrap();
}

#[tokio::test]
async fn who_guesses_waits() {
    let root = tempfile::tempdir().unwrap();
    let (auth, clock) = open(root.path());
    auth.choose_first(&first_token(&auth.dir).unwrap(), PASSWORD.into()).await.unwrap();
    for _ in 0..WRONG_FREE {
        assert!(matches!(auth.log_in("guess guess".into()).await, Err(AuthError::Wrong(_))));
    }
    assert!(matches!(auth.log_in(PASSWORD.into()).await, Err(AuthError::Wait(1))), "even with the right one");
    clock.0.store(1000, Ordering::Relaxed);
    assert!(matches!(auth.log_in("guess guess".into()).await, Err(AuthError::Wrong(_))));
    assert!(matches!(auth.log_in(PASSWORD.into()).await, Err(AuthError::Wait(2))));
    clock.0.store(3000, Ordering::Relaxed);
    auth.log_in(PASSWORD.into()).await.unwrap();
    assert!(matches!(auth.log_in("guess guess".into()).await, Err(AuthError::Wrong(_))), "the count begins anew");
    auth.log_in(PASSWORD.into()).await.unwrap();
}

#[tokio::test]
async fn the_oldest_session_makes_room() {
    let root = tempfile::tempdir().unwrap();
    let (auth, clock) = open(root.path());
    let first = auth.choose_first(&first_token(&auth.dir).unwrap(), PASSWORD.into()).await.unwrap();
    clock.0.store(1, Ordering::Relaxed);
    let known = auth.password().unwrap();
    let last = (0..SESSIONS_MAX).map(|_| auth.begin(&mut auth.state(), &known)).last().unwrap();
    assert!(auth.csrf_of(&first.id).is_none() && auth.csrf_of(&last.id).is_some());
    assert_eq!(auth.state().sessions.len(), SESSIONS_MAX);
}
