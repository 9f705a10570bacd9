//! Decides where a shard's sockets live: dense slots whose keys carry a generation,
//! so that whatever arrives late for a slot that was reused is recognised and ignored.

/// Bits of a slot's generation that fit into an io_uring `user_data` beside the index and the kind of operation.
pub(super) const GENERATION_BITS: u32 = 24;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// Which slot, and which of its successive occupants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotKey {
    index: u32,
    generation: u32,
}

impl SlotKey {
    /// The slot's place; dense, reused after the occupant left.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Which occupant of the slot, counted modulo 2^24.
    pub fn generation(self) -> u32 {
        self.generation
    }

    pub(super) fn from_parts(index: u32, generation: u32) -> Self {
        Self { index, generation: generation & GENERATION_MASK }
    }
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Values in dense slots, at most `live_max` of them at a time.
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    live_max: usize,
}

impl<T> Slots<T> {
    pub(super) fn new(live_max: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), live_max }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Hands the value back when all `live_max` slots are taken.
    pub(super) fn insert(&mut self, value: T) -> Result<SlotKey, T> {
        if self.len() >= self.live_max {
            return Err(value);
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).expect("live_max keeps slots far below 2^32");
                self.slots.push(Slot { generation: 0, value: None });
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        assert!(slot.value.is_none(), "a free slot holds nothing");
        slot.value = Some(value);
        Ok(SlotKey { index, generation: slot.generation })
    }

    pub(super) fn get(&self, key: SlotKey) -> Option<&T> {
        self.slots.get(key.index()).filter(|slot| slot.generation == key.generation)?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: SlotKey) -> Option<&mut T> {
        self.slots.get_mut(key.index()).filter(|slot| slot.generation == key.generation)?.value.as_mut()
    }

    pub(super) fn remove(&mut self, key: SlotKey) -> Option<T> {
        let slot = self.slots.get_mut(key.index()).filter(|slot| slot.generation == key.generation)?;
        let value = slot.value.take()?;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        self.free.push(key.index);
        Some(value)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = SlotKey> + '_ {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.value.is_some()).map(|(index, slot)| SlotKey {
            index: u32::try_from(index).expect("live_max keeps slots far below 2^32"),
            generation: slot.generation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_an_earlier_occupant_finds_nothing() {
        let mut slots = Slots::new(4);
        let first = slots.insert("first").unwrap();
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second").unwrap();
        assert_eq!(first.index(), second.index());
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(slots.keys().collect::<Vec<_>>(), vec![second]);
    }

    #[test]
    fn a_full_table_hands_the_value_back() {
        let mut slots = Slots::new(1);
        let key = slots.insert(1).unwrap();
        assert_eq!(slots.insert(2), Err(2));
        slots.remove(key);
        assert!(slots.insert(3).is_ok());
        assert_eq!(slots.len(), 1);
    }
}
