//! Who met an experiment: recorded once, in batches, in the order of their keys in every process, so that two
//! batches are never part of a circle.

use crate::{
    MysqlStore,
    session::{Purpose, Session, Work},
};
use ports::{experiments::Exposure, store::StoreError};
use sql_core::{
    group::Executor,
    mysql::{NOW_MS, is_judgement, rows},
};
use sqlx::{MySqlConnection, mysql::MySqlConnectOptions};
use std::collections::BTreeMap;

pub(crate) const INSERT: &str =
    "INSERT INTO exposure (experiment, unit, contest_id, user_id, variant, met_at)";
/// What was first stays.
pub(crate) const STAYS: &str = "ON DUPLICATE KEY UPDATE met_at = exposure.met_at";

/// The connection for exposures. It is made when the first one is recorded.
pub(crate) struct Recorder {
    session: Session,
}

impl Recorder {
    pub(crate) const fn new(options: MySqlConnectOptions) -> Self {
        Self {
            session: Session::new(options, Purpose::Write),
        }
    }
}

impl Executor for Recorder {
    type Command = Vec<Exposure>;
    type Reply = ();

    async fn run(&mut self, commands: &[Vec<Exposure>]) -> Result<Vec<()>, sqlx::Error> {
        let mut distinct = BTreeMap::new();
        for exposure in commands.iter().flatten() {
            let user = exposure.user_id.as_ref().map_or("", |user| user.as_str());
            let key = (
                exposure.experiment.as_str(),
                exposure.unit.as_str(),
                exposure.contest_id,
                user,
            );
            distinct.entry(key).or_insert(exposure);
        }
        let batch = Batch(distinct.into_values().collect());
        self.session.transact(&batch).await?;
        Ok(vec![(); commands.len()])
    }

    fn may_be_one_of_them(error: &sqlx::Error) -> bool {
        is_judgement(error)
    }
}

struct Batch<'a>(Vec<&'a Exposure>);

impl Work for Batch<'_> {
    type Output = ();

    async fn run(&self, connection: &mut MySqlConnection) -> Result<((), bool), sqlx::Error> {
        rows::insert(connection, INSERT, &self.0, STAYS, |mut row, exposure| {
            let user = exposure.user_id.as_ref().map(ToString::to_string);
            row.push_bind(exposure.experiment.to_string())
                .push_bind(exposure.unit.clone())
                .push_bind(exposure.contest_id.0)
                .push_bind(user.unwrap_or_default())
                .push_bind(exposure.variant.to_string())
                .push(NOW_MS);
        })
        .await?;
        Ok(((), true))
    }
}

/// Records exposures together with whatever else arrives.
pub(crate) async fn submit(store: &MysqlStore, exposures: Vec<Exposure>) -> Result<(), StoreError> {
    crate::submit(&store.exposures, exposures).await
}
