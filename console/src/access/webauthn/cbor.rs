//! As much of CBOR (RFC 8949) as authenticators write: definite lengths only, as CTAP2's canonical form demands, and no
//! deeper than that form allows.

/// Deepest nesting of what is skipped; the canonical form allows 4.
const DEPTH_MAX: u8 = 4;

/// What is left to be read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub rest: &'a [u8],
}

/// Major types.
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// So many bytes as they are.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// Major type and argument of the next item.
    fn head(&mut self) -> Option<(u8, u64)> {
        let first = self.take(1)?[0];
        let argument = match first & 0x1f {
            small @ 0..24 => u64::from(small),
            24 => u64::from(self.take(1)?[0]),
            25 => u64::from(u16::from_be_bytes(self.take(2)?.try_into().ok()?)),
            26 => u64::from(u32::from_be_bytes(self.take(4)?.try_into().ok()?)),
            27 => u64::from_be_bytes(self.take(8)?.try_into().ok()?),
            // 28 to 30 are reserved, 31 says that the length is not known.
            _ => return None,
        };
        Some((first >> 5, argument))
    }

    fn of(&mut self, wanted: u8) -> Option<u64> {
        let (major, argument) = self.head()?;
        (major == wanted).then_some(argument)
    }

    /// How many pairs a map has.
    pub fn map(&mut self) -> Option<u64> {
        self.of(MAP)
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.of(BYTES)?;
        self.take(usize::try_from(length).ok()?)
    }

    pub fn text(&mut self) -> Option<&'a str> {
        let length = self.of(TEXT)?;
        str::from_utf8(self.take(usize::try_from(length).ok()?)?).ok()
    }

    /// A whole number of either sign.
    pub fn number(&mut self) -> Option<i64> {
        match self.head()? {
            (UNSIGNED, n) => i64::try_from(n).ok(),
            (NEGATIVE, n) => i64::try_from(n).ok().map(|n| -1 - n),
            _ => None,
        }
    }

    /// Passes over one item, whatever it is.
    pub fn skip(&mut self) -> Option<()> {
        self.skip_at(0)
    }

    fn skip_at(&mut self, depth: u8) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        let (major, argument) = self.head()?;
        let items = match major {
            BYTES | TEXT => {
                self.take(usize::try_from(argument).ok()?)?;
                0
            }
            ARRAY => argument,
            MAP => argument.checked_mul(2)?,
            TAG => 1,
            _ => 0,
        };
        // Each item takes a byte at least: what claims more than there is ends here.
        (0..items).try_for_each(|_| self.skip_at(depth + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_passed_over() {
        let mut reader = Reader::new(&[0x18, 0x64, 0x39, 0x01, 0x00, 0x42, 1, 2, 0x62, b'o', b'k', 0xa1]);
        assert_eq!((reader.number(), reader.number()), (Some(100), Some(-257)));
        assert_eq!((reader.bytes(), reader.text()), (Some(&[1, 2][..]), Some("ok")));
        assert_eq!((reader.map(), reader.map()), (Some(1), None));
        // {"a": [1, h'00'], 2: 1(true)}, then 7.
        let mut reader = Reader::new(&[0xa2, 0x61, b'a', 0x82, 1, 0x41, 0, 2, 0xc1, 0xf5, 7]);
        assert_eq!((reader.skip(), reader.number(), reader.rest.len()), (Some(()), Some(7), 0));
    }

    #[test]
    fn what_is_malformed_is_nothing() {
        for bad in [
            &[][..],
            &[0x42, 1],
            &[0x1c],
            &[0x5f, 0xff],
            &[0x9f, 0xff],
            &[0x81; 9],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0],
        ] {
            assert_eq!(Reader::new(bad).skip(), None, "{bad:02x?}");
        }
        assert_eq!(Reader::new(&[0x62, 0xff, 0xfe]).text(), None, "no UTF-8");
        assert_eq!(Reader::new(&[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).number(), None);
    }
}
