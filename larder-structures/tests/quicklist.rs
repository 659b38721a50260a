//! Memory and reach of long quicklists.

use larder_structures::listpack::Listpack;
use larder_structures::quicklist::{Node, Quicklist};

fn element(n: usize) -> Vec<u8> {
    format!("element-{n:0>24}").into_bytes()
}

fn bytes_per_element(list: &Quicklist) -> f64 {
    list.bytes() as f64 / list.len() as f64
}

#[test]
fn long_lists_cost_little_and_are_all_reachable() {
    let (mut right, mut left) = (Quicklist::new(-2), Quicklist::new(-2));
    let count = 300_000;
    for n in 0..count {
        right.push_back(&element(n));
        left.push_front(&element(n));
    }
    for list in [&right, &left] {
        list.check_invariants(false);
        assert!(bytes_per_element(list) < 34.5, "{}", bytes_per_element(list));
    }
    for n in (0..count).step_by(997) {
        assert!(right.get(n as i64).is_some_and(|e| e.eq_bytes(&element(n))));
        assert!(left.get(-1 - n as i64).is_some_and(|e| e.eq_bytes(&element(n))));
        assert!(right.range(n as i64, n as i64 + 500).next().is_some_and(|e| e.eq_bytes(&element(n))));
    }
    for n in 0..count {
        assert_eq!(right.pop_front(), Some(element(n)));
        assert_eq!(left.pop_back(), Some(element(n)));
    }
    assert!(right.bytes() < 256 && left.bytes() < 256);
    assert_eq!((right.pop_back(), left.pop_front()), (None, None));
}

#[test]
fn a_short_list_is_small() {
    let mut list = Quicklist::new(-2);
    list.push_back(b"one");
    // Chunk, node and a listpack of 7 + 5 bytes.
    assert_eq!(list.bytes(), 40 + 32 + 12);
}

#[test]
fn insertion_in_the_middle_leaves_nodes_half_full_at_least() {
    let mut list = Quicklist::new(-1);
    list.push_back(b"pivot");
    for n in 0..6_000 {
        assert!(if n % 2 == 0 {
            list.insert_after(b"pivot", &element(n))
        } else {
            list.insert_before(b"pivot", &element(n))
        });
    }
    list.check_invariants(false);
    assert!(bytes_per_element(&list) < 75.0, "{}", bytes_per_element(&list));
}

#[test]
fn thinning_out_gives_memory_back() {
    let mut list = Quicklist::new(-2);
    for n in 0..200_000 {
        list.push_back(if n % 20 == 0 { b"kept" } else { b"gone" });
    }
    assert_eq!(list.remove(-1000, b"gone"), 1000);
    assert_eq!(list.remove(0, b"gone"), 189_000);
    list.check_invariants(false);
    assert_eq!(list.len(), 10_000);
    assert!(list.iter().all(|e| e.eq_bytes(b"kept")));
    assert!(bytes_per_element(&list) < 14.0, "{}", bytes_per_element(&list));
}

/// A node bounded by count, one element each: the index must stand many nodes.
#[test]
fn one_element_per_node_still_works() {
    let mut list = Quicklist::new(1);
    for n in 0..50_000 {
        list.push_back(&element(n));
    }
    assert_eq!(list.node_count(), 50_000);
    assert!((0..50_000).step_by(77).all(|n| list.get(n).is_some_and(|e| e.eq_bytes(&element(n as usize)))));
    for n in (0..4_000).step_by(2) {
        assert_eq!(list.remove(-1, &element(49_999 - n)), 1);
    }
    list.check_invariants(false);
    let left = (0..46_000).chain((46_000..50_000).step_by(2));
    assert!(list.iter().map(|e| e.to_vec()).eq(left.map(element)));
}

#[test]
fn large_values_are_plain_and_loaded_nodes_are_kept() {
    let mut list = Quicklist::new(-2);
    list.push_back(b"small");
    list.push_back(&[b'x'; 9000]);
    list.push_back(b"small");
    let kinds: Vec<bool> = list.nodes().map(|node| matches!(node, Node::Plain(_))).collect();
    assert_eq!(kinds, [false, true, false]);
    // RPUSH l a b 1 2, from redis-server 7.0.15.
    let bytes = vec![0x11, 0, 0, 0, 4, 0, 0x81, b'a', 2, 0x81, b'b', 2, 1, 1, 2, 1, 0xff];
    let mut loaded = Quicklist::new(-2);
    loaded.push_node(Node::Packed(
        Listpack::from_bytes(bytes.clone()).expect("redis-server's bytes are valid"),
    ));
    loaded.push_node(Node::Packed(Listpack::new()));
    assert_eq!((loaded.len(), loaded.node_count()), (4, 1));
    let mut pushed = Quicklist::new(-2);
    [b"a", b"b", b"1", b"2"].iter().for_each(|value| pushed.push_back(&value[..]));
    assert!(pushed.nodes().all(|node| node.as_bytes() == bytes));
}
