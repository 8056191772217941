use proptest::prelude::*;

use super::*;
use crate::testing::recording;

fn scan(stream: &[u8]) -> ReplySummary {
    let mut scanner = StreamScanner::new(64 << 10);
    scanner.push(stream);
    scanner.finish()
}

fn usage(prompt_tokens: u32, completion_tokens: u32, cached_tokens: Option<u32>) -> Option<Usage> {
    Some(Usage { prompt_tokens, completion_tokens, cached_tokens })
}

#[test]
fn recorded_streams_are_understood() {
    let length = Some(FinishReason::Length);
    for (name, chunks, finish_reason, expected, done) in [
        ("sse_plain.txt", 5, length, None, true),
        ("sse_include_usage.txt", 9, length, usage(282, 8, Some(256)), true),
        ("sse_continuous_usage.txt", 9, length, usage(282, 8, Some(256)), true),
        ("sse_completions.txt", 5, length, usage(2, 5, Some(0)), true),
        ("sse_aborted.txt", 7, None, None, false),
    ] {
        let expected = ReplySummary {
            started: true,
            chunks,
            finish_reason,
            usage: expected,
            done,
            ..Default::default()
        };
        assert_eq!(scan(&recording(name)), expected, "{name}");
    }
}

#[test]
fn the_chunk_with_the_role_alone_ends_prefill() {
    let stream = recording("sse_plain.txt");
    let end = stream.iter().position(|byte| *byte == b'\n').unwrap();
    let mut scanner = StreamScanner::new(64 << 10);
    scanner.push(b": keep-alive\n\nevent: ping\n");
    scanner.push(&stream[..end]);
    assert!(!scanner.summary().started);
    scanner.push(b"\n");
    assert!(scanner.summary().started);
}

#[test]
fn an_error_inside_a_200_is_found() {
    let summary = scan(&recording("stream_out_of_range.txt"));
    let message = "data_parallel_rank 7 is out of range [0, 2).".to_owned();
    assert_eq!(summary.error, Some(ReplyError { code: Some(400), message }));
    assert!(!summary.started && summary.done);
}

