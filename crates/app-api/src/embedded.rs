//! The embedded default: API, ledger and loops in one process, durable in one directory.

use crate::{
    auth::Tokens,
    board,
    config::Settings,
    data_dir::{DataDir, LEDGER, STORE},
    edge::telemetry,
    meter::MeteredFunds,
    node::Node,
    ready::Readiness,
    state::Offers,
};
use adapters_ledger::Ledger;
use adapters_sqlite::SqliteStore;
use anyhow::Context;
use domain::{
    order::{Account, Platform},
    transfer::Position,
};
use ports::{
    contests::{ContestFilter, ContestRepository},
    funds::Funds,
    leases::Alone,
    tickets::OwnTickets,
};
use runtime::system::{RandomIds, SystemClock};
use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};
use tokio_util::sync::CancellationToken;
use usecases::{Contests, Ports, background};

/// Lets nobody else read the databases, whatever the directory was when it was given: secrets of
/// draws that are not published yet are in the store.
fn keep_private(dir: &Path) -> anyhow::Result<()> {
    for name in [STORE, LEDGER] {
        for part in ["", "-wal", "-shm"] {
            let path = dir.join(format!("{name}{part}"));
            if path.exists() {
                let mode = std::fs::Permissions::from_mode(0o600);
                std::fs::set_permissions(&path, mode)
                    .with_context(|| format!("cannot close {} to others", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Opens store and ledger. They belong together: one of them without the other, once there is
/// something in it, is a loss that nothing here can make good, and going on would tell viewers
/// that they never paid.
async fn open_books(dir: &Path) -> anyhow::Result<(SqliteStore, Ledger)> {
    let (store_path, ledger_path) = (dir.join(STORE), dir.join(LEDGER));
    let lost = |lost: &str, kept: &str| {
        anyhow::anyhow!(
            "{} has {kept} but its {lost} is gone; restore both from one backup",
            dir.display()
        )
    };
    let open_store = || async {
        SqliteStore::open(&store_path, &[], false)
            .await
            .context("cannot open the store")
    };
    let open_ledger = || async {
        Ledger::open(&ledger_path)
            .await
            .context("cannot open the ledger")
    };
    if ledger_path.exists() && !store_path.exists() {
        let ledger = open_ledger().await?;
        let issuing = Account::Platform(Platform::Issuing);
        if !ledger
            .list(&issuing, Position(0), 1)
            .await?
            .transfers
            .is_empty()
        {
            return Err(lost(STORE, LEDGER));
        }
        return Ok((open_store().await?, ledger));
    }
    let store = open_store().await?;
    if !ledger_path.exists() {
        let contests = store.list(&ContestFilter::default(), None, 1).await?;
        if !contests.items.is_empty() {
            return Err(lost(LEDGER, STORE));
        }
    }
    Ok((store, open_ledger().await?))
}

/// Serves until a signal to stop, then drains.
///
/// # Errors
/// When the directory is in use or cannot be opened, an address cannot be listened on, or keys for
/// tokens cannot be had.
pub(crate) async fn serve(data_dir: &Path, settings: Settings) -> anyhow::Result<()> {
    settings.refuse_production()?;
    let dir = DataDir::open(data_dir)?;
    telemetry::install()?;
    let stopping = CancellationToken::new();
    let tokens = Tokens::of_server(&settings.auth, Some(&dir.path), &stopping).await?;
    let (store, ledger) = open_books(&dir.path).await?;
    keep_private(&dir.path)?;
    let ledger = Arc::new(ledger);
    let readiness = Readiness::new(Arc::new(store.clone()), Arc::clone(&ledger) as _);
    let store = Arc::new(store);
    let contests = Arc::new(Contests::new(Ports {
        contests: Arc::clone(&store) as _,
        signups: Arc::clone(&store) as _,
        tasks: Arc::clone(&store) as _,
        events: Arc::clone(&store) as _,
        findings: Arc::clone(&store) as _,
        reconciliations: Arc::clone(&store) as _,
        notices: Arc::clone(&store) as _,
        switches: Arc::clone(&store) as _,
        experiments: Arc::clone(&store) as _,
        judge: Some(Arc::new(experiments::Statistician::new(
            Arc::clone(&store) as _
        ))),
        receiver: None,
        leaderboard: store as _,
        funds: Arc::new(MeteredFunds(ledger as _)),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        leases: Arc::new(Alone),
        shown: None,
    })?);
    let node = Node {
        contests,
        tokens,
        tickets: Arc::new(OwnTickets::new(Arc::new(SystemClock))),
        readiness,
        stopping,
        files: Some(board::Files {
            store: dir.path.join(STORE),
            ledger: dir.path.join(LEDGER),
        }),
        offers: Offers {
            sandbox: true,
            events: true,
        },
        kept_in: format!("data in {}", dir.path.display()),
    };
    node.serve(settings, background::start).await
}
