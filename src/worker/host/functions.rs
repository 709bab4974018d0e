//! The functions that the prelude calls. Scripts don't see them.

use std::rc::Rc;

use bytes::Bytes;
use rquickjs::convert::List;
use rquickjs::function::{IntoJsFunc, Opt};
use rquickjs::{ArrayBuffer, Ctx, Error, Exception, Function, Object, Result, Value};

use super::state::State;
use super::{errors, modules, raw, text, urls};
use crate::worker::wire::FromHost;
use crate::worker::{
    Encoding, Level, MediaCommand, Message, Purpose, Request, ScriptKind, Uncaught,
};

/// What the prelude calls `host`.
pub(super) fn host<'js>(ctx: &Ctx<'js>, state: &Rc<State>) -> Result<Object<'js>> {
    let host = Object::new(ctx.clone())?;
    let start = &state.start;
    host.set("location", &*start.url)?;
    host.set("userAgent", &*start.user_agent)?;
    host.set("module", start.kind == ScriptKind::Module)?;
    host.set("json", start.encoding == Encoding::Json)?;
    // Plain data of ours always has a JSON form.
    let media = serde_json::to_string(&start.media).map_err(|_| Error::Unknown)?;
    host.set("media", media)?;
    let host = Host { ctx, host };
    host.add_messages(state)?;
    host.add_reports(state)?;
    host.add_loads(state)?;
    host.add_texts()?;
    Ok(host.host)
}

struct Host<'a, 'js> {
    ctx: &'a Ctx<'js>,
    host: Object<'js>,
}

