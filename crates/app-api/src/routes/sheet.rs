//! The settlement sheet as a file.

use super::{no_contest, player::not_frozen_yet};
use crate::{
    auth::{Operator, Role},
    extract::Id,
    openapi::vocabulary,
    problem::{Code, Problem},
    state::App,
};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use domain::{
    contest::{Contest, Phase},
    ids::ContestId,
};
use futures_util::{Stream, stream};
use std::sync::Arc;
use usecases::{Contests, Failure, sheet::SheetText};

/// Download the settlement sheet
///
/// A text that `app-api verify-sheet` checks from nothing but itself: a header with the frozen
/// numbers, one line for each finisher, and the SHA-256 of all that as its last line. It is read
/// page by page; if that fails on the way the answer breaks off, and its last line is missing.
#[utoipa::path(
    get,
    path = "/v1/contests/{id}/settlement/sheet",
    tag = "operations",
    operation_id = "download_sheet",
    params(("id" = vocabulary::ContestId, Path, description = "The contest")),
    responses((status = 200, body = String, content_type = "text/csv", description = "The sheet", headers(("Content-Disposition" = String, description = "A name for the file")))),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::NotFrozenYet])))
)]
pub(crate) async fn download(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<ContestId>,
) -> Result<Response, Problem> {
    let contest = app.contests.visible(id).await?.ok_or_else(no_contest)?;
    let (Phase::Claimable(settlement) | Phase::Closed(settlement)) = &contest.phase else {
        return Err(not_frozen_yet("the settlement sheet is not complete yet"));
    };
    let text = SheetText::new(settlement.sheet);
    let name = format!("attachment; filename=\"settlement-{id}.csv\"");
    let mut response = Body::from_stream(parts(app.contests, contest, text)).into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn parts(
    contests: Arc<Contests>,
    contest: Contest,
    text: SheetText,
) -> impl Stream<Item = Result<String, Failure>> {
    stream::try_unfold(
        (contests, contest, text),
        |(contests, contest, mut text)| async move {
            let part = contests.sheet_part(&contest, &mut text).await?;
            Ok(part.map(|part| (part, (contests, contest, text))))
        },
    )
}
