use clap::{CommandFactory as _, Parser as _};

use rankwise_sim::{EngineWire, Fault, TrtllmServer};

use super::sim::fault::parse as fault;
use super::{Cli, Command, worker_flag};
use crate::config::{Config, EngineKind, Events, PolicySource};
use crate::simulate::{FaultAt, Trouble};

fn serve(args: &[&str]) -> Result<Config, String> {
    let args = ["rankwise", "serve"].iter().chain(args);
    match Cli::try_parse_from(args).map_err(|error| error.to_string())?.command {
        Command::Serve(serve) => serve.resolve().map_err(|error| format!("{error:#}")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_worker_flag_has_a_url_and_keys() {
    let worker = worker_flag::parse("http://10.0.0.1:8000").unwrap();
    assert_eq!(worker.url.to_string(), "http://10.0.0.1:8000");
    assert_eq!(
        (worker.engine, worker.ranks.is_none(), worker.name.is_none()),
        (EngineKind::Auto, true, true)
    );

    let worker = worker_flag::parse("http://a:1,name=x,ranks=8,engine=vllm").unwrap();
    assert_eq!(worker.engine, EngineKind::Vllm);
    assert_eq!(worker.ranks.unwrap().get(), 8);
    assert_eq!(worker.name.unwrap().value, "x");
}

#[test]
fn a_wrong_worker_flag_says_what_was_expected() {
    for (text, message) in [
        ("", "invalid URL ``: expected http://HOST:PORT, such as http://10.0.0.1:8000"),
        ("a:1", "invalid URL `a:1`: expected http://HOST:PORT, such as http://10.0.0.1:8000"),
        (
            "https://a:1",
            "invalid URL `https://a:1`: https to workers is not supported yet: expected http://HOST:PORT",
        ),
        ("http://u:p@a:1", "invalid URL `http://u:p@a:1`: expected no user name or password; use `headers`"),
        ("http://a:0", "invalid URL `http://a:0`: expected http://HOST:PORT, such as http://10.0.0.1:8000"),
        ("http://a:1,vllm", "invalid `vllm`: expected KEY=VALUE"),
        ("http://a:1,", "invalid ``: expected KEY=VALUE"),
        ("http://a:1,ranks=0", "invalid ranks `0`: expected a number from 1"),
        ("http://a:1,ranks=x", "invalid ranks `x`: expected a number from 1"),
        (
            "http://a:1,engine=sgl",
            "unknown engine `sgl`: expected auto, vllm, sglang, trtllm, dynamo or generic",
        ),
        ("http://a:1,rank=1", "unknown key `rank`: expected engine, ranks or name"),
        ("http://a:1,name=x,name=y", "`name` is given twice"),
    ] {
        assert_eq!(worker_flag::parse(text).err().as_deref(), Some(message), "{text}");
    }
}

#[test]
fn workers_alone_are_a_config() {
    let config =
        serve(&["--worker", "http://a:1,ranks=2", "--worker", "http://b", "--policy", "round-robin"])
            .unwrap();
    let [pool] = config.pools.as_slice() else { panic!("{:?}", config.pools) };
    assert_eq!(&*pool.name, "main");
    assert_eq!(pool.policy.source, PolicySource::BuiltIn(crate::config::BuiltInPolicy::RoundRobin));
    let names: Vec<_> = pool.workers.iter().map(|worker| &*worker.name).collect();
    assert_eq!(names, ["a:1", "b:80"]);
    assert_eq!(pool.workers[0].ranks.map(|ranks| ranks.get()), Some(2));
    assert_eq!(pool.workers[0].events, Events::Discover);
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert!(!config.expose_decision);
}

#[test]
fn flags_win_over_defaults() {
    let config = serve(&[
        "--worker",
        "http://a:1",
        "--listen",
        "127.0.0.1:1",
        "--status",
        "127.0.0.1:2",
        "--admin",
        "[::1]:3",
        "--expose-decision",
    ])
    .unwrap();
    assert_eq!(config.listeners[0].address.port(), 1);
    assert_eq!(config.status.address.port(), 2);
    assert_eq!(config.admin.address.to_string(), "[::1]:3");
    assert!(config.expose_decision);
}

#[test]
fn a_policy_flag_drops_the_settings_of_the_policy_it_replaces() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    let text = "pools: [{ policy: { name: kv, settings: { a: 1 } }, workers: [{ url: 'http://a:1' }] }]";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(serve(&["-c", file]).unwrap().pools[0].policy.settings_json, r#"{"a":1}"#);
    let replaced = serve(&["-c", file, "--policy", "random"]).unwrap();
    assert_eq!(replaced.pools[0].policy.settings_json, "{}");
}

#[test]
fn a_simulated_engine_is_named_with_how_it_is_run() {
    let spec =
        |engine| match Cli::try_parse_from(["rankwise", "sim", "--host-blocks", "7", "--engine", engine]) {
            Ok(Cli { command: Command::Sim(sim) }) => Some(sim.spec()),
            _ => None,
        };
    for (engine, wire, trtllm, keeps_conversations) in [
        ("sglang", EngineWire::Sglang, TrtllmServer::Shim, false),
        ("trtllm", EngineWire::Trtllm, TrtllmServer::Shim, false),
        ("trtllm-bare", EngineWire::Trtllm, TrtllmServer::Bare, false),
        ("trtllm-conversations", EngineWire::Trtllm, TrtllmServer::Bare, true),
        ("trtllm-rank-fields", EngineWire::Trtllm, TrtllmServer::BareWithRankFields, false),
    ] {
        let spec = spec(engine).unwrap();
        let run = (spec.engine, spec.trtllm, spec.keeps_conversations, spec.host_blocks);
        assert_eq!(run, (wire, trtllm, keeps_conversations, 7), "{engine}");
    }
    assert!(spec("trtllm-shim").is_none());
}

#[test]
fn a_fault_names_its_worker_and_value() {
    let at = |worker, fault| Ok(FaultAt { worker, trouble: Trouble::Fault(fault) });
    let half = std::time::Duration::from_millis(500);
    assert_eq!(fault("stall"), at(None, Fault::Stall));
    assert_eq!(fault("1:reset-after=3"), at(Some(1), Fault::ResetAfter(3)));
    assert_eq!(fault("slow-first-byte=500ms"), at(None, Fault::SlowFirstByte(half)));
    assert_eq!(fault("0:slow-start=500ms"), at(Some(0), Fault::SlowStart(half)));
    for (text, announced) in [("restart=500ms", false), ("announced-restart=500ms", true)] {
        let trouble = Trouble::Restart { after: half, announced };
        assert_eq!(fault(text), Ok(FaultAt { worker: None, trouble }));
    }
    for wrong in [
        "",
        "restart",
        "slow-start=x",
        "x:stall",
        "stall=1",
        "reset-after",
        "reset-after=",
        "drop-events=-1",
        "slow-first-byte=1",
    ] {
        assert!(fault(wrong).is_err(), "{wrong}");
    }
}
