//! Values of the keyspace to values of a snapshot, and back.
//!
//! What is packed in memory is packed in the file: the bytes are copied. Coming back they are not trusted: a packed
//! value is checked through and through before it becomes a value.

use super::snapshot::dump::dump;
use super::snapshot::{Node as FileNode, NodeRef, Value, ValueWriter};
use crate::config::Config;
use crate::keyspace::View;
use crate::types::list::End;
use crate::types::string::{Digits, StringRef};
use crate::types::{Body, BodyRef, Hash, List, Packed, Set, Zset, zset};
use larder_structures::corrupt::Corrupt;
use larder_structures::entry::ValueRef;
use larder_structures::intset::Intset;
use larder_structures::listpack::Listpack;
use larder_structures::quicklist::Node;
use larder_structures::sync::Pinned;
use std::io::{self, Write};

/// A value on its way into the keyspace.
pub(crate) enum Stored {
    /// A string.
    String(Vec<u8>),
    /// Anything else.
    Body(Body),
}

/// Writes the value of an entry.
pub(super) fn write<W: Write>(value: ValueRef<'_, Pinned<Body>>, to: ValueWriter<'_, W>) -> io::Result<()> {
    match value {
        ValueRef::Bytes(bytes) => to.string(bytes),
        ValueRef::Integer(number) => to.string(StringRef::Integer(number).bytes(&mut Digits::new())),
        ValueRef::Packed(tag, bytes) => write_body(Packed::new(tag, bytes).into(), to),
        ValueRef::Body(body) => match body.seen() {
            Ok(body) => write_body(body, to),
            Err(bytes) => to.string(bytes),
        },
    }
}

/// Bytes that a value takes in a snapshot, its type included.
pub(crate) fn serialized_length(view: View<'_>) -> usize {
    // What DUMP adds: version and checksum.
    const TRAILER: usize = 10;
    let payload = dump(true, |to| match view {
        View::String(string) => to.string(string.bytes(&mut Digits::new())),
        View::Body(body) => write_body(body, to),
    });
    // Memory does not fail.
    payload.map_or(0, |payload| payload.len().saturating_sub(TRAILER))
}

/// Writes a collection.
pub(crate) fn write_body<W: Write>(body: BodyRef<'_>, to: ValueWriter<'_, W>) -> io::Result<()> {
    match body {
        BodyRef::List(list) => to.list(
            list.nodes().count() as u64,
            list.nodes().map(|node| match node {
                Node::Packed(pack) => NodeRef::Packed(pack.as_bytes()),
                Node::Plain(bytes) => NodeRef::Plain(bytes),
            }),
        ),
        BodyRef::Set(set) => match set.as_intset() {
            Some(ints) => to.intset(&ints.to_bytes()),
            None => to.set(set.len() as u64, set.iter().map(StringRef::to_vec)),
        },
        BodyRef::Hash(hash) => match hash.as_listpack() {
            Some(pack) => to.hash_listpack(&pack.to_bytes()),
            None => {
                let pairs = hash.iter().map(|(field, value)| (field.to_vec(), value.to_vec()));
                to.hash(hash.len() as u64, pairs)
            }
        },
        BodyRef::Zset(zset) => match zset.as_packed() {
            Some(pack) => to.zset_listpack(&pack.to_bytes()),
            None => {
                // Ascending, so that whoever reads it back builds it by appending.
                let items = zset.iter().map(|item| (item.member.to_vec(), item.score));
                to.zset(zset.len() as u64, items)
            }
        },
    }
}

/// What is wrong with a packed value.
type Damage = &'static str;

fn damage(corrupt: Corrupt) -> Damage {
    corrupt.0
}

/// Makes a value of what a snapshot holds. `None` for an empty collection, which is no key.
pub(crate) fn read(value: Value, config: &Config) -> Result<Option<Stored>, Damage> {
    let body = match value {
        Value::String(bytes) => return Ok(Some(Stored::String(bytes))),
        Value::List(elements) => {
            let mut list = List::new(config.list_fill());
            elements.iter().for_each(|element| list.push(End::Right, element));
            Body::List(list)
        }
        Value::ListNodes(nodes) => Body::List(read_nodes(nodes, config)?),
        Value::Set(members) => Body::Set(read_members(members.iter().map(Vec::as_slice), config)?),
        Value::Intset(bytes) => {
            Body::Set(Set::from_intset(Intset::from_bytes(bytes).map_err(damage)?, config.set_limits()))
        }
        Value::SetListpack(bytes) => {
            let pack = Listpack::from_bytes(bytes).map_err(damage)?;
            let members: Vec<Vec<u8>> = pack.iter().map(|member| member.to_vec()).collect();
            Body::Set(read_members(members.iter().map(Vec::as_slice), config)?)
        }
        Value::Hash(pairs) => {
            let mut hash = Hash::new();
            for (field, value) in &pairs {
                if !hash.set(field, value, config.hash_limits()) {
                    return Err("each field of a hash once");
                }
            }
            Body::Hash(hash)
        }
        Value::HashListpack(bytes) => {
            let pack = Listpack::from_bytes(bytes).map_err(damage)?;
            Body::Hash(Hash::from_listpack(pack, config.hash_limits()).map_err(damage)?)
        }
        Value::Zset(items) => {
            let mut builder = zset::Builder::with_room(items.len());
            for (member, score) in &items {
                if !builder.add(member, *score, |before, _| before) {
                    return Err("each member of a sorted set once");
                }
            }
            Body::Zset(builder.finish(config.zset_limits()))
        }
        Value::ZsetListpack(bytes) => {
            let pack = Listpack::from_bytes(bytes).map_err(damage)?;
            Body::Zset(Zset::from_packed(pack, config.zset_limits()).ok_or("a sorted set in its order")?)
        }
    };
    Ok((body.elements() > 0).then_some(Stored::Body(body)))
}

fn read_nodes(nodes: Vec<FileNode>, config: &Config) -> Result<List, Damage> {
    let mut list = List::new(config.list_fill());
    for node in nodes {
        match node {
            FileNode::Plain(bytes) => list.push_node(Node::Plain(bytes.into())),
            FileNode::Packed(bytes) => {
                let pack = Listpack::from_bytes(bytes).map_err(damage)?;
                if !pack.is_empty() {
                    list.push_node(Node::Packed(pack));
                }
            }
        }
    }
    Ok(list)
}

fn read_members<'a>(members: impl Iterator<Item = &'a [u8]>, config: &Config) -> Result<Set, Damage> {
    let mut set = Set::new();
    for member in members {
        if !set.add(member, config.set_limits()) {
            return Err("each member of a set once");
        }
    }
    Ok(set)
}
