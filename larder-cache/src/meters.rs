//! The metrics of a cache: handles on what the program's recorder keeps.
//!
//! A handle is got once, when the cache is made, and counting is then as cheap as the recorder makes it: usually one
//! addition. Looking the recorder up at each hit would cost more than the hit. That is why a recorder has to be
//! installed before caches are made; one that comes later gets nothing from them.

use metrics::{Counter, Histogram, Label, Unit};

/// The name of a cache, and what tells counts of one name apart.
fn labels(namespace: &str, more: &[(&'static str, &'static str)]) -> Vec<Label> {
    let cache = Label::new("cache", namespace.to_owned());
    std::iter::once(cache)
        .chain(more.iter().map(|(key, value)| Label::from_static_parts(key, value)))
        .collect()
}

pub(crate) fn counter(
    name: &'static str,
    description: &'static str,
    namespace: &str,
    more: &[(&'static str, &'static str)],
) -> Counter {
    metrics::describe_counter!(name, Unit::Count, description.trim());
    metrics::counter!(name, labels(namespace, more))
}

pub(crate) fn histogram(name: &'static str, description: &'static str, namespace: &str) -> Histogram {
    metrics::describe_histogram!(name, Unit::Seconds, description.trim());
    metrics::histogram!(name, labels(namespace, &[]))
}
