//! What is sent: the tests of redis-benchmark, or a command of the user's.

use larder_resp::write_command;

use super::options::Settings;
use super::random::{Keys, Random};

/// Stands for a random number in a command.
const PLACEHOLDER: &[u8] = b"__rand_int__";

/// One test.
#[derive(Clone, Debug)]
pub(super) struct Test {
    pub(super) title: String,
    /// One request.
    pub(super) request: Vec<u8>,
}

/// Names for `-t`, title, and the words of the command. `{key}`, `{rand}` and `{value}` are filled in. A test with the name
/// of another one prepares it.
const TESTS: &[(&[&str], &str, &str)] = &[
    (&["ping_inline", "ping"], "PING_INLINE", ""),
    (&["ping_mbulk", "ping"], "PING_MBULK", "PING"),
    (&["set"], "SET", "SET key:{rand} {value}"),
    (&["get"], "GET", "GET key:{rand}"),
    (&["incr"], "INCR", "INCR counter:{rand}"),
    (&["lpush"], "LPUSH", "LPUSH mylist {value}"),
    (&["rpush"], "RPUSH", "RPUSH mylist {value}"),
    (&["lpop"], "LPOP", "LPOP mylist"),
    (&["rpop"], "RPOP", "RPOP mylist"),
    (&["sadd"], "SADD", "SADD myset element:{rand}"),
    (&["hset"], "HSET", "HSET myhash element:{rand} {value}"),
    (&["spop"], "SPOP", "SPOP myset"),
    (&["zadd"], "ZADD", "ZADD myzset {score} element:{rand}"),
    (&["zpopmin"], "ZPOPMIN", "ZPOPMIN myzset"),
    (
        &["lrange", "lrange_100", "lrange_300", "lrange_500", "lrange_600"],
        "LPUSH (needed to benchmark LRANGE)",
        "LPUSH mylist {value}",
    ),
    (&["lrange", "lrange_100"], "LRANGE_100 (first 100 elements)", "LRANGE mylist 0 99"),
    (&["lrange", "lrange_300"], "LRANGE_300 (first 300 elements)", "LRANGE mylist 0 299"),
    (&["lrange", "lrange_500"], "LRANGE_500 (first 500 elements)", "LRANGE mylist 0 499"),
    (&["lrange", "lrange_600"], "LRANGE_600 (first 600 elements)", "LRANGE mylist 0 599"),
    (
        &["mset"],
        "MSET (10 keys)",
        "MSET key:{rand} {value} key:{rand} {value} key:{rand} {value} key:{rand} {value} key:{rand} {value} key:{rand} \
         {value} key:{rand} {value} key:{rand} {value} key:{rand} {value} key:{rand} {value}",
    ),
];

/// The tests that were chosen.
pub(super) fn tests(settings: &Settings) -> Result<Vec<Test>, String> {
    if !settings.command.is_empty() {
        let words: Vec<String> =
            settings.command.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let mut request = Vec::new();
        write_command(&mut request, &settings.command);
        return Ok(vec![Test { title: words.join(" "), request }]);
    }
    let chosen: Option<Vec<String>> = settings
        .tests
        .as_ref()
        .map(|list| list.split(',').map(|name| name.trim().to_ascii_lowercase()).collect());
    if let Some(unknown) =
        chosen.iter().flatten().find(|name| !TESTS.iter().any(|(names, ..)| names.contains(&name.as_str())))
    {
        let mut names: Vec<&str> = TESTS.iter().flat_map(|(names, ..)| *names).copied().collect();
        names.sort_unstable();
        names.dedup();
        return Err(format!("-t: there is no test '{unknown}', only {}", names.join(", ")));
    }
    let wanted = |names: &[&str]| {
        chosen.as_ref().is_none_or(|list| list.iter().any(|name| names.contains(&name.as_str())))
    };
    let rows = TESTS.iter().filter(|(names, ..)| wanted(names));
    Ok(rows
        .map(|(_, title, words)| Test { title: (*title).to_owned(), request: request(words, settings) })
        .collect())
}

fn request(words: &str, settings: &Settings) -> Vec<u8> {
    if words.is_empty() {
        return b"PING\r\n".to_vec();
    }
    let value = "x".repeat(settings.value_size);
    let score = if settings.keys == 0 { "0" } else { "__rand_int__" };
    let fill = |word: &str| {
        word.replace("{rand}", "__rand_int__")
            .replace("{value}", &value)
            .replace("{score}", score)
            .into_bytes()
    };
    let words: Vec<Vec<u8>> = words.split_whitespace().map(fill).collect();
    let mut request = Vec::new();
    write_command(&mut request, &words);
    request
}

/// A batch of requests whose random numbers can be replaced in place.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// Where the numbers stand.
    places: Vec<usize>,
    /// The length of one request.
    stride: usize,
}

impl Batch {
    pub(super) fn new(request: &[u8], count: usize, keys: &Keys) -> Self {
        let bytes = request.repeat(count);
        let is_random = !matches!(keys, Keys::One);
        let places = if is_random {
            let windows = bytes.windows(PLACEHOLDER.len()).enumerate();
            windows.filter(|(_, window)| *window == PLACEHOLDER).map(|(at, _)| at).collect()
        } else {
            Vec::new()
        };
        Self { bytes, places, stride: request.len() }
    }

    /// The bytes of the first `count` requests, with new random numbers.
    pub(super) fn fill(&mut self, count: usize, keys: &Keys, random: &mut Random) -> &[u8] {
        let end = count * self.stride;
        for place in self.places.iter().take_while(|place| **place < end) {
            let mut number = keys.draw(random);
            for digit in self.bytes[*place..*place + PLACEHOLDER.len()].iter_mut().rev() {
                *digit = b'0' + u8::try_from(number % 10).expect("a digit");
                number /= 10;
            }
        }
        &self.bytes[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_chosen_by_name() {
        let titles = |list: Option<&str>| {
            let settings = Settings { tests: list.map(str::to_owned), ..Settings::default() };
            tests(&settings).map(|tests| tests.into_iter().map(|test| test.title).collect::<Vec<_>>())
        };
        assert_eq!(titles(Some("set,get")).expect("known"), ["SET", "GET"]);
        assert_eq!(titles(Some("PING")).expect("known"), ["PING_INLINE", "PING_MBULK"]);
        assert_eq!(titles(Some("lrange_100")).expect("known").len(), 2);
        assert_eq!(titles(None).expect("all").len(), TESTS.len());
        assert!(titles(Some("set,foo")).expect_err("unknown").contains("foo"));
    }

    #[test]
    fn random_numbers_have_twelve_digits() {
        let keys = Keys::new(1000, None);
        let mut batch = Batch::new(b"GET key:__rand_int__\r\n", 2, &keys);
        let text = String::from_utf8(batch.fill(2, &keys, &mut Random::new(1)).to_vec()).expect("ASCII");
        for line in text.lines() {
            let number = line.strip_prefix("GET key:").expect("the request");
            assert!(number.len() == 12 && number.parse::<u64>().expect("digits") < 1000, "{line}");
        }
        assert_eq!(batch.fill(1, &keys, &mut Random::new(1)).len(), 22);
    }

    #[test]
    fn without_random_keys_the_placeholder_is_the_key() {
        let mut batch = Batch::new(b"GET __rand_int__\r\n", 1, &Keys::One);
        assert_eq!(batch.fill(1, &Keys::One, &mut Random::new(1)), b"GET __rand_int__\r\n");
    }
}
