//! The chat room and the leaderboard. The script keeps both up to date; without it they are as they were on loading.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use larder_session::{Session, User};
use maud::html;

use super::{Visitor, failed, page};
use crate::Shop;
use crate::live::TEXT_MAX;

pub(crate) async fn chat(
    State(shop): State<Arc<Shop>>,
    session: Session,
    who: Option<User<String>>,
) -> Response {
    let said = match shop.live.said().await {
        Ok(said) => said,
        Err(why) => return failed(&why),
    };
    let content = html! {
        ol.chat id="chat" role="log" aria-label="Messages" tabindex="0" {
            @for message in &said { li { strong { (message.user) } " " (message.text) } }
        }
        @if who.is_some() {
            form.say id="say" {
                label for="text" { "Your message" }
                input id="text" name="text" maxlength=(TEXT_MAX) autocomplete="off" required;
                button { "Send" }
            }
            p.message.bad id="trouble" role="alert" hidden {}
        } @else {
            p { a href="/login" { "Log in" } " to join in." }
        }
    };
    page(&Visitor::of(&session).await, "Chat", &content).into_response()
}

pub(crate) async fn board(
    State(shop): State<Arc<Shop>>,
    session: Session,
    who: Option<User<String>>,
) -> Response {
    let places = match shop.live.board().await {
        Ok(places) => places,
        Err(why) => return failed(&why),
    };
    let content = html! {
        p.quiet { "The ten with the most points. It moves while you look." }
        div.wide {
            table.board {
                caption.hidden { "Leaderboard" }
                thead { tr { th scope="col" { "Rank" } th scope="col" { "Name" } th.number scope="col" { "Points" } } }
                tbody id="board" aria-live="polite" {
                    @for place in &places {
                        tr { td { (place.rank) } th scope="row" { (place.name) } td.number { (place.score) } }
                    }
                }
            }
        }
        @if who.is_some() {
            p.after { button id="score" type="button" { "Score 10 points" } }
        } @else {
            p { a href="/login" { "Log in" } " to score." }
        }
    };
    page(&Visitor::of(&session).await, "Leaderboard", &content).into_response()
}
