//! What lies in ZooKeeper, as the recordings write it down.

use std::time::Duration;

use serde_json::{Map, Value, json};
use zookeeper_client::{Acl, Client, Error, Permission};

/// Each permission and its bit.
const PERMISSIONS: [(Permission, i32); 5] = [
    (Permission::READ, 1),
    (Permission::WRITE, 2),
    (Permission::CREATE, 4),
    (Permission::DELETE, 8),
    (Permission::ADMIN, 16),
];

/// The nodes at and below a path: path → what it holds.
///
/// # Errors
/// If ZooKeeper can't be asked.
pub async fn dump(servers: &str, path: &str) -> Result<Value, String> {
    let failed = |e: Error| format!("cannot read the znodes: {e}");
    let session = Duration::from_secs(4);
    let client = Client::connector().with_session_timeout(session).connect(servers).await.map_err(failed)?;
    let mut nodes = Map::new();
    let mut paths = vec![path.to_owned()];
    while let Some(path) = paths.pop() {
        let (data, stat) = client.get_data(&path).await.map_err(failed)?;
        let (acl, _) = client.get_acl(&path).await.map_err(failed)?;
        let mut children = client.list_children(&path).await.map_err(failed)?;
        children.sort();
        paths.extend(children.iter().map(|child| format!("{path}/{child}")));
        let mut node = json!({
            "ephemeral": stat.ephemeral_owner != 0,
            "version": stat.version,
            "acl": acl.iter().map(permissions).collect::<Vec<_>>(),
            "children": children,
        });
        // The recorder calls everything binary that isn't JSON.
        match (std::str::from_utf8(&data), serde_json::from_slice::<Value>(&data)) {
            (Ok(text), Ok(document)) => {
                node["data"] = document;
                node["data_text"] = text.into();
            }
            _ if data.is_empty() => node["data"] = "".into(),
            _ => node["data"] = format!("<binary, {} bytes>", data.len()).into(),
        }
        nodes.insert(path, node);
    }
    Ok(nodes.into())
}

/// Where the master listens whose candidature has the smallest number.
///
/// # Errors
/// If ZooKeeper can't be asked, or nobody stands.
pub async fn first_candidate(servers: &str, path: &str) -> Result<String, String> {
    let nodes = dump(servers, path).await?;
    let number = |name: &str| name.rsplit_once("json.info_")?.1.parse::<i32>().ok();
    let candidates = nodes.as_object().into_iter().flatten().filter_map(|(name, node)| Some((number(name)?, node)));
    let (_, first) = candidates.min_by_key(|(number, _)| *number).ok_or("nobody stands in the election")?;
    let address = &first["data"]["address"];
    match (address["ip"].as_str(), address["port"].as_u64()) {
        (Some(ip), Some(port)) => Ok(format!("{ip}:{port}")),
        _ => Err(format!("the first candidate announces no address: {first}")),
    }
}

fn permissions(acl: &Acl) -> Value {
    let bits: i32 = PERMISSIONS.iter().filter(|(one, _)| acl.permission().has(*one)).map(|(_, bit)| bit).sum();
    json!({"perms": bits, "scheme": acl.scheme(), "id": acl.id()})
}
