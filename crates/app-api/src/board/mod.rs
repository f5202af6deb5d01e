//! The live board: one page that shows a contest being played, for whoever sits at this machine.
//!
//! It takes no token, so it is served only by an instance that listens on loopback, and answers
//! only requests that name this machine as loopback and come from no proxy: a page of another
//! site that has its own name resolved to 127.0.0.1 is refused (DNS rebinding).

pub(crate) mod checks;
mod page;
mod picture;
mod words;

use crate::{
    live::{
        hub::{EventIds, Hub},
        stream,
    },
    problem::{Code, Problem},
};
use axum::{
    Router,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header, uri::Authority},
    middleware::{Next, from_fn},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use checks::{Checked, Checks};
use domain::{contest::Contest, ids::ContestId};
use page::Assets;
use picture::BoardSource;
use ports::contests::ContestFilter;
use serde::Deserialize;
use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use usecases::{Contests, Failure};
use words::Language;

/// Contests that the picker offers.
const PICKED: usize = 20;
/// How long a page waits for a check.
const PATIENCE: Duration = Duration::from_secs(1);

/// What everything of the board shares.
pub(crate) struct Board {
    contests: Arc<Contests>,
    hub: Hub<Option<ContestId>>,
    ids: Arc<EventIds>,
    checks: Checks,
    assets: Assets,
}

/// Which files it has checked, besides what it shares with the API.
pub(crate) struct Files {
    pub(crate) store: PathBuf,
    pub(crate) ledger: PathBuf,
}

/// `api` with the board beside it, if this is an address of loopback.
pub(crate) fn beside(
    api: Router,
    address: IpAddr,
    contests: Arc<Contests>,
    files: Files,
    stopping: CancellationToken,
) -> Router {
    if address.is_loopback() {
        api.merge(router(contests, files, stopping))
    } else {
        api
    }
}

fn router(
    contests: Arc<Contests>,
    Files { store, ledger }: Files,
    stopping: CancellationToken,
) -> Router {
    let clock = Arc::clone(&contests.ports().clock);
    let board = Arc::new(Board {
        contests,
        hub: Hub::new(stopping),
        ids: Arc::default(),
        checks: Checks::new(store, ledger, clock),
        assets: Assets::new(),
    });
    let mut router = Router::new()
        .route("/", get(show))
        .route("/board/events", get(events));
    for asset in board.assets.all() {
        let path = asset.path.clone();
        router = router.route(&path, get(move || async move { page::asset(asset) }));
    }
    router.layer(from_fn(guard)).with_state(board)
}

/// Headers that proxies add: behind one, loopback is not who asks.
const OF_PROXIES: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Refuses what does not come from this machine, and says what the page may do.
async fn guard(request: Request, next: Next) -> Response {
    if !is_local(request.headers()) {
        return Problem::new(
            Code::Forbidden,
            "the board is for this machine alone: open it by a loopback name such as 127.0.0.1",
        )
        .into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_SECURITY_POLICY, page::POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    response
}

fn is_local(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none());
    let named = host
        .and_then(|host| host.to_str().ok())
        .filter(|host| !host.contains('@'))
        .and_then(|host| host.parse::<Authority>().ok());
    named.is_some_and(|named| is_loopback(named.host()))
        && !OF_PROXIES.iter().any(|name| headers.contains_key(*name))
}

fn is_loopback(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || bare
            .unwrap_or(host)
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[derive(Deserialize)]
struct Asked {
    contest: Option<String>,
    lang: Option<String>,
}

impl Board {
    /// A check of a contest, if it does not take long; one that does ends all the same, and is
    /// there for whoever asks next.
    async fn check(self: &Arc<Self>, id: ContestId, signups: u64) -> Option<Arc<Checked>> {
        let board = Arc::clone(self);
        let check = tokio::spawn(async move { board.checks.of(id, signups).await });
        match tokio::time::timeout(PATIENCE, check).await {
            Ok(Ok(checked)) => Some(checked),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// The contest that is asked for, or the newest; none where there is none.
    async fn wanted(&self, asked: Option<&str>) -> Result<Option<Contest>, Failure> {
        let id = match asked {
            Some(text) => text.parse().ok(),
            None => self.newest().await?,
        };
        match id {
            Some(id) => self.contests.visible(id).await,
            None => Ok(None),
        }
    }
}

/// `GET /`: the page, with everything on it that is known now.
async fn show(
    State(board): State<Arc<Board>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let text = |name| {
        let value = headers.get(name);
        value.and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let accepted = text(header::ACCEPT_LANGUAGE);
    let language = Language::choose(asked.lang.as_deref(), accepted);
    let contest = board.wanted(asked.contest.as_deref()).await?;
    if contest.is_none() && asked.contest.is_some() {
        return Ok(Redirect::to("/").into_response());
    }
    let filter = ContestFilter::default();
    let ports = board.contests.ports();
    let listed = ports.contests.list(&filter, None, PICKED).await?.items;
    let shown = match contest {
        Some(contest) => {
            let (mut picture, signups) = board.picture(&contest).await?;
            picture.checks = board.check(contest.id, signups).await;
            Some((contest, picture))
        }
        None => None,
    };
    let html = page::render(&page::Sight {
        assets: &board.assets,
        language,
        shown: shown.as_ref(),
        listed: &listed,
        is_picked: asked.contest.is_some(),
        now: ports.clock.now(),
        host: text(header::HOST).unwrap_or("127.0.0.1:8080"),
    });
    let html = html.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "the board's page");
        Problem::new(
            Code::InternalError,
            "something is wrong on our side; it has been reported",
        )
    })?;
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept-language"),
    ];
    Ok((headers, Html(html)).into_response())
}

/// `GET /board/events`: what changes on it.
async fn events(
    State(board): State<Arc<Board>>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let contest = board.wanted(asked.contest.as_deref()).await?;
    let id = contest.map(|contest| contest.id);
    if id.is_none() && asked.contest.is_some() {
        return Err(Problem::new(Code::NotFound, "there is no such contest"));
    }
    let source = || BoardSource::new(Arc::clone(&board), id);
    Ok(stream::response(board.hub.watch(id, source), ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a value"));
        }
        is_local(&headers)
    }

    #[test]
    fn only_loopback_names_and_no_proxies_are_local() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(local(&[("host", host)]), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "0.0.0.0:8080",
            "example.com@127.0.0.1",
            "[::2]",
        ] {
            assert!(!local(&[("host", host)]), "{host}");
        }
        assert!(!local(&[]));
        assert!(!local(&[("host", "localhost"), ("host", "example.com")]));
        for name in OF_PROXIES {
            assert!(
                !local(&[("host", "localhost"), (name, "1.2.3.4")]),
                "{name}"
            );
        }
    }
}
