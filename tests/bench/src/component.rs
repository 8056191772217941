//! Components to measure with.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rankwise_core::policy::Column;

/// The kv policy as it is part of the binary.
pub(crate) fn kv(given: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let built_in = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/dist/kv.wasm"));
    let path = given.map_or_else(built_in, Path::to_owned);
    std::fs::read(&path).with_context(|| path.display().to_string())
}

/// The same component under another digest, so that it is compiled once more: a custom section at its end.
pub(crate) fn renumbered(component: &[u8], number: u32) -> Vec<u8> {
    const NAME: &[u8] = b"bench";
    let content = [&[NAME.len() as u8], NAME, &number.to_le_bytes()].concat();
    // Both lengths fit into one byte of LEB128.
    [component, &[0, content.len() as u8], &content].concat()
}

/// The world's types around a core module, by hand.
const POLICY: &str = include_str!("../../../proxy/policy-host/tests/data/policy.wat");

/// Columns of a policy that looks at none.
const FEW: &[Column] = &[Column::Worker, Column::DpRank];

/// A policy that always answers this row.
pub(crate) fn always(row: u32) -> anyhow::Result<Vec<u8>> {
    by_hand(FEW, "", &format!("(call $rank (i32.const {row}))"))
}

/// How `pick` is lifted, and how tools lift it: with a function that frees an answer, which may be a text, once it was read.
const LIFTED: &str =
    r#"(canon lift (core func $i "pick") (memory $i "memory") (realloc (func $i "realloc")))"#;
const LIFTED_BY_TOOLS: &str = r#"(canon lift (core func $i "pick") (memory $i "memory") (realloc (func $i "realloc")) (post-return (func $i "free")))"#;

/// A policy that never comes back from requests of an odd sequence number, and answers row 0 to the others.
pub(crate) fn runaway() -> anyhow::Result<Vec<u8>> {
    by_hand(
        FEW,
        "",
        "(if (i64.ne (i64.and (local.get $sequence) (i64.const 1)) (i64.const 0)) (then (loop $again (br $again))))
         (call $rank (i32.const 0))",
    )
}

/// The same for every third request: of sequence number 2, 5, 8 and so on.
pub(crate) fn loops_on_every_third() -> anyhow::Result<Vec<u8>> {
    by_hand(
        FEW,
        "",
        "(if (i64.eq (i64.rem_u (local.get $sequence) (i64.const 3)) (i64.const 2)) (then (loop $again (br $again))))
         (call $rank (i32.const 0))",
    )
}

/// A policy that asks for these columns, with functions of its own and what its `pick` does.
pub(crate) fn by_hand(columns: &[Column], functions: &str, pick: &str) -> anyhow::Result<Vec<u8>> {
    let ids: String = columns.iter().map(|column| format!("\\{:02x}\\00\\00\\00", column.id())).collect();
    let asked = columns.len();
    // Arguments go to 4096 and on, again and again.
    let core = format!(
        r#"(memory (export "memory") 16)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at))
    (data (i32.const 1024) "{ids}")
    (data (i32.const 64) "\00\00\00\00\00\04\00\00\{asked:02x}\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
    (func (export "configure") (param i32 i32 i32 i32 i32) (result i32)
      (global.set $next (i32.const 4096))
      (i32.const 64))
    (func $rank (param $row i32) (result i32)
      (i64.store (i32.const 128) (i64.const 0))
      (i32.store (i32.const 136) (local.get $row))
      (i32.const 128))
    {functions}
    (func (export "pick")
      (param $sequence i64) (param $seed i64) (param $phase i32) (param $facts i32) (param i32) (param i32 i32)
      (param $rows i32) (param $columns i32) (param i32) (result i32)
      (global.set $next (i32.const 4096))
      {pick})
    (func (export "free") (param i32))"#
    );
    let component = POLICY.replace(LIFTED, LIFTED_BY_TOOLS);
    ensure!(component != POLICY, "pick is lifted in another way");
    Ok(wat::parse_str(component.replace("CORE", &core))?)
}
