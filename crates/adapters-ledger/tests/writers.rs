//! Several writers on one database, and answers that are lost: no order applies twice, and
//! positions rise with commit order without a gap.

mod common;

use adapters_ledger::{Ledger, MysqlSettings};
use common::Schema;
use domain::{
    money::Coins,
    order::{Account, OrderId, Platform},
    transfer::{Content, Position, Transfer},
};
use futures_util::future::join_all;
use ports::funds::{Funds, TransferOutcome, TransferRequest};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const SERVERS: [&str; 2] = ["GUAFEN_TEST_MYSQL_URL", "GUAFEN_TEST_MARIADB_URL"];

fn ann() -> Account {
    Account::User("ann".parse().expect("a user id"))
}

fn grant(number: u64, amount: u64) -> TransferRequest {
    TransferRequest {
        order_id: OrderId(u128::from(number).to_be_bytes()),
        content: Content {
            from: Account::Platform(Platform::Issuing),
            to: ann(),
            amount: Coins::new(amount).expect("coins"),
        },
        not_after: None,
        memo: format!("grant {number}"),
    }
}

/// The books hold exactly `count` transfers, at the positions from 1 on, with times that never
/// fall, and all accounts add up to zero.
async fn whole(ledger: &Ledger, count: u64) -> Vec<Transfer> {
    let issuing = Account::Platform(Platform::Issuing);
    let mut all = Vec::new();
    loop {
        let after = Position(all.len() as u64);
        let page = ledger.list(&issuing, after, 500).await.expect("a list");
        if page.transfers.is_empty() {
            assert_eq!(page.closed_position, Position(count));
            break;
        }
        all.extend(page.transfers);
    }
    let positions: Vec<_> = all.iter().map(|one| one.receipt.position.0).collect();
    assert_eq!(positions, (1..=count).collect::<Vec<_>>());
    let times: Vec<_> = all.iter().map(|one| one.receipt.applied_at).collect();
    assert!(times.is_sorted(), "{times:?}");
    let mut sum = 0;
    for account in [ann(), issuing] {
        sum += ledger.balance(&account).await.expect("a balance").amount;
    }
    assert_eq!(sum, 0);
    let held: i64 = all.iter().map(|one| one.content.amount.as_i64()).sum();
    assert_eq!(
        ledger.balance(&ann()).await.expect("a balance").amount,
        held
    );
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_ledgers_on_one_database_give_out_each_position_once() {
    const ORDERS: u64 = 200;
    for variable in SERVERS {
        let schema = Schema::new(variable).await;
        let ledgers = [
            Arc::new(schema.ledger().await),
            Arc::new(schema.ledger().await),
        ];
        join_all(
            ledgers
                .iter()
                .map(|ledger| async { ledger.open_account(&ann()).await }),
        )
        .await
        .into_iter()
        .for_each(|opened| opened.expect("an open account"));
        // Each order is sent to both at once.
        let tasks = ledgers.iter().flat_map(|ledger| {
            (1..=ORDERS).map(|number| {
                let ledger = Arc::clone(ledger);
                tokio::spawn(async move { (number, ledger.transfer(&grant(number, number)).await) })
            })
        });
        let mut answers: BTreeMap<u64, Vec<Transfer>> = BTreeMap::new();
        for task in tasks.collect::<Vec<_>>() {
            match task.await.expect("a task that ends") {
                (number, TransferOutcome::Applied(transfer)) => {
                    answers.entry(number).or_default().push(transfer);
                }
                (number, outcome) => panic!("{variable}: {number}: {outcome:?}"),
            }
        }
        for (number, told) in &answers {
            assert_eq!(told.len(), 2, "{variable}: {number}");
            assert_eq!(told[0], told[1], "{variable}: {number}");
        }
        whole(&ledgers[0], ORDERS).await;
        whole(&ledgers[1], ORDERS).await;
    }
}

/// What the proxy does with the n-th COMMIT.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The server never sees it.
    Asked,
    /// The server carries it out, the answer is lost.
    Answered,
}

