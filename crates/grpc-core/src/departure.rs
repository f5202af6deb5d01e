//! The proof that a request never left.
//!
//! What a status code says of a failed call proves nothing: a refused connection and one that was
//! cut after the request are both "unavailable". So the body of every request is watched. The
//! message is its only frame, and a server cannot act on a request without it. Before the frame is
//! handed to the connection it asks [`Departure::leave`]; after a failure we ask
//! [`Departure::revoke`]. Both are one compare-and-swap of the same word, so exactly one of them
//! succeeds: a revoked request stays here for ever, even if it still waits in a queue.

use http_body::{Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};
use tonic::{Status, body::Body, codegen::Bytes};

const HERE: u8 = 0;
const LEFT: u8 = 1;
const REVOKED: u8 = 2;

/// Whether one request may have left this process.
#[derive(Clone, Debug, Default)]
pub struct Departure(Arc<AtomicU8>);

impl Departure {
    /// Notes that the request leaves now. False if it was revoked: it must not.
    #[must_use]
    pub fn leave(&self) -> bool {
        match self
            .0
            .compare_exchange(HERE, LEFT, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) => true,
            Err(now) => now == LEFT,
        }
    }

    /// Keeps the request here. True if it never left, and then it never will.
    #[must_use]
    pub fn revoke(&self) -> bool {
        match self
            .0
            .compare_exchange(HERE, REVOKED, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) => true,
            Err(now) => now == REVOKED,
        }
    }

    /// The body of the request, watched.
    pub(crate) fn watch(&self, body: Body) -> Body {
        Body::new(Watched {
            body,
            departure: self.clone(),
        })
    }
}

struct Watched {
    body: Body,
    departure: Departure,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.departure.leave() {
            return Poll::Ready(Some(Err(Status::cancelled("the request was revoked"))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // hazard: A14
    #[test]
    fn what_left_cannot_be_revoked_and_what_was_revoked_cannot_leave() {
        let left = Departure::default();
        assert!(left.leave());
        assert!(left.leave(), "its later frames leave too");
        assert!(!left.revoke());
        let kept = Departure::default();
        assert!(kept.revoke());
        assert!(kept.revoke());
        assert!(!kept.leave());
    }

    // hazard: A14
    #[test]
    fn of_leaving_and_revoking_at_once_exactly_one_succeeds() {
        for _ in 0..500 {
            let departure = Departure::default();
            let other = departure.clone();
            let leaving = std::thread::spawn(move || other.leave());
            let revoked = departure.revoke();
            assert_ne!(leaving.join().ok(), Some(revoked));
        }
    }
}
