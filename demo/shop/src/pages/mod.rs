//! What people see: pages made on the server, which a little script makes live.

pub(crate) mod account;
pub(crate) mod cart;
pub(crate) mod catalogue;
pub(crate) mod hood;
pub(crate) mod live;
mod picture;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use larder_session::{Session, SessionError};
use maud::{DOCTYPE, Markup, html};

/// A page as a response.
pub(crate) struct Page(pub(crate) StatusCode, pub(crate) Markup);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        (self.0, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], self.1.into_string()).into_response()
    }
}

/// Who looks at a page: a name, if somebody is logged in, and how much is in the cart.
pub(crate) struct Visitor {
    name: Option<String>,
    in_cart: u32,
}

impl Visitor {
    /// Pages can be looked at while the sessions cannot be read: then as nobody.
    pub(crate) async fn of(session: &Session) -> Visitor {
        let read = async {
            let cart: Vec<crate::db::Line> = session.get("cart").await?.unwrap_or_default();
            Ok::<_, SessionError>((session.user().await?, cart.iter().map(|line| line.count).sum()))
        };
        let (name, in_cart) = read.await.unwrap_or_default();
        Visitor { name, in_cart }
    }

    fn nobody() -> Visitor {
        Visitor { name: None, in_cart: 0 }
    }
}

/// A page with everything around its content.
pub(crate) fn page(visitor: &Visitor, title: &str, content: &Markup) -> Page {
    let link = |to: &str, text: &str| {
        html! {
            li { a href=(to) aria-current=[(text == title).then_some("page")] { (text) } }
        }
    };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Larder shop" }
                link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
                link rel="stylesheet" href="/assets/shop.css";
                script src="/assets/shop.js" defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header {
                    a.brand href="/" { "Larder " span { "shop" } }
                    nav aria-label="Main" {
                        ul {
                            (link("/chat", "Chat"))
                            (link("/leaderboard", "Leaderboard"))
                            (link("/hood", "Under the hood"))
                            li { a href="/cart" aria-current=[(title == "Cart").then_some("page")] { "Cart" @if visitor.in_cart > 0 { " " span.count { (visitor.in_cart) } } } }
                            @if let Some(name) = &visitor.name {
                                li { a href="/devices" { (name) } }
                                li { form method="post" action="/logout" { button.link { "Log out" } } }
                            } @else {
                                (link("/login", "Log in"))
                            }
                        }
                    }
                }
                main id="content" tabindex="-1" { h1 { (title) } (content) }
                footer { p { "A demonstration: nothing is for sale. Everything fast here is kept by Larder." } }
            }
        }
    };
    Page(StatusCode::OK, markup)
}

/// A page that says what went wrong.
pub(crate) fn problem(status: StatusCode, why: &str) -> Page {
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::UNAUTHORIZED => "Please log in",
        status if status.is_server_error() => "Something went wrong",
        _ => "That did not work",
    };
    let content = html! { p role="alert" { (why) } p { a href="/" { "To the catalogue" } " · " a href="/login" { "Log in" } } };
    Page(status, page(&Visitor::nobody(), title, &content).1)
}

/// Somebody else's fault, of which the log has the details.
pub(crate) fn failed(why: &dyn std::fmt::Display) -> Response {
    tracing::error!("{why}");
    problem(StatusCode::SERVICE_UNAVAILABLE, "Please try again in a moment.").into_response()
}

/// Money.
pub(crate) fn price(cents: i64) -> String {
    format!("€ {}.{:02}", cents / 100, cents % 100)
}