/// A proxy that cuts the connection at each COMMIT whose number `cuts` says so.
async fn proxy(
    target: SocketAddr,
    commits: Arc<AtomicU64>,
    cuts: fn(u64) -> Option<Cut>,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(target).await else {
                continue;
            };
            tokio::spawn(converse(client, server, Arc::clone(&commits), cuts));
        }
    });
    address
}

async fn converse(
    mut client: TcpStream,
    mut server: TcpStream,
    commits: Arc<AtomicU64>,
    cuts: fn(u64) -> Option<Cut>,
) -> std::io::Result<()> {
    // Length, sequence number, COM_QUERY, text.
    const COMMIT: &[u8] = b"\x07\x00\x00\x00\x03COMMIT";
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                let cut = (up[..read] == *COMMIT)
                    .then(|| cuts(commits.fetch_add(1, Ordering::SeqCst)))
                    .flatten();
                match cut {
                    Some(Cut::Asked) => return Ok(()),
                    Some(Cut::Answered) => {
                        server.write_all(&up[..read]).await?;
                        // The answer is there: the commit is done. It goes no further.
                        let _ = server.read(&mut down).await?;
                        return Ok(());
                    }
                    None => server.write_all(&up[..read]).await?,
                }
            }
            read = server.read(&mut down) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                client.write_all(&down[..read]).await?;
            }
        }
    }
}

async fn behind(schema: &Schema, commits: &Arc<AtomicU64>, cuts: fn(u64) -> Option<Cut>) -> Ledger {
    let url = schema.url();
    let (before, rest) = url.split_once('@').expect("a user");
    let (host, name) = rest.split_once('/').expect("a database");
    let target = host.parse().expect("an address with a port");
    let address = proxy(target, Arc::clone(commits), cuts).await;
    let settings = MysqlSettings {
        url: format!("{before}@{address}/{name}?ssl-mode=disabled"),
        ..schema.settings()
    };
    Ledger::open_mysql(&settings).await.expect("a ledger")
}

// hazard: A1, A8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_read_again_and_never_applied_twice() {
    for variable in SERVERS {
        let schema = Schema::new(variable).await;
        let commits = Arc::default();
        // Every third COMMIT never arrives, every other third is carried out and not answered.
        let ledger = behind(&schema, &commits, |number| match number % 3 {
            0 => Some(Cut::Answered),
            1 => Some(Cut::Asked),
            _ => None,
        })
        .await;
        ledger.open_account(&ann()).await.expect("an open account");
        let mut positions = Vec::new();
        for number in 1..=30 {
            // A try is cut at most twice in a row, and tried thrice: the re-read proves it.
            match ledger.transfer(&grant(number, 3)).await {
                TransferOutcome::Applied(transfer) => positions.push(transfer.receipt.position.0),
                outcome => panic!("{variable}: {number}: {outcome:?}"),
            }
        }
        assert_eq!(positions, (1..=30).collect::<Vec<_>>());
        assert!(commits.load(Ordering::SeqCst) > 31, "nothing was cut");
        let direct = schema.ledger().await;
        whole(&direct, 30).await;
    }
}

// hazard: A1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_unknown_is_answered_by_a_repeat() {
    for variable in SERVERS {
        let schema = Schema::new(variable).await;
        let direct = schema.ledger().await;
        direct.open_account(&ann()).await.expect("an open account");
        // Every answer is lost; what reads needs no COMMIT and is answered.
        let deaf = behind(&schema, &Arc::default(), |_| Some(Cut::Answered)).await;
        let request = grant(1, 5);
        assert_eq!(deaf.transfer(&request).await, TransferOutcome::Unknown);
        let found = deaf.lookup(&[request.order_id]).await.expect("an answer");
        let stored = found.found[0].clone().expect("a transfer that applied");
        assert_eq!(
            direct.transfer(&request).await,
            TransferOutcome::Applied(stored)
        );
        // No COMMIT arrives at all: nothing applied.
        let mute = behind(&schema, &Arc::default(), |_| Some(Cut::Asked)).await;
        let request = grant(2, 5);
        assert_eq!(mute.transfer(&request).await, TransferOutcome::Unknown);
        let found = mute.lookup(&[request.order_id]).await.expect("an answer");
        assert_eq!(found.found, [None]);
        whole(&direct, 1).await;
    }
}
