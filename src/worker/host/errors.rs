//! What was thrown, for people.

use rquickjs::function::This;
use rquickjs::{Coerced, Ctx, FromJs, Function, Object, Value};

use crate::worker::Uncaught;

/// Bytes of a message, and of a stack. The rest is cut off.
const LONGEST: usize = 4 * 1024;

/// An exception as text, and its column.
pub(super) fn describe<'js>(ctx: &Ctx<'js>, thrown: &Value<'js>) -> (Uncaught, u32) {
    let object = thrown.as_object();
    let property = |name: &str| {
        let value: Value<'js> = object?.get(name).ok()?;
        value.is_string().then(|| text(ctx, value)).flatten()
    };
    let stack = property("stack").unwrap_or_default();
    let message = text(ctx, thrown.clone());
    // A script's own toString may throw.
    ctx.catch();
    let (file, line, column) = place(&stack).unwrap_or_default();
    let uncaught = Uncaught {
        message: cut(message.unwrap_or_else(|| "something that has no text".to_owned())),
        file: cut(file.to_owned()),
        line,
        stack: cut(stack.trim_end().to_owned()),
    };
    (uncaught, column)
}

/// Whether an exception means that there is no memory left. There may have been none for an error
/// either; what is thrown then is `null`, and all one can see is whether most was taken once.
pub(super) fn is_out_of_memory<'js>(
    ctx: &Ctx<'js>,
    thrown: &Value<'js>,
    has_taken_most: impl FnOnce() -> bool,
) -> bool {
    if thrown.is_null() {
        return has_taken_most();
    }
    let Some(object) = thrown.as_object().filter(|it| it.is_error()) else {
        return false;
    };
    let message = object.get::<_, String>("message");
    ctx.catch();
    message.is_ok_and(|it| it == "out of memory")
}

/// A value as text, as far as it has one in UTF-8.
fn text<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> Option<String> {
    if let Some(symbol) = value.as_symbol() {
        return Some(format!("Symbol({})", symbol.as_atom().to_string().ok()?));
    }
    let text = Coerced::<rquickjs::String<'js>>::from_js(ctx, value)
        .ok()?
        .0;
    if let Ok(text) = text.to_string() {
        return Some(text);
    }
    // Half of a character, which UTF-8 doesn't have.
    let class: Object<'js> = ctx.globals().get("String").ok()?;
    let prototype: Object<'js> = class.get("prototype").ok()?;
    let repair: Function<'js> = prototype.get("toWellFormed").ok()?;
    repair.call((This(text),)).ok()
}

/// The place in the first line of a stack that has one: `    at name (https://a/b.js:3:5)`.
fn place(stack: &str) -> Option<(&str, u32, u32)> {
    stack.lines().find_map(|line| {
        let at = line.trim().strip_prefix("at ")?;
        let at = match at.rsplit_once(" (") {
            Some((_, place)) => place.strip_suffix(')')?,
            None => at,
        };
        let (rest, last) = at.rsplit_once(':')?;
        let last = last.parse().ok()?;
        match rest.rsplit_once(':') {
            Some((file, line)) if line.parse::<u32>().is_ok() => {
                Some((file, line.parse().ok()?, last))
            }
            _ => Some((rest, last, 0)),
        }
    })
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_stacks() {
        let stack =
            "    at native\n    at f (https://a.example:8080/b.js:3:5)\n    at <eval> (c:1:1)\n";
        assert_eq!(place(stack), Some(("https://a.example:8080/b.js", 3, 5)));
        assert_eq!(
            place("    at https://a/b.js:7\n"),
            Some(("https://a/b.js", 7, 0))
        );
        assert_eq!(
            place("    at https://a/b.js:7:2\n"),
            Some(("https://a/b.js", 7, 2))
        );
        assert_eq!(place("nothing"), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert!(cut("ä".repeat(LONGEST)).len() <= LONGEST);
    }
}
