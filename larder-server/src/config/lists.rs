//! The parameters whose value is several words: what the words mean, and how they are checked.

use super::OutputLimit;
use super::params::Kind;
use larder::config::params::parse_memory;

/// Any words.
pub(super) const ANY: Kind = Kind::Words { merge: any, accumulates: false };

fn any(_present: &str, words: &[&str]) -> Result<String, String> {
    Ok(words.join(" "))
}

/// `bind`: up to 16 addresses; an empty word for none.
pub(super) fn bind(_present: &str, words: &[&str]) -> Result<String, String> {
    const ADDRESSES_MAX: usize = 16;
    if words.len() > ADDRESSES_MAX {
        return Err(format!("Too many bind addresses specified, at most {ADDRESSES_MAX} are possible."));
    }
    Ok(words.join(" "))
}

/// `dbfilename`: a name without a path.
pub(super) fn file_name(_present: &str, words: &[&str]) -> Result<String, String> {
    match words {
        [name] if !name.contains('/') => Ok((*name).to_owned()),
        [_path] => Err("dbfilename can't be a path, just a filename".into()),
        _ => Err("wrong number of arguments".into()),
    }
}

/// `appendfilename`: the name of a file, without a directory.
pub(super) fn append_file_name(_present: &str, words: &[&str]) -> Result<String, String> {
    append_name("appendfilename can't be a path, just a filename", "appendfilename can't be empty", words)
}

/// `appenddirname`: the name of a directory, without another one.
pub(super) fn append_dir_name(_present: &str, words: &[&str]) -> Result<String, String> {
    append_name("appenddirname can't be a path, just a dirname", "appenddirname can't be empty", words)
}

fn append_name(is_path: &str, is_empty: &str, words: &[&str]) -> Result<String, String> {
    match words {
        [] | [""] => Err(is_empty.into()),
        [name] if name.contains('/') || matches!(*name, "." | "..") => Err(is_path.into()),
        [name] => Ok((*name).to_owned()),
        _ => Err("wrong number of arguments".into()),
    }
}

/// `save`: pairs of seconds and changes, added to those present; no word for none at all.
pub(super) fn save_points(present: &str, words: &[&str]) -> Result<String, String> {
    if words.is_empty() {
        return Ok(String::new());
    }
    let (pairs, rest) = words.as_chunks::<2>();
    let is_valid = |[seconds, changes]: &[&str; 2]| {
        seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0) && changes.parse::<u32>().is_ok()
    };
    if !rest.is_empty() || !pairs.iter().all(is_valid) {
        return Err("Invalid save parameters".into());
    }
    let mut points: Vec<&str> = present.split_ascii_whitespace().collect();
    points.extend(words);
    Ok(points.join(" "))
}

/// `shutdown-on-sigterm`, `shutdown-on-sigint`.
pub(super) fn shutdown_flags(_present: &str, words: &[&str]) -> Result<String, String> {
    const FLAGS: &[&str] = &["default", "save", "nosave", "now", "force"];
    let words: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let has = |word: &str| words.iter().any(|other| other == word);
    let is_known = words.iter().all(|word| FLAGS.contains(&word.as_str()));
    if words.is_empty() || !is_known || (has("default") && words.len() > 1) || (has("save") && has("nosave"))
    {
        return Err(format!("argument(s) must be one of the following: {}", FLAGS.join(", ")));
    }
    Ok(words.join(" "))
}

/// The classes of `client-output-buffer-limit`, in the order in which they are shown.
const CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// `client-output-buffer-limit`: groups of four words, each replacing what is present for its class.
pub(super) fn output_limits(present: &str, words: &[&str]) -> Result<String, String> {
    let mut limits = parse_output_limits(present);
    let (groups, rest) = words.as_chunks::<4>();
    if groups.is_empty() || !rest.is_empty() {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    for [class, hard, soft, seconds] in groups {
        let class = if class.eq_ignore_ascii_case("replica") { "slave" } else { class };
        let Some(index) = CLASSES.iter().position(|name| name.eq_ignore_ascii_case(class)) else {
            return Err("Invalid client class specified in buffer limit configuration.".into());
        };
        let bytes = |word: &str| parse_memory(word).and_then(|bytes| usize::try_from(bytes).ok());
        let (Some(hard), Some(soft), Ok(soft_seconds)) = (bytes(hard), bytes(soft), seconds.parse::<u32>())
        else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".into());
        };
        limits[index] = OutputLimit { hard, soft, soft_seconds: u64::from(soft_seconds) };
    }
    let shown = CLASSES
        .iter()
        .zip(limits)
        .map(|(class, limit)| format!("{class} {} {} {}", limit.hard, limit.soft, limit.soft_seconds));
    Ok(shown.collect::<Vec<_>>().join(" "))
}

/// The limits in the order of the classes: normal, replica, pubsub. `value` has been through [`output_limits`].
pub(super) fn parse_output_limits(value: &str) -> [OutputLimit; 3] {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let mut limits = [OutputLimit { hard: 0, soft: 0, soft_seconds: 0 }; 3];
    for (limit, group) in limits.iter_mut().zip(words.as_chunks::<4>().0) {
        let number = |word: &str| word.parse::<usize>().unwrap_or(0);
        *limit = OutputLimit {
            hard: number(group[1]),
            soft: number(group[2]),
            soft_seconds: number(group[3]) as u64,
        };
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_limits_replace_those_of_their_class_only() {
        let default = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        let changed = output_limits(default, &["replica", "1mb", "0", "7", "NORMAL", "5", "4", "3"]);
        let expected = "normal 5 4 3 slave 1048576 0 7 pubsub 33554432 8388608 60";
        assert_eq!(changed.as_deref(), Ok(expected));
        for bad in [&["normal", "1", "2"][..], &["other", "1", "2", "3"], &["normal", "x", "2", "3"], &[]] {
            assert!(output_limits(default, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn save_points_come_in_pairs() {
        assert_eq!(save_points("", &["900", "1"]).as_deref(), Ok("900 1"));
        assert_eq!(save_points("900 1", &["60", "10", "30", "20"]).as_deref(), Ok("900 1 60 10 30 20"));
        assert_eq!(save_points("900 1", &[]).as_deref(), Ok(""));
        for bad in [&["900"][..], &["0", "1"], &["-5", "1"], &["900", "x"]] {
            assert!(save_points("", bad).is_err(), "{bad:?}");
        }
    }
}
