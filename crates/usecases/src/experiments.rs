//! Experiments: who gets which variant, who met one, and what operators ask of them. What is done with a
//! contest or a signup is done by terms and states, like everything; a variant changes terms before there is a
//! contest, and nothing else.

use crate::{Contests, Failure};
use domain::{
    assignment::Assignments,
    contest::{Contest, PhaseKind},
    experiment::{
        Action, Definition, Experiment, ExperimentError, ExperimentFact, Status, Unit,
        assign_contest, assign_viewer,
    },
    ids::{ContestId, ExperimentName, UserId, VariantName},
    signup::Signup,
    terms::Terms,
    time::UnixMillis,
};
use ports::{
    experiments::{Change, Exposure, Running},
    store::Committed,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Who was recorded lately need not be recorded again.
const RECENT_MAX: usize = 100_000;
/// How long the numbers of an experiment are not judged again, in milliseconds: all who met it are read.
const JUDGE_MS: i64 = 60_000;
/// And how many times as long as that took: a twentieth of one reader at most.
const JUDGE_REST: i64 = 20;
/// The most exposures that are being recorded beside answers.
const RECORDING_MAX: usize = 64;
/// The most times that a change is tried again because the experiment changed meanwhile.
const TRIES_MAX: usize = 16;
/// The experiments of one page.
const PAGE: usize = 1_000;

/// What was recorded lately: which experiment, in which contest, whom.
type Met = (ExperimentName, ContestId, UserId);

/// What the node knows of the experiments.
#[derive(Debug)]
pub(crate) struct Lab {
    running: RwLock<Option<Arc<Running>>>,
    /// Reads go one after the other, so that an older answer never takes the place of a newer one.
    reading: tokio::sync::Mutex<()>,
    /// It may be forgotten without harm: a repeat changes nothing.
    recent: Arc<Mutex<BTreeSet<Met>>>,
    recording: Arc<Semaphore>,
    /// Until when this node does not judge which experiment by its numbers.
    judged_until: Mutex<BTreeMap<ExperimentName, UnixMillis>>,
    /// One change at a time in this process; a lease holds back the others' starts.
    starting: tokio::sync::Mutex<()>,
    /// What the guardrails have looked at.
    pub(crate) guarded: Mutex<Guarded>,
}

/// How far the guardrails have looked.
#[derive(Debug, Default)]
pub(crate) struct Guarded {
    /// Up to which finding everything was looked at, and nothing new appears any more.
    pub(crate) from: Option<Uuid>,
    /// Those after it that were looked at.
    pub(crate) seen: BTreeSet<Uuid>,
}

impl Default for Lab {
    fn default() -> Self {
        Self {
            running: RwLock::default(),
            reading: tokio::sync::Mutex::default(),
            recent: Arc::default(),
            recording: Arc::new(Semaphore::new(RECORDING_MAX)),
            judged_until: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            guarded: Mutex::default(),
        }
    }
}

impl Lab {
    fn running(&self) -> Option<Arc<Running>> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.clone()
    }

    /// True if an experiment has not been judged for a while; then it is taken for judged.
    pub(crate) fn may_judge(&self, name: &ExperimentName, now: UnixMillis) -> bool {
        let mut until = self
            .judged_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, until| now < *until);
        if until.contains_key(name) {
            return false;
        }
        until.insert(name.clone(), now.plus(JUDGE_MS));
        true
    }

    /// An experiment was judged in this time: what takes long is done less often.
    pub(crate) fn judged(&self, name: &ExperimentName, from: UnixMillis, to: UnixMillis) {
        let rest = to.since(from).saturating_mul(JUDGE_REST).max(JUDGE_MS);
        let mut until = self
            .judged_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.insert(name.clone(), to.plus(rest));
    }

    fn is_recent(&self, met: &Met) -> bool {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.contains(met)
    }

    fn note(&self, exposures: &[Exposure]) {
        Self::note_in(&self.recent, exposures);
    }

    fn note_in(recent: &Mutex<BTreeSet<Met>>, exposures: &[Exposure]) {
        let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_MAX {
            recent.clear();
        }
        recent.extend(exposures.iter().filter_map(|one| {
            let user = one.user_id.clone()?;
            Some((one.experiment.clone(), one.contest_id, user))
        }));
    }
}

