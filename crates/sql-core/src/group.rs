//! What arrives together commits together.
//!
//! A batch is what has gathered while the previous one was under way, and who is ready to ask when it
//! begins; never a timer: one caller alone waits for nothing. A batch that fails as a whole is
//! replayed one command at a time, so a bad command fails alone.

use std::{future::poll_fn, sync::Arc, task::Poll};
use tokio::sync::{mpsc, oneshot};

/// Runs batches of commands, each batch in one transaction.
pub trait Executor: Send + 'static {
    /// What callers ask for.
    type Command: Send + Sync + 'static;
    /// What they are answered.
    type Reply: Send + 'static;

    /// Runs all `commands` in one transaction and answers each, in their order.
    ///
    /// An error means that nothing is known: the transaction may or may not have been committed.
    /// Commands must be safe to run again after that.
    fn run(
        &mut self,
        commands: &[Self::Command],
    ) -> impl Future<Output = Result<Vec<Self::Reply>, sqlx::Error>> + Send;

    /// How many usual commands this one is as long as, at least 1. A batch is not longer than so
    /// many usual ones, unless one command is.
    fn weight(_command: &Self::Command) -> usize {
        1
    }

    /// True where one of the commands may be the reason, so that each is worth running by itself.
    /// A database that does not answer would not answer any of them.
    fn may_be_one_of_them(_error: &sqlx::Error) -> bool {
        true
    }
}

/// A command was not carried out, or nobody knows whether it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] Arc<sqlx::Error>),
    /// The executor is gone.
    #[error("the writer has stopped")]
    Stopped,
}

type Ask<E> = (
    <E as Executor>::Command,
    oneshot::Sender<Result<<E as Executor>::Reply, GroupError>>,
);

/// The entrance to one executor.
pub struct GroupCommit<E: Executor> {
    asks: mpsc::Sender<Ask<E>>,
}

impl<E: Executor> Clone for GroupCommit<E> {
    fn clone(&self) -> Self {
        Self {
            asks: self.asks.clone(),
        }
    }
}

impl<E: Executor> GroupCommit<E> {
    /// Starts the executor. At most `batch_max` commands, by their weight, share a transaction; at
    /// most `queue_max` wait, further callers wait outside.
    ///
    /// It ends, after the commands in the queue, when the last entrance is dropped.
    #[must_use]
    pub fn start(executor: E, batch_max: usize, queue_max: usize) -> Self {
        let (asks, queue) = mpsc::channel(queue_max);
        let serving = tokio::spawn(serve(executor, queue, batch_max));
        tokio::spawn(async move {
            if let Err(crash) = serving.await
                && crash.is_panic()
            {
                // Nobody would ever be answered again. A process that ends is started again, and
                // loses nothing that was answered.
                tracing::error!(error = %crash, "the writer crashed");
                std::process::abort();
            }
        });
        Self { asks }
    }

    /// Has a command carried out, together with others that wait. Dropping the answer does not
    /// stop it.
    ///
    /// # Errors
    /// [`GroupError`]: nobody knows whether it was carried out.
    pub async fn submit(&self, command: E::Command) -> Result<E::Reply, GroupError> {
        let (answer, answered) = oneshot::channel();
        self.asks
            .send((command, answer))
            .await
            .map_err(|_| GroupError::Stopped)?;
        answered.await.map_err(|_| GroupError::Stopped)?
    }
}

async fn serve<E: Executor>(mut executor: E, mut queue: mpsc::Receiver<Ask<E>>, batch_max: usize) {
    let mut waiting = Vec::with_capacity(batch_max);
    while !waiting.is_empty() || queue.recv_many(&mut waiting, batch_max).await > 0 {
        join_in(&mut waiting, &mut queue, batch_max).await;
        let batch = waiting.drain(..fitting::<E>(&waiting, batch_max));
        let (commands, answers): (Vec<_>, Vec<_>) = batch.unzip();
        match executor.run(&commands).await {
            Ok(replies) => {
                debug_assert_eq!(replies.len(), answers.len());
                for (answer, reply) in answers.into_iter().zip(replies) {
                    // A caller that went away does not want its answer.
                    let _ = answer.send(Ok(reply));
                }
            }
            Err(error) if commands.len() == 1 || !E::may_be_one_of_them(&error) => {
                fail(answers, error);
            }
            Err(error) => {
                tracing::warn!(error = %error, commands = commands.len(), "a batch failed and is replayed one by one");
                for (command, answer) in commands.into_iter().zip(answers) {
                    match executor.run(std::slice::from_ref(&command)).await {
                        Ok(reply) => {
                            let _ =
                                answer.send(reply.into_iter().next().ok_or(GroupError::Stopped));
                        }
                        Err(error) => fail(vec![answer], error),
                    }
                }
            }
        }
    }
}

