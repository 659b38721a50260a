//! The function, its wrapper, and what stands beside it.
//!
//! The body goes as it is into a function inside of the wrapper, so that `?`, `return` and all errors of the compiler are
//! as if nothing had been done to it. Beside the wrapper stands a type without values: a type and a function may have
//! the same name, and unlike a module a type can stand anywhere and sees all that the function sees.

use crate::settings::{Settings, Ttl};
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, GenericArgument, Ident, ItemFn, Pat, PathArguments, ReturnType, Type, TypeReference,
};

/// Expands the attribute.
pub(crate) fn cached(settings: TokenStream, function: TokenStream) -> syn::Result<TokenStream> {
    let function: ItemFn = syn::parse2(function)
        .map_err(|error| Error::new(error.span(), format!("`cached` is for functions: {error}")))?;
    check(&function)?;
    let settings: Settings = syn::parse2(settings)?;
    let output = Output::of(&function)?;
    if let (Some(ttl), Shape::Loaded) = (&settings.ttl, output.shape) {
        let what = "what returns `Loaded` says its time itself, by `Loaded::ttl`";
        return Err(Error::new(ttl.text.span(), what));
    }
    let arguments = arguments(&function, &settings)?;
    let wrapper = wrapper(&function, &settings, &output, &arguments);
    let companions = companions(&function, &settings, &output, &arguments);
    Ok(quote! { #wrapper #companions })
}

fn check(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(Error::new(signature.fn_token.span(), "`cached` is for an `async fn`"));
    }
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        let what =
            "a method cannot be cached, as its load may outlive `self`: take what it needs as arguments";
        return Err(Error::new(receiver.span(), what));
    }
    if !signature.generics.params.is_empty() {
        let what = "a generic function cannot be cached: its instances would share keys";
        return Err(Error::new(signature.generics.span(), what));
    }
    Ok(())
}

/// An argument of the function.
struct Argument {
    name: Ident,
    /// Its type as declared.
    ty: Type,
    /// What it refers to, if it is a reference that has to be made owned.
    referent: Option<Type>,
    /// Whether the cache or the key is made of it.
    is_of_key: bool,
    /// Whether a setting mentions it, so that the body need not use it.
    is_used: bool,
}

fn arguments(function: &ItemFn, settings: &Settings) -> syn::Result<Vec<Argument>> {
    let (cache, key) = (&settings.cache, &settings.key);
    let tags = &settings.tags;
    let (mentioned, tags) = (quote! { #cache #key }, quote! { #(#tags)* });
    function
        .sig
        .inputs
        .iter()
        .map(|input| {
            let FnArg::Typed(input) = input else {
                return Err(Error::new(input.span(), "no argument for a cached function"));
            };
            let Pat::Ident(pattern) = &*input.pat else {
                return Err(Error::new(
                    input.pat.span(),
                    "give the argument a name, and take it apart in the body",
                ));
            };
            let name = pattern.ident.clone();
            let referent = match &*input.ty {
                Type::Reference(reference) => owned(reference)?,
                _ => None,
            };
            let is_of_key = mentions(mentioned.clone(), &name);
            let is_used = is_of_key || mentions(tags.clone(), &name);
            Ok(Argument { name, ty: (*input.ty).clone(), referent, is_of_key, is_used })
        })
        .collect()
}

/// What a reference refers to, unless it lives for ever.
fn owned(reference: &TypeReference) -> syn::Result<Option<Type>> {
    if let Some(exclusive) = &reference.mutability {
        let what = "the load may outlive the call: it cannot change what belongs to the caller";
        return Err(Error::new(exclusive.span(), what));
    }
    let is_static = reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static");
    Ok((!is_static).then(|| (*reference.elem).clone()))
}

/// Whether a name stands somewhere in there, in a format string as well.
fn mentions(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => mentions(group.stream(), name),
        TokenTree::Literal(literal) => literal.to_string().contains(&format!("{{{name}")),
        TokenTree::Punct(_) => false,
    })
}

/// What the loader gives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Value,
    Option,
    Loaded,
}

