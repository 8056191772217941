//! Texts on which encoders are apt to differ.

/// How many texts are put together at random.
const RANDOM_TEXTS: usize = 1600;

/// Pieces that meet at places where a pre-tokenizer has to decide.
const ATOMS: &[&str] = &[
    " ",
    "  ",
    "    ",
    "\t",
    "\n",
    "\r\n",
    "\n\n\n",
    " \n",
    "\n ",
    "\u{a0}",
    "\u{3000}",
    "\u{2009}",
    "\u{1c}",
    "\u{1f}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{200b}",
    "\0",
    "\u{1}",
    "'s",
    "'S",
    "'LL",
    "'ve",
    "'re",
    "'",
    "’t",
    "don't",
    "I'd",
    "a",
    "A",
    "Hello",
    "world",
    "ſ",
    "naïve",
    "e\u{301}",
    "\u{301}",
    "ﬁ",
    "Å",
    "Привет",
    "今天天气",
    "いい",
    "한국어",
    "مرحبا",
    "नमस्ते",
    "ไทย",
    "😀",
    "👨\u{200d}👩\u{200d}👧",
    "🇩🇪",
    "\u{e0001}",
    "0",
    "123",
    "1234567",
    "٣",
    "½",
    "...",
    "!?",
    "_x",
];

/// The self-test's texts, the same every time: `special` are the tokenizer's added tokens.
pub(super) fn texts(special: &[String]) -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "The quick brown fox jumps over the lazy dog.",
        "def f(x):\n    return x**2  # tabs\t\tand  spaces\r\n\r\n\n\n   trailing   \n",
        "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Zürich\", \"t\": -1.5e-7}}",
        "https://example.com/a?b=c&d=%20#e",
    ]
    .map(str::to_owned)
    .into();
    texts.extend(ATOMS.iter().map(|atom| (*atom).to_owned()));
    for piece in ["a", " ", "\n", "ab", "=", "1", "啊", "a\u{301}", "\u{1f600}", " a"] {
        texts.push(piece.repeat(700));
    }
    texts.extend(special.iter().take(64).map(|token| format!("a {token} b{token}{token}\n")));
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..RANDOM_TEXTS {
        let mut text = String::new();
        for _ in 0..2 + random.below(14) {
            match random.below(10) {
                0 if !special.is_empty() => text.push_str(&special[random.below(special.len())]),
                1 => text.extend(char::from_u32(random.below(0x3_0000) as u32)),
                _ => text.push_str(ATOMS[random.below(ATOMS.len())]),
            }
        }
        texts.push(text);
    }
    texts
}

/// xorshift64*: the texts need variety, not quality.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}
