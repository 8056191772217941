use super::*;

#[test]
fn vllm_is_known_by_its_model_cards() {
    assert_eq!(Engine::detect(br#"{"data":[{"id":"a","owned_by":"vllm"}]}"#), Engine::Vllm);
    assert_eq!(Engine::detect(br#"{"data":[{"id":"a","owned_by":"someone"}]}"#), Engine::Generic);
    assert_eq!(Engine::detect(b"<html>"), Engine::Generic);
}

#[test]
fn a_rank_is_named_only_where_it_exists_and_matters() {
    assert_eq!(
        Engine::Vllm.pin(DpRank(1), 2),
        RankPin::Header { name: "x-data-parallel-rank", value: "1".into() }
    );
    assert_eq!(Engine::Vllm.pin(DpRank(2), 2), RankPin::Impossible);
    assert_eq!(Engine::Vllm.pin(DpRank(0), 1), RankPin::OnlyRank);
    assert_eq!(Engine::Generic.pin(DpRank(0), 1), RankPin::Impossible);
}

#[test]
fn names_parse_back() {
    for engine in Engine::ALL {
        assert_eq!(engine.to_string().parse::<Engine>().unwrap(), engine);
    }
    assert!("vLLM".parse::<Engine>().is_err());
}
