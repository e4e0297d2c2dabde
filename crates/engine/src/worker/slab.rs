//! Numbered places that are used again, each time under another generation, so that a late event finds nobody
//! instead of somebody else.

/// Index bits of a key: 16 million at a time in one worker.
const INDEX_BITS: u32 = 24;

/// Values under keys that are never used twice (a generation has 37 bits).
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<(u64, Option<T>)>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Stores a value under a new key.
    pub fn insert(&mut self, value: T) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            self.places.len() - 1
        });
        let place = &mut self.places[index];
        place.0 += 1;
        place.1 = Some(value);
        place.0 << INDEX_BITS | index as u64
    }

    /// The value under a key, if it is still there.
    pub fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let (generation, value) = self.places.get_mut(index(key))?;
        (*generation == key >> INDEX_BITS).then_some(value.as_mut()).flatten()
    }

    /// Takes the value out.
    pub fn remove(&mut self, key: u64) -> Option<T> {
        let index = index(key);
        let (generation, value) = self.places.get_mut(index)?;
        if *generation != key >> INDEX_BITS {
            return None;
        }
        let value = value.take();
        if value.is_some() {
            self.free.push(index);
        }
        value
    }

    /// All values. O(places), for lists only.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|(_, value)| value.as_ref())
    }

    /// The keys of all values.
    pub fn keys(&self) -> Vec<u64> {
        let places = self.places.iter().enumerate();
        places
            .filter(|(_, (_, value))| value.is_some())
            .map(|(i, (g, _))| g << INDEX_BITS | i as u64)
            .collect()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn index(key: u64) -> usize {
    usize::try_from(key & ((1 << INDEX_BITS) - 1)).expect("24 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_under_another_key() {
        let mut slab = Slab::default();
        let first = slab.insert("a");
        assert_eq!(slab.remove(first), Some("a"));
        let second = slab.insert("b");
        assert_ne!(first, second);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "b"));
        assert_eq!(slab.len(), 1);
        assert_eq!(slab.keys(), [second]);
    }
}
