//! One value alone, as DUMP returns and RESTORE takes it: a value of the snapshot format without its key, the version
//! of the format (two bytes) and the checksum of all that (eight bytes), both little-endian.

use std::io;

use super::super::crc64::crc64;
use super::codec::{VERSION_WRITTEN, VERSIONS_READ};
use super::error::{LoadError, LoadErrorKind};
use super::read::Value;
use super::source::{BUFFER_LEN, Source};
use super::write::{Encoder, ValueWriter, WriteOptions};

/// The longest field taken in one piece; a buffer must hold it.
const FIELD_MAX: usize = 16;

/// The payload for a value, which `write` gives: `dump(true, |value| value.string(b"hello"))`.
///
/// # Errors
/// As [`ValueWriter`] says; memory does not fail.
pub fn dump(
    compress: bool,
    write: impl FnOnce(ValueWriter<'_, Vec<u8>>) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    // The payload is its own buffer, and its checksum is taken in one go.
    let mut out =
        Encoder::new(Vec::new(), WriteOptions { compress, checksum: false, ..WriteOptions::default() }, 0);
    write(ValueWriter { out: &mut out, head: None })?;
    out.drain()?;
    let mut payload = out.into_output();
    payload.extend(VERSION_WRITTEN.to_le_bytes());
    payload.extend(crc64(&payload).to_le_bytes());
    Ok(payload)
}

/// The value in a payload.
///
/// # Errors
/// If it is too short, altered, of a version this crate does not read, or if its value is not exactly what is in front
/// of the version. Offsets count from the start of the payload.
pub fn restore(payload: &[u8]) -> Result<Value, LoadError> {
    let end = payload.len() as u64;
    let short = || LoadError::new(end, LoadErrorKind::UnexpectedEnd { reading: "the version and checksum" });
    let (summed, checksum) = payload.split_last_chunk::<8>().ok_or_else(short)?;
    let (body, version) = summed.split_last_chunk::<2>().ok_or_else(short)?;
    let version = u16::from_le_bytes(*version);
    if !VERSIONS_READ.contains(&version) {
        return Err(LoadError::new(body.len() as u64, LoadErrorKind::UnsupportedVersion { version }));
    }
    let (stored, computed) = (u64::from_le_bytes(*checksum), crc64(summed));
    if stored != computed {
        return Err(LoadError::new(
            summed.len() as u64,
            LoadErrorKind::ChecksumMismatch { stored, computed },
        ));
    }
    let mut source = Source::new(body, body.len().clamp(FIELD_MAX, BUFFER_LEN));
    let tag = source.byte("the type of a value")?;
    let value = source.value(tag, 0)?;
    let at = source.offset();
    if source.at_end()? {
        return Ok(value);
    }
    let found = format!("{} bytes more", body.len() as u64 - at);
    Err(LoadError::corrupt(at, "the end of the value", found))
}
