//! The essentials of a container's document: the keys that the recording carries, no others.

use serde_json::{Map, Value, json};

use super::matching::{Bindings, Difference, Order};

/// Maps that are data, not structure: all of their keys count.
const WHOLE: &[&str] = &["Labels", "ExposedPorts", "PortBindings"];

/// Fits a `docker inspect` document to a recorded extract.
///
/// # Errors
/// The first place where they differ.
pub fn compare(bindings: &mut Bindings, recorded: &Value, document: &Value) -> Result<(), Difference> {
    let mut document = document.clone();
    document["Networks"] = document["NetworkSettings"]["Networks"].take();
    let extract = extract(recorded, &document, "");
    bindings.value(recorded, &extract, "$", Order::Free)
}

/// What a document says at the places that the recording has.
fn extract(recorded: &Value, document: &Value, key: &str) -> Value {
    match (recorded, document) {
        (Value::Object(_), Value::Object(_)) if WHOLE.contains(&key) => document.clone(),
        // A container is in no network but the recorded ones.
        (Value::Object(recorded), Value::Object(document)) if key == "Networks" => {
            let of = |(name, network): (&String, &Value)| {
                let shape = recorded.get(name).unwrap_or(&Value::Null);
                (name.clone(), extract(shape, network, name))
            };
            Value::Object(document.iter().map(of).collect())
        }
        (Value::Object(recorded), Value::Object(document)) => {
            // The recorder wrote null for what Docker leaves out.
            let absent = |recorded: &Value| recorded.is_null().then_some(&Value::Null);
            let at = |(key, recorded): (&String, &Value)| {
                let found = document.get(key).or_else(|| absent(recorded))?;
                Some((key.clone(), extract(recorded, found, key)))
            };
            Value::Object(recorded.iter().filter_map(at).collect::<Map<_, _>>())
        }
        (Value::Array(recorded), Value::Array(document)) => {
            // Objects of a list are alike: the first one's keys are everyone's, as far as they have them.
            let keys = recorded.iter().filter_map(Value::as_object).flat_map(Map::keys);
            let shape: Map<_, _> = keys.map(|key| (key.clone(), Value::Bool(true))).collect();
            let of = |item: &Value| if item.is_object() { extract(&json!(shape), item, "") } else { item.clone() };
            document.iter().map(of).collect()
        }
        _ => document.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(recorded: &Value, document: &Value) -> Result<(), String> {
        compare(&mut Bindings::default(), recorded, document).map_err(|d| d.path)
    }

    #[test]
    fn recorded_keys_count_and_no_others() {
        let recorded = json!({
            "State": {"Status": "running"},
            "Config": {"Env": ["A=1", "B=2"], "Labels": {}},
            "Mounts": [{"Type": "bind", "Source": "/a"}, {"Type": "volume", "Source": "/b", "Name": "v"}],
            "Networks": {"host": {"IPAddress": ""}},
        });
        let document = |status: &str, label: Value, networks: Value| {
            json!({
                "Id": "x",
                "State": {"Status": status, "Pid": 7},
                "Config": {"Env": ["B=2", "A=1"], "Labels": label},
                "Mounts": [
                    {"Type": "volume", "Source": "/b", "Name": "v", "Mode": ""},
                    {"Type": "bind", "Source": "/a", "Mode": ""},
                ],
                "NetworkSettings": {"Networks": networks},
            })
        };
        let host = json!({"host": {"IPAddress": "", "MacAddress": ""}});
        let fits = |status, label, networks| check(&recorded, &document(status, label, networks));
        assert_eq!(fits("running", json!({}), host.clone()), Ok(()));
        assert_eq!(fits("exited", json!({}), host.clone()), Err("$.State.Status".to_owned()));
        assert_eq!(fits("running", json!({"x": "y"}), host.clone()), Err("$.Config.Labels.x".to_owned()));
        let two = json!({"host": {"IPAddress": ""}, "bridge": {}});
        assert_eq!(fits("running", json!({}), two), Err("$.Networks.bridge".to_owned()));
        let mut other = document("running", json!({}), host);
        other["Mounts"][0]["Source"] = "/c".into();
        assert!(check(&recorded, &other).is_err_and(|path| path.starts_with("$.Mounts")));
    }
}
