//! What is done once, and told on standard output.

use crate::{
    html,
    report::{Format, Sums},
};
use anyhow::{Context, bail};
use clap::ValueEnum;
use domain::ids::{ContestId, ExperimentName};
use experiments::{Comparison, Results};
use ports::{
    findings::Finding,
    reconciliations::{Run, Scope},
};
use serde_json::{Value, json};
use usecases::{Contests, Rebuilt, runs::Asked, sheet::rfc3339};
use uuid::Uuid;

/// The findings of one page, and the most leases of a list.
const PAGE: usize = 1_000;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All is as it should be.
    Well,
    /// Something differs that a person has to look at.
    WithDifferences,
}

/// How a run is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunFormat {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// Drives and reconciles one contest, or all of them.
pub(crate) async fn once(
    contests: &Contests,
    contest: Option<ContestId>,
    is_dry: bool,
    format: RunFormat,
) -> anyhow::Result<Ended> {
    if let (Some(id), false) = (contest, is_dry) {
        if contests.ports().contests.get(id).await?.is_none() {
            bail!("there is no contest {id}");
        }
        contests
            .run_contest(id)
            .await
            .context("the contest could not go on")?;
    }
    let asked = Asked {
        scope: contest.map_or(Scope::ALL, Scope::one),
        by: None,
        is_dry,
    };
    let Some(run) = contests.run_here(asked).await? else {
        bail!("there is no such contest");
    };
    let found = found_by(contests, run.id).await?;
    match format {
        RunFormat::Table => print!("{}", table(&run, &found)),
        RunFormat::Json => println!("{}", of_run(&run, &found)),
    }
    if run.totals.failed > 0 {
        bail!(
            "{} contests could not be compared; see the log",
            run.totals.failed
        );
    }
    let is_open = found.iter().any(|finding| finding.settled_at.is_none());
    Ok(if is_open {
        Ended::WithDifferences
    } else {
        Ended::Well
    })
}

async fn found_by(contests: &Contests, run: Uuid) -> anyhow::Result<Vec<Finding>> {
    let records = &contests.ports().reconciliations;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = records.run_findings(run, after, PAGE).await?;
        found.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found),
        }
    }
}

fn table(run: &Run, found: &[Finding]) -> String {
    let totals = run.totals;
    let mut text = format!(
        "run          {}\ncontests     {}\nsignups      {}\ntransfers    {}\ndifferences  {}\n\
         repaired     {} (coins that may have moved: {})\n",
        run.id,
        totals.contests,
        totals.signups,
        totals.transfers,
        totals.differences,
        totals.repaired,
        totals.coins
    );
    if totals.over_limits > 0 {
        text.push_str(&format!(
            "over limits  {} contests: more was to be repaired than a run may, nothing was\n",
            totals.over_limits
        ));
    }
    for finding in found {
        let status = if finding.settled_at.is_some() {
            "settled"
        } else {
            "OPEN"
        };
        text.push_str(&format!(
            "{status:8} {:18} {} {}\n         {}\n",
            finding.class.name(),
            finding.contest_id,
            finding.subject,
            finding.evidence
        ));
    }
    text
}

fn of_run(run: &Run, found: &[Finding]) -> Value {
    let totals = run.totals;
    json!({
        "run_id": run.id.to_string(),
        "dry_run": run.is_dry,
        "totals": {
            "contests": totals.contests,
            "failed": totals.failed,
            "signups": totals.signups,
            "transfers": totals.transfers,
            "differences": totals.differences,
            "repaired": totals.repaired,
            "repaired_coins": totals.coins,
            "over_limits": totals.over_limits,
        },
        "findings": found.iter().map(of_finding).collect::<Vec<_>>(),
    })
}

/// A finding for a script.
pub(crate) fn of_finding(finding: &Finding) -> Value {
    json!({
        "finding_id": finding.id.to_string(),
        "class": finding.class.name(),
        "contest_id": finding.contest_id.to_string(),
        "subject": finding.subject,
        "user_id": finding.user_id.as_ref().map(ToString::to_string),
        "evidence": finding.evidence,
        "found_at": rfc3339(finding.found_at),
        "settled_at": finding.settled_at.map(rfc3339),
    })
}

/// Reports on a contest.
pub(crate) async fn report(
    contests: &Contests,
    contest: ContestId,
    format: Format,
) -> anyhow::Result<Ended> {
    let Some(report) = contests.report(contest).await? else {
        bail!("there is no contest {contest}");
    };
    let sums = Sums::new(&report, contests.ports().contests.now().await?);
    match format {
        Format::Table => print!("{}", sums.table()),
        Format::Json => println!("{}", sums.json()),
        Format::Csv => print!("{}", sums.csv()),
        Format::Html => print!("{}", html::page(&sums)),
    }
    Ok(if sums.is_green() {
        Ended::Well
    } else {
        Ended::WithDifferences
    })
}

