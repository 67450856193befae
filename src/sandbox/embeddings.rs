//! OpenAI's embeddings: small vectors that depend on the text alone.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    answer::{Answer, Turn},
    ask,
    dice::Dice,
    refusal::Refusal,
    text::tokens,
};
use crate::base::limits;

/// `POST /v1/embeddings`
pub fn create(turn: &Turn<'_>) -> Result<Answer, Refusal> {
    let inputs = inputs(turn.body)?;
    let dimensions = ask::number(turn.body, "dimensions")?.unwrap_or(DIMENSIONS_DEFAULT);
    if dimensions > limits::SANDBOX_DIMENSIONS_MAX {
        let most = limits::SANDBOX_DIMENSIONS_MAX;
        return Err(Refusal::invalid("dimensions", &format!("must be at most {most}")));
    }
    let as_base64 = turn.body["encoding_format"] == "base64";
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = embed(input, dimensions as usize);
            let embedding = if as_base64 { packed(&vector) } else { json!(vector) };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let used = tokens(inputs.iter().map(|input| input.len() as u64).sum());
    let mut body = json!({"object": "list", "data": data, "model": turn.model});
    if turn.script.usage {
        body["usage"] = json!({"prompt_tokens": used, "total_tokens": used});
    }
    Ok(Answer::json(&body))
}

/// The inputs as text: a string, strings, a list of token numbers, or lists of them.
fn inputs(body: &Value) -> Result<Vec<String>, Refusal> {
    let inputs = match body.get("input") {
        None => return Err(Refusal::missing("input")),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(list)) if list.first().is_some_and(Value::is_number) => {
            vec![Value::from(list.clone()).to_string()]
        }
        Some(Value::Array(list)) => list
            .iter()
            .map(|input| input.as_str().map_or_else(|| input.to_string(), str::to_owned))
            .collect(),
        Some(_) => return Err(Refusal::invalid("input", "must be a text or a list")),
    };
    if inputs.is_empty() || inputs.len() > limits::SANDBOX_INPUTS_MAX {
        let most = limits::SANDBOX_INPUTS_MAX;
        return Err(Refusal::invalid("input", &format!("must have 1 to {most} entries")));
    }
    Ok(inputs)
}

/// A vector of length 1, the same for the same text.
fn embed(text: &str, dimensions: usize) -> Vec<f32> {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let seed = digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte));
    let mut dice = Dice::new(seed);
    let numbers: Vec<f64> = (0..dimensions).map(|_| dice.unit() * 2.0 - 1.0).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt();
    numbers.iter().map(|number| (number / length.max(f64::MIN_POSITIVE)) as f32).collect()
}

/// Little-endian floats in base64, which OpenAI's SDKs ask for by default.
fn packed(vector: &[f32]) -> Value {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    json!(STANDARD.encode(bytes))
}

/// Numbers of a vector where the request names no `dimensions`.
const DIMENSIONS_DEFAULT: u64 = 8;
