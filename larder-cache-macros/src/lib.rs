//! The attribute `cached` of larder-cache, which re-exports it under its feature `macros`.
//!
//! A proc-macro crate can export nothing but macros, which is why this is a crate of its own.

mod expand;
mod settings;

use proc_macro::TokenStream;

/// Makes an `async fn` the loader of a cache.
///
/// ```text
/// #[cached(in = books(), key = id, ttl = "5m", tags = ["books", format!("author:{author}")])]
/// async fn book(db: Db, author: u32, id: u64) -> Result<Book, DbError> { ... }
/// ```
///
/// | setting | what it is |
/// |---|---|
/// | `in` | an expression for the cache: a `&Cache<K, V>`, or what dereferences to one |
/// | `key` | an expression for the key, or for what can be borrowed as the key: `&str` and `String` are keys of a `Cache<str, V>` |
/// | `ttl` | how long a value is fresh, as `"90s"`, `"1h30m"`, `"1d"` or `"250ms"`; if left out, what the policy says |
/// | `tags` | a list of expressions for tags, by which the value can be removed: text or bytes each |
///
/// All of them may use the arguments of the function. `in` and `key` are evaluated at each call, tags at each load.
///
/// # What becomes of the function
///
/// A call looks in the cache, and runs the body if there is nothing fresh, as `Cache::get_or_load` does: once for all who
/// want the value at the same time. What it returns changes:
///
/// | declared | returned |
/// |---|---|
/// | `Result<V, E>` | `Result<Entry<V>, LoadError<E>>` |
/// | `Result<Option<V>, E>` | `Result<Option<Entry<V>>, LoadError<E>>`: that there is nothing is kept, for the time of `Policy::negative_ttl` |
/// | `Result<Loaded<V>, E>` | `Result<Entry<V>, LoadError<E>>`: the body says time, tags and entity tag itself |
/// | `V`, `Option<V>`, `Loaded<V>` | the same with `LoadError<Infallible>`, as a load can still panic or take too long |
///
/// `Result`, `Option` and `Loaded` are recognised by name, and `Result` must name its error.
///
/// The load is a task of its own, which may outlive the call. So the body must be `Send + 'static`: arguments are moved
/// into it. Those that `in` or `key` mention are cloned first, and references are made owned (`&str` by `to_owned`), at
/// **each** call: give large things in an `Arc`. A method (with `self`) cannot be cached, nor can a generic function, whose
/// instances would share keys.
///
/// A function that asks for what it is loading itself gets `LoadError::Recursive`. One that calls itself with other
/// arguments does so through a function that returns a `Pin<Box<dyn Future + Send>>`, as the compiler wants it.
///
/// # What it gets beside it
///
/// A type of the same name, with three functions:
///
/// - `book::invalidate(id)` removes the entry (`Cache::remove`);
/// - `book::peek(id)` is what is there and fresh, and loads nothing (`Cache::get`);
/// - `book::refresh(db, author, id)` ends the time of the entry and loads it anew: its value is of after the call.
///
/// The first two take those arguments that `in` or `key` mention, the third takes all.
#[proc_macro_attribute]
pub fn cached(settings: TokenStream, function: TokenStream) -> TokenStream {
    expand::cached(settings.into(), function.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}
