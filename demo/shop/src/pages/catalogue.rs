//! The catalogue and its products.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use larder_session::Session;
use maud::html;
use serde::Deserialize;

use super::picture::picture;
use super::{Visitor, failed, page, price, problem};
use crate::Shop;
use crate::db::CATEGORIES;

/// Characters of a search.
const WORDS_MAX: usize = 60;

/// What is searched for.
#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    q: String,
}

pub(crate) async fn newest(
    State(shop): State<Arc<Shop>>,
    session: Session,
    Query(asked): Query<Asked>,
) -> Response {
    let words: String = asked.q.trim().chars().take(WORDS_MAX).collect();
    let found =
        if words.is_empty() { shop.products.newest().await } else { shop.products.search(&words).await };
    let products = match found {
        Ok(products) => products,
        Err(why) => return failed(&why),
    };
    let content = html! {
        search {
            form.search action="/" {
                label for="q" { "Search the catalogue" }
                input id="q" name="q" type="search" value=(words) maxlength=(WORDS_MAX) autocomplete="off";
                button { "Search" }
            }
        }
        ul.chips aria-label="Categories" {
            @for category in CATEGORIES {
                @let is_this = words == *category;
                li { a href={ "/?q=" (category) } aria-current=[is_this.then_some("true")] { (category) } }
            }
            @if !words.is_empty() { li { a href="/" { "everything new" } } }
        }
        p.quiet aria-live="polite" {
            @if words.is_empty() { "The newest " (products.len()) " products" }
            @else { (products.len()) " found for “" (words) "”" }
        }
        ul.products {
            @for product in products.iter() {
                li {
                    a href={ "/products/" (product.id) } {
                        (picture(product))
                        span.quiet { (product.category) }
                        span.name { (product.name) }
                        span.price { (price(product.price)) }
                    }
                }
            }
        }
    };
    page(&Visitor::of(&session).await, "Catalogue", &content).into_response()
}

pub(crate) async fn product(
    State(shop): State<Arc<Shop>>,
    session: Session,
    Path(id): Path<i64>,
) -> Response {
    let product = match shop.products.product(id).await {
        Ok(Some(product)) => product,
        Ok(None) => return problem(StatusCode::NOT_FOUND, "There is no such product.").into_response(),
        Err(why) => return failed(&why),
    };
    let content = html! {
        article.product {
            (picture(&product))
            div {
                p.quiet { a href={ "/?q=" (product.category) } { (product.category) } }
                p.lead { (product.description) }
                p.price { (price(product.price)) }
                @if product.stock > 0 {
                    p.quiet { (product.stock) " in stock" }
                    form.buy method="post" action="/cart" {
                        input type="hidden" name="product" value=(product.id);
                        input type="hidden" name="adds" value="true";
                        label for="count" { "How many" }
                        input id="count" name="count" type="number" min="1" max="99" value="1" required;
                        button { "Put into the cart" }
                    }
                } @else {
                    p.quiet { "Sold out" }
                }
            }
        }
    };
    page(&Visitor::of(&session).await, &product.name, &content).into_response()
}
