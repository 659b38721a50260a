//! How a key's value is seen by a handler.

use super::shard::StoredEntry;
use crate::fault::Fault;
use crate::types::string::StringRef;
use crate::types::{Body, BodyRef, Collection, Packed, Type};
use larder_structures::entry::{EntryRef, Facts, ValueRef};
use larder_structures::slab;
use larder_structures::sync::{Pinned, Shared};
use larder_structures::table::Element;
use std::sync::Arc;

/// Bytes from which on a string is sent from where it is: below, a system call for several pieces costs more than the
/// copy.
const ATTACHED_FROM: usize = 16 * 1024;

/// A value.
#[derive(Clone, Copy)]
pub enum View<'a> {
    /// A string, wherever it is kept.
    String(StringRef<'a>),
    /// A collection.
    Body(BodyRef<'a>),
}

/// A key that is there.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// Its value.
    pub view: View<'a>,
    /// When it expires, in Unix milliseconds.
    pub expires_at_ms: Option<u64>,
    /// Its access clock before this lookup.
    pub clock: u32,
    /// Whether its string was last written piecewise (APPEND, SETRANGE), which makes a short one `raw`.
    pub is_raw: bool,
    /// Bytes of the entry without its body, not rounded as memory is; zero if there is no entry.
    pub(super) entry_size: usize,
    pub(super) body: Option<&'a Shared<Body>>,
}

impl<'a> Found<'a> {
    pub(crate) fn new(entry: EntryRef<'a, Pinned<Body>>) -> Found<'a> {
        Self::of(&entry.facts())
    }

    /// Inlined, so that whoever asks for the value alone does not read the rest.
    #[inline(always)]
    pub(crate) fn of(facts: &Facts<'a, Pinned<Body>>) -> Found<'a> {
        let (view, body) = match facts.value() {
            ValueRef::Bytes(bytes) => (View::String(StringRef::Bytes(bytes)), None),
            ValueRef::Integer(number) => (View::String(StringRef::Integer(number)), None),
            ValueRef::Packed(tag, bytes) => (View::Body(Packed::new(tag, bytes).into()), None),
            ValueRef::Body(shared) => (View::of_body(shared), Some(shared)),
        };
        Found {
            view,
            expires_at_ms: facts.expires_at_ms(),
            clock: facts.clock(),
            is_raw: facts.is_marked(),
            entry_size: facts.size(),
            body,
        }
    }

    /// Its string, if it is so large that copying it is worth avoiding.
    #[inline]
    pub(super) fn attachable(&self) -> Option<&'a Arc<Vec<u8>>> {
        match self.body.map(|shared| &**shared) {
            Some(Body::Bytes(bytes)) if bytes.len() >= ATTACHED_FROM => Some(bytes),
            _ => None,
        }
    }

    /// Bytes of the entry and its value.
    pub fn memory(&self) -> usize {
        let entry = if self.entry_size > 0 { slab::rounded(self.entry_size) } else { 0 };
        entry + self.body.map_or(0, |body| body.memory())
    }

    /// The value's type.
    pub fn kind(&self) -> Type {
        match self.view {
            View::String(_) => Type::String,
            View::Body(body) => body.kind(),
        }
    }
}

impl<'a> View<'a> {
    #[inline]
    pub(super) fn of_body(body: &'a Body) -> View<'a> {
        match body.seen() {
            Ok(collection) => View::Body(collection),
            Err(bytes) => View::String(StringRef::Bytes(bytes)),
        }
    }

    /// The value as a string.
    ///
    /// # Errors
    /// [`Fault::WRONG_TYPE`] if it is none.
    #[inline]
    pub fn string(self) -> Result<StringRef<'a>, Fault> {
        match self {
            View::String(string) => Ok(string),
            View::Body(_) => Err(Fault::WRONG_TYPE),
        }
    }

    /// The value as a collection of type `T`.
    ///
    /// # Errors
    /// [`Fault::WRONG_TYPE`] if it is something else.
    #[inline]
    pub fn collection<T: Collection>(self) -> Result<T::Ref<'a>, Fault> {
        match self {
            View::Body(body) => T::seen(body).ok_or(Fault::WRONG_TYPE),
            View::String(_) => Err(Fault::WRONG_TYPE),
        }
    }
}

/// The body of an entry with its holders, if it has one.
#[inline]
pub(super) fn shared_of(entry: <StoredEntry as Element>::Ref<'_>) -> Option<&Shared<Body>> {
    match entry.value() {
        ValueRef::Body(shared) => Some(shared),
        ValueRef::Bytes(_) | ValueRef::Integer(_) | ValueRef::Packed(..) => None,
    }
}
