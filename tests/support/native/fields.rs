//! Writes down every field that it gets, a line per message, for the tests; the same lines as fields.c.
//!
//! Without crates, and with structures of its own: it does not know netconsd.h. For machines whose lowest byte comes first.
use std::ffi::{c_char, c_int, c_void, CString};
use std::fmt::Write;
use std::mem::{offset_of, size_of};
use std::slice::from_raw_parts;
use std::sync::Mutex;

#[repr(C)]
pub struct NcrxList {
    next: *const NcrxList,
    prev: *const NcrxList,
}

#[repr(C)]
pub struct NcrxMsg {
    seq: u64,
    ts_usec: u64,
    text: *const c_char,
    dict: *const c_char,
    text_len: c_int,
    dict_len: c_int,
    facility: u8,
    level: u8,
    flags: u8,
    node: NcrxList,
    rx_at_mono: u64,
    rx_at_real: u64,
    ncfrag_off: c_int,
    ncfrag_len: c_int,
    ncfrag_left: c_int,
    version: [u8; 64],
    emg: u8,
    buf: [u8; 0],
}

#[repr(C)]
pub struct MsgBuf {
    next: *const MsgBuf,
    iov_base: *const c_void,
    iov_len: usize,
    family: u16,
    port: u16,
    flowinfo: u32,
    addr: [u8; 16],
    scope: u32,
    rcv_time: u64,
    rcv_flags: c_int,
    rcv_bytes: c_int,
    buf: [u8; 0],
}

const AF_INET6: u16 = 10;
const MSG_TRUNC: c_int = 0x20;

static LINES: Mutex<String> = Mutex::new(String::new());
static TAKEN: Mutex<Option<CString>> = Mutex::new(None);

unsafe fn hex(bytes: *const u8, count: usize) -> String {
    from_raw_parts(bytes, count).iter().map(|byte| format!("{byte:02x}")).collect()
}

unsafe fn datagram(line: &mut String, buf: *const MsgBuf) -> std::fmt::Result {
    let base = buf as usize + offset_of!(MsgBuf, buf);
    let b = &*buf;
    write!(
        line,
        " buf next={} base={} iov_len={} family={} port={} flowinfo={} scope={} addr={} time={} flags={} bytes={} text={}",
        !b.next.is_null() as i32,
        b.iov_base as usize - base,
        b.iov_len,
        if b.family == AF_INET6 { 6 } else { -1 },
        u16::from_be(b.port),
        b.flowinfo,
        b.scope,
        hex(b.addr.as_ptr(), 16),
        b.rcv_time,
        match b.rcv_flags {
            0 => "0",
            MSG_TRUNC => "trunc",
            _ => "?",
        },
        b.rcv_bytes,
        hex(base as *const u8, b.rcv_bytes as usize + 1),
    )
}

unsafe fn record(line: &mut String, msg: *const NcrxMsg) -> std::fmt::Result {
    let base = msg as usize + offset_of!(NcrxMsg, buf);
    let m = &*msg;
    let text = hex(m.text as *const u8, m.text_len as usize + 1);
    write!(line, " msg seq={} ts_usec={} text={},{},{}", m.seq, m.ts_usec, m.text as usize - base, m.text_len, text)?;
    if m.dict.is_null() {
        write!(line, " dict=null,{}", m.dict_len)?;
    } else {
        let dict = hex(m.dict as *const u8, m.dict_len as usize + 1);
        write!(line, " dict={},{},{}", m.dict as usize - base, m.dict_len, dict)?;
    }
    let node: *const NcrxList = &m.node;
    write!(
        line,
        " facility={} level={} cont_start={} cont={} oos={} seq_reset={} node={},{}",
        m.facility,
        m.level,
        m.flags & 1,
        m.flags >> 1 & 1,
        m.flags >> 2 & 1,
        m.flags >> 3 & 1,
        (m.node.next == node) as i32,
        (m.node.prev == node) as i32,
    )?;
    write!(
        line,
        " mono={} real={} ncfrag={},{},{} emg={} version={}",
        m.rx_at_mono,
        m.rx_at_real,
        m.ncfrag_off,
        m.ncfrag_len,
        m.ncfrag_left,
        m.emg & 1,
        hex(m.version.as_ptr(), 64),
    )
}

#[no_mangle]
pub extern "C" fn netconsd_output_init(_workers: c_int) -> c_int {
    (size_of::<NcrxMsg>() != 160 || size_of::<MsgBuf>() != 72) as c_int
}

/// # Safety
/// Called by netconsd.
#[no_mangle]
pub unsafe extern "C" fn netconsd_output_handler(
    worker: c_int,
    src: *const [u8; 16],
    buf: *const MsgBuf,
    msg: *const NcrxMsg,
) {
    let mut line = format!("worker={} src={}", worker, hex(src as *const u8, 16));
    if !buf.is_null() {
        datagram(&mut line, buf).unwrap();
    }
    if !msg.is_null() {
        record(&mut line, msg).unwrap();
    }
    line.push('\n');
    LINES.lock().unwrap().push_str(&line);
}

/// What was written since the last call.
#[no_mangle]
pub extern "C" fn fields_taken() -> *const c_char {
    let lines = std::mem::take(&mut *LINES.lock().unwrap());
    let mut taken = TAKEN.lock().unwrap();
    taken.insert(CString::new(lines).unwrap()).as_ptr()
}
