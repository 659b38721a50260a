//! What people see.

use std::collections::BTreeSet;

use axum::http::StatusCode;

use crate::support::Place;

/// Products whose pages are looked at: all are made alike.
const PRODUCTS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_page_leads_to_or_loads_is_there() {
    let place = Place::open().await;
    let mut browser = place.browser();
    browser.sign_up("ann").await;
    let (mut seen, mut next, mut products) = (BTreeSet::new(), vec!["/".to_owned(), "/signup".to_owned()], 0);
    while let Some(path) = next.pop() {
        products += usize::from(path.starts_with("/products/"));
        if (path.starts_with("/products/") && products > PRODUCTS) || !seen.insert(path.clone()) {
            continue;
        }
        let page = browser.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        for attribute in ["href=\"", "src=\""] {
            let links = page.text().split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
            next.extend(links.filter(|link| link.starts_with('/')).map(str::to_owned));
        }
    }
    for path in
        ["/assets/icon.svg", "/assets/shop.css", "/assets/shop.js", "/cart", "/devices", "/hood", "/login"]
    {
        assert!(seen.contains(path), "nothing leads to {path}: {seen:?}");
    }
}
