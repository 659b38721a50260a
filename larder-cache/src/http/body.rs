//! Bodies of responses: whole ones from the cache, and others passed on, with what was read of them already.

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of a response that has come through a [`HttpCache`](super::HttpCache).
pub struct CachedBody<B: Body> {
    ready: VecDeque<Frame<Bytes>>,
    /// Why reading it has failed, to be told behind what is ready.
    error: Option<B::Error>,
    rest: Option<Pin<Box<B>>>,
}

impl<B: Body> fmt::Debug for CachedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedBody").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

impl<B: Body> CachedBody<B> {
    pub(super) fn whole(bytes: Bytes) -> CachedBody<B> {
        let ready = if bytes.is_empty() { VecDeque::new() } else { [Frame::data(bytes)].into() };
        CachedBody { ready, error: None, rest: None }
    }

    pub(super) fn passed(body: B) -> CachedBody<B> {
        CachedBody { ready: VecDeque::new(), error: None, rest: Some(Box::pin(body)) }
    }
}

impl<B: Body<Data = Bytes>> Body for CachedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(frame) = self.ready.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match &mut self.rest {
            Some(rest) => rest.as_mut().poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty()
            && self.error.is_none()
            && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let ready: u64 =
            self.ready.iter().filter_map(|frame| frame.data_ref()).map(|data| data.len() as u64).sum();
        let rest = self.rest.as_ref().map_or(SizeHint::with_exact(0), |rest| rest.size_hint());
        let mut hint = SizeHint::new();
        if self.error.is_none() {
            hint.set_lower(ready.saturating_add(rest.lower()));
            if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(ready)) {
                hint.set_upper(upper);
            }
        }
        hint
    }
}

impl<B: Body> Unpin for CachedBody<B> {}

/// What has come of reading a body to its end.
pub(super) enum Gathered<B: Body> {
    /// All of it.
    Whole(Bytes),
    /// It is too large, has trailers, or has broken off: what there is of it, and the rest.
    Part(CachedBody<B>),
}

impl<B: Body<Data = Bytes>> Gathered<B> {
    /// Reads a body of at most `max` bytes.
    pub(super) async fn of(body: B, max: usize) -> Gathered<B> {
        let mut body = CachedBody::passed(body);
        if body.size_hint().lower() > max as u64 {
            return Gathered::Part(body);
        }
        let (mut ready, mut bytes) = (VecDeque::new(), 0);
        loop {
            match std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                None => break,
                Some(Err(error)) => {
                    return Gathered::Part(CachedBody { ready, error: Some(error), rest: None });
                }
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map(Bytes::len);
                    bytes += length.unwrap_or_default();
                    ready.push_back(frame);
                    if length.is_none() || bytes > max {
                        return Gathered::Part(CachedBody { ready, error: None, rest: body.rest });
                    }
                }
            }
        }
        let mut parts = ready.into_iter().filter_map(|frame| frame.into_data().ok());
        let Some(first) = parts.next() else { return Gathered::Whole(Bytes::new()) };
        let Some(second) = parts.next() else { return Gathered::Whole(first) };
        let mut whole = BytesMut::with_capacity(bytes);
        [first, second].into_iter().chain(parts).for_each(|part| whole.extend_from_slice(&part));
        Gathered::Whole(whole.freeze())
    }
}
