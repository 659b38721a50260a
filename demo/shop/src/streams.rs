//! What browsers are told as it happens: events that a server sends.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::Shop;
use crate::live::News;

type Events = Result<Event, Infallible>;

/// What is said from now on, each as JSON; `gap` says that some may have been missed.
pub(crate) async fn chat(State(shop): State<Arc<Shop>>) -> Sse<impl Stream<Item = Events>> {
    let closing = shop.closing();
    let stream = unfold(shop.live.listen(), async |mut news| {
        loop {
            let event = match next(&mut news).await? {
                Some(News::Said(json)) => Event::default().data(json),
                Some(News::Scored) => continue,
                Some(News::Gap) | None => Event::default().event("gap").data(""),
            };
            return Some((Ok(event), news));
        }
    });
    Sse::new(stream.take_until(closing)).keep_alive(KeepAlive::default())
}

/// The whole leaderboard, now and whenever it changes.
pub(crate) async fn board(State(shop): State<Arc<Shop>>) -> Sse<impl Stream<Item = Events>> {
    let (news, closing) = (shop.live.listen(), shop.closing());
    let stream = unfold((shop, news, true), async |(shop, mut news, mut is_due)| {
        while !is_due {
            is_due = !matches!(next(&mut news).await?, Some(News::Said(_)));
        }
        // If the store is away the browser tries again by itself.
        let places = shop.live.board().await.ok()?;
        let event = Event::default().json_data(places).ok()?;
        Some((Ok(event), (shop, news, false)))
    });
    Sse::new(stream.take_until(closing)).keep_alive(KeepAlive::default())
}

/// Requests as they are answered.
pub(crate) async fn panel(State(shop): State<Arc<Shop>>) -> Sse<impl Stream<Item = Events>> {
    let closing = shop.closing();
    let stream = unfold(shop.panel.listen(), async |mut seen| {
        loop {
            if let Some(seen_now) = next(&mut seen).await? {
                let event = Event::default().json_data(seen_now).ok()?;
                return Some((Ok(event), seen));
            }
        }
    });
    Sse::new(stream.take_until(closing)).keep_alive(KeepAlive::default())
}

/// The next item; `Some(None)` for those that came too fast, and `None` at the end.
async fn next<T: Clone>(from: &mut Receiver<T>) -> Option<Option<T>> {
    match from.recv().await {
        Ok(item) => Some(Some(item)),
        Err(RecvError::Lagged(_)) => Some(None),
        Err(RecvError::Closed) => None,
    }
}
