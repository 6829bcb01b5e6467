//! The system's allocator, asked in a way that lets it use freed memory for direct I/O again: docs/adr/0023.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

/// What `malloc` aligns to by itself.
const ALIGNED: usize = 16;

/// [`System`], but that what wants to be aligned is asked for with room around it. The place of the whole stands before what is
/// handed out.
///
/// ```text
/// |.......place|handed out......|..|
/// ```
pub struct Heap;

/// The memory around something aligned; `None` when there cannot be so much.
fn around(layout: Layout) -> Option<Layout> {
    let bytes = layout.size().checked_add(layout.align())?;
    Layout::from_size_align(bytes, ALIGNED).ok()
}

// SAFETY: every method hands out memory of `System` that has the size and alignment asked for, and gives back that very memory.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNED {
            // SAFETY: the caller's promises are those that `System` asks for.
            return unsafe { System.alloc(layout) };
        }
        let Some(whole) = around(layout) else { return ptr::null_mut() };
        // SAFETY: not empty, since alignment is not zero.
        let place = unsafe { System.alloc(whole) };
        if place.is_null() {
            return place;
        }
        // Between 16 and `align` bytes behind the place, because that is a multiple of 16.
        let skipped = layout.align() - place.addr() % layout.align();
        // SAFETY: `skipped` and the size together are within the whole, and the word before `start` is too and is aligned.
        unsafe {
            let start = place.add(skipped);
            start.cast::<*mut u8>().sub(1).write(place);
            start
        }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if layout.align() <= ALIGNED {
            // SAFETY: the caller's promises are those that `System` asks for.
            return unsafe { System.dealloc(start, layout) };
        }
        let Some(whole) = around(layout) else { return };
        // SAFETY: `alloc` wrote the place of the whole there.
        unsafe { System.dealloc(start.cast::<*mut u8>().sub(1).read(), whole) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNED {
            // SAFETY: the caller's promises are those that `System` asks for.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: the same promises; what comes back, if anything, has the size to be filled.
        unsafe {
            let start = self.alloc(layout);
            if !start.is_null() {
                start.write_bytes(0, layout.size());
            }
            start
        }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if layout.align() <= ALIGNED {
            // SAFETY: the caller's promises are those that `System` asks for.
            return unsafe { System.realloc(start, layout, bytes) };
        }
        // SAFETY: the caller promises that `bytes` is a size this alignment may have; both have the smaller size to be copied.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(bytes, layout.align()));
            if !moved.is_null() {
                ptr::copy_nonoverlapping(start, moved, layout.size().min(bytes));
                self.dealloc(start, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_out_is_aligned_and_holds_what_is_put_in() {
        for align in [1, 16, 32, 64, 4096, 1 << 16] {
            for bytes in [1, 8, 100, 4096, 131_072] {
                let layout = Layout::from_size_align(bytes, align).unwrap();
                // SAFETY: not empty; written and read within its size; given back as it was taken.
                unsafe {
                    let zeroed = Heap.alloc_zeroed(layout);
                    assert!(zeroed.addr().is_multiple_of(align) && !zeroed.is_null());
                    assert!(std::slice::from_raw_parts(zeroed, bytes).iter().all(|byte| *byte == 0));
                    zeroed.write_bytes(7, bytes);
                    let grown = Heap.realloc(zeroed, layout, 2 * bytes);
                    assert!(grown.addr().is_multiple_of(align));
                    assert!(std::slice::from_raw_parts(grown, bytes).iter().all(|byte| *byte == 7));
                    grown.write_bytes(8, 2 * bytes);
                    Heap.dealloc(grown, Layout::from_size_align(2 * bytes, align).unwrap());
                }
            }
        }
    }
}
