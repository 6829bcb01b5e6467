//! Frame buffers kept for reuse: allocating and freeing large ones costs page faults (+65 % CPU at 1 MiB).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use model::limits::BLOCK;

use crate::disk::{Buffer, Disk};

/// The buffers of one shard: the free ones by size, and how much there is of all.
pub struct Pool<D: Disk> {
    disk: D,
    free: RefCell<BTreeMap<usize, Class<D>>>,
    free_bytes: Cell<usize>,
    /// Of all buffers, free or not...
    bytes: Cell<usize>,
    /// ...above which none is kept free.
    bytes_max: usize,
    /// Counts calls of [`Self::take`].
    taken: Cell<u64>,
}

/// Free buffers of one size.
struct Class<D: Disk> {
    buffers: Vec<Rc<D::Buffer>>,
    /// When one was last asked for.
    asked: u64,
}

/// Nobody asks for a size any more when so many buffers were taken since one of it was.
const IDLE_TAKES: u64 = 10_000;

/// The size class for `len` bytes: eight classes a doubling, so at most an eighth is padding.
#[must_use]
pub fn size_class(len: usize) -> usize {
    let blocks = len.div_ceil(BLOCK).max(1);
    let step = (blocks.next_power_of_two() / 16).max(1);
    blocks.next_multiple_of(step) * BLOCK
}

/// The largest size class of at most `len` bytes, which is at least one block.
#[must_use]
pub fn size_class_below(len: usize) -> usize {
    let blocks = (len / BLOCK).max(1);
    let step = (blocks.next_power_of_two() / 16).max(1);
    blocks / step * step * BLOCK
}

impl<D: Disk> Pool<D> {
    /// A pool that keeps free buffers while all together are at most `bytes_max`.
    pub fn new(disk: D, bytes_max: usize) -> Rc<Self> {
        let (free_bytes, bytes, taken) = (Cell::new(0), Cell::new(0), Cell::new(0));
        Rc::new(Self { disk, free: RefCell::default(), free_bytes, bytes, bytes_max, taken })
    }

    /// A buffer of exactly `len` bytes (a multiple of `BLOCK`) that nobody else holds, contents unspecified.
    pub fn take(&self, len: usize) -> Rc<D::Buffer> {
        self.taken.set(self.taken.get() + 1);
        let reused = self.free.borrow_mut().get_mut(&len).and_then(|class| {
            class.asked = self.taken.get();
            class.buffers.pop()
        });
        match reused {
            Some(buffer) => {
                self.free_bytes.set(self.free_bytes.get() - len);
                buffer
            }
            None => {
                self.bytes.set(self.bytes.get() + len);
                self.shrink();
                Rc::new(self.disk.buffer(len))
            }
        }
    }

    /// Takes a buffer back; frees it when others still hold it or its size is no class.
    pub fn give(&self, buffer: Rc<D::Buffer>) {
        let len = (*buffer).as_ref().len();
        if Rc::strong_count(&buffer) > 1 || size_class(len) != len {
            self.bytes.set(self.bytes.get() - len);
            return;
        }
        let class = || Class { buffers: Vec::new(), asked: self.taken.get() };
        self.free.borrow_mut().entry(len).or_insert_with(class).buffers.push(buffer);
        self.free_bytes.set(self.free_bytes.get() + len);
        self.shrink();
    }

    /// When there is too much of all, frees buffers of a size that nobody asks for any more, else of the one that there is most of.
    /// The fewer the better: memory that is allocated aligned and freed again and again leaves the heap in pieces.
    fn shrink(&self) {
        let mut free = self.free.borrow_mut();
        while self.bytes.get() > self.bytes_max && self.free_bytes.get() > 0 {
            let idle = self.taken.get().saturating_sub(IDLE_TAKES);
            let of =
                |(&len, class): (&usize, &Class<D>)| (class.asked < idle, class.buffers.len() * len, len);
            let Some((_, _, len)) = free.iter().map(of).max() else { return };
            let gone = free.get_mut(&len).and_then(|class| class.buffers.pop());
            if gone.is_none() {
                free.remove(&len); // Idle and empty.
                continue;
            }
            self.bytes.set(self.bytes.get() - len);
            self.free_bytes.set(self.free_bytes.get() - len);
        }
    }

    /// Unused bytes held.
    pub fn free_bytes(&self) -> usize {
        self.free_bytes.get()
    }
}

/// A buffer that returns to its pool when the last holder lets go: a journal frame in memory.
pub struct Pooled<D: Disk> {
    buffer: Option<Rc<D::Buffer>>,
    pool: Rc<Pool<D>>,
}

impl<D: Disk> Pooled<D> {
    /// Takes a buffer of `len` bytes from `pool`.
    pub fn take(pool: &Rc<Pool<D>>, len: usize) -> Self {
        Self { buffer: Some(pool.take(len)), pool: Rc::clone(pool) }
    }

    /// The buffer, for a write.
    pub fn shared(&self) -> Rc<D::Buffer> {
        Rc::clone(self.buffer.as_ref().expect("present until dropped"))
    }

    /// The bytes, while nobody else holds the buffer.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let buffer = self.buffer.as_mut().and_then(Rc::get_mut).expect("a fresh buffer has one holder");
        buffer.as_mut()
    }
}

impl<D: Disk> AsRef<[u8]> for Pooled<D> {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| bytes_of(buffer))
    }
}

fn bytes_of<B: Buffer>(buffer: &Rc<B>) -> &[u8] {
    let buffer: &B = buffer;
    buffer.as_ref()
}

impl<D: Disk> Drop for Pooled<D> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.pool.give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_an_eighth() {
        for len in (1..=1 << 20).step_by(97) {
            let class = size_class(len);
            assert!(class >= len && class.is_multiple_of(BLOCK) && size_class(class) == class, "{len}");
            assert!(class - len < BLOCK || class - len <= class / 8, "{len} in {class}");
            let below = size_class_below(len.max(BLOCK));
            assert!(
                below <= len.max(BLOCK) && size_class(below) == below && below + below / 4 + BLOCK > len,
                "{len}"
            );
        }
        assert_eq!(size_class(1 << 20), 1 << 20);
    }
}
