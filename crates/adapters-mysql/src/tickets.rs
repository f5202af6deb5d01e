//! Tickets in MySQL, by the database's clock, for any number of nodes.
//!
//! What arrives together shares a transaction, which takes its locks in one order in every process:
//! tickets by hash, then windows by user. What is past is removed in a transaction of its own, in
//! the same order; so none of them can be part of a circle.

use crate::{
    BATCH_MAX, MysqlStore, mismatched,
    session::{Purpose, Session, Work},
    submit,
};
use async_trait::async_trait;
use domain::{ids::UserId, time::UnixMillis};
use ports::{
    store::StoreError,
    tickets::{Given, TICKETS_OF_USER_MAX, TicketHash, Tickets},
};
use sql_core::{
    group::Executor,
    mysql::{NOW_MS, THEN_MS, is_judgement, keys, rows},
    record::Context,
};
use sqlx::{AssertSqlSafe, MySqlConnection, Row, mysql::MySqlConnectOptions};
use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

/// The most that is removed of each table after a batch: more than a batch adds.
const REMOVED_MAX: usize = 2 * BATCH_MAX;

/// Decides who has a ticket: of all who ask, one removes it.
pub(crate) static TAKE: LazyLock<String> = LazyLock::new(|| {
    format!("DELETE FROM event_ticket WHERE ticket_hash = ? AND ends_at > {THEN_MS}")
});

/// Whose so many tickets are. Nothing of a ticket ever changes.
pub(crate) fn owners(number: usize) -> String {
    format!(
        "SELECT ticket_hash, user_id FROM event_ticket FORCE INDEX (PRIMARY) WHERE ticket_hash IN ({})",
        keys::marks(1, number)
    )
}

pub(crate) const TICKET: &str = "INSERT INTO event_ticket (ticket_hash, user_id, ends_at)";
pub(crate) const WINDOW: &str = "INSERT INTO event_ticket_window (user_id, asked, ends_at)";

/// Counts, and with it holds the user's row until the end of the transaction. A window that is over
/// begins anew. Both columns look at the old end, at one moment: that at which the statement began.
pub(crate) static COUNT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "ON DUPLICATE KEY UPDATE \
           asked = IF(ends_at <= {NOW_MS}, VALUES(asked), asked + VALUES(asked)), \
           ends_at = IF(ends_at <= {NOW_MS}, VALUES(ends_at), ends_at)"
    )
});

/// How many so many users have asked for, and the time.
pub(crate) fn asked(number: usize) -> String {
    format!(
        "SELECT user_id, asked, {NOW_MS} FROM event_ticket_window FORCE INDEX (PRIMARY) WHERE user_id IN ({})",
        keys::marks(1, number)
    )
}

pub(crate) static PAST_TICKETS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT ticket_hash FROM event_ticket WHERE ends_at <= {NOW_MS} ORDER BY ends_at LIMIT ?"
    )
});
pub(crate) static PAST_WINDOWS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT user_id FROM event_ticket_window WHERE ends_at <= {NOW_MS} ORDER BY ends_at LIMIT ?"
    )
});

/// The statement that removes so many tickets.
pub(crate) fn remove_tickets(number: usize) -> String {
    format!(
        "DELETE FROM event_ticket WHERE ticket_hash IN ({})",
        keys::marks(1, number)
    )
}

/// The statement that removes so many windows, but those that have begun anew since they were read.
pub(crate) fn remove_windows(number: usize) -> String {
    format!(
        "DELETE FROM event_ticket_window WHERE user_id IN ({}) AND ends_at <= {THEN_MS}",
        keys::marks(1, number)
    )
}

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Take(TicketHash),
    Give(Wish),
}

/// A ticket that is asked for.
#[derive(Debug)]
pub(crate) struct Wish {
    ticket: TicketHash,
    user: UserId,
    for_ms: i64,
}

