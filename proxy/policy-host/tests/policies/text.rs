//! Policies by hand, from text. Also used by the tests of the whole proxy.

const POLICY: &str = include_str!("../data/policy.wat");

/// Static data and a memory of one page; arguments go to 4096 and on, again and again.
const FRAME: &str = r#"
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at))
    ;; columns: worker and dp-rank
    (data (i32.const 16) "\00\00\00\00\01\00\00\00")
    (data (i32.const 64) "\00\00\00\00\10\00\00\00\02\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
    (data (i32.const 512) "settings refused")
"#;

const CONFIGURE: &str = r#"
    (func (export "configure") (param i32 i32 i32 i32 i32) (result i32)
      (global.set $next (i32.const 4096))
      (i32.const 64))
"#;

/// A policy whose `pick` is this body; it may use `$rows`, `$sequence` and `$rank` (answers that row).
pub(crate) fn policy(pick: &str) -> Vec<u8> {
    policy_with(CONFIGURE, pick)
}

pub(crate) fn policy_with(configure: &str, pick: &str) -> Vec<u8> {
    let core = format!(
        r#"{FRAME}{configure}
    (func $rank (param $row i32) (result i32)
      (i64.store (i32.const 128) (i64.const 0))
      (i32.store (i32.const 136) (local.get $row))
      (i32.const 128))
    (func (export "pick")
      (param $sequence i64) (param $seed i64) (param $phase i32) (param $facts i32) (param i32) (param i32 i32)
      (param $rows i32) (param $columns i32) (param i32) (result i32)
      (global.set $next (i32.const 4096))
      {pick})"#
    );
    binary(&POLICY.replace("CORE", &core))
}

pub(crate) fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Always this row.
pub(crate) fn always(row: u32) -> Vec<u8> {
    policy(&format!("(call $rank (i32.const {row}))"))
}

/// `bad` when the sequence is odd, else row 1.
pub(crate) fn odd(bad: &str) -> Vec<u8> {
    policy(&format!(
        "(if (i64.ne (i64.and (local.get $sequence) (i64.const 1)) (i64.const 0)) (then {bad})) (call $rank (i32.const 1))"
    ))
}