impl<'js> Host<'_, 'js> {
    fn add<P>(&self, name: &str, function: impl IntoJsFunc<'js, P> + 'js) -> Result<()> {
        self.host
            .set(name, Function::new(self.ctx.clone(), function)?)
    }

    fn add_messages(&self, state: &Rc<State>) -> Result<()> {
        let it = Rc::clone(state);
        self.add("postText", move |text: String| {
            amount(it.post(Message::Text(text)))
        })?;
        let it = Rc::clone(state);
        self.add(
            "postBytes",
            move |ctx: Ctx<'js>, buffer: ArrayBuffer<'js>, offset: usize, length: usize| {
                let bytes = copy(&ctx, &buffer, offset, length)?;
                Ok::<_, Error>(amount(it.post(Message::Binary(bytes.into()))))
            },
        )?;
        let it = Rc::clone(state);
        self.add("bufferedAmount", move || it.buffered() as f64)?;
        let it = Rc::clone(state);
        self.add("close", move || it.close())?;
        let it = Rc::clone(state);
        self.add("wakeIn", move |milliseconds: f64| it.wake_in(milliseconds))?;
        let it = Rc::clone(state);
        self.add("steer", move |command: String, name: String| {
            let command = match command.as_str() {
                "Play" => MediaCommand::Play(name),
                "Record" => MediaCommand::Record(name),
                "StopRecording" => MediaCommand::StopRecording,
                _ => MediaCommand::Stop,
            };
            it.send(&FromHost::Media(command));
        })
    }

    fn add_reports(&self, state: &Rc<State>) -> Result<()> {
        let it = Rc::clone(state);
        self.add("console", move |level: u8, mut text: String| {
            let level = match level {
                0 => Level::Debug,
                1 => Level::Info,
                2 => Level::Warn,
                _ => Level::Error,
            };
            text.truncate(text.floor_char_boundary(it.start.limits.console_bytes));
            it.send(&FromHost::Console(level, text));
        })?;
        let it = Rc::clone(state);
        self.add("place", move |ctx: Ctx<'js>, error: Value<'js>| {
            if it.look_for_memory(&ctx, &error) {
                return None;
            }
            let (it, column) = errors::describe(&ctx, &error);
            Some(List((it.message, it.file, it.line, column, it.stack)))
        })?;
        let it = Rc::clone(state);
        self.add(
            "error",
            move |message: String, file: String, line: u32, stack: String| {
                it.send(&FromHost::Error(Uncaught {
                    message,
                    file,
                    line,
                    stack,
                }));
            },
        )
    }

    fn add_loads(&self, state: &Rc<State>) -> Result<()> {
        let it = Rc::clone(state);
        self.add("importScripts", move |ctx: Ctx<'js>, urls: Vec<String>| {
            import_scripts(&ctx, &it, &urls)
        })?;
        let it = Rc::clone(state);
        self.add(
            "fetch",
            move |ctx: Ctx<'js>,
                  url: String,
                  method: String,
                  headers: Vec<Vec<String>>,
                  body: Opt<Value<'js>>| {
                let body = body.0.and_then(ArrayBuffer::from_value);
                let body = body.map(|it| copy(&ctx, &it, 0, it.len())).transpose()?;
                let pair = |pair: Vec<String>| <[String; 2]>::try_from(pair).ok();
                let headers = headers.into_iter().filter_map(pair);
                let outcome = it.fetch(Request {
                    purpose: Purpose::Fetch,
                    url,
                    method,
                    headers: headers.map(|[name, value]| (name, value)).collect(),
                    body: body.map(Bytes::from),
                });
                match outcome {
                    Ok(id) => rquickjs::IntoJs::into_js(id, &ctx),
                    Err(why) => rquickjs::IntoJs::into_js(why, &ctx),
                }
            },
        )
    }

    fn add_texts(&self) -> Result<()> {
        self.add("encode", |ctx: Ctx<'js>, text: String| {
            ArrayBuffer::new_copy(ctx, text.as_bytes())
        })?;
        self.add(
            "decode",
            |ctx: Ctx<'js>,
             buffer: ArrayBuffer<'js>,
             offset: usize,
             length: usize,
             fatal: bool,
             stream: bool| {
                let bytes = copy(&ctx, &buffer, offset, length)?;
                Ok::<_, Error>(text::decode(&bytes, fatal, stream).map(List))
            },
        )?;
        self.add("random", |ctx: Ctx<'js>, length: usize| {
            let mut bytes = vec![0; length];
            getrandom::fill(&mut bytes).map_err(|_| Error::Unknown)?;
            ArrayBuffer::new_copy(ctx, bytes)
        })?;
        self.add("parseUrl", |input: String, base: Opt<Option<String>>| {
            urls::parse(&input, base.0.flatten().as_deref())
        })?;
        self.add("setUrl", |href: String, name: String, value: String| {
            urls::set(&href, &name, &value)
        })?;
        self.add("origin", |href: String| urls::origin(&href))?;
        self.add("parseQuery", |query: String| urls::parse_query(&query))?;
        self.add("formatQuery", |pairs: Vec<Vec<String>>| {
            urls::format_query(&pairs)
        })
    }
}

/// All are loaded before the first one runs (HTML, "import scripts into worker global scope").
/// What keeps one from being loaded comes back as text; what one throws is thrown.
fn import_scripts(ctx: &Ctx<'_>, state: &State, urls: &[String]) -> Result<Option<String>> {
    let mut scripts = Vec::new();
    for url in urls {
        match state.load(Purpose::ImportScripts, url) {
            Ok(response) => scripts.push((url, modules::source(&response))),
            Err(why) => {
                let what = format!("{url} could not be loaded: {why}");
                *state.failed_load.borrow_mut() = Some((url.clone(), why));
                return Ok(Some(what));
            }
        }
    }
    for (url, text) in scripts {
        raw::compile(ctx, text, url)?.run()?;
    }
    Ok(None)
}

fn copy(ctx: &Ctx<'_>, buffer: &ArrayBuffer<'_>, offset: usize, length: usize) -> Result<Vec<u8>> {
    raw::copy(buffer, offset, length)
        .ok_or_else(|| Exception::throw_type(ctx, "the ArrayBuffer is detached"))
}

fn amount(buffered: Option<u64>) -> f64 {
    buffered.map_or(-1.0, |it| it as f64)
}
