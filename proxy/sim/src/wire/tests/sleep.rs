use serde_json::json;

use super::client::{complete, get, post, send};
use super::{fleet, quick, until};

#[tokio::test]
async fn a_worker_that_sleeps_aborts_what_runs_and_serves_nothing_until_it_wakes_up() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    assert_eq!(get(worker, "/is_sleeping").await.json(), json!({"is_sleeping": false}));
    let sleeping = r#"vllm:engine_sleep_state{engine="1",model_name="sim",sleep_state="weights_offloaded"} "#;
    let page = get(worker, "/metrics").await.text;
    assert!(page.contains(&format!("{sleeping}0")), "{page}");

    let mut body = json!({"model": "sim", "prompt": vec![1; 9], "max_tokens": 200, "stream": true});
    let streamed = send(worker, "/v1/completions", &[], Some(&body)).await.unwrap();
    body["stream"] = false.into();
    let whole = post(worker, "/v1/completions", body);
    let sleep = async {
        until("both running", || worker.stats().iter().map(|rank| rank.running).sum::<usize>() == 2).await;
        post(worker, "/sleep?level=1&mode=abort", json!({})).await
    };
    let (whole, slept) = tokio::join!(whole, sleep);
    assert_eq!((slept.status.as_u16(), slept.text.as_str()), (200, ""));
    assert_eq!((whole.status.as_u16(), &whole.json()["choices"][0]["finish_reason"]), (200, &"abort".into()));
    assert!(whole.json()["usage"]["completion_tokens"].as_u64() < Some(200));
    let streamed = http_body_util::BodyExt::collect(streamed.into_body()).await.unwrap().to_bytes();
    let streamed = String::from_utf8(streamed.to_vec()).unwrap();
    assert!(streamed.contains("\"finish_reason\":\"abort\"") && streamed.ends_with("data: [DONE]\n\n"));

    assert_eq!(get(worker, "/is_sleeping").await.json(), json!({"is_sleeping": true}));
    assert_eq!(get(worker, "/health").await.status, 200);
    assert_eq!(complete(worker, 0, &[1], 1).await.status, 503);
    assert!((0..2).all(|rank| worker.cache(rank).is_empty()));
    assert!(get(worker, "/metrics").await.text.contains(&format!("{sleeping}1")));
    assert_eq!(post(worker, "/wake_up", json!({})).await.status, 200);
    assert_eq!(complete(worker, 0, &[1], 1).await.status, 200);
    assert_eq!(post(worker, "/sleep?level=7", json!({})).await.status, 400);
    fleet.stop().await;
}
