//! rle-rust: run-length coding in Rust. The wire format is `../RLE.md`, the contract is `multifd_plugin.h`.
//!
//! `ffi.rs` is the header in Rust, `codec.rs` the codec in safe Rust, this file the C border between them.
//! A panic would end the host (it cannot unwind into C, and it prints): nothing here indexes, adds or
//! unwraps what a peer can choose, and there is no allocation by Rust's own allocator, which aborts.

mod codec;
mod ffi;

use codec::{decode, TokenWriter, MAX_RUN, MIN_RUN, RAW, RLE};
use ffi::*;
use std::ffi::c_void;
use std::{ptr, slice};

const PIECE: usize = 4096; // divides every page size

/// What a callback fails with: a status, and a reason (NUL-terminated) unless the host knows it.
struct Failure(i32, Option<&'static [u8]>);
type Outcome = Result<(), Failure>;

fn corrupt(why: &'static [u8]) -> Failure {
    Failure(MULTIFD_ERROR_CORRUPT, Some(why))
}
fn no_memory() -> Failure {
    Failure(MULTIFD_ERROR_NO_MEMORY, Some(b"out of memory\0"))
}

/// The host's side of a channel. Both pointers are valid from setup until cleanup returns.
#[derive(Clone, Copy)]
struct Host {
    services: *const MultiFDServices,
    channel: *mut MultiFDChannel,
}

// SAFETY (all four): the table of services is complete (ABI 1.0), and the calls come from the thread that is
// inside the callback; pointers are as the header demands of each.
impl Host {
    unsafe fn alloc<T>(&self, count: usize) -> Result<*mut T, Failure> {
        let size = count.checked_mul(size_of::<T>()).ok_or_else(no_memory)?;
        let memory = ((*self.services).alloc)(self.channel, size, 64) as *mut T;
        if memory.is_null() {
            Err(no_memory())
        } else {
            Ok(memory)
        }
    }
    unsafe fn free<T>(&self, memory: *mut T) {
        ((*self.services).free)(self.channel, memory as *mut c_void)
    }
    unsafe fn read(&self, into: &mut [u8]) -> Outcome {
        match ((*self.services).read)(self.channel, into.as_mut_ptr().cast(), into.len()) {
            MULTIFD_OK => Ok(()),
            status => Err(Failure(status, None)), // the host knows why
        }
    }
    unsafe fn report(&self, outcome: Outcome) -> i32 {
        let Err(Failure(status, why)) = outcome else { return MULTIFD_OK };
        if let Some(why) = why {
            ((*self.services).error)(self.channel, why.as_ptr().cast());
        }
        status
    }
}

/// A channel's state in either direction: memory for one payload.
struct State {
    payload: *mut u8, // `bound` bytes
    bound: usize,
    min_run: usize,
    piece: [u8; PIECE],
}

/// Puts a new state where cleanup finds it, also when its payload cannot be had.
unsafe fn set_up(
    host: Host,
    place: *mut *mut c_void,
    sizes: (u32, u32),
    options: *const MultiFDOptionValue,
) -> Outcome {
    let bound = payload_bound(sizes.0, sizes.1);
    if bound == 0 || bound > u64::from(u32::MAX) {
        let why = b"packets of this size are not supported\0";
        return Err(Failure(MULTIFD_ERROR_UNSUPPORTED, Some(why)));
    }
    let (bound, min_run) = (bound as usize, (*options).number as usize);
    let state: *mut State = host.alloc(1)?;
    state.write(State { payload: ptr::null_mut(), bound, min_run, piece: [0; PIECE] });
    *place = state.cast();
    (*state).payload = host.alloc(bound)?;
    // A slice is made of it later: there must be no uninitialized byte in it.
    (*state).payload.write_bytes(0, bound);
    Ok(())
}

unsafe fn clean_up(host: Host, place: *mut *mut c_void) {
    let state = (*place).cast::<State>();
    if state.is_null() {
        return;
    }
    host.free((*state).payload);
    host.free(state);
    *place = ptr::null_mut();
}

unsafe fn send(p: &mut MultiFDSendParams) -> Outcome {
    (p.iovs_num, p.next_packet_size) = (0, 0);
    let (page_size, count) = (p.page_size as usize, p.normal_num as usize);
    if count == 0 {
        return Ok(());
    }
    // SAFETY: setup has put the state there, and calls with these params never overlap. The payload has
    // payload_bound() bytes for page_count pages, which `count` does not exceed.
    let state = &mut *p.compress_data.cast::<State>();
    let payload = slice::from_raw_parts_mut(state.payload, 1 + count * page_size);
    let normal = slice::from_raw_parts(p.normal, count);
    let mut size = payload.len();
    let mut writer = TokenWriter::new(&mut payload[1..size - 1]);
    let fits = normal.iter().all(|&offset| {
        (0..page_size).step_by(PIECE).all(|at| {
            // SAFETY: within a page of the packet. The guest may be writing to it, so no slice is made of
            // it (that would promise Rust that it holds still): a piece is copied, old bytes or new.
            let source = unsafe { p.host.add(offset as usize + at) };
            unsafe { ptr::copy_nonoverlapping(source, state.piece.as_mut_ptr(), PIECE) };
            writer.encode(&state.piece, state.min_run).is_ok()
        })
    });
    let used = writer.used();
    if fits {
        payload[0] = RLE;
        size = 1 + used;
    } else {
        payload[0] = RAW;
        for (&offset, place) in normal.iter().zip(payload[1..].chunks_mut(page_size)) {
            // SAFETY: as above.
            ptr::copy_nonoverlapping(p.host.add(offset as usize), place.as_mut_ptr(), page_size);
        }
    }
    // SAFETY: the host's array has room for 17 entries at least.
    *p.iov = MultiFDIOVec { iov_base: payload.as_mut_ptr().cast(), iov_len: size };
    (p.iovs_num, p.next_packet_size) = (1, size as u32);
    Ok(())
}

unsafe fn receive(p: &mut MultiFDRecvParams) -> Outcome {
    let host = Host { services: p.services, channel: p.channel };
    let (page_size, count) = (p.page_size as usize, p.normal_num as usize);
    let size = p.next_packet_size as usize;
    if count == 0 {
        return if size == 0 { Ok(()) } else { Err(corrupt(b"a payload without pages\0")) };
    }
    // SAFETY: as in send().
    let state = &mut *p.compress_data.cast::<State>();
    if size < 2 || size > state.bound {
        return Err(corrupt(b"the payload's size is not one that rle/1 can have\0"));
    }
    let payload = slice::from_raw_parts_mut(state.payload, size - 1);
    // SAFETY: the host has checked that the pages lie in the block. The same page may be there twice, so
    // only one slice of them exists at a time.
    let (base, normal) = (p.host, slice::from_raw_parts(p.normal, count));
    let page = |offset: u64| unsafe { slice::from_raw_parts_mut(base.add(offset as usize), page_size) };

    let mut first = [0];
    host.read(&mut first)?;
    match first[0] {
        RAW if size != 1 + count * page_size => {
            Err(corrupt(b"a raw payload has not the size of its pages\0"))
        }
        RAW => normal.iter().try_for_each(|&offset| host.read(page(offset))),
        RLE => {
            host.read(payload)?;
            let mut tokens = &payload[..];
            for &offset in normal {
                decode(&mut tokens, page(offset)).map_err(corrupt)?;
            }
            if tokens.is_empty() {
                Ok(())
            } else {
                Err(corrupt(b"the payload is more than its pages\0"))
            }
        }
        _ => Err(corrupt(b"the payload is neither RAW nor RLE\0")),
    }
}

// The callbacks. SAFETY (all of them): `p` is the host's, valid and this call's alone.

extern "C" fn payload_bound(page_size: u32, page_count: u32) -> u64 {
    match page_size {
        4096..=0x4000_0000 if page_size.is_power_of_two() && page_count > 0 => {
            1 + u64::from(page_size) * u64::from(page_count)
        }
        _ => 0,
    }
}

unsafe extern "C" fn send_setup(p: *mut MultiFDSendParams) -> i32 {
    let p = &mut *p;
    let host = Host { services: p.services, channel: p.channel };
    host.report(set_up(host, &mut p.compress_data, (p.page_size, p.page_count), p.options))
}
unsafe extern "C" fn send_cleanup(p: *mut MultiFDSendParams) {
    let p = &mut *p;
    clean_up(Host { services: p.services, channel: p.channel }, &mut p.compress_data)
}
unsafe extern "C" fn send_prepare(p: *mut MultiFDSendParams) -> i32 {
    let p = &mut *p;
    Host { services: p.services, channel: p.channel }.report(send(p))
}
unsafe extern "C" fn recv_setup(p: *mut MultiFDRecvParams) -> i32 {
    let p = &mut *p;
    let host = Host { services: p.services, channel: p.channel };
    host.report(set_up(host, &mut p.compress_data, (p.page_size, p.page_count), p.options))
}
unsafe extern "C" fn recv_cleanup(p: *mut MultiFDRecvParams) {
    let p = &mut *p;
    clean_up(Host { services: p.services, channel: p.channel }, &mut p.compress_data)
}
unsafe extern "C" fn recv(p: *mut MultiFDRecvParams) -> i32 {
    let p = &mut *p;
    Host { services: p.services, channel: p.channel }.report(receive(p))
}

static OPTIONS: [MultiFDOption; 1] = [MultiFDOption {
    name: c"min-run".as_ptr(),
    help: c"shortest run of equal bytes that becomes a token".as_ptr(),
    default_value: c"4".as_ptr(),
    choices: ptr::null(),
    minimum: MIN_RUN as i64,
    maximum: MAX_RUN as i64,
    kind: MULTIFD_OPTION_INT,
    reserved: 0,
}];

static TABLE: MultiFDMethods = MultiFDMethods {
    magic: MULTIFD_PLUGIN_MAGIC,
    abi_major: MULTIFD_ABI_MAJOR,
    abi_minor: MULTIFD_ABI_MINOR,
    struct_size: size_of::<MultiFDMethods>() as u32,
    capabilities: MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
    name: c"rle-rust".as_ptr(),
    version: c"1.0.0".as_ptr(),
    wire_format: c"rle/1".as_ptr(),
    description: c"run-length coding, an example in Rust".as_ptr(),
    qemu_method: MULTIFD_QEMU_METHOD_UNKNOWN,
    max_in_flight: 0,
    options: OPTIONS.as_ptr(),
    options_num: OPTIONS.len() as u32,
    option_size: size_of::<MultiFDOption>() as u32,
    payload_bound,
    send_setup,
    send_cleanup,
    send_prepare,
    recv_setup,
    recv_cleanup,
    recv,
};

/// The one exported symbol.
#[no_mangle]
pub extern "C" fn multifd_plugin_entry(host_major: u32) -> *const MultiFDMethods {
    if host_major == u32::from(MULTIFD_ABI_MAJOR) {
        &TABLE
    } else {
        ptr::null()
    }
}
