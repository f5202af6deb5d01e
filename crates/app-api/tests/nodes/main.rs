//! Two nodes of the production stack on one real MySQL, with nothing between them: a browser's
//! requests go now to the one and now to the other.

#[path = "../live/server.rs"]
#[allow(dead_code, reason = "the tests of streams use the rest")]
mod server;

use adapters_ledger::Ledger;
use serde_json::json;
use server::Server;
use std::sync::Arc;
use tempfile::TempDir;
use test_support::{Database, Engine, database};
use tokio::{net::TcpListener, task::JoinHandle};

const SECRET: &str = "a secret of two nodes on loopback";

/// A schema, and the reference ledger behind real gRPC.
struct Bed {
    store: Database,
    funds: String,
    serving: JoinHandle<()>,
    _books: TempDir,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Bed {
    async fn new() -> Self {
        let store = database(Engine::Mysql).await.expect("a test server");
        production::migrate(store.url()).await.expect("migrated");
        let books = TempDir::new().expect("a directory");
        let ledger = Ledger::open(&books.path().join("ledger.db")).await;
        let ledger = Arc::new(ledger.expect("a ledger"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            let served = adapters_funds::serve(ledger, listener, None, std::future::pending());
            served.await.expect("a server");
        });
        Self {
            store,
            funds: format!("http://{address}"),
            serving,
            _books: books,
        }
    }

    fn node(&self) -> Server {
        let (store, funds) = (self.store.url(), &self.funds);
        let config = format!(
            "[store]\nurl = \"{store}\"\nprofile = \"test\"\n[funds]\nurl = \"{funds}\"\n\
             [server]\nlisten = \"127.0.0.1:0\"\n[auth]\nhs256_secret = \"{SECRET}\"\n"
        );
        Server::node(&config, SECRET)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_one_node_opens_one_stream_on_the_other() {
    let bed = Bed::new().await;
    let (one, other) = (bed.node(), bed.node());
    let operator = one.token("boss", "operator");
    let contest = one.contest(&operator, 60);
    let ann = one.token("ann", "player");
    for [giver, taker] in [[&one, &other], [&other, &one]] {
        let answer = giver.call("POST", "/v1/events-tickets", &ann, None);
        assert_eq!(answer.status, 201, "{}", answer.text);
        let ticket = answer.json()["ticket"].clone();
        let ticket = ticket.as_str().expect("a ticket");
        let path = format!("/v1/contests/{contest}/events?ticket={ticket}");
        let mut stream = taker.events(&path, "");
        assert_eq!(stream.status, 200);
        assert_eq!(
            stream.event().expect("an event").data["contest_id"],
            contest.as_str()
        );
        for node in [taker, giver] {
            let answer = node.call("GET", &path, "", None);
            let code = answer.json()["code"].clone();
            assert_eq!((answer.status, code), (401, json!("unauthorized")));
        }
    }
    // One user's tickets are counted together, whichever node gives them.
    let mut given = 0;
    for number in 0..110 {
        let node = [&one, &other][number % 2];
        let answer = node.call("POST", "/v1/events-tickets", &ann, None);
        given += usize::from(answer.status == 201);
        assert!([201, 429].contains(&answer.status), "{}", answer.text);
    }
    assert_eq!(given, 98, "two were given before");
}
