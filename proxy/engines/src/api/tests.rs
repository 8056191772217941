use super::*;

#[test]
fn apis_are_forwarded_by_post_only() {
    for api in Api::ALL {
        assert_eq!(route("POST", api.path()), Route::Forward(api));
        assert_eq!(route("GET", api.path()), Route::NotFound);
    }
    assert_eq!(route("GET", "/v1/models"), Route::Models);
}

#[test]
fn what_administers_an_engine_is_out_of_reach() {
    for path in [
        "/metrics",
        "/kv_event_sources",
        "/sleep",
        "/wake_up",
        "/reset_prefix_cache",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/inference/v1/abort_requests",
        "/kv_cache_events",
        "/flush_cache",
        "/pause",
        "/v1/chat/completions/",
        "/v1//chat/completions",
        "/v1/chat/../../sleep",
        "/v1/chat%2fcompletions",
        "/V1/chat/completions",
        "",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT"] {
            assert_eq!(route(method, path), Route::NotFound, "{method} {path}");
        }
    }
}