#[test]
fn long_messages_are_cut_between_characters() {
    let text = format!(r#"data: {{"error":{{"message":"a{}"}}}}"#, "é".repeat(300));
    assert_eq!(scan(text.as_bytes()).error.unwrap().message.len(), MESSAGE_BYTES_MAX - 1);
    assert_eq!(scan(b"data: {\"error\":\"gone\"}\n").error.unwrap().message, "gone");
}

#[test]
fn a_line_beyond_the_bound_is_passed_over() {
    let long = format!("data: {{\"choices\":[{{\"text\":\"{}\"}}]}}\n", "x".repeat(100));
    let short = "data: {\"choices\":[{}]}\n\n";
    let stream = format!("{long}{short}{long}{short}");
    for step in [1, 7, 1000] {
        let mut scanner = StreamScanner::new(50);
        stream.as_bytes().chunks(step).for_each(|chunk| scanner.push(chunk));
        let summary = scanner.finish();
        assert_eq!((summary.chunks, summary.lines_skipped), (2, 2));
    }
}

#[test]
fn anthropic_streams_are_understood() {
    let stream = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":0}}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4,\"cache_read_input_tokens\":8}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );
    let expected = ReplySummary {
        started: true,
        chunks: 1,
        finish_reason: Some(FinishReason::Stop),
        usage: usage(9, 4, Some(8)),
        done: true,
        ..Default::default()
    };
    assert_eq!(scan(stream.as_bytes()), expected);
}

#[test]
fn responses_streams_are_understood() {
    let begin = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"status\":\"in_progress\",\"usage\":null}}\n\n";
    assert!(!scan(begin.as_bytes()).started);
    let stream = format!(
        "{begin}{}{}",
        "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n",
        "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":4,\
         \"input_tokens_details\":{\"cached_tokens\":8}}}}\n\n",
    );
    let summary = scan(stream.as_bytes());
    assert_eq!((summary.chunks, summary.done, summary.usage), (1, true, usage(9, 4, Some(8))));
}

const GENERATED: &str = r#"{"text":"a","output_ids":[1],"meta_info":{"id":"x","finish_reason":{"type":"length","length":4},"prompt_tokens":282,"weight_version":"default","completion_tokens":4,"cached_tokens":256,"e2e_latency":0.1}}"#;

#[test]
fn what_sglangs_own_api_says_of_its_cache_is_read_whole_and_streamed() {
    let whole = body_summary(GENERATED.as_bytes());
    assert_eq!((whole.usage, whole.finish_reason), (usage(282, 4, Some(256)), Some(FinishReason::Length)));
    assert!(whole.started && whole.done);
    // Of a long answer, by its end.
    let mut scanner = BodyScanner::new(200);
    scanner.push(GENERATED.replace("[1]", &format!("[{}1]", "1,".repeat(1000))).as_bytes());
    assert_eq!(scanner.finish().usage, usage(282, 4, Some(256)));

    let event = |said: u32, reason: &str| {
        format!(
            "data: {{\"text\":\"a\",\"meta_info\":{{\"finish_reason\":{reason},\"prompt_tokens\":282,\
             \"completion_tokens\":{said},\"cached_tokens\":256}}}}\n\n"
        )
    };
    let begin = scan(event(1, "null").as_bytes());
    assert!(begin.started && !begin.done && begin.finish_reason.is_none());
    let stream = event(1, "null") + &event(2, "{\"type\":\"stop\",\"matched\":151645}") + "data: [DONE]\n\n";
    let summary = scan(stream.as_bytes());
    assert_eq!((summary.chunks, summary.done, summary.usage), (2, true, usage(282, 2, Some(256))));
    assert_eq!(summary.finish_reason, Some(FinishReason::Stop));
    let aborted = scan(event(1, "{\"type\":\"abort\",\"message\":\"no\"}").as_bytes());
    assert_eq!(aborted.finish_reason, Some(FinishReason::Abort));
}

#[test]
fn a_stream_tells_the_id_of_its_response_with_its_first_event() {
    let created = |id: &str, more: &str| {
        format!("data: {{\"response\":{{\"id\":{id},\"tools\":\"{more}\"}},\"type\":\"response.created\"}}\n")
    };
    let id = |stream: &str| scan(stream.as_bytes()).response_id;
    assert_eq!(id(&created("\"resp_\\u0031\"", "")).as_deref(), Some("resp_1"));
    // Whatever the client said comes back in it.
    assert_eq!(id(&created("\"resp_1\"", &"x".repeat(100_000))).as_deref(), Some("resp_1"));
    let two = created("\"resp_1\"", "") + &created("\"resp_2\"", "");
    assert_eq!(id(&two).as_deref(), Some("resp_1"));
    for none in ["7", "null", "\"\"", "{\"id\":\"resp_1\"}", &format!("\"{}\"", "x".repeat(257))] {
        assert_eq!(id(&created(none, "")), None, "{none}");
    }
    assert_eq!(id("data: {\"id\":\"chatcmpl-1\",\"choices\":[{}]}\n"), None);
    assert_eq!(
        id("data: {\"delta\":\"\\\"response\\\":{\\\"id\\\":\\\"x\\\"}\",\"type\":\"response.x.delta\"}\n"),
        None
    );
}

#[test]
fn a_plain_body_tells_its_id_however_long_it_is() {
    for (length, bytes_max) in [(0, 4096), (5000, 4096), (50_000, 4096), (5000, 40)] {
        let output = r#"\"id\":\"no\""#.repeat(length / 12);
        let body = format!(
            r#"{{"id":"resp_1","object":"response","output":"{output}","usage":{{"input_tokens":3}}}}"#
        );
        for step in [1, 7, 1000, 100_000] {
            let mut scanner = BodyScanner::new(bytes_max);
            body.as_bytes().chunks(step).for_each(|chunk| scanner.push(chunk));
            let summary = scanner.finish();
            assert_eq!(summary.response_id.as_deref(), Some("resp_1"), "{length} {bytes_max} {step}");
            assert!(bytes_max < 100 || summary.usage.is_some());
        }
    }
    assert_eq!(body_summary(br#"{"error":{"id":"resp_1"}}"#).response_id, None);
}

const BODY: &str = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"\"usage\":{\"prompt_tokens\":1}"},"finish_reason":"stop"}],"usage":{"prompt_tokens":282,"total_tokens":290,"completion_tokens":8,"prompt_tokens_details":{"cached_tokens":256}},"prompt_logprobs":null}"#;

