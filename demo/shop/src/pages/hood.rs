//! Under the hood: what each request found in the cache.

use std::sync::Arc;

use axum::extract::State;
use larder_session::Session;
use maud::{Markup, html};

use super::{Page, Visitor, page};
use crate::Shop;
use crate::panel::{Outcome, Seen};

pub(crate) async fn show(State(shop): State<Arc<Shop>>, session: Session) -> Page {
    let (sums, seen, sessions) = (shop.panel.sums(), shop.panel.seen(), shop.sessions_count.get().await);
    let figure = |id: &str, value: String, what: &str| html! { div { dd id=(id) { (value) } dt { (what) } } };
    let content = html! {
        p.quiet {
            "Each request of this process as it is answered. "
            @if !shop.caches { strong { "The cache is off." } }
        }
        dl.figures id="sums" {
            (figure("hits", sums.hits.to_string(), "hits"))
            (figure("misses", sums.misses.to_string(), "misses"))
            (figure("stale", sums.stale.to_string(), "stale"))
            (figure("saved", (sums.hits + sums.stale).to_string(), "queries avoided"))
            (figure("queries", shop.database.queries().to_string(), "queries asked"))
            (figure("time", duration(sums.saved_us / 1000), "time saved"))
            (figure("oldest", duration(sums.oldest_ms), "oldest answer"))
            (figure("sessions", sessions.map_or("?".to_owned(), |count| count.to_string()), "sessions"))
        }
        figure {
            div.scale {
                svg.plot id="plot" viewBox="0 0 600 120" preserveAspectRatio="none" role="img"
                    aria-label="The time that each of the last requests took: low bars are hits" {}
                span.one aria-hidden="true" { "1 ms" }
                span.ten aria-hidden="true" { "10 ms" }
                span.hundred aria-hidden="true" { "100 ms" }
            }
            figcaption.quiet {
                span.dot.hit {} " hit " span.dot.stale {} " stale " span.dot.miss {} " miss "
                span.dot.none {} " did not look into the cache"
            }
        }
        div.wide {
            table.requests {
                caption.hidden { "The last requests" }
                thead {
                    tr {
                        th scope="col" { "Request" } th scope="col" { "Cache" }
                        th.number scope="col" { "Took" } th.number scope="col" { "Saved" }
                    }
                }
                tbody id="seen" { @for seen in seen.iter().rev().take(25) { (row(seen)) } }
            }
        }
    };
    page(&Visitor::of(&session).await, "Under the hood", &content)
}

fn row(seen: &Seen) -> Markup {
    let saved: u64 = seen.looks.iter().map(|look| look.saved_us).sum();
    html! {
        tr data-us=(seen.took_us) {
            th scope="row" { (seen.method) " " (seen.path) " " span.quiet { (seen.status) } }
            td {
                @for look in &seen.looks {
                    @let (class, word) = match look.outcome {
                        Outcome::Hit => ("hit", "hit"),
                        Outcome::Stale => ("stale", "stale"),
                        Outcome::Miss => ("miss", "miss"),
                    };
                    span.tag.(class) { (word) } " " (look.key) " "
                    @if look.age_ms > 0 { span.quiet { (look.age_ms / 1000) " s old " } }
                }
            }
            td.number { (milliseconds(seen.took_us)) }
            td.number { @if saved > 0 { (milliseconds(saved)) } }
        }
    }
}

/// A time that people can read; the script says it in the same way.
fn duration(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{ms} ms"),
        10_000..600_000 => format!("{} s", ms / 1000),
        _ => format!("{} min", ms / 60_000),
    }
}

fn milliseconds(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}
