//! Components that never get to decide.

use rankwise_core::policy::Column;

use super::guests::*;

#[test]
fn a_good_one_is_taken_and_numbered_by_its_bytes() {
    let host = host();
    let first = host.compile("good", &always(0)).unwrap();
    let second = host.compile("good", &always(1)).unwrap();
    let again = host.compile("good", &always(0)).unwrap();
    assert_eq!([first.version().number, second.version().number, again.version().number], [1, 2, 1]);
    assert!(std::sync::Arc::ptr_eq(&first, &again));
    assert_eq!(first.version().digest.len(), 64);
    assert_eq!(first.version().to_string(), "good@1");
    let activation = activate(&host, &first).unwrap();
    assert_eq!(activation.needs().columns, [Column::Worker, Column::DpRank]);
    assert!(!activation.needs().prompt);
}

#[test]
fn files_that_are_no_component() {
    let host = host_with(|config| config.component_bytes_max = 10_000);
    assert_eq!(refusal(&host, b"hello"), "policy test: not a WebAssembly component: a text file");
    assert_eq!(refusal(&host, &binary("(module)")), "policy test: is a core module, not a component");
    assert_eq!(refusal(&host, &[0; 10_001]), "policy test: 10001 bytes, and at most 10000 are taken");
    let mut cut = always(0);
    cut.truncate(cut.len() / 2);
    assert!(refusal(&host, &cut).starts_with("policy test: does not compile: "));
}

#[test]
fn another_world() {
    let host = host();
    assert_eq!(
        refusal(&host, &binary("(component)")),
        "policy test: exports no rankwise:policy/picker@0.1.0 (it exports nothing)"
    );
    let clocks = r#"(component (import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result u64))))))"#;
    assert_eq!(
        refusal(&host, &binary(clocks)),
        "policy test: imports wasi:clocks/monotonic-clock@0.2.0: a policy may import nothing"
    );
    for interface in ["wasi:filesystem/preopens@0.2.0", "wasi:sockets/tcp@0.2.0", "wasi:random/random@0.2.0"]
    {
        let asks = format!(r#"(component (import "{interface}" (instance (export "ask" (func)))))"#);
        assert_eq!(
            refusal(&host, &binary(&asks)),
            format!("policy test: imports {interface}: a policy may import nothing")
        );
    }
    let both = r#"(component (import "host-clock" (func)) (import "env" (instance (export "read" (func)))))"#;
    assert_eq!(
        refusal(&host, &binary(both)),
        "policy test: imports host-clock, env: a policy may import nothing"
    );
    let half = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (instance $picker (export "configure" (func $f)))
        (export "rankwise:policy/picker@0.1.0" (instance $picker)))"#;
    assert_eq!(
        refusal(&host, &binary(half)),
        "policy test: exports no function pick in rankwise:policy/picker@0.1.0 (it exports configure)"
    );
    let wrong_types = half.replace(
        r#"(export "configure" (func $f))"#,
        r#"(export "configure" (func $f)) (export "pick" (func $f))"#,
    );
    let refused = refusal(&host, &binary(&wrong_types));
    assert!(refused.starts_with("policy test: does not fit rankwise:policy@0.1.0: "), "{refused}");
}

#[test]
fn settings_that_the_policy_refuses() {
    let configure = r#"
        (func (export "configure") (param i32 i32 i32 i32 i32) (result i32)
          (i32.store (i32.const 256) (i32.const 1))
          (i32.store (i32.const 260) (i32.const 512))
          (i32.store (i32.const 264) (i32.const 16))
          (i32.const 256))"#;
    let wasm = policy_with(configure, "(call $rank (i32.const 0))");
    assert_eq!(refusal(&host(), &wasm), "policy test@1: configure: returned an error: settings refused");
}

#[test]
fn needs_that_cannot_be_met() {
    let configure = r#"
        (func (export "configure") (param i32 i32 i32 i32 i32) (result i32)
          (i32.store (i32.const 20) (i32.const 99))
          (i32.const 64))"#;
    let wasm = policy_with(configure, "(call $rank (i32.const 0))");
    assert_eq!(
        refusal(&host(), &wasm),
        "policy test@1: needs: column 99 is not known here (the last one is 24, learned)"
    );
}

#[test]
fn a_policy_that_fails_its_first_picks() {
    let host = host();
    assert_eq!(refusal(&host, &always(999)), "policy test@1: smoke pick: bad answer: row 999 of 8");
    let refused = refusal(&host, &policy("unreachable"));
    assert!(
        refused.starts_with("policy test@2: smoke pick: ") && refused.contains("unreachable"),
        "{refused}"
    );
    let returned = policy(
        "(i32.store (i32.const 128) (i32.const 1)) (i32.store (i32.const 132) (i32.const 512))
         (i32.store (i32.const 136) (i32.const 16)) (i32.const 128)",
    );
    assert_eq!(refusal(&host, &returned), "policy test@3: smoke pick: returned an error: settings refused");
}

#[test]
fn waiting_is_a_fine_answer_to_a_smoke_pick() {
    let wait = policy(
        "(i32.store (i32.const 128) (i32.const 0)) (i32.store (i32.const 132) (i32.const 3))
         (i32.store (i32.const 136) (i32.const 50)) (i32.const 128)",
    );
    active(&host(), &wait);
}

#[test]
fn more_memory_than_the_cap_from_the_start() {
    let host = host_with(|config| config.memory_bytes_max = 1 << 20);
    let text = include_str!("../data/policy.wat");
    let core = r#"(memory (export "memory") 17)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "configure") (param i32 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "pick") (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)"#;
    let refused = refusal(&host, &binary(&text.replace("CORE", core)));
    assert!(refused.contains("memory"), "{refused}");
}
