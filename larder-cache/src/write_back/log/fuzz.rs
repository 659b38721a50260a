//! Any bytes as a log.

use super::{MAGIC, Record, Wanted, frame, read};

/// Reads a log, writes anew what is still wanted of it, and reads that.
pub(crate) fn fuzz(data: &[u8]) {
    let whole;
    let bytes = match data.starts_with(MAGIC) {
        true => data,
        // Sums that no mutation makes right are made right here: behind a first byte the body of a frame follows.
        false => {
            whole = body(data);
            whole.as_slice()
        }
    };
    let found = read(bytes);
    assert!(found.length <= bytes.len() && found.damage.is_none_or(|at| at < bytes.len()));
    // What is whole is whole without what was behind it.
    let again = read(&bytes[..found.length]);
    assert_eq!((&again.records, again.length), (&found.records, found.length));
    let wanted = |records: &[Record]| {
        let mut wanted = Wanted::default();
        records.iter().for_each(|record| wanted.take(record));
        wanted
    };
    let before = wanted(&found.records);
    // No key has no bytes: it is packed as MessagePack.
    let has_no_key =
        before.pending.contains_key(&[][..]) || before.dead.values().any(|(key, ..)| key.is_empty());
    if has_no_key {
        return;
    }
    let anew = read(&[MAGIC, &frame(&before.records())[..]].concat());
    assert_eq!(anew.damage, None);
    let after = wanted(&anew.records);
    assert_eq!((after.seq, &after.token), (before.seq, &before.token));
    assert_eq!(after.dead, before.dead);
    assert_eq!(after.pending, before.pending);
}

/// Bytes as the one frame of a log.
fn body(data: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let mut head = (data.len() as u32).to_be_bytes().to_vec();
    head.extend(crc32fast::hash(data).to_be_bytes());
    let sum = crc32fast::hash(&head);
    bytes.extend(head);
    bytes.extend(sum.to_be_bytes());
    bytes.extend(data);
    bytes
}

/// Logs to start from, whole and as the body of a frame.
pub(crate) fn examples() -> Vec<Vec<u8>> {
    let (key, value) = (|n: u8| vec![b'k', n], Some(b"value".to_vec()));
    let records = [
        Record::Owner { fence: 3, token: b"token".to_vec() },
        Record::Change { seq: 1, key: key(1), value: value.clone() },
        Record::Change { seq: 2, key: key(2), value: None },
        Record::Done { seq: 1, key: key(1) },
        Record::Dead { seq: 2, key: key(2), value: None, why: "no".to_owned() },
        Record::Change { seq: 3, key: key(2), value },
    ];
    let mut log = MAGIC.to_vec();
    records.chunks(2).for_each(|some| log.extend(frame(some)));
    let body = frame(&records)[super::HEAD..].to_vec();
    vec![log, body]
}
