//! `multifd_plugin.h` in Rust, as far as a backend needs it: written by hand, since it is short, and pinned to
//! the header's layout below. Copy this file into a backend of your own as it is.
#![allow(dead_code)]

use std::ffi::{c_char, c_void};

pub const MULTIFD_PLUGIN_MAGIC: u32 = 0x4d46_4450;
pub const MULTIFD_ABI_MAJOR: u16 = 1;
/// For a table that is a `MultiFDMethods`.
pub const MULTIFD_ABI_MINOR: u16 = 0;
/// For a table that is a `MultiFDMethods11`.
pub const MULTIFD_ABI_MINOR_11: u16 = 1;

pub const MULTIFD_OK: i32 = 0;
pub const MULTIFD_ERROR_CORRUPT: i32 = -1;
pub const MULTIFD_ERROR_CHANNEL: i32 = -2;
pub const MULTIFD_ERROR_NO_MEMORY: i32 = -3;
pub const MULTIFD_ERROR_OPTION: i32 = -4;
pub const MULTIFD_ERROR_UNSUPPORTED: i32 = -5;
pub const MULTIFD_ERROR_INTERNAL: i32 = -6;

pub const MULTIFD_CAP_STATEFUL: u32 = 0x1;
pub const MULTIFD_CAP_INDEPENDENT: u32 = 0x2;
pub const MULTIFD_CAP_DETERMINISTIC: u32 = 0x4;
pub const MULTIFD_CAP_STABLE_INPUT: u32 = 0x8;
pub const MULTIFD_CAP_REFERENCE: u32 = 0x10;
pub const MULTIFD_CAP_ZERO_COPY: u32 = 0x20;
pub const MULTIFD_CAP_SEND_ONLY: u32 = 0x40;
pub const MULTIFD_CAP_RECV_ONLY: u32 = 0x80;
pub const MULTIFD_CAP_SENDS_INDEPENDENT: u32 = 0x100;

pub const MULTIFD_MAX_IN_FLIGHT: u32 = 64;

pub const MULTIFD_QEMU_METHOD_UNKNOWN: u32 = 0xffff_ffff;

pub const MULTIFD_OPTION_BOOL: u32 = 1;
pub const MULTIFD_OPTION_INT: u32 = 2;
pub const MULTIFD_OPTION_SIZE: u32 = 3;
pub const MULTIFD_OPTION_ENUM: u32 = 4;
pub const MULTIFD_OPTION_STRING: u32 = 5;
pub const MULTIFD_OPTION_FILE: u32 = 6;
pub const MULTIFD_MAX_FILE: i64 = 16_777_216;

#[repr(C)]
pub struct MultiFDOption {
    pub name: *const c_char,
    pub help: *const c_char,
    pub default_value: *const c_char,
    pub choices: *const *const c_char,
    pub minimum: i64,
    pub maximum: i64,
    pub kind: u32, // `type` in the header
    pub reserved: u32,
}

#[repr(C)]
pub struct MultiFDOptionValue {
    pub number: i64,
    pub text: *const c_char,
}

/// One channel of the host, opaque.
#[repr(C)]
pub struct MultiFDChannel {
    _opaque: [u8; 0],
}

#[repr(C)]
pub struct MultiFDIOVec {
    pub iov_base: *mut c_void,
    pub iov_len: usize,
}

type Channel = *mut MultiFDChannel;

#[repr(C)]
pub struct MultiFDServices {
    pub struct_size: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    pub read: unsafe extern "C" fn(Channel, *mut c_void, usize) -> i32,
    pub readv: unsafe extern "C" fn(Channel, *const MultiFDIOVec, u32) -> i32,
    pub log: unsafe extern "C" fn(Channel, u32, *const c_char),
    pub error: unsafe extern "C" fn(Channel, *const c_char),
    pub alloc: unsafe extern "C" fn(Channel, usize, usize) -> *mut c_void,
    pub free: unsafe extern "C" fn(Channel, *mut c_void),
}

