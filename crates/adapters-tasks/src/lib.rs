//! A task system that somebody else runs, over gRPC. What it answers is checked before it is
//! believed: coins are shared by it.

use async_trait::async_trait;
use domain::{contest::Contest, judge::Progress, signup::Signup, time::UnixMillis};
use grpc_core::{CallError, Line, Names, Repeat, Wire};
use ports::{
    store::StoreError,
    tasks::{Assigned, PROGRESS_MAX, Tasks},
};
use std::{sync::Arc, time::Duration};
use tonic::Request;

/// The messages and services of `proto/tasks/v1/tasks.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated; the proto has the words"
)]
pub mod proto {
    tonic::include_proto!("tasks.v1");
}

pub use grpc_core::{BreakerState, Settings, SetupError};
use proto::tasks_client::TasksClient;

const NAMES: Names = Names {
    calls: "guafen_tasks_rpc_calls_total",
    repeats: "guafen_tasks_rpc_repeats_total",
    breaker: "guafen_tasks_breaker_state",
    in_flight: "guafen_tasks_in_flight",
    turned_away: "guafen_tasks_turned_away_total",
};

/// A task system that is reached over gRPC.
pub struct GrpcTasks {
    line: Arc<Line>,
}

impl GrpcTasks {
    /// The task system at these settings. Nothing is sent yet: it may be away when we start, and
    /// what is asked meanwhile is asked again. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub fn open(settings: &Settings) -> Result<Self, SetupError> {
        Ok(Self {
            line: Arc::new(Line::open(settings, NAMES)?),
        })
    }

    /// What the circuit breaker lets through now.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        self.line.breaker()
    }
}

fn within<T>(message: T, left: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(left);
    request
}

fn task(contest: &Contest) -> proto::Task {
    proto::Task {
        contest_id: contest.id.to_string(),
        room_id: contest.terms.room_id.to_string(),
        kind: contest.terms.task.kind.to_string(),
        target: contest.terms.task.target,
        until_unix_ms: contest.terms.tasks_end_at.0,
    }
}

/// From when on a signup's deeds count. Nothing counts for somebody who has not paid.
fn from(contest: &Contest, signup: &Signup) -> UnixMillis {
    let fee = signup.state.fee_receipt();
    fee.map_or(contest.terms.tasks_end_at, |fee| fee.applied_at)
}

fn named(contest: &Contest, signup: &Signup) -> proto::Signup {
    proto::Signup {
        signup_id: signup.id.to_string(),
        user_id: signup.user_id.to_string(),
        from_unix_ms: from(contest, signup).0,
    }
}

/// What was told of one signup, if it can be true.
fn progress(
    contest: &Contest,
    signup: &Signup,
    told: &proto::Progress,
) -> Result<Progress, &'static str> {
    if told.signup_id != signup.id.to_string() {
        return Err("signup_id must be that of the request, in its order");
    }
    let complete_until = told
        .complete_until_unix_ms
        .ok_or("complete_until_unix_ms must be there")?;
    let met_at = told.met_at_unix_ms.map(UnixMillis);
    if met_at.is_some() != (told.quantity >= contest.terms.task.target) {
        return Err("met_at_unix_ms must be there exactly if the target was met");
    }
    let counts = from(contest, signup)..contest.terms.tasks_end_at;
    if met_at.is_some_and(|at| !counts.contains(&at)) {
        return Err("met_at_unix_ms must lie within the time that counts");
    }
    Ok(Progress {
        quantity: told.quantity,
        met_at,
        complete_until: UnixMillis(complete_until),
    })
}

async fn assign(line: &Line, task: proto::Task, signup: proto::Signup) -> Assigned {
    use proto::assign_response::Outcome;
    let (task, signup) = (&task, &signup);
    let ask = |wire: Wire, left| async move {
        let message = proto::AssignRequest {
            task: Some(task.clone()),
            signup: Some(signup.clone()),
        };
        TasksClient::new(wire).assign(within(message, left)).await
    };
    match line.call("assign", Repeat::Always, ask).await {
        Ok(told) => match told.outcome {
            Some(Outcome::Assigned(told)) if told.signup_id == signup.signup_id => {
                Assigned::Assigned
            }
            outcome => {
                tracing::error!(
                    signup = signup.signup_id,
                    ?outcome,
                    "the task system did not take a task"
                );
                Assigned::Unknown
            }
        },
        Err(error) => {
            tracing::warn!(%error, signup = signup.signup_id, "a task was not assigned");
            match error {
                CallError::NotSent { .. } | CallError::Kept { .. } => Assigned::NotSent,
                CallError::Unknown { .. } => Assigned::Unknown,
            }
        }
    }
}

#[async_trait]
impl Tasks for GrpcTasks {
    async fn assign(&self, contest: &Contest, signup: &Signup) -> Assigned {
        let seat = match self.line.seat("assign") {
            Ok(seat) => seat,
            Err(error) => {
                tracing::warn!(%error, signup = %signup.id, "a task was not assigned");
                return Assigned::NotSent;
            }
        };
        let (line, task, signup) = (
            Arc::clone(&self.line),
            task(contest),
            named(contest, signup),
        );
        // By itself: what was sent goes on when the caller is gone (hazard G1).
        let done = tokio::spawn(async move {
            let _seat = seat;
            assign(&line, task, signup).await
        });
        done.await.unwrap_or(Assigned::Unknown)
    }

    async fn progress(
        &self,
        contest: &Contest,
        signups: &[Signup],
    ) -> Result<Vec<Progress>, StoreError> {
        if signups.len() > PROGRESS_MAX {
            return Err(StoreError::unavailable("too many signups in one question"));
        }
        let _seat = self
            .line
            .seat("progress")
            .map_err(StoreError::unavailable)?;
        let ask = |wire: Wire, left| async move {
            let message = proto::ProgressRequest {
                task: Some(task(contest)),
                signups: signups
                    .iter()
                    .map(|signup| named(contest, signup))
                    .collect(),
            };
            TasksClient::new(wire).progress(within(message, left)).await
        };
        let told = self
            .line
            .call("progress", Repeat::Always, ask)
            .await
            .map_err(StoreError::unavailable)?
            .progress;
        if told.len() != signups.len() {
            tracing::error!(contest = %contest.id, asked = signups.len(), told = told.len(), "the task system told of another number of signups");
            return Err(StoreError::unavailable(
                "another number of signups was told of",
            ));
        }
        signups
            .iter()
            .zip(&told)
            .map(|(signup, told)| {
                progress(contest, signup, told).map_err(|rule| {
                    tracing::error!(contest = %contest.id, signup = %signup.id, ?told, rule, "the task system's answer cannot be true");
                    StoreError::unavailable(rule)
                })
            })
            .collect()
    }
}
