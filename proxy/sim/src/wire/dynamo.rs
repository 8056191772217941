//! What Dynamo's frontend says of itself.

use serde_json::{Value, json};

/// `/health`: its word of the workers that it knows.
pub(super) fn health(ids: impl IntoIterator<Item = u64>) -> Value {
    let instance = |id| json!({"component": "backend", "endpoint": "generate", "namespace": "dynamo", "instance_id": id});
    // Found by id, as those of a map are.
    let mut ids: Vec<_> = ids.into_iter().collect();
    ids.sort_unstable();
    json!({"status": "healthy", "instances": ids.into_iter().map(instance).collect::<Vec<_>>()})
}
