//! One simulated viewer: signs up, does the task or not, claims or not, and sends everything once
//! to five times at once.

use super::{
    model::{Claimed, Known, Story},
    plan::{Deed, GRACE_MS, Plan, Purse, TARGET, Windows},
    rules::{Done, Terms},
    script::{self, Telling},
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
    pub(crate) terms: Terms,
    /// The fees to choose from; empty where there is one.
    pub(crate) tiers: &'static [u64],
    /// Whether what viewers do is of many sizes and times.
    pub(crate) varied: bool,
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
        asked: vec![plan.fee],
        fee: None,
        paid: Known::No,
        paid_by: i64::MAX,
        done: Vec::new(),
        untold: false,
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
            let done = vec![Done {
                occurred: clock::now_ms() - 100,
                quantity: TARGET,
            }];
            let early = Telling {
                at: 0,
                done,
                stray: false,
            };
            self.tell("early", early).await;
        }
        if self.game.varied && self.rng.chance(20) {
            self.ask_wrongly().await;
        }
        while clock::now_ms() < closes {
            let answers = self.ask().await;
            if let Some(signup) = self.agreed(&answers, &["signup_id", "fee_order_id", "fee"]) {
                self.joined(&signup).await;
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
            // Of two fees that were asked for at once, the other one was first.
            let fixed = answers
                .iter()
                .any(|answer| answer.code() == "fee_tier_fixed");
            match self.plan.rival {
                Some(rival) if fixed => {
                    self.plan.rival = Some(std::mem::replace(&mut self.plan.fee, rival))
                }
                None if fixed => self.complain("told of another fee than it asked for".to_owned()),
                _ => {}
            }
            // What was sent may have gone through; with too few coins it cannot have.
            if self.story.granted >= self.plan.fee && !answers.is_empty() {
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

    /// What a signup's body says: the fee, where there is a choice.
    fn choice(&self, fee: u64) -> Option<Value> {
        (!self.game.tiers.is_empty()).then(|| json!({ "fee_tier": fee }))
    }

    /// Asks to sign up; for two fees at once where the viewer has a second one in mind.
    async fn ask(&mut self) -> Vec<Answer> {
        let token = self.token.clone();
        let path = self.signup_path();
        let Some(rival) = self
            .plan
            .rival
            .filter(|rival| !self.story.asked.contains(rival))
        else {
            let body = self.choice(self.plan.fee);
            return self.send(Method::PUT, path, &token, body).await;
        };
        self.story.asked.push(rival);
        let mut answers = Vec::new();
        let mut sent = JoinSet::new();
        for fee in [self.plan.fee, rival] {
            let (api, path, token) = (self.game.api.clone(), path.clone(), token.clone());
            let body = self.choice(fee);
            sent.spawn(async move { api.send(Method::PUT, &path, &token, body.as_ref()).await });
        }
        while let Some(answer) = sent.join_next().await {
            answers.extend(answer.ok());
        }
        answers
    }

    /// A signup that does not fit the contest's fees is refused by name.
    async fn ask_wrongly(&mut self) {
        let cases = if self.game.tiers.is_empty() {
            vec![(Some(json!({ "fee_tier": self.plan.fee })), "unknown_field")]
        } else {
            vec![
                (None, "missing"),
                (Some(json!({})), "missing"),
                (
                    Some(json!({ "fee_tier": self.plan.fee + 1 })),
                    "unknown_value",
                ),
            ]
        };
        for (body, code) in cases {
            let path = self.signup_path();
            let answer = self
                .game
                .api
                .send(Method::PUT, &path, &self.token, body.as_ref())
                .await;
            let fault = |field: &str| answer.body.pointer(&format!("/errors/0/{field}"));
            let named = answer.status == 422
                && fault("pointer").and_then(Value::as_str) == Some("/fee_tier")
                && fault("code").and_then(Value::as_str) == Some(code);
            if !named && !answer.is_open() && answer.code() != "signup_closed" {
                self.complain(format!(
                    "a signup with {body:?} was answered {} {}, must be 422 {code} at /fee_tier",
                    answer.status, answer.body
                ));
            }
        }
    }

    /// After the first yes: what was paid, and that another fee is refused from now on.
    async fn joined(&mut self, signup: &Value) {
        self.story.paid = Known::Yes;
        self.story.paid_by = clock::now_ms();
        self.story.fee = signup.get("fee").and_then(Value::as_u64);
        self.game.joined.fetch_add(1, Ordering::Relaxed);
        if self.story.granted < self.story.fee.unwrap_or(self.plan.fee) {
            self.complain("signed up with too few coins".to_owned());
        }
        let fee = self.story.fee.unwrap_or(0);
        let other = self.game.tiers.iter().copied().find(|tier| *tier != fee);
        let Some(other) = other.filter(|_| self.rng.chance(40)) else {
            return;
        };
        let path = self.signup_path();
        let body = self.choice(other);
        let again = self
            .game
            .api
            .send(Method::PUT, &path, &self.token, body.as_ref())
            .await;
        if again.code() != "fee_tier_fixed" && !again.is_open() {
            self.complain(format!(
                "another fee was answered {} {}, must be 409 fee_tier_fixed",
                again.status, again.body
            ));
        }
    }

    /// True if it is worth another try.
    async fn after_refusal(&mut self) -> bool {
        if self.story.granted >= self.plan.fee {
            if self.plan.purse == Purse::Full {
                self.complain("refused with enough coins".to_owned());
            }
            return true;
        }
        if self.plan.purse != Purse::ToppedUp {
            return false;
        }
        let more = self.plan.fee + self.rng.between(0, 20);
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
                    self.story.paid_by = clock::now_ms();
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
        let paid = self.story.paid;
        let (now, windows) = (clock::now_ms(), self.game.windows);
        let script = if self.game.varied {
            script::varied
        } else {
            script::plain
        };
        let tellings = script(&mut self.rng, self.plan.task, now, windows);
        for (number, telling) in tellings.into_iter().enumerate() {
            clock::until(telling.at).await;
            let (done, stray) = (telling.done.clone(), telling.stray);
            let told = self.tell(&format!("task{number}"), telling).await;
            if !stray {
                self.story.done.extend(done);
                self.story.untold |= told != Known::Yes;
            }
        }
        let Story { paid_by, done, .. } = &self.story;
        let met = self.game.terms.quantity(*paid_by, done) >= self.game.terms.target;
        self.story.finished = match paid {
            Known::Yes if met && !self.story.untold => Known::Yes,
            Known::Yes if met => Known::Open,
            // What was done counts if the fee was paid after all.
            Known::Open => Known::Open,
            _ => Known::No,
        };
        if self.story.finished == Known::Yes {
            self.game.finished.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends events. Yes: acknowledged before judging began.
    async fn tell(&mut self, name: &str, telling: Telling) -> Known {
        let kind = if telling.stray {
            "send_gift"
        } else {
            "open_chest"
        };
        let mut events = Vec::new();
        for (piece, done) in telling.done.iter().enumerate() {
            let Ok(occurred_at) = clock::rfc3339(done.occurred) else {
                return Known::No;
            };
            events.push(json!({
                "event_id": format!("{}-{name}-{piece}", self.plan.user),
                "user_id": self.plan.user,
                "room_id": self.game.room,
                "kind": kind,
                "quantity": done.quantity,
                "occurred_at": occurred_at,
            }));
        }
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
            if let Some(signup) = self.agreed(
                &answers,
                &["state", "prize", "weight", "claim_order_id", "signup_id"],
            ) {
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
                self.story.claim = Some(Claimed {
                    prize,
                    weight: signup.get("weight").and_then(Value::as_u64),
                    order: order.to_owned(),
                });
                self.game.claimed.fetch_add(1, Ordering::Relaxed);
            }
            _ => self.complain(format!("a claim was granted without a prize: {signup}")),
        }
        if !finished && self.story.finished == Known::No {
            self.complain("a prize without having finished".to_owned());
        }
    }
}