/// A variant that a viewer meets in a contest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// Of which experiment.
    pub experiment: ExperimentName,
    /// Which.
    pub variant: VariantName,
    /// What the client is given to show it by: a JSON object.
    pub display: Option<String>,
}

/// What became of making an experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is there.
    Yes(Experiment),
    /// There is one of that name.
    NameTaken,
}

/// What became of asking something of an experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is so.
    Yes(Experiment),
    /// It does not allow it.
    No(ExperimentError),
    /// This one runs and changes the same term of the same contests.
    Overlaps(ExperimentName, &'static str),
    /// As many run as may.
    TooMany,
    /// There is no such experiment.
    Missing,
}

/// Whether two experiments could change the same term of the same contest; which.
fn overlap(one: &Definition, other: &Definition) -> Option<&'static str> {
    let meet = |ones: &[String], others: &[String]| {
        ones.is_empty() || others.is_empty() || ones.iter().any(|one| others.contains(one))
    };
    let texts = |definition: &Definition| {
        let rooms: Vec<_> = definition.rooms.iter().map(ToString::to_string).collect();
        let kinds: Vec<_> = definition
            .task_kinds
            .iter()
            .map(ToString::to_string)
            .collect();
        (rooms, kinds)
    };
    let ((rooms, kinds), (other_rooms, other_kinds)) = (texts(one), texts(other));
    if !meet(&rooms, &other_rooms) || !meet(&kinds, &other_kinds) {
        return None;
    }
    let (fields, others) = (one.changed_fields(), other.changed_fields());
    fields.intersection(&others).next().copied()
}

