//! The codec: replace it. In safe Rust, without a panic that a peer could cause: a panic ends the host.
//!
//! This one leaves out words of zeroes: of each 64 words, a bitmap of those that are not zero, then those.

const WORD: usize = 8;
const GROUP: usize = 64 * WORD; // divides every page size

/// Compresses `pages` into `out`. Returns the compressed size, None when it would be more than `out` can hold:
/// the pages are then sent as they are. `pages` is a private copy, which holds still.
pub fn encode(out: &mut [u8], pages: &[u8]) -> Option<usize> {
    let mut used = 0;
    let mut put = |bytes: &[u8]| {
        out.get_mut(used..used + bytes.len())?.copy_from_slice(bytes);
        used += bytes.len();
        Some(())
    };
    for group in pages.chunks_exact(GROUP) {
        let words = || group.chunks_exact(WORD).enumerate().filter(|(_, word)| word != &[0; WORD]);
        let map = words().fold(0u64, |map, (index, _)| map | 1 << index);
        put(&map.to_le_bytes())?;
        for (_, word) in words() {
            put(word)?;
        }
    }
    Some(used)
}

/// Decompresses `body` into exactly all of `pages`. None when `body` is anything else than that: the bytes come
/// from the network, and nothing about them is sure.
pub fn decode(pages: &mut [u8], body: &[u8]) -> Option<()> {
    let mut words = body.chunks_exact(WORD);
    for group in pages.chunks_exact_mut(GROUP) {
        let map = u64::from_le_bytes(words.next()?.try_into().ok()?);
        for (index, word) in group.chunks_exact_mut(WORD).enumerate() {
            match map >> index & 1 {
                0 => word.fill(0),
                _ => word.copy_from_slice(words.next()?),
            }
        }
    }
    (words.len() == 0 && words.remainder().is_empty()).then_some(())
}