#[repr(C)]
pub struct MultiFDSendParams {
    pub struct_size: u32,
    pub id: u32,
    pub channels: u32,
    pub page_size: u32,
    pub page_count: u32,
    pub iovs_max: u32,
    pub services: *const MultiFDServices,
    pub channel: Channel,
    pub options: *const MultiFDOptionValue,
    pub compress_data: *mut c_void,
    pub packet_num: u64,
    pub host: *const u8,
    pub normal: *const u64,
    pub zero: *const u64,
    pub normal_num: u32,
    pub zero_num: u32,
    pub flags: u32,
    pub next_packet_size: u32,
    pub iov: *mut MultiFDIOVec,
    pub iovs_num: u32,
    pub reserved: u32,
    pub reference: *const u8,
}

#[repr(C)]
pub struct MultiFDRecvParams {
    pub struct_size: u32,
    pub id: u32,
    pub channels: u32,
    pub page_size: u32,
    pub page_count: u32,
    pub reserved: u32,
    pub services: *const MultiFDServices,
    pub channel: Channel,
    pub options: *const MultiFDOptionValue,
    pub compress_data: *mut c_void,
    pub packet_num: u64,
    pub host: *mut u8,
    pub normal: *const u64,
    pub zero: *const u64,
    pub normal_num: u32,
    pub zero_num: u32,
    pub flags: u32,
    pub next_packet_size: u32,
    pub reference: *const u8,
}

/// A packet of the send side in flight (1.1).
#[repr(C)]
pub struct MultiFDSendPacket {
    pub struct_size: u32,
    pub slot: u32,
    pub packet_num: u64,
    pub host: *const u8,
    pub normal: *const u64,
    pub zero: *const u64,
    pub reference: *const u8,
    pub normal_num: u32,
    pub zero_num: u32,
    pub flags: u32,
    pub next_packet_size: u32,
    pub iov: *mut MultiFDIOVec,
    pub iovs_num: u32,
    pub reserved: u32,
    pub packet_data: *mut c_void,
}

/// A packet of the receive side in flight (1.1).
#[repr(C)]
pub struct MultiFDRecvPacket {
    pub struct_size: u32,
    pub slot: u32,
    pub packet_num: u64,
    pub host: *mut u8,
    pub normal: *const u64,
    pub zero: *const u64,
    pub reference: *const u8,
    pub normal_num: u32,
    pub zero_num: u32,
    pub flags: u32,
    pub next_packet_size: u32,
    pub packet_data: *mut c_void,
}

/// What a file is made from (1.1).
#[repr(C)]
pub struct MultiFDTraining {
    pub struct_size: u32,
    pub page_size: u32,
    pub pages: *const u8,
    pub pages_num: u64,
    pub option: *const c_char,
    pub contents: *mut u8,
    pub capacity: u64,
    pub error: *mut c_char,
    pub error_size: u64,
}

/// The table as of 1.0: both directions, and one packet at a time. It stays what it is, so that a
/// backend that fills it in compiles with every later version of this file.
#[repr(C)]
pub struct MultiFDMethods {
    pub magic: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    pub struct_size: u32,
    pub capabilities: u32,
    pub name: *const c_char,
    pub version: *const c_char,
    pub wire_format: *const c_char,
    pub description: *const c_char,
    pub qemu_method: u32,
    pub max_in_flight: u32,
    pub options: *const MultiFDOption,
    pub options_num: u32,
    pub option_size: u32,
    pub payload_bound: extern "C" fn(u32, u32) -> u64,
    pub send_setup: unsafe extern "C" fn(*mut MultiFDSendParams) -> i32,
    pub send_cleanup: unsafe extern "C" fn(*mut MultiFDSendParams),
    pub send_prepare: unsafe extern "C" fn(*mut MultiFDSendParams) -> i32,
    pub recv_setup: unsafe extern "C" fn(*mut MultiFDRecvParams) -> i32,
    pub recv_cleanup: unsafe extern "C" fn(*mut MultiFDRecvParams),
    pub recv: unsafe extern "C" fn(*mut MultiFDRecvParams) -> i32,
}

