//! Imports: specifiers are URLs, as in browsers, and the parent brings what is there.

use std::rc::Rc;

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Exception, Module, Result};
use url::Url;

use super::state::State;
use crate::worker::{Purpose, Response};

/// Resolves and loads modules.
pub(super) struct Modules(pub(super) Rc<State>);

impl Resolver for Modules {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        attributes: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        let refuse = |why: &str| {
            let what = format!("{name} can't be imported: {why}");
            *self.0.failed_load.borrow_mut() = Some((name.to_owned(), why.to_owned()));
            Err(Exception::throw_type(ctx, &what))
        };
        if attributes.is_some() {
            return refuse("import attributes are not known here");
        }
        let redirects = self.0.redirects.borrow();
        let base = redirects.get(base).map_or(base, String::as_str);
        // HTML, "resolve a URL-like module specifier".
        let is_relative = ["./", "../", "/"].iter().any(|it| name.starts_with(it));
        let url = if is_relative {
            Url::parse(base).and_then(|base| base.join(name))
        } else {
            Url::parse(name)
        };
        match url {
            Ok(url) => Ok(url.into()),
            Err(_) => refuse("write a URL, or a path that starts with `./`, `../` or `/`"),
        }
    }
}

impl Loader for Modules {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        let response = self.0.load(Purpose::Module, name).map_err(|why| {
            let what = format!("{name} can't be imported: {why}");
            *self.0.failed_load.borrow_mut() = Some((name.to_owned(), why));
            Exception::throw_type(ctx, &what)
        })?;
        if response.url != name {
            let mut redirects = self.0.redirects.borrow_mut();
            redirects.insert(name.to_owned(), response.url.clone());
        }
        declare(ctx, name, &response.url, source(&response))
    }
}

/// Compiles a module, and loads what it imports.
pub(super) fn declare<'js>(
    ctx: &Ctx<'js>,
    name: &str,
    url: &str,
    source: String,
) -> Result<Module<'js, Declared>> {
    let module = Module::declare(ctx.clone(), name, source)?;
    module.meta()?.set("url", url)?;
    Ok(module)
}

/// A script's text. The web takes scripts for UTF-8 and repairs what isn't.
pub(super) fn source(response: &Response) -> String {
    let text = String::from_utf8_lossy(&response.body);
    text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned()
}