#[test]
fn plain_bodies_are_understood_whole_or_by_their_tail() {
    let whole = body_summary(BODY.as_bytes());
    assert_eq!((whole.usage, whole.finish_reason), (usage(282, 8, Some(256)), Some(FinishReason::Stop)));
    assert!(whole.done && whole.error.is_none());
    for (bytes_max, step) in [(140, 1), (140, 1000), (180, 33), (4096, 5)] {
        let mut scanner = BodyScanner::new(bytes_max);
        BODY.as_bytes().chunks(step).for_each(|chunk| scanner.push(chunk));
        assert_eq!(scanner.finish().usage, usage(282, 8, Some(256)), "{bytes_max} {step}");
    }
}

#[test]
fn what_the_model_said_is_not_taken_for_usage() {
    let cut = BODY.find("},\"finish_reason\"").unwrap();
    let mut scanner = BodyScanner::new(60);
    scanner.push(&BODY.as_bytes()[..cut]);
    assert_eq!(scanner.finish().usage, None);
}

#[test]
fn an_error_body_is_an_error() {
    let body = br#"{"error":{"message":"no","type":"NotFoundError","param":"model","code":404}}"#;
    let summary = body_summary(body);
    assert_eq!(summary.error, Some(ReplyError { code: Some(404), message: "no".into() }));
    assert!(!summary.started && !summary.done);
    assert_eq!(body_summary(b"<html>"), ReplySummary::default());
}

/// Streams of recorded and of broken lines.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("data: {\"choices\":[{\"delta\":{\"content\":\"é\"}}]}".to_owned()),
        Just("data:{\"choices\":[],\"usage\":{\"prompt_tokens\":3}}".to_owned()),
        Just("data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\r".to_owned()),
        Just("data: {\"error\":{\"code\":503}}".to_owned()),
        Just("data: [DONE]".to_owned()),
        (0..200_usize).prop_map(|long| {
            format!("data: {{\"response\":{{\"id\":\"r{long}\",\"tools\":\"{}\"}}}}", "x".repeat(long))
        }),
        Just(": comment".to_owned()),
        Just(String::new()),
        "data: .{0,80}",
        "[ -~]{0,80}",
    ];
    proptest::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n").into_bytes())
}

proptest! {
    #[test]
    fn how_a_stream_is_cut_does_not_matter(
        stream in stream(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        bound in 20..200_usize,
    ) {
        let mut whole = StreamScanner::new(bound);
        whole.push(&stream);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut cut = StreamScanner::new(bound);
        for pair in cuts.windows(2) {
            cut.push(&stream[pair[0]..pair[1]]);
            prop_assert!(cut.line.len() <= bound);
        }
        prop_assert_eq!(whole.finish(), cut.finish());
    }

    #[test]
    fn how_a_body_is_cut_does_not_matter(
        said in "[a-z\\\\\"{}:]{0,300}", cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20), bound in 1..200_usize,
    ) {
        let body = serde_json::json!({"id": "r", "output": said, "usage": {"prompt_tokens": 3}}).to_string();
        let mut whole = BodyScanner::new(bound);
        whole.push(body.as_bytes());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let mut cut = BodyScanner::new(bound);
        cuts.windows(2).for_each(|pair| cut.push(&body.as_bytes()[pair[0]..pair[1]]));
        let whole = whole.finish();
        prop_assert_eq!(&whole, &cut.finish());
        // The id stands in the first ten bytes.
        prop_assert!(whole.response_id.is_some() || bound < 10);
    }

    #[test]
    fn body_memory_is_bounded(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..12),
        bound in 1..100_usize,
    ) {
        let mut scanner = BodyScanner::new(bound);
        for chunk in &chunks {
            scanner.push(chunk);
            prop_assert!(scanner.kept.len() <= 2 * bound);
        }
        scanner.finish();
    }
}
