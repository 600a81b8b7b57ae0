//! new-backend: a multifd backend. The contract is `multifd_plugin.h`, what to do next is in README.md.
//!
//! `codec.rs` is the codec: replace it. `abi/` is the header in Rust, a crate of its own, and this file the border to
//! the host, complete as it is for a codec that compresses a packet's pages as one piece, each packet by itself.

mod codec;

use multifd_plugin_abi::*;
use std::ffi::{c_void, CStr};
use std::{ptr, slice};

const RAW: u8 = 0; // the first byte of a payload
const CODED: u8 = 1;

/// What a callback fails with: a status, and a reason unless the host knows it.
struct Failure(i32, Option<&'static CStr>);
type Outcome = Result<(), Failure>;

/// The host's side of a channel. Both pointers are valid from setup until cleanup returns.
struct Host {
    services: *const MultiFDServices,
    channel: *mut MultiFDChannel,
}

// SAFETY (both): the table of services is complete, and the calls come from the thread inside the callback.
impl Host {
    unsafe fn alloc<T>(&self, size: usize) -> Result<*mut T, Failure> {
        let memory = ((*self.services).alloc)(self.channel, size, 64);
        if memory.is_null() {
            return Err(Failure(MULTIFD_ERROR_NO_MEMORY, Some(c"out of memory")));
        }
        Ok(memory.cast())
    }
    unsafe fn report(&self, outcome: Outcome) -> i32 {
        let Err(Failure(status, why)) = outcome else { return MULTIFD_OK };
        if let Some(why) = why {
            ((*self.services).error)(self.channel, why.as_ptr());
        }
        status
    }
}

/// A channel's state, in either direction.
struct State {
    payload: *mut u8, // payload_bound() bytes
    pages: *mut u8,   // a packet's pages, one after the other
}

unsafe fn set_up(host: &Host, page_size: u32, page_count: u32, place: &mut *mut c_void) -> Outcome {
    let bound = payload_bound(page_size, page_count) as usize;
    if bound == 0 || bound > u32::MAX as usize {
        let why = c"packets of this size are not supported";
        return Err(Failure(MULTIFD_ERROR_UNSUPPORTED, Some(why)));
    }
    let state: *mut State = host.alloc(size_of::<State>())?;
    state.write(State { payload: ptr::null_mut(), pages: ptr::null_mut() });
    *place = state.cast(); // from here on cleanup finds it, also when this function fails
    (*state).payload = host.alloc(bound)?;
    (*state).pages = host.alloc(bound - 1)?;
    // Slices are made of them later: there must be no uninitialized byte in them.
    (*state).payload.write_bytes(0, bound);
    (*state).pages.write_bytes(0, bound - 1);
    Ok(())
}

unsafe fn clean_up(host: &Host, place: &mut *mut c_void) {
    let state: *mut State = place.cast();
    if state.is_null() {
        return;
    }
    for memory in [(*state).pages, (*state).payload, state.cast()] {
        ((*host.services).free)(host.channel, memory.cast());
    }
    *place = ptr::null_mut();
}

// SAFETY (the rest of the file): `p` is the host's, valid, and this call's alone; setup has put the state where it
// is. A packet has at most page_count pages, for which the state's memory was made.

unsafe extern "C" fn send_prepare(p: *mut MultiFDSendParams) -> i32 {
    let p = &mut *p;
    (p.iovs_num, p.next_packet_size) = (0, 0);
    if p.normal_num == 0 {
        return MULTIFD_OK;
    }
    let state = &*p.compress_data.cast::<State>();
    let page_size = p.page_size as usize;
    let normal = slice::from_raw_parts(p.normal, p.normal_num as usize);
    let pages = slice::from_raw_parts_mut(state.pages, page_size * normal.len());
    let payload = slice::from_raw_parts_mut(state.payload, 1 + pages.len());
    // The guest may be writing to its pages: no slices of them, and the codec gets a copy.
    for (place, &offset) in pages.chunks_exact_mut(page_size).zip(normal) {
        ptr::copy_nonoverlapping(p.host.add(offset as usize), place.as_mut_ptr(), page_size);
    }

    let (first, body) = payload.split_at_mut(1);
    let coded = codec::encode(&mut body[..pages.len() - 1], pages);
    first[0] = if coded.is_some() { CODED } else { RAW };
    let size = 1 + coded.unwrap_or_else(|| {
        body.copy_from_slice(pages);
        pages.len()
    });
    *p.iov = MultiFDIOVec { iov_base: state.payload.cast(), iov_len: size };
    (p.iovs_num, p.next_packet_size) = (1, size as u32);
    MULTIFD_OK
}

unsafe fn receive(p: &mut MultiFDRecvParams) -> Outcome {
    let corrupt = |why| Err(Failure(MULTIFD_ERROR_CORRUPT, Some(why)));
    let size = p.next_packet_size as usize;
    if p.normal_num == 0 {
        return if size == 0 { Ok(()) } else { corrupt(c"a payload without pages") };
    }
    let state = &*p.compress_data.cast::<State>();
    let page_size = p.page_size as usize;
    let normal = slice::from_raw_parts(p.normal, p.normal_num as usize);
    let pages = slice::from_raw_parts_mut(state.pages, page_size * normal.len());
    if size < 1 || size > 1 + pages.len() {
        return corrupt(c"the payload has not the size of its pages");
    }
    let payload = slice::from_raw_parts_mut(state.payload, size);
    let status = ((*p.services).read)(p.channel, payload.as_mut_ptr().cast(), size);
    if status != MULTIFD_OK {
        return Err(Failure(status, None)); // the host knows why
    }

    let body = &payload[1..];
    match payload[0] {
        RAW if body.len() == pages.len() => pages.copy_from_slice(body),
        CODED if codec::decode(pages, body).is_some() => {}
        _ => return corrupt(c"the payload is not one of new-backend's"),
    }
    for (page, &offset) in pages.chunks_exact(page_size).zip(normal) {
        ptr::copy_nonoverlapping(page.as_ptr(), p.host.add(offset as usize), page_size);
    }
    Ok(())
}

unsafe extern "C" fn recv(p: *mut MultiFDRecvParams) -> i32 {
    let p = &mut *p;
    Host { services: p.services, channel: p.channel }.report(receive(p))
}
unsafe extern "C" fn send_setup(p: *mut MultiFDSendParams) -> i32 {
    let p = &mut *p;
    let host = Host { services: p.services, channel: p.channel };
    host.report(set_up(&host, p.page_size, p.page_count, &mut p.compress_data))
}
unsafe extern "C" fn send_cleanup(p: *mut MultiFDSendParams) {
    let p = &mut *p;
    clean_up(&Host { services: p.services, channel: p.channel }, &mut p.compress_data)
}
unsafe extern "C" fn recv_setup(p: *mut MultiFDRecvParams) -> i32 {
    let p = &mut *p;
    let host = Host { services: p.services, channel: p.channel };
    host.report(set_up(&host, p.page_size, p.page_count, &mut p.compress_data))
}
unsafe extern "C" fn recv_cleanup(p: *mut MultiFDRecvParams) {
    let p = &mut *p;
    clean_up(&Host { services: p.services, channel: p.channel }, &mut p.compress_data)
}

/// A byte that says what follows, and at worst the pages as they are.
extern "C" fn payload_bound(page_size: u32, page_count: u32) -> u64 {
    match page_size {
        4096..=0x4000_0000 if page_size.is_power_of_two() && page_count > 0 => {
            1 + u64::from(page_size) * u64::from(page_count)
        }
        _ => 0,
    }
}

static TABLE: MultiFDMethods = MultiFDMethods {
    magic: MULTIFD_PLUGIN_MAGIC,
    abi_major: MULTIFD_ABI_MAJOR,
    abi_minor: MULTIFD_ABI_MINOR,
    struct_size: size_of::<MultiFDMethods>() as u32,
    capabilities: MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
    name: c"new-backend".as_ptr(),
    version: c"0.1.0".as_ptr(),
    wire_format: c"x-new-backend/1".as_ptr(), // another number when old payloads no longer decode
    description: c"a backend of my own".as_ptr(),
    qemu_method: MULTIFD_QEMU_METHOD_UNKNOWN,
    max_in_flight: 0,
    options: ptr::null(),
    options_num: 0,
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
