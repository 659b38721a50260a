//! A cursor over the arguments of a command.

use crate::fault::Fault;
use larder_resp::Request;
use larder_structures::decimal;

/// The arguments behind the command's name, taken one by one. Copying it is cheap and remembers the position.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    request: Request<'a>,
    next: usize,
}

impl<'a> Args<'a> {
    /// The arguments of `request` from the `first` on.
    pub fn new(request: Request<'a>, first: usize) -> Self {
        Args { request, next: first }
    }

    /// How many are left.
    #[inline]
    pub fn len(&self) -> usize {
        self.request.len().saturating_sub(self.next)
    }

    /// Whether none is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole request, the command's name included.
    pub fn request(&self) -> Request<'a> {
        self.request
    }

    /// The index in the request of the next argument.
    pub fn position(&self) -> usize {
        self.next
    }

    /// The next argument without taking it.
    #[inline]
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.request.get(self.next)
    }

    /// The argument `ahead` places on, without taking any.
    pub fn peek_at(&self, ahead: usize) -> Option<&'a [u8]> {
        self.request.get(self.next + ahead)
    }

    /// Takes the next argument.
    ///
    /// # Errors
    /// A syntax error if none is left; what the arity guarantees is always there.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let bytes = self.request.get(self.next).ok_or(Fault::SYNTAX)?;
        self.next += 1;
        Ok(bytes)
    }

    /// Passes over the next argument, if there is one.
    pub fn skip(&mut self) {
        self.next += usize::from(!self.is_empty());
    }

    /// Takes the next argument, a key.
    ///
    /// # Errors
    /// As [`Args::bytes`].
    #[inline]
    pub fn key(&mut self) -> Result<&'a [u8], Fault> {
        self.bytes()
    }

    /// Takes the next argument, a decimal of 64 bits.
    ///
    /// # Errors
    /// [`Fault::NOT_INTEGER`] if it is none.
    pub fn int(&mut self) -> Result<i64, Fault> {
        decimal::parse_canonical_i64(self.bytes()?).ok_or(Fault::NOT_INTEGER)
    }

    /// Takes the next argument, a decimal within `range`.
    ///
    /// # Errors
    /// `fault` if it is no decimal or outside.
    pub fn int_in(&mut self, range: std::ops::RangeInclusive<i64>, fault: Fault) -> Result<i64, Fault> {
        match decimal::parse_canonical_i64(self.bytes()?) {
            Some(number) if range.contains(&number) => Ok(number),
            _ => Err(fault),
        }
    }

    /// Takes the next argument, a floating-point number.
    ///
    /// # Errors
    /// [`Fault::NOT_FLOAT`] if it is none.
    pub fn float(&mut self) -> Result<f64, Fault> {
        larder_resp::parse_double(self.bytes()?).ok_or(Fault::NOT_FLOAT)
    }

    /// Takes the next argument if it is this word, in whatever case.
    pub fn flag(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()));
        self.next += usize::from(found);
        found
    }

    /// Takes `numkeys` and as many keys, behind which at least one argument is left.
    ///
    /// # Errors
    /// `numkeys` is no positive number, or there are fewer arguments.
    pub fn numbered_keys(&mut self) -> Result<impl Iterator<Item = &'a [u8]> + Clone + use<'a>, Fault> {
        let keys = self.int_in(1..=i64::MAX, Fault::row("ERR", "numkeys should be greater than 0"))?;
        let keys = usize::try_from(keys).ok().filter(|keys| *keys < self.len()).ok_or(Fault::SYNTAX)?;
        let names = self.rest().take(keys);
        self.next += keys;
        Ok(names)
    }

    /// Takes the rest, a `COUNT` that is positive or nothing, which means 1.
    ///
    /// # Errors
    /// It is something else.
    pub fn count_or_one(&mut self) -> Result<usize, Fault> {
        if self.is_empty() {
            return Ok(1);
        }
        if self.len() < 2 || !self.flag("COUNT") {
            return Err(Fault::SYNTAX);
        }
        let count = self.int_in(1..=i64::MAX, Fault::row("ERR", "count should be greater than 0"))?;
        self.finish()?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Ends the arguments.
    ///
    /// # Errors
    /// A syntax error if any is left.
    pub fn finish(&self) -> Result<(), Fault> {
        if self.is_empty() { Ok(()) } else { Err(Fault::SYNTAX) }
    }

    /// Goes through what is left.
    pub fn rest(self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        (self.next..self.request.len()).map(move |index| self.request.arg(index))
    }
}
