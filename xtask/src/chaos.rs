//! `cargo xtask chaos`: a play on a whole production stack while parts of it are killed, stopped,
//! paused, emptied and cut off; then every invariant, and what store, ledger and Redis counted.

pub(crate) mod counts;
mod faults;

use crate::{
    api::Api,
    clock,
    play::{
        self, PlayArgs,
        plan::{GRACE_MS, LEAD_MS},
        run::{Keys, Stage},
    },
    progress::Progress,
    rng::{Rng, fresh_seed},
    stack::{self, Build, Stack, Through},
};
use anyhow::{Context, Result};
use clap::{Args, Parser, ValueEnum};
use faults::Fault;
use std::collections::BTreeMap;
use tokio::sync::watch;

/// What is done to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Harm {
    /// Redis is away for a while, and comes back empty.
    RedisStopped,
    /// Redis keeps its connections and answers nothing.
    RedisPaused,
    /// Redis loses everything it holds.
    RedisFlushed,
    /// Redis is killed and comes back at once, empty.
    RedisRestarted,
    /// An API is killed and started again.
    ApiKilled,
    /// app-funds is killed and started again.
    FundsKilled,
    /// What the funds system answers is lost after it was done.
    FundsAnswersLost,
    /// MySQL is killed and recovers.
    MysqlRestarted,
    /// What MySQL answers is lost: nobody knows whether a commit was done.
    CommitCut,
    /// Any of these, and killed reconcilers.
    Random,
}

impl Harm {
    const fn faults(self) -> &'static [Fault] {
        match self {
            Self::RedisStopped => &[Fault::RedisStopped],
            Self::RedisPaused => &[Fault::RedisPaused],
            Self::RedisFlushed => &[Fault::RedisFlushed],
            Self::RedisRestarted => &[Fault::RedisRestarted],
            Self::ApiKilled => &[Fault::ApiKilled],
            Self::FundsKilled => &[Fault::FundsKilled],
            Self::FundsAnswersLost => &[Fault::FundsAnswersLost],
            Self::MysqlRestarted => &[Fault::MysqlRestarted],
            Self::CommitCut => &[Fault::CommitCut],
            Self::Random => &Fault::ALL,
        }
    }

    /// Whether Redis may have lost the tally after the last coin was counted: then it is made again
    /// when somebody looks, and may be absent. It may never be wrong.
    fn loses_tally(self) -> bool {
        self.faults().iter().any(|fault| fault.empties_redis())
    }
}

/// How much, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChaosArgs {
    /// What is done to the stack; all of them, one after the other, if none is named
    #[arg(long, value_enum, value_name = "HARM")]
    scenario: Vec<Harm>,
    /// How many viewers
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    viewers: u32,
    /// The length of each window in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// The same viewers, and the same harm at the same moments; printed at the start
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: PlayArgs,
}

/// Plays one contest under each harm; true if all is well.
pub(crate) async fn chaos(args: &ChaosArgs) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let harms = if args.scenario.is_empty() {
        Harm::value_variants()
    } else {
        &args.scenario
    };
    let mut failed = Vec::new();
    for harm in harms {
        println!("\n{harm:?}, {} viewers, seed {seed}", args.viewers);
        let well = one(args, *harm, seed).await;
        if !well.with_context(|| format!("{harm:?}, seed {seed}"))? {
            failed.push(*harm);
        }
    }
    println!(
        "{} of {} as they must be",
        harms.len() - failed.len(),
        harms.len()
    );
    if !failed.is_empty() {
        println!("FAULT  {failed:?}, seed {seed}");
    }
    Ok(failed.is_empty())
}

async fn one(args: &ChaosArgs, harm: Harm, seed: u64) -> Result<bool> {
    let has = |fault: Fault| harm.faults().contains(&fault);
    let stack = Stack::start(
        Build::Release,
        Through {
            store: has(Fault::CommitCut),
            funds: has(Fault::FundsAnswersLost),
        },
        stack::NODES,
    )
    .await?;
    let line = Line::try_parse_from([
        "chaos".to_owned(),
        format!("--viewers={}", args.viewers),
        format!("--window={}", args.window),
    ])?;
    let setup = play::setup(&line.args, seed);
    let api = Api::of_nodes(&stack.bases(), 128);
    api.wait_ready(play::READY_MAX).await?;
    let keys = Keys::new(stack.signer()?)?;
    let progress = Progress::new();
    let (begin, begun) = watch::channel(false);
    let (end, ended) = watch::channel(false);
    let announce = |_: &str| {
        begin.send_replace(true);
    };
    let stage = Stage {
        api: &api,
        keys: &keys,
        server: None,
        progress: &progress,
        announce: &announce,
    };
    let length = LEAD_MS + setup.signup_ms + setup.task_ms + GRACE_MS + setup.claim_ms;
    let playing = async {
        let played = play::on_stage(&stage, &setup).await;
        end.send_replace(true);
        played
    };
    let harming = inflict(&stack, harm, Rng::new(seed ^ 0xC4A0), length, begun, ended);
    let (played, harmed) = tokio::join!(playing, harming);
    let done = harmed?;
    println!("harm done: {done:?}");
    let mut faults = Vec::new();
    if done.is_empty() {
        faults.push("nothing was done to the stack: give it longer windows".to_owned());
    }
    if let Ok(played) = &played {
        let counted = counts::compare(&stack, &played.contest, harm.loses_tally()).await;
        match counted {
            Ok(counted) => faults.extend(counted),
            Err(error) => faults.push(format!("what was counted cannot be read: {error:#}")),
        }
    }
    play::end_on_stack(&stack, played, faults).await
}

/// Does harm at random moments from the contest's creation to the end of its windows. Whatever is
/// broken is whole again when this returns.
async fn inflict(
    stack: &Stack,
    harm: Harm,
    mut rng: Rng,
    length: i64,
    mut begun: watch::Receiver<bool>,
    mut ended: watch::Receiver<bool>,
) -> Result<BTreeMap<Fault, u32>> {
    let mut done = BTreeMap::new();
    tokio::select! {
        _ = begun.wait_for(|begun| *begun) => {}
        // It could not even be created.
        _ = ended.wait_for(|ended| *ended) => return Ok(done),
    }
    let until = clock::now_ms() + length;
    let faults = harm.faults();
    loop {
        let wait = rng.between(100, 2_000);
        tokio::select! {
            () = clock::pause(wait) => {}
            _ = ended.wait_for(|ended| *ended) => return Ok(done),
        }
        if clock::now_ms() > until {
            return Ok(done);
        }
        let which = usize::try_from(rng.between(0, faults.len() as u64))?;
        let Some(fault) = faults.get(which).copied() else {
            continue;
        };
        fault
            .inflict(stack, &mut rng)
            .await
            .with_context(|| format!("{fault:?} could not be done or undone"))?;
        *done.entry(fault).or_default() += 1;
    }
}
