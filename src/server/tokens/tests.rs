//! The verifier in front of an authority that the test plays, in virtual time.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::time::{advance, sleep};

use super::*;

/// Answers after a while, and counts how often and how many at once it is asked.
#[derive(Clone)]
struct Played(Arc<Play>);

struct Play {
    answer: Mutex<Result<Grant, TokenError>>,
    takes: Duration,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Played {
    fn new(takes: Duration) -> Self {
        Self(Arc::new(Play {
            answer: Mutex::new(Ok(grant(&["remote_server"], None))),
            takes,
            asked: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        }))
    }

    fn answers(&self, answer: Result<Grant, TokenError>) {
        *self.0.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::Relaxed)
    }
}

impl Authority for Played {
    fn kind(&self) -> &'static str {
        "played"
    }

    fn ask<'a>(&'a self, _: &'a Secret) -> BoxFuture<'a, Result<Grant, TokenError>> {
        async {
            let play = &self.0;
            play.asked.fetch_add(1, Ordering::Relaxed);
            let now = play.at_once.fetch_add(1, Ordering::Relaxed) + 1;
            play.most_at_once.fetch_max(now, Ordering::Relaxed);
            sleep(play.takes).await;
            play.at_once.fetch_sub(1, Ordering::Relaxed);
            play.answer.lock().unwrap().clone()
        }
        .boxed()
    }
}