/// What is answered.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The user's id as it is stored.
    Taken(Option<String>),
    Given(Given),
}

/// The connection for tickets. It is made when the first one is asked for.
pub(crate) struct Desk {
    session: Session,
}

impl Desk {
    pub(crate) const fn new(options: MySqlConnectOptions) -> Self {
        Self {
            session: Session::new(options, Purpose::Write),
        }
    }
}

impl Executor for Desk {
    type Command = Command;
    type Reply = Reply;

    async fn run(&mut self, commands: &[Command]) -> Result<Vec<Reply>, sqlx::Error> {
        let replies = self.session.transact(&Batch(commands)).await?;
        let is_wish = |command: &Command| matches!(command, Command::Give(_));
        if commands.iter().any(is_wish)
            && let Err(error) = self.session.transact(&Removal).await
        {
            // It takes up room and is good for nothing; the next batch removes it.
            tracing::warn!(%error, "tickets that are past could not be removed");
        }
        Ok(replies)
    }

    fn may_be_one_of_them(error: &sqlx::Error) -> bool {
        is_judgement(error)
    }
}

struct Batch<'a>(&'a [Command]);

impl Work for Batch<'_> {
    type Output = Vec<Reply>;

    async fn run(
        &self,
        connection: &mut MySqlConnection,
    ) -> Result<(Vec<Reply>, bool), sqlx::Error> {
        let (mut takes, mut wishes) = (Vec::new(), Vec::new());
        for (place, command) in self.0.iter().enumerate() {
            match command {
                Command::Take(ticket) => takes.push((*ticket, place)),
                Command::Give(wish) => wishes.push((wish, place)),
            }
        }
        takes.sort_unstable();
        let mut replies = BTreeMap::new();
        let took = take(connection, &takes, &mut replies).await?;
        let gave = give(connection, &wishes, &mut replies).await?;
        Ok((replies.into_values().collect(), took || gave))
    }
}

/// What is answered, by the command's place in the batch.
type Replies = BTreeMap<usize, Reply>;

