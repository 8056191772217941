//! Policies written by hand, for what no built-in one does.

const POLICY: &str = include_str!("../../../proxy/policy-host/tests/data/policy.wat");

/// Asks for the header `x-rank`. Arguments go to 4096 and on.
const CORE: &str = r#"
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at))
    ;; ok: one column (worker), one header, no prompt
    (data (i32.const 64) "\00\00\00\00\10\00\00\00\01\00\00\00\20\00\00\00\01\00\00\00\00\00\00\00")
    (data (i32.const 32) "\00\02\00\00\06\00\00\00")
    (data (i32.const 512) "x-rank")
    (data (i32.const 640) "once is enough")
    (func (export "configure") (param i32 i32 i32 i32 i32) (result i32)
      (global.set $next (i32.const 4096))
      (i32.const 64))
    (func $rank (param $row i32) (result i32)
      (i64.store (i32.const 128) (i64.const 0))
      (i32.store (i32.const 136) (local.get $row))
      (i32.const 128))
    ;; 429, to be tried again after 7 s
    (func $reject (result i32)
      (i64.store (i32.const 128) (i64.const 0x400000000))
      (i32.store (i32.const 136) (i32.const 429))
      (i32.store (i32.const 140) (i32.const 1))
      (i32.store (i32.const 144) (i32.const 7))
      (i32.store (i32.const 148) (i32.const 640))
      (i32.store (i32.const 152) (i32.const 14))
      (i32.const 128))
    (func (export "pick")
      (param $sequence i64) (param $seed i64) (param $phase i32) (param $facts i32) (param i32)
      (param $text i32) (param $texts i32) (param $rows i32) (param $columns i32) (param i32) (result i32)
      (global.set $next (i32.const 4096))
      PICK)
"#;

/// A policy whose `pick` is this body. It may answer with `$rank` (a row) and `$reject`, and look into `$facts` (u64 each)
/// and `$text` (16 bytes each: name, its length, value, its length; `$texts` of them).
fn guest(pick: &str) -> Vec<u8> {
    let text = POLICY.replace("CORE", &CORE.replace("PICK", pick));
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Has the proxy decide by it.
pub async fn decide_by(proxy: &super::Proxy, pick: &str) {
    let uploaded = proxy.upload("guest", &guest(pick)).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    let activated = proxy.activate("guest", serde_json::json!({})).await;
    assert_eq!(activated.status, 200, "{}", activated.text());
}
