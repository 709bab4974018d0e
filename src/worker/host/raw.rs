//! What has no safe way in: compiling a classic script without running it, looking at bytes of the
//! interpreter, closing descriptors that nobody here opened, a clock without a name, and giving memory
//! back.
#![allow(unsafe_code)] // see above; each use says why it is sound

use std::ffi::CString;
use std::time::Duration;

use rquickjs::{ArrayBuffer, Ctx, Error, Result, Value, qjs};

use super::memory;

/// A classic script that parses.
pub(super) struct Compiled<'js>(Value<'js>);

/// Compiles a classic script. What it throws is at fault with the text, not with a run.
pub(super) fn compile<'js>(ctx: &Ctx<'js>, text: String, url: &str) -> Result<Compiled<'js>> {
    let length = text.len();
    let (text, url) = (CString::new(text)?, CString::new(url)?);
    let flags = qjs::JS_EVAL_TYPE_GLOBAL | qjs::JS_EVAL_FLAG_COMPILE_ONLY;
    // SAFETY: the context is alive as long as `ctx`. Both texts end with a zero and live through the
    // call, which copies what it keeps; the length is that of the text without its zero, and fits
    // because it was allocated. The value that comes back is owned, and so becomes a `Value`.
    let value = unsafe {
        let value = qjs::JS_Eval(
            ctx.as_raw().as_ptr(),
            text.as_ptr(),
            length as qjs::size_t,
            url.as_ptr(),
            flags as i32,
        );
        Value::from_raw(ctx.clone(), value)
    };
    if value.is_exception() {
        return Err(Error::Exception);
    }
    Ok(Compiled(value))
}

impl<'js> Compiled<'js> {
    /// Runs the script.
    pub(super) fn run(self) -> Result<()> {
        let ctx = self.0.ctx().clone();
        // SAFETY: the value is the function that JS_Eval made with the compile-only flag, in this
        // context. JS_EvalFunction frees one reference to it, so it gets one of its own, and gives
        // an owned value back.
        let value = unsafe {
            let function = qjs::JS_DupValue(ctx.as_raw().as_ptr(), self.0.as_raw());
            let value = qjs::JS_EvalFunction(ctx.as_raw().as_ptr(), function);
            Value::from_raw(ctx, value)
        };
        if value.is_exception() {
            return Err(Error::Exception);
        }
        Ok(())
    }
}

/// A copy of a part of a buffer, or `None` if the buffer is detached or not so long.
pub(super) fn copy(buffer: &ArrayBuffer<'_>, offset: usize, length: usize) -> Option<Vec<u8>> {
    // SAFETY: nothing runs in the interpreter, and so nothing can free or change the bytes, until
    // the copy is made.
    let bytes = unsafe { buffer.as_bytes() }?;
    let end = offset.checked_add(length)?;
    bytes.get(offset..end).map(<[u8]>::to_vec)
}

/// The processor time of this process as the kernel counts it for `RLIMIT_CPU`: by what runs when its
/// clock ticks, which on a busy machine is seconds more or less than what was used.
pub(super) fn counted() -> std::io::Result<Duration> {
    /// CPUCLOCK_PROF of the calling process (Linux, include/linux/posix-timers.h).
    const CLOCK: libc::clockid_t = !0 << 3;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes into `time`, which is alive and of the type that it expects.
    match unsafe { libc::clock_gettime(CLOCK, &raw mut time) } {
        0 => Ok(Duration::new(
            u64::try_from(time.tv_sec).unwrap_or_default(),
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        )),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Lets go of the libraries' pages that loading them has touched. They come back from their files when
/// they are used: a worker uses little of GStreamer, but each page counts as its own. To be called while
/// the process has one thread.
pub(super) fn let_go_of_libraries() -> std::io::Result<()> {
    let mappings = std::fs::read_to_string("/proc/self/smaps")?;
    for mapping in memory::unchanged(&mappings) {
        let start = std::ptr::without_provenance_mut(mapping.start);
        // SAFETY: these pages are as in their files and can't be written to; with one thread, nothing has
        // changed since that was looked up. What is read there again is read from the file, and so is the
        // same.
        if unsafe { libc::madvise(start, mapping.len(), libc::MADV_DONTNEED) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Closes every descriptor but the standard three. To be called before anything else opens one.
pub(super) fn close_inherited() -> std::io::Result<()> {
    // SAFETY: the process has only just started: what it inherited is in nobody's hands here.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
