//! JSON values in a text: in fenced blocks, or anywhere.

use serde_json::Value;

use crate::base::limits;

/// Those in fenced blocks; if there is no such block, the text as a whole, or what of it is an object or an array. The
/// second: whether anything looked like JSON at all.
pub fn in_text(text: &str) -> (Vec<Value>, bool) {
    let blocks: Vec<&str> = fenced(text).collect();
    if !blocks.is_empty() {
        let values = blocks.iter().filter_map(|block| serde_json::from_str(block).ok());
        return (values.collect(), true);
    }
    let mut values = Vec::new();
    let (mut at, mut tries) = (0, 0);
    while let Some(start) = text.get(at..).and_then(|rest| rest.find(['{', '['])) {
        at += start;
        tries += 1;
        if tries > limits::GUARDRAIL_JSON_VALUES_MAX {
            break;
        }
        let mut stream = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        match stream.next() {
            Some(Ok(value)) => {
                values.push(value);
                at += stream.byte_offset();
            }
            _ => at += 1,
        }
    }
    (values, tries > 0)
}

/// What stands between fences of three backticks or more, after an optional `json`.
fn fenced(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find("```")?;
        let inner = rest[start..].trim_start_matches('`');
        let end = inner.find("```")?;
        let block = &inner[..end];
        rest = inner[end..].trim_start_matches('`');
        let block = block.strip_prefix("json").unwrap_or(block);
        Some(block.trim())
    })
}

/// The words behind the fences of blocks that hold something, lower case.
pub fn languages(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("```") {
        let inner = &rest[start + 3..];
        let word: String =
            inner.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let body = inner.get(word.len()..).and_then(|body| body.strip_prefix('\n'));
        let end = body.and_then(|body| body.find("\n```").map(|end| (body, end)));
        match end {
            Some((body, end)) if !word.is_empty() => {
                found.push(word.to_ascii_lowercase());
                rest = &body[end + 4..];
            }
            _ => rest = inner,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_in_blocks_first_and_else_anywhere() {
        for (text, values, like_json) in [
            ("none here", vec![], false),
            ("a ```json\n{\"a\": 1}\n``` b {\"c\": 2}", vec![r#"{"a":1}"#], true),
            ("```\n[1]\n``` and ````json {\"b\":{}} ````", vec!["[1]", r#"{"b":{}}"#], true),
            (
                "x {\"a\": {\"b\": [1]}} y {\"c\": 2} z",
                vec![r#"{"a":{"b":[1]}}"#, r#"{"c":2}"#],
                true,
            ),
            ("{not json} {\"c\": 2", vec![], true),
        ] {
            let (found, like) = in_text(text);
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(
                (found, like),
                (values.iter().map(ToString::to_string).collect(), like_json),
                "{text}"
            );
        }
        let many = "{".repeat(100_000);
        assert_eq!(in_text(&many), (vec![], true));
    }

    #[test]
    fn languages_are_the_words_behind_fences() {
        for (text, words) in [
            ("```py\nprint()\n```", vec!["py"]),
            ("```PY\nx\n``` ```js\ny\n```", vec!["py", "js"]),
            ("```\nx\n```", vec![]),
            ("```py print()```", vec![]),
            ("```py\n", vec![]),
        ] {
            assert_eq!(languages(text), words, "{text}");
        }
    }
}
