use super::*;

#[test]
fn engines_are_known_by_their_model_cards() {
    let owned = |owner: &str| format!("{{\"data\":[{{\"id\":\"a\",\"owned_by\":\"{owner}\"}}]}}");
    assert_eq!(Engine::detect(owned("vllm").as_bytes()), Engine::Vllm);
    assert_eq!(Engine::detect(owned("sglang").as_bytes()), Engine::Sglang);
    assert_eq!(Engine::detect(owned("tensorrt_llm").as_bytes()), Engine::Trtllm);
    assert_eq!(Engine::detect(owned("nvidia").as_bytes()), Engine::Generic);
    assert_eq!(Engine::detect(owned("someone").as_bytes()), Engine::Generic);
    assert_eq!(Engine::detect(b"<html>"), Engine::Generic);
}

#[test]
fn names_parse_back() {
    for engine in Engine::ALL {
        assert_eq!(engine.to_string().parse::<Engine>().unwrap(), engine);
        assert!(UnknownEngine.to_string().contains(engine.name()));
    }
    assert!("vLLM".parse::<Engine>().is_err());
}

#[test]
fn load_is_told_where_there_is_a_path() {
    for engine in Engine::ALL {
        assert!(engine.load_reports(b"").is_empty());
        assert!(engine.health_path().starts_with('/'));
        assert!(engine.load_path().is_none_or(|path| path.starts_with('/')));
    }
}

#[test]
fn responses_are_kept_by_those_that_refuse_ids_they_do_not_know() {
    let keeping: Vec<_> = Engine::ALL.into_iter().filter(|engine| engine.keeps_responses()).collect();
    assert_eq!(keeping, [Engine::Vllm, Engine::Sglang, Engine::Trtllm]);
}

#[test]
fn ranks_are_taken_on_chats_everywhere_and_on_responses_not_by_vllm() {
    assert!(Engine::ALL.iter().all(|engine| engine.takes_rank_on("/v1/chat/completions")));
    let choosing = |path| Engine::ALL.into_iter().filter(move |engine| !engine.takes_rank_on(path));
    assert_eq!(choosing("/v1/responses").collect::<Vec<_>>(), [Engine::Vllm]);
    assert_eq!(choosing("/v1/embeddings").collect::<Vec<_>>(), [Engine::Vllm, Engine::Sglang]);
}
