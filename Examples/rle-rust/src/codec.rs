//! The codec, without a pointer in it: tokens of `rle/1` to and from slices.

pub const RAW: u8 = 0;
pub const RLE: u8 = 1;
pub const MIN_RUN: usize = 3;
pub const MAX_RUN: usize = 130;
const MAX_LITERALS: usize = 128;

/// Writes tokens into a slice until it is full.
pub struct TokenWriter<'a> {
    out: &'a mut [u8],
    used: usize,
}

/// The tokens do not fit: send the pages as they are.
pub struct Full;

impl<'a> TokenWriter<'a> {
    pub fn new(out: &'a mut [u8]) -> Self {
        TokenWriter { out, used: 0 }
    }

    pub fn used(&self) -> usize {
        self.used
    }

    /// `count` bytes of the rest of the buffer.
    fn take(&mut self, count: usize) -> Result<&mut [u8], Full> {
        let place = self.out.get_mut(self.used..self.used + count).ok_or(Full)?;
        self.used += count;
        Ok(place)
    }

    fn literals(&mut self, bytes: &[u8]) -> Result<(), Full> {
        for some in bytes.chunks(MAX_LITERALS) {
            let (token, rest) = self.take(1 + some.len())?.split_at_mut(1);
            token.fill((some.len() - 1) as u8);
            rest.copy_from_slice(some);
        }
        Ok(())
    }

    /// One piece of a page, as literals and runs of at least `shortest` bytes.
    pub fn encode(&mut self, piece: &[u8], shortest: usize) -> Result<(), Full> {
        let (mut sent, mut at) = (0, 0); // piece[sent..at] waits to go out as literals
        while let Some(&byte) = piece.get(at) {
            let rest = &piece[at..piece.len().min(at + MAX_RUN)];
            let run = rest.iter().position(|&other| other != byte).unwrap_or(rest.len());
            if run >= shortest {
                self.literals(&piece[sent..at])?;
                self.take(2)?.copy_from_slice(&[(0x80 + run - MIN_RUN) as u8, byte]);
                sent = at + run;
            }
            at += run;
        }
        self.literals(&piece[sent..])
    }
}

/// Takes `count` bytes off the front of a slice.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    if count > bytes.len() {
        return None;
    }
    let (front, rest) = bytes.split_at(count);
    *bytes = rest;
    Some(front)
}

/// Fills a page from the tokens at the front of `payload`, and takes them off.
pub fn decode(payload: &mut &[u8], page: &mut [u8]) -> Result<(), &'static [u8]> {
    let mut rest = page;
    while !rest.is_empty() {
        let token = take(payload, 1).ok_or(&b"the payload ends before its last page\0"[..])?[0];
        let literal = token < 0x80;
        let count = if literal { token as usize + 1 } else { token as usize - 0x80 + MIN_RUN };
        if count > rest.len() {
            return Err(b"a token reaches across the end of a page\0");
        }
        let follows = take(payload, if literal { count } else { 1 })
            .ok_or(&b"the payload ends within a token\0"[..])?;
        let (place, behind) = rest.split_at_mut(count);
        if literal {
            place.copy_from_slice(follows);
        } else {
            place.fill(follows[0]);
        }
        rest = behind;
    }
    Ok(())
}
