//! What has no safe way in: compiling a classic script without running it, looking at bytes of the
//! interpreter, and closing descriptors that nobody here opened.
#![allow(unsafe_code)] // see above; each use says why it is sound

use std::ffi::CString;

use rquickjs::{ArrayBuffer, Ctx, Error, Result, Value, qjs};

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

/// Closes every descriptor but the standard three. To be called before anything else opens one.
pub(super) fn close_inherited() -> std::io::Result<()> {
    // SAFETY: the process has only just started: what it inherited is in nobody's hands here.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
