//! The top-level fields that are read, of all APIs.

macro_rules! fields {
    ($($field:ident $name:literal,)*) => {
        /// A top-level field whose value matters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Field { $($field,)* }

        impl Field {
            /// How many there are.
            pub(crate) const COUNT: usize = [$($name,)*].len();

            /// All of them.
            pub(crate) fn all() -> impl Iterator<Item = Self> {
                [$(Self::$field,)*].into_iter()
            }

            /// The field of this key, escapes resolved.
            pub(crate) fn named(key: &str) -> Option<Self> {
                match key {
                    $($name => Some(Self::$field),)*
                    _ => None,
                }
            }

            /// Its key.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$field => $name,)* }
            }
        }
    };
}

fields! {
    AddGenerationPrompt "add_generation_prompt",
    AddSpecialTokens "add_special_tokens",
    CacheSalt "cache_salt",
    ChatTemplate "chat_template",
    ChatTemplateKwargs "chat_template_kwargs",
    ContinueFinalMessage "continue_final_message",
    Conversation "conversation",
    Documents "documents",
    Features "features",
    Input "input",
    InputEmbeds "input_embeds",
    InputIds "input_ids",
    Instructions "instructions",
    LoraPath "lora_path",
    MaxCompletionTokens "max_completion_tokens",
    MaxOutputTokens "max_output_tokens",
    MaxTokens "max_tokens",
    Messages "messages",
    Model "model",
    N "n",
    OutputConfig "output_config",
    PreviousResponseId "previous_response_id",
    Priority "priority",
    Prompt "prompt",
    PromptCacheKey "prompt_cache_key",
    PromptEmbeds "prompt_embeds",
    Reasoning "reasoning",
    ReasoningEffort "reasoning_effort",
    SamplingParams "sampling_params",
    SessionId "session_id",
    Store "store",
    Stream "stream",
    StreamOptions "stream_options",
    System "system",
    Text "text",
    Thinking "thinking",
    TokenIds "token_ids",
    ToolChoice "tool_choice",
    Tools "tools",
    TruncatePromptTokens "truncate_prompt_tokens",
    TruncationSide "truncation_side",
    User "user",
}
