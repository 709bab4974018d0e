//! The API's description, and whether answers are as it says.

use serde_json::{Map, Value};

use crate::common::{Answer, Server};

/// `openapi.json`.
pub(crate) struct Description(Value);

/// Keywords of a schema that say nothing about what fits.
const SILENT: [&str; 2] = ["description", "title"];

impl Description {
    pub(crate) fn read() -> Self {
        let text = include_str!("../../../src/server/admin/openapi.json");
        Self(serde_json::from_str(text).unwrap())
    }

    /// An answer is as it is described.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub(crate) fn check(&self, method: &str, path: &str, answer: &Answer) {
        let bare = path.split('?').next().unwrap();
        let operation = &self.0["paths"][self.path_of(bare)][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {bare} isn't described");
        let response = self.resolve(&operation["responses"][answer.status.to_string()]);
        assert!(response.is_object(), "{method} {path}: {answer:?}");
        let Some(content) = response["content"].as_object() else {
            assert_eq!(answer.body, "", "{method} {path}");
            return;
        };
        let found = content
            .iter()
            .find(|(kind, _)| answer.head.contains(&format!("content-type: {kind}")));
        let (kind, media) = found.unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
        if kind == "application/json" {
            let fits = self.fits(&media["schema"], &answer.json());
            assert_eq!(fits, Ok(()), "{method} {path}: {}", answer.body);
        }
    }

    /// The described path that a path is one of. What is written out goes before what has parameters.
    fn path_of(&self, path: &str) -> &str {
        let parts: Vec<_> = path.split('/').collect();
        let paths = self.0["paths"].as_object().unwrap().keys();
        let fitting = paths.filter(|known| {
            let known: Vec<_> = known.split('/').collect();
            let fits = |(known, part): (&&str, &&str)| known.starts_with('{') || known == part;
            known.len() == parts.len() && known.iter().zip(&parts).all(fits)
        });
        let best = fitting.min_by_key(|known| known.matches('{').count());
        best.unwrap_or_else(|| panic!("{path} isn't described"))
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(path) => self.0.pointer(path.strip_prefix('#').unwrap()).unwrap(),
            None => value,
        }
    }

    /// JSON Schema 2020-12, as far as the description uses it; another keyword is an error.
    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let schema = self.resolve(schema).as_object().unwrap();
        for (keyword, wanted) in schema {
            let fits = match keyword.as_str() {
                "type" => is_one_of(wanted, |name| is_of_type(value, name)),
                "enum" => wanted.as_array().unwrap().contains(value),
                "minimum" => value
                    .as_f64()
                    .is_none_or(|it| it >= wanted.as_f64().unwrap()),
                "maximum" => value
                    .as_f64()
                    .is_none_or(|it| it <= wanted.as_f64().unwrap()),
                "exclusiveMinimum" => value
                    .as_f64()
                    .is_none_or(|it| it > wanted.as_f64().unwrap()),
                "format" => is_time(wanted, value),
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        self.fits(wanted, item)?;
                    }
                    true
                }
                "anyOf" | "oneOf" => {
                    let each = wanted.as_array().unwrap().iter();
                    let fitting = each.filter(|it| self.fits(it, value).is_ok()).count();
                    fitting == 1 || keyword == "anyOf" && fitting > 1
                }
                "required" => has_all(wanted, value),
                "properties" | "additionalProperties" => {
                    self.properties(schema, value)?;
                    true
                }
                keyword => SILENT.contains(&keyword),
            };
            if !fits {
                return Err(format!("{keyword} is {wanted}, but the value {value}"));
            }
        }
        Ok(())
    }

    fn properties(&self, schema: &Map<String, Value>, value: &Value) -> Result<(), String> {
        for (name, value) in value.as_object().into_iter().flatten() {
            let own = schema.get("properties").and_then(|known| known.get(name));
            let fits = match (own, schema.get("additionalProperties")) {
                (Some(known), _) => self.fits(known, value),
                (None, Some(Value::Bool(false))) => Err("isn't described".to_owned()),
                (None, Some(other @ Value::Object(_))) => self.fits(other, value),
                (None, _) => Ok(()),
            };
            fits.map_err(|why| format!("{name}: {why}"))?;
        }
        Ok(())
    }
}

