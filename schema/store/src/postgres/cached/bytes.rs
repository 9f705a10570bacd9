//! The bytes of a cached entry: a form, then fields. What another release wrote in another form is a miss.

/// Writes an entry.
pub struct Writer(Vec<u8>);

/// Reads one; `None` where it does not hold what it should.
pub struct Reader<'a>(&'a [u8]);

impl Writer {
    pub fn new(form: u8) -> Self {
        Self(vec![form])
    }

    #[must_use]
    pub fn flag(mut self, value: bool) -> Self {
        self.0.push(u8::from(value));
        self
    }

    #[must_use]
    pub fn number(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    #[must_use]
    pub fn number_opt(self, value: Option<u64>) -> Self {
        let writer = self.flag(value.is_some());
        match value {
            Some(value) => writer.number(value),
            None => writer,
        }
    }

    #[must_use]
    pub fn id(mut self, value: [u8; 16]) -> Self {
        self.0.extend_from_slice(&value);
        self
    }

    #[must_use]
    pub fn bytes(mut self, value: &[u8]) -> Self {
        let length = u32::try_from(value.len()).expect("an entry holds less than 4 GiB");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(value);
        self
    }

    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

impl<'a> Reader<'a> {
    pub fn new(entry: &'a [u8], form: u8) -> Option<Self> {
        let (first, rest) = entry.split_first()?;
        (*first == form).then_some(Self(rest))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub fn flag(&mut self) -> Option<bool> {
        self.array::<1>().map(|[byte]| byte != 0)
    }

    pub fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    pub fn number_opt(&mut self) -> Option<Option<u64>> {
        if self.flag()? { self.number().map(Some) } else { Some(None) }
    }

    pub fn id<T: From<[u8; 16]>>(&mut self) -> Option<T> {
        self.array().map(T::from)
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_be_bytes(self.array()?);
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    /// Nothing is left over.
    pub fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
