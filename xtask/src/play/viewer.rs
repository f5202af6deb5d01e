//! One simulated viewer: signs up, does the task or not, claims or not, and sends everything once
//! to five times at once.

use super::{
    model::{Known, Story},
    plan::{Deed, FEE, GRACE_MS, Plan, Purse, TARGET, Windows},
};
use crate::{
    api::{Answer, Api},
    clock,
    rng::Rng,
};
use hyper::Method;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::{sync::watch, task::JoinSet};

/// What all viewers of a contest share.
pub(crate) struct Game {
    pub(crate) api: Api,
    pub(crate) contest: String,
    pub(crate) room: String,
    pub(crate) windows: Windows,
    pub(crate) operator: String,
    pub(crate) service: String,
    pub(crate) phase: watch::Receiver<String>,
    pub(crate) joined: AtomicU64,
    pub(crate) finished: AtomicU64,
    pub(crate) claimed: AtomicU64,
}

/// True where a contest has ended.
pub(crate) fn is_over(phase: &str) -> bool {
    matches!(phase, "closed" | "cancelled")
}

/// Plays one viewer to the end.
pub(crate) async fn play(game: Arc<Game>, plan: Plan, token: String) -> Story {
    let rng = Rng::new(plan.seed);
    let story = Story {
        user: plan.user.clone(),
        granted: plan.coins,
        paid: Known::No,
        finished: Known::No,
        claim: None,
        complaints: Vec::new(),
    };
    let mut viewer = Viewer {
        game,
        plan,
        token,
        rng,
        story,
    };
    viewer.sign_up().await;
    if viewer.story.paid == Known::Open {
        viewer.find_out().await;
    }
    viewer.do_task().await;
    viewer.claim().await;
    viewer.story
}

struct Viewer {
    game: Arc<Game>,
    plan: Plan,
    token: String,
    rng: Rng,
    story: Story,
}

impl Viewer {
    /// The same request one to five times at once.
    async fn send(
        &mut self,
        method: Method,
        path: String,
        token: &str,
        body: Option<Value>,
    ) -> Vec<Answer> {
        let copies = self.rng.between(1, 6);
        let mut sent = JoinSet::new();
        for _ in 0..copies {
            let (api, method, path) = (self.game.api.clone(), method.clone(), path.clone());
            let (token, body) = (token.to_owned(), body.clone());
            sent.spawn(async move { api.send(method, &path, &token, body.as_ref()).await });
        }
        sent.join_all().await
    }

    async fn rest(&mut self) {
        let wait = self.rng.between(20, 180);
        clock::pause(wait).await;
    }

    fn complain(&mut self, text: String) {
        self.story.complaints.push(text);
    }

    /// All answers that say yes must say the same; the first of them.
    fn agreed(&mut self, answers: &[Answer], fields: &[&str]) -> Option<Value> {
        let mut yes = answers.iter().filter(|answer| answer.status == 200);
        let first = yes.next()?;
        for other in yes {
            for field in fields {
                if first.body.get(field) != other.body.get(field) {
                    self.complain(format!(
                        "two answers differ in {field}: {} and {}",
                        first.body, other.body
                    ));
                }
            }
        }
        Some(first.body.clone())
    }

    fn signup_path(&self) -> String {
        format!("/v1/contests/{}/signup", self.game.contest)
    }

