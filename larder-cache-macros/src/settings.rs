//! What stands in the brackets of the attribute.

use std::time::Duration;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprArray, Ident, LitStr, Token};

/// The settings of a cached function.
pub(crate) struct Settings {
    pub(crate) cache: Expr,
    pub(crate) key: Expr,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) tags: Vec<Expr>,
}

/// How long values are fresh, and where that is written.
pub(crate) struct Ttl {
    pub(crate) time: Duration,
    pub(crate) text: LitStr,
}

impl Parse for Settings {
    fn parse(input: ParseStream<'_>) -> syn::Result<Settings> {
        let (mut cache, mut key, mut ttl, mut tags) = (None, None, None, None);
        while !input.is_empty() {
            let name = Ident::parse_any(input)?;
            input.parse::<Token![=]>()?;
            let is_new = match name.to_string().as_str() {
                "in" => cache.replace(input.parse()?).is_none(),
                "key" => key.replace(input.parse()?).is_none(),
                "ttl" => ttl.replace(parse_ttl(input)?).is_none(),
                "tags" => tags.replace(parse_tags(input)?).is_none(),
                other => {
                    let what = format!("no setting `{other}`, only `in`, `key`, `ttl` and `tags`");
                    return Err(Error::new(name.span(), what));
                }
            };
            if !is_new {
                return Err(Error::new(name.span(), format!("`{name}` is there twice")));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let missing = |what| input.error(what);
        Ok(Settings {
            cache: cache.ok_or_else(|| missing("`in = ...` is missing: which cache?"))?,
            key: key.ok_or_else(|| missing("`key = ...` is missing: under which key?"))?,
            ttl,
            tags: tags.unwrap_or_default(),
        })
    }
}

fn parse_tags(input: ParseStream<'_>) -> syn::Result<Vec<Expr>> {
    let list: ExprArray =
        input.parse().map_err(|error| Error::new(error.span(), "a list: `tags = [...]`"))?;
    let elems: Punctuated<Expr, Token![,]> = list.elems;
    Ok(elems.into_iter().collect())
}

fn parse_ttl(input: ParseStream<'_>) -> syn::Result<Ttl> {
    const HOW: &str = "a time is written as \"90s\", \"1h30m\", \"1d\" or \"250ms\"";
    let text: LitStr = input.parse().map_err(|error| Error::new(error.span(), HOW))?;
    match duration(&text.value()) {
        Some(time) if !time.is_zero() => Ok(Ttl { time, text }),
        Some(_) => Err(Error::new(text.span(), "no time at all: nothing would be kept")),
        None => Err(Error::new(text.span(), HOW)),
    }
}

/// A duration as people write it: numbers, each with its unit.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text.trim(), Duration::ZERO);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len()));
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let millis = number.parse::<u64>().ok()?.checked_mul(millis)?;
        sum = sum.checked_add(Duration::from_millis(millis))?;
        rest = after.trim_start();
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        let of = |text| duration(text).map(|time| time.as_millis());
        assert_eq!((of("5m"), of("90s"), of("250ms")), (Some(300_000), Some(90_000), Some(250)));
        assert_eq!((of("1h30m"), of("1d 1ms"), of("0s")), (Some(5_400_000), Some(86_400_001), Some(0)));
        for wrong in
            ["", " ", "5", "m", "5x", "5 m", "-5m", "1.5h", "5m3", "99999999999999999999s", "5\u{b5}s"]
        {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
        assert_eq!(of("18446744073709551615d"), None);
    }
}
