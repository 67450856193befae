//! Random JSON objects as text, spelt in all the ways that JSON allows.

use crate::fuzz_wire::Dice;

/// Names that the generated objects use at their top level.
pub const NAMES: &[&str] = &["model", "stream", "usage", "a", "é\n\"", "max_tokens", ""];

/// Writes random objects, with blanks and escapes wherever JSON allows them.
pub struct JsonText<'a> {
    dice: &'a mut Dice,
    text: String,
}

impl JsonText<'_> {
    /// An object whose top level has some of `NAMES` and some other keys, none twice.
    pub fn object(dice: &mut Dice) -> String {
        let mut writer = JsonText { dice, text: String::new() };
        writer.blanks();
        writer.text.push('{');
        let mut first = true;
        let others = ["messages", "tools", "x\u{1F600}y", "a_rather_long_name_of_a_member"];
        for name in NAMES.iter().chain(&others) {
            if writer.dice.below(2) == 0 {
                writer.member(name, first, 0);
                first = false;
            }
        }
        writer.blanks();
        writer.text.push('}');
        writer.blanks();
        writer.text
    }

    fn member(&mut self, name: &str, first: bool, depth: usize) {
        if !first {
            self.text.push(',');
        }
        self.blanks();
        self.string(name);
        self.blanks();
        self.text.push(':');
        self.blanks();
        self.value(depth);
        self.blanks();
    }

    fn value(&mut self, depth: usize) {
        let nested = if depth < 4 { 3 } else { 0 };
        match self.dice.below(5 + nested) {
            0 => self.text.push_str(self.dice.pick(&["true", "false", "null"])),
            1 => {
                self.text.push_str(self.dice.pick(&["0", "-1.5e-3", "17", "18446744073709551615"]))
            }
            2..5 => {
                let length = self.dice.pick(&[0, 1, 8, 30, 200]);
                let text: String = (0..length).map(|_| self.dice.pick(CHARACTERS)).collect();
                self.string(&text);
            }
            5 => {
                self.text.push('[');
                for place in 0..self.dice.below(4) {
                    if place > 0 {
                        self.text.push(',');
                    }
                    self.blanks();
                    self.value(depth + 1);
                    self.blanks();
                }
                self.text.push(']');
            }
            _ => {
                self.text.push('{');
                for place in 0..self.dice.below(4) {
                    self.member(["role", "content", "k\\", "]}"][place], place == 0, depth + 1);
                }
                self.text.push('}');
            }
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            if self.dice.below(12) == 0 {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    self.text.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                let quoted = serde_json::to_string(&character).expect("a character");
                self.text.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
        self.text.push('"');
    }

    fn blanks(&mut self) {
        if self.dice.below(3) == 0 {
            self.text.push_str(self.dice.pick(&[" ", "\n  ", "\r\n\t", "   "]));
        }
    }
}

const CHARACTERS: &[char] = &[
    'a', 'b', 'c', 'x', ' ', ',', '"', '\\', '\\', '\n', '{', '}', '[', ']', ':', '/', '\'', 'é',
    '語', '😀', '\u{1}',
];