    async fn sign_up(&mut self) {
        let Windows { opens, closes, .. } = self.game.windows;
        let length = u64::try_from(closes - opens).unwrap_or(0);
        let wait = if self.plan.hurry {
            0
        } else {
            self.rng.between(0, length * 6 / 10)
        };
        clock::until(opens.saturating_add_unsigned(wait)).await;
        if self.plan.task == Deed::Early {
            self.send_events("early", clock::now_ms() - 100, TARGET)
                .await;
        }
        while clock::now_ms() < closes {
            let token = self.token.clone();
            let answers = self
                .send(Method::PUT, self.signup_path(), &token, None)
                .await;
            if self
                .agreed(&answers, &["signup_id", "fee_order_id", "fee"])
                .is_some()
            {
                self.story.paid = Known::Yes;
                self.game.joined.fetch_add(1, Ordering::Relaxed);
                if self.story.granted < FEE {
                    self.complain("signed up with too few coins".to_owned());
                }
                return;
            }
            let refused = answers.iter().any(|answer| answer.status == 402);
            if refused && !self.after_refusal().await {
                return;
            }
            if let Some(odd) = answers
                .iter()
                .find(|answer| !answer.is_open() && !matches!(answer.status, 402 | 409))
            {
                self.complain(format!("signup was answered {} {}", odd.status, odd.body));
                return;
            }
            // What was sent may have gone through; with too few coins it cannot have.
            if self.story.granted >= FEE && !answers.is_empty() {
                self.story.paid = Known::Open;
            }
            if answers
                .iter()
                .any(|answer| answer.code() == "signup_closed")
                && clock::now_ms() >= closes - 5
            {
                return;
            }
            self.rest().await;
        }
    }

    /// True if it is worth another try.
    async fn after_refusal(&mut self) -> bool {
        if self.story.granted >= FEE {
            if self.plan.purse == Purse::Full {
                self.complain("refused with enough coins".to_owned());
            }
            return true;
        }
        if self.plan.purse != Purse::ToppedUp {
            return false;
        }
        let more = FEE + self.rng.between(0, 20);
        let path = format!("/v1/sandbox/accounts/{}/grant", self.plan.user);
        let body = json!({ "amount": more, "grant_id": format!("{}-more", self.plan.user) });
        let operator = self.game.operator.clone();
        match self
            .game
            .api
            .insist(Method::POST, &path, &operator, Some(&body))
            .await
        {
            Ok(_) => self.story.granted += more,
            Err(error) => self.complain(format!("the second grant failed: {error:#}")),
        }
        true
    }

