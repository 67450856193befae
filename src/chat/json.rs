//! JSON text written front to back into one buffer, commas placed by the writer: bodies, answers and events
//! are built with it, because their order and spelling must not depend on a map.

/// Writes one JSON text. The caller keeps objects and arrays balanced.
#[derive(Debug, Default)]
pub struct Json {
    out: Vec<u8>,
    comma: bool,
}

impl Json {
    /// An empty text.
    #[must_use]
    pub fn new() -> Json {
        Json::default()
    }

    /// Goes on behind `out`, which must not end inside an unfinished value.
    #[must_use]
    pub fn after(out: Vec<u8>) -> Json {
        Json { out, comma: false }
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Starts an object.
    pub fn open_object(&mut self) -> &mut Json {
        self.open(b'{')
    }

    /// Ends an object.
    pub fn close_object(&mut self) -> &mut Json {
        self.close(b'}')
    }

    /// Starts an array.
    pub fn open_array(&mut self) -> &mut Json {
        self.open(b'[')
    }

    /// Ends an array.
    pub fn close_array(&mut self) -> &mut Json {
        self.close(b']')
    }

    /// Writes a key; its value comes next.
    pub fn key(&mut self, key: &str) -> &mut Json {
        self.text(key);
        self.out.push(b':');
        self.comma = false;
        self
    }

    /// Writes a string.
    pub fn text(&mut self, text: &str) -> &mut Json {
        self.separate();
        push_text(&mut self.out, text);
        self.comma = true;
        self
    }

    /// Writes a string, or null.
    pub fn optional_text(&mut self, text: Option<&str>) -> &mut Json {
        match text {
            Some(text) => self.text(text),
            None => self.raw("null"),
        }
    }

    /// Writes a value that is JSON text already.
    pub fn raw(&mut self, json: &str) -> &mut Json {
        self.separate();
        self.out.extend_from_slice(json.as_bytes());
        self.comma = true;
        self
    }

    /// Writes a whole number.
    pub fn number(&mut self, number: u64) -> &mut Json {
        self.raw(itoa::Buffer::new().format(number))
    }

    /// Writes a number. JSON has no infinities: they become null.
    pub fn float(&mut self, number: f64) -> &mut Json {
        match serde_json::Number::from_f64(number) {
            Some(number) => self.raw(&number.to_string()),
            None => self.raw("null"),
        }
    }

    /// Writes true or false.
    pub fn bool(&mut self, value: bool) -> &mut Json {
        self.raw(if value { "true" } else { "false" })
    }

    /// Writes null.
    pub fn null(&mut self) -> &mut Json {
        self.raw("null")
    }

    fn open(&mut self, bracket: u8) -> &mut Json {
        self.separate();
        self.out.push(bracket);
        self.comma = false;
        self
    }

    fn close(&mut self, bracket: u8) -> &mut Json {
        self.out.push(bracket);
        self.comma = true;
        self
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
    }
}

/// Appends `text` as a JSON string, quotes included. What Unicode calls a line end is escaped: readers of event streams
/// that are still about (Portkey's for Node, older ones of OpenAI and Anthropic) would cut the event there.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    serde_json::to_writer(&mut *out, text).expect("writing a string into a Vec cannot fail");
    // Most text has no character of this kind, and most text can be told so by two bytes.
    let bytes = text.as_bytes();
    if memchr::memchr2(LINE_ENDS_BEGIN.0, LINE_ENDS_BEGIN.1, bytes).is_some()
        && text.contains(LINE_ENDS)
    {
        escape_line_ends(out, start);
    }
}

fn escape_line_ends(out: &mut Vec<u8>, start: usize) {
    let plain = out.split_off(start);
    let plain = String::from_utf8_lossy(&plain); // it is UTF-8: nothing is lost, nothing copied
    for part in plain.split_inclusive(LINE_ENDS) {
        match part.char_indices().next_back() {
            Some((at, end)) if LINE_ENDS.contains(&end) => {
                out.extend_from_slice(&part.as_bytes()[..at]);
                out.extend_from_slice(format!("\\u{:04x}", u32::from(end)).as_bytes());
            }
            _ => out.extend_from_slice(part.as_bytes()),
        }
    }
}

/// Next line, line separator, paragraph separator; and the bytes that these begin with in UTF-8.
const LINE_ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];
const LINE_ENDS_BEGIN: (u8, u8) = (0xc2, 0xe2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_stand_between_values_and_nowhere_else() {
        let mut json = Json::new();
        json.open_object().key("a").open_array().number(1).text("q\"\n").null().close_array();
        json.key("b").open_object().close_object().key("c").float(0.5).key("d").bool(true);
        json.close_object();
        assert_eq!(json.into_bytes(), br#"{"a":[1,"q\"\n",null],"b":{},"c":0.5,"d":true}"#);
    }

    #[test]
    fn no_reader_of_lines_finds_an_end_in_a_text() {
        let mut json = Json::new();
        json.text("a\u{2028}\u{2019}b\u{85}\u{a0}\u{2029}");
        let written = json.into_bytes();
        assert_eq!(written, "\"a\\u2028\u{2019}b\\u0085\u{a0}\\u2029\"".as_bytes());
        let read: String = serde_json::from_slice(&written).expect("JSON");
        assert_eq!(read, "a\u{2028}\u{2019}b\u{85}\u{a0}\u{2029}");
    }
}
