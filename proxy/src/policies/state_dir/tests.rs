use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn upload(wasm: &[u8]) -> KeptUpload {
    KeptUpload {
        name: "mine".into(),
        number: 3,
        digest: digest(wasm),
        bytes: wasm.len(),
        at_unix_ms: 7,
        author: Author::default(),
    }
}

fn activation(digest: &str) -> KeptActivation {
    KeptActivation {
        pool: "main".into(),
        entry: "e".into(),
        name: "mine".into(),
        digest: digest.into(),
        settings: serde_json::json!({ "temperature": 0.5 }),
        fallback: Fallback::RoundRobin,
        at_unix_ms: 8,
        author: Author { who: Some("ci".into()), reason: None },
    }
}

fn opened() -> (tempfile::TempDir, StateDir) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("state")).unwrap();
    (folder, state)
}

#[test]
fn what_is_kept_comes_back_and_is_private() {
    let (folder, state) = opened();
    let kept = upload(b"wasm");
    state.keep_upload(&kept, b"wasm").unwrap();
    state.keep_activation(&activation(&kept.digest)).unwrap();
    let again = StateDir::open(&folder.path().join("state")).unwrap();
    assert_eq!(again.uploads(), std::slice::from_ref(&kept));
    assert_eq!(again.component(&kept.digest, 4).unwrap(), b"wasm");
    assert_eq!(again.activation("main").unwrap(), Some(activation(&kept.digest)));
    assert_eq!(again.activation("other").unwrap(), None);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("state")), 0o700);
    assert_eq!(mode(&again.pools), 0o700);
    assert_eq!(mode(&again.pool_path("main")), 0o600);
    assert_eq!(mode(&again.component_path(&kept.digest)), 0o600);
}

#[test]
fn torn_and_foreign_files_are_named() {
    let (_folder, state) = opened();
    state.keep_activation(&activation("d")).unwrap();
    let path = state.pool_path("main");
    let whole = fs::read_to_string(&path).unwrap();
    let wrong = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        state.activation("main").unwrap_err().to_string()
    };
    assert!(wrong(&whole.as_bytes()[..whole.len() - 1]).contains("main.json: torn"));
    assert!(wrong(b"{}").contains("not written by rankwise"));
    assert!(wrong(b"{}\n").contains("not written by this version"));
    assert!(wrong(b"\xff\xfe").contains("not written by rankwise"));
    assert!(wrong(whole.replace("state-1", "state-9").as_bytes()).contains("not written by this version"));
    let other = whole.replace(r#""pool":"main""#, r#""pool":"elsewhere""#);
    let body = other.split_once('\n').unwrap().1;
    assert!(wrong(format!("{MAGIC} {}\n{body}", digest(body.as_bytes())).as_bytes()).contains("elsewhere"));
}

#[test]
fn a_component_that_changed_is_not_taken() {
    let (_folder, state) = opened();
    let kept = upload(b"wasm");
    state.keep_upload(&kept, b"wasm").unwrap();
    fs::write(state.component_path(&kept.digest), b"other").unwrap();
    let error = state.component(&kept.digest, 100).unwrap_err().to_string();
    assert!(error.contains("not what its name says"), "{error}");
    assert!(state.component(&kept.digest, 3).unwrap_err().to_string().contains("larger than 3 bytes"));
}

#[test]
fn a_component_stays_while_a_pool_goes_by_it() {
    let (_folder, state) = opened();
    let kept = upload(b"wasm");
    state.keep_upload(&kept, b"wasm").unwrap();
    state.keep_activation(&activation(&kept.digest)).unwrap();
    state.forget_upload(&kept.digest).unwrap();
    assert!(state.uploads().is_empty());
    assert!(state.component(&kept.digest, 100).is_ok());
    state.forget_activation("main").unwrap();
    state.forget_upload(&kept.digest).unwrap();
    assert!(state.component(&kept.digest, 100).is_err());
}