/// The table as of 1.1, for packets in flight and for backends of one direction. The entry point
/// returns it as a `*const MultiFDMethods`.
#[repr(C)]
pub struct MultiFDMethods11 {
    pub magic: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    pub struct_size: u32,
    pub capabilities: u32,
    pub name: *const c_char,
    pub version: *const c_char,
    pub wire_format: *const c_char,
    pub description: *const c_char,
    pub qemu_method: u32,
    pub max_in_flight: u32,
    pub options: *const MultiFDOption,
    pub options_num: u32,
    pub option_size: u32,
    pub payload_bound: extern "C" fn(u32, u32) -> u64,
    pub send_setup: Option<unsafe extern "C" fn(*mut MultiFDSendParams) -> i32>,
    pub send_cleanup: Option<unsafe extern "C" fn(*mut MultiFDSendParams)>,
    pub send_prepare: Option<unsafe extern "C" fn(*mut MultiFDSendParams) -> i32>,
    pub recv_setup: Option<unsafe extern "C" fn(*mut MultiFDRecvParams) -> i32>,
    pub recv_cleanup: Option<unsafe extern "C" fn(*mut MultiFDRecvParams)>,
    pub recv: Option<unsafe extern "C" fn(*mut MultiFDRecvParams) -> i32>,
    pub send_submit: Option<unsafe extern "C" fn(*mut MultiFDSendParams, *mut MultiFDSendPacket) -> i32>,
    pub send_complete: Option<unsafe extern "C" fn(*mut MultiFDSendParams, *mut MultiFDSendPacket) -> i32>,
    pub recv_submit: Option<unsafe extern "C" fn(*mut MultiFDRecvParams, *mut MultiFDRecvPacket) -> i32>,
    pub recv_complete: Option<unsafe extern "C" fn(*mut MultiFDRecvParams, *mut MultiFDRecvPacket) -> i32>,
    pub train: Option<unsafe extern "C" fn(*const MultiFDTraining) -> i64>,
}

// SAFETY: a table and its strings are constant, and the library is never unloaded.
unsafe impl Sync for MultiFDOption {}
// SAFETY: as above.
unsafe impl Sync for MultiFDMethods {}
// SAFETY: as above.
unsafe impl Sync for MultiFDMethods11 {}

/// The header's own pins: a wrong member does not compile.
macro_rules! pin {
    ($type:ident is $size:literal bytes: $($member:ident $at:literal),*) => {
        const _: () = {
            assert!(std::mem::size_of::<$type>() == $size);
            $(assert!(std::mem::offset_of!($type, $member) == $at);)*
        };
    };
}

pin!(MultiFDOption is 56 bytes: choices 24, minimum 32, kind 48);
pin!(MultiFDOptionValue is 16 bytes: text 8);
pin!(MultiFDServices is 56 bytes: abi_major 4, read 8, error 32, alloc 40, free 48);
pin!(MultiFDSendParams is 128 bytes: services 24, compress_data 48, host 64, normal_num 88, iov 104,
    iovs_num 112, reference 120);
pin!(MultiFDRecvParams is 112 bytes: services 24, compress_data 48, host 64, normal_num 88,
    next_packet_size 100, reference 104);
pin!(MultiFDMethods is 128 bytes: name 16, qemu_method 48, options 56, option_size 68, payload_bound 72,
    recv 120);
pin!(MultiFDSendPacket is 88 bytes: packet_num 8, host 16, reference 40, normal_num 48, iov 64, packet_data 80);
pin!(MultiFDRecvPacket is 72 bytes: packet_num 8, host 16, reference 40, normal_num 48, packet_data 64);
pin!(MultiFDTraining is 64 bytes: pages 8, option 24, contents 32, error 48);
pin!(MultiFDMethods11 is 168 bytes: name 16, qemu_method 48, options 56, option_size 68, payload_bound 72,
    recv 120, send_submit 128, recv_complete 152, train 160);
