//! The interpreter and its turns: a message, a timer or an answer, then the microtasks, then the
//! rejections that nobody handled.

use std::rc::Rc;

use bytes::Bytes;
use rquickjs::context::EvalOptions;
use rquickjs::function::IntoArgs;
use rquickjs::module::Declared;
use rquickjs::promise::PromiseState;
use rquickjs::runtime::RejectionTracker;
use rquickjs::{
    ArrayBuffer, Context, Ctx, Error, Function, IntoJs, Module, Object, Persistent, Result,
    Runtime, Value,
};

use super::modules::{self, Modules};
use super::state::State;
use super::{errors, functions, raw};
use crate::worker::wire::{FromHost, ToHost};
use crate::worker::{Ended, Message, Response, ScriptKind, StartError, Uncaught};

/// The global scope, in the order in which it is made. Each is a function of the host's functions
/// and of what they share among themselves.
const PRELUDE: &[(&str, &str)] = &[
    ("prelude/events.js", include_str!("../prelude/events.js")),
    ("prelude/clone.js", include_str!("../prelude/clone.js")),
    ("prelude/timers.js", include_str!("../prelude/timers.js")),
    ("prelude/text.js", include_str!("../prelude/text.js")),
    ("prelude/url.js", include_str!("../prelude/url.js")),
    ("prelude/fetch.js", include_str!("../prelude/fetch.js")),
    ("prelude/console.js", include_str!("../prelude/console.js")),
    ("prelude/scope.js", include_str!("../prelude/scope.js")),
];

/// Runs the script, and then whatever comes for it, until the worker is over. Doesn't return: what
/// a script left in the interpreter is not worth cleaning up.
pub(super) fn run(state: Rc<State>, script: &Bytes) -> ! {
    let made = Runtime::new().and_then(|runtime| {
        prepare(&runtime, &state);
        Context::full(&runtime)
    });
    match made {
        Ok(context) => context.with(|ctx| match Engine::new(ctx, Rc::clone(&state)) {
            Ok(engine) => engine.run(script),
            Err(error) => fail(&state, &error),
        }),
        Err(error) => fail(&state, &error),
    }
}

fn fail(state: &State, error: &Error) -> ! {
    let why = format!("the interpreter can't be set up: {error}");
    state.finish(&FromHost::Failed(StartError::Process(why)))
}

fn prepare(runtime: &Runtime, state: &Rc<State>) {
    let limits = &state.start.limits;
    runtime.set_memory_limit(limits.heap_bytes);
    runtime.set_max_stack_size(limits.stack_bytes);
    let it = Rc::clone(state);
    runtime.set_interrupt_handler(Some(Box::new(move || it.interrupts())));
    let it = Rc::clone(state);
    runtime.set_host_promise_rejection_tracker(Some(tracker(it)));
    runtime.set_loader(Modules(Rc::clone(state)), Modules(Rc::clone(state)));
}

/// Notes promises that were rejected without a handler, until they get one.
fn tracker(state: Rc<State>) -> RejectionTracker {
    Box::new(move |ctx, promise, reason, is_handled| {
        let mut rejections = state.rejections.borrow_mut();
        if is_handled {
            let is_other =
                |it: Persistent<Value<'static>>| !it.restore(&ctx).is_ok_and(|it| it == promise);
            rejections.retain(|(it, _)| is_other(it.clone()));
        } else {
            let promise = Persistent::save(&ctx, promise);
            rejections.push((promise, Persistent::save(&ctx, reason)));
        }
    })
}

struct Engine<'js> {
    ctx: Ctx<'js>,
    state: Rc<State>,
    /// The prelude's own functions for the host, by name.
    prelude: Object<'js>,
    on_message: Function<'js>,
}

impl<'js> Engine<'js> {
    fn new(ctx: Ctx<'js>, state: Rc<State>) -> Result<Self> {
        let host = functions::host(&ctx, &state)?;
        let prelude = Object::new(ctx.clone())?;
        for (name, text) in PRELUDE {
            let mut options = EvalOptions::default();
            options.filename = Some((*name).to_owned());
            let part: Function<'js> = ctx.eval_with_options(*text, options)?;
            part.call::<_, ()>((host.clone(), prelude.clone()))?;
        }
        Ok(Self {
            on_message: prelude.get("message")?,
            ctx,
            state,
            prelude,
        })
    }

    fn run(&self, script: &Bytes) -> ! {
        self.start(String::from_utf8_lossy(script).into_owned());
        self.state.send(&FromHost::Started);
        loop {
            self.report_rejections();
            if let Some(ended) = self.state.ended() {
                self.state.finish(&FromHost::Ended(ended));
            }
            self.take(self.state.next());
        }
    }

    /// Compiles the script and runs its top level to the end, with what it awaits. Returns only if
    /// nothing went wrong.
    fn start(&self, text: String) {
        let url = &self.state.start.url;
        let outcome = match self.state.start.kind {
            ScriptKind::Classic => match raw::compile(&self.ctx, text, url) {
                Ok(script) => script.run(),
                Err(error) => self.refuse(&error, true),
            },
            ScriptKind::Module => match modules::declare(&self.ctx, url, url, text) {
                Ok(module) => self.run_module(module),
                Err(error) => self.refuse(&error, true),
            },
        };
        self.run_microtasks();
        if outcome.is_err() || self.state.overran().is_some() {
            self.refuse(&outcome.err().unwrap_or(Error::Exception), false);
        }
    }

