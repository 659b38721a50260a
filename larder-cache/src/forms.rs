//! Several forms of one entry.
//!
//! While a new version of a program takes the place of the old one, both are at work, and each reads only what its own
//! codec and schema have written. If the one that loads last had the entry to itself, they would take turns in loading
//! it for as long as both run. So who finds a **fresh** entry in other forms loads its own and stores it *beside* them.
//!
//! That is right because of when it is done: the backend has said, in the same step that gave the right to load, that the
//! other forms were valid then. They may be stored under the epoch of that moment as if they had been loaded at it, and
//! whatever invalidates the entry in between refuses the whole of it. What differs between the forms becomes the stricter
//! of the two: all tags count for all of them, and none lives longer than any other would have. All else (a value set by
//! hand, a refresh, a load of what is stale or absent) stores one form alone: what the others have is older than it.
//!
//! One form is an envelope (see [`codec`](crate::codec)), with nothing around it. Several are put together so:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 2 |
//! | 1 | how many forms follow |
//! | 4 | length of a form, which follows; for each of them |

use crate::store::{Head, Look, State};
use std::time::Duration;

const VERSION: u8 = 2;
/// So many forms are kept, and the oldest is left out: more programs than this hardly share a namespace.
pub(crate) const FORMS_MAX: usize = 4;
/// Where an envelope names its codec and schema.
const SCHEMA_AT: usize = 2;

/// What others have of an entry that is about to be stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Others {
    forms: Vec<Vec<u8>>,
    tags: Vec<Vec<u8>>,
    /// How long they are fresh, from when the backend was asked.
    pub(crate) left: Duration,
    /// How long they may be stale after that.
    pub(crate) stale: Duration,
}

impl Others {
    /// The forms of other schemas in what the backend has, if it is fresh. Forms of more than `bytes_max` together are
    /// left out.
    pub(crate) fn of(look: &Look, schema: u64, bytes_max: usize) -> Option<Others> {
        if look.state != State::Fresh {
            return None;
        }
        let head = Head::parse(&look.bytes)?;
        let forms: Vec<Vec<u8>> = split(look.bytes.get(head.end..)?)?
            .into_iter()
            .filter(|form| schema_of(form).is_some_and(|other| other != schema))
            .take(FORMS_MAX - 1)
            .map(<[u8]>::to_vec)
            .collect();
        let bytes: usize = forms.iter().map(Vec::len).sum();
        let left = look.left.saturating_sub(head.stale);
        (!forms.is_empty() && bytes <= bytes_max).then_some(Others {
            forms,
            tags: head.tags,
            left,
            stale: head.stale,
        })
    }

    /// All forms together, ours first.
    pub(crate) fn join(&self, ours: &[u8]) -> Vec<u8> {
        let all = || std::iter::once(ours).chain(self.forms.iter().map(Vec::as_slice));
        let mut bytes = vec![VERSION, all().count() as u8];
        for form in all() {
            // No value of more than 512 MiB is kept, so the length fits.
            bytes.extend((form.len() as u32).to_be_bytes());
            bytes.extend(form);
        }
        bytes
    }

    /// The tags of all forms.
    pub(crate) fn tags(&self, ours: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let theirs = self.tags.iter().filter(|tag| !ours.contains(tag));
        ours.iter().chain(theirs).cloned().collect()
    }
}

/// The form of a schema; what is one form of any schema is given as it is, so that reading it says what is wrong.
pub(crate) fn find(bytes: &[u8], schema: u64) -> Option<&[u8]> {
    match bytes.first() {
        Some(&VERSION) => split(bytes)?.into_iter().find(|form| schema_of(form) == Some(schema)),
        _ => Some(bytes),
    }
}

/// The forms in what is kept; `None` if it is cut off.
fn split(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let [VERSION, count, rest @ ..] = bytes else { return Some(vec![bytes]) };
    let mut rest = rest;
    let mut forms = Vec::with_capacity(FORMS_MAX);
    for _ in 0..*count {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (form, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        forms.push(form);
        rest = after;
    }
    Some(forms)
}

fn schema_of(form: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*form.get(SCHEMA_AT..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the backend has it: fixed head with one tag, and the data.
    fn look(state: State, data: &[u8]) -> Look {
        let mut bytes = vec![1; 9];
        bytes.extend(7_u64.to_be_bytes());
        bytes.extend(2000_u64.to_be_bytes());
        bytes.extend([0, 1, 0, 3]);
        bytes.extend(b"red");
        bytes.extend(data);
        Look { epoch: None, state, left: Duration::from_secs(9), bytes }
    }

    fn form(schema: u64) -> Vec<u8> {
        [&[1, 0], schema.to_be_bytes().as_slice(), b"rest"].concat()
    }

    #[test]
    fn j2_forms_of_others_are_kept_beside_ours_and_ours_is_replaced() {
        let one = Others::of(&look(State::Fresh, &form(1)), 2, 1000).unwrap();
        assert_eq!((one.left, one.stale), (Duration::from_secs(7), Duration::from_secs(2)));
        assert_eq!(one.tags(&[b"blue".to_vec(), b"red".to_vec()]), [b"blue".to_vec(), b"red".to_vec()]);
        let both = one.join(&form(2));
        assert_eq!(find(&both, 1), Some(&*form(1)));
        assert_eq!(find(&both, 2), Some(&*form(2)));
        assert_eq!(find(&both, 3), None);
        let again = Others::of(&look(State::Fresh, &both), 2, 1000).unwrap();
        assert_eq!(again, one);
        // Not what is stale, nor what is ours alone, nor too much.
        assert_eq!(Others::of(&look(State::Stale, &form(1)), 2, 1000), None);
        assert_eq!(Others::of(&look(State::Fresh, &form(2)), 2, 1000), None);
        assert_eq!(Others::of(&look(State::Fresh, &form(1)), 2, 10), None);
    }

    #[test]
    fn j2_the_number_of_forms_is_bounded() {
        let mut data = form(0);
        for schema in 1..10 {
            data = Others::of(&look(State::Fresh, &data), schema, 1000).unwrap().join(&form(schema));
        }
        assert_eq!(split(&data).unwrap().len(), FORMS_MAX);
        assert!(find(&data, 9).is_some() && find(&data, 6).is_some() && find(&data, 5).is_none());
    }

    #[test]
    fn j1_forms_that_are_cut_off_or_changed_are_no_forms() {
        let both = Others::of(&look(State::Fresh, &form(1)), 2, 1000).unwrap().join(&form(2));
        for cut in 1..both.len() {
            assert_eq!(find(&both[..cut], 1), None, "{cut}");
            let mut other = both.clone();
            other[cut] ^= 0xff;
            let _ = find(&other, 1);
        }
        assert_eq!(Others::of(&look(State::Fresh, b""), 2, 1000), None);
    }
}