fn is_one_of(wanted: &Value, fits: impl Fn(&str) -> bool) -> bool {
    match wanted {
        Value::Array(names) => names.iter().any(|name| fits(name.as_str().unwrap())),
        name => fits(name.as_str().unwrap()),
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

fn has_all(names: &Value, value: &Value) -> bool {
    let mut names = names.as_array().unwrap().iter();
    names.all(|name| value.get(name.as_str().unwrap()).is_some())
}

/// RFC 3339, in UTC.
fn is_time(format: &Value, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let shape: String = text
        .chars()
        .map(|it| if it.is_ascii_digit() { '0' } else { it })
        .collect();
    format == "date-time" && shape.starts_with("0000-00-00T00:00:00") && shape.ends_with('Z')
}

#[tokio::test]
async fn the_server_serves_its_description() {
    let server = Server::start(&[]).await;
    let served = server.get("/api/openapi.json").await.json();
    let written = Description::read().0;
    assert_eq!(served, written);
    assert_eq!(written["info"]["version"], env!("CARGO_PKG_VERSION"));
}

/// What everybody gets, and what is wrong, is described as well.
#[tokio::test]
async fn answers_of_every_kind_are_as_described() {
    let server = Server::start(&[]).await;
    let _device = server.device("d").await;
    let description = Description::read();
    for (method, path, body, status) in [
        ("GET", "/health", "", 200),
        ("GET", "/ready", "", 200),
        ("GET", "/metrics", "", 200),
        ("GET", "/ice-servers", "", 200),
        ("OPTIONS", "/ice-servers", "", 204),
        ("GET", "/devices", "", 200),
        ("GET", "/devices?groupId=", "", 200),
        ("GET", "/devices/d", "", 200),
        ("GET", "/devices/e", "", 404),
        ("GET", "/api/openapi.json", "", 200),
        ("GET", "/api/server", "", 200),
        ("GET", "/api/connections?limit=0", "", 400),
        ("GET", "/api/connections?after=x", "", 400),
        ("GET", "/api/calls?after=x", "", 400),
        ("GET", "/api/endpoints/cuttlefish/e", "", 404),
        ("GET", "/api/endpoints/kurento/d", "", 404),
        ("GET", "/api/rooms/r", "", 404),
        ("DELETE", "/api/connections/77", "", 404),
        ("DELETE", "/api/connections/x", "", 404),
        ("DELETE", "/api/connections/1?reason=", "", 400),
        ("DELETE", "/api/connections/1", "{\"reason\": 7}", 400),
        ("DELETE", "/api/endpoints/cuttlefish/e", "", 404),
        ("DELETE", "/api/calls/call-77", "", 404),
        ("DELETE", "/api/calls/77", "", 404),
        ("DELETE", "/api/rooms/r", "", 404),
        ("POST", "/api/rooms/r", "", 404),
        ("DELETE", "/api/rooms/r/participants/u", "", 404),
        ("POST", "/api/rooms/r/participants/u", "", 404),
        ("PUT", "/api/rooms/r/participants/u/mute", "{}", 404),
        ("PUT", "/api/rooms/r/participants/u/mute", "", 400),
        (
            "PUT",
            "/api/rooms/r/participants/u/mute",
            "{\"sound\": true}",
            400,
        ),
        ("POST", "/api/revocations", "{}", 409),
        ("POST", "/api/scripts", "x", 415),
        ("GET", "/api/scripts/x", "", 404),
    ] {
        let answer = server.request(method, path, "", body).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        description.check(method, path, &answer);
    }
}