/// Builds what is shown of a contest anew.
pub(crate) async fn rebuild_tally(contests: &Contests, id: ContestId) -> anyhow::Result<Ended> {
    let Some(contest) = contests.ports().contests.get(id).await? else {
        bail!("there is no contest {id}");
    };
    match contests.rebuild_shown(&contest).await {
        Rebuilt::Yes => {
            println!("tally and ranking of {id} are as the rows say");
            Ok(Ended::Well)
        }
        Rebuilt::Busy => bail!("another node is building them: try again in a moment"),
        Rebuilt::Unanswered => bail!("Redis or the store did not answer; see the log"),
        Rebuilt::NoCache => {
            bail!("there is no Redis here (redis.url): everything is read from the store")
        }
    }
}

/// How results are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultsFormat {
    /// For people.
    Table,
    /// For scripts.
    Json,
    /// For spreadsheets: a line for each arm and metric.
    Csv,
}

/// Shows the results of an experiment.
pub(crate) async fn experiment(
    contests: &Contests,
    name: &ExperimentName,
    format: ResultsFormat,
) -> anyhow::Result<Ended> {
    let stored = &contests.ports().experiments;
    let Some(experiment) = stored.experiment(name).await? else {
        bail!("there is no experiment {name}");
    };
    let results = experiments::results(&**stored, experiment).await?;
    match format {
        ResultsFormat::Table => print!("{}", experiments::report::table(&results)),
        ResultsFormat::Json => println!("{}", of_results(&results)),
        ResultsFormat::Csv => print!("{}", experiments::report::csv(&results)),
    }
    let is_harmed = results.treated.iter().any(|one| !one.harms.is_empty());
    let is_stopped = !results.experiment.stopped.is_empty();
    Ok(
        if results.is_uneven() || results.crossed > 0 || is_harmed || is_stopped {
            Ended::WithDifferences
        } else {
            Ended::Well
        },
    )
}

fn of_results(results: &Results) -> Value {
    let arms = results.arms.iter().map(|arm| {
        let funnel = &arm.funnel;
        json!({
            "variant": arm.variant.to_string(),
            "units": arm.units,
            "exposed": funnel.exposed,
            "signed_up": funnel.signed_up,
            "paid": funnel.paid,
            "finished": funnel.finished,
            "claimed": funnel.claimed,
            "refunded": funnel.refunded,
            "charge_failed": funnel.charge_failed,
            "coins_in": funnel.coins_in,
            "coins_out": funnel.coins_out,
        })
    });
    let comparisons = results.treated.iter().map(|treated| {
        let metrics = treated
            .comparisons
            .iter()
            .filter_map(|(metric, found)| match found {
                Comparison::Interval(found) => Some(json!({
                    "metric": metric.name(),
                    "rate": found.treated,
                    "control_rate": found.control,
                    "difference": found.difference,
                    "low": found.low,
                    "high": found.high,
                    "p_value": found.p_value,
                })),
                Comparison::TooFewUnits { .. } | Comparison::NoInterval => None,
            });
        json!({
            "variant": treated.variant.to_string(),
            "verdict": experiments::report::verdict(treated.verdict),
            "harms": treated.harms.iter().map(|one| one.metric.name()).collect::<Vec<_>>(),
            "metrics": metrics.collect::<Vec<_>>(),
        })
    });
    json!({
        "experiment": results.experiment.name.to_string(),
        "status": experiments::report::status(&results.experiment.status),
        "is_uneven": results.is_uneven(),
        "sample_ratio_p_value": results.sample_ratio,
        "crossed_units": results.crossed,
        "arms": arms.collect::<Vec<_>>(),
        "comparisons": comparisons.collect::<Vec<_>>(),
    })
}

/// Lists the leases.
pub(crate) async fn leases(contests: &Contests) -> anyhow::Result<Ended> {
    let held = contests.ports().leases.held(PAGE).await?;
    if held.is_empty() {
        println!("no lease is held: nobody is at work");
    }
    for one in held {
        let lease = one.lease;
        println!(
            "{}  holder {}  fence {}  until {}",
            lease.name,
            lease.owner,
            lease.fence.0,
            rfc3339(one.ends_at)
        );
    }
    Ok(Ended::Well)
}