/// Lets those who are about to ask come with the first: one answer often wakes many callers, and the
/// first of them to get here would otherwise have a transaction of its own. Only what is ready to run
/// is run before, so one caller alone waits for nothing.
async fn join_in<A>(waiting: &mut Vec<A>, queue: &mut mpsc::Receiver<A>, batch_max: usize) {
    if waiting.len() >= batch_max {
        return;
    }
    tokio::task::yield_now().await;
    let rest = batch_max - waiting.len();
    poll_fn(|context| {
        let _ = queue.poll_recv_many(context, waiting, rest);
        Poll::Ready(())
    })
    .await;
}

/// How many of those that wait are in the next batch.
fn fitting<E: Executor>(waiting: &[Ask<E>], batch_max: usize) -> usize {
    let mut weight = 0;
    let first_too_many = waiting.iter().position(|(command, _)| {
        weight += E::weight(command).max(1);
        weight > batch_max
    });
    first_too_many.map_or(waiting.len(), |fitting| fitting.max(1))
}

fn fail<R>(answers: Vec<oneshot::Sender<Result<R, GroupError>>>, error: sqlx::Error) {
    let error = Arc::new(error);
    for answer in answers {
        let _ = answer.send(Err(GroupError::Database(Arc::clone(&error))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Recorder {
        batches: Arc<std::sync::Mutex<Vec<Vec<u32>>>>,
        gate: Arc<tokio::sync::Semaphore>,
    }

    /// Commands from here on are as long as three.
    const HEAVY: u32 = 100;

    impl Executor for Recorder {
        type Command = u32;
        type Reply = u32;

        fn weight(command: &u32) -> usize {
            if *command >= HEAVY { 3 } else { 1 }
        }

        async fn run(&mut self, commands: &[u32]) -> Result<Vec<u32>, sqlx::Error> {
            self.gate.acquire().await.expect("an open gate").forget();
            self.batches.lock().expect("a lock").push(commands.to_vec());
            if commands.contains(&13) {
                Err(sqlx::Error::RowNotFound)
            } else {
                Ok(commands.to_vec())
            }
        }
    }

    #[test]
    fn a_batch_is_as_long_as_it_may_be_by_weight() {
        let fitting = |commands: &[u32]| {
            let ask = |command: &u32| (*command, oneshot::channel().0);
            let asks: Vec<Ask<Recorder>> = commands.iter().map(ask).collect();
            fitting::<Recorder>(&asks, 4)
        };
        assert_eq!(fitting(&[1, 2, 3, 4]), 4);
        assert_eq!(fitting(&[1, 2, 3, 4, 5]), 4);
        assert_eq!(fitting(&[1, HEAVY, 2]), 2);
        assert_eq!(fitting(&[HEAVY, HEAVY]), 1);
        let longer_than_a_batch: Vec<Ask<Recorder>> = vec![(HEAVY, oneshot::channel().0)];
        assert_eq!(super::fitting::<Recorder>(&longer_than_a_batch, 2), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn callers_who_are_woken_together_are_one_batch() {
        const CALLERS: u32 = 5;
        let batches = Arc::default();
        let recorder = Recorder {
            batches: Arc::clone(&batches),
            gate: Arc::new(tokio::sync::Semaphore::new(64)),
        };
        let group = GroupCommit::start(recorder, 8, 64);
        let (wake, woken) = tokio::sync::watch::channel(false);
        let ready = Arc::new(tokio::sync::Barrier::new(CALLERS as usize + 1));
        let callers: Vec<_> = (0..CALLERS)
            .map(|command| {
                let (group, mut woken) = (group.clone(), woken.clone());
                let ready = Arc::clone(&ready);
                tokio::spawn(async move {
                    ready.wait().await;
                    woken.changed().await.expect("a sender");
                    group.submit(command).await
                })
            })
            .collect();
        // In a task, so that all are woken by one who runs beside none of them.
        tokio::spawn(async move {
            ready.wait().await;
            tokio::task::yield_now().await;
            wake.send_replace(true);
        })
        .await
        .expect("a task");
        for caller in callers {
            caller.await.expect("a task").expect("a reply");
        }
        assert_eq!(batches.lock().expect("a lock").len(), 1, "{batches:?}");
    }

    #[tokio::test]
    async fn what_arrives_during_a_batch_forms_the_next_and_a_bad_command_fails_alone() {
        let batches = Arc::default();
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let group = GroupCommit::start(
            Recorder {
                batches: Arc::clone(&batches),
                gate: Arc::clone(&gate),
            },
            8,
            64,
        );
        let submit = |command| {
            let group = group.clone();
            tokio::spawn(async move { group.submit(command).await })
        };
        let first = submit(1);
        while gate.available_permits() == 0 && batches.lock().expect("a lock").is_empty() {
            gate.add_permits(1);
            tokio::task::yield_now().await;
        }
        assert_eq!(first.await.expect("a task").expect("a reply"), 1);
        let tasks: Vec<_> = [2, 13, 3].into_iter().map(submit).collect();
        gate.add_permits(64);
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.expect("a task").ok());
        }
        assert_eq!(answers, [Some(2), None, Some(3)]);
    }
}