    /// After signups closed: what became of a signup that was never acknowledged?
    async fn find_out(&mut self) {
        clock::until(self.game.windows.closes).await;
        while clock::now_ms() < self.game.windows.ends {
            let answer = self.game.api.get(&self.signup_path(), &self.token).await;
            match (answer.status, answer.text("state")) {
                (200, "initialized") | (0 | 202 | 429 | 502..=504, _) => {}
                (200, "expired") | (404, _) => {
                    self.story.paid = Known::No;
                    return;
                }
                (200, _) => {
                    self.story.paid = Known::Yes;
                    self.game.joined.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                (status, _) => {
                    self.complain(format!(
                        "reading the signup was answered {status} {}",
                        answer.body
                    ));
                    return;
                }
            }
            self.rest().await;
        }
    }

    async fn do_task(&mut self) {
        let ends = self.game.windows.ends;
        let paid = self.story.paid == Known::Yes;
        let (at, occurred, quantity) = match self.plan.task {
            Deed::Finishes => {
                let left = u64::try_from(ends - clock::now_ms()).unwrap_or(0);
                let wait = self.rng.between(0, left * 7 / 10);
                let at = clock::now_ms().saturating_add_unsigned(wait);
                (at, at, TARGET)
            }
            Deed::ArrivesInGrace => (ends + 50, ends - 1, TARGET),
            Deed::Late => (ends + 30, ends, TARGET),
            Deed::Partly => (clock::now_ms(), clock::now_ms(), TARGET - 1),
            Deed::Early | Deed::Nothing => return,
        };
        clock::until(at).await;
        let accepted = self.send_events("task", occurred, quantity).await;
        let counts = paid && matches!(self.plan.task, Deed::Finishes | Deed::ArrivesInGrace);
        self.story.finished = match (counts, accepted) {
            (true, Known::Yes) => Known::Yes,
            (true, _) => Known::Open,
            // Nobody who is not known to have paid is known to have finished; what they did counts
            // if they had.
            (false, _) if self.story.paid == Known::Open => Known::Open,
            (false, _) => Known::No,
        };
        if self.story.finished == Known::Yes {
            self.game.finished.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends a target's worth of events in a few pieces. Yes: acknowledged before judging began.
    async fn send_events(&mut self, kind: &str, occurred: i64, quantity: u64) -> Known {
        let Ok(occurred_at) = clock::rfc3339(occurred) else {
            return Known::No;
        };
        let pieces = if quantity > 1 && self.rng.chance(50) {
            vec![1, quantity - 1]
        } else {
            vec![quantity]
        };
        let events: Vec<Value> = pieces
            .iter()
            .enumerate()
            .map(|(piece, quantity)| {
                json!({
                    "event_id": format!("{}-{kind}-{piece}", self.plan.user),
                    "user_id": self.plan.user,
                    "room_id": self.game.room,
                    "kind": "open_chest",
                    "quantity": quantity,
                    "occurred_at": occurred_at,
                })
            })
            .collect();
        let judged_at = self.game.windows.ends + GRACE_MS;
        let service = self.game.service.clone();
        while clock::now_ms() < judged_at {
            let body = Value::Array(events.clone());
            let answers = self
                .send(
                    Method::POST,
                    "/v1/task-events".to_owned(),
                    &service,
                    Some(body),
                )
                .await;
            let whole = answers.iter().any(|answer| {
                let count =
                    |field: &str| answer.body.get(field).and_then(Value::as_u64).unwrap_or(0);
                answer.status == 200
                    && count("accepted") + count("duplicates") == events.len() as u64
            });
            if whole {
                return if clock::now_ms() < judged_at {
                    Known::Yes
                } else {
                    Known::Open
                };
            }
            if let Some(odd) = answers.iter().find(|answer| !answer.is_open()) {
                if odd.status != 200 || odd.body.to_string().contains("event_conflict") {
                    self.complain(format!("events were answered {} {}", odd.status, odd.body));
                }
                return Known::Open;
            }
            self.rest().await;
        }
        Known::Open
    }

    async fn claim(&mut self) {
        let finished = self.story.finished == Known::Yes;
        let wants = if finished {
            self.plan.claims
        } else {
            self.plan.tries_wrongly
        };
        let ready = |phase: &String| phase == "claimable" || is_over(phase);
        let mut phase = self.game.phase.clone();
        if !wants || phase.wait_for(ready).await.is_err() {
            return;
        }
        let length =
            u64::try_from(self.game.windows.claims_close - self.game.windows.ends).unwrap_or(0);
        let wait = self.rng.between(0, length / 2);
        clock::pause(wait).await;
        while !is_over(&phase.borrow().clone()) {
            let token = self.token.clone();
            let path = format!("/v1/contests/{}/claim", self.game.contest);
            let answers = self.send(Method::PUT, path, &token, None).await;
            if let Some(signup) =
                self.agreed(&answers, &["state", "prize", "claim_order_id", "signup_id"])
            {
                self.told(&signup, finished);
                return;
            }
            let settled = answers
                .iter()
                .find(|answer| !answer.is_open() && answer.code() != "not_claimable_yet");
            if let Some(no) = settled {
                let expected = match no.code() {
                    "claim_closed" => true,
                    "not_completed" | "not_signed_up" => !finished,
                    _ => false,
                };
                if !expected {
                    self.complain(format!("the claim was answered {} {}", no.status, no.body));
                }
                return;
            }
            self.rest().await;
        }
    }

    fn told(&mut self, signup: &Value, finished: bool) {
        let prize = signup.get("prize").and_then(Value::as_u64);
        let order = signup.get("claim_order_id").and_then(Value::as_str);
        let shared = signup.get("state").and_then(Value::as_str) == Some("shared");
        match (shared, prize, order) {
            (true, Some(prize), Some(order)) => {
                self.story.claim = Some((prize, order.to_owned()));
                self.game.claimed.fetch_add(1, Ordering::Relaxed);
            }
            _ => self.complain(format!("a claim was granted without a prize: {signup}")),
        }
        if !finished && self.story.finished == Known::No {
            self.complain("a prize without having finished".to_owned());
        }
    }
}