impl Contests {
    /// Reads the experiments that run; true if they have changed. On an error the last ones stay.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn read_experiments(&self) -> Result<bool, Failure> {
        let _reading = self.lab.reading.lock().await;
        let known = self.lab.running().map(|running| running.version);
        let read = self.ports.experiments.running(known).await?;
        let has_changed = read.is_some();
        if let Some(read) = read {
            let mut running = self
                .lab
                .running
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            *running = Some(Arc::new(read));
        }
        Ok(has_changed)
    }

    /// The experiments that run, as this node knows them.
    pub(crate) fn running_experiments(&self) -> Vec<Experiment> {
        self.with_experiments(<[Experiment]>::to_vec)
    }

    /// Does something with the experiments that run.
    fn with_experiments<T>(&self, with: impl FnOnce(&[Experiment]) -> T) -> T {
        let running = self.lab.running();
        with(
            running
                .as_deref()
                .map_or(&[], |running| &running.experiments),
        )
    }

    /// The variants of a new contest, and the terms that they make of its own.
    pub(crate) fn assigned(
        &self,
        contest: ContestId,
        terms: Terms,
        now: UnixMillis,
    ) -> (Assignments, Terms) {
        self.with_experiments(|running| assign_contest(running, contest, &terms, now))
    }

    /// The variants of a viewer in a contest.
    pub(crate) fn assigned_to(&self, contest: &Contest, user: &UserId) -> Assignments {
        let now = self.ports.clock.now();
        self.with_experiments(|running| {
            assign_viewer(running, &contest.variants, user, &contest.terms, now)
        })
    }

    /// What terms became by variants that were given then; none if these cannot be found any more. Wishes that
    /// differ only in what the variant changes became the same.
    pub(crate) async fn as_assigned(
        &self,
        wished: &Terms,
        variants: &Assignments,
    ) -> Result<Option<Terms>, Failure> {
        let mut terms = wished.clone();
        for (name, variant) in variants.iter() {
            let experiment = self.ports.experiments.experiment(name).await?;
            let changed = experiment.and_then(|one| {
                let variant = one.definition.variant(variant)?;
                variant.changes.apply(&terms)
            });
            match changed {
                Some(changed) => terms = changed,
                None => return Ok(None),
            }
        }
        Ok(Some(terms))
    }

    /// Records that a new contest has met its experiments. Lost where it fails: its viewers record the same
    /// unit.
    pub(crate) async fn expose_contest(&self, contest: &Contest) {
        let exposures = self.exposures(contest, None, &contest.variants);
        if exposures.is_empty() {
            return;
        }
        if let Err(error) = self.ports.experiments.expose(&exposures).await {
            tracing::warn!(
                contest.id = %contest.id, error = &error as &dyn std::error::Error,
                "it could not be recorded that a contest met its experiments"
            );
        }
    }

    /// Records that the viewer of a signup has met the experiments of its variants, before there is a signup
    /// whose viewer would be missing among those who met them. Where that fails the signup goes on: numbers
    /// that are shown stop nobody from paying.
    pub(crate) async fn expose_signup(&self, contest: &Contest, signup: &Signup) {
        let exposures = self.exposures(contest, Some(&signup.user_id), &signup.variants);
        if exposures.is_empty() {
            return;
        }
        match self.ports.experiments.expose(&exposures).await {
            Ok(()) => self.lab.note(&exposures),
            Err(error) => tracing::warn!(
                contest.id = %contest.id, error = &error as &dyn std::error::Error,
                "it could not be recorded who met an experiment"
            ),
        }
    }

    /// What a viewer who looks at a contest meets there; that they did is recorded beside the answer. A record
    /// may be lost without harm: whoever looks again, or signs up, is recorded then.
    #[must_use]
    pub fn meet(&self, contest: &Contest, user: &UserId) -> Vec<Meeting> {
        let variants = self.assigned_to(contest, user);
        if variants.is_empty() {
            return Vec::new();
        }
        let now = self.ports.clock.now();
        let met = self.with_experiments(|running| {
            let of = |one: &Experiment| {
                let variant = one.definition.variant(variants.get(&one.name)?)?;
                let is_met = one.is_met(now) && !one.stopped.contains_key(&variant.name);
                is_met.then(|| Meeting {
                    experiment: one.name.clone(),
                    variant: variant.name.clone(),
                    display: variant.display.clone(),
                })
            };
            running.iter().filter_map(of).collect::<Vec<_>>()
        });
        // Who comes when nobody can sign up any more would count where a variant makes people look again.
        let is_open =
            contest.phase.kind() == PhaseKind::Draft && now < contest.terms.signup_closes_at;
        let exposures = self.exposures(contest, Some(user), &variants);
        if is_open
            && !exposures.is_empty()
            && let Ok(permit) = Arc::clone(&self.lab.recording).try_acquire_owned()
        {
            let experiments = Arc::clone(&self.ports.experiments);
            let recent = Arc::clone(&self.lab.recent);
            tokio::spawn(async move {
                let _permit = permit;
                match experiments.expose(&exposures).await {
                    Ok(()) => Lab::note_in(&recent, &exposures),
                    Err(error) => tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "it could not be recorded who met an experiment"
                    ),
                }
            });
        }
        met
    }

    /// Who met what, but those that were recorded lately.
    fn exposures(
        &self,
        contest: &Contest,
        user: Option<&UserId>,
        variants: &Assignments,
    ) -> Vec<Exposure> {
        // Of what has ended, and of an arm that is stopped, there is no unit: nobody meets it any more.
        let unit = |name: &ExperimentName, variant: &VariantName| {
            self.with_experiments(|running| {
                let one = running.iter().find(|one| one.name == *name)?;
                if one.stopped.contains_key(variant) {
                    return None;
                }
                match one.definition.unit {
                    Unit::User => user.map(ToString::to_string),
                    Unit::Room => Some(contest.terms.room_id.to_string()),
                    Unit::Contest => Some(contest.id.to_string()),
                }
            })
        };
        let new = variants.iter().filter(|(name, _)| {
            let met = user.map(|user| ((*name).clone(), contest.id, user.clone()));
            met.is_none_or(|met| !self.lab.is_recent(&met))
        });
        new.filter_map(|(name, variant)| {
            Some(Exposure {
                experiment: name.clone(),
                unit: unit(name, variant)?,
                contest_id: contest.id,
                user_id: user.cloned(),
                variant: variant.clone(),
            })
        })
        .collect()
    }

    /// Makes an experiment, which is a draft.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn make_experiment(
        &self,
        name: ExperimentName,
        definition: Definition,
        by: UserId,
    ) -> Result<Made, Failure> {
        let now = self.ports.contests.now().await?;
        let salt = self.ports.ids.next().to_string();
        let experiment = Experiment::new(name, salt, definition, now);
        let change = line(
            &experiment,
            Action::Created,
            Some(by),
            "made".to_owned(),
            None,
        );
        let is_new = self
            .ports
            .experiments
            .insert_experiment(&experiment, &change)
            .await?;
        Ok(if is_new {
            Made::Yes(experiment)
        } else {
            Made::NameTaken
        })
    }

    /// Asks something of an experiment: an operator with a reason, or nobody: a guardrail, or its end.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn change_experiment(
        &self,
        name: &ExperimentName,
        fact: ExperimentFact,
        by: Option<UserId>,
        reason: String,
    ) -> Result<Changed, Failure> {
        // Two that start at once would not see each other.
        let is_start = fact.action() == Action::Started;
        let _starting = self.lab.starting.lock().await;
        let hold = if is_start {
            self.lease("experiments/start".to_owned()).await?
        } else {
            None
        };
        if is_start && hold.is_none() {
            return Err(Failure::Contended(name.to_string()));
        }
        let changed = self.change_held(name, fact, by, reason).await;
        if let Some(hold) = hold {
            self.let_go(hold).await;
        }
        changed
    }

    async fn change_held(
        &self,
        name: &ExperimentName,
        fact: ExperimentFact,
        by: Option<UserId>,
        reason: String,
    ) -> Result<Changed, Failure> {
        for _ in 0..TRIES_MAX {
            let Some(before) = self.ports.experiments.experiment(name).await? else {
                return Ok(Changed::Missing);
            };
            let now = self.ports.contests.now().await?;
            let (expected, action) = (before.version, fact.action());
            let variant = match &fact {
                ExperimentFact::ArmStopped(variant, _) => Some(variant.clone()),
                _ => None,
            };
            let after = match before.apply(fact.clone(), now) {
                Ok(after) => after,
                Err(error) => return Ok(Changed::No(error)),
            };
            if action == Action::Started
                && let Some(refused) = self.may_not_start(&after).await?
            {
                return Ok(refused);
            }
            let change = line(&after, action, by.clone(), reason.clone(), variant);
            let experiments = &self.ports.experiments;
            match experiments
                .commit_experiment(expected, &after, &change)
                .await?
            {
                Committed::Applied => {
                    tracing::info!(
                        experiment = %name, action = action.name(), reason,
                        by = by.as_ref().map_or("nobody", |by| by.as_str()), "an experiment was changed"
                    );
                    if let Err(error) = self.read_experiments().await {
                        // The loop reads it.
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "experiments could not be read"
                        );
                    }
                    let version = expected + 1;
                    return Ok(Changed::Yes(Experiment { version, ..after }));
                }
                Committed::GuardFailed | Committed::Fenced => {}
                Committed::Missing => return Ok(Changed::Missing),
            }
        }
        Err(Failure::Contended(name.to_string()))
    }

    /// Why an experiment cannot start beside those that run.
    async fn may_not_start(&self, new: &Experiment) -> Result<Option<Changed>, Failure> {
        let mut running = Vec::new();
        let mut after = None;
        loop {
            let page = self.ports.experiments.experiments(after, PAGE).await?;
            let runs = |one: &Experiment| matches!(one.status, Status::Running(_));
            running.extend(page.items.into_iter().filter(runs));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let overlapping = running.iter().find_map(|one| {
            let field = overlap(&one.definition, &new.definition)?;
            Some(Changed::Overlaps(one.name.clone(), field))
        });
        let is_full = running.len() >= Assignments::MAX;
        Ok(overlapping.or_else(|| is_full.then_some(Changed::TooMany)))
    }
}

/// The line of history of an experiment as it has become.
fn line(
    after: &Experiment,
    action: Action,
    by: Option<UserId>,
    reason: String,
    variant: Option<VariantName>,
) -> Change {
    Change {
        version: after.version,
        action,
        by,
        reason,
        variant,
        ramp: after.ramp,
        at: after.updated_at,
    }
}