/// Whether any of these, which are in the order of their hashes, was taken.
async fn take(
    connection: &mut MySqlConnection,
    takes: &[(TicketHash, usize)],
    replies: &mut Replies,
) -> Result<bool, sqlx::Error> {
    if takes.is_empty() {
        return Ok(false);
    }
    let mut query = sqlx::query(AssertSqlSafe(owners(takes.len())));
    for (TicketHash(hash), _) in keys::fill(takes) {
        query = query.bind(&hash[..]);
    }
    let mut owners: HashMap<Vec<u8>, String> = HashMap::new();
    for row in query.fetch_all(&mut *connection).await? {
        owners.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let mut took = false;
    for (TicketHash(hash), place) in takes {
        let mut owner = owners.get(&hash[..]).cloned();
        if owner.is_some() {
            let gone = sqlx::query(AssertSqlSafe(TAKE.as_str()))
                .bind(&hash[..])
                .execute(&mut *connection)
                .await?;
            let is_ours = gone.rows_affected() == 1;
            took |= is_ours;
            owner = owner.filter(|_| is_ours);
        }
        replies.insert(*place, Reply::Taken(owner));
    }
    Ok(took)
}

/// Whether anything was written.
async fn give(
    connection: &mut MySqlConnection,
    wishes: &[(&Wish, usize)],
    replies: &mut Replies,
) -> Result<bool, sqlx::Error> {
    // How many each asks for now, and how long the first of them lives.
    let mut users: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for (wish, _) in wishes {
        let of_user = users.entry(wish.user.as_str()).or_insert((0, wish.for_ms));
        of_user.0 += 1;
    }
    let users: Vec<(&str, (i64, i64))> = users.into_iter().collect();
    if users.is_empty() {
        return Ok(false);
    }
    rows::insert(
        connection,
        WINDOW,
        &users,
        &COUNT,
        |mut row, (user, (count, for_ms))| {
            row.push_bind((*user).to_owned())
                .push_bind(*count)
                .push(NOW_MS)
                .push_unseparated(" + ")
                .push_bind_unseparated(*for_ms);
        },
    )
    .await?;
    let mut query = sqlx::query(AssertSqlSafe(asked(users.len())));
    for (user, _) in keys::fill(&users) {
        query = query.bind(*user);
    }
    let (mut before, mut now) = (HashMap::new(), UnixMillis(0));
    for row in query.fetch_all(&mut *connection).await? {
        let (user, asked): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        now = UnixMillis(row.try_get(2)?);
        before.insert(user, asked);
    }
    for (user, (count, _)) in &users {
        let asked = before.get_mut(*user).ok_or(sqlx::Error::RowNotFound)?;
        *asked -= count;
    }
    let mut tickets = Vec::new();
    for (wish, place) in wishes {
        let given = match before.get_mut(wish.user.as_str()) {
            Some(asked) if *asked < i64::from(TICKETS_OF_USER_MAX) => {
                *asked += 1;
                let ends_at = now.plus(wish.for_ms);
                tickets.push((wish, ends_at));
                Given::Until(ends_at)
            }
            _ => Given::OfUserMax,
        };
        replies.insert(*place, Reply::Given(given));
    }
    rows::insert(
        connection,
        TICKET,
        &tickets,
        "",
        |mut row, (wish, ends_at)| {
            row.push_bind(wish.ticket.0.to_vec())
                .push_bind(wish.user.to_string())
                .push_bind(ends_at.0);
        },
    )
    .await?;
    Ok(true)
}

/// Removes what is past: a bounded number, found by its end and removed by its key.
struct Removal;

impl Work for Removal {
    type Output = ();

    async fn run(&self, connection: &mut MySqlConnection) -> Result<((), bool), sqlx::Error> {
        let max = i64::try_from(REMOVED_MAX).unwrap_or(i64::MAX);
        let mut tickets: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(PAST_TICKETS.as_str()))
            .bind(max)
            .fetch_all(&mut *connection)
            .await?;
        tickets.sort_unstable();
        let mut users: Vec<String> = sqlx::query_scalar(AssertSqlSafe(PAST_WINDOWS.as_str()))
            .bind(max)
            .fetch_all(&mut *connection)
            .await?;
        users.sort_unstable();
        if !tickets.is_empty() {
            let mut query = sqlx::query(AssertSqlSafe(remove_tickets(tickets.len())));
            for ticket in keys::fill(&tickets) {
                query = query.bind(ticket);
            }
            query.execute(&mut *connection).await?;
        }
        if !users.is_empty() {
            let mut query = sqlx::query(AssertSqlSafe(remove_windows(users.len())));
            for user in keys::fill(&users) {
                query = query.bind(user);
            }
            query.execute(&mut *connection).await?;
        }
        Ok(((), !tickets.is_empty() || !users.is_empty()))
    }
}

#[async_trait]
impl Tickets for MysqlStore {
    async fn give(
        &self,
        ticket: TicketHash,
        user: &UserId,
        for_ms: i64,
    ) -> Result<Given, StoreError> {
        let user = user.clone();
        let wish = Wish {
            ticket,
            user,
            for_ms,
        };
        match submit(&self.tickets, Command::Give(wish)).await? {
            Reply::Given(given) => Ok(given),
            other => Err(mismatched(&other)),
        }
    }

    async fn take(&self, ticket: TicketHash) -> Result<Option<UserId>, StoreError> {
        let user = match submit(&self.tickets, Command::Take(ticket)).await? {
            Reply::Taken(user) => user,
            other => return Err(mismatched(&other)),
        };
        let parse = |user: String| {
            let context = Context {
                table: "event_ticket",
                key: &user,
            };
            context.parsed("user_id", &user)
        };
        user.map(parse).transpose()
    }
}