    fn run_module(&self, module: Module<'js, Declared>) -> Result<()> {
        let promise = match module.eval() {
            Ok((_, promise)) => promise,
            // It doesn't run because an import names what isn't exported.
            Err(error) => self.refuse(&error, true),
        };
        self.run_microtasks();
        while promise.state() == PromiseState::Pending && self.state.ended().is_none() {
            self.report_rejections();
            self.take(self.state.next());
        }
        // A script that has closed itself need not come to its end.
        promise.result().unwrap_or(Ok(()))
    }

    /// Tells why the script doesn't start. `is_compiling`: nothing of it has run.
    fn refuse(&self, error: &Error, is_compiling: bool) -> ! {
        let failed = |error| self.state.finish(&FromHost::Failed(error));
        let thrown = self.ctx.catch();
        self.state.look_for_memory(&self.ctx, &thrown);
        if let Some(what) = self.state.overran() {
            failed(StartError::Overrun(what));
        }
        let uncaught = match error {
            Error::Exception => errors::describe(&self.ctx, &thrown).0,
            other => Uncaught {
                message: other.to_string(),
                ..Default::default()
            },
        };
        if let Some((url, why)) = self.state.failed_load.take()
            && (is_compiling || uncaught.message.contains(&why))
        {
            failed(StartError::Fetch { url, why });
        }
        failed(match is_compiling {
            true => StartError::Syntax(uncaught),
            false => StartError::Uncaught(uncaught),
        })
    }

    /// One turn for what came, if anything did, and one for a timer, if one is due.
    fn take(&self, frame: Option<ToHost>) {
        match frame {
            Some(ToHost::Message(message)) => {
                self.turn(|| self.on_message.call((self.content(message)?,)));
            }
            Some(ToHost::Loaded(id, outcome)) => {
                self.state.fetched();
                self.turn(|| self.answer(id, outcome));
            }
            Some(ToHost::Media(media)) => {
                let media = serde_json::to_string(&media).unwrap_or_default();
                self.turn(|| self.tell("media", (media,)));
            }
            Some(ToHost::Sent(sent)) => {
                let amount = self.state.sent(sent) as f64;
                self.turn(|| self.tell("sent", (amount,)));
            }
            Some(ToHost::Start(..)) | None => {}
        }
        if self.state.ended().is_none() && self.state.has_timer_due() {
            self.turn(|| self.tell("runTimer", ()));
        }
    }

    fn turn(&self, call: impl FnOnce() -> Result<()>) {
        if let Err(error) = self.state.cpu.begin_turn(self.state.start.limits.turn_cpu) {
            let why = format!("its limits can't be set: {error}");
            self.state.finish(&FromHost::Ended(Ended::Crashed(why)));
        }
        if let Err(error) = call() {
            self.report(&error);
        }
        self.run_microtasks();
    }

    fn tell<A: IntoArgs<'js>>(&self, name: &str, arguments: A) -> Result<()> {
        self.prelude.get::<_, Function<'js>>(name)?.call(arguments)
    }

    fn content(&self, message: Message) -> Result<Value<'js>> {
        match message {
            Message::Text(text) => text.into_js(&self.ctx),
            Message::Binary(bytes) => {
                Ok(ArrayBuffer::new_copy(self.ctx.clone(), bytes)?.into_value())
            }
        }
    }

    /// Settles the promise of a `fetch`.
    fn answer(&self, id: u32, outcome: std::result::Result<Response, String>) -> Result<()> {
        match outcome {
            Ok(it) => {
                let headers = it
                    .headers
                    .into_iter()
                    .map(|(name, value)| vec![name, value]);
                let body = ArrayBuffer::new_copy(self.ctx.clone(), it.body)?;
                let headers: Vec<_> = headers.collect();
                let why: Option<String> = None;
                self.tell("fetched", (id, why, it.status, it.url, headers, body))
            }
            Err(why) => self.tell("fetched", (id, why)),
        }
    }

    fn run_microtasks(&self) {
        while self.state.overran().is_none() && self.ctx.execute_pending_job() {}
    }

    /// Rejections that nobody has handled by the end of a turn (HTML, "notify about rejected
    /// promises"). Their handlers may reject others.
    fn report_rejections(&self) {
        while self.state.overran().is_none() {
            let rejections = self.state.rejections.take();
            if rejections.is_empty() {
                break;
            }
            for (promise, reason) in rejections {
                if let Err(error) = self.report_rejection(promise, reason) {
                    self.report(&error);
                }
            }
            self.run_microtasks();
        }
    }

    fn report_rejection(
        &self,
        promise: Persistent<Value<'static>>,
        reason: Persistent<Value<'static>>,
    ) -> Result<()> {
        let (promise, reason) = (promise.restore(&self.ctx)?, reason.restore(&self.ctx)?);
        self.tell("rejected", (promise, reason))
    }

    /// An exception that came out of the script. Without memory the worker is over: it could not
    /// even tell what is wrong.
    fn report(&self, error: &Error) {
        let mut thrown = self.ctx.catch();
        let mut is_told = !matches!(error, Error::Exception);
        while self.state.overran().is_none() {
            if self.state.look_for_memory(&self.ctx, &thrown) {
                break;
            } else if is_told {
                let (uncaught, _) = errors::describe(&self.ctx, &thrown);
                self.state.send(&FromHost::Error(uncaught));
                break;
            } else if self.tell("report", (thrown.clone(),)).is_ok() {
                break;
            } else {
                thrown = self.ctx.catch();
                is_told = true;
            }
        }
    }
}
