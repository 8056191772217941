//! What the answer to a first leg hands over. Passed on as it is: numbers may be larger than any JSON reader of ours would keep.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Field;

/// The answer to a first leg is not of its shape.
#[derive(Debug, thiserror::Error)]
#[error("not the expected json")]
pub struct Unreadable(#[from] serde_json::Error);

/// Those of vLLM, unchanged.
pub(super) fn kv_transfer_params(answer: &[u8]) -> Result<Option<Vec<Field>>, Unreadable> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, default)]
        kv_transfer_params: Option<&'a RawValue>,
    }
    let answer: Answer<'_> = serde_json::from_slice(answer)?;
    let params = answer.kv_transfer_params.map(RawValue::get).filter(|params| is_filled(params));
    Ok(params.map(|params| vec![("kv_transfer_params", params.to_owned())]))
}

/// Those of TensorRT-LLM, for the generation; and the prompt as token ids, which need not be found again.
pub(super) fn disaggregated_params(answer: &[u8], chat: bool) -> Result<Option<Vec<Field>>, Unreadable> {
    #[derive(Deserialize)]
    struct Choice<'a> {
        #[serde(borrow, default)]
        disaggregated_params: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, default)]
        choices: Vec<Choice<'a>>,
        #[serde(borrow, default)]
        prompt_token_ids: Option<&'a RawValue>,
    }
    let answer: Answer<'_> = serde_json::from_slice(answer)?;
    let params = answer.choices.first().and_then(|choice| choice.disaggregated_params).map(RawValue::get);
    let Some(params) = params.filter(|params| is_filled(params)) else { return Ok(None) };
    // Its last field of a name counts, as everywhere.
    let open = params.strip_suffix('}').unwrap_or(params);
    let mut fields = vec![("disaggregated_params", format!(r#"{open},"request_type":"generation_only"}}"#))];
    if let Some(ids) = answer.prompt_token_ids.map(RawValue::get).filter(|ids| ids.starts_with('[')) {
        fields.push((if chat { "prompt_token_ids" } else { "prompt" }, ids.to_owned()));
    }
    Ok(Some(fields))
}

/// Whether it is an object with something in it.
fn is_filled(json: &str) -> bool {
    json.strip_prefix('{').is_some_and(|rest| rest.trim_ascii_start() != "}")
}