fn grant(scopes: &[&str], expires: Option<SystemTime>) -> Grant {
    Grant {
        user: UserId::new("alice").unwrap(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        grants: Vec::new(),
        id: None,
        expires,
    }
}

fn verifier(played: &Played, limits: &Limits) -> Verifier {
    let scopes = config::DEFAULT_SCOPES.map(|text| Scope::parse(text).unwrap());
    Verifier::ask_at(
        Box::new(played.clone()),
        scopes.to_vec(),
        limits,
        Meters::default(),
    )
}

fn token(text: &str) -> Secret {
    Secret::new(text)
}

const BROKEN: TokenError = TokenError::Unreachable(Unreachable::Status(500));
const REFUSED: TokenError = TokenError::Invalid("no");

#[tokio::test(start_paused = true)]
async fn a_good_token_is_asked_about_again_after_a_while() {
    let (played, limits) = (Played::new(Duration::ZERO), Limits::default());
    let verifier = verifier(&played, &limits);
    for _ in 0..3 {
        let account = verifier.verify(&token("t")).await.unwrap();
        assert_eq!(account.user.as_str(), "alice");
    }
    assert_eq!(played.asked(), 1);
    assert_eq!(verifier.meters.cache_hits.get(), 2);
    advance(limits.token_good).await;
    played.answers(Err(REFUSED));
    assert_eq!(verifier.verify(&token("t")).await, Err(REFUSED));
    assert_eq!(played.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_bad_token_is_refused_for_a_short_while_only() {
    let (played, limits) = (Played::new(Duration::ZERO), Limits::default());
    let verifier = verifier(&played, &limits);
    played.answers(Err(REFUSED));
    for _ in 0..2 {
        assert_eq!(verifier.verify(&token("t")).await, Err(REFUSED));
    }
    assert_eq!(played.asked(), 1);
    played.answers(Ok(grant(&["remote_server"], None)));
    advance(limits.token_bad).await;
    assert!(verifier.verify(&token("t")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_remembered_beyond_the_tokens_own_end() {
    let (played, limits) = (Played::new(Duration::ZERO), Limits::default());
    let verifier = verifier(&played, &limits);
    // Ends are told in wall-clock time, which doesn't advance here.
    let end = SystemTime::now() + Duration::from_secs(60);
    played.answers(Ok(grant(&["remote_server"], Some(end))));
    let first = verifier.verify(&token("t")).await.unwrap();
    let left = first.expires.unwrap() - Instant::now();
    assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60));
    advance(Duration::from_secs(30)).await;
    let again = verifier.verify(&token("t")).await.unwrap();
    assert_eq!((played.asked(), again.expires), (1, first.expires));
    advance(Duration::from_secs(30)).await;
    assert!(verifier.verify(&token("t")).await.is_ok());
    assert_eq!(played.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_authority_is_asked_again_at_once() {
    let played = Played::new(Duration::ZERO);
    let verifier = verifier(&played, &Limits::default());
    played.answers(Err(BROKEN));
    assert_eq!(verifier.verify(&token("t")).await, Err(BROKEN));
    assert!(!verifier.is_reachable());
    played.answers(Ok(grant(&["remote_server"], None)));
    assert!(verifier.verify(&token("t")).await.is_ok());
    assert!(verifier.is_reachable());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_many_bring_is_asked_about_once() {
    let played = Played::new(Duration::from_secs(1));
    let verifier = verifier(&played, &Limits::default());
    let t = token("t");
    let results = join_all((0..100).map(|_| verifier.verify(&t))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(played.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_does_not_take_the_others_answer_away() {
    let played = Played::new(Duration::from_secs(1));
    let verifier = verifier(&played, &Limits::default());
    let t = token("t");
    let leaves = tokio::time::timeout(Duration::from_millis(500), verifier.verify(&t));
    let (left, stayed) = tokio::join!(leaves, verifier.verify(&t));
    assert!(left.is_err());
    assert!(stayed.is_ok());
}

#[tokio::test(start_paused = true)]
async fn so_many_tokens_at_once_and_no_more() {
    let played = Played::new(Duration::from_secs(1));
    let limits = Limits {
        token_checks: 3,
        ..Limits::default()
    };
    let verifier = verifier(&played, &limits);
    let tokens: Vec<Secret> = (0..10).map(|n| token(&n.to_string())).collect();
    let results = join_all(tokens.iter().map(|t| verifier.verify(t))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(played.0.most_at_once.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn all_give_up_in_time() {
    let played = Played::new(Duration::from_secs(3600));
    let limits = Limits {
        token_checks: 1,
        ..Limits::default()
    };
    let verifier = verifier(&played, &limits);
    let late = TokenError::Unreachable(Unreachable::Late(limits.token_check));
    let began = Instant::now();
    let (one, two) = (token("1"), token("2"));
    // One is asked about, one waits for the same answer, one for its turn.
    let results = tokio::join!(
        verifier.verify(&one),
        verifier.verify(&one),
        verifier.verify(&two)
    );
    assert_eq!(results, (Err(late.clone()), Err(late.clone()), Err(late)));
    assert!(began.elapsed() < limits.token_check + Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn one_of_the_scopes_or_its_root_is_needed() {
    for (had, is_enough) in [
        (&["remote_server"][..], true),
        (&["profile", "remote-worker-server"], true),
        (&["remote_server:x"], false),
        (&["profile"], false),
        (&[], false),
    ] {
        let played = Played::new(Duration::ZERO);
        let verifier = verifier(&played, &Limits::default());
        played.answers(Ok(grant(had, None)));
        let result = verifier.verify(&token("t")).await;
        assert_eq!(result.is_ok(), is_enough, "{had:?}");
        if let Err(error) = result {
            assert_eq!(
                error.to_string(),
                "the token does not allow this; it needs the scope remote_server or remote-worker-server"
            );
        }
    }
    let sub = Scope::parse("a:b").unwrap();
    assert!(sub.is_covered_by("a") && sub.is_covered_by("a:b") && !sub.is_covered_by("a:c"));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_nonsense() {
    let (played, limits) = (Played::new(Duration::ZERO), Limits::default());
    let verifier = verifier(&played, &limits);
    for text in [String::new(), "x".repeat(limits.token_bytes + 1)] {
        let result = verifier.verify(&token(&text)).await;
        assert!(matches!(result, Err(TokenError::Invalid(_))));
    }
    assert_eq!(played.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn checks_are_counted_by_kind_and_result() {
    let played = Played::new(Duration::from_secs(1));
    let verifier = verifier(&played, &Limits::default());
    for text in ["a", "a", "b", ""] {
        let _ = verifier.verify(&token(text)).await;
    }
    let mut registry = prometheus_client::registry::Registry::default();
    verifier.meters.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "token_checks_total{kind=\"played\",result=\"accepted\"} 3",
        "token_checks_total{kind=\"played\",result=\"invalid\"} 1",
        "token_cache_hits_total 1",
        "token_check_seconds_count 2",
        "token_check_seconds_sum 2.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn a_token_is_never_printed() {
    assert!(!format!("{:?}", token("LETMEIN")).contains("LETMEIN"));
}
