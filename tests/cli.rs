//! The binary's command line: what it prints and what it exits with.
//!
//! `RANKWISE_UPDATE=1` writes the expected output of the bad configs anew instead of comparing it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/config")
}

/// Runs the binary in the folder of the test configs.
fn rankwise(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rankwise")).args(args).current_dir(configs()).output().expect("runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn yaml_files(folder: &str) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(configs().join(folder))
        .expect("the folder of configs")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.ends_with(".yaml"))
        .map(|name| format!("{folder}/{name}"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_bad_config_is_shown_with_its_place_and_exits_64() {
    let update = std::env::var_os("RANKWISE_UPDATE").is_some();
    let files = yaml_files("bad");
    assert!(files.len() >= 15, "{files:?}");
    for file in files {
        let output = rankwise(&["check", &file]);
        assert_eq!(output.status.code(), Some(64), "{file}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{file}");
        let expected = configs().join(&file).with_extension("txt");
        if update {
            std::fs::write(&expected, stderr(&output)).expect("writes");
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(stderr(&output), expected, "{file}");
        let found = stderr(&output);
        assert!(found.starts_with(&format!("{file}:")) && found.trim_end().ends_with('^'), "{found}");
    }
}

#[test]
fn a_good_config_is_summed_up_in_a_line() {
    let minimal = rankwise(&["check", "good/minimal.yaml"]);
    assert_eq!(stdout(&minimal), "ok: 1 listener, 1 pool (main by kv), 1 worker\n", "{}", stderr(&minimal));
    assert_eq!(minimal.status.code(), Some(0));
    let full = rankwise(&["check", "good/full.yaml"]);
    assert_eq!(
        stdout(&full),
        "ok: 2 listeners, 2 pools (main by kv, small by good/policy.wasm), 3 workers\n",
        "{}",
        stderr(&full)
    );
    assert_eq!(full.status.code(), Some(0));
}

#[test]
fn a_wrong_command_line_exits_64() {
    for (args, expected) in [
        (vec!["serve"], "expected -c FILE or --worker URL"),
        (vec!["serv"], "unrecognized subcommand"),
        (vec![], "Usage:"),
        (vec!["serve", "--worker", "10.0.0.1:8000"], "expected http://HOST:PORT"),
        (vec!["serve", "--worker", "http://a:1,engine=triton"], "unknown engine `triton`"),
        (vec!["serve", "--worker", "http://a:1", "--policy", "best"], "unknown policy `best`"),
        (
            vec!["serve", "--worker", "http://a:1", "--policy", "kv", "--policy-file", "x.wasm"],
            "cannot be used with",
        ),
        (
            vec!["serve", "--worker", "http://a:1", "--worker", "http://a:1"],
            "already pools[0].workers[0].url",
        ),
        (vec!["serve", "--worker", "http://a:1", "--admin", "0.0.0.0:9091"], "command line: admin.address"),
        (vec!["serve", "--worker", "http://a:1", "--tokenizer", "no-such"], "tokenizer.json: no such file"),
        (vec!["serve", "-c", "good/full.yaml", "--worker", "http://a:1"], "--worker: the config has 2 pools"),
        (
            vec!["serve", "-c", "good/full.yaml", "--listen", "127.0.0.1:1"],
            "--listen: the config has 2 listeners",
        ),
        (vec!["serve", "-c", "no-such.yaml"], "no-such.yaml: read: "),
        (vec!["sim", "--fault", "0:stal"], "unknown fault `stal`"),
        (vec!["sim", "--fault", "dying-rank=1"], "expected dying-rank=RANK,DURATION"),
        (
            vec!["sim", "--engine", "dynamo", "--one-frontend", "--fault", "1:refuse-connections"],
            "the workers have no port of their own",
        ),
        (vec!["demo", "--requests", "0"], "--requests"),
    ] {
        let output = rankwise(&args);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_file_that_is_too_large_is_not_parsed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("large.yaml");
    std::fs::write(&file, "# \n".repeat(400_000)).expect("writes");
    let output = rankwise(&["check", file.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("large.yaml: larger than 1048576 bytes"), "{}", stderr(&output));
}

#[test]
fn help_and_version_go_to_stdout() {
    let version = rankwise(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(stdout(&version), format!("rankwise {}\n", env!("CARGO_PKG_VERSION")));
    for command in ["serve", "demo", "sim", "check", "schema"] {
        assert!(stdout(&rankwise(&["--help"])).contains(command), "{command}");
        let help = rankwise(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{command}");
        assert!(
            stdout(&help).contains(&format!("Usage: rankwise {command}")),
            "{command}: {}",
            stdout(&help)
        );
    }
}

#[test]
fn schema_and_reference_are_printed() {
    let schema: serde_json::Value =
        serde_json::from_str(&stdout(&rankwise(&["schema"]))).expect("the schema is JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["additionalProperties"], false);
    assert!(stdout(&rankwise(&["schema", "--reference"])).starts_with("# Configuration\n"));
}

/// Writes `bytes` into a folder and checks them as a policy.
#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    for args in
        [&["schema"][..], &["check", "good/full.yaml"], &["policy", "check", "../../policies/dist/kv.wasm"]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rankwise"));
        let output = command.args(args).current_dir(configs()).stdout(writer).output().expect("runs");
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{args:?}");
    }
}

fn checked(folder: &Path, bytes: &[u8]) -> Output {
    let file = folder.join("mine.wasm");
    std::fs::write(&file, bytes).expect("writes");
    rankwise(&["policy", "check", file.to_str().expect("UTF-8")])
}

#[test]
fn a_policy_that_fits_is_described_and_one_that_does_not_exits_65() {
    let folder = tempfile::tempdir().expect("a folder");
    let dist = |name: &str| {
        let path = configs().join(format!("../../policies/dist/{name}.wasm"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    for name in ["kv", "power-of-two", "prefix-hash", "random", "session-affinity"] {
        let output = checked(folder.path(), &dist(name));
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
        assert!(stdout(&output).starts_with("ok: mine ("), "{}", stdout(&output));
    }
    let needs = stdout(&checked(folder.path(), &dist("power-of-two")));
    assert!(needs.ends_with("\nneeds: running, prefill-tokens, weight; no prompt; no header\n"), "{needs}");

    let kv = dist("kv");
    let no_policies: [(&[u8], &str); 4] = [
        (b"", "not a WebAssembly component: the file is empty"),
        (b"\0asm\x01\0\0\0", "is a core module, not a component"),
        (b"\0asm\x0d\0\x01\0", "exports no rankwise:policy/picker@0.1.0"),
        (&kv[..kv.len() / 2], "does not compile: "),
    ];
    for (bytes, said) in no_policies {
        let output = checked(folder.path(), bytes);
        assert_eq!(output.status.code(), Some(65), "{said}");
        let message = stderr(&output);
        assert!(message.starts_with("rankwise: policy mine: ") && message.contains(said), "{message}");
    }
    std::fs::write(folder.path().join("kv.wasm"), &kv).expect("writes");
    let file = folder.path().join("kv.wasm").display().to_string();
    let settings = |settings| rankwise(&["policy", "check", &file, "--settings", settings]);
    assert_eq!(settings(r#"{"preset":"dynamo"}"#).status.code(), Some(0));
    let refused = settings(r#"{"preset":"best"}"#);
    assert_eq!(refused.status.code(), Some(65));
    assert!(stderr(&refused).contains("preset"), "{}", stderr(&refused));
    assert_eq!(settings("[]").status.code(), Some(64));
    assert_eq!(rankwise(&["policy", "check", "nowhere.wasm"]).status.code(), Some(1));
}

#[test]
fn a_policy_is_measured_beside_native_code() {
    let file = configs().join("../../policies/dist/kv.wasm").display().to_string();
    let output = rankwise(&["policy", "bench", &file, "--picks", "50"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let rows = |line: &str| line.split_whitespace().next().and_then(|rows| rows.parse::<u32>().ok());
    assert_eq!(text.lines().filter_map(rows).collect::<Vec<_>>(), [64, 512, 4096], "{text}");
}

#[test]
fn a_new_policy_is_a_folder_that_was_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mine").display().to_string();
    let new = |lang| rankwise(&["policy", "new", "my-policy", "--path", &path, "--lang", lang]);
    let output = new("rust");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(folder.path().join("mine/src/lib.rs").is_file());
    let again = new("rust");
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).starts_with(&format!("rankwise: {path}: ")), "{}", stderr(&again));
    assert_eq!(new("cobol").status.code(), Some(64));
    assert_eq!(rankwise(&["policy", "new", "My Policy"]).status.code(), Some(64));
}

#[test]
fn a_trace_is_followed_by_each_policy_in_simulated_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace.jsonl");
    // Two conversations of four turns, each of which begins with the turn before.
    let lines = (0..8).map(|number| {
        let (conversation, turn) = (number % 2 * 100, number / 2);
        let blocks: Vec<_> = (0..=turn).map(|block| conversation + block).collect();
        let (arrival, input) = (number * 400, (turn + 1) * 512);
        format!(r#"{{"timestamp": {arrival}, "input_length": {input}, "output_length": 8, "hash_ids": {blocks:?}}}"#)
    });
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).expect("writes");
    let trace = file.display().to_string();
    let fleet = ["--policy", "kv", "--policy", "round-robin", "--workers", "1", "--ranks", "2"];
    let replay = |more: &[&str]| rankwise(&[&["replay", &trace], &fleet[..], more].concat());

    let table = replay(&[]);
    assert_eq!(table.status.code(), Some(0), "{}", stderr(&table));
    let text = stdout(&table);
    assert!(text.starts_with("8 requests, 1 workers of 2 ranks, "), "{text}");
    assert!(text.contains("kv") && text.contains("round-robin"), "{text}");

    let figures = || {
        let output = replay(&["--json", "--requests", "6"]);
        let mut report: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        for figures in report["policies"].as_array_mut().expect("a list") {
            assert_eq!([&figures["requests"], &figures["finished"]], [6, 6], "{figures}");
            // This machine's time is the one figure that is not simulated.
            figures.as_object_mut().expect("figures").remove("took_s");
        }
        report
    };
    let first = figures();
    assert_eq!(first["policies"].as_array().map(Vec::len), Some(2), "{first}");
    assert_eq!(first, figures(), "the same again");

    std::fs::write(&file, "{\"timestamp\": 0}").expect("writes");
    let malformed = replay(&[]);
    assert_ne!(malformed.status.code(), Some(0));
    assert!(stderr(&malformed).contains("line 1"), "{}", stderr(&malformed));
}
