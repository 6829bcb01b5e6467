//! CRC-32C of a whole from those of its parts, for parts that are joined again and again.
//!
//! Checksums are remainders of polynomials over GF(2): what stands in front of `n` bytes contributes its own checksum times
//! x^(8n). That power depends on the length only, so it is made once; then joining takes one multiplication, some 50 ns, where
//! finding the power each time takes longer than sending a small batch.

/// The polynomial of CRC-32C without its highest term; the lowest bit is the highest power.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// 1 and x in that order of bits.
const ONE: u32 = 1 << 31;
const X: u32 = 1 << 30;

/// x^(8n) for some n.
#[derive(Clone, Copy, Debug)]
pub struct Shift(u32);

impl Shift {
    /// Past so many bytes.
    pub fn past(bytes: usize) -> Self {
        let (mut power, mut square, mut left) = (ONE, X, 8 * bytes as u64);
        while left > 0 {
            if left & 1 == 1 {
                power = product(power, square);
            }
            square = product(square, square);
            left >>= 1;
        }
        Self(power)
    }

    /// The checksum of what has checksum `front`, followed by what has checksum `back` and the length of this shift.
    pub fn join(self, front: u32, back: u32) -> u32 {
        product(self.0, front) ^ back
    }
}

/// The product of two remainders.
fn product(a: u32, mut b: u32) -> u32 {
    let mut sum = 0;
    for power in (0..u32::BITS).rev() {
        sum ^= b & 0_u32.wrapping_sub(a >> power & 1);
        // Times x.
        b = (b >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(b & 1));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_checksums_are_those_of_the_whole() {
        let mut random = fastrand::Rng::with_seed(7);
        for back in [0, 1, 2, 3, 40, 255, 4096, 65_535, 131_011, 1_000_003] {
            let whole: Vec<u8> = (0..40 + back).map(|_| random.u8(..)).collect();
            let (front, rest) = whole.split_at(40);
            let joined = Shift::past(back).join(crc32c::crc32c(front), crc32c::crc32c(rest));
            assert_eq!(joined, crc32c::crc32c(&whole), "{back} bytes");
        }
    }
}
