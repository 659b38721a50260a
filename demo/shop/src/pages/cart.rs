//! The cart, and ordering what is in it.

use std::sync::Arc;

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use larder_session::{Flash, Session, User};
use maud::{Markup, html};
use serde::Deserialize;

use super::{Visitor, failed, page, price, problem};
use crate::Shop;
use crate::db::Product;
use crate::products::Shown;

/// So many of a product.
#[derive(Deserialize)]
pub(crate) struct Put {
    product: i64,
    count: u32,
    #[serde(default)]
    adds: bool,
}

pub(crate) async fn show(State(shop): State<Arc<Shop>>, session: Session, flash: Flash) -> Response {
    let (cart, messages) = match (shop.carts.of(&session).await, flash.take().await) {
        (Ok(cart), Ok(messages)) => (cart, messages),
        (Err(why), _) | (_, Err(why)) => return failed(&why),
    };
    let mut lines = Vec::new();
    for line in cart {
        match shop.products.product(line.product).await {
            Ok(Some(product)) => lines.push((product, line.count)),
            Ok(None) => {}
            Err(why) => return failed(&why),
        }
    }
    let content = html! {
        @for (kind, text) in &messages { p.message.(kind) role="status" { (text) } }
        @if lines.is_empty() {
            p { "Nothing is in it yet. " a href="/" { "Look around" } }
        } @else {
            div.wide { (table(&lines)) }
            form.after method="post" action="/cart/order" { button { "Order" } }
        }
    };
    page(&Visitor::of(&session).await, "Cart", &content).into_response()
}

fn table(lines: &[(Shown<Product>, u32)]) -> Markup {
    let total: i64 = lines.iter().map(|(product, count)| product.price * i64::from(*count)).sum();
    html! {
        table {
            caption.hidden { "What is in the cart" }
            thead {
                tr {
                    th scope="col" { "Product" } th.number scope="col" { "Count" } th.number scope="col" { "Price" }
                    th scope="col" { span.hidden { "Remove" } }
                }
            }
            tbody {
                @for (product, count) in lines {
                    tr {
                        th scope="row" { a href={ "/products/" (product.id) } { (product.name) } }
                        td.number { (count) }
                        td.number { (price(product.price * i64::from(*count))) }
                        td.number {
                            form method="post" action="/cart" {
                                input type="hidden" name="product" value=(product.id);
                                input type="hidden" name="count" value="0";
                                button.link aria-label={ "Remove " (product.name) } { "Remove" }
                            }
                        }
                    }
                }
            }
            tfoot { tr { th scope="row" { "Together" } td {} td.number { strong { (price(total)) } } td {} } }
        }
    }
}

pub(crate) async fn put(State(shop): State<Arc<Shop>>, session: Session, Form(put): Form<Put>) -> Response {
    match shop.products.product(put.product).await {
        Ok(Some(_)) => {}
        Ok(None) => return problem(StatusCode::NOT_FOUND, "There is no such product.").into_response(),
        Err(why) => return failed(&why),
    }
    match shop.carts.put(&session, put.product, put.count, put.adds).await {
        Ok(_) => Redirect::to("/cart").into_response(),
        Err(why) => failed(&why),
    }
}

pub(crate) async fn order(
    State(shop): State<Arc<Shop>>,
    session: Session,
    flash: Flash,
    who: Option<User<String>>,
) -> Response {
    let Some(User(owner)) = who else { return Redirect::to("/login").into_response() };
    let cart = match shop.carts.of(&session).await {
        Ok(cart) if cart.is_empty() => return Redirect::to("/cart").into_response(),
        Ok(cart) => cart,
        Err(why) => return failed(&why),
    };
    let (kind, text) = match shop.database.order(&owner, &cart).await {
        Ok(Ok((number, total))) => {
            let sold: Vec<i64> = cart.iter().map(|line| line.product).collect();
            if let Err(why) = shop.products.sold(&sold).await {
                tracing::warn!("the cache was not told of an order: {why}");
            }
            if let Err(why) = shop.carts.empty(&session).await {
                return failed(&why);
            }
            ("good", format!("Thank you. Order {number} over {} is on its way.", price(total)))
        }
        Ok(Err(product)) => {
            ("bad", format!("There is too little of product {product}. Nothing was ordered."))
        }
        Err(why) => return failed(&why),
    };
    match flash.push(kind, text).await {
        Ok(()) => Redirect::to("/cart").into_response(),
        Err(why) => failed(&why),
    }
}