/// What the function returns.
struct Output {
    shape: Shape,
    value: Type,
    /// `None`: it cannot fail.
    error: Option<Type>,
}

impl Output {
    fn of(function: &ItemFn) -> syn::Result<Output> {
        let ReturnType::Type(_, ty) = &function.sig.output else {
            return Err(Error::new(function.sig.ident.span(), "it returns nothing that could be kept"));
        };
        let (found, error) = match parts(ty, "Result") {
            None => ((**ty).clone(), None),
            Some(parts) => match <[Type; 2]>::try_from(parts) {
                Ok([found, error]) => (found, Some(error)),
                Err(_) => return Err(Error::new(ty.span(), "name the error: `Result<V, E>`")),
            },
        };
        let one = |name| parts(&found, name).and_then(|parts| <[Type; 1]>::try_from(parts).ok());
        let (shape, value) = match (one("Option"), one("Loaded")) {
            (Some([value]), _) => (Shape::Option, value),
            (_, Some([value])) => (Shape::Loaded, value),
            _ => (Shape::Value, found),
        };
        Ok(Output { shape, value, error })
    }

    fn error(&self) -> TokenStream {
        self.error.as_ref().map_or_else(|| quote!(::core::convert::Infallible), |error| quote!(#error))
    }

    /// What the wrapper returns.
    fn wrapped(&self) -> TokenStream {
        let (value, error) = (&self.value, self.error());
        let entry = match self.shape {
            Shape::Option => quote!(::core::option::Option<::larder_cache::Entry<#value>>),
            Shape::Value | Shape::Loaded => quote!(::larder_cache::Entry<#value>),
        };
        quote!(::core::result::Result<#entry, ::larder_cache::LoadError<#error>>)
    }
}

/// The type arguments of a type whose path ends in this name.
fn parts(ty: &Type, name: &str) -> Option<Vec<Type>> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Some(Vec::new()) };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    Some(types.collect())
}

/// A name that nobody else has.
fn own(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// The cache in a variable, and the key in another, for as long as `then` runs.
fn with_key(settings: &Settings, output: &Output, then: &TokenStream) -> TokenStream {
    let (cache, key, value) = (&settings.cache, &settings.key, &output.value);
    let (cache_name, key_name) = (own("cache"), own("key"));
    let cache = quote_spanned!(cache.span()=> &(#cache));
    let key = quote_spanned!(key.span()=> &(#key));
    quote! {
        let #cache_name: &::larder_cache::Cache<_, #value> = #cache;
        match #key {
            #key_name => {
                let #key_name = ::larder_cache::macro_support::key(#cache_name, #key_name);
                #then
            }
        }
    }
}

fn wrapper(function: &ItemFn, settings: &Settings, output: &Output, arguments: &[Argument]) -> TokenStream {
    let ItemFn { attrs, vis, sig, block, .. } = function;
    let (name, inputs, declared) = (&sig.ident, &sig.inputs, &sig.output);
    let (load, found, tags) = (own("load"), own("found"), own("tags"));
    let (cache, key) = (own("cache"), own("key"));
    // Before the load: what it needs, owned.
    let owned = arguments.iter().map(|Argument { name, referent, is_of_key, .. }| match referent {
        Some(_) => quote!(let #name = ::std::borrow::ToOwned::to_owned(#name);),
        None if *is_of_key => quote!(let #name = ::core::clone::Clone::clone(&#name);),
        None => TokenStream::new(),
    });
    // In the load: as the body knows it.
    let borrowed = arguments.iter().filter_map(|Argument { name, referent, .. }| {
        let referent = referent.as_ref()?;
        Some(quote!(let #name: &#referent = ::core::borrow::Borrow::borrow(&#name);))
    });
    let names = arguments.iter().map(|argument| &argument.name);
    let each_tag = settings
        .tags
        .iter()
        .map(|tag| quote_spanned!(tag.span()=> ::core::convert::AsRef::<[u8]>::as_ref(&(#tag)).to_vec()));
    let question = output.error.as_ref().map(|_| quote!(?));
    let (value, error) = (&output.value, output.error());
    let ttl = settings.ttl.as_ref().map(|Ttl { time, .. }| {
        let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
        quote!(.ttl(::core::time::Duration::new(#seconds, #nanos)))
    });
    let loaded = match output.shape {
        Shape::Loaded => quote!(#found),
        Shape::Value => quote!(::larder_cache::Loaded::<#value>::new(#found)#ttl),
        Shape::Option => quote! {
            match #found {
                ::core::option::Option::Some(#found) => ::larder_cache::Loaded::<#value>::new(#found)#ttl,
                ::core::option::Option::None => ::larder_cache::Loaded::<#value>::not_found(),
            }
        },
    };
    let get = match output.shape {
        Shape::Option => format_ident!("find_or_load"),
        Shape::Value | Shape::Loaded => format_ident!("get_or_load"),
    };
    let then = quote! {
        #(#owned)*
        #cache.#get(#key, move |_| async move {
            #(#borrowed)*
            let #tags: ::std::vec::Vec<::std::vec::Vec<u8>> = ::std::vec![#(#each_tag),*];
            let #found = #load(#(#names),*).await #question;
            ::core::result::Result::<_, #error>::Ok(#loaded.tags(#tags))
        })
        .await
    };
    let (body, returned) = (with_key(settings, output, &then), output.wrapped());
    let plain = plain_inputs(arguments);
    let used = arguments.iter().filter(|argument| argument.is_used).map(|argument| &argument.name);
    quote! {
        #(#attrs)*
        #vis async fn #name(#(#plain),*) -> #returned {
            async fn #load(#inputs) #declared {
                #(let _ = &#used;)*
                #block
            }
            #body
        }
    }
}

/// Arguments without `mut`, which is for the body.
fn plain_inputs(arguments: &[Argument]) -> Vec<TokenStream> {
    arguments.iter().map(|Argument { name, ty, .. }| quote!(#name: #ty)).collect()
}

fn companions(
    function: &ItemFn,
    settings: &Settings,
    output: &Output,
    arguments: &[Argument],
) -> TokenStream {
    let (vis, name) = (&function.vis, &function.sig.ident);
    let (cache, key, value) = (own("cache"), own("key"), &output.value);
    let all = plain_inputs(arguments);
    let of_key: Vec<TokenStream> = arguments
        .iter()
        .filter(|argument| argument.is_of_key)
        .map(|Argument { name, ty, .. }| quote!(#name: #ty))
        .collect();
    let names: Vec<&Ident> = arguments.iter().map(|argument| &argument.name).collect();
    let invalidate = with_key(settings, output, &quote!(#cache.remove(#key).await));
    let peek = with_key(settings, output, &quote!(#cache.get(#key).await));
    let returned = output.wrapped();
    // Trouble with the backend is no error here: the load will tell, or make do without.
    let expire = with_key(settings, output, &quote!(let _ = #cache.expire(#key).await;));
    let text = format!("What else there is to do with what `{name}` has loaded.");
    quote! {
        #[doc = #text]
        #[allow(non_camel_case_types, reason = "it is called as the function it belongs to")]
        #vis enum #name {}

        #[allow(dead_code, reason = "what is not needed is there all the same")]
        impl #name {
            /// Removes the entry: the next call loads.
            ///
            /// # Errors
            /// As `Cache::remove`.
            #vis async fn invalidate(#(#of_key),*) -> ::core::result::Result<(), ::larder_cache::Error> {
                #invalidate
            }

            /// What is there and fresh; nothing is loaded.
            ///
            /// # Errors
            /// As `Cache::get`.
            #vis async fn peek(
                #(#of_key),*
            ) -> ::core::result::Result<
                ::core::option::Option<::larder_cache::Entry<#value>>,
                ::larder_cache::Error,
            > {
                #peek
            }

            /// Ends the time of the entry and loads it anew. Where the policy allows it, the old value is served as
            /// stale if that fails.
            ///
            /// # Errors
            /// As the function itself.
            #vis async fn refresh(#(#all),*) -> #returned {
                { #expire }
                #name(#(#names),*).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(settings: &str, function: &str) -> Result<String, String> {
        let tokens = |text: &str| text.parse::<TokenStream>().expect("it is Rust");
        cached(tokens(settings), tokens(function))
            .map(|expanded| {
                syn::parse2::<syn::File>(expanded.clone()).expect("it is Rust");
                expanded.to_string()
            })
            .map_err(|error| error.to_string())
    }

    const GOOD: &str = "async fn book(db: Db, id: u64) -> Result<Book, DbError> { db.book(id).await }";

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |settings: &str, function: &str| expand(settings, function).expect_err("it is wrong");
        for (settings, says) in [
            ("key = id", "`in = ...` is missing"),
            ("in = BOOKS", "`key = ...` is missing"),
            ("in = BOOKS, key = id, ttl = \"soon\"", "a time is written as"),
            ("in = BOOKS, key = id, ttl = 5", "a time is written as"),
            ("in = BOOKS, key = id, ttl = \"0s\"", "no time at all"),
            ("in = BOOKS, key = id, tag = [\"a\"]", "no setting `tag`, only"),
            ("in = BOOKS, key = id, tags = \"a\"", "a list"),
            ("in = BOOKS, key = id, key = id", "`key` is there twice"),
        ] {
            let said = wrong(settings, GOOD);
            assert!(said.contains(says), "{settings}: {said}");
        }
        for (function, says) in [
            ("fn book(id: u64) -> u32 { 1 }", "for an `async fn`"),
            ("async fn book(&self, id: u64) -> u32 { 1 }", "a method cannot be cached"),
            ("async fn book<T>(id: T) -> u32 { 1 }", "a generic function"),
            ("async fn book<'a>(id: &'a str) -> u32 { 1 }", "a generic function"),
            ("async fn book(id: &mut u64) -> u32 { 1 }", "cannot change what belongs to the caller"),
            ("async fn book((id, _): (u64, u64)) -> u32 { 1 }", "give the argument a name"),
            ("async fn book(id: u64) { }", "nothing that could be kept"),
            ("async fn book(id: u64) -> io::Result<u32> { Ok(1) }", "name the error"),
            ("struct Book;", "`cached` is for functions"),
        ] {
            let said = wrong("in = BOOKS, key = id", function);
            assert!(said.contains(says), "{function}: {said}");
        }
        let said = wrong("in = BOOKS, key = id, ttl = \"1m\"", "async fn book(id: u64) -> Loaded<u32> { x }");
        assert!(said.contains("says its time itself"), "{said}");
    }

    #[test]
    fn companions_take_what_the_key_is_made_of_and_refresh_takes_all() {
        let expanded = expand("in = BOOKS, key = id, ttl = \"5m\", tags = [\"a\", id.tag()]", GOOD);
        let expanded = expanded.expect("it is right");
        for part in ["fn invalidate (id : u64)", "fn peek (id : u64)", "fn refresh (db : Db , id : u64)"] {
            assert!(expanded.contains(part), "{part} is not in {expanded}");
        }
        let formatted = expand("in = BOOKS, key = format!(\"{id}\")", GOOD).expect("it is right");
        assert!(formatted.contains("fn peek (id : u64)"), "{formatted}");
    }

    #[test]
    fn what_is_returned_follows_from_what_is_declared() {
        let returned = |declared: &str| {
            let function = format!("async fn book(id: u64) -> {declared} {{ x }}");
            let expanded = expand("in = BOOKS, key = id", &function).expect("it is right").replace(' ', "");
            let (_, after) = expanded.split_once("book(id:u64)->").expect("it is there");
            let returned = after.split('{').next().unwrap_or_default().replace("::larder_cache::", "");
            returned.replace("::core::result::", "").replace("::core::option::", "")
        };
        assert_eq!(returned("Result<Book, E>"), "Result<Entry<Book>,LoadError<E>>");
        assert_eq!(returned("Result<Option<Book>, E>"), "Result<Option<Entry<Book>>,LoadError<E>>");
        assert_eq!(returned("std::result::Result<Loaded<Book>, E>"), "Result<Entry<Book>,LoadError<E>>");
        assert_eq!(returned("Vec<u8>"), "Result<Entry<Vec<u8>>,LoadError<::core::convert::Infallible>>");
    }
}
